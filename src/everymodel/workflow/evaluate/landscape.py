"""The loss around the weights of a trained network, drawn.

from everymodel.workflow.evaluate.landscape import landscape
landscape(model, rows).savefig("landscape.png")
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from everymodel.core.errors import CapabilityError, DataError, ParameterError
from everymodel.core.seeds import derive
from everymodel.scoring.layers.base import Layer
from everymodel.scoring.layers.feed import Dense, activate
from everymodel.scoring.neuron import default_loss, loss_and_delta
from everymodel.scoring.trace import Net, nets_of, targets, traceable

ROWS = 256


@dataclass
class Surface:
    """loss (s, s): the mean loss at weights + ticks[j] * first direction + ticks[i] * second; the middle is the model.

    name : of the loss. rows : that it is the mean of. moved : arrays that move; still : arrays that do not.
    """

    ticks: np.ndarray
    loss: np.ndarray
    name: str
    rows: int
    moved: int
    still: int

    @property
    def centre(self) -> float:
        """The loss of the model itself."""
        middle = len(self.ticks) // 2
        return float(self.loss[middle, middle])


def landscape(model: Any, X: Any, y: Any = None, **options: Any) -> Any:
    """Draw the loss around the weights along two random directions; a matplotlib Figure. See `surface`."""
    return draw(surface(model, X, y, **options))


def surface(
    model: Any,
    X: Any,
    y: Any = None,
    *,
    steps: int = 21,
    distance: float = 1.0,
    rows: int = ROWS,
    member: int = 0,
    seed: int = 0,
) -> Surface:
    """The loss on a grid around the weights, along two random filter-normalised directions (Li et al. 2018).

    Each direction is random, with the incoming weights of every neuron scaled to the length of the network's own, so
    that a distance of 1 moves every neuron by as much as it is long. Other weights (embeddings, kernels) are scaled
    array by array; biases and other vectors stay. The loss is the plain one, without decay or dropout.

    Parameters
    ----------
    model : a Model of em.fit or em.load (X is then a frame of raw rows, with the target where y is None), or a
        fitted network estimator (X and y as for its fit).
    steps : points along each direction, made odd so that the model itself is in the middle.
    distance : how far to go to each side. rows : at most so many rows, drawn at random.
    member : which network of several. seed : of directions and rows.

    Raises
    ------
    CapabilityError
        for models that are no network. DataError for rows without a target.
    """
    if not isinstance(steps, int) or not 3 <= steps <= 201:
        raise ParameterError(f"steps={steps!r}: expected a whole number from 3 to 201.")
    if not isinstance(distance, int | float) or not 0 < distance < np.inf:
        raise ParameterError(f"distance={distance!r}: expected a positive number such as 1.0.")
    if not isinstance(rows, int) or rows < 1:
        raise ParameterError(f"rows={rows!r}: expected a whole number of at least 1.")
    random = np.random.default_rng(derive(seed, "landscape"))
    net, which, wanted = (_of_model if hasattr(model, "schema") else _of_estimator)(model, X, y, rows, member, random)
    kind = default_loss(net.phi)
    ticks = np.linspace(-distance, distance, steps + (steps % 2 == 0))
    x = net.x.astype(np.float32) if isinstance(net.x, np.ndarray) and net.x.dtype.kind == "f" else net.x
    moved, still = _moved(net, random)
    loss = np.empty((len(ticks), len(ticks)))
    with np.errstate(over="ignore", invalid="ignore"):
        for i, b in enumerate(ticks):
            for j, a in enumerate(ticks):
                for layer, name, own, first, second in moved:
                    setattr(layer, name, own + np.float32(a) * first + np.float32(b) * second)
                out = net.root(x)
                z = (out[:, which] if net.members else out).astype(np.float64)
                loss[i, j] = loss_and_delta(kind, net.phi, z, activate(z, net.phi), wanted)[0].mean()
    return Surface(ticks, loss, kind.replace("_", "-"), len(wanted), len(moved), still)


def _moved(net: Net, random: np.random.Generator) -> tuple[list[tuple[Any, ...]], int]:
    """(layer, name, array, first direction, second direction) of all arrays that move, in float32; how many stay."""
    layers = {id(layer): layer for layer in _every(net.root)}
    moved, still = [], 0
    for layer in layers.values():
        for f in fields(layer):  # type: ignore[arg-type]
            own = getattr(layer, f.name)
            if not isinstance(own, np.ndarray) or own.dtype.kind != "f":
                continue
            own = own.astype(np.float32)
            setattr(layer, f.name, own)
            if own.ndim < 2:
                still += 1
                continue
            axes = -2 if isinstance(layer, Dense) else None
            size = np.sqrt((own * own).sum(axis=axes, keepdims=True))
            pair = []
            for _ in range(2):
                d = random.standard_normal(own.shape, dtype=np.float32)
                pair.append(d * size / np.sqrt((d * d).sum(axis=axes, keepdims=True)))
            moved.append((layer, f.name, own, *pair))
    if not moved:
        raise CapabilityError("This network has no weights that could be moved, so it has no landscape.")
    return moved, still


def _every(layer: Layer) -> Iterator[Layer]:
    yield layer
    for part in layer.parts():
        yield from _every(part)


def _of_model(model: Any, data: Any, y: Any, rows: int, member: int, random: Any) -> tuple[Net, int, np.ndarray]:
    import pandas as pd

    from everymodel.scoring import table

    frame = data if isinstance(data, pd.DataFrame) else pd.DataFrame(data)
    names = [c.name for c in model.schema.columns if c.role == "target"]
    if y is None:
        missing = [n for n in names if n not in frame.columns]
        if missing or not names:
            raise DataError(
                f"A landscape needs the target of each row; the data have no column {(missing or ['?'])[0]!r}."
            )
        y = frame[names[0]] if len(names) == 1 else frame[names]
        known = y.notna() if len(names) == 1 else y.notna().all(axis=1)
        frame, y = frame[known], y[known]
    if not len(frame):
        raise DataError("No row has a target, so there is no loss to draw.")
    codes = table.parse_target(model.schema, y)
    take = _some(len(frame), rows, random)
    batch, _ = table.parse(model.schema, frame.iloc[take])
    node, net, which = traceable(model, batch, member)
    wanted, known = targets(model, net, node, codes[take])
    if not known.any():
        raise DataError("The network knows the target of none of the rows, so there is no loss to draw.")
    if not known.all():
        net.x = net.x[known]
    return net, which, wanted[known]


def _of_estimator(model: Any, X: Any, y: Any, rows: int, member: int, random: Any) -> tuple[Net, int, np.ndarray]:
    pack = getattr(importlib.import_module(type(model).__module__), "pack", None)
    if pack is None or y is None:
        raise CapabilityError(
            f"A {type(model).__name__} has no landscape: expected a Model, or a fitted network with X and y."
        )
    X, y = _rows(X), np.asarray(y)
    if len(X) != len(y) or not len(X):
        raise DataError(f"{len(X)} rows and {len(y)} targets came; expected as many, and at least one.")
    take = _some(len(X), rows, random)
    X, y = X[take], y[take]
    if X.dtype.kind in "iub":
        X = X.astype(np.float64)
    nets = list(nets_of(pack(model), X, [f"x{i + 1}" for i in range(X.shape[-1] if X.ndim > 1 else 0)]))
    if not nets:
        raise CapabilityError(f"A {type(model).__name__} does not answer by weighted sums, so it has no landscape.")
    if not isinstance(member, int) or not 0 <= member < len(nets):
        raise ParameterError(f"member={member!r}: this model has the networks 0 to {len(nets) - 1}.")
    net, which = nets[member]
    if not hasattr(model, "classes_"):
        y = y.reshape(len(y), -1).astype(np.float64)
        y = y if net.offset is None else y - net.offset
        return net, which, y if net.scale is None else y / net.scale
    if y.ndim == 2 and y.shape[1] > 1:
        return net, which, y.astype(np.float64)
    labels: Sequence[Any] = np.asarray(model.classes_)
    out = net.root(net.x)
    wanted = (np.ravel(y)[:, None] == labels[None, :]).astype(np.float64)
    if not wanted.any(axis=1).all():
        raise DataError("Some targets are not among the classes of the model.")
    return net, which, wanted[:, 1:] if out.shape[-1] == 1 else wanted


def _rows(X: Any) -> np.ndarray:
    """Rows as an array; sequences of different length, or texts, as objects."""
    if isinstance(X, list | tuple) and (len({np.shape(row) for row in X}) > 1 or any(isinstance(r, str) for r in X)):
        made = np.empty(len(X), dtype=object)
        made[:] = list(X)
        return made
    return np.asarray(X)


def _some(n: int, most: int, random: np.random.Generator) -> np.ndarray:
    return np.arange(n) if n <= most else np.sort(random.choice(n, most, replace=False))


def draw(made: Surface) -> Any:
    """A contour map and a surface of the loss; the model is the mark in the middle."""
    from everymodel.workflow.evaluate import plots

    return plots._styled(_drawn)(made)


def _drawn(made: Surface) -> Any:
    from matplotlib.figure import Figure

    from everymodel.workflow.evaluate import plots
    from everymodel.workflow.evaluate.words import number

    finite = made.loss[np.isfinite(made.loss)]
    top = float(finite.max()) if len(finite) else 1.0
    low = float(finite.min()) if len(finite) else 0.0
    loss = np.where(np.isfinite(made.loss), made.loss, top)
    # Heights grow like a power of the distance, so levels that grow evenly in the logarithm show the valley as well.
    bend = max(top - low, 1e-12) * 0.02
    shade = np.log((loss - low) / bend + 1.0)
    levels = np.linspace(0.0, max(float(shade.max()), 1e-9), 15)
    figure = Figure(figsize=(9.2, 4.1), layout="constrained", facecolor=plots.PAPER)
    ax = figure.add_subplot(1, 2, 1)
    ax.contourf(made.ticks, made.ticks, shade, levels=levels, cmap=plots._SCALE, alpha=0.85)
    lines = ax.contour(made.ticks, made.ticks, shade, levels=levels[1::2], colors=plots.PAPER, linewidths=0.7)
    ax.clabel(lines, fmt={v: number(bend * np.expm1(v) + low) for v in lines.levels}, fontsize=7, colors=plots.INK)
    ax.plot(0, 0, marker="o", color=plots.PAPER, markeredgecolor=plots.INK, markersize=6)
    ax.set(xlabel="first random direction", ylabel="second random direction", aspect="equal")
    ax.set_title(
        f"Loss ({made.name}) of {made.rows:,} rows; {number(made.centre)} at the model", fontsize=8.5, loc="left"
    )
    ax.grid(visible=False)
    solid: Any = figure.add_subplot(1, 2, 2, projection="3d")
    first, second = np.meshgrid(made.ticks, made.ticks)
    solid.plot_surface(
        first, second, shade, cmap=plots._SCALE, linewidth=0.2, edgecolor=plots.PAPER, rcount=60, ccount=60
    )
    marks = levels[::4]
    solid.set_zticks(marks, [number(bend * np.expm1(v) + low) for v in marks])
    ends = [float(v) for v in made.ticks[[0, len(made.ticks) // 2, -1]]]
    solid.set_xticks(ends)
    solid.set_yticks(ends)
    solid.tick_params(labelsize=7, pad=0)
    solid.set(xlabel="first", ylabel="second")
    solid.view_init(elev=32, azim=-58)
    for axis in (solid.xaxis, solid.yaxis, solid.zaxis):
        axis.set_pane_color((1, 1, 1, 0))
        axis._axinfo["grid"]["color"] = plots.GRID
    return figure
