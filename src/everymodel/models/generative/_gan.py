"""The fit that all adversarial models share; a model builds its two networks and says what it asks of data."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from everymodel.core.seeds import derive
from everymodel.models.generative._adversarial import Adversarial, Latent, Maker
from everymodel.models.generative._base import Data, Generative, labels_of, read
from everymodel.models.generative._strided import FEW
from everymodel.scoring.steps.generating import LatentGenerator, Sampler
from everymodel.training.blocks.written import array, written
from everymodel.training.device import quick
from everymodel.training.estimator import set_aside
from everymodel.training.optimizers import Optimizer
from everymodel.training.source import Arrays, Endless

_HELD = (0.1, 1000)  # share of the rows, and most of them, that only watch
_END_OF_IMAGES = 0.3  # share of the penalty that is left at the end: the finest structure of images is not as fine
_PART = 0.5  # of the rows of a step are enough for the penalties
_IMAGES = {"relativistic": 0.02}  # strengths of the penalty for images; those of rows slow the critic down
_NEAR = (50_000, 10_000, 5_000)  # real rows, and samples, that shares are counted with; rows that tell the width
_STRETCHED, _NEARLY = (1.0, *(1.15**k for k in range(1, 9))), 1.05  # of the latent variable; of the least distance
_ALIKE, _DIRECTIONS, _FITTED = 25, 32, 10_000  # images to a group; components, and images, that groups are found by
_LEAST = 12  # numbers of a latent variable: of few, what is narrow becomes threads
_CODE = 16  # numbers of a component: more than the latent variable has, or bridges remain
_WATCHED = 64  # numbers of a row that samples are compared in


class AdversarialEstimator(Generative):
    """Base of the GANs: `_build` gives the networks; the rest is the same for all.

    Attributes
    ----------
    classes_ : (c,) sorted classes, where y came.
    generator_, critic_ : the trained networks.
    """

    conditional = False  # whether y is needed
    images = False  # whether nothing but images is taken
    default_steps = 10_000

    def _build(self, data: Data, latent: Latent, classes: int) -> tuple[Maker, nn.Module]:
        """The generator and the critic for these data."""
        raise NotImplementedError

    def _values(self, data: Data) -> torch.Tensor:
        """Rows as the networks take them."""
        return data.values

    def _latent(self, data: Data, classes: int) -> Latent:
        size = getattr(self, "latent_size", None) or max(_LEAST, min(data.flat.shape[1], 64))
        components = self.components if getattr(self, "latent", "normal") == "mixture" else 0
        return Latent(size, components, code_size=_CODE, classes=classes, learn_shares=True)

    def _augment(self, data: Data) -> Any:
        """Changes that the critic sees data through, or None."""
        return None

    def fit(self, X: Any, y: Any = None) -> Any:
        """Learn from rows (n, p) or images (n, h, w[, c]); with y (n,) where classes are learnt.

        Raises
        ------
        DataError
            for rows that are no numbers, images that cannot be read, all rows equal, y of another length.
        """
        seed = self._seed()
        data = read(X, only="image" if self.images else None)
        values = self._values(data)
        codes, n, asked = None, len(values), 0
        if self.conditional:
            self.classes_, codes = labels_of(y, n)
            asked = len(self.classes_)
        elif getattr(self, "latent", "normal") == "groups":
            codes = alike(values, self.components, derive(seed, "groups"))
            asked = int(codes.max()) + 1
        rng = np.random.default_rng(derive(seed, "held"))
        held = max(min(int(n * _HELD[0]), _HELD[1]), min(n - 1, 2))
        kept, aside = set_aside(n, held / n, rng)
        with self._initial():
            latent = self._latent(data, asked)
            maker, critic = self._build(data, latent, asked)
        tensors = (values,) if codes is None else (values, torch.from_numpy(codes))
        watch = {"features": _projection(values[kept]), "seed": derive(seed, "watch")}
        convolutions = any(isinstance(m, nn.BatchNorm2d) for m in maker.modules())
        given = {"loss": self.loss, "augment": self._augment(data), "penalty": self.penalty, "part": _PART}
        if convolutions:
            given |= {"end": _END_OF_IMAGES, "part": _PART / 2}
            if self.penalty is None:
                given["penalty"] = _IMAGES.get(self.loss)
        elif data.shape:
            given["end"] = _END_OF_IMAGES
        objective = self._game(maker, critic, **given, **watch, conditional=codes is not None)
        epochs = self._length(self.default_steps)
        batch, rate = self._usual(data)
        kept, aside = torch.from_numpy(kept), torch.from_numpy(aside)
        self._train(
            objective,
            Endless(*(t[kept] for t in tensors), batch=min(batch, len(kept)), count=self.epoch_),
            valid=Arrays(*(t[aside] for t in tensors), batch=250, shuffle=False),
            stop=getattr(self, "_stop", None),
            threads=getattr(self, "_threads", None),
            epochs=epochs,
            half_life=self.averaging or None,
            schedule="flat_cosine",
            precision=quick(self.device) if data.shape else "float32",
            channels_last=bool(data.shape),
            optimizers=Optimizer("adam", rate, betas=(0.5 if convolutions else 0.0, 0.99)),
        )
        objective.settle(*tensors[1:])
        if latent.lean is not None and values[0].numel() <= FEW:
            settle(maker.cpu(), values[kept], derive(seed, "shares"))
        self.history_.notes[:0] = data.notes
        self.generator_, self.critic_ = maker.cpu(), critic.cpu()
        self.film_ = [(at, _said(x, data)) for at, x in objective.film]
        classes: dict[str, Any] = {}
        if codes is not None:
            shares = np.bincount(codes, minlength=asked).astype(np.float64)
            if self.conditional:
                classes = {"shares": shares, "classes": tuple(self.classes_.tolist())}
            else:  # nobody asks for a group: to the step they are the components of a mixture
                classes = {"labels": None, "codes": array(latent.labels), "code_shares": shares / shares.sum()}
        self.step_ = self._written(maker, latent, data, classes)
        return self

    def _game(self, maker: Maker, critic: nn.Module, **given: Any) -> Adversarial:
        """The objective of the two networks."""
        return Adversarial(maker, critic, **given)

    def _written(self, maker: Maker, latent: Latent, data: Data, classes: dict[str, Any]) -> Sampler:
        """The numpy step for the trained generator."""
        return LatentGenerator(network=written(maker), **{**latent.arrays(), **data.units(), **classes})

    def _usual(self, data: Data) -> tuple[int, float]:
        """(rows of a step, learning rate) for these data."""
        return self.batch_size, self.learning_rate or usual_rate(self.loss, self.width if self.images else None)


def alike(values: torch.Tensor, most: int, seed: int) -> np.ndarray:
    """(n,) groups of images that look alike: k-means of their first principal components.

    Told the group of an image, a critic judges it among those like it, so that none can be given up, and a generator
    has no bridges to lay between them (Liu et al. 2020).
    """
    from sklearn.cluster import MiniBatchKMeans
    from sklearn.decomposition import PCA

    flat = values.flatten(1).numpy()
    k = max(min(most, len(flat) // _ALIKE), 1)
    size = min(_DIRECTIONS, *flat[:_FITTED].shape)
    few = PCA(size, svd_solver="randomized", random_state=seed).fit(flat[:_FITTED]).transform(flat)
    found = MiniBatchKMeans(k, random_state=seed, batch_size=4096, n_init=1).fit_predict(few)
    return np.unique(found, return_inverse=True)[1].astype(np.int64)  # none is empty


def settle(maker: Maker, rows: torch.Tensor, seed: int) -> None:
    """Shares and width of the components by real rows (n, p), at once where the game only moves towards them.

    Components are drawn as often as rows lie nearest to a sample of theirs, a step of expectation and maximisation. A
    game leaves out what is rare, so components are narrow: the latent variable is stretched until the mean distance of
    rows to the nearest sample and of samples to the nearest row (Chamfer) is as small as it gets, or nearly.
    """
    latent, first = maker.latent, maker.body[0]
    assert latent.lean is not None
    generator = torch.Generator()
    generator.manual_seed(seed)
    rows = rows[torch.randperm(len(rows), generator=generator)[: _NEAR[0]]]
    with torch.no_grad():
        z, code = latent.draw(_NEAR[1], generator)
        assert code is not None
        made = maker(z, code, None)
        near = torch.cat([torch.cdist(part, made).argmin(dim=1) for part in rows.split(500)])
        counts = torch.bincount(code[near], minlength=len(latent.lean))
        latent.lean.copy_((counts + 1e-3).log())
        rows, before = rows[: _NEAR[2]], first.weight[:, : latent.size].clone()
        z, code = latent.draw(len(rows), generator)
        gaps = []
        for times in _STRETCHED:
            first.weight[:, : latent.size] = times * before
            gap = torch.cdist(rows, maker(z, code, None))
            gaps.append(float(gap.amin(dim=0).mean() + gap.amin(dim=1).mean()))
        least = min(t for t, gap in zip(_STRETCHED, gaps, strict=True) if gap <= _NEARLY * min(gaps))
        first.weight[:, : latent.size] = least * before


def usual_rate(loss: str, width: int | None = None) -> float:
    """The learning rate for convolutions of this width, or dense networks: textbook losses do not bear a high one."""
    if loss != "relativistic":
        return 5e-4
    return min(4e-3, 0.064 / width) if width else 2e-3


def _projection(values: torch.Tensor) -> Any:
    """Rows to at most _WATCHED numbers of about unit size: themselves, or their directions of most variance."""
    flat = values[:5000].flatten(1)
    if flat.shape[1] <= _WATCHED:
        return None
    centre = flat.mean(dim=0)
    _, s, v = torch.linalg.svd(flat - centre, full_matrices=False)
    few = v[:_WATCHED].T / (s[:_WATCHED].clamp(min=1e-6) / len(flat) ** 0.5).mean()
    return lambda x: (x.flatten(1) - centre.to(x.device)) @ few.to(x.device)


def _said(x: torch.Tensor, data: Data) -> np.ndarray:
    """Samples of a film in the units of the data."""
    x = x.float()
    if not data.shape:
        return np.clip(x.numpy().astype(np.float64) * data.spread + data.shift, data.low, data.high)
    made = x.permute(0, 2, 3, 1).numpy() if x.ndim == 4 else x.reshape(len(x), *data.shape).numpy()
    return np.clip(np.rint(made * 127.5 + 127.5), 0, 255).astype(np.uint8)
