"""Judge, explain and tell: metrics with intervals, comparisons, explanations, plots and the one-file report.

    evaluation = evaluate("binary", y, answers, classes=["no", "yes"], baselines={"dummy": guesses})
    explain(model, batch, y, seconds=5)
    report(story, "report.html")

Loaded on use, because plots need matplotlib and most callers only want figures.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from everymodel.workflow.evaluate.evaluation import evaluate
    from everymodel.workflow.evaluate.explanations import explain
    from everymodel.workflow.evaluate.page import html, report
    from everymodel.workflow.evaluate.thresholds import choose_threshold, threshold_choice

_WHERE = {
    "evaluate": "evaluation",
    "choose_threshold": "thresholds",
    "threshold_choice": "thresholds",
    "explain": "explanations",
    "report": "page",
    "html": "page",
}
__all__ = ["choose_threshold", "evaluate", "explain", "html", "report", "threshold_choice"]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"everymodel.workflow.evaluate has no name {name!r}.")
    import importlib

    value = getattr(importlib.import_module(f"{__name__}.{_WHERE[name]}"), name)
    globals()[name] = value
    return value
