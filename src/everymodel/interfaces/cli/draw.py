"""How things look in a terminal. Every word that comes from data or a file passes `clean` and is never markup."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table
    from rich.text import Text

_MARKS = {"error": ("✖", "bold red"), "warning": ("!", "bold yellow"), "info": ("·", "cyan")}
_ORDER = {"error": 0, "warning": 1, "info": 2}


def clean(value: Any, most: int = 400) -> str:
    """Text for a terminal: escape codes and other control characters are shown, not obeyed; long text is cut."""
    text = "".join(c if c.isprintable() else "�" for c in str(value))
    return text if len(text) <= most else text[: most - 1] + "…"


def middle(value: Any, most: int) -> str:
    """Clean text, cut in its middle: "Stochastic gradient ... tuned 3" keeps what tells it from its siblings."""
    words = clean(value)
    if len(words) <= most:
        return words
    end = most // 3
    return words[: most - 1 - end].rstrip() + "…" + words[len(words) - end :]


def alike(values: Iterable[Any]) -> Callable[[Any], str]:
    """How to write the numbers of one column: all with as many decimals as the first of them needs for 4 digits."""
    sizes = [abs(v) for v in values if isinstance(v, int | float) and math.isfinite(v) and v]
    if not sizes or not 1e-4 <= sizes[0] < 1e6 or max(sizes) >= 1e9:
        return number
    decimals = max(0, 3 - math.floor(math.log10(sizes[0])))

    def written(value: Any) -> str:
        return f"{value:,.{decimals}f}" if isinstance(value, int | float) and math.isfinite(value) else number(value)

    return written


def number(value: Any) -> str:
    """A number as people write it: 4 significant digits, thousands separated."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "-"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return clean(value)
    if float(value).is_integer() and abs(value) < 1e15:
        return f"{int(value):,}"
    if value and not 1e-4 <= abs(value) < 1e15:
        return f"{value:.3g}"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4g}"


def between(low: Any, high: Any, written: Callable[[Any], str] = number) -> str:
    """ "(1.2 to 1.5)", or nothing where there is no interval."""
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
        return ""
    return f"({written(low)} to {written(high)})"


def several(words: Sequence[Any], most: int = 3) -> str:
    """ "a, b, c and 4 more"."""
    shown = ", ".join(clean(w, 40) for w in words[:most])
    return shown + (f" and {len(words) - most:,} more" if len(words) > most else "")


def text(value: Any, style: str = "") -> Text:
    from rich.text import Text

    return Text(clean(value), style=style)


def table(*heads: str, right: Iterable[int] = (), wrap: Iterable[int] = ()) -> Table:
    """An empty table; columns numbered in `right` hold figures, those in `wrap` may break lines."""
    from rich import box
    from rich.table import Table

    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold", show_edge=False)
    right, wrap = set(right), set(wrap)
    for i, head in enumerate(heads):
        made.add_column(
            head,
            justify="right" if i in right else "left",
            no_wrap=i not in wrap,
            overflow="fold" if i in wrap else "ellipsis",
        )
    return made


def bar(share: float, width: int = 20) -> str:
    """A bar of `share` (0 to 1) of `width` cells, in eighths."""
    eighths = round(max(0.0, min(1.0, share)) * width * 8)
    full, rest = divmod(eighths, 8)
    return "█" * full + ("▏▎▍▌▋▊▉"[rest - 1] if rest else "")


def ranked(findings: Sequence[Any]) -> list[dict[str, Any]]:
    """Findings as dicts, worst first; the order within a severity is kept."""
    told = [f if isinstance(f, dict) else f.to_dict() for f in findings]
    return sorted(told, key=lambda f: _ORDER.get(f["severity"], 3))


def findings(told: Sequence[dict[str, Any]], most: int | None = None) -> Iterable[RenderableType]:
    """One block per finding: mark, message, code; then the advice."""
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    for finding in told[:most]:
        mark, style = _MARKS.get(finding["severity"], ("·", ""))
        body = Text(clean(finding["message"], 600))
        body.append(f"  {clean(finding['code'])}", style="dim")
        if finding.get("advice"):
            body.append("\n" + clean(finding["advice"], 400), style="dim italic")
        block = Table.grid(padding=(0, 1))
        block.add_column(width=1)
        block.add_column(overflow="fold")
        block.add_row(Text(mark, style=style), body)
        yield Padding(block, (0, 0, 0, 1))
    if most is not None and len(told) > most:
        yield Text(f"   and {len(told) - most} more", style="dim")


def column_content(column: Any) -> str:
    """In few words, what a column holds."""
    import datetime

    if column.kind == "number" and column.low is not None and column.high is not None:
        if column.integer and 1000 <= column.low <= column.high < 3000:  # years, most likely
            return f"{column.low:.0f} to {column.high:.0f}"
        sign = " %" if column.percent else ""
        scale = 100 if column.percent else 1
        return f"{number(column.low * scale)} to {number(column.high * scale)}{sign}"
    if column.kind == "date" and column.low is not None and column.high is not None:
        start = datetime.datetime(1970, 1, 1)
        ends = []
        for seconds in (column.low, column.high):
            try:
                ends.append((start + datetime.timedelta(seconds=seconds)).date().isoformat())
            except OverflowError:
                ends.append("?")
        return " to ".join(ends)
    if column.kind in ("category", "boolean") and column.levels:
        return several(column.levels)
    return clean(column.reason, 60) if column.reason else ""


def columns(schema: Any, most: int = 40, width: int = 100) -> Iterable[RenderableType]:
    """The columns of a schema: target first, then features, then what is left out."""
    made = table("column", "kind", "missing", "what is in it", "role", right=[2], wrap=[3])
    order = {"target": 0, "group": 1, "time": 1, "split": 1, "segment": 1, "feature": 2, "ignored": 3}
    listed = sorted(schema.columns, key=lambda c: order.get(c.role, 2))
    for column in listed[:most]:
        role = "" if column.role == "feature" else column.role
        style = {"target": "bold green", "ignored": "dim"}.get(column.role, "")
        content = column_content(column)
        if column.role == "ignored" and column.reason:
            content = clean(column.reason, 120)
        missing = "" if not column.missing else "<0.1%" if column.missing < 0.001 else f"{column.missing:.1%}"
        made.add_row(
            text(middle(column.name, 30 if width >= 80 else 16), style),
            text(column.kind, style),
            text(missing, "yellow" if column.missing > 0.2 else style),
            text(content, style),
            text(role, style),
        )
    yield made
    if len(listed) > most:
        yield text(f"and {len(listed) - most:,} more columns (--all shows them)", "dim")


def leaderboard(rows: Sequence[dict[str, Any]], metric: str, width: int = 100, most: int = 8) -> RenderableType:
    """What the search tried, in the order in which it comes: what answers and what went all the way first.

    Bars show the weight in the final blend. Columns that do not fit into `width` are left out, never squeezed.
    """
    wide, score = width >= 96, alike(row.get("score") for row in rows)

    def share(row: dict[str, Any]) -> Text:
        weight, status = row.get("weight") or 0.0, row.get("status", "ok")
        if weight:
            return text(f"{bar(weight, 8)} {weight:.0%}", "green")
        return text("" if status == "ok" else status if len(status) <= 20 else "did not work", "dim")

    def style(row: dict[str, Any]) -> str:
        return "bold" if row.get("weight") else "" if row.get("status", "ok") == "ok" else "dim"

    # (head, whether it holds figures, cell); the reasons of failures are told elsewhere.
    parts: list[tuple[str, bool, Callable[[dict[str, Any]], Text]]] = [
        ("model", False, lambda r: text(middle(r.get("model", "?"), 34 if wide else 26), style(r))),
        (metric, True, lambda r: text(score(r.get("score")), style(r))),
        ("interval", False, lambda r: text(between(r.get("score_low"), r.get("score_high"), score), "dim")),
        ("fit s", True, lambda r: text(_brief(r.get("fit_seconds")), "dim")),
        ("ms a row", True, lambda r: text(_brief(r.get("row_ms")), "dim")),
        ("weight", False, share),
    ]
    narrow = ("interval", "ms a row")
    cells = [[cell(row) for row in rows[:most]] for _, _, cell in parts]
    shown = [
        i
        for i, (head, _, _) in enumerate(parts)
        if (wide or head not in narrow) and any(c.plain not in ("", "-") for c in cells[i])
    ]
    made = table(*[parts[i][0] for i in shown], right=[k for k, i in enumerate(shown) if parts[i][1]])
    for row in zip(*[cells[i] for i in shown]):
        made.add_row(*row)
    return made


def _brief(value: Any) -> str:
    """Seconds and milliseconds need two digits, not four."""
    return "-" if value is None or value != value else f"{value:.2g}" if value < 10 else f"{value:,.0f}"


def metrics(rows: Sequence[Any], width: int = 100) -> RenderableType:
    """Metrics with their intervals and, where there is room, what they mean."""
    told = [m if isinstance(m, dict) else vars(m) for m in rows]
    words = width >= 80 and any(m.get("text") for m in told)
    made = table("metric", "value", "interval", *["in words"] * words, right=[1], wrap=[3])
    for m in told:
        cells = [text(m["name"]), text(number(m["value"])), text(between(m.get("low"), m.get("high")), "dim")]
        made.add_row(*cells, *[text(m.get("text", ""), "dim")] * words)
    return made


def gaps(rows: Sequence[dict[str, Any]]) -> Iterable[RenderableType]:
    """Fairness: how groups differ from the one that they are compared with; groups too small to tell are named."""
    made = table("measure", "group", "against", "gap", "interval", "verdict", right=[3])
    judged = [g for g in rows if g["verdict"] not in ("reference", "too few rows")]
    for g in judged:
        cells = [g["measure"], f"{clean(g['column'], 20)} {clean(g['group'], 20)}", clean(g["reference"], 20)]
        style = "" if g["verdict"] == "no gap found" else "yellow"
        span = f"({g['gap_low']:+.3f} to {g['gap_high']:+.3f})"
        made.add_row(*[text(c, style) for c in [*cells, f"{g['gap']:+.3f}", span, g["verdict"]]])
    if judged:
        yield made
    few = dict.fromkeys(f"{g['column']} {g['group']}" for g in rows if g["verdict"] == "too few rows")
    if few:
        yield text(f"Too few rows to tell: {several(list(few))}.", "dim")


def heading(words: str) -> Text:
    from rich.text import Text

    return Text(words, style="bold")


def pairs(rows: Iterable[tuple[str, Any]]) -> RenderableType:
    """Names and values in two columns; empty values are left out."""
    from rich.table import Table

    made = Table.grid(padding=(0, 2))
    made.add_column(style="dim", no_wrap=True)
    made.add_column(overflow="fold")
    for name, value in rows:
        if value not in (None, "", [], (), {}):
            made.add_row(name, text(value, ""))
    return made
