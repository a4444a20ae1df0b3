"""Figures, dates and column names as they stand in names and sentences of groups."""

from __future__ import annotations

import datetime
import math
import re

_EPOCH = datetime.datetime(1970, 1, 1)
_AGE = re.compile(r"(^|[\s_])age($|[\s_](in_)?(years|yrs|y)$)", re.IGNORECASE)


def short(text: object, most: int = 40) -> str:
    """One line of at most `most` characters; control characters become spaces."""
    clean = " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())
    return clean if len(clean) <= most else clean[: most - 1].rstrip() + "…"


def spoken(column: str, most: int = 40) -> str:
    """A column's name as it reads in a sentence: "annual income" for "annual_income"."""
    return short(column.replace("_", " "), most) or "a column without a name"


def figure(value: float, whole: bool = False) -> str:
    """Three significant digits (four below ten thousand, so that years stay years); whole numbers where all are."""
    if not math.isfinite(value):
        return "unknown"
    if value == 0:
        return "0"
    size = math.floor(math.log10(abs(value)))
    if size < -4 or size >= 15:
        return f"{value:.2e}"
    if size >= 4:
        step = 10 ** (size - 2)
        return f"{round(value / step) * step:,.0f}".replace("-", "−")
    decimals = 0 if size >= 3 else max(0, 2 - size)
    text = f"{value:.{decimals}f}"
    if "." in text and (whole or float(value).is_integer()):
        text = text.rstrip("0").rstrip(".")
    return text.replace("-", "−")


def date(seconds: float, span: float = math.inf) -> str:
    """A date, with the time of day where the column spans less than three days."""
    try:
        when = _EPOCH + datetime.timedelta(seconds=float(seconds))
    except (OverflowError, ValueError):
        return "unknown"
    return when.strftime("%Y-%m-%d %H:%M") if span < 3 * 86400 else when.date().isoformat()


def percent(share: float) -> str:
    """ "78 %"; never 0 or 100 where it is not exactly that."""
    rounded = round(100 * share)
    if rounded == 0 and share > 0:
        return "under 1 %"
    if rounded == 100 and share < 1:
        return "over 99 %"
    return f"{rounded} %"


def level(column: str, side: str, very: bool = False) -> str:
    """How a number that is "high", "low", "middling" or "no" is called: "very high income", "older"."""
    if _AGE.search(column) and side in ("high", "low"):
        word = {"high": "old", "low": "young"}[side]
        return f"very {word}" if very else f"{word}er"
    return f"{'very ' if very and side in ('high', 'low') else ''}{side} {spoken(column)}"


def when(column: str, side: str) -> str:
    """ "recent signup", "early signup", "signup in between"."""
    if side == "middling":
        return f"{spoken(column)} in between"
    return f"{'recent' if side == 'high' else 'early'} {spoken(column)}"


def listed(items: list[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}" if items else ""
