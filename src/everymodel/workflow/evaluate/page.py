"""The report: one HTML file that holds everything, works offline and prints."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from everymodel.core.files import atomic_write


def html(story: Mapping[str, Any]) -> str:
    """The page of a story (see `everymodel.workflow.story`) as text."""
    import jinja2

    here = Path(__file__).parent / "templates"
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(here), autoescape=True, trim_blocks=True)
    return environment.get_template("report.html").render(story=story)


def report(story: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """Write the page of a story to `path`, replacing what was there only when it is complete."""
    text = html(story)
    with atomic_write(path) as stream:
        stream.write(text.encode("utf-8"))
