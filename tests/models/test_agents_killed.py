"""Agents whose process was killed go on from their checkpoint to what an uninterrupted run gives, bit for bit."""

from __future__ import annotations

import functools
import importlib.util
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from everymodel.models.reinforcement import _table
from everymodel.models.reinforcement.dqn import DQN
from everymodel.models.reinforcement.ppo import PPO
from everymodel.models.reinforcement.q_learning import QLearning
from everymodel.models.reinforcement.sac import SAC
from everymodel.models.reinforcement.self_play import SelfPlay
from everymodel.training import checkpoint, estimator, loop

KEPT, DEAD = 61, 66  # updates after which the state is written, and after which the process is killed
_REPLAY = {
    "steps": 512,
    "lanes": 4,
    "updates": 1,
    "first": 100,
    "batch_size": 32,
    "memory": 500,
    "width": 8,
    "random_state": 3,
}
CASES: dict[str, tuple[Any, dict[str, Any], Any]] = {
    "ppo": (PPO, {"steps": 1152, "lanes": 8, "horizon": 16, "batch_size": 64, "passes": 4, "width": 8,
                  "random_state": 3}, "CartPole-v1"),
    "dqn": (DQN, {**_REPLAY, "priority": 0.6}, "CartPole-v1"),
    "sac": (SAC, _REPLAY, "Pendulum-v1"),
    "q_learning": (QLearning, {"steps": 6000, "lanes": 16, "random_state": 3}, "FrozenLake8x8-v1"),
    "self_play": (SelfPlay, {"rounds": 3, "games": 8, "simulations": 4, "width": 8, "depth": 1, "batch_size": 16,
                             "random_state": 3}, "tic_tac_toe"),
}  # fmt: skip
if importlib.util.find_spec("gymnasium") is not None:  # environments that are played again up to where they were
    from test_agents_images import Catch

    CASES["ppo_images"] = PPO, {**CASES["ppo"][1], "filters": 4}, Catch
    CASES["dqn_images"] = DQN, {**_REPLAY, "filters": 4}, Catch


def fitted(name: str, path: Path | None) -> Any:
    kind, given, env = CASES[name]
    return kind(**given, checkpoint=None if path is None else str(path)).fit(env, until=None)


def die(name: str, path: Path) -> None:
    """Fit until the process kills itself, some steps after its last checkpoint. Only ever called in a process forked
    for it, which has no other way to its end."""
    write, keep, kept = checkpoint.write, _table.write, 0

    def network(file: Path, state: Any) -> None:
        if state["place"][2] == KEPT:
            write(file, state)
        elif state["place"][2] >= DEAD:
            os.kill(os.getpid(), signal.SIGKILL)

    def table(*given: Any) -> None:
        nonlocal kept
        kept += 1
        if kept == 8:
            os.kill(os.getpid(), signal.SIGKILL)
        keep(*given)

    # As often as there is a look at the clock, which here is each step.
    checkpoint.write, loop._LOOK = network, -1.0
    estimator.Plan = functools.partial(loop.Plan, checkpoint_every=1e-9)  # type: ignore[misc]
    _table.write, _table._KEEP, _table._CLOCK = table, 0.0, 0.0
    fitted(name, path)


def ready() -> None:
    """What torch loads late, it loads once."""
    PPO(**CASES["ppo"][1] | {"steps": 1}).fit("CartPole-v1", until=None)


@pytest.fixture(scope="module")
def killed(kill_each: Callable[..., Path]) -> Path:
    """Checkpoints of fits that were killed on their way."""
    return kill_each(CASES, 600)


def arrays(agent: Any) -> dict[str, np.ndarray]:
    return agent.step_.spec()[1]


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL there")
@pytest.mark.parametrize("name", CASES)
def test_a_killed_agent_ends_as_one_that_was_not(name: str, killed: Path) -> None:
    path = killed / name
    if name != "q_learning":
        epoch, at, t = checkpoint.read(path)["place"][:3]
        assert t == KEPT and epoch > 0 and at > 0, "the state is one from the middle of an epoch"
    whole, mended = fitted(name, None), fitted(name, path)
    mine, theirs = arrays(mended), arrays(whole)
    assert mine.keys() == theirs.keys()
    for key in theirs:
        assert np.array_equal(mine[key], theirs[key]), key
    assert mended.curve_.episodes == whole.curve_.episodes and mended.curve_.looks == whole.curve_.looks
    assert len(whole.curve_.looks) > 1 or name == "q_learning"
    for told in ("steps_", "positions_", "games_", "signs_", "stopped_"):
        assert getattr(mended, told, 0) == getattr(whole, told, 0), told
    if name == "q_learning":
        assert np.array_equal(mended.visits_, whole.visits_) and whole.visits_.sum() > 0
    else:
        assert mended.history_.notes == [f"Went on from the checkpoint in epoch {epoch + 1}."]
        assert not path.exists()  # the run is over
