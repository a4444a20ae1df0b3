"""What makes new data: draws of a latent variable that a network turns into rows or images."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from everymodel.core.errors import CapabilityError, DataError, ModelFileError, ParameterError
from everymodel.core.schema import Column
from everymodel.scoring.layers import base
from everymodel.scoring.layers.base import Layer
from everymodel.scoring.layers.convolution import Upsample
from everymodel.scoring.layers.feed import Sequential
from everymodel.scoring.steps.base import Step, need, step

MOST = 1_000_000  # samples in one call
PROOF = 24  # numbers of each probe sample that a file keeps
_SLICE = 1 << 22  # numbers that a network makes at once
_DOUBLED = Upsample((2, 2), "linear")


class Sampler(Step):
    """Base of all steps that make data.

    As a step among others it makes one sample for each row that comes in, with the row's number as seed, and says a
    few numbers of it (n, m): that is how a file is checked when it is opened.

    Attributes
    ----------
    makes : "rows" (n, p), "images" (n, h, w, c) of bytes, "table" {column: cells}, "texts", "pieces" or "levels".
    classes : what a sample can be asked to be, () for models without a condition.
    """

    output = "samples"
    makes: ClassVar[str] = "rows"
    classes: tuple[Any, ...] = ()

    def sample(
        self,
        n: int = 1,
        condition: Any = None,
        *,
        seed: int | np.random.Generator | None = None,
        truncation: float | None = None,
        **options: Any,
    ) -> Any:
        """`n` new samples.

        Parameters
        ----------
        condition : what they shall be: a class, or a class for each; for tables {column: value}; for texts how they
            begin. None draws it as it was in the data.
        seed : equal seeds give equal samples; None: others each time.
        truncation : below 1 draws nearer to the middle of the latent variable, so samples are more usual and less
            varied (Marchesi 2017); None: as learnt.
        """
        n = _count(n)
        if truncation is not None and not (isinstance(truncation, int | float) and 0 <= truncation <= 10):
            raise ParameterError(
                f"truncation={truncation!r} came; expected a number from 0 to 10, such as 0.7, or None."
            )
        rng = seed if isinstance(seed, np.random.Generator) else np.random.default_rng(_seed(seed))
        return self.draw(n, rng, condition, truncation, **options)

    def draw(self, n: int, rng: np.random.Generator, condition: Any, truncation: float | None, **options: Any) -> Any:
        """`sample` after its arguments were read."""
        raise NotImplementedError

    def proof(self, seed: int) -> np.ndarray:
        """Numbers (m,) that stand for the sample of a seed, before they are rounded in any way."""
        raise NotImplementedError

    def __call__(self, rows: Any) -> np.ndarray:
        n = rows.n if hasattr(rows, "n") else len(rows)
        return np.stack([self.proof(seed) for seed in range(n)]) if n else np.zeros((0, 1))

    def columns(self) -> tuple[Column, ...]:
        """What the data look like, for the schema of a file; () where only seeds can be given."""
        return ()

    def asked(self, n: int, rng: np.random.Generator, condition: Any, shares: np.ndarray) -> np.ndarray:
        """(n,) places in `classes` of what is asked for; drawn by their shares where nothing is."""
        if condition is None:
            return rng.choice(len(self.classes), n, p=shares / shares.sum())
        if not self.classes:
            raise CapabilityError("This model learnt no condition: fit it with y, or leave the condition out.")
        known = {label: i for i, label in enumerate(self.classes)}
        known |= {str(label): i for i, label in enumerate(self.classes) if str(label) not in known}
        several = isinstance(condition, Sequence | np.ndarray) and not isinstance(condition, str)
        wanted = [c.item() if isinstance(c, np.generic) else c for c in condition] if several else [condition] * n
        if len(wanted) != n:
            raise ParameterError(f"{len(wanted)} conditions came for {n} samples; expected one, or one for each.")
        strange = sorted({str(c) for c in wanted if c not in known})
        if strange:
            raise ParameterError(
                f"condition={strange[0]!r} is not known: expected one of {', '.join(map(str, self.classes[:20]))}."
            )
        return np.array([known[c] for c in wanted], dtype=np.int64)

    def cannot(self, verb: str, why: str) -> CapabilityError:
        return CapabilityError(f"This model cannot {verb}: {why}.")


def _count(n: Any) -> int:
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or not 1 <= n <= MOST:
        raise ParameterError(f"n={n!r} samples were asked for; expected a whole number from 1 to {MOST:,}.")
    return int(n)


def _seed(seed: Any) -> int | None:
    if seed is None or (isinstance(seed, int | np.integer) and not isinstance(seed, bool) and seed >= 0):
        return None if seed is None else int(seed)
    raise ParameterError(f"seed={seed!r} came; expected a whole number from 0, or None.")


def slerp(a: np.ndarray, b: np.ndarray, steps: int) -> np.ndarray:
    """(steps, d): points on the arc from a (d,) to b (d,), both included (Shoemake 1985)."""
    t = np.linspace(0.0, 1.0, steps)[:, None]
    size = np.linalg.norm(a) * np.linalg.norm(b)
    angle = math.acos(float(np.clip(a @ b / size, -1.0, 1.0))) if size > 0 else 0.0
    if angle < 1e-4 or angle > math.pi - 1e-4:
        return (1 - t) * a + t * b
    return (np.sin((1 - t) * angle) * a + np.sin(t * angle) * b) / math.sin(angle)


@step("latent_generator", output="samples")
class LatentGenerator(Sampler):
    """x = network([z, e_k, c_y]) · spread + shift, with z ~ N(0, I), k one of `codes`, y a class.

    network : from (n, d) to (n, p) or images (n, h, w, c).
    size : numbers in z. codes : (K, e) learnt vectors of which one is drawn for each sample (a mixture), or None.
    code_shares : (K,) how often each is drawn; None: alike.
    labels : (c, f) a vector for each class, or None. shares : (c,) of the classes in the data.
    shift, spread : (p,) or (1,); low, high : (p,) or (1,) what was seen, beyond which nothing is made.
    whole : (p,) 1 where values are whole numbers. shape : (h, w, c) of images, whose numbers are then bytes.
    """

    network: Layer
    size: int
    shift: np.ndarray
    spread: np.ndarray
    low: np.ndarray
    high: np.ndarray
    whole: np.ndarray | None = None
    codes: np.ndarray | None = None
    code_shares: np.ndarray | None = None
    labels: np.ndarray | None = None
    shares: np.ndarray | None = None
    classes: tuple[Any, ...] = ()
    shape: tuple[int, ...] = ()

    @property
    def tolerance(self) -> float:  # type: ignore[override]
        return 1e-4

    @property
    def makes(self) -> str:  # type: ignore[override]
        return "images" if self.shape else "rows"

    def columns(self) -> tuple[Column, ...]:
        return (Column("image", "image", shape=tuple(self.shape)),) if self.shape else ()

    # --- draws ---

    def latents(
        self, n: int, rng: np.random.Generator, condition: Any = None, truncation: float | None = None
    ) -> np.ndarray:
        """(n, d): what the network is given."""
        z = rng.standard_normal((n, self.size))
        if truncation is not None:
            z *= truncation
        parts = [z]
        if self.codes is not None:
            parts.append(self.codes[self._components(n, rng)])
        if self.labels is not None:
            shares = np.asarray(self.shares, dtype=np.float64)
            parts.append(self.labels[self.asked(n, rng, condition, shares)])
        elif condition is not None:
            raise CapabilityError("This model learnt no condition: fit it with y, or leave the condition out.")
        return np.concatenate(parts, axis=1).astype(np.float32)  # (n, d)

    def _components(self, n: int, rng: np.random.Generator) -> np.ndarray:
        assert self.codes is not None
        if self.code_shares is None:
            return rng.integers(len(self.codes), size=n)
        shares = np.asarray(self.code_shares, dtype=np.float64)
        return rng.choice(len(shares), n, p=shares / shares.sum())

    def raw(self, latents: np.ndarray) -> np.ndarray:
        """(n, p) or (n, h, w, c) floats in the units of the data."""
        per = max(int(np.prod(self.shape)) if self.shape else len(self.shift), 1)
        size = max(_SLICE // (per * (64 if self.shape else 1)), 16)
        parts = self._parts(self.network, latents, size)
        made = np.concatenate(parts) if len(parts) > 1 else parts[0]
        made = made.reshape(len(made), *self.shape) if self.shape else made
        return np.clip(made.astype(np.float64) * self.spread + self.shift, self.low, self.high)

    @staticmethod
    def _parts(answer: Callable[[np.ndarray], np.ndarray], latents: np.ndarray, size: int) -> list[np.ndarray]:
        """What is made of `size` latent variables at a time."""
        try:
            return [answer(latents[i : i + size]) for i in range(0, len(latents), size)]
        except ValueError as error:  # layers of a stranger's file whose sizes do not fit one another
            raise ModelFileError(f"The networks of a generator do not fit one another: {error}.") from error

    def decode(self, latents: np.ndarray) -> np.ndarray:
        """Samples for latent variables (n, d)."""
        latents = np.asarray(latents, dtype=np.float32)
        if latents.ndim != 2 or latents.shape[1] != self.width:
            raise DataError(f"Latent variables of shape {latents.shape} came; expected (n, {self.width}).")
        return self.rounded(self.raw(latents))

    def rounded(self, made: np.ndarray) -> np.ndarray:
        """Floats in the units of the data as the data are: bytes, and whole numbers where they are whole."""
        if self.shape:
            return np.rint(made).astype(np.uint8)
        if self.whole is not None and self.whole.any():
            made[:, self.whole.astype(bool)] = np.rint(made[:, self.whole.astype(bool)])
        return made

    def draw(
        self, n: int, rng: np.random.Generator, condition: Any, truncation: float | None, **options: Any
    ) -> np.ndarray:
        if options:
            raise ParameterError(f"{sorted(options)[0]} is no option of this model's samples.")
        return self.decode(self.latents(n, rng, condition, truncation))

    def proof(self, seed: int) -> np.ndarray:
        made = self.raw(self.latents(1, np.random.default_rng(seed))).reshape(-1)
        return made[:: max(len(made) // PROOF, 1)][:PROOF]

    def interpolate(self, a: np.ndarray, b: np.ndarray, steps: int) -> np.ndarray:
        """Samples on the way between two latent variables (d,): z along the arc, the rest straight."""
        t = np.linspace(0.0, 1.0, steps)[:, None]
        z = slerp(a[: self.size].astype(np.float64), b[: self.size].astype(np.float64), steps)
        rest = (1 - t) * a[self.size :] + t * b[self.size :]
        return self.decode(np.concatenate([z, rest], axis=1))

    @property
    def width(self) -> int:
        """Numbers that the network is given for a sample."""
        extra = (a.shape[1] for a in (self.codes, self.labels) if a is not None)
        return self.size + sum(extra)

    # --- the file ---

    _layers: ClassVar[tuple[str, ...]] = ("network",)

    def spec(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        settings, arrays = Step.spec(replace(self, **dict.fromkeys(self._layers)))
        for name in self._layers:
            if getattr(self, name) is not None:
                told, own = base.write(getattr(self, name))
                settings[name] = told
                arrays |= {f"{name}:{key}": array for key, array in own.items()}
        return settings, arrays

    @classmethod
    def build(cls, settings: dict[str, Any], arrays: dict[str, np.ndarray]) -> Step:
        settings, plain = dict(settings), {k: a for k, a in arrays.items() if ":" not in k}
        used = set(plain)
        for name in cls._layers:
            if name in settings:
                own = {k.partition(":")[2]: a for k, a in arrays.items() if k.startswith(f"{name}:")}
                used |= {f"{name}:{k}" for k in own}
                settings[name] = base.read(settings[name], own)
        need(used == set(arrays), "a generator has arrays that nothing uses")
        settings = {k: tuple(v) if isinstance(v, list) else v for k, v in settings.items()}
        return super().build(settings, plain)

    def check(self) -> None:
        need(isinstance(self.network, Layer), "a generator has no network")
        need(type(self.size) is int and 0 <= self.size <= 1 << 16, "a generator has a wrong latent size")
        for name in ("shift", "spread", "low", "high", "codes", "code_shares", "labels", "shares", "whole"):
            array = getattr(self, name)
            good = array is None or (
                isinstance(array, np.ndarray) and array.dtype.kind in "fiu" and array.ndim in (1, 2)
            )
            need(good and (array is None or bool(np.isfinite(array).all())), f"the {name} of a generator is wrong")
        need(all(a.ndim == 1 and len(a) == len(self.shift) for a in (self.spread, self.low, self.high)),
             "a generator's units are wrong")  # fmt: skip
        need(bool((self.low <= self.high).all()), "a generator's units are wrong")
        need(self.whole is None or self.whole.shape == self.shift.shape, "a generator's units are wrong")
        for name in ("codes", "labels"):
            array = getattr(self, name)
            need(array is None or (array.ndim == 2 and len(array) > 0), f"the {name} of a generator are wrong")
        if self.code_shares is not None:
            told = self.code_shares
            good = self.codes is not None and told.shape == (len(self.codes),) and bool((told >= 0).all())
            need(good and told.sum() > 0, "the shares of a generator's codes are wrong")
        if self.labels is not None:
            shares = np.zeros(0) if self.shares is None else self.shares
            good = shares.shape == (len(self.labels),) == (len(self.classes),) and bool((shares >= 0).all())
            need(good and shares.sum() > 0, "a generator's classes are wrong")
        shape = self.shape
        need(isinstance(shape, tuple) and len(shape) in (0, 3) and all(type(s) is int and 0 < s <= 4096 for s in shape),
             "a generator's shape is wrong")  # fmt: skip


@step("pyramid_generator", output="samples")
class PyramidGenerator(LatentGenerator):
    """Images from coarse to fine: I_k = up(I_k+1) + h_k, h_k = finer_k([up(I_k+1), z_k]), the coarsest by `network`.

    finer : networks from the second coarsest to the finest; each doubles the sides. `size` counts the numbers of all
    latent variables: those of the coarsest network, then a map of one channel for each finer one. `codes` are given to
    the coarsest network.
    """

    finer: tuple[Layer, ...] = ()

    def raw(self, latents: np.ndarray) -> np.ndarray:
        size = max(_SLICE // (64 * int(np.prod(self.shape))), 16)
        parts = self._parts(self._images, latents, size)
        made = np.concatenate(parts).astype(np.float64) * self.spread + self.shift
        return np.clip(made, self.low, self.high)

    def _images(self, latents: np.ndarray) -> np.ndarray:
        first = self.size - sum(self._maps())
        coarse = np.concatenate([latents[:, :first], latents[:, self.size :]], axis=1)  # z_K, and its group
        image, at = self.network(coarse), first  # (n, h, w, c)
        for network, count in zip(self.finer, self._maps(), strict=True):
            image = _DOUBLED(image)
            z = latents[:, at : at + count].reshape(*image.shape[:3], 1)
            image, at = image + network(np.concatenate([image, z], axis=3)), at + count
        return image

    def _maps(self) -> list[int]:
        """Numbers in the latent map of each finer network."""
        h, w, _ = self.shape
        return [(h >> i) * (w >> i) for i in range(len(self.finer) - 1, -1, -1)]

    def spec(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        settings, arrays = LatentGenerator.spec(replace(self, finer=()))
        del settings["finer"]
        told, own = base.write(Sequential(list(self.finer)))
        arrays |= {f"finer:{key}": array for key, array in own.items()}
        return {**settings, "finer": told}, arrays

    @classmethod
    def build(cls, settings: dict[str, Any], arrays: dict[str, np.ndarray]) -> Step:
        settings = dict(settings)
        own = {k.partition(":")[2]: a for k, a in arrays.items() if k.startswith("finer:")}
        told = base.read(settings.pop("finer", None), own)
        need(isinstance(told, Sequential), "a pyramid has no levels")
        rest = {k: a for k, a in arrays.items() if not k.startswith("finer:")}
        made = LatentGenerator.build.__func__(cls, settings, rest)  # type: ignore[attr-defined]
        made = replace(made, finer=tuple(told.layers))
        made.check()
        return made

    def check(self) -> None:
        LatentGenerator.check(self)
        need(len(self.shape) == 3 and self.labels is None, "a pyramid makes images alone")
        factor = 1 << len(self.finer)
        need(self.shape[0] % factor == self.shape[1] % factor == 0, "a pyramid's levels do not fit its images")
        need(self.size > sum(self._maps()), "a pyramid has a wrong latent size")
