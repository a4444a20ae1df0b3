"""Agents of tables: they find the best policy, go on exactly where they were, and say what they cannot do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from everymodel.core.errors import CapabilityError, EverymodelError, ModelFileError, ParameterError
from everymodel.environments import make
from everymodel.environments.grid import Maze, Table
from everymodel.models.reinforcement.q_learning import QLearning
from everymodel.models.reinforcement.sarsa import Sarsa
from everymodel.scoring.model import open_bytes
from everymodel.scoring.steps.acting import TablePolicy, cells
from everymodel.workflow.wrap import wrap

BOTH = pytest.mark.parametrize("kind", [QLearning, Sarsa])


def reached(agent, env) -> float:
    """Mean return of the agent's policy, exactly."""
    return make(env).expected(agent.values_.argmax(axis=1))  # type: ignore[attr-defined]


@BOTH
@pytest.mark.parametrize(
    ("env", "steps", "best"), [("CliffWalking-v1", 200_000, -13), ("FrozenLake-v1", 100_000, 0.74)]
)
def test_the_best_policy_is_found(kind, env: str, steps: int, best: float):
    agent = kind(steps=steps, random_state=0).fit(env)
    assert reached(agent, env) >= best - 0.03 * abs(best)
    assert agent.stopped_ == "steps" and steps <= agent.steps_ < steps + 64
    assert agent.evaluate(50)["mean"] >= best - 0.2 * abs(best)


def test_a_far_reward_is_found_by_the_curious_lanes():
    corridor = Maze(lines=["S" + "." * 38 + "G"], limit=200)
    rewarded = Table(after=corridor.after, reward=corridor.ended * 1.0, ended=corridor.ended, limit=200)
    curious = QLearning(steps=60_000, random_state=0).fit(rewarded)
    plain = QLearning(steps=60_000, curious=0.0, random_state=0).fit(rewarded)
    assert reached(curious, rewarded) == 1.0
    assert reached(plain, rewarded) == 0.0  # so that the test shows something


def test_an_episode_that_is_cut_is_worth_what_follows():
    """Two states that go on for ever, 1 each step: 1 / (1 - g), though episodes are cut after two steps."""
    ring = Table(after=[[1], [0]], reward=1.0, limit=2)
    agent = QLearning(steps=40_000, discount=0.9, random_state=0).fit(ring)
    np.testing.assert_allclose(agent.values_, 10.0, rtol=0.02)
    ended = Table(after=[[1], [0]], reward=1.0, ended=[[False], [True]], limit=50)
    agent = QLearning(steps=40_000, discount=0.9, random_state=0).fit(ended)
    np.testing.assert_allclose(agent.values_, [[1.9], [1.0]], rtol=0.02)


def test_sarsa_is_careful_while_it_explores():
    """Beside the cliff, what SARSA thinks of the edge is less than what Q-learning thinks, as long as both explore."""
    given = {"steps": 9000, "learning_rate": 0.2, "random_state": 0}  # the chance of any action is still at its first
    careful, bold = Sarsa(**given).fit("CliffWalking-v1"), QLearning(**given).fit("CliffWalking-v1")
    edge = slice(25, 35)
    assert careful.values_[edge, 1].mean() < bold.values_[edge, 1].mean() - 1


def test_until_ends_the_fit_and_auto_does_not():
    early = QLearning(random_state=0).fit("FrozenLake-v1", until=0.5)
    assert early.stopped_ == "until" and early.curve_.looks[-1][1] >= 0.5 and early.steps_ < 300_000
    assert QLearning(steps=30_000, random_state=0).fit("FrozenLake-v1").stopped_ == "steps"
    with pytest.raises(ParameterError, match="until"):
        QLearning(steps=100).fit("FrozenLake-v1", until="high")


class Stop:
    """Says stop at the given time of asking."""

    deadline = None

    def __init__(self, at: int):
        self.left = at

    def __call__(self) -> bool:
        self.left -= 1
        return self.left < 0


@BOTH
def test_an_interrupted_fit_goes_on_exactly(kind, tmp_path: Path):
    from everymodel.models.reinforcement._base import fit

    given = {"steps": 30_000, "lanes": 16, "random_state": 3}
    whole = kind(**given).fit("FrozenLake8x8-v1")
    file = str(tmp_path / "run")
    half = fit(kind(checkpoint=file, **given), "FrozenLake8x8-v1", stop=Stop(40))
    assert half.stopped_ == "stop" and half.steps_ < 20_000
    rest = kind(checkpoint=file, **given).fit("FrozenLake8x8-v1")
    for name in ("values_", "visits_"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(rest, name))
    assert whole.curve_.episodes == rest.curve_.episodes and whole.curve_.looks == rest.curve_.looks
    with pytest.raises(ParameterError, match="discount"):
        kind(checkpoint=file, discount=0.5, **given).fit("FrozenLake8x8-v1")
    raw = Path(file).read_bytes()
    Path(file).write_bytes(raw[:500] + bytes([raw[500] ^ 1]) + raw[501:])
    with pytest.raises(ModelFileError, match="damaged"):
        kind(checkpoint=file, **given).fit("FrozenLake8x8-v1")


def test_a_stopped_fit_without_a_seed_goes_on_too(tmp_path: Path):
    from everymodel.models.reinforcement._base import fit

    agent = QLearning(steps=20_000, lanes=8, checkpoint=str(tmp_path / "run"))
    half = fit(agent, "CliffWalking-v1", stop=Stop(10))
    taken, seed = half.steps_, half.seed_
    agent.fit("CliffWalking-v1")
    assert agent.steps_ == 20_000 > taken and agent.seed_ == seed


def test_a_budget_ends_the_fit_and_progress_is_told():
    from everymodel.models.reinforcement._base import fit

    told: list = []
    agent = fit(QLearning(budget=0.2, random_state=0), "Taxi-v4", listener=told.append)
    assert agent.stopped_ == "budget" and agent.steps_ > 0
    assert told[-1].done == 1.0 and told[-1].steps == agent.steps_
    assert told[-1].episodes == len(agent.curve_.episodes)
    with pytest.raises(ParameterError, match="budget"):
        QLearning(budget="soon").fit("Taxi-v4")


@pytest.mark.parametrize(
    ("given", "env", "error", "words"),
    [
        ({}, "CartPole-v1", CapabilityError, "states that can be counted"),
        ({}, "Pendulum-v1", CapabilityError, "states that can be counted"),
        ({"discount": 1.5}, "FrozenLake-v1", ParameterError, "discount"),
        ({"epsilon": True}, "FrozenLake-v1", ParameterError, "epsilon"),
        ({"learning_rate": 0.0}, "FrozenLake-v1", ParameterError, "learning_rate"),
        ({"steps": 0}, "FrozenLake-v1", ParameterError, "steps"),
        ({"lanes": 2.5}, "FrozenLake-v1", ParameterError, "lanes"),
        ({}, "FrozenLake-v9", EverymodelError, "FrozenLake-v1"),
    ],
)
def test_what_cannot_be_learnt_is_said(given: dict, env: str, error: type, words: str):
    with pytest.raises(error, match=words):
        QLearning(**{"steps": 100, **given}).fit(env)


def test_masks_of_gymnasium_are_kept():
    gym = pytest.importorskip("gymnasium")

    class Masked(gym.Env):
        """Of three actions the second pays most, and is never allowed."""

        def __init__(self):
            self.observation_space, self.action_space = gym.spaces.Discrete(1), gym.spaces.Discrete(3)

        def reset(self, *, seed=None, options=None):
            return 0, {"action_mask": np.array([1, 0, 1], np.int8)}

        def step(self, action):
            assert action != 1
            return 0, float(action), True, False, {"action_mask": np.array([1, 0, 1], np.int8)}

    agent = QLearning(steps=400, lanes=4, random_state=0).fit(Masked)
    assert agent.act(0, mask=[True, False, True]) == 2
    assert agent.evaluate(5)["mean"] == 2.0


def test_one_lane_learns_too():
    agent = QLearning(steps=8_000, lanes=1, random_state=0).fit("CliffWalking-v1")
    assert reached(agent, "CliffWalking-v1") == -13


def test_what_hinders_is_said():
    nothing = Table(after=[[1, 0], [0, 1]], reward=0.0, limit=10)
    assert "All rewards were equal" in QLearning(steps=2000, random_state=0).fit(nothing).diagnose()[0]
    assert QLearning(steps=20_000, random_state=0).fit("CliffWalking-v1").diagnose() == []


def test_the_terminal_sees_how_it_goes(capsys):
    QLearning(steps=2000, verbose=1, random_state=0).fit("FrozenLake-v1")
    assert "QLearning" in capsys.readouterr().err


def test_numbers_are_cut_into_cells():
    ends = np.array([[0.0, -1.0, 10.0], [4.0, 1.0, 20.0]])
    rows = np.array([[0.5, -1.0, 10.0], [3.9, 0.9, 19.9], [-7.0, 5.0, 14.9], [4.0, 0.0, 15.0]])
    # 4 x 3 x 2 cells, the last number counting fastest; what lies beyond an end belongs to the part next to it.
    assert cells(rows, ends, (4, 3, 2)).tolist() == [0, 3 * 6 + 2 * 2 + 1, 2 * 2, 3 * 6 + 1 * 2 + 1]
    assert cells(rows[:, :1], ends[:, :1], (4,)).tolist() == [0, 3, 0, 3]


def test_a_pole_is_balanced_by_a_table_of_cells(tmp_path: Path):
    given = {"steps": 300_000, "bins": (4, 6, 12, 8), "random_state": 0}
    agent = QLearning(**given).fit("CartPole-v1")
    assert agent.values_.shape == (4 * 6 * 12 * 8, 2)
    ends = agent.step_.ends
    # Bounds where there are some; the speeds, which have none, as random play shows them.
    np.testing.assert_allclose(ends[:, [0, 2]], [[-4.8, -0.41887903], [4.8, 0.41887903]], rtol=1e-6)
    assert ((ends[1] > 0.5) & (ends[1] < 5) & (ends[0] < -0.5) & (ends[0] > -5))[[1, 3]].all()
    assert agent.evaluate(100, seed=1)["mean"] > 120
    opened = open_bytes(wrap(agent, None).to_bytes())
    seen = make("CartPole-v1", 30).reset(5)
    assert np.array_equal(opened.act(seen), agent.act(seen))
    settings, arrays = agent.step_.spec()
    for bad in ({"bins": [4, 6, 12, 9]}, {"bins": [4, 6, 96]}, {"bins": None}):
        with pytest.raises(ModelFileError):
            TablePolicy.build({**settings, **bad}, arrays)
    for bad in (ends[::-1].copy(), np.where(ends > 4, np.inf, ends), ends[:, :3]):
        with pytest.raises(ModelFileError):
            TablePolicy.build(settings, {**arrays, "ends": bad})


@BOTH
def test_a_fit_by_cells_goes_on_exactly(kind, tmp_path: Path):
    from everymodel.models.reinforcement._base import fit

    given = {"steps": 12_000, "lanes": 16, "bins": 5, "random_state": 3}
    whole = kind(**given).fit("CartPole-v1")
    file = str(tmp_path / "run")
    half = fit(kind(checkpoint=file, **given), "CartPole-v1", stop=Stop(20))
    assert half.stopped_ == "stop" and half.steps_ < 9_000
    rest = kind(checkpoint=file, **given).fit("CartPole-v1")
    np.testing.assert_array_equal(whole.values_, rest.values_)
    assert whole.curve_.episodes == rest.curve_.episodes and whole.steps_ == rest.steps_
    with pytest.raises(ParameterError, match="bins"):
        kind(checkpoint=file, **{**given, "bins": 6}).fit("CartPole-v1")


@pytest.mark.parametrize("bins", [0, 2.5, True, (3, 4), (3, 4, 5, "a"), ()])
def test_bins_that_do_not_fit_are_said(bins):
    with pytest.raises(ParameterError, match="one for each of the 4 numbers"):
        QLearning(steps=100, bins=bins).fit("CartPole-v1")


def test_states_that_are_counted_stay_as_they_are_and_too_many_cells_are_refused():
    assert QLearning(steps=2000, bins=3, random_state=0).fit("FrozenLake-v1").values_.shape == (16, 4)
    with pytest.raises(CapabilityError, match="would need a table of 100,000,000 states"):
        QLearning(steps=100, bins=100).fit("CartPole-v1")
    with pytest.raises(CapabilityError, match="bins=10 cuts each of its numbers"):
        QLearning(steps=100).fit("CartPole-v1")
