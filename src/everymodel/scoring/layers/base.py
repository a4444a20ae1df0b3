"""What a layer is: arrays and settings, a call in numpy, and a way into a file and back.

A layer is a dataclass. Fields that hold arrays go into the file as tensors, fields that hold layers (or lists of them)
as layers, all others as JSON. `check` validates structure, because a file may come from anyone.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, ClassVar, TypeVar

import numpy as np

from everymodel.core.errors import ModelFileError
from everymodel.scoring.steps.base import need

LAYERS: dict[str, type[Layer]] = {}
_DEPTH = 40
_MOST = 100_000  # layers in one network

L = TypeVar("L")


class Layer:
    """Base of all layers. Rows are the first axis of what comes in and goes out."""

    word: ClassVar[str]
    formula: ClassVar[str] = "a = f(x)"

    def __call__(self, x: Any) -> Any:
        raise NotImplementedError

    def run(self, x: Any, watch: Any = None, path: str = "") -> Any:
        """Like a call; `watch(path, layer, x, y)` is told of this layer and of those inside it."""
        y = self(x)
        if watch is not None:
            watch(path, self, x, y)
        return y

    def backward(self, x: np.ndarray, y: np.ndarray, d: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """From d = dLoss/dy to dLoss/dx, and to the gradients of the arrays by their names."""
        raise NotImplementedError(f"the layer {self.word!r} has no backward pass in numpy")

    def pull(self, x: Any, d: np.ndarray, watch: Any = None, path: str = "", otherwise: Any = None) -> Any:
        """From d = dLoss/dy at the input x to dLoss/dx, through the layers inside.

        `watch(path, layer, d, dx, gradients)` is told of each layer, the last one first. Where a layer has no backward
        pass in numpy, `otherwise(layer, x, d)` gives (dx, gradients); without it NotImplementedError is raised.
        """
        try:
            dx, gradients = self.backward(x, self(x), d)
        except NotImplementedError:
            if otherwise is None:
                raise
            dx, gradients = otherwise(self, x, d)
        if watch is not None:
            watch(path, self, d, dx, gradients)
        return dx

    def check(self) -> None:
        """Raise ModelFileError unless the arrays fit together."""

    def parts(self) -> list[Layer]:
        """Layers inside this one."""
        return []


def layer(word: str):
    """Class decorator: makes a dataclass and registers it under `word`, the id written to files forever."""

    def register(cls: type[L]) -> type[L]:
        made = dataclass(eq=False, repr=False)(cls)
        made.word = word  # type: ignore[attr-defined]
        if word in LAYERS:
            raise RuntimeError(f"two layers are called {word!r}")
        LAYERS[word] = made  # type: ignore[assignment]
        return made

    return register


def write(root: Layer) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """(JSON, arrays by a running number) of a layer and all inside it. An array that is used twice is written once."""
    arrays: dict[str, np.ndarray] = {}
    known: dict[int, str] = {}

    def told(part: Layer) -> dict[str, Any]:
        settings: dict[str, Any] = {}
        held: dict[str, str] = {}
        inside: dict[str, Any] = {}
        for f in fields(part):  # type: ignore[arg-type]
            value = getattr(part, f.name)
            if isinstance(value, np.ndarray):
                if id(value) not in known:
                    known[id(value)] = f"a{len(arrays)}"
                    arrays[known[id(value)]] = value
                held[f.name] = known[id(value)]
            elif isinstance(value, Layer):
                inside[f.name] = told(value)
            elif isinstance(value, list) and value and all(isinstance(v, Layer) for v in value):
                inside[f.name] = [told(v) for v in value]
            elif value is not None:
                settings[f.name] = list(value) if isinstance(value, tuple) else value
        entries = {"settings": settings, "arrays": held, "inside": inside}
        return {"layer": part.word, **{key: entry for key, entry in entries.items() if entry}}

    return told(root), arrays


def read(told: Any, arrays: dict[str, np.ndarray]) -> Layer:
    """The inverse of `write`, with validation; ModelFileError for anything that is not a network."""
    from everymodel.scoring import layers

    used: set[str] = set()
    count = 0

    def build(entry: Any, depth: int) -> Layer:
        nonlocal count
        count += 1
        need(isinstance(entry, dict) and depth < _DEPTH and count < _MOST, "its network is described wrongly")
        kind = layers.find(entry.get("layer"))
        if kind is None:
            raise ModelFileError(f"The file uses a layer {entry.get('layer')!r} that this version does not know.")
        settings, held, inside = (entry.get(k, {}) for k in ("settings", "arrays", "inside"))
        need(all(isinstance(v, dict) for v in (settings, held, inside)), "its network is described wrongly")
        values = {f.name: f for f in fields(kind)}  # type: ignore[arg-type]
        given: dict[str, Any] = {}
        for name, value in settings.items():
            given[name] = tuple(value) if isinstance(value, list) else value
        for name, key in held.items():
            need(isinstance(key, str) and key in arrays, f"the layer {kind.word!r} lacks an array")
            used.add(key)
            given[name] = arrays[key]
        for name, value in inside.items():
            given[name] = [build(v, depth + 1) for v in value] if isinstance(value, list) else build(value, depth + 1)
        need(set(given) <= set(values), f"the layer {kind.word!r} does not know {sorted(set(given) - set(values))}")
        for array in (a for a in given.values() if isinstance(a, np.ndarray)):
            need(array.dtype.kind != "f" or bool(np.isfinite(array).all()), f"the layer {kind.word!r} is not finite")
        try:
            made = kind(**given)
        except TypeError as error:
            raise ModelFileError(f"Layer {kind.word!r} is incomplete in the file: {error}.") from error
        try:
            made.check()
        except (TypeError, ValueError, AttributeError, IndexError) as error:
            if isinstance(error, ModelFileError):
                raise
            raise ModelFileError(f"Layer {kind.word!r} is damaged in the file: {error}.") from error
        return made

    root = build(told, 0)
    need(used == set(arrays), "there are arrays that no layer uses")
    return root
