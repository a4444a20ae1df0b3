"""Super-resolution: larger images with the detail that small ones lack."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from everymodel.core.clock import seconds
from everymodel.core.errors import DataError, ModelFileError, ParameterError
from everymodel.core.seeds import derive
from everymodel.models.generative._base import Generative, fit
from everymodel.models.generative._resolution import (
    Detail,
    Judge,
    Patches,
    Pixels,
    Recognition,
    Texture,
    Vivid,
    fine,
    halved,
)
from everymodel.scoring import images as cells
from everymodel.scoring.steps.base import Step
from everymodel.scoring.steps.enhancing import TO_YCC, Enhancer, signal_to_noise
from everymodel.training import checkpoint
from everymodel.training.blocks.written import written
from everymodel.training.device import quick
from everymodel.training.loop import History
from everymodel.training.optimizers import Optimizer

__all__ = ["CARD", "SRGAN", "fit", "pack"]

CARD = {
    "name": "srgan",
    "title": "Super-resolution GAN",
    "summary": "Makes small images two to eight times as large and draws the detail that enlarging alone cannot give.",
    "choose": "Photographs or scans that are too small, with some dozens of large ones of the same kind to learn from.",
    "avoid": "Evidence: what it draws is likely, not seen. Ask for fidelity 1 where the least error is wanted.",
    "gives": ["enhanced"],
    "needs": {"package": "torch", "inputs": "image"},
    "cost": {"scale": 0.05, "rows_power": 0.2, "columns_power": 0.5},
    "references": [
        "Ledig et al. (2017), Photo-realistic single image super-resolution using a generative adversarial network.",
        "Shi et al. (2016), Real-time single image super-resolution with a sub-pixel convolutional network.",
        "Wang et al. (2018), ESRGAN (no normalisation, interpolation of networks).",
    ],
    "advice": ["slow"],
    "parameters": {
        "factor": {
            "type": "choice",
            "default": 4,
            "choices": [2, 3, 4, 8],
            "tune": False,
            "text": "By which both sides grow.",
        },
        "adversarial": {
            "type": "bool",
            "default": True,
            "tune": False,
            "text": "Whether a vivid network is trained after the faithful one.",
        },
        "width": {"type": "int", "default": 32, "low": 4, "high": 512, "log": True, "text": "Channels of the maps."},
        "blocks": {"type": "int", "default": 6, "low": 1, "high": 64, "text": "Residual blocks of two convolutions."},
        "patch": {"type": "int", "default": 24, "low": 4, "high": 256, "text": "Side of the small patches."},
        "feature_weight": {
            "type": "float",
            "default": 0.05,
            "low": 0.0,
            "high": 100.0,
            "text": "Weight of the loss in features of a network that tells the images apart.",
        },
        "game_weight": {
            "type": "float",
            "default": 0.5,
            "low": 0.0,
            "high": 100.0,
            "text": "Pull of the game against the critic beside that of the true pixels.",
        },
        "penalty": {"text": "Strength of the pull that holds the critic's slopes small; none: 0.01."},
        "averaging": {"default": 0.01},
        "steps": {"text": "Steps of the faithful network; none: 5,000, or as many as the budget allows."},
        "batch_size": {"default": 16},
        "learning_rate": {"default": 0.004},
        "device": {},
    },
    "tiny": [
        {"factor": 2, "width": 8, "blocks": 1, "patch": 8, "steps": 30, "batch_size": 4, "random_state": 0},
        {
            "factor": 3,
            "adversarial": False,
            "width": 4,
            "blocks": 1,
            "patch": 6,
            "steps": 10,
            "batch_size": 2,
            "random_state": 1,
        },
    ],
    "presets": [{}],
    "classes": {"generator": {"class": "everymodel.models.generative.srgan:SRGAN", "tasks": ["enhance"]}},
}
_SHARES = {"faithful": 0.5, "judge": 0.05, "vivid": 0.45}  # of the budget
_STEPS = 5_000
_PENALTY = 0.01  # fine detail is faint: a critic held tighter does not see it
_FREE = ("budget", "device", "checkpoint", "random_state", "verbose")  # may differ in a run that goes on
_RIM = 4
_STUDIO = 219 / 255  # papers count errors of luminance from 16 to 235


class SRGAN(Generative):
    """Residual convolutions on the small image, whose channels become pixels, added to its bicubic enlargement.

    Three stages: the faithful network learns the least error (SRResNet); a judge learns which image a patch is from and
    how it is turned; the vivid network goes on from the faithful one with the features of that judge and a relativistic
    critic. `upscale(images, fidelity)` blends the weights of the two. The networks see luminance alone, colours are
    enlarged by bicubic; small images for the fit are made by bicubic shrinking.

    Parameters
    ----------
    factor : 2, 3, 4 or 8. adversarial : False leaves the vivid network out.
    width, blocks : of the network. patch : side of the small patches.
    feature_weight, game_weight, penalty : of the vivid stage; penalty None: 0.01.
    averaging : half-life of the moving average of the weights as a share of each stage; 0: none.
    steps : of the faithful stage; the others take a sixth and a half of it.
    batch_size, learning_rate, budget, device, checkpoint, random_state, verbose : as for all networks.

    Attributes
    ----------
    step_, histories_ (by stage), history_ (of the faithful stage), faithful_, vivid_

    Raises
    ------
    DataError, ParameterError

    Examples
    --------
    >>> from sklearn.datasets import load_sample_image
    >>> photo = load_sample_image("china.jpg")[:120, :160]
    >>> model = SRGAN(factor=2, width=8, blocks=1, steps=30, adversarial=False, random_state=0).fit([photo] * 2)
    >>> model.upscale([photo[:20, :30]])[0].shape
    (40, 60, 3)
    """

    def __init__(
        self,
        factor: int = 4,
        adversarial: bool = True,
        width: int = 32,
        blocks: int = 6,
        patch: int = 24,
        feature_weight: float = 0.05,
        game_weight: float = 0.5,
        penalty: float | None = None,
        averaging: float = 0.01,
        steps: int | None = None,
        batch_size: int = 16,
        learning_rate: float = 4e-3,
        budget: float | str | None = None,
        device: str = "auto",
        checkpoint: str | None = None,
        random_state: int | None = None,
        verbose: int = 0,
    ):
        self.factor = factor
        self.adversarial = adversarial
        self.width = width
        self.blocks = blocks
        self.patch = patch
        self.feature_weight = feature_weight
        self.game_weight = game_weight
        self.penalty = penalty
        self.averaging = averaging
        self.steps = steps
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.budget = budget
        self.device = device
        self.checkpoint = checkpoint
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: Any, y: Any = None) -> SRGAN:
        """Learn from large images: arrays (h, w[, c]), paths or Pillow images, of any sizes; y is ignored.

        Raises
        ------
        DataError
            for images that cannot be read or are smaller than two patches; fewer than two images.
        """
        if self.factor not in (2, 3, 4, 8):
            raise ParameterError(f"factor={self.factor!r} came; expected 2, 3, 4 or 8.")
        self._seed()
        began = time.monotonic()  # earlier, where an earlier run ended some stages
        pairs = [halved(x, self.factor) for x in _luminance(X)]
        if len(pairs) < 2:
            raise DataError(f"{len(pairs)} image came; expected two or more, of which one only watches.")
        least = min(min(small.shape) for small, _ in pairs)
        if least < 4:
            raise DataError(f"An image has a side of less than {4 * self.factor} pixels: leave it out.")
        if all((large == large[0, 0]).all() for _, large in pairs):
            raise DataError("All images are of one colour, so there is nothing to learn: give images that differ.")
        rng = np.random.default_rng(derive(self.seed_, "held"))
        order = rng.permutation(len(pairs))
        held = max(1, min(len(pairs) // 20, 8))
        watching, learning = [pairs[i] for i in order[:held]], [pairs[i] for i in order[held:]]
        wide = [p for p in learning if min(p[0].shape) >= self.patch]
        notes = []
        if len(learning) > len(wide) >= len(learning) / 2:  # the smallest image would make all patches small
            notes.append(
                f"{len(learning) - len(wide)} of {len(pairs)} images are smaller than a patch and were left out."
            )
            learning = wide
        with self._initial():
            net = Detail(self.factor, self.width, self.blocks)
            side = min(self.patch, *(min(s.shape) for s, _ in learning)) * self.factor
            slim = max(self.width // 2, 4)  # maps of large patches cost most
            judge = Judge(side, slim, 4 * len(learning))
            opponent = Texture(self.factor, side // self.factor, 3 * slim)
        total = seconds(self.budget)
        self.histories_ = {}

        told = {k: v for k, v in self.get_params().items() if k not in _FREE}
        mark = repr([self.seed_, sum(large.size for _, large in pairs), *sorted(told.items())])

        def stage(name: str, objective: Any, share: float, **plan: Any) -> bool:
            """Train; whether it came to its end."""
            nonlocal began
            over = Path(f"{self.checkpoint}.{name}.over")
            if self.checkpoint and over.exists():
                self.history_ = self.histories_[name] = _ended(over, objective.nets, mark)
                began -= self.history_.seconds
                return True
            epochs = self._length(_STEPS, None if self.steps is None else max(int(self.steps * share), 1))
            if total is not None:
                mine = _SHARES if self.adversarial else {"faithful": 1.0}
                left = total - (time.monotonic() - began)
                rest = sum(v for k, v in mine.items() if k not in self.histories_)
                plan["budget"] = max(left * mine[name] / rest, 0.01)
            if self.checkpoint:
                plan["checkpoint"] = Path(f"{self.checkpoint}.{name}")
            small, large = zip(*learning, strict=True)
            source = Patches(list(small), list(large), self.factor, self.patch, self.batch_size, self.epoch_)
            given = {"stop": getattr(self, "_stop", None), "threads": getattr(self, "_threads", None)}
            valid = Patches(list(small), list(large), self.factor, self.patch, self.batch_size, 1)
            self.histories_[name] = self._train(
                objective,
                source,
                valid=valid,
                epochs=epochs,
                half_life=self.averaging or None,
                schedule="one_cycle",
                precision=quick(self.device),
                channels_last=True,
                **given,
                **plan,
            )
            if self.history_.stopped == "stop":
                return False
            if self.checkpoint:  # a run that is killed in a later stage does not learn this one again
                weights, history = dict(objective.nets.state_dict()), asdict(self.history_)
                checkpoint.write(over, {"mark": mark, "weights": weights, "history": history})
            return True

        adam = Optimizer("adam", self.learning_rate)
        ended = stage("faithful", Pixels(net, watching), 1.0, optimizers=adam)
        network = written(net.cpu().body)
        self.faithful_, vivid, self.vivid_ = net, None, None
        first = self.history_
        first.notes[:0] = notes
        if self.adversarial and ended:
            ended = stage("judge", Recognition(judge), 1 / 6, optimizers=Optimizer("adam", 1e-3))
        if self.adversarial and ended:
            self.vivid_ = Detail(self.factor, self.width, self.blocks)
            self.vivid_.load_state_dict(net.state_dict())
            slow = {
                "critic": Optimizer("adam", self.learning_rate / 2, betas=(0.0, 0.99)),
                "generator": Optimizer("adam", self.learning_rate / 4, betas=(0.0, 0.99)),
            }
            amounts = (self.feature_weight, self.game_weight)
            penalty = _PENALTY if self.penalty is None else self.penalty
            game = Vivid(self.vivid_, opponent, judge, amounts, penalty=penalty, seed=self.seed_)
            ended = stage("vivid", game, 0.5, optimizers=slow, keep_best=False)
            vivid = written(self.vivid_.cpu().body)
        if self.checkpoint and ended:
            for name in self.histories_:
                Path(f"{self.checkpoint}.{name}.over").unlink(missing_ok=True)
        self.history_ = first
        self.step_ = Enhancer(network=network, factor=self.factor, vivid=vivid)
        return self

    def upscale(self, images: Any, fidelity: float = 0.0) -> Any:
        """Images `factor` times as large, bytes (h, w, c): a list, or one array for one image.

        Parameters
        ----------
        images : an image (array, path, Pillow), or several of any sizes.
        fidelity : 1 for the least error, 0 for the most detail.
        """
        one = cells.is_image(images) or cells.is_path(images)
        made = self._step().upscale([_read(x) for x in ([images] if one else images)], fidelity)  # type: ignore[attr-defined]
        return made[0] if one else made

    def evaluate(self, X: Any, y: Any = None, **ignored: Any) -> dict[str, float]:  # type: ignore[override]
        """How near images that were shrunk and enlarged again come to themselves.

        Returns
        -------
        psnr (of the faithful network), psnr_vivid, psnr_bicubic : mean peak signal-to-noise ratios in dB as papers
        count them, of luminance from 16 to 235 without a rim of 4 pixels. detail, detail_vivid, detail_bicubic : energy
        of fine detail against that of the images.
        """
        blank = {"psnr": 1.0, "psnr_vivid": 0.0, "psnr_bicubic": None}
        told: dict[str, list[float]] = {name: [] for name in blank}
        energy: dict[str, list[float]] = {name: [] for name in (*blank, "real")}
        for large in _luminance(X):
            small, large = halved(large, self.factor)
            energy["real"].append(_fine(large))
            for name, fidelity in blank.items():
                step: Any = self._step()
                made = (
                    step.upscale([small[..., None]], fidelity or 0.0)[0][..., 0]
                    if fidelity is not None
                    else _plain(small, large)
                )
                told[name].append(signal_to_noise(made * _STUDIO, large * _STUDIO, _RIM))
                energy[name].append(_fine(made))
        figures = {name: float(np.mean(values)) for name, values in told.items()}
        for name, word in (("psnr", "detail"), ("psnr_vivid", "detail_vivid"), ("psnr_bicubic", "detail_bicubic")):
            figures[word] = float(np.sum(energy[name]) / np.sum(energy["real"]))
        return figures


def _ended(path: Path, nets: torch.nn.Module, mark: str) -> History:
    """What an earlier run told of a stage that it ended; its weights are put into the networks."""
    try:
        state = checkpoint.read(path)
        same = state["mark"] == mark
        if same:
            nets.load_state_dict(state["weights"])
            state = History(**state["history"])
    except (ModelFileError, LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise ModelFileError(f"The checkpoint {path} cannot be read: {error} Remove it to start anew.") from error
    if not same:
        raise ModelFileError(
            f"The checkpoint {path} belongs to a run with other settings or images. Remove it, or give those."
        )
    state.notes.append("An earlier run came to the end of this stage.")
    return state


def _fine(image: np.ndarray) -> float:
    return float(fine(torch.from_numpy(image.astype(np.float32) / 255)[None, None])) * image.size


def _plain(small: np.ndarray, large: np.ndarray) -> np.ndarray:
    from everymodel.scoring.steps.enhancing import resized

    return np.clip(np.rint(resized(small.astype(np.float64), *large.shape)), 0, 255)


def _read(image: Any) -> np.ndarray:
    try:
        return cells.pixels(image)
    except cells.ImageCellError as error:
        raise DataError(f"An image cannot be read: {error}.") from error


def _luminance(X: Any) -> list[np.ndarray]:
    """(h, w) bytes of each image."""
    if isinstance(X, np.ndarray) and X.ndim == 2:
        raise DataError("One image came; expected several: arrays (h, w[, c]), paths or Pillow images.")
    made = [_read(x) for x in X]
    return [x[:, :, 0] if x.shape[2] == 1 else np.clip(np.rint(x @ TO_YCC[0]), 0, 255).astype(np.uint8) for x in made]


def pack(model: Any, n_classes: int | None = None) -> Step:
    """The numpy step that enlarges."""
    return model._step()
