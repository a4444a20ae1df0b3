"""The progress line that `fit` shows in a terminal or notebook when it is called from Python."""

from __future__ import annotations

import sys

from everymodel.workflow.types import Listener, Progress


def terminal_listener(wanted: bool | None) -> Listener | None:
    """A listener that keeps one line of standard error up to date; None where it is not wanted.

    `wanted=None` shows it only when standard error is a terminal.
    """
    shown = sys.stderr.isatty() if wanted is None else wanted
    if not shown:
        return None
    width = 0

    def listen(event: Progress) -> None:
        nonlocal width
        parts = [event.stage]
        if event.candidate:
            parts.append(event.candidate)
        if event.best is not None:
            parts.append(f"best {event.best:.5g}")
        if event.total:
            parts.append(f"{event.done}/{event.total}")
        if event.seconds_left is not None and event.seconds_left != float("inf"):
            parts.append(f"{event.seconds_left:.0f} s left")
        if event.message:
            parts.append(event.message)
        line = " · ".join(parts)[:110]
        end = "\n" if event.stage == "save" else ""
        sys.stderr.write("\r" + line.ljust(width) + end)
        sys.stderr.flush()
        width = max(width, len(line))

    return listen
