"""Killed runs go on as if nothing had happened; damaged, foreign and unwritable checkpoints are told."""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from everymodel.core.errors import ModelFileError
from everymodel.training import checkpoint, loop
from everymodel.training.loop import History, Plan, train
from everymodel.training.objective import Objective
from everymodel.training.optimizers import Optimizer
from everymodel.training.source import Arrays, Ragged


def noisy(batch: tuple[torch.Tensor, ...], generator: torch.Generator) -> Any:
    return batch[0] + 0.1 * torch.randn(batch[0].shape, generator=generator), batch[1]


class Fit(Objective):
    """Dropout, batch statistics and a counter of its own; dies at step `death`."""

    def __init__(self, death: int | None, kind: str):
        torch.manual_seed(0)
        super().__init__(
            net=nn.Sequential(nn.Linear(5, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 3))
        )
        self.death, self.kind, self.count = death, kind, torch.zeros(2)

    def step(self, nets: Any, batch: Any) -> Any:
        X, y = (batch[0].mean(1), batch[2]) if self.kind == "ragged" else batch
        return {"net": F.cross_entropy(nets["net"](X), y) + 1e-3 * self.count.sum()}

    def after_step(self, step: int) -> None:
        self.count += 1
        if step == self.death:
            os.kill(os.getpid(), signal.SIGKILL)

    def state(self) -> Any:
        return {"count": self.count, "words": ["a", None, 1.5, float("inf")]}

    def restore(self, state: Any) -> None:
        assert state["words"] == ["a", None, 1.5, float("inf")]
        self.count = state["count"]


def run(path: Path | None, death: int | None = None, kind: str = "adam", **options: Any) -> tuple[Fit, History]:
    generator = torch.Generator().manual_seed(3)
    X = torch.randn(160, 5, generator=generator)
    y = torch.randint(0, 3, (160,), generator=generator)
    if kind == "ragged":
        source: Any = Ragged(X.repeat(2, 1), torch.full((160,), 2), y, batch=16)
    else:
        source = Arrays(X, y, batch=16, augment=noisy)
    plan: dict[str, Any] = {
        "epochs": 5,
        "optimizers": Optimizer("muon" if kind == "muon" else "momentum" if kind == "sgd" else "adamw", 0.02, 0.01),
        "ema": 0.9,
        "schedule": "cosine",
        "clip": 1.0,
        "keep_best": kind == "adam",
        "accumulate": 3 if kind == "gathered" else 1,
        "checkpoint": path,
        "checkpoint_every": 1e-9,  # as often as there is a look at the clock, which here is each step
        "seed": 11,
    }
    objective = Fit(death, kind)
    valid = Arrays(X[:40] + 1, y[:40]) if kind != "ragged" else None
    return objective, train(objective, source, Plan(**{**plan, **options}), valid=valid)


KINDS = ("adam", "sgd", "muon", "gathered", "ragged")


def ready() -> None:
    """The state is written at each step; what torch loads late, it loads once."""
    loop._LOOK, write = -1.0, checkpoint.write
    checkpoint.write = lambda path, state: write(path, state) if state["place"][2] > 18 else None
    run(None, epochs=1)


def die(kind: str, path: Path) -> None:
    """Only ever called in a process forked for it, which has no other way to its end."""
    run(path, 23, kind)


@pytest.fixture(scope="module")
def killed(kill_each: Callable[..., Path]) -> Path:
    """Checkpoints of runs that were killed in the middle of their third epoch."""
    return kill_each(KINDS, 120)


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL there")
@pytest.mark.parametrize("kind", KINDS)
def test_a_killed_run_ends_with_the_weights_of_one_that_was_not(kind: str, killed: Path) -> None:
    """Dropout, augmentation, averages, batch statistics, momenta, the schedule, best weights: bit for bit."""
    state = checkpoint.read(killed / kind)
    epoch, at, t = state["place"][:3]
    # With three batches to an update, the last before death ended the second epoch.
    assert t == (20 if kind == "gathered" else 22) and epoch * 10 + at == t
    whole, told = run(None, kind=kind)
    mended, history = run(killed / kind, kind=kind)
    for a, b in zip(whole.nets.state_dict().values(), mended.nets.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    assert torch.equal(whole.count, mended.count)
    drop = ("seconds",)
    clean = [[{k: v for k, v in e.items() if k not in drop} for e in h.epochs] for h in (told, history)]
    assert clean[0] == clean[1]
    assert (told.best_loss, told.best_epoch, told.steps) == (history.best_loss, history.best_epoch, history.steps)
    assert history.notes == [f"Went on from the checkpoint in epoch {epoch + 1}."] and not told.notes
    assert not (killed / kind).exists()  # the run is over


def test_a_stopped_run_goes_on_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "_LOOK", -1.0)
    path = tmp_path / "run"
    asked: list[int] = []

    def stop() -> bool:
        asked.append(1)
        return len(asked) == 27

    objective = Fit(None, "adam")
    generator = torch.Generator().manual_seed(3)
    X, y = torch.randn(160, 5, generator=generator), torch.randint(0, 3, (160,), generator=generator)
    plan = Plan(epochs=5, ema=0.9, checkpoint=path, seed=11)
    history = train(objective, Arrays(X, y, batch=16), plan, valid=Arrays(X, y), stop=stop)
    assert history.stopped == "stop" and history.steps == 27 and path.exists()
    mended, whole = Fit(None, "adam"), Fit(None, "adam")
    train(mended, Arrays(X, y, batch=16), plan, valid=Arrays(X, y))
    train(whole, Arrays(X, y, batch=16), Plan(epochs=5, ema=0.9, seed=11), valid=Arrays(X, y))
    for a, b in zip(whole.nets.state_dict().values(), mended.nets.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def stopped(path: Path) -> None:
    run_, asked = Plan(epochs=3, checkpoint=path), []

    def stop() -> bool:
        asked.append(1)
        return True

    train(Fit(None, "adam"), Arrays(torch.zeros(200, 5), torch.zeros(200, dtype=torch.int64), batch=8), run_, stop=stop)


@pytest.mark.parametrize("damage", ["cut", "bit", "empty", "text", "structure"])
def test_damaged_checkpoints_are_told(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "run"
    stopped(path)
    raw = bytearray(path.read_bytes())
    if damage == "cut":
        raw = raw[: len(raw) // 2]
    elif damage == "bit":
        raw[len(raw) // 2] ^= 4
    elif damage == "empty":
        raw = bytearray()
    elif damage == "text":
        raw = bytearray(b"this is a letter, not a checkpoint")
    path.write_bytes(raw)
    if damage == "structure":
        state = checkpoint.read(path)
        del state["place"]
        checkpoint.write(path, state)
    with pytest.raises(ModelFileError, match=r"cannot be read.*Remove it to start anew"):
        stopped(path)
    assert path.exists()


def test_a_checkpoint_of_another_run_is_told(tmp_path: Path) -> None:
    path = tmp_path / "run"
    stopped(path)
    X, y = torch.zeros(200, 5), torch.zeros(200, dtype=torch.int64)
    for other in (
        lambda: train(Fit(None, "adam"), Arrays(X, y, batch=8), Plan(epochs=4, checkpoint=path)),
        lambda: train(Fit(None, "adam"), Arrays(X, y, batch=8), Plan(epochs=3, seed=1, checkpoint=path)),
        lambda: train(Fit(None, "adam"), Arrays(X[:100], y[:100], batch=8), Plan(epochs=3, checkpoint=path)),
        lambda: train(
            Fit(None, "adam"), Arrays(X, y, batch=8), Plan(epochs=3, optimizers=Optimizer("sgd"), checkpoint=path)
        ),
    ):
        with pytest.raises(ModelFileError, match="belongs to a run with another network, data, seed"):
            other()


def test_a_full_disk_ends_no_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, state: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoint, "write", full)
    _, history = run(tmp_path / "run", checkpoint_every=0.0)
    assert history.stopped == "end" and len(history.epochs) == 5
    assert len(history.notes) == 1 and history.notes[0].endswith("No space left on device.")


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    _, history = run(tmp_path / "no" / "run", checkpoint_every=0.0)
    assert len(history.epochs) == 5 and "No checkpoint could be written" in history.notes[0]


def test_states_come_back_as_they_were(tmp_path: Path) -> None:
    state = {
        "t": {w: torch.arange(5).to(getattr(torch, w)) for w in ("float32", "float64", "bfloat16", "int64", "bool")},
        "numbers": [1, -1.5, float("inf"), None, True, "text", [], {}],
        3: {"scalar": torch.tensor(2.5), "empty": torch.zeros(0, 3)},
    }
    checkpoint.write(tmp_path / "x", state)
    found = checkpoint.read(tmp_path / "x")
    assert found["numbers"] == state["numbers"] and list(found) == list(state)
    for w, t in state["t"].items():  # type: ignore[union-attr]
        assert found["t"][w].dtype == t.dtype and torch.equal(found["t"][w], t)
    assert found[3]["scalar"].shape == () and found[3]["empty"].shape == (0, 3)
    checkpoint.write(tmp_path / "x", {"nan": float("nan")})
    assert np.isnan(checkpoint.read(tmp_path / "x")["nan"])
