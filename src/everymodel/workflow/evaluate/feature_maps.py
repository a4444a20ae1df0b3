"""What a convolutional network makes of one image: the maps after each layer, and where it looked.

    maps = model.layers("seven.png")
    maps.save("maps.png")

All of it is computed in numpy from the saved file.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from everymodel.core.errors import CapabilityError, DataError
from everymodel.scoring import table
from everymodel.scoring.graph import TABLE
from everymodel.scoring.images import pixels
from everymodel.scoring.layers.base import Layer
from everymodel.scoring.layers.convolution import Pixels
from everymodel.scoring.steps.base import Batch
from everymodel.scoring.steps.network import Network

WORDS = {
    "convolution": "convolution",
    "transposed_convolution": "transposed convolution",
    "activation": "activation",
    "pool": "pooling",
    "grid_pool": "pooling",
    "residual": "residual sum",
    "upsample": "upsampling",
    "pixels": "centred and scaled",
    "spectrogram": "spectrogram",
    "affine": "normalisation",
    "concat": "side by side",
}
_LAST = 4  # places that a map needs for a heat map worth drawing


@dataclass(frozen=True)
class Maps:
    """The output of one layer.

    Attributes
    ----------
    path : where the layer stands in the network. word : its kind. title : what it does, with sizes.
    values : (h, w, c); signals have h = 1.
    """

    path: str
    word: str
    title: str
    values: np.ndarray


@dataclass
class FeatureMaps:
    """All maps of one input.

    Attributes
    ----------
    image : (h, w, c) the input as the network gets it. layers : the maps, first to last. answer : the network's output.
    labels : words for the numbers of the answer. heat : (h, w) from 0 to 1, where the network looked for its answer
    (None where that is not known). target : place of the answer that `heat` is about.
    """

    image: np.ndarray
    layers: list[Maps]
    answer: np.ndarray
    labels: list[str] = field(default_factory=list)
    heat: np.ndarray | None = None
    target: int | None = None

    def __iter__(self) -> Iterator[Maps]:
        return iter(self.layers)

    def __len__(self) -> int:
        return len(self.layers)

    def figure(self, channels: int = 10) -> Any:
        """A drawing: a row for each layer, with the `channels` maps that vary most."""
        return draw(self, channels)

    def save(self, path: Any, channels: int = 10) -> None:
        """Draw into a file (.png, .svg or .pdf)."""
        self.figure(channels).savefig(path, dpi=150)


def feature_maps(model: Any, data: Any, target: Any = None) -> FeatureMaps:
    """The maps of the first row of `data` in a model that holds a convolutional network.

    Parameters
    ----------
    model : a model from `load` or a run. data : one image (a path, bytes, an array, a Pillow image), one signal, or a
        row: a dict or a frame. target : class that the heat map is about; by default the one that is answered.

    Raises
    ------
    CapabilityError
        for models without a convolution.
    """
    batch = _row(model, data)
    values: dict[str, Any] = {TABLE: batch}
    for node in model.pack.nodes:
        inputs = [values[name] for name in node.inputs]
        if isinstance(node.step, Network) and _convolutions(node.step.root()):
            labels = [str(c) for c in getattr(model, "classes", None) or []]
            place = None
            if target is not None:
                if str(target) not in labels:
                    raise DataError(f"target={target!r} is no class of the model; it knows {', '.join(labels[:20])}.")
                place = labels.index(str(target))
            return of_network(node.step, inputs[0], labels, place)
        values[node.name] = node.step(*inputs)
    raise CapabilityError("This model holds no convolutional network, so there are no feature maps to show.")


def _row(model: Any, data: Any) -> Batch:
    columns = [c for c in model.schema.features if c.kind in ("image", "sequence")]
    if not columns:
        raise CapabilityError("This model reads no images or signals, so there are no feature maps to show.")
    if not (hasattr(data, "columns") or isinstance(data, dict)):
        if columns[0].kind == "image":
            pixels(data)  # says what is wrong with it
        data = {columns[0].name: [data]}
        for other in model.schema.features:
            data.setdefault(other.name, [None])
    batch, _ = table.parse(model.schema, data)
    return batch.take(np.arange(1))


def _convolutions(root: Layer) -> bool:
    return root.word == "convolution" or any(_convolutions(part) for part in root.parts())


def _trunk(root: Layer) -> list[Layer]:
    """The layers in turn: sequences laid flat, one view in the place of several."""
    if root.word == "sequential":
        return [inner for part in root.parts() for inner in _trunk(part)]
    return _trunk(root.parts()[0]) if root.word == "views" else [root]


def of_network(network: Network, x: Any, labels: Sequence[str] = (), target: int | None = None) -> FeatureMaps:
    """The maps of the first row of `x` in a network of `scoring.layers`."""
    trunk = _trunk(network.root())
    x = x[:1]
    axes = next((layer.axes for layer in trunk if isinstance(layer, Pixels)), None)
    if isinstance(x, np.ndarray) and axes is not None and x.ndim == axes + 1:
        x = x[..., None]
    outputs: list[Any] = [network.inputs(x)]
    layers: list[Maps] = []

    def watch(path: str, layer: Layer, given: Any, y: Any) -> None:
        if layer.word in WORDS and isinstance(y, np.ndarray) and y.ndim in (3, 4):
            layers.append(Maps(path, layer.word, _title(layer, y), _square(y)))

    for i, layer in enumerate(trunk):
        outputs.append(layer.run(outputs[-1], watch, str(i)))
    answer = np.asarray(outputs[-1])
    shown = network.answered(answer.astype(np.float64))
    if answer.ndim == 2 and target is None and shown.ndim == 2 and shown.shape[1] > 1:
        target = int(shown[0].argmax())
    image = _square(np.asarray(x if isinstance(x, np.ndarray) and x.ndim > 2 else outputs[1]))
    heat = None if answer.ndim != 2 else _looked(trunk, outputs, target or 0, image.shape[:2])
    return FeatureMaps(image, layers, np.ravel(shown[0]), list(labels), heat, target)


def _title(layer: Layer, y: np.ndarray) -> str:
    words = WORDS[layer.word]
    size = getattr(layer, "size", None)
    if size is not None and layer.word != "spectrogram":
        words += " " + "×".join(map(str, size))
    if layer.word == "activation":
        words = str(getattr(layer, "kind", words)).replace("_", " ")
    *sides, channels = y.shape[1:]
    return f"{words} → {'×'.join(map(str, sides))}, {channels} channel{'s' if channels != 1 else ''}"


def _square(y: np.ndarray) -> np.ndarray:
    """The first row as (h, w, c)."""
    return y[0] if y.ndim == 4 else y[0][None] if y.ndim == 3 else y[0][None, :, None]


def _looked(trunk: list[Layer], outputs: list[Any], target: int, sides: tuple[int, ...]) -> np.ndarray | None:
    """Grad-CAM (Selvaraju et al. 2017): maps weighted by how much their mean moves the answer, what is positive.

    Taken at the last layer whose maps have at least 4 places a side, else at the last one that has maps.
    """
    spatial = [i for i, y in enumerate(outputs) if i > 0 and isinstance(y, np.ndarray) and y.ndim in (3, 4)]
    large = [i for i in spatial if min(s for s in outputs[i].shape[1:-1]) >= _LAST and trunk[i - 1].word != "pixels"]
    if not spatial:
        return None
    place = (large or spatial)[-1]
    slope = np.zeros_like(outputs[-1])
    if target >= slope.shape[1]:  # two classes may share one output
        target = 0
    slope[0, target] = 1.0
    try:
        for i in range(len(trunk) - 1, place - 1, -1):
            slope = trunk[i].pull(outputs[i], slope)
    except NotImplementedError:
        return None
    maps, slope = _square(outputs[place]), _square(slope)
    heat = np.maximum((maps * slope.mean(axis=(0, 1))).sum(axis=2), 0.0)
    if not heat.max() > 0:
        return np.zeros(sides)
    return _stretched(heat / heat.max(), sides)


def _stretched(heat: np.ndarray, sides: tuple[int, ...]) -> np.ndarray:
    """Straight lines between the places of a small map."""
    for axis in (0, 1):
        side = heat.shape[axis]
        at = np.clip((np.arange(sides[axis]) + 0.5) * side / sides[axis] - 0.5, 0, side - 1)
        low = np.floor(at).astype(int)
        share = (at - low)[:, None] if axis == 0 else (at - low)[None, :]
        high = np.minimum(low + 1, side - 1)
        heat = heat.take(low, axis) * (1 - share) + heat.take(high, axis) * share
    return heat


def draw(made: FeatureMaps, channels: int = 10) -> Any:
    """The input, where the network looked, its answer, and a row of maps for each layer."""
    from everymodel.workflow.evaluate import plots

    return plots._styled(_drawn)(made, channels)


def _shown(image: np.ndarray) -> dict[str, Any]:
    """How an input is drawn."""
    values = image.astype(np.float64)
    top = 255.0 if image.dtype == np.uint8 else max(float(values.max()), 1e-9)
    values = np.clip(values / top, 0, 1)
    return {"X": values[:, :, :3] if values.shape[2] >= 3 else values[:, :, 0], "cmap": "gray", "vmin": 0, "vmax": 1}


def _drawn(made: FeatureMaps, channels: int) -> Any:
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.figure import Figure
    from matplotlib.gridspec import GridSpec

    from everymodel.workflow.evaluate import plots

    rows = [maps for maps in made.layers if maps.word != "affine"]
    h, w = made.image.shape[:2]
    flat = h == 1  # a signal
    cell = 0.8
    high = 0.45 if flat else min(max(cell * h / w, 0.35), 1.6)
    top = 1.9
    width = 0.25 + cell * channels * 1.06 + 0.25
    height = top + len(rows) * (high + 0.3) + 0.2
    figure = Figure(figsize=(width, height), facecolor=plots.PAPER)
    ratios = [top - 0.25, *[high + 0.3] * len(rows)]
    left, right = 0.25 / width, 1 - 0.25 / width
    grid = GridSpec(len(rows) + 1, 1, figure, left, 0.1 / height, right, 1 - 0.25 / height, hspace=0.0,
                    height_ratios=ratios)  # fmt: skip
    head = grid[0].subgridspec(1, 3, width_ratios=[1, 1, 1.6], wspace=0.12)
    ax = figure.add_subplot(head[0])
    if flat:
        ax.plot(made.image[0], linewidth=0.8)
    else:
        ax.imshow(**_shown(made.image), interpolation="nearest")
        ax.set_axis_off()
    ax.set_title(f"input, {w} steps" if flat else f"input, {h}×{w}", fontsize=8.5, loc="left")
    if made.heat is not None:
        ax = figure.add_subplot(head[1])
        warm = LinearSegmentedColormap.from_list("warm", [(0, (1, 1, 1, 0)), (0.4, "#f2b45f99"), (1, "#c0392be6")])
        if flat:
            ax.plot(made.image[0], linewidth=0.6, color=plots.GREY)
            ax.imshow(made.heat, cmap=warm, aspect="auto", extent=(0, w, *ax.get_ylim()), vmin=0, vmax=1)
        else:
            shown = _shown(made.image)
            grey = shown["X"].mean(axis=2) if shown["X"].ndim == 3 else shown["X"]
            ax.imshow(0.35 + 0.5 * grey, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            ax.imshow(made.heat, cmap=warm, vmin=0, vmax=1)
            ax.set_axis_off()
        label = made.labels[made.target] if made.target is not None and made.target < len(made.labels) else "its answer"
        ax.set_title(f"where it looked for {plots.short(label, 14)}", fontsize=8.5, loc="left")
    ax = figure.add_subplot(head[2])
    _answer(ax, made, plots)
    tone = LinearSegmentedColormap.from_list("tone", ["#101820", "#1f6fb4", "#f3d9a4", "#fffaf0"])
    both = LinearSegmentedColormap.from_list("both", ["#d5762a", "#fefefe", "#1f6fb4"])
    for row, maps in enumerate(rows, 1):
        values = maps.values
        order = np.sort(np.argsort(-values.std(axis=(0, 1)), kind="stable")[:channels])
        line = grid[row].subgridspec(2, channels, height_ratios=[0.28, high], hspace=0.0, wspace=0.06)
        ax = figure.add_subplot(line[0, :])
        ax.set_axis_off()
        ax.text(0, 0.2, maps.title, fontsize=8, color=plots.INK, va="bottom")
        signed = bool((values < 0).any())
        for column, channel in enumerate(order):
            ax = figure.add_subplot(line[1, column])
            one = values[:, :, channel]
            reach = max(float(np.abs(one).max()), 1e-9)
            limits = (
                {"vmin": -reach, "vmax": reach, "cmap": both} if signed else {"vmin": 0, "vmax": reach, "cmap": tone}
            )
            if flat:
                ax.plot(one[0], linewidth=0.8, color=plots.BLUE)
                ax.set_xlim(0, max(one.shape[1] - 1, 1))
                ax.grid(visible=False)
            else:
                ax.imshow(one, interpolation="nearest", **limits)
            ax.set_xticks([])
            ax.set_yticks([])
            for side in ax.spines.values():
                side.set_visible(False)
    return figure


def _answer(ax: Any, made: FeatureMaps, plots: Any) -> None:
    """The most probable classes as bars, or the number."""
    from everymodel.workflow.evaluate.words import number

    answer = made.answer
    if len(made.labels) != len(answer) or len(answer) < 2:
        ax.set_axis_off()
        told = ", ".join(number(float(v)) for v in answer[:6]) if len(answer) <= 6 else f"{len(answer):,} numbers"
        ax.text(0, 0.5, told, fontsize=15, color=plots.INK, transform=ax.transAxes)
        ax.set_title("answer", fontsize=8.5, loc="left")
        return
    best = np.argsort(-answer, kind="stable")[:6][::-1]
    ax.barh(range(len(best)), answer[best], color=[plots.BLUE if k == made.target else plots.GREY for k in best])
    ax.set_yticks(range(len(best)), [plots.short(made.labels[k], 14) for k in best])
    ax.set_xlim(0, 1)
    ax.grid(visible=False)
    ax.set_title("answer", fontsize=8.5, loc="left")
    for i, k in enumerate(best):
        inside = answer[k] > 0.85
        place, colour = (answer[k] - 0.02, plots.PAPER) if inside else (answer[k] + 0.02, plots.MUTED)
        side = "right" if inside else "left"
        ax.annotate(f"{answer[k]:.1%}", (place, i), va="center", ha=side, fontsize=7.5, color=colour)
