"""Wall-clock budgets. A budget is a promise, so everything that takes time asks a Clock."""

from __future__ import annotations

import re
import time

from everymodel.core.errors import ParameterError

_UNITS = {"ms": 0.001, "s": 1.0, "": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}


def seconds(budget: str | float | int | None) -> float | None:
    """Seconds in a budget such as 60, "60s", "5m", "1h30m" or None (no limit)."""
    if budget is None:
        return None
    if isinstance(budget, int | float) and not isinstance(budget, bool):
        value = float(budget)
    else:
        parts = re.findall(r"(\d+(?:\.\d+)?)\s*([a-z]*)", str(budget).strip().lower())
        left = re.sub(r"\d+(?:\.\d+)?\s*[a-z]*", "", str(budget).strip().lower()).strip()
        if not parts or left or any(unit not in _UNITS for _, unit in parts):
            raise ParameterError(
                f'budget={budget!r} is not a duration. Write seconds or a text such as "60s", "5m", "1h30m".'
            )
        value = sum(float(number) * _UNITS[unit] for number, unit in parts)
    if not value > 0 or value == float("inf"):
        raise ParameterError(f"budget={budget!r} must be a positive, finite time.")
    return value


class Clock:
    """Counts wall seconds from its making; `limit=None` never runs out.

    `kept` seconds of the limit are for what the holder still does afterwards, such as writing a report.
    """

    def __init__(self, limit: float | None = None, started: float | None = None, kept: float = 0.0):
        self.limit, self.kept = limit, kept
        self.started = time.monotonic() if started is None else started

    def elapsed(self) -> float:
        return time.monotonic() - self.started

    def left(self) -> float:
        return float("inf") if self.limit is None else self.limit - self.kept - self.elapsed()

    def over(self) -> bool:
        return self.left() <= 0
