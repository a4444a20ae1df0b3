"""The generator as users hold it: frames instead of dicts, and what it makes held against data it has not seen."""

from __future__ import annotations

from typing import Any

import numpy as np

from everymodel import catalog
from everymodel.core.errors import DataError, TargetError
from everymodel.scoring import images as cells_of_images
from everymodel.scoring.generator import Generator
from everymodel.workflow.generate.choice import examined, some
from everymodel.workflow.generate.material import Material, large_images, material
from everymodel.workflow.types import Evaluation

KINDS = {
    **{"rows": "matrix", "images": "image", "table": "table", "texts": "text", "pieces": "music", "levels": "level"},
    "enhanced": "image",
}


class GenerativeModel(Generator):
    """A `scoring.generator.Generator` that gives rows and tables as DataFrames and can evaluate itself."""

    def told(self, made: Any) -> Any:
        """Rows and tables as a DataFrame; everything else as it is."""
        if self.makes not in ("rows", "table"):
            return made
        import pandas as pd

        return pd.DataFrame(super().told(made))

    def evaluate(
        self, data: Any, target: Any = None, metric: str | None = None, *, n: int | None = None, seed: int = 0
    ) -> Evaluation:
        """Samples held against data that the model has not seen.

        Parameters
        ----------
        data : what `em.fit(task="generate")` takes.
        target : column of classes, where samples can be asked for them; by default the one of the fit.
        n : samples; by default as many as there are rows, 2,000 at most. seed : of the samples.

        Raises
        ------
        DataError
            when other data came than the model makes, or too few.
        """
        from everymodel.workflow.generate.story import evaluation_of

        if self.makes == "enhanced":
            return evaluation_of(self._judged(large_images(data, target), seed, n), self.makes, "data")
        target = self.manifest.get("condition") if target is None and self.step.classes else target
        data = self._columns(data, target) if self.makes == "rows" else data
        try:
            held = material(data, target, [KINDS[self.makes]])
        except TargetError:
            if target != self.manifest.get("condition"):
                raise
            held = material(data, None, [KINDS[self.makes]])
        if held.kind != KINDS[self.makes]:
            raise DataError(f"This model makes {self.makes}; {held.words()} came to be held against.")
        if self.makes in ("rows", "images"):
            from everymodel.models.generative._evaluate import examine

            figures = examine(self.step, self.arrays(held), held.labels, n=n, seed=seed).figures
        else:
            figures = self._judged(some(held, seed), seed, n)
        return evaluation_of(figures, self.makes, "data")

    def _judged(self, held: Material, seed: int, n: int | None) -> dict[str, float]:
        """What the model's own file knows to say of a step, else its class around the step of this file."""
        card = catalog.find(str(self.manifest["members"][0]["card"]), task=self.task)
        own = getattr(catalog.module(card), "evaluate", None)
        if own is not None:
            return own(self.step, held.rows, seed=seed)
        estimator = catalog.load(card)()
        estimator.step_ = self.step
        if self.makes == "enhanced":
            estimator.factor = self.step.factor  # type: ignore[attr-defined]
        return examined(card, estimator, held, None, seed=seed, n=n)

    def _columns(self, data: Any, target: Any) -> Any:
        """The columns that the model makes, and that of classes where it is there."""
        from everymodel.workflow.read import read

        frame = read(data).frame
        names = [c.name for c in self.schema.features]
        missing = [n for n in names if n not in frame.columns]
        if missing:
            raise DataError(f"The data lack the column {missing[0]!r}; expected {', '.join(names[:20])}.")
        return frame[[*names, *([target] if isinstance(target, str) and target in frame.columns else [])]]

    def arrays(self, held: Material) -> np.ndarray:
        """Rows (n, p) in the order of the schema, or images of the size that the model makes."""
        if self.makes == "images":
            made, bad = cells_of_images.stack(held.rows, self.step.columns()[0].shape)
            if bad:
                raise DataError(f"Image {bad[0][0]} cannot be read: {bad[0][1]}.")
            return made
        return held.rows[[c.name for c in self.schema.features]].to_numpy(np.float64)
