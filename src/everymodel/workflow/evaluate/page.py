"""The report: one HTML file that holds everything, works offline and prints."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from everymodel.core.files import atomic_write
from everymodel.core.schema import ACT_TASKS, FREE_TASKS, MADE_TASKS, SERIES_TASKS
from everymodel.workflow.evaluate import structure_view
from everymodel.workflow.evaluate.view import view


@lru_cache(maxsize=1)
def _environment() -> Any:
    import jinja2

    folder = Path(__file__).parent / "templates"
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        autoescape=True,  # column names and cells come from anyone
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )


def html(story: Mapping[str, Any]) -> str:
    """The page of a story (see `everymodel.workflow.story`) as text. What a story lacks is left out of the page."""
    if story.get("task") in FREE_TASKS:
        return _environment().get_template("structure.html").render(**structure_view.view(story))
    if story.get("task") in SERIES_TASKS:
        from everymodel.workflow.evaluate import forecast_view

        return _environment().get_template("forecast.html").render(**forecast_view.view(story))
    if story.get("task") in MADE_TASKS:
        from everymodel.workflow.evaluate import made_view

        return _environment().get_template("made.html").render(**made_view.view(story))
    if story.get("task") in ACT_TASKS:
        from everymodel.workflow.evaluate import agent_view

        return _environment().get_template("agent.html").render(**agent_view.view(story))
    structure = story.get("structure") or {}
    gain = structure_view.gain({**structure, **structure["gain"]}) if structure.get("gain") else None
    return (
        _environment()
        .get_template("report.html")
        .render(gain=gain, augmentation=structure_view.augmentation(story), **view(story))
    )


def report(story: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """Write the page of a story to `path`, replacing what was there only when it is complete."""
    text = html(story)
    with atomic_write(path) as stream:
        stream.write(text.encode("utf-8", "replace"))
