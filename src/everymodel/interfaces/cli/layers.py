"""everymodel layers: what each layer of a convolutional network makes of one image."""

from __future__ import annotations

from typing import Annotated

import typer

from everymodel.core.errors import ParameterError
from everymodel.interfaces.cli.shell import Json, Quiet, Verbose, able, console, emit, examples, guarded, say, working
from everymodel.interfaces.cli.source import ModelFile, check_writable, read, size

EXAMPLES = examples(
    "everymodel layers digits.em seven.png -o maps.png",
    "everymodel layers digits.em seven.png --target 1 -o maps.svg       # where would it look for a 1?",
    "everymodel layers digits.em table.csv --row 3 --channels 16 -o maps.pdf",
)


@guarded
def command(
    model: ModelFile,
    image: Annotated[str, typer.Argument(metavar="IMAGE", help="An image file, or a table with a row to take.")],
    out: Annotated[str | None, typer.Option("--out", "-o", help="Draw into this file (.png, .svg, .pdf).")] = None,
    target: Annotated[str | None, typer.Option("--target", help="Class to look for; by default the answer.")] = None,
    row: Annotated[int, typer.Option("--row", "-r", min=0, help="Of a table: which row; 0 is the first.")] = 0,
    channels: Annotated[int, typer.Option("--channels", min=1, max=64, help="Maps to draw of each layer.")] = 10,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Draw the maps of one image after each convolution, activation and pooling, and where the network looked."""
    check_writable(out, "--out", (".png", ".svg", ".pdf"))
    from everymodel.scoring.images import is_path

    with working("Looking", quiet or as_json):
        import everymodel as em

        loaded = able(em.load(model), "layers", "convolutions that could be shown")
        if is_path(image):
            data: object = image
        else:
            frame = read(image).frame
            if row >= len(frame):
                raise ParameterError(f"--row {row}: the table has rows 0 to {len(frame) - 1}.")
            data = frame.iloc[[row]]
        made = loaded.layers(data, target=target)
        if out is not None:
            made.save(out, channels)
    if out is not None:
        say(f"The maps are in {out} ({size(out)}).", quiet)
    if as_json:
        emit(
            {
                "layers": [{"path": m.path, "layer": m.word, "shape": list(m.values.shape)} for m in made],
                "answer": [float(v) for v in made.answer],
                "labels": made.labels,
            }
        )
    elif out is None:
        from rich.table import Table

        told = Table("layer", "output", "lowest", "mean", "highest", box=None, header_style="bold")
        for maps in made:
            name, _, sides = maps.title.partition(" → ")
            figures = (maps.values.min(), maps.values.mean(), maps.values.max())
            told.add_row(name, sides, *(f"{v:.3g}" for v in figures))
        console().print(told)
