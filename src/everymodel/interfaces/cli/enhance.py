"""everymodel enhance: larger images for small ones."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from everymodel.core.errors import CapabilityError, ParameterError
from everymodel.interfaces.cli.shell import Json, Quiet, Verbose, emit, examples, guarded, say, working
from everymodel.interfaces.cli.source import ModelFile, check_writable

EXAMPLES = examples(
    "everymodel enhance photos.em small.png -o large.png",
    "everymodel enhance photos.em small.png -o large.png --fidelity 1      # the least error, nothing drawn",
    "everymodel enhance photos.em scans/*.jpg -o larger/                   # a folder: one file each",
)


@guarded
def command(
    model: ModelFile,
    images: Annotated[list[str], typer.Argument(metavar="IMAGE...", help="Image files.")],
    out: Annotated[str, typer.Option("--out", "-o", help="A PNG file, or a folder for one file each.")],
    fidelity: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="1: the least error; 0: the most detail, which is likely, not seen.")
    ] = 0.0,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Make images larger, with the detail that enlarging alone cannot give."""
    folder = Path(out)
    if folder.is_dir():
        places = [folder / f"{Path(image).stem}.png" for image in images]
        if len(set(places)) < len(places):
            raise ParameterError(f"--out {out}: several images have the same name. Enlarge them one by one.")
    elif len(images) > 1:
        raise ParameterError(f"--out {out}: {len(images)} images came. Give a folder that exists, for one file each.")
    else:
        check_writable(out, "--out", (".png",))
        places = [folder]
    with working("Enlarging", quiet or as_json):
        from everymodel import scoring
        from everymodel.core.files import atomic_write
        from everymodel.scoring.images import as_png

        loaded = scoring.load(model)
        if loaded.task != "enhance":
            why = "Models that do: everymodel models --task enhance"
            raise CapabilityError(f"{model} ({loaded.task}) makes no image larger. {why}")
        made = []
        for image, place in zip(images, places, strict=True):
            large = loaded.upscale(image, fidelity)  # type: ignore[attr-defined]
            with atomic_write(place) as stream:
                stream.write(as_png(large))
            made.append({"image": image, "out": str(place), "height": large.shape[0], "width": large.shape[1]})
    if as_json:
        emit(made)
        return
    for one in made:
        say(f"{one['out']}: {one['width']} x {one['height']} pixels.", quiet)
