"""Deep Q-learning and the replay that it learns from."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from everymodel.core.errors import CapabilityError, ModelFileError
from everymodel.environments.lanes import ArrayLanes
from everymodel.models.reinforcement import dqn
from everymodel.models.reinforcement._network import Seen
from everymodel.models.reinforcement._replay import Replay, Scaled
from everymodel.models.reinforcement.dqn import DQN, Bold, Duel, values
from everymodel.scoring.spaces import Space, box
from everymodel.training.blocks.written import written

SMALL = {"lanes": 4, "first": 100, "batch_size": 32, "memory": 1000, "width": 16, "random_state": 3}


class Corridor(ArrayLanes):
    """Six places; a step right (1) or left (0); 1 at the right end, where it is over; cut after 20 steps."""

    name = "Corridor"
    observation = box(0.0, 5.0, (1,))
    action = Space(2)
    limit = 20
    threshold = None

    def begin(self, rng: np.random.Generator, n: int) -> np.ndarray:
        return np.zeros((1, n), dtype=np.float32)

    def advance(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        self.inner[0] = np.clip(self.inner[0] + (2 * actions - 1), 0, 5)
        there = self.inner[0] == 5
        return there.astype(np.float32), there


class Narrow(Corridor):
    """The same, where left is forbidden at even places and right at none."""

    name = "Narrow"

    def masks(self) -> np.ndarray:
        made = np.ones((self.n, 2), dtype=bool)
        made[self.inner[0] % 2 == 0, 0] = False
        return made

    def advance(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        assert self.masks()[np.arange(self.n), actions].all(), "a forbidden choice was taken"
        return super().advance(actions)


class Told:
    """Acts by a list of what to do, the same in all lanes."""

    strayed = None

    def __init__(self, does: list[int]):
        self.does, self.at = does, 0

    def act(self, rows, rng, allowed, blind):
        chosen = np.full(len(rows), self.does[self.at % len(self.does)])
        self.at += 1
        return chosen, chosen

    def state(self):
        return [self.at]

    def restore(self, told):
        self.at = int(told[0])


def replay(lanes, does, **given) -> Replay:
    options = {"size": 200, "batch": 16, "ahead": 3, "discount": 0.5, "first": 1, "turns": 10, "updates": 1, "seed": 0}
    return Replay(lanes, Seen(lanes.observation, normalize=False), Told(does), **{**options, **given})


def test_returns_of_several_steps_are_those_of_the_definition():
    """Against a plain loop over one lane: right, right, left, right, ... until episodes end or are cut."""
    does = [1, 1, 0, 1, 1, 1, 0, 0, 1]
    lanes = Corridor(2, limit=7)
    made = replay(lanes, does)
    for _ in range(60):
        made.collect(False)
    plain = Corridor(1, limit=7)
    seen, told = plain.reset(5), []
    for t in range(60):
        moved = plain.step(np.array([does[t % len(does)]]))
        told.append((seen[0, 0], float(moved.reward[0]), bool(moved.ended[0]), bool(moved.cut[0]), moved.last[0, 0]))
        seen = moved.seen
    assert any(t[2] for t in told) and any(t[3] for t in told), "both ways of an episode to be over are met"
    for t in range(60):
        reward, factor = 0.0, 1.0
        for k in range(3):
            if t + k >= 60:
                break
            _, r, ended, cut, last = told[t + k]
            reward += factor * r
            factor *= 0.5
            if ended or cut:
                break
        got = {k: v[t, 1] for k, v in made.held.items()}
        assert got["seen"][0] == told[t][0] and got["after"][0] == last
        assert got["reward"] == pytest.approx(reward)
        assert got["keep"] == pytest.approx(0.0 if ended else factor)


def test_returns_end_before_a_choice_that_was_not_the_best():
    made = replay(Corridor(2), [1], discount=0.5)
    for t in range(6):
        made.acting.strayed = np.array([False, t == 3])
        made.collect(False)
    assert made.held["keep"][:5, 0] == pytest.approx([0.125, 0.125, 0, 0, 0])
    assert made.held["keep"][:5, 1] == pytest.approx([0.125, 0.25, 0.5, 0, 0])


def test_old_steps_give_way_to_new_ones():
    lanes = Corridor(2)
    made = replay(lanes, [1, 0], size=20)
    assert made.rows == 10
    for _ in range(25):
        made.collect(False)
    now = lanes.state()["inner"].T
    held = made.held["after"][(25 - 1) % 10]
    assert np.array_equal(held, now) and made.taken == 50
    assert (made.draw().keep.numpy() <= 0.5).all()


def test_large_errors_are_drawn_more_often_and_weigh_less():
    made = replay(Corridor(2), [1, 0], size=2000, batch=64, priority=1.0)
    for _ in range(700):  # 1400 of 2000 rows, and six blocks of them
        made.collect(False)
    n = 1400
    made.drawn = np.arange(n)
    gaps = np.zeros(n)
    gaps[[3, 700, 1399]] = 5.0
    made.rank(gaps)
    rows, weights = zip(*(made._by_priority(n) for _ in range(50)), strict=True)
    rows, weights = np.concatenate(rows), np.concatenate(weights)
    large = np.isin(rows, [3, 700, 1399])
    share = 3 * 5.001 / (3 * 5.001 + 1397 * 0.001)
    assert large.mean() == pytest.approx(share, abs=0.03)
    assert {3, 700, 1399} <= set(rows[large]) and rows.max() < n
    assert weights[large].max() < weights[~large].min()
    assert made.blocks.sum() == pytest.approx(made.flat["priority"].sum())


@pytest.mark.parametrize("priority", [0.0, 0.6])
def test_a_restored_replay_draws_the_same(priority):
    made, other = (replay(Corridor(3), [1, 1, 0], size=90, priority=priority, updates=2) for _ in range(2))
    batches = made.epoch(0, 7)
    for _ in range(5):
        next(batches)
        made.rank(np.ones(16))
    other.restore(made.state())
    again = other.epoch(0, 7, start=5)
    for ours, theirs in zip(batches, again, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            assert a is b is None or torch.equal(a, b)


def test_exploration_repeats_choices_and_differs_by_lane():
    acting = Bold(values(Scaled(1), 4, 1, 3, True), 8, 3, 0.4)
    assert acting.rates[0] == pytest.approx(0.4) and acting.rates[-1] < 0.001
    rng, rows = np.random.default_rng(0), np.zeros((8, 1), dtype=np.float32)
    done = np.stack([acting.act(rows, rng, None, False)[0] for _ in range(600)])
    usual = np.bincount(done[:, -1]).argmax()
    strayed = (done != usual).mean(axis=0)
    assert strayed[0] > 0.3 > 0.02 > strayed[-1]
    blind = np.stack([acting.act(rows, rng, None, True)[0] for _ in range(600)])[:, 0]
    assert (blind[1:] == blind[:-1]).mean() > 0.5, "random single choices of three would agree in a third"
    assert set(blind) == {0, 1, 2}


def test_the_duel_is_one_weighted_sum():
    torch.manual_seed(0)
    duel, x = Duel(5, 4), torch.randn(7, 5)
    heads = duel.heads(x)
    add, value = heads[:, :4], heads[:, 4:]
    assert torch.allclose(duel(x), value + add - add.mean(dim=1, keepdim=True), atol=1e-6)
    assert np.allclose(written(duel)(x.numpy()), duel(x).detach().numpy(), atol=1e-6)


@pytest.mark.parametrize("given", [{}, {"priority": 0.6, "ahead": 1}, {"double": False, "duel": False}])
def test_the_way_to_a_far_reward_is_found(given):
    agent = DQN(**{**SMALL, **given, "steps": 3000}).fit(Corridor, until=1.0)
    assert agent.stopped_ == "until"
    told = agent.evaluate(4)
    assert told["mean"] == 1.0 and told["length"] == 5


def test_forbidden_choices_are_never_taken():
    agent = DQN(**SMALL, steps=2000).fit(Narrow, until=1.0)
    assert agent.stopped_ == "until"
    assert agent.evaluate(4)["mean"] == 1.0


def test_a_killed_run_goes_on_as_if_nothing_had_happened(tmp_path):
    given = {**SMALL, "steps": 1200, "priority": 0.6}
    whole = DQN(**given).fit("CartPole-v1", until=None)
    file = str(tmp_path / "run")
    calls = []
    dqn.fit(DQN(**given, checkpoint=file), "CartPole-v1", None, stop=lambda: calls.append(1) or len(calls) > 1)
    assert (tmp_path / "run").exists(), "the stopped run left its state"
    part = DQN(**given, checkpoint=file)
    part.fit("CartPole-v1", until=None)
    assert any("Went on" in note for note in part.history_.notes)
    assert part.curve_.episodes == whole.curve_.episodes and part.curve_.looks == whole.curve_.looks
    for mine, theirs in zip(arrays(part), arrays(whole), strict=True):
        assert np.array_equal(mine, theirs)
    dqn.fit(DQN(**given, checkpoint=file), "CartPole-v1", None, stop=lambda: True)
    with pytest.raises(ModelFileError, match="checkpoint"):
        DQN(**{**given, "lanes": 5}, checkpoint=file).fit("CartPole-v1", until=None)


def arrays(agent) -> list[np.ndarray]:
    _, made = agent.step_.spec()
    return [made[k] for k in sorted(made)]


def test_real_numbered_actions_are_refused():
    with pytest.raises(CapabilityError, match="DQN takes discrete"):
        DQN(**SMALL).fit("Pendulum-v1")
