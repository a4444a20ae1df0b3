"""Where data comes from and answers go: shared options, checks before work starts, writing by file name."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from everymodel.core.errors import ParameterError

if TYPE_CHECKING:
    import pandas as pd

Data = Annotated[
    str,
    typer.Argument(
        metavar="DATA",
        help="A file (CSV, Parquet, JSON, Excel, HTML, ...), a database URL, or - for standard input; "
        "or an environment (CartPole-v1, world.py).",
    ),
]
ModelFile = Annotated[str, typer.Argument(metavar="MODEL", help="A model file (.em).")]
Sheet = Annotated[str | None, typer.Option(help="Excel: the sheet.", rich_help_panel="Reading")]
Query = Annotated[str | None, typer.Option(help="Database: the SQL query.", rich_help_panel="Reading")]
Separator = Annotated[
    str | None, typer.Option(help=r"CSV: what stands between cells; found out by default.", rich_help_panel="Reading")
]
Encoding = Annotated[
    str | None, typer.Option(help="Text: the encoding; found out by default.", rich_help_panel="Reading")
]

WRITABLE = (".csv", ".tsv", ".parquet", ".jsonl", ".json")


def read(data: str, **options: Any) -> Any:
    """`everymodel.read` with only the options that were given, so that its own defaults hold."""
    import everymodel as em

    given = {k: v for k, v in options.items() if v is not None}
    if given.get("separator") in ("\\t", "tab"):
        given["separator"] = "\t"
    return em.read(data, **given)


def check_writable(path: str | None, option: str, endings: tuple[str, ...] = ()) -> None:
    """ParameterError unless a file can be written there; called before the work whose result it will hold."""
    if path is None or path == "-":
        return
    place = Path(path)
    if place.is_dir():
        raise ParameterError(f"{option} {path}: this is a folder. Give the name of a file in it.")
    if endings and place.suffix.lower() not in endings:
        raise ParameterError(f"{option} {path}: the name must end in one of {' '.join(endings)}.")
    folder = place.parent
    if not folder.is_dir():
        raise ParameterError(f"{option} {path}: the folder {folder} does not exist. Make it first: mkdir -p {folder}")
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
        if place.exists() and not os.access(place, os.W_OK):
            raise PermissionError(13, "the file is read-only")
    except OSError as error:
        raise ParameterError(f"{option} {path}: cannot be written: {error.strerror}. Choose another place.") from error


def write_table(frame: pd.DataFrame, path: str) -> None:
    """Write a frame in the format that the file's ending names; `-` is CSV on standard output."""
    import io
    import sys

    from everymodel.core.files import atomic_write

    if path == "-":
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(encoding="utf-8")  # answers are data: no letter may be lost
        frame.to_csv(sys.stdout, index=False)
        return
    ending = Path(path).suffix.lower()
    with atomic_write(path) as stream:
        if ending == ".parquet":
            from everymodel.core.optional import require

            require("pyarrow", "Writing Parquet")
            frame.to_parquet(stream, index=False)
        elif ending in (".jsonl", ".json"):
            frame.to_json(stream, orient="records", lines=ending == ".jsonl", force_ascii=False, date_format="iso")
        else:
            frame.to_csv(stream, index=False, sep="\t" if ending == ".tsv" else ",", encoding="utf-8")


def size(path: str | os.PathLike[str]) -> str:
    """A file's size in words."""
    count = float(os.path.getsize(path))
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"
