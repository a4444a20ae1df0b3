"""Generators whose process was killed go on from their checkpoint to what an uninterrupted fit gives, bit for bit."""

from __future__ import annotations

import functools
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from everymodel.core.errors import ModelFileError
from everymodel.models.generative import _base
from everymodel.models.generative.dcgan import DCGAN
from everymodel.models.generative.lapgan import LAPGAN
from everymodel.models.generative.srgan import SRGAN
from everymodel.models.generative.table_diffusion import TableDiffusion
from everymodel.models.generative.text_generator import TextGenerator
from everymodel.models.generative.vae import VAE
from everymodel.models.generative.vanilla_gan import VanillaGAN
from everymodel.testing.enhancing import tiny_pictures
from everymodel.testing.generating import tiny_images, tiny_rows
from everymodel.testing.texts import tiny_text
from everymodel.training import checkpoint, estimator, loop

torch.set_num_threads(1)
EPOCH = 10  # steps between two looks at the validation figures
KEPT, DEAD = 13, 16  # steps after which the state is written, and after which the process is killed
STAGES = ("faithful", "judge", "vivid")
_IMAGES = {"width": 4, "latent_size": 4, "steps": 30, "batch_size": 8, "random_state": 3}
_LARGER = {"factor": 2, "width": 4, "blocks": 1, "patch": 8, "batch_size": 2, "steps": 108, "random_state": 3}
CASES: dict[str, tuple[Any, dict[str, Any]]] = {
    "vanilla_gan": (VanillaGAN, {"width": 8, "components": 4, "steps": 30, "batch_size": 16, "random_state": 3}),
    "dcgan": (DCGAN, {**_IMAGES, "latent": "groups", "augment": "shift_cut"}),
    "lapgan": (LAPGAN, _IMAGES),
    "vae": (VAE, {"width": 8, "epochs": 3, "batch_size": 8, "random_state": 3}),
    "vae_partly": (VAE, {"width": 8, "conditional": True, "importance": 2, "epochs": 2, "batch_size": 8,
                         "random_state": 3}),
    "text_generator": (TextGenerator, {"width": 16, "depth": 1, "context": 8, "steps": 30, "batch_size": 4,
                                       "random_state": 3}),
    "table_diffusion": (TableDiffusion, {"width": 8, "depth": 1, "dropout": 0.2, "steps": 30, "batch_size": 16,
                                         "random_state": 3}),
    **{f"srgan_{stage}": (SRGAN, _LARGER) for stage in ("faithful", "vivid")},
}  # fmt: skip


def data(name: str) -> tuple[Any, ...]:
    if name.startswith("srgan"):
        return (tiny_pictures(3, side=32),)
    if name == "text_generator":
        return (tiny_text(150),)
    if name == "vae":  # grey values are drawn anew at each step
        return (tiny_images(90, side=8)[0],)
    if name in ("dcgan", "lapgan"):
        return (tiny_images(90, side=8)[0],)
    X, y = tiny_rows(200)
    if name == "vae_partly":
        return X, np.where(np.arange(len(y)) % 3 == 0, y, None)
    return (X,)


def fitted(name: str, path: Path | None) -> Any:
    kind, given = CASES[name]
    return kind(**given, checkpoint=None if path is None else str(path)).fit(*data(name))


def die(name: str, path: Path) -> None:
    """Fit until the process kills itself, some steps after its last checkpoint. Only ever called in a process forked
    for it, which has no other way to its end."""
    write = checkpoint.write
    stage = "." + name.partition("_")[2] if name.startswith("srgan") else ""

    def written(file: Path, state: Any) -> None:
        if "place" not in state:  # a stage that is over
            write(file, state)
        elif not str(file).endswith(stage):
            return
        elif state["place"][2] == KEPT:
            write(file, state)
        elif state["place"][2] >= DEAD:
            os.kill(os.getpid(), signal.SIGKILL)

    # As often as there is a look at the clock, which here is each step.
    checkpoint.write, loop._LOOK = written, -1.0
    estimator.Plan = functools.partial(loop.Plan, checkpoint_every=1e-9)  # type: ignore[misc]
    fitted(name, path)


def ready() -> None:
    """What torch and the grouping of images load late, they load once."""
    import sklearn.cluster
    import sklearn.decomposition  # noqa: F401

    _base.EPOCH = EPOCH
    VanillaGAN(steps=1, width=2).fit(data("vanilla_gan")[0])


@pytest.fixture(scope="module")
def killed(kill_each: Callable[..., Path]) -> Path:
    """Checkpoints of fits that were killed on their way."""
    return kill_each(CASES, 900)


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_base, "EPOCH", EPOCH)


@functools.cache
def uninterrupted(kind: str) -> Any:
    return fitted(kind, None)


def told(history: Any) -> list[dict[str, Any]]:
    return [{k: v for k, v in entry.items() if k != "seconds"} for entry in history.epochs]


def same(one: Any, other: Any) -> None:
    """Whether two fitted models answer alike, bit for bit."""
    (mine, arrays), (theirs, wanted) = (model.step_.spec() for model in (one, other))
    assert mine == theirs and arrays.keys() == wanted.keys()
    for key, array in wanted.items():
        assert np.array_equal(arrays[key], array), key


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL there")
@pytest.mark.parametrize("name", [name for name in CASES if not name.startswith("srgan")])
def test_a_killed_generator_ends_as_one_that_was_not(name: str, killed: Path) -> None:
    """Weights, their average, draws, the film and the watch over the game."""
    path = killed / name
    epoch, at, t = checkpoint.read(path)["place"][:3]
    assert t == KEPT and epoch > 0 and at > 0, "the state is one from the middle of an epoch"
    whole, mended = uninterrupted(name), fitted(name, path)
    same(mended, whole)
    assert told(mended.history_) == told(whole.history_) and len(whole.history_.epochs) > epoch + 1
    assert mended.history_.best_loss == whole.history_.best_loss
    assert [n for n in mended.history_.notes if n not in whole.history_.notes] == [
        f"Went on from the checkpoint in epoch {epoch + 1}."
    ]
    films = [getattr(model, "film_", []) for model in (mended, whole)]
    assert [share for share, _ in films[0]] == [share for share, _ in films[1]]
    assert all(np.array_equal(a, b) for (_, a), (_, b) in zip(*films, strict=True))
    assert len(films[1]) > 2 or "gan" not in name
    assert not path.exists()  # the run is over


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL there")
@pytest.mark.parametrize("stage", ["faithful", "vivid"])
def test_stages_that_were_over_are_not_learnt_again(stage: str, killed: Path) -> None:
    name = f"srgan_{stage}"
    assert checkpoint.read(killed / f"{name}.{stage}")["place"][2] == KEPT
    before = STAGES[: STAGES.index(stage)]
    assert sorted(p.name for p in killed.glob(f"{name}.*.over")) == sorted(f"{name}.{one}.over" for one in before)
    whole, mended = uninterrupted("srgan_vivid"), fitted(name, killed / name)
    same(mended, whole)
    for one in STAGES:
        assert told(mended.histories_[one]) == told(whole.histories_[one])
        note = " ".join(mended.histories_[one].notes)
        assert ("earlier run" in note) == (one in before) and ("Went on" in note) == (one == stage)
    assert not list(killed.glob(f"{name}*"))


def test_stages_of_another_fit_are_told(tmp_path: Path) -> None:
    path, given = tmp_path / "run", {**_LARGER, "steps": 30}
    stopped = SRGAN(**given, checkpoint=str(path))
    stopped._stop = lambda: len(stopped.histories_) == 2  # in the third stage
    stopped.fit(*data("srgan_vivid"))
    assert stopped.histories_["vivid"].stopped == "stop"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run.faithful.over", "run.judge.over", "run.vivid"]
    over = tmp_path / "run.faithful.over"
    with pytest.raises(ModelFileError, match="other settings"):
        SRGAN(**{**given, "batch_size": 3}, checkpoint=str(path)).fit(*data("srgan_vivid"))
    over.write_bytes(over.read_bytes()[:-9])
    with pytest.raises(ModelFileError, match="Remove it to start anew"):
        SRGAN(**given, checkpoint=str(path)).fit(*data("srgan_vivid"))
