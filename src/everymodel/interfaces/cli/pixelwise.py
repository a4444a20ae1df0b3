"""What the commands say of places in images: masks as PNG files, things as boxes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from everymodel.core.errors import CapabilityError, ParameterError
from everymodel.core.files import atomic_write
from everymodel.interfaces.cli import draw
from everymodel.interfaces.cli.shell import emit, say
from everymodel.interfaces.cli.source import write_table

if TYPE_CHECKING:
    import numpy as np

COLOURS = ((230, 60, 60), (60, 130, 230), (40, 170, 90), (240, 170, 30), (160, 80, 200), (0, 170, 180))


def pictured(out: str) -> bool:
    """Whether the answers shall become PNG files: one, or one for each image in a folder."""
    return out.lower().endswith(".png") or Path(out).is_dir()


def write(model: Any, frame: Any, out: str, refused: list[str], as_json: bool, quiet: bool) -> None:
    """Answer the images of a frame: a file of masks or of drawn boxes, or rows of JSON or CSV.

    Raises
    ------
    CapabilityError
        for options in `refused`, which answers about places do not have.
    """
    if refused:
        raise CapabilityError(f"A model of task {model.task!r} has no {refused[0]}. Leave the option out.")
    batch, _ = model.read(frame)
    answers = model.answers(batch)
    names = [_name(cell, row) for row, cell in enumerate(frame[model.column].tolist())]
    pixels = list(batch.columns[model.column])
    if pictured(out):
        from everymodel.scoring.images import as_png

        places = [Path(out)]
        if Path(out).is_dir():
            places = [Path(out) / f"{Path(name).stem}.png" for name in names]
            if len(set(places)) < len(places):
                raise ParameterError(f"--out {out}: several images have the same name. Write them to a .jsonl file.")
        elif len(names) != 1:
            raise ParameterError(
                f"--out {out}: {len(names)} images came. Give a folder that exists, for one file each."
            )
        for place, picture in zip(places, _pictures(model, answers, pixels), strict=True):
            with atomic_write(place) as stream:
                stream.write(as_png(picture))
        _written(out, len(names), as_json, quiet)
        return
    rows = [{"image": name, **_plain(model, told)} for name, told in zip(names, model.told(answers), strict=True)]
    if out == "-" and not as_json:
        from everymodel.scoring.model import to_json

        for row in rows:
            print(to_json({k: v for k, v in row.items() if k != "mask"}))
        if model.task == "segment":
            say("Give --out mask.png, or a folder, for the masks themselves.", quiet)
    elif out == "-":
        emit(rows)
    else:
        write_table(_table(model, rows, out), out)
        _written(out, len(names), as_json, quiet)


def evaluate(model: Any, table: Any, target: str | None, as_json: bool, quiet: bool) -> None:
    """Hold answers against masks (files, arrays) or boxes (JSON) that stand beside the images in a table."""
    from everymodel.interfaces.cli.shell import console

    figures = model.evaluate(table.frame, target=target, folder=_folder(table.source))
    if as_json:
        emit({"metrics": figures, "images": len(table.frame)})
        return
    said = ", ".join(f"{_WORDS[name]} {value:.3g}" for name, value in figures.items())
    console().print(draw.text(f"{len(table.frame):,} images: {said}.", "bold"))
    if not quiet:
        say(_MEANING[model.task])


_WORDS = {
    "iou": "overlap of areas (IoU)",
    "accuracy": "share of pixels that are right",
    "average_precision": "average precision",
}
_MEANING = {
    "segment": "IoU: pixels that both call a class over pixels that either does, mean over classes; 1 is perfect.",
    "locate": "Average precision: mean over classes, boxes that overlap by a half count as found; 1 is perfect.",
}


def _folder(source: str) -> Path | None:
    """Where paths in a table start: the folder of its file."""
    return Path(source).parent if Path(source).is_file() else None


def _written(out: str, images: int, as_json: bool, quiet: bool) -> None:
    if as_json:
        emit({"out": out, "rows": images, "notes": [], "notes_in_all": 0})
    else:
        say(f"{images:,} answers are in {out}.", quiet)


def _name(cell: Any, row: int) -> str:
    return os.fspath(cell) if isinstance(cell, str | os.PathLike) and len(os.fspath(cell)) < 4096 else f"image {row}"


def _plain(model: Any, told: Any) -> dict[str, Any]:
    return told if model.task == "segment" else {"things": told}


def _table(model: Any, rows: list[dict[str, Any]], out: str) -> Any:
    """A frame with a row for each image; of things in a CSV or Parquet file a row for each thing."""
    import pandas as pd

    if model.task == "locate" and not out.lower().endswith((".json", ".jsonl")):
        columns = ["image", "label", "score", "left", "top", "right", "bottom"]
        made = [(r["image"], t["label"], t["score"], *t["box"]) for r in rows for t in r["things"]]
        return pd.DataFrame(made, columns=columns)
    if out.lower().endswith((".json", ".jsonl")):
        return pd.DataFrame(rows)
    return pd.DataFrame([{"image": r["image"], **{f"share_{c}": v for c, v in r["shares"].items()}} for r in rows])


def _pictures(model: Any, answers: Any, pixels: list[np.ndarray]) -> list[np.ndarray]:
    """Masks as grey images whose pixels' values are their classes; images with the boxes of things drawn in."""
    import numpy as np

    made = []
    for told, image in zip(model.decide(answers), pixels, strict=True):
        if model.task == "segment":
            made.append(told.astype(np.uint8 if told.max(initial=0) < 256 else np.uint16)[:, :, None])
            continue
        picture = np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image.copy()
        line = max(1, min(image.shape[:2]) // 200)
        codes = {label: i for i, label in enumerate(model.classes)}
        for label, box in zip(told["labels"].tolist(), np.rint(told["boxes"]).astype(int).tolist(), strict=True):
            left, top, right, bottom = box
            colour = COLOURS[codes[label] % len(COLOURS)]
            inside = picture[top + line : bottom - line, left + line : right - line].copy()
            picture[top:bottom, left:right] = colour
            if inside.size:
                picture[top + line : bottom - line, left + line : right - line] = inside
        made.append(picture)
    return made
