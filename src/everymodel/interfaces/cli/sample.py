"""everymodel sample: new data made by a saved generator."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from everymodel.core.errors import CapabilityError, ParameterError
from everymodel.core.files import atomic_write
from everymodel.interfaces.cli import draw
from everymodel.interfaces.cli.shell import Json, Quiet, Verbose, console, emit, examples, guarded, say, working
from everymodel.interfaces.cli.source import WRITABLE, ModelFile, check_writable, write_table

EXAMPLES = examples(
    "everymodel sample digits.em -n 64 --seed 0 -o digits.png      # one picture of all",
    "everymodel sample digits.em -n 100 --condition 7 -o sevens/   # a folder, one file each",
    "everymodel sample digits.em --interpolate 3 8 --steps 10 -o way.png",
    "everymodel sample customers.em -n 1000 --set plan=basic -o made.csv",
    "everymodel sample chorales.em --condition begin.mid --seed 1 -o whole.mid",
    'everymodel sample shakespeare.em --condition "ROMEO:" --option length=300',
)
_USUAL = {"images": 16, "rows": 10, "table": 10}  # samples, where no number is given
_TEXTS = (".txt", ".jsonl", ".json")


@guarded
def command(
    model: ModelFile,
    n: Annotated[
        int | None, typer.Option("--number", "-n", min=1, help="How many. Default 16 images, 10 rows.")
    ] = None,
    condition: Annotated[
        list[str] | None,
        typer.Option(
            "--condition",
            "-c",
            help="What they shall be: a class, or one for each by repeating it; for texts and music how they begin.",
        ),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="COLUMN=VALUE", help="Tables: a column's value in every row; may be repeated."),
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Equal seeds give equal samples.")] = None,
    truncation: Annotated[
        float | None, typer.Option(min=0.0, help="Below 1: more usual samples, less varied; such as 0.7.")
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option("--option", metavar="NAME=VALUE", help="An option of this kind of model, such as length=300."),
    ] = None,
    interpolate: Annotated[
        tuple[str, str] | None,
        typer.Option(
            metavar="A B", help="Samples on the way from A to B: seeds, or images where the model can encode."
        ),
    ] = None,
    steps: Annotated[int, typer.Option(min=2, max=1000, help="Samples on that way.")] = 8,
    out: Annotated[
        str,
        typer.Option(
            "--out",
            "-o",
            help=f"Images: .png (all in one), .npz or a folder; rows: {' '.join(WRITABLE)}; "
            "texts: .txt, .jsonl or a folder. - is standard output.",
        ),
    ] = "-",
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Make new data with a saved generator: images, rows, texts, music."""  # fmt: skip
    folder = _folder(out)
    if folder is None:
        check_writable(out, "--out")
    import everymodel as em

    loaded: Any = em.load(model)
    if not hasattr(loaded, "sample"):
        raise CapabilityError(f"This model ({loaded.task}) answers rows and makes none. Use everymodel predict.")
    makes = loaded.makes
    _check_out(makes, out, folder, as_json)
    if condition and set_:
        raise ParameterError("--condition and --set both say what samples shall be. Give one of them.")
    asked: Any = dict(map(_pair, set_ or [])) or condition
    if isinstance(asked, list) and len(asked) == 1:
        asked = _beginning(asked[0], makes)
    count = n if n is not None else len(asked) if isinstance(asked, list) else _USUAL.get(makes, 1)
    with working("Sampling", quiet or as_json):
        if interpolate is not None:
            ends = [int(end) if end.isdigit() else _end(end, makes) for end in interpolate]
            made = loaded.interpolate(*ends, steps=steps, **({} if asked is None else {"condition": asked}))
        else:
            extra = dict(map(_pair, option or []))
            made = loaded.sample(count, asked, seed=seed, truncation=truncation, **extra)
    write(made, makes, out, folder, columns=steps if interpolate else None, as_json=as_json, quiet=quiet)


def _pair(text: str) -> tuple[str, Any]:
    """ "length=300" as ("length", 300)."""
    name, found, value = text.partition("=")
    if not found or not name:
        raise ParameterError(f"{text!r} came; expected a name and a value, such as length=300.")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _beginning(text: str, makes: str) -> Any:
    """What music and levels begin with: the file that is named, or JSON. For others as it is."""
    if makes not in ("pieces", "levels"):
        return text
    place = Path(text)
    if place.is_file():
        return place if makes == "pieces" else place.read_text("utf-8", "replace")
    try:
        return json.loads(text)
    except ValueError:
        if makes == "levels":
            return text
        raise ParameterError(
            f"--condition {text}: there is no such file. Give a MIDI file, or frames as JSON."
        ) from None


def _end(text: str, makes: str) -> Any:
    """One end of an interpolation: an image's file, or a row as JSON."""
    if makes == "images" and Path(text).is_file():
        return text
    try:
        return json.loads(text)
    except ValueError:
        other = "an image file" if makes == "images" else "a row as JSON"
        raise ParameterError(f"--interpolate {text}: expected a seed (a whole number), or {other}.") from None


def _folder(out: str) -> Path | None:
    return Path(out) if out.endswith(("/", "\\")) or (out != "-" and Path(out).is_dir()) else None


def _check_out(makes: str, out: str, folder: Path | None, as_json: bool) -> None:
    """Said before anything is made."""
    ending = Path(out).suffix.lower()
    if folder is not None:
        if makes in ("rows", "table"):
            raise ParameterError(f"--out {out}: rows go into one file, such as {folder / 'samples.csv'}.")
        if not folder.is_dir() and not folder.parent.is_dir():
            raise ParameterError(f"--out {out}: the folder {folder.parent} does not exist. Make it first.")
        return
    if out == "-":
        if makes in ("images", "pieces") and not as_json:
            what = "samples.png" if makes == "images" else "samples.mid"
            raise ParameterError(f"{makes.capitalize()} need a file: --out {what}, or a folder (or --json).")
        return
    known = {"images": (".png", ".npz"), "rows": WRITABLE, "table": WRITABLE, "texts": _TEXTS,
             "pieces": (".mid", ".midi"), "levels": (*_TEXTS, ".png")}.get(makes, _TEXTS)  # fmt: skip
    if ending not in known:
        raise ParameterError(f"--out {out}: {makes} are written to {' '.join(known)}" + (
            ", or into a folder." if makes not in ("rows", "table") else "."))  # fmt: skip


def write(
    made: Any, makes: str, out: str, folder: Path | None, *, columns: int | None, as_json: bool, quiet: bool
) -> None:
    """The samples where they were asked for."""
    from everymodel.scoring.images import as_png, data_url, grid

    many = len(made)
    if folder is not None:
        folder.mkdir(exist_ok=True)
        digits = max(len(str(many - 1)), 3)
        ending, turned = {"images": (".png", as_png), "pieces": (".mid", bytes)}.get(makes, (".txt", _encoded))
        for i, one in enumerate(made):
            with atomic_write(folder / f"sample_{i:0{digits}d}{ending}") as stream:
                stream.write(turned(one))
    elif makes in ("rows", "table"):
        import pandas as pd

        frame = pd.DataFrame(made)
        if out == "-" and as_json:
            emit(json.loads(frame.to_json(orient="records", date_format="iso")))
            return
        write_table(frame, out)
    elif out == "-":
        if as_json:
            emit([data_url(m) if makes == "images" else _plain(m) for m in made])
            return
        stream = sys.stdout
        stream.write(("\n\n" if many > 1 else "").join(f"{text}\n" for text in map(str, made)))
        return
    elif makes == "images":
        with atomic_write(out) as stream:
            if out.lower().endswith(".npz"):
                import numpy as np

                np.savez_compressed(stream, samples=made)
            else:
                stream.write(as_png(grid(made, columns)))
    elif makes == "pieces":
        if many != 1:
            raise ParameterError(f"--out {out}: {many} pieces were made. Give a folder, for one file each.")
        with atomic_write(out) as stream:
            stream.write(bytes(made[0]))
    elif out.lower().endswith(".png"):
        if many != 1:
            raise ParameterError(f"--out {out}: {many} {makes} were made. Give a .txt file, or -n 1.")
        with atomic_write(out) as stream:
            stream.write(as_png(made[0].picture()))
    else:
        with atomic_write(out) as stream:
            if out.lower().endswith(".txt"):
                stream.write("\n\n".join(map(str, made)).encode() + b"\n")
            else:
                rows = [{"text": _plain(m)} for m in made]
                text = json.dumps(rows, ensure_ascii=False) if out.lower().endswith(".json") else "\n".join(
                    json.dumps(r, ensure_ascii=False) for r in rows)  # fmt: skip
                stream.write(text.encode() + b"\n")
    if as_json:
        emit({"out": out, "samples": many})
    elif out != "-":
        say(f"{many:,} {'samples are' if many > 1 else 'sample is'} in {out}.", quiet)


def show(run: Any, files: dict[str, Any], took: float, data: str) -> None:
    """What a fit made: how near samples come, what was fitted, where it is, what to do next."""
    from rich.panel import Panel

    out, story = console(), run.story
    split = story["split"]
    title = f"{story['task']} · {draw.clean(story['structure']['words'], 60)}"
    out.print(Panel(draw.text(run.headline, "bold"), title=title, title_align="left", border_style="green"))
    out.print(draw.text(split["note"], "dim"))
    board = run.search.leaderboard
    for row in board:
        steps = f", {row['steps']:,} steps" if row.get("steps") else ""
        mark = "*" if row["weight"] else " "
        told = f"{mark} {row['model']}: {row['fit_seconds']:.1f} s{steps}"
        out.print(draw.text(told if row["status"] == "ok" else f"  {row['model']}: {row['status']}"))
    metrics(run.evaluation)
    if story["structure"].get("texts"):
        out.print()
        out.print(draw.heading("A sample"))
        out.print(draw.text(story["structure"]["texts"][0][:600]))
    from everymodel.interfaces.cli.fit import close

    close(run, files, took, data)


def metrics(evaluation: Any) -> None:
    """Figures of samples, with those of real data beside."""
    if not evaluation.metrics:
        return
    against = evaluation.curves["beside"]
    wide = console().width >= 80
    made = draw.table("", "made", "95 %", against["title"], *["in words"] * wide, right=[1, 3], wrap=[4])
    for m in evaluation.metrics:
        real = against["values"].get(m.name)
        cells = [draw.text(m.name), draw.text(draw.number(m.value)), draw.text(draw.between(m.low, m.high), "dim"),
                 draw.text("" if real is None else draw.number(real))]  # fmt: skip
        made.add_row(*cells, *[draw.text(m.text, "dim")] * wide)
    console().print()
    console().print(made)


def _encoded(text: Any) -> bytes:
    return (str(text) + "\n").encode()


def _plain(sample: Any) -> Any:
    if isinstance(sample, bytes):
        import base64

        return base64.b64encode(sample).decode()
    return sample if isinstance(sample, str) else getattr(sample, "tolist", lambda: str(sample))()
