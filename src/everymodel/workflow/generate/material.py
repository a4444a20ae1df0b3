"""What a generator learns from: images, numbers, a mixed table, texts, or files of music, found out from what came;
large images of any sizes, for models that enlarge small ones."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from everymodel.core.errors import DataError, ReadError, TargetError
from everymodel.core.finding import Finding
from everymodel.scoring import images as cells_of_images
from everymodel.workflow.generate.codes import say
from everymodel.workflow.types import Table

MUSIC = (".mid", ".midi")
TEXT_BYTES = 2 << 30  # beyond this a text is refused
LEAST = 3  # of each class, that it may be asked for
CLASSES = 1000
MATRIX = 64  # columns of numbers that a model of rows is given; wider tables go to models of tables
_KEPT = (1024, 1 << 30)  # longest side of images that keep their size; bytes of all images
_SMALLEST = 48  # pixels on each side of an image that shows what larger images hold


@dataclass
class Material:
    """Data as models of one kind take them.

    kind : "image" (n, h, w, c) bytes (a list of (h, w, c) for models that enlarge), "matrix" or "table" a frame,
        "text" a list of texts or one long text, "music" a list of paths, "level" a list of texts.
    labels : (n,) the class of each, or None. target : the name of that column.
    """

    kind: str
    rows: Any
    source: Table
    labels: np.ndarray | None = None
    target: str | None = None
    findings: list[Finding] = field(default_factory=list)

    @property
    def long(self) -> bool:
        """Whether it is one long text, of which parts are taken instead of rows."""
        return isinstance(self.rows, str)

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, rows: np.ndarray) -> Material:
        labels = None if self.labels is None else self.labels[rows]
        if self.long:
            return replace(self, rows=self.rows[int(rows[0]) : int(rows[-1]) + 1])
        if isinstance(self.rows, list):
            return replace(self, rows=[self.rows[i] for i in rows], labels=labels)
        some = self.rows.iloc[rows].reset_index(drop=True) if hasattr(self.rows, "iloc") else self.rows[rows]
        return replace(self, rows=some, labels=labels)

    def words(self) -> str:
        """ "1,797 images", for titles and headlines."""
        if self.long:
            return f"{len(self.rows):,} characters of text"
        names = {"image": "images", "matrix": "rows", "table": "rows", "text": "texts", "music": "pieces of music"}
        return f"{len(self.rows):,} {names.get(self.kind, self.kind + 's')}"


def material(data: Any, target: Any = None, wanted: Sequence[str] | None = None) -> Material:
    """The data of a run, read.

    Parameters
    ----------
    data : folder of images (a folder per class), of music or of texts; a text file; a table; images (n, h, w[,
        c]); a list of texts; or a `Table` that has been read.
    target : column (or, for arrays and lists, one value for each) that samples can be asked for.
    wanted : kinds that the models asked for by name take; what came is turned into one of these where that can be.

    Raises
    ------
    ReadError, TargetError, DataError
    """
    found = _found(data, target)
    return found if wanted is None else suited(found, wanted)


def suited(found: Material, wanted: Sequence[str]) -> Material:
    """The same data as one of these kinds, where they can be; else as they are.

    Raises
    ------
    DataError
        when a table is to become rows of numbers and holds others.
    """
    if found.kind in wanted:
        return found
    if found.kind == "matrix" and "table" in wanted:
        return _whole(found)
    if found.kind == "table" and "matrix" in wanted:
        return _numbers(found)
    if found.kind == "text" and "level" in wanted:  # of one file, maps with an empty line between them
        maps = found.rows.split("\n\n") if isinstance(found.rows, str) else found.rows
        return replace(found, kind="level", rows=[m.strip("\n") for m in maps if m.strip()])
    return found


def _found(data: Any, target: Any) -> Material:
    if isinstance(data, str | os.PathLike) and os.fspath(data) != "-":
        path = Path(data)
        if path.is_dir():
            return _folder(path, target)
        if path.suffix.lower() in MUSIC and path.is_file():
            raise ReadError(f"{str(path)!r} is one piece of music: give a folder of pieces to learn from.")
        if path.suffix.lower() == ".txt" and path.is_file():
            return _no_target(_text(path), target)
    if isinstance(data, np.ndarray) and data.ndim >= 3:
        return _images(data, _given(target, len(data)), _memory("<array>", "images", data))
    if isinstance(data, list | tuple) and data:
        if isinstance(data[0], str) and not cells_of_images.is_path(data[0]):
            return _no_target(Material("text", [str(t) for t in data], _memory("<list>", "texts", *data)), target)
        if cells_of_images.is_path(data[0]) or cells_of_images.is_image(data[0]):
            return _images(list(data), _given(target, len(data)), _memory("<list>", "images", *data))
    from everymodel.workflow.read import read

    return _table(data if isinstance(data, Table) else read(data), target)


def large_images(data: Any, target: Any = None) -> Material:
    """Images each of its own size, for models that learn what small ones lack: nothing is shrunk, which would change
    how detail looks; of very large ones the middle is kept.

    Parameters
    ----------
    data : folder, paths, images, a table with one column of images, or a `Table`.

    Raises
    ------
    ReadError, DataError; TargetError where a target is given.
    """
    if target is not None:
        raise TargetError(f"target={target!r} means nothing for models that enlarge images: leave it out.")
    path = Path(data) if isinstance(data, str | os.PathLike) and os.fspath(data) != "-" else None
    if path is not None and path.is_dir():
        cells: Any = sorted(str(p) for p in path.rglob("*") if cells_of_images.is_path(p) and p.is_file())
        source = _memory(str(path), "folder of images")
    elif isinstance(data, np.ndarray) and data.ndim >= 3:
        cells, source = data if data.ndim == 4 else data[..., None], _memory("<array>", "images")
    elif (
        isinstance(data, list | tuple)
        and data
        and (cells_of_images.is_path(data[0]) or cells_of_images.is_image(data[0]))
    ):
        cells, source = data, _memory("<list>", "images")
    else:
        from everymodel.workflow.read import read

        source = data if isinstance(data, Table) else read(data)
        columns = [c for c in source.frame.columns if _pictures(source.frame[c])]
        if len(columns) != 1:
            raise DataError(
                f"{source.source} has {len(columns)} columns of images; expected one, or a folder of images."
            )
        cells = source.frame[columns[0]].tolist()
    if not len(cells):
        raise DataError(f"{source.source} holds no image ({', '.join(cells_of_images.SUFFIXES)}).")
    kept, why, small, room = [], [], 0, _KEPT[1]
    digest = hashlib.sha256()
    for number in np.random.default_rng(len(cells)).permutation(len(cells)):  # where not all have room: a fair part
        try:
            image = cells_of_images.pixels(cells[number])
        except cells_of_images.ImageCellError as error:
            why.append(str(error))
            continue
        h, w = image.shape[:2]
        if min(h, w) < _SMALLEST:
            small += 1
            continue
        if max(h, w) > _KEPT[0]:
            top, left = max(h - _KEPT[0], 0) // 2, max(w - _KEPT[0], 0) // 2
            image = image[top : top + _KEPT[0], left : left + _KEPT[0]].copy()
        room -= image.nbytes
        if room < 0:
            break
        kept.append((number, image))
    if len(kept) < 2:
        reason = f"; the first that cannot be read: {why[0]}" if why else ""
        raise DataError(
            f"{len(kept)} of {len(cells)} images can be learnt from; expected 2 or more of {_SMALLEST} pixels on each "
            f"side{reason}."
        )
    images = [image for _, image in sorted(kept, key=lambda pair: pair[0])]
    for image in images:
        digest.update(str(image.shape).encode() + np.ascontiguousarray(image).tobytes())
    made = Material("image", images, replace(source, fingerprint=digest.hexdigest()))
    if why:
        made.findings.append(say("images-left-out", count=len(why), all=len(cells), why=why[0]))
    if small:
        made.findings.append(say("images-too-small", count=small, all=len(cells), side=_SMALLEST))
    lost = len(cells) - len(why) - small - len(images)
    if lost:
        made.findings.append(say("images-beyond-memory", count=lost, all=len(cells)))
    return made


def _folder(path: Path, target: Any) -> Material:
    """Music, texts, or images and sounds as `read` has them."""
    files = sorted(p for p in path.rglob("*") if p.is_file() and not p.name.startswith("."))
    pieces = [p for p in files if p.suffix.lower() in MUSIC]
    texts = [p for p in files if p.suffix.lower() == ".txt"]
    pictures = sum(p.suffix.lower() in cells_of_images.SUFFIXES for p in files)
    if pictures < max(len(pieces), len(texts)):
        kind, chosen = ("music", pieces) if len(pieces) >= len(texts) else ("text", texts)
        rows = [str(p) for p in chosen] if kind == "music" else [_read_text(p) for p in chosen]
        source = _memory(str(path), f"folder of {kind}", *(p.read_bytes() if kind == "music" else b"" for p in chosen),
                         *(rows if kind == "text" else ()))  # fmt: skip
        made = Material(kind, rows, source)
        if len(files) > len(chosen):
            text = f"{len(files) - len(chosen)} other files in the folder were left out."
            made.findings.append(Finding("files-left-out", "info", text))
        return _no_target(made, target)
    from everymodel.workflow.read import read
    from everymodel.workflow.read.folders import COLUMN

    source = read(path)
    if target is None and COLUMN in source.frame.columns and int(source.frame[COLUMN].nunique()) > 1:
        target = COLUMN
    return _table(source, target)


def _table(source: Table, target: Any) -> Material:
    frame = source.frame
    if not len(frame):
        raise DataError(f"{source.source} has no rows, so there is nothing to learn from.")
    name = None
    if target is not None:
        name = str(target[0] if isinstance(target, list | tuple) and len(target) == 1 else target)
        if name not in map(str, frame.columns):
            shown = ", ".join(map(str, frame.columns[:12]))
            raise TargetError(f"There is no column {name!r} in {source.source}. Its columns are {shown}.")
    others = [c for c in frame.columns if str(c) != name]
    if not others:
        raise DataError(f"{source.source} holds nothing but {name!r}: give what shall be made beside it.")
    pictures = [c for c in others if _pictures(frame[c])]
    if len(pictures) == 1:
        labels = None if name is None else frame[name].to_numpy()
        made = _images(frame[pictures[0]].tolist(), labels, source)
        made.target = name
        left = [str(c) for c in others if c != pictures[0] and str(c) != "folder"]
        if left:
            made.findings.append(say("other-columns", tuple(left), column=str(pictures[0]), count=len(left)))
        return made
    if len(others) == 1 and _texts(frame[others[0]]):
        texts = [str(t) for t in frame[others[0]].dropna() if str(t).strip()]
        return _no_target(Material("text", texts, source), name)
    made = Material("table", frame.reset_index(drop=True), source, target=name)
    numbers = all(_whole_numbers(frame[c]) for c in others)
    if numbers and len(others) <= MATRIX and (name is None or int(frame[name].nunique()) <= CLASSES):
        return _numbers(made)
    return made


def _numbers(table: Material) -> Material:
    """Columns of numbers without gaps, and the target as classes."""
    rows, labels = table.rows, None
    if table.target is not None:
        labels = rows[table.target].to_numpy()
        rows = rows.drop(columns=table.target)
    wrong = [str(c) for c in rows.columns if not _whole_numbers(rows[c])]
    if wrong:
        raise DataError(
            f"Column {wrong[0]!r} is no column of numbers without gaps, which models of rows need. "
            "Leave the model out: there are models of mixed tables."
        )
    return _labelled(replace(table, kind="matrix", rows=rows.astype(np.float64), labels=labels))


def _whole(numbers: Material) -> Material:
    """Rows of numbers as a table, with the target as a column."""
    rows = numbers.rows
    if numbers.labels is not None and numbers.target is not None:
        rows = rows.assign(**{numbers.target: numbers.labels})
    return replace(numbers, kind="table", rows=rows, labels=None)


def _images(cells: Any, labels: Any, source: Table) -> Material:
    findings: list[Finding] = []
    few = list(cells[:2000]) if not isinstance(cells, np.ndarray) else cells
    if isinstance(cells, np.ndarray) and cells.dtype == np.uint8 and cells.ndim in (3, 4):
        rows = cells[..., None] if cells.ndim == 3 else cells
    else:
        shape, mixed = cells_of_images.common_shape(few, longest=_KEPT[0], keep=_KEPT[0])
        if len(cells) * int(np.prod(shape)) > _KEPT[1]:
            scale = (_KEPT[1] / (len(cells) * np.prod(shape))) ** 0.5
            shape = (max(int(shape[0] * scale), 8), max(int(shape[1] * scale), 8), shape[2])
            findings.append(say("images-smaller", height=shape[0], width=shape[1]))
        rows, bad = cells_of_images.stack(cells, shape)
        if len(bad) == len(rows):
            raise DataError(f"None of the {len(rows)} images can be read; the first: {bad[0][1]}.")
        if bad:
            findings.append(say("images-left-out", count=len(bad), all=len(rows), why=bad[0][1]))
            kept = np.setdiff1d(np.arange(len(rows)), [b[0] for b in bad])
            rows, labels = rows[kept], None if labels is None else np.asarray(labels, dtype=object)[kept]
        if mixed:
            findings.append(say("images-mixed", height=shape[0], width=shape[1]))
    if rows.shape[-1] not in (1, 3):
        raise DataError(f"Images of {rows.shape[-1]} channels came; expected 1 (grey) or 3 (colours).")
    made = Material("image", rows, source, None if labels is None else np.asarray(labels), "class", findings)
    return _labelled(made)


def _labelled(made: Material) -> Material:
    """Labels as plain values; rows without one, and classes of too few, are left out and said."""
    if made.labels is None:
        return replace(made, target=None)
    labels = np.array([None if v is None or v != v else v for v in made.labels.tolist()], dtype=object)
    if all(isinstance(v, float) and v.is_integer() for v in labels if v is not None):
        labels = np.array([None if v is None else int(v) for v in labels], dtype=object)
    names, counts = np.unique([str(v) for v in labels if v is not None], return_counts=True)
    if len(names) > CLASSES:
        raise TargetError(
            f"{made.target!r} has {len(names):,} different values: a condition needs at most {CLASSES} classes."
        )
    rare = {str(n) for n, c in zip(names, counts) if c < LEAST}
    kept = np.array([v is not None and str(v) not in rare for v in labels])
    if not kept.any():
        raise TargetError(f"{made.target!r} has no class of {LEAST} rows or more, so nothing can be asked for.")
    if not kept.all():
        made.findings.append(say("classes-left-out", count=int((~kept).sum()), least=LEAST))
    made = replace(made, labels=labels).take(np.flatnonzero(kept))
    if len(set(map(str, made.labels))) < 2:  # type: ignore[arg-type]
        made.findings.append(say("one-class", name=made.target))
        return replace(made, labels=None, target=None)
    return replace(made, labels=_typed(made.labels))


def _typed(labels: Any) -> np.ndarray:
    """Labels of one type as an array of that type, else as texts."""
    kinds = {type(v) for v in labels}
    return np.array(labels.tolist()) if len(kinds) == 1 else np.array([str(v) for v in labels])


def _given(target: Any, n: int) -> np.ndarray | None:
    """The condition of arrays: a value for each."""
    if target is None:
        return None
    if isinstance(target, str):
        raise TargetError(f"target={target!r} names a column, and arrays have none: pass a class for each image.")
    labels = np.asarray(target)
    if labels.ndim != 1 or len(labels) != n:
        raise TargetError(f"target of shape {labels.shape} came for {n} images; expected a class for each.")
    return labels


def _no_target(made: Material, target: Any) -> Material:
    if target is not None:
        raise TargetError(
            f"{made.kind.capitalize()} has no columns, so target={target!r} means nothing here: leave it out. Samples "
            "are asked for by how they begin (--condition)."
        )
    return made


def _pictures(column: Any) -> bool:
    """Whether a column holds images or paths of such."""
    if getattr(column.dtype, "kind", "O") in "iufbMm":
        return False
    some = [c for c in column.head(50).tolist() if c is not None and not isinstance(c, float)]
    return bool(some) and all(cells_of_images.is_path(c) or cells_of_images.is_image(c) for c in some)


def _texts(column: Any) -> bool:
    some = column.dropna().head(1000).tolist()
    return len(some) >= 2 and all(isinstance(c, str) for c in some) and len(set(some)) > 0.5 * len(some)


def _whole_numbers(column: Any) -> bool:
    """Numbers without gaps."""
    if getattr(column.dtype, "kind", "O") not in "iuf":
        return False
    return bool(np.isfinite(column.to_numpy(dtype=np.float64, na_value=np.nan)).all())


def _text(path: Path) -> Material:
    text = _read_text(path)
    if not text.strip():
        raise DataError(f"{str(path)!r} holds no text. Give one of a few thousand characters or more.")
    return Material("text", text, _memory(str(path), "text", text))


def _read_text(path: Path) -> str:
    size = path.stat().st_size
    if size > TEXT_BYTES:
        raise ReadError(f"{str(path)!r} has {size / 1e9:.1f} GB; at most 2 GB of text are read. Give a part of it.")
    return path.read_bytes().decode("utf-8", "replace")


def _memory(name: str, form: str, *parts: Any) -> Table:
    """A source that is no table, with the fingerprint of its content."""
    import pandas as pd

    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            digest.update(str((part.shape, part.dtype)).encode() + np.ascontiguousarray(part).tobytes())
        else:
            digest.update(part if isinstance(part, bytes) else str(part).encode("utf-8", "surrogatepass"))
            digest.update(b"\x1f")
    return Table(pd.DataFrame(), name, form, fingerprint=digest.hexdigest())


def divided(n: int, share: float, labels: np.ndarray | None, seed: np.random.Generator, long: bool) -> Any:
    """(training, held-out) row numbers: each class by its share; of one long text its end."""
    if long:
        cut = n - int(n * share)
        return np.arange(cut), np.arange(cut, n)
    if labels is None:
        order = seed.permutation(n)
        cut = n - int(n * share)
        return np.sort(order[:cut]), np.sort(order[cut:])
    kept, aside = [], []
    words = np.array([str(v) for v in labels])
    for name in np.unique(words):
        rows = seed.permutation(np.flatnonzero(words == name))
        cut = min(int(len(rows) * share + seed.random()), len(rows) - 2)
        aside.append(rows[: max(cut, 0)])
        kept.append(rows[max(cut, 0) :])
    return np.sort(np.concatenate(kept)), np.sort(np.concatenate(aside))
