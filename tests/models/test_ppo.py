"""Proximal policy optimisation: what it learns from, that it learns, and that it goes on where it was."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from everymodel import environments
from everymodel.core.errors import ModelFileError
from everymodel.environments.lanes import ArrayLanes
from everymodel.models.reinforcement import ppo
from everymodel.models.reinforcement._network import Seen
from everymodel.models.reinforcement._rollouts import Rollouts
from everymodel.models.reinforcement.ppo import PPO, Policy
from everymodel.scoring.spaces import Space, box

SMALL = {"lanes": 8, "horizon": 16, "batch_size": 64, "passes": 4, "width": 16, "random_state": 3}


class Line(ArrayLanes):
    """Six places; a step right (1) or left (0), the third choice stays; 1 at the right end, where it is over."""

    name = "Line"
    observation = box(0.0, 5.0, (1,))
    action = Space(3)
    limit = 20
    threshold = None

    def begin(self, rng: np.random.Generator, n: int) -> np.ndarray:
        return np.zeros((1, n), dtype=np.float32)

    def advance(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        self.inner[0] = np.clip(self.inner[0] + np.array([-1, 1, 0])[actions], 0, 5)
        there = self.inner[0] == 5
        return there.astype(np.float32), there


class Narrow(Line):
    """The same, where the choice to stay is never allowed, and that to go left only from the third place on."""

    name = "Narrow"

    def masks(self) -> np.ndarray:
        made = np.ones((self.n, 3), dtype=bool)
        made[:, 2] = False
        made[self.inner[0] < 3, 0] = False
        return made

    def advance(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        assert self.masks()[np.arange(self.n), actions].all(), "a forbidden choice was taken"
        return super().advance(actions)


class Level(ArrayLanes):
    """The reward is high where the action is 30, of actions from -10 to 50; one step an episode."""

    name = "Level"
    observation = box(-1.0, 1.0, (1,))
    action = box(-10.0, 50.0, (1,))
    limit = 1
    threshold = None

    def begin(self, rng: np.random.Generator, n: int) -> np.ndarray:
        return np.zeros((1, n), dtype=np.float32)

    def advance(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return -(((actions[:, 0] - 30.0) / 10.0) ** 2).astype(np.float32), np.zeros(self.n, dtype=bool)


class Steady:
    """A policy and values that are known: always right; values are the place over ten."""

    def __call__(self, rows, rng, allowed):
        chosen = np.ones(len(rows), dtype=np.int64)
        return chosen, np.zeros(len(rows), dtype=np.float32), chosen


def rolled(horizon: int = 8, **settings) -> Rollouts:
    lanes = environments.make(Line, 2)
    given = {"discount": 0.9, "trace": 0.8, "scale_rewards": False, **settings}
    made = Rollouts(lanes, Seen(lanes.observation, normalize=False), lambda: Steady(), lambda rows: rows[:, 0] / 10,
                    horizon=horizon, passes=1, batch=4, seed=0, **given)  # fmt: skip
    made.collect(np.random.default_rng(0))
    return made


def by_hand(rewards, values, after, over, discount, trace):
    """Advantages of one lane by their definition: sums of discounted errors up to the episode's end."""
    n, made = len(rewards), []
    errors = [rewards[t] + discount * after[t] - values[t] for t in range(n)]
    for t in range(n):
        total, weight = 0.0, 1.0
        for k in range(t, n):
            total += weight * errors[k]
            weight *= discount * trace
            if over[k]:
                break
        made.append(total)
    return np.array(made)


def test_advantages_are_those_of_the_definition():
    x, _, _, gain, wanted = rolled().rollout
    # Always right: places 0 1 2 3 4, then the end (5), and from 0 again.
    places = np.array([0, 1, 2, 3, 4, 0, 1, 2])
    assert x[::2, 0].tolist() == places.tolist()
    rewards, over = np.array([0, 0, 0, 0, 1, 0, 0, 0.0]), np.array([0, 0, 0, 0, 1, 0, 0, 0], dtype=bool)
    after = np.array([1, 2, 3, 4, 0, 1, 2, 3]) / 10  # nothing comes after the end
    made = by_hand(rewards, places / 10, after, over, 0.9, 0.8)
    assert np.allclose(wanted[::2], made + places / 10, atol=1e-6)
    assert np.allclose(gain[::2], (made - made.mean()) / made.std(), atol=1e-5)


def test_episodes_that_are_cut_are_worth_what_would_have_come():
    class Short(Line):
        limit = 3

    lanes = environments.make(Short, 1)
    made = Rollouts(lanes, Seen(lanes.observation, normalize=False), lambda: Steady(), lambda rows: rows[:, 0] / 10,
                    horizon=3, passes=1, batch=3, discount=0.9, trace=1.0, scale_rewards=False, seed=0)  # fmt: skip
    made.collect(np.random.default_rng(0))
    # Cut at place 3, which is worth 0.3: the returns are 0.3 * 0.9 ** k, though no reward was seen.
    assert np.allclose(made.rollout[4], 0.3 * 0.9 ** np.array([3, 2, 1]), atol=1e-6)
    assert made.ends == [1, 1] and made.curve.episodes == [(3, 0.0, 3)]


def test_batches_hold_every_row_once_a_pass_and_the_same_from_any_start():
    made = rolled()
    made.passes = 2
    whole = list(made.epoch(1, 7))
    assert len(whole) == made.steps() == 8
    rest = list(made.epoch(1, 7, start=3))
    assert all(
        torch.equal(a, b) for one, two in zip(whole[3:], rest, strict=True) for a, b in zip(one, two, strict=True)
    )
    first = torch.cat([batch[4] for batch in whole[:4]]).sort().values
    assert torch.equal(first, torch.from_numpy(made.rollout[4]).sort().values)


@pytest.mark.parametrize("does", [Space(4), box(np.array([-2.0, 0.0]), np.array([2.0, 8.0]))])
def test_probabilities_while_acting_are_those_while_learning(does):
    torch.manual_seed(0)
    policy = Policy(box(-1.0, 1.0, (3,)), does, 8, 2)
    with torch.no_grad():
        for p in policy.parameters():
            p.add_(0.3 * torch.randn_like(p))
    x = np.random.default_rng(1).standard_normal((50, 3)).astype(np.float32)
    allowed = None
    if does.discrete:
        allowed = np.random.default_rng(2).random((50, 4)) < 0.6
        allowed[:, 0] = True
    actions, logs, native = policy.acting(Seen(policy.sees))(x, np.random.default_rng(0), allowed)
    given = () if allowed is None else (torch.from_numpy(allowed),)
    log, _ = policy(torch.from_numpy(x), torch.from_numpy(actions), *given)
    assert np.allclose(log.detach().numpy(), logs, atol=1e-5)
    if allowed is not None:
        assert allowed[np.arange(50), actions].all() and len(set(actions.tolist())) > 1
    else:
        inside, wanted = np.abs(actions) < 1, np.array([0.0, 4.0]) + np.array([2.0, 4.0]) * actions
        assert inside.any() and np.allclose(native[inside], wanted[inside], atol=1e-5)


def test_forbidden_choices_are_never_taken_and_the_rest_is_learnt():
    agent = PPO(steps=4000, **SMALL).fit(Narrow, until=None)  # Narrow itself fails where one is taken
    assert agent.evaluate(8)["length"] == 5


def test_bounds_far_from_one_are_reached():
    agent = PPO(steps=8_000, **{**SMALL, "lanes": 32, "horizon": 8}, learning_rate=0.01).fit(Level, until=None)
    assert abs(agent.act([0.0])[0] - 30) < 3


def test_cart_and_pole_are_learnt_by_the_defaults():
    agent = PPO(random_state=6).fit("CartPole-v1")
    assert agent.stopped_ == "until" and agent.steps_ < 100_000
    assert agent.evaluate(50, seed=5)["mean"] > 460


def test_a_run_that_was_interrupted_ends_as_one_that_was_not(tmp_path):
    class Stop:
        def __init__(self, after: int):
            self.after = after

        def __call__(self) -> bool:
            self.after -= 1
            return self.after < 0

    class Watched(PPO):
        def _train(self, *given, **plan):
            return super()._train(*given, **plan, checkpoint_every=0.0)

    small = {**SMALL, "steps": 2000, "passes": 3}
    whole = PPO(**small).fit("CartPole-v1", until=None)
    path = tmp_path / "run"
    # The engine asks a stop after 10 and 40 steps, if not before: the second time lies in the middle of an epoch.
    part = ppo.fit(Watched(checkpoint=str(path), **small), "CartPole-v1", None, stop=Stop(1))
    assert part.stopped_ == "stop" and path.exists() and part.steps_ < whole.steps_
    rest = Watched(checkpoint=str(path), **small).fit("CartPole-v1", until=None)
    assert rest.curve_.episodes == whole.curve_.episodes and rest.curve_.looks == whole.curve_.looks
    arrays, others = (a.step_.spec()[1] for a in (whole, rest))
    assert arrays.keys() == others.keys() and all(np.array_equal(arrays[k], others[k]) for k in arrays)
    assert not path.exists()


def test_a_checkpoint_of_another_run_is_refused(tmp_path):
    path = tmp_path / "run"
    ppo.fit(PPO(steps=2000, checkpoint=str(path), **SMALL), "CartPole-v1", None, stop=lambda: True)
    with pytest.raises(ModelFileError, match="belongs to a run with another"):
        PPO(steps=2000, checkpoint=str(path), **{**SMALL, "width": 8}).fit("CartPole-v1", until=None)


def test_the_scale_belongs_to_the_weights_that_answer():
    agent = PPO(steps=3000, **SMALL).fit("CartPole-v1", until=None)
    best = max(r for _, r in agent.curve_.looks)
    # The best weights answer with the scale by which they were learnt: they are as good as when they were looked at.
    assert agent.evaluate(100, seed=1)["mean"] > 0.6 * best
