"""Models whose answer is about places of an image: what each pixel is, or which things there are and where.

    model = load("cells.em")
    model.predict("slide.png")          # mask (height, width) of classes
    load("birds.em").predict("sky.jpg") # {"boxes": (m, 4), "labels": (m,), "scores": (m,)}

Needs numpy alone (and Pillow where images come as files).
"""

from __future__ import annotations

import base64
import io
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from everymodel.core.errors import CapabilityError, DataError, ModelFileError, SchemaError
from everymodel.scoring import images, probe, table
from everymodel.scoring.layers.feed import sigmoid
from everymodel.scoring.model import Model
from everymodel.scoring.steps.base import Batch
from everymodel.scoring.steps.pixelwise import Pixelwise, Places

MOST = 100  # things found in one image
_ALLOWED = "an image (file, bytes, base64 text or array)"


class PixelwiseModel(Model):
    """Answers images, each in its own size, with masks (task "segment") or with things (task "locate").

    Made by `em.wrap` or `load`.
    """

    @property
    def column(self) -> str:
        """The column that holds the images."""
        return self.schema.features[0].name

    @property
    def _step(self) -> Pixelwise:
        step = self.pack.nodes[-1].step
        if not isinstance(step, Pixelwise):
            raise ModelFileError(f"The file is damaged: a model of task {self.task!r} has no network of places.")
        return step

    def check(self) -> None:
        """Raise ModelFileError unless network, classes and schema fit together."""
        features = self.schema.features
        if len(features) != 1 or features[0].kind != "image" or not isinstance(self.threshold, int | float):
            raise ModelFileError(f"The file is damaged: a model of task {self.task!r} is described wrongly.")
        ((maps, _),) = self.pack(probe.batch(self.schema, 1))
        if maps.shape[-1] != len(self.classes) + (0 if self.task == "segment" else 4) or not self.classes:
            raise ModelFileError("The file is damaged: its classes do not fit its network.")
        if self.task == "segment" and not all(type(c) is int and 0 <= c < 65_536 for c in self.classes):
            raise ModelFileError("The file is damaged: the classes of masks are no whole numbers.")
        if self._step.stride > 1 and self.task == "segment":
            raise ModelFileError("The file is damaged: its masks are smaller than its images.")

    @property
    def sides(self) -> tuple[int, int] | None:
        """(height, width) that images are resized to before they are answered; None: each is seen in its own size."""
        return self._step.sides

    @property
    def threshold(self) -> Any:
        """Score above which a thing counts as found."""
        return self.manifest.get("threshold") or 0.0

    # --- what comes in ---

    def read(  # type: ignore[override]
        self, data: Any, *, missing_columns: str = "error", unseen: str | None = None, files: bool = True
    ) -> tuple[Batch, list[dict[str, Any]]]:
        """Images as one column of bytes (h, w, c), each in its own size; one that cannot be read is refused."""
        cells = self._cells(data)[0]
        made = np.empty(len(cells), dtype=object)
        wrong = []
        for row, cell in enumerate(cells):
            try:
                made[row] = images.pixels(cell, None, files)
            except images.ImageCellError as error:
                told = f"{cell!r:.60} ({error})" if isinstance(cell, str | bytes) else str(error)
                wrong.append({"row": row, "field": self.column, "came": told,
                              "allowed": _ALLOWED, "action": "refused"})  # fmt: skip
        if wrong:
            first = wrong[0]
            raise SchemaError(
                f"{len(wrong)} of {len(cells)} images cannot be read; the first is row {first['row']}: "
                f"{first['came']}. Give {first['allowed']}.",
                wrong[: table.MAX_FIELDS],
            )
        return Batch({self.column: made}, len(made)), []

    def _batch(self, data: Any, missing_columns: str, unseen: str | None, edges: Any = None) -> Batch:
        return self.read(data)[0]

    def _cells(self, data: Any) -> tuple[list[Any], bool]:
        """(images, whether one alone came) of an image, several, rows or a table."""
        table_like = hasattr(data, "columns") and hasattr(data, "iloc")
        if (table_like or isinstance(data, Mapping)) and self.column not in data:
            told = {"row": None, "field": self.column, "came": "no such column", "allowed": _ALLOWED}
            raise SchemaError(f"The data lacks the column {self.column!r}, which holds the images.", [told])
        if table_like:
            return data[self.column].tolist(), False
        if isinstance(data, Mapping):
            cell = data[self.column]
            if isinstance(cell, list | tuple) and not _is_picture(cell):
                return list(cell), False
            return self._cells(cell) if isinstance(cell, np.ndarray) else ([cell], True)
        if isinstance(data, np.ndarray):
            if data.dtype == object or data.ndim == 4:
                return list(data), False
            if data.ndim not in (2, 3):
                raise DataError(f"An array of shape {data.shape} is neither an image (h, w[, c]) nor several.")
            one = images.is_image(data)
            return ([data], True) if one else (list(data), False)
        if isinstance(data, list | tuple) or hasattr(data, "to_numpy"):
            cells = data.to_numpy().tolist() if hasattr(data, "to_numpy") else list(data)
            return [self._cells(c)[0][0] if isinstance(c, Mapping) else c for c in cells], False
        return [data], True

    # --- answers ---

    def answers(self, batch: Batch) -> Any:  # type: ignore[override]
        """(maps (h', w', k), (height, width)) of each image."""
        return self.pack(batch)

    def decide(self, answers: Any) -> np.ndarray:
        """(n,) objects: masks (height, width), or {"boxes", "labels", "scores"}."""
        labels = self._labels()
        made = np.empty(len(answers), dtype=object)
        if self.task == "segment":
            made[:] = [labels[mask] for mask in masks(answers)]
        else:
            made[:] = [
                {"boxes": boxes, "labels": labels[codes], "scores": scores}
                for boxes, codes, scores in things(answers, self._step.stride, self.threshold, self.sides)
            ]
        return made

    def predict(self, data: Any, **ignored: Any) -> Any:  # type: ignore[override]
        """A mask (or the things) for one image, a list of these for several.

        Parameters
        ----------
        data : an image (path, bytes, array (h, w) or (h, w, c), Pillow image), a row, or several: a list, an array
            (n, h, w[, c]), a table with the column of images.

        Returns
        -------
        Masks (height, width) of classes, in the size of the image; or {"boxes": (m, 4) of left, top, right and bottom
        in pixels of the image, "labels": (m,), "scores": (m,)}, best first.
        """
        alone = self._cells(data)[1]
        made = list(self.decide(self.answers(self.read(data)[0])))
        return made[0] if alone else made

    @property
    def predict_proba(self) -> Any:
        """Probability of each class for each pixel, (height, width, k), of one image or of several (task "segment")."""
        if self.task != "segment":
            raise CapabilityError("This model (locate) gives a score for each thing: see predict.")
        return self._shares

    def _shares(self, data: Any) -> Any:
        alone = self._cells(data)[1]
        made = shares(self.answers(self.read(data)[0]))
        return made[0] if alone else made

    def told(self, answers: Any) -> list[Any]:
        """The decisions on raw answers as plain data, one for each image.

        Masks: {"mask": PNG as text, each pixel's value is its class, "shares": {class: share of the pixels}}. Things:
        a list of {"label", "score", "box": [left, top, right, bottom]}.
        """
        made: list[Any] = []
        for one in self.decide(answers):
            if self.task == "segment":
                made.append({"mask": images.data_url(_grey(one)), "shares": self.areas(one)})
                continue
            parts = zip(one["labels"].tolist(), one["scores"].tolist(), one["boxes"].tolist(), strict=True)
            made.append([{"label": label, "score": score, "box": box} for label, score, box in parts])
        return made

    def areas(self, mask: np.ndarray) -> dict[str, float]:
        """The share of the pixels of a mask that each class has."""
        return {str(c): float(np.mean(mask == c)) for c in self.classes}

    def evaluate(
        self,
        data: Any,
        truth: Sequence[Any] | None = None,
        *,
        target: str | None = None,
        folder: str | os.PathLike[str] | None = None,
        **ignored: Any,
    ) -> dict[str, Any]:
        """How good the answers are, on images that the model has not seen.

        Parameters
        ----------
        data : images; or a table with the column of images and one of what is true.
        truth : for each image a mask (array (h, w), or a file whose pixels' values are classes), pixels below zero do
            not count; or {"boxes", "labels"}, or a list of {"label", "box": [left, top, right, bottom]}, or JSON of
            either.
        target : the table's column of what is true; by default "mask" or "masks", "boxes" or "things".
        folder : where paths in the table start that lead nowhere from here.

        Returns
        -------
        {"iou": mean intersection over union of the classes, "accuracy": of pixels}; or {"average_precision": mean over
        classes, where boxes that overlap by a half are found}.

        Raises
        ------
        DataError
            where the truth is missing or cannot be read; the message names the row.
        """
        if truth is None:
            truth = self._truths(data, target)
        cells = [_placed(cell, folder) for cell in self._cells(data)[0]]
        if len(cells) != len(truth):
            raise DataError(f"There are {len(cells)} images and {len(truth)} answers to compare with; give one each.")
        if not cells:
            raise DataError("No image came, so there is nothing to evaluate.")
        own = [self._true(cell, row, folder) for row, cell in enumerate(truth)]
        answers = self.answers(self.read(cells)[0])
        if self.task == "segment":
            return overlap_of_areas(list(self.decide(answers)), own)
        labels = self._labels()
        found = [
            {"boxes": boxes, "labels": labels[codes], "scores": scores}
            for boxes, codes, scores in things(answers, self._step.stride, 0.01, self.sides)
        ]
        return {"average_precision": average_precision(found, own)}

    def _truths(self, data: Any, target: str | None) -> list[Any]:
        """The column of a table that holds what is true."""
        what = "masks" if self.task == "segment" else "boxes"
        named = [target] if target else ["mask", "masks"] if self.task == "segment" else ["boxes", "things"]
        there = data if isinstance(data, Mapping) else getattr(data, "columns", ())
        name = next((n for n in named if n in there), None)
        if name is None and not len(there):
            raise DataError(f"To evaluate, give the {what} of the images: model.evaluate(images, {what}).")
        if name is None:
            raise DataError(
                f"No column {' or '.join(map(repr, named))} holds the {what}; the columns are "
                f"{', '.join(map(str, list(there)[:12]))}. Name it: target=NAME (--target NAME)."
            )
        return list(data[name])

    def _true(self, cell: Any, row: int, folder: Any) -> Any:
        """A mask (h, w) of whole numbers, or {"boxes": (m, 4), "labels": (m,)}, from what a cell holds."""
        if self.task == "segment":
            if isinstance(cell, np.ndarray | list | tuple):
                return np.asarray(cell)
            try:
                mask = codes_of_file(_placed(cell, folder))
            except images.ImageCellError as error:
                raise DataError(f"The mask in row {row} cannot be read: {cell!r:.60} ({error}).") from error
            strange = sorted(set(np.unique(mask).tolist()) - set(self.classes))
            if strange:
                raise DataError(
                    f"The mask in row {row} holds {', '.join(map(str, strange[:5]))}; classes of this model are "
                    f"{', '.join(map(str, self.classes[:20]))}. Pixels' values must be classes; to leave pixels out, "
                    "give masks as arrays with -1 there."
                )
            return mask
        told = cell
        try:
            if isinstance(cell, str | bytes):
                told = json.loads(cell)
            if isinstance(told, list | tuple):
                told = {"boxes": [t["box"] for t in told], "labels": [t["label"] for t in told]}
            boxes = np.asarray(told["boxes"], dtype=np.float64).reshape(-1, 4)
            if len(boxes) != len(told["labels"]) or not np.isfinite(boxes).all():
                raise ValueError("boxes and labels do not fit together")
            return {"boxes": boxes, "labels": list(told["labels"])}
        except (ValueError, TypeError, KeyError) as error:
            raise DataError(
                f"The boxes in row {row} cannot be read: {cell!r:.60} ({error}). Expected "
                '[{"label": "cat", "box": [left, top, right, bottom]}, ...].'
            ) from error


def codes_of_file(cell: Any) -> np.ndarray:
    """The whole numbers (h, w) that a mask's pixels hold: a file's path, its bytes, base64 text or a Pillow image.

    Raises
    ------
    ImageCellError
        for what is no image of one channel (grey, a palette's numbers, or colours that are all grey).
    """
    from everymodel.core.optional import require

    if isinstance(cell, str) and cell.startswith("data:"):
        try:
            cell = base64.b64decode(cell.partition(",")[2], validate=True)
        except ValueError as error:
            raise images.ImageCellError("its base64 text is damaged") from error
    if isinstance(cell, str | os.PathLike) and not os.path.isfile(cell):
        raise images.ImageCellError("there is no such file")
    if not isinstance(cell, str | os.PathLike | bytes) and not hasattr(cell, "getbands"):
        raise images.ImageCellError(f"it came as {type(cell).__name__}; expected a path, bytes or an array")
    require("PIL", "Reading masks")
    from PIL import Image

    try:
        image = cell if hasattr(cell, "getbands") else Image.open(io.BytesIO(cell) if isinstance(cell, bytes) else cell)
        if image.size[0] * image.size[1] > images.MAX_PIXELS:
            raise images.ImageCellError(f"it has {image.size[0]} x {image.size[1]} pixels")
        made = np.asarray(image)  # of a palette its numbers, not its colours
    except images.ImageCellError:
        raise
    except Exception as error:
        raise images.ImageCellError(f"it is no image ({str(error)[:80]})") from error
    if made.ndim == 3 and (made[:, :, :1] == made[:, :, :3]).all():
        made = made[:, :, 0]
    if made.ndim != 2 or made.dtype.kind not in "iub":
        raise images.ImageCellError("it is coloured; pixels of a mask hold the number of a class")
    return made.astype(np.int64)


def _placed(cell: Any, folder: Any) -> Any:
    """A path from a table, which may start at the table's folder."""
    if folder is None or not isinstance(cell, str) or len(cell) > 1024 or os.path.isabs(cell) or os.path.exists(cell):
        return cell
    beside = os.path.join(os.fspath(folder), cell)
    return beside if os.path.exists(beside) else cell


def _is_picture(cell: Sequence[Any]) -> bool:
    """Whether nested lists are one image in rows of pixels, not several images."""
    return bool(len(cell)) and isinstance(cell[0], list | tuple) and np.ndim(cell[0][0] if len(cell[0]) else 0) < 2


def _grey(mask: np.ndarray) -> np.ndarray:
    """A mask as an image whose pixels' values are its classes."""
    return mask.astype(np.uint8 if mask.max(initial=0) < 256 else np.uint16)[:, :, None]


# --- from maps to masks and things ---


def masks(answers: Sequence[Places]) -> list[np.ndarray]:
    """The likeliest class's code for each pixel (height, width) of each image."""
    return [nearest(maps.argmax(axis=-1), sides) for maps, sides in answers]


def shares(answers: Sequence[Places]) -> list[np.ndarray]:
    """Probabilities (height, width, k) of each image's pixels."""
    made = []
    for maps, sides in answers:
        high = np.exp(maps - maps.max(axis=-1, keepdims=True), dtype=np.float64)
        made.append(nearest(high / high.sum(axis=-1, keepdims=True), sides))
    return made


def nearest(mask: np.ndarray, sides: Any) -> np.ndarray:
    """A mask (h, w[, k]) in another size, each pixel that of the nearest place."""
    h, w = (int(s) for s in sides)
    if mask.shape[:2] == (h, w):
        return mask
    rows = ((np.arange(h) + 0.5) * mask.shape[0] / h).astype(int)
    return mask[rows[:, None], ((np.arange(w) + 0.5) * mask.shape[1] / w).astype(int)]


def things(
    answers: Sequence[Places], stride: int, threshold: float, sides: tuple[int, int] | None = None
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """(boxes (m, 4) in pixels of the image, class codes (m,), scores (m,)) of each image, best first.

    sides : (height, width) in which the network saw all of them; None: each in its own.
    """
    made = []
    for maps, (height, width) in answers:
        h, w = sides or (height, width)
        ((boxes, codes, scores),) = peaks(maps[None], stride, threshold)
        boxes = np.clip(boxes, 0, (w, h, w, h)) * (width / w, height / h, width / w, height / h)
        made.append((boxes, codes, scores))
    return made


def peaks(maps: np.ndarray, stride: int, threshold: float) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """(boxes (m, 4), class codes (m,), scores (m,)) of each image, best first, from maps (n, h, w, k + 4)."""
    k = maps.shape[-1] - 4
    heat = sigmoid(maps[..., :k].astype(np.float64))
    wide = np.pad(heat, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=-1.0)
    h, w = heat.shape[1:3]
    around = np.max([wide[:, i : i + h, j : j + w] for i in range(3) for j in range(3)], axis=0)
    made = []
    for row in range(len(maps)):
        y, x, code = np.nonzero((heat[row] >= around[row]) & (heat[row] > threshold))
        scores = heat[row][y, x, code]
        order = np.argsort(-scores, kind="stable")[:MOST]
        y, x, code, scores = y[order], x[order], code[order], scores[order]
        rest = maps[row, y, x, k:].astype(np.float64)
        centre = (np.stack([x, y], axis=1) + sigmoid(rest[:, 2:])) * stride
        half = np.exp(np.clip(rest[:, :2], -4, 8)) * stride / 2
        made.append((np.concatenate([centre - half, centre + half], axis=1), code, scores))
    return made


def overlaps(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Intersection over union (m, r) of boxes (m, 4) and (r, 4)."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=2)
    areas = (a[:, 2:] - a[:, :2]).prod(axis=1)[:, None] + (b[:, 2:] - b[:, :2]).prod(axis=1)[None]
    return shared / np.maximum(areas - shared, 1e-12)


def average_precision(found: Sequence[Any], true: Sequence[Any], overlap: float = 0.5) -> float:
    """The mean over classes of the area under precision (made monotone) against recall."""
    classes = sorted({str(label) for told in true for label in told["labels"]})
    areas = []
    for label in classes:
        hits: list[tuple[float, bool]] = []
        total = 0
        for told, own in zip(found, true, strict=True):
            mine = np.asarray(own["boxes"], dtype=float).reshape(-1, 4)[[str(v) == label for v in own["labels"]]]
            total += len(mine)
            which = np.flatnonzero([str(v) == label for v in told["labels"]])
            shares = overlaps(np.asarray(told["boxes"])[which], mine)
            free = np.ones(len(mine), dtype=bool)
            for row, place in enumerate(which):
                best = int(np.argmax(np.where(free, shares[row], -1))) if free.any() else -1
                hit = best >= 0 and bool(shares[row, best] >= overlap)
                if hit:
                    free[best] = False
                hits.append((float(told["scores"][place]), hit))
        right = np.array([hit for _, hit in sorted(hits, key=lambda h: -h[0])], dtype=float)
        precision = np.cumsum(right) / np.arange(1, len(right) + 1)
        precision = np.maximum.accumulate(precision[::-1])[::-1]
        areas.append(float((precision * right).sum() / max(total, 1)))
    return float(np.mean(areas)) if areas else 0.0


def overlap_of_areas(found: Sequence[Any], true: Sequence[Any]) -> dict[str, float]:
    """{"iou": mean intersection over union of the classes that occur, "accuracy"}; pixels below zero do not count."""
    for row, (one, other) in enumerate(zip(found, true, strict=True)):
        if np.shape(one) != np.shape(other):
            raise DataError(f"Mask {row} has shape {np.shape(other)}; its image {np.shape(one)}.")
    told, own = (np.concatenate([np.ravel(m) for m in part] or [np.zeros(0)]) for part in (found, true))
    told, own = told[own >= 0], own[own >= 0]
    parts = [np.sum((told == c) & (own == c)) / np.sum((told == c) | (own == c)) for c in np.unique(own)]
    return {"iou": float(np.mean(parts)), "accuracy": float(np.mean(told == own))}
