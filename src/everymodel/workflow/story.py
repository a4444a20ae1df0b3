"""The story of a run as plain data: written to the run folder as story.json, drawn by the report."""

from __future__ import annotations

import datetime
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from everymodel.core.finding import Finding
from everymodel.core.schema import Schema
from everymodel.workflow.types import Evaluation, Problem, SearchResult, Split, Table

if TYPE_CHECKING:
    import pandas as pd


def story(
    source: Table,
    findings: list[Finding],
    parts: Split,
    problem: Problem,
    result: SearchResult,
    evaluation: Evaluation,
    explanations: dict[str, Any],
    timing: dict[str, float],
    limit: float | None,
    model_file: Path,
    frame: pd.DataFrame,
    suspect: bool,
) -> dict[str, Any]:
    from everymodel.core.version import __version__

    schema = problem.schema
    target = ", ".join(c.name for c in schema.columns if c.role == "target")
    name = Path(source.source).name or source.source
    told = {
        "title": f"{target} from {name}" if not name.startswith("<") else f"Predicting {target}",
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "version": __version__,
        "source": {
            "path": source.source,
            "format": source.format,
            "details": source.details,
            "fingerprint": source.fingerprint,
        },
        "rows": len(frame),
        "columns": [c.to_dict() for c in schema.columns],
        "findings": [f.to_dict() for f in findings],
        "task": problem.task,
        "target": target,
        "classes": list(schema.classes),
        "metric": problem.metric,
        "seed": problem.seed,
        "budget": limit,
        "split": {
            "kind": parts.kind,
            "train": len(parts.train),
            "test": len(parts.test),
            "folds": len(parts.folds),
            "note": parts.note,
        },
        "leaderboard": result.leaderboard,
        "members": result.members,
        "failures": result.failures,
        "stopped": result.stopped,
        "evaluation": asdict(evaluation),
        "explanations": explanations,
        "history": result.history,
        "timing": timing,
        "model_file": str(model_file),
        "how_to": _how_to(model_file, schema),
        "headline": evaluation.headline,
        "suspect": suspect,
    }
    return plain(told)


def _how_to(path: Path, schema: Schema) -> dict[str, str]:
    """Snippets that use the file, with example values from the schema (never a training row)."""
    row: dict[str, Any] = {}
    for c in schema.features:
        row[c.name] = c.levels[0] if c.levels else "..." if c.kind != "number" else c.low
    body = json.dumps({"row": plain(row)})
    ask = "transform" if schema.task in ("reduce", "embed") else "predict"
    return {
        "python": f'import everymodel as em\n\nmodel = em.load("{path}")\n'
        f"model.{ask}(new_rows)  # a table, or one row as a dict",
        "cli": f"everymodel predict {path} new_rows.csv -o answers.csv",
        "rest": f"everymodel serve {path}\n"
        f"curl -s localhost:8000/v1/predict -H 'content-type: application/json' -d {_quoted(body)}",
    }


def _quoted(text: str) -> str:
    import shlex

    return shlex.quote(text)


def plain(value: Any) -> Any:
    """`value` as JSON can hold it: numpy values and dates turned, what is not finite becomes None."""
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple | set):
        return [plain(v) for v in value]
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
