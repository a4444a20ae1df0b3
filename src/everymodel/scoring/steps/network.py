"""A network: layers of `everymodel.scoring.layers`, from a matrix or an array of any shape to an answer."""

from __future__ import annotations

from typing import Any

import numpy as np

from everymodel.scoring.layers import base
from everymodel.scoring.layers.base import Layer
from everymodel.scoring.steps.base import Sparse, need, step
from everymodel.scoring.steps.combine import _Gives, check_link, link

PRECISIONS = ("float32", "float64")


@step("network", output="value")
class Network(_Gives):
    """x -> link(layers(x)).

    layers : the root layer. gives: "value", "probabilities", "scores" or "matrix".
    link : as in `combine.link`, with "binary" for one output that becomes [1 - p, p].
    places, classes : where the columns belong among all classes.
    precision : of all sums. Weights may be kept in float32 and summed in float64: a row alone and a row among others
        then agree to rounding far below what matters.
    squeeze : a single output column becomes (n,).
    """

    layers: Layer
    gives: str = "value"
    link: str = "identity"
    places: np.ndarray | None = None
    classes: int | None = None
    precision: str = "float32"
    squeeze: bool = True

    @property
    def tolerance(self) -> float:  # type: ignore[override]
        return 1e-4 if self.precision == "float32" else 0.0

    def __call__(self, x: Any) -> np.ndarray:
        out = self.root()(self.inputs(x))
        return self.answered(np.asarray(out, dtype=np.float64))

    def inputs(self, x: Any) -> Any:
        """What the first layer gets: numbers in the precision, anything else as it is."""
        if isinstance(x, Sparse):
            x = x.toarray()
        if isinstance(x, np.ndarray) and x.dtype.kind == "f":
            return x.astype(self.precision, copy=False)
        return x

    def answered(self, out: np.ndarray) -> np.ndarray:
        """The answer for the last layer's output."""
        if self.gives == "value":
            return out[:, 0] if self.squeeze and out.ndim == 2 and out.shape[1] == 1 else out
        if self.link == "binary":
            return link(out[:, 0], "sigmoid", self.places, self.classes)
        return link(out, self.link, self.places, self.classes)

    def root(self) -> Layer:
        """The layers with their arrays in the precision of the sums (made once)."""
        made = self.__dict__.get("_root")
        if made is None:
            told, arrays = base.write(self.layers)
            wide = {k: a.astype(self.precision) if a.dtype.kind == "f" else a for k, a in arrays.items()}
            made = base.read(told, wide)
            object.__setattr__(self, "_root", made)
        return made

    def spec(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        told, arrays = base.write(self.layers)
        names = ("gives", "link", "classes", "precision", "squeeze")
        settings = {n: getattr(self, n) for n in names if getattr(self, n) is not None}
        if self.places is not None:
            arrays["places"] = self.places
        return {**settings, "layers": told}, arrays

    @classmethod
    def build(cls, settings: dict[str, Any], arrays: dict[str, np.ndarray]) -> Network:
        arrays, settings = dict(arrays), dict(settings)
        places = arrays.pop("places", None)
        root = base.read(settings.pop("layers", None), arrays)
        strange = set(settings) - {"gives", "link", "classes", "precision", "squeeze"}
        need(not strange, f"the network does not know {sorted(strange)}")
        made = cls(layers=root, places=places, **settings)
        made.check()
        return made

    def check(self) -> None:
        need(isinstance(self.layers, Layer) and self.precision in PRECISIONS, "the network is described wrongly")
        kind, outputs = ("sigmoid", 1) if self.link == "binary" else (self.link, -1)
        if self.places is not None:
            outputs = 1 if self.link == "binary" else len(self.places)
        check_link(kind, self.gives, self.places, self.classes, outputs)
