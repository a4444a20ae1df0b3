"""What a person sees while a model is being fitted: a live block in a terminal, plain lines in a log."""

from __future__ import annotations

import sys
import time
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Any

from everymodel.interfaces.cli.draw import bar, clean, number

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

    from everymodel.workflow.types import Progress

_SPEECH = {
    "read": "Reading the data",
    "split": "Setting the test rows aside",
    "understand": "Understanding the columns",
    "search": "Searching for the best model",
    "learn": "Learning by doing",
    "refit": "Fitting the best on all training rows",
    "evaluate": "Testing once on rows no choice has seen",
    "save": "Saving",
}


class FitProgress(AbstractContextManager["FitProgress"]):
    """A listener for `em.fit`. Use as a context manager; call it with each Progress."""

    def __init__(self, budget: float | None, *, quiet: bool = False, started: float | None = None):
        self.budget, self.quiet = budget, quiet
        self.started = time.monotonic() if started is None else started
        self.stage = self.candidate = self.message = ""
        self.best: float | None = None
        self.done, self.total = 0, None
        self.left: float | None = None
        self._live: Any = None
        self._said = ("", "", -1.0)

    def __enter__(self) -> FitProgress:
        if not self.quiet and sys.stderr.isatty():
            from rich.live import Live

            from everymodel.interfaces.cli.shell import console

            self._live = Live(
                get_renderable=self.render, console=console(stderr=True), refresh_per_second=8, transient=True
            )
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def __call__(self, event: Progress) -> None:
        self.stage = event.stage
        self.candidate = event.candidate or ("" if event.stage != "search" else self.candidate)
        self.message = event.message
        self.best = self.best if event.best is None else event.best
        self.done = max(event.done, self.done if event.stage == "search" else 0)
        self.total = event.total
        self.left = event.seconds_left
        if self._live is None and not self.quiet:
            self._line()

    def elapsed(self) -> float:
        return time.monotonic() - self.started

    def _line(self) -> None:
        """One line per stage, per new best score, and else at most one per two seconds."""
        now = time.monotonic()
        stage, best, last = self._said
        if (self.stage, str(self.best)) == (stage, best) and now - last < 2.0:
            return
        self._said = (self.stage, str(self.best), now)
        parts = [f"{self.elapsed():6.1f} s", _SPEECH.get(self.stage, clean(self.stage))]
        if self.candidate:
            parts.append(clean(self.candidate, 40))
        if self.best is not None:
            parts.append(f"best so far {number(self.best)}")
        if self.done:
            parts.append(f"{self.done} tried")
        if self.message:
            parts.append(clean(self.message, 160))
        print("  ".join(parts), file=sys.stderr, flush=True)

    def render(self) -> RenderableType:
        """The live block: stage and candidate, the score so far, a bar of time."""
        from rich.console import Group
        from rich.spinner import Spinner
        from rich.table import Table
        from rich.text import Text

        head = Text(_SPEECH.get(self.stage, clean(self.stage) or "Starting"), style="bold")
        if self.candidate:
            head.append(f"  {clean(self.candidate, 40)}", style="cyan")
        grid = Table.grid(padding=(0, 1))
        grid.add_row(Spinner("dots", style="cyan"), head)
        said = []
        if self.best is not None:
            said.append(f"best so far {number(self.best)}")
        if self.done or self.total:
            said.append(f"{self.done} of {self.total} tried" if self.total else f"{self.done} tried")
        if self.message:
            said.append(clean(self.message, 100))
        if said:
            grid.add_row("", Text(" · ".join(said)))
        grid.add_row("", self._time())
        return Group(grid)

    def _time(self) -> Text:
        from rich.text import Text

        passed = self.elapsed()
        if self.budget is None:
            return Text(f"{passed:.0f} s", style="dim")
        left = max(0.0, self.budget - passed)
        line = Text(bar(passed / self.budget, 20).ljust(20, "░"), style="cyan")
        line.append(f"  {left:.0f} s left of {self.budget:.0f}  (Ctrl-C keeps the best so far)", style="dim")
        return line
