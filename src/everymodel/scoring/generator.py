"""Models that make data: rows, images, tables, texts, music, levels.

    model = load("digits.em")
    model.sample(16, condition=7, seed=0)      # images (16, h, w, c)

Needs numpy alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from everymodel.core.errors import CapabilityError, DataError, ModelFileError, ParameterError
from everymodel.scoring.model import Model
from everymodel.scoring.steps.generating import Sampler

STEPS = 8  # of an interpolation


class Generator(Model):
    """Makes new data like those that it has learnt. Made by `em.fit(..., task="generate")`, `em.wrap` or `load`."""

    @property
    def step(self) -> Sampler:
        """The step that makes samples."""
        step = self.pack.nodes[-1].step
        if not isinstance(step, Sampler):
            raise ModelFileError("The model file is damaged: it is to generate and holds nothing that does.")
        return step

    @property
    def makes(self) -> str:
        """ "rows", "images", "table", "texts", "pieces" or "levels"."""
        return self.step.makes

    def decide(self, answers: Any) -> Any:
        raise CapabilityError("This model makes data instead of answering rows. Use sample.")

    def predict(self, data: Any = None, **ignored: Any) -> Any:  # type: ignore[override]
        raise CapabilityError("This model makes data instead of answering rows. Use sample.")

    def explain(self, data: Any = None, **ignored: Any) -> Any:  # type: ignore[override]
        raise CapabilityError("This model makes data instead of answering rows, so no answer can be explained.")

    def sample(
        self,
        n: int = 1,
        condition: Any = None,
        *,
        seed: int | None = None,
        truncation: float | None = None,
        **options: Any,
    ) -> Any:
        """`n` new samples; see `Sampler.sample`.

        Returns
        -------
        Rows: a dict of columns. Images: bytes (n, h, w, c). Tables: a dict of columns. Texts: a list.
        """
        return self.told(self.step.sample(n, condition, seed=seed, truncation=truncation, **options))

    def interpolate(self, a: Any, b: Any, steps: int = STEPS, *, condition: Any = None) -> Any:
        """Samples on the way from a to b, both included.

        Parameters
        ----------
        a, b : seeds (whole numbers), latent variables (d,), or, where the model can encode, one row or image each.
        condition : of seeds: what all shall be, or a pair: what they go from and to.
        """
        if isinstance(steps, bool) or not isinstance(steps, int) or not 2 <= steps <= 1000:
            raise ParameterError(f"steps={steps!r} came; expected a whole number from 2 to 1000.")
        return self.told(between(self.step, a, b, steps, self.cells, condition))

    def encode(self, data: Any, **given: Any) -> np.ndarray:
        """(n, d) latent variables of data; condition=... says their classes where the model learnt with classes."""
        return able(self.step, "encode")(self.cells(data), **given)

    def decode(self, latents: Any) -> Any:
        """Samples for latent variables (n, d)."""
        return self.told(able(self.step, "decode")(np.asarray(latents)))

    def reconstruct(self, data: Any, **given: Any) -> Any:
        """What is left of data that is encoded and decoded again."""
        return self.decode(self.encode(data, **given))

    @property
    def score_samples(self) -> Any:
        """(n,) how likely each row is (higher: more usual), where the model can say that."""
        score = able(self.step, "score_samples")
        return lambda data, **given: score(self.cells(data), **given)

    def upscale(self, images: Any, fidelity: float = 0.0) -> Any:
        """Larger images for small ones, bytes (h, w, c): a list, or one array for one image; where the model does that.

        images : an image (array, path, encoded bytes, Pillow), or several of any sizes. fidelity : 1 for the least
        error, 0 for the most detail.
        """
        from everymodel.scoring.images import ImageCellError, is_image, is_path, pixels

        larger = able(self.step, "upscale")
        one = is_image(images) or is_path(images) or isinstance(images, bytes)
        try:
            made = larger([pixels(image) for image in ([images] if one else images)], fidelity)
        except ImageCellError as error:
            raise DataError(f"An image cannot be read: {error}.") from error
        return made[0] if one else made

    def cells(self, data: Any) -> Any:
        """Data as the step takes them: a matrix, images, texts; pieces and levels as they come."""
        if self.makes in ("pieces", "levels"):
            return data
        if self.makes == "rows" and isinstance(data, np.ndarray):
            return data.astype(np.float64, copy=False)
        batch, _ = self.read(data)
        first = self.pack.nodes[0].step(batch) if len(self.pack.nodes) > 1 else batch
        return first

    def told(self, made: Any) -> Any:
        """Rows as columns by their names; everything else as it is."""
        if self.makes != "rows":
            return made
        columns = enumerate(self.schema.features)
        return {c.name: made[:, i].astype(np.int64) if c.integer else made[:, i] for i, c in columns}


def able(step: Sampler, verb: str) -> Any:
    """The step's method called `verb`, or CapabilityError."""
    found = getattr(step, verb, None)
    if found is None:
        raise CapabilityError(f"This model ({type(step).__name__}) cannot {verb.replace('_', ' ')}.")
    return found


def between(step: Sampler, a: Any, b: Any, steps: int, cells: Any, condition: Any = None) -> Any:
    """Samples on the way between two seeds (of a class, or of a pair of classes), latent variables or data."""
    interpolate = able(step, "interpolate")
    wishes = list(condition) if isinstance(condition, list | tuple | np.ndarray) else [condition] * 2
    if len(wishes) != 2:
        raise ParameterError(f"{len(wishes)} conditions came for the two ends of the way; expected one, or two.")
    ends = []
    for end, wish in zip((a, b), wishes, strict=True):
        if isinstance(end, int | np.integer) and not isinstance(end, bool):
            if end < 0:
                raise ParameterError(f"The seed {end} came; expected a whole number from 0.")
            ends.append(step.latents(1, np.random.default_rng(int(end)), wish)[0])  # type: ignore[attr-defined]
            continue
        if wish is not None:
            raise ParameterError("A condition is for ends that are seeds: leave it out.")
        array = np.asarray(end) if isinstance(end, list | tuple | np.ndarray) else None
        if array is not None and array.ndim == 1 and len(array) == getattr(step, "width", -1):
            ends.append(array.astype(np.float64))
            continue
        found = able(step, "encode")(cells(end))
        if len(found) != 1:
            raise DataError(f"{len(found)} rows came for one end of the way; expected one.")
        ends.append(found[0])
    return interpolate(ends[0], ends[1], steps)
