"""Soft actor-critic."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from everymodel.core.errors import CapabilityError
from everymodel.environments.lanes import ArrayLanes
from everymodel.models.reinforcement import sac
from everymodel.models.reinforcement._replay import Scaled
from everymodel.models.reinforcement.sac import SAC, Actor
from everymodel.scoring.spaces import box

SMALL = {"lanes": 4, "first": 100, "batch_size": 32, "memory": 1000, "width": 16, "random_state": 3}


class Target(ArrayLanes):
    """Two numbers between -1 and 3 come near (0.5, 2.5), whatever is seen; ten steps."""

    name = "Target"
    observation = box(-1.0, 1.0, (1,))
    action = box(-1.0, 3.0, (2,))
    limit = 10
    threshold = None

    def begin(self, rng: np.random.Generator, n: int) -> np.ndarray:
        return rng.uniform(-1, 1, (1, n)).astype(np.float32)

    def advance(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        miss = ((actions - np.array([0.5, 2.5])) ** 2).sum(axis=1)
        return -miss.astype(np.float32), np.zeros(self.n, dtype=bool)


class Endless(Target):
    name = "Endless"
    action = box(-np.inf, 3.0, (2,))


def test_the_density_of_actions_is_that_of_the_squashed_normal():
    """Mean densities of draws in the two halves of a bin agree with how many fall into it."""
    torch.manual_seed(0)
    actor = Actor(Scaled(1), 4, 1, box(-1.0, 1.0, (1,)))
    with torch.no_grad():
        actor.body[-1].bias.copy_(torch.tensor([0.4, -0.3]))
        actor.body[-1].weight.zero_()
        drawn, log = actor(torch.zeros(200_000, 1))
    drawn, density = drawn[:, 0].numpy(), log.exp().numpy()
    for low in (-0.6, 0.0, 0.4, 0.8):
        inside = (drawn >= low) & (drawn < low + 0.1)
        assert inside.mean() == pytest.approx(density[inside].mean() * 0.1, rel=0.05)
    with torch.no_grad():
        actor.body[-1].bias.copy_(torch.tensor([40.0, 2.0]))
        assert torch.isfinite(actor(torch.zeros(100, 1))[1]).all()


def test_bounds_of_actions_are_kept_and_used():
    actor = Actor(Scaled(1), 4, 1, box([-1.0, 0.0], [3.0, 0.5]))
    rng = np.random.default_rng(0)
    kept, done = actor.act(np.zeros((500, 1), np.float32), rng, None, True)
    assert np.abs(kept).max() <= 1 and done.min(axis=0) == pytest.approx([-1, 0], abs=0.05)
    assert done.max(axis=0) == pytest.approx([3, 0.5], abs=0.05)


@pytest.mark.parametrize("given", [{}, {"ahead": 1, "delay": 1, "updates": 2, "steps": 1500}])
def test_the_best_action_is_found(given):
    agent = SAC(**{**SMALL, "steps": 2400, "discount": 0.5, **given}).fit(Target, until=None)
    assert agent.act([0.2]) == pytest.approx([0.5, 2.5], abs=0.3)
    assert agent.evaluate(5)["mean"] > -1.0


def test_a_killed_run_goes_on_as_if_nothing_had_happened(tmp_path):
    given = {**SMALL, "steps": 1200}
    whole = SAC(**given).fit("Pendulum-v1", until=None)
    file = str(tmp_path / "run")
    calls = []
    sac.fit(SAC(**given, checkpoint=file), "Pendulum-v1", None, stop=lambda: calls.append(1) or len(calls) > 1)
    assert (tmp_path / "run").exists(), "the stopped run left its state"
    part = SAC(**given, checkpoint=file)
    part.fit("Pendulum-v1", until=None)
    assert any("Went on" in note for note in part.history_.notes)
    assert part.curve_.looks == whole.curve_.looks
    (_, mine), (_, theirs) = part.step_.spec(), whole.step_.spec()
    assert all(np.array_equal(mine[k], theirs[k]) for k in theirs)


def test_what_it_cannot_do_is_refused():
    with pytest.raises(CapabilityError, match="SAC needs bounds"):
        SAC(**SMALL).fit(Endless)
    with pytest.raises(CapabilityError, match="SAC takes continuous"):
        SAC(**SMALL).fit("CartPole-v1")
