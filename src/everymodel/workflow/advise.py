"""Which models suit a table, why, and which would be wrong: from the cards and from figures of the data.

Nothing is fitted. A card's `advice` words say what the model is good at; each word is weighed by what is true of the
data, and every weight that counted becomes a reason in words. What a card cannot do (too many rows, a missing package,
a target it refuses) becomes a warning and pulls it down.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from everymodel import catalog
from everymodel.core.card import Card
from everymodel.core.errors import TargetError
from everymodel.core.optional import pip_line
from everymodel.core.schema import FREE_TASKS
from everymodel.scoring import cells
from everymodel.workflow.types import Understanding

SAMPLE = 5_000  # rows on which correlation is looked at
TEXT_COLUMNS = 300  # features that a text column becomes, about


@dataclass(frozen=True)
class Facts:
    """What the advice rests on."""

    task: str
    rows: int
    columns: int  # as the user has them
    encoded: int  # after categories, dates and text became numbers
    classes: int
    categories: float  # share of columns
    booleans: float
    texts: int
    images: int
    series: int
    missing: bool
    outliers: bool  # in columns
    target_outliers: bool
    imbalance: bool
    correlated: float  # share of number columns that follow another one (|r| > 0.9)
    counts: bool  # the target is a whole number of zero or more
    negative: bool  # the target goes below zero
    wide: bool  # many columns, for the rows there are
    unlabelled: bool = False  # many rows have no target


def facts(understanding: Understanding, frame: Any) -> Facts:
    """Figures of the table that models care for."""
    schema = understanding.schema
    if schema.task is None:
        raise TargetError("Advice needs to know what is to be predicted: pass target= (--target).")
    features = schema.features
    codes = {f.code for f in understanding.findings}
    encoded = 0
    for column in features:
        if column.kind == "category":
            encoded += min(max(len(column.levels), 1), 50)
        else:
            encoded += {"date": 6, "text": TEXT_COLUMNS}.get(column.kind, 1)
    n, p = understanding.rows, len(features)
    target = schema.target
    number = schema.task == "regression" and target is not None
    return Facts(
        task=schema.task,
        rows=n,
        columns=p,
        encoded=max(encoded, 1),
        classes=len(schema.classes),
        categories=sum(c.kind == "category" for c in features) / max(p, 1),
        booleans=sum(c.kind == "boolean" or len(c.levels) == 2 for c in features) / max(p, 1),
        texts=sum(c.kind == "text" for c in features),
        images=sum(c.kind == "image" for c in features),
        series=sum(c.kind == "sequence" for c in features),
        missing=any(c.missing > 0 for c in features),
        outliers="outliers" in codes,
        target_outliers="target-outliers" in codes,
        imbalance="imbalance" in codes,
        correlated=_correlated(understanding, frame),
        counts=bool(number and target.integer and 0 <= (target.low or 0.0) <= 5 and (target.high or 0.0) < 1e5),
        negative=bool(number and target.low is not None and target.low < 0),
        wide=encoded >= 50 or encoded > n / 5,
        unlabelled=bool(target and target.missing >= 0.2),
    )


def _correlated(understanding: Understanding, frame: Any) -> float:
    """Share of number columns that another number column follows."""
    columns = [c for c in understanding.schema.features if c.kind == "number"][:200]
    if len(columns) < 2:
        return 0.0
    rows = np.flatnonzero(understanding.keep)
    rows = rows[:: max(1, len(rows) // SAMPLE)]
    some = frame.iloc[rows]
    matrix = np.column_stack([cells.to_numbers(some[c.name], c.decimal, c.thousands, c.percent)[0] for c in columns])
    means = np.nanmean(np.where(np.isfinite(matrix).any(axis=0), matrix, 0.0), axis=0)
    matrix = np.where(np.isnan(matrix), means, matrix) - means
    norms = np.sqrt((matrix**2).sum(axis=0))
    norms[norms == 0] = np.inf
    r = np.abs((matrix / norms).T @ (matrix / norms))
    np.fill_diagonal(r, 0.0)
    return float((r > 0.9).any(axis=1).mean())


def _n(value: float) -> str:
    return f"{int(value):,}".replace(",", " ")


# What each advice word of a card is worth: word -> facts -> (weight, reason), or None where the word does not apply.
_Rule = Callable[[Facts], "tuple[float, str] | None"]
RULES: dict[str, _Rule] = {
    "basic": lambda f: (
        (0.25, f"basic prediction on {_n(f.rows)} rows: a straight-line model is the first to try")
        if f.rows < 20_000 and not f.wide
        else (0.1, "a quick first answer to compare others with")
    ),
    "accurate": lambda f: (
        (0.35, f"{_n(f.rows)} rows are enough for a model that learns curves and interactions")
        if f.rows >= 1000
        else (0.15, "accurate, though few rows leave it little to learn")
        if f.rows >= 200
        else None
    ),
    "unlabelled": lambda f: (0.3, "learns from the rows without a label too") if f.unlabelled else None,
    "interactions": lambda f: (0.05, "finds effects of columns together by itself") if f.rows >= 500 else None,
    "feature_selection": lambda f: (
        (0.35, f"feature selection: {_n(f.encoded)} columns (after encoding) for {_n(f.rows)} rows; it keeps few")
        if f.wide
        else None
    ),
    "outliers": lambda f: (
        (0.4, "outliers in the target weigh less in its loss")
        if f.target_outliers
        else (0.1, "outliers among the values weigh less in its loss")
        if f.outliers
        else (-0.1, "")
    ),
    "robust": lambda f: (0.08, "bears outliers") if f.outliers or f.target_outliers else None,
    "binary": lambda f: (0.25, "a yes/no question, answered with probabilities") if f.task == "binary" else None,
    "multiclass": lambda f: (0.08, f"{f.classes} classes") if f.task == "multiclass" else None,
    "probabilities": lambda f: (0.05, "its probabilities can be trusted") if f.task != "regression" else None,
    "big_data": lambda f: (
        (0.3, f"big data: {_n(f.rows)} rows, and its time grows no faster than they do") if f.rows >= 100_000 else None
    ),
    "medium_data": lambda f: (0.05, "at home with this many rows") if 1000 <= f.rows < 100_000 else None,
    "small_data": lambda f: (0.15, f"small data: {_n(f.rows)} rows") if f.rows < 2000 else None,
    "few_columns": lambda f: (
        (0.12, f"only {f.columns} columns") if f.encoded <= 10 else (-0.15, "") if f.encoded > 40 else None
    ),
    "many_columns": lambda f: (0.1, f"{_n(f.encoded)} columns after encoding") if f.encoded >= 100 else None,
    "correlated": lambda f: (
        (0.15, f"{f.correlated:.0%} of the number columns follow another one; it stays stable")
        if f.correlated > 0.1
        else None
    ),
    "categories": lambda f: (
        (0.1, f"{f.categories:.0%} of the columns are categories, which it takes as they are")
        if f.categories >= 0.25
        else None
    ),
    "binary_columns": lambda f: (0.15, "most columns are yes/no") if f.booleans > 0.6 else (-0.15, ""),
    "missing_values": lambda f: (0.05, "takes missing values as they are") if f.missing else None,
    "text": lambda f: (0.25, "reads text columns well") if f.texts else None,
    "images": lambda f: (0.3, "made for images") if f.images else None,
    "series": lambda f: (0.25, "reads series step by step") if f.series else None,
    "graph": lambda f: (-0.3, ""),
    "slow": lambda f: (-0.05, "") if f.rows < 1000 else None,
    "sparse": lambda f: (0.05, "stays quick on sparse columns") if f.encoded >= 1000 else None,
    "counts": lambda f: (
        (0.35, "the target counts something (whole numbers of zero or more)")
        if f.counts and f.task == "regression"
        else None
    ),
    "imbalance": lambda f: (0.15, "made for classes of very different size") if f.imbalance else None,
    "interpretable": lambda f: (0.05, "every coefficient or rule can be read"),
    "rules": lambda f: (0.05, "can be drawn on one page"),
    "uncertainty": lambda f: (0.1, "says how uncertain each answer is") if f.rows <= 1000 else None,
    "smooth": lambda f: (0.05, "suits smooth relations") if f.rows <= 1000 and f.categories < 0.3 else None,
    "curved": lambda f: (0.08, "bends where a line cannot") if f.categories < 0.5 else None,
    "irregular": lambda f: None,
    "fast": lambda f: (0.03, "fits within moments"),
    "baseline": lambda f: None,
}
# Where there is no target, some words mean another thing.
FREE_RULES: dict[str, _Rule] = {
    "basic": lambda f: (0.25, "the first to try"),
    "correlated": lambda f: (
        (0.15, f"{f.correlated:.0%} of the number columns follow another one; it makes use of that")
        if f.correlated > 0.1
        else None
    ),
    "outliers": lambda f: (0.1, "stray rows are left out, or bend it little") if f.outliers else None,
    "small_data": lambda f: (0.05, f"small data: {_n(f.rows)} rows") if f.rows < 2000 else None,
    "irregular": lambda f: (0.08, "finds groups of any shape") if f.encoded <= 30 else None,
    "overlap": lambda f: (0.08, "rows may belong to several groups, each by its share"),
    "overlapping": lambda f: (0.05, "rows may belong to several groups, each by its share"),
    "hierarchy": lambda f: (0.03, "shows how groups hang together"),
    "few_columns": lambda f: (0.1, f"only {f.columns} columns") if f.encoded <= 10 else (-0.15, ""),
    "text": lambda f: (0.3, "reads text columns well") if f.texts else (-0.05, ""),
    "counts": lambda f: None,
}


def advise(understanding: Understanding, frame: Any, cards: Iterable[Card] | None = None) -> list[dict[str, Any]]:
    """Rank the models for a table.

    Parameters
    ----------
    understanding : of `frame`, with a target, or with one of the tasks without a target in its schema.
    cards : the models to choose from; every one in the catalogue that does the task by default.

    Returns
    -------
    list of dict
        Most suitable first: `model`, `title`, `summary`, `suits` (0 to 1), `reasons`, `warnings`, `seconds` (expected
        for one fit with default settings, or None) and `installed`.
    """
    known = facts(understanding, frame)
    chosen = [card for card in (cards if cards is not None else catalog.cards()) if known.task in card.tasks]
    ranked = [_judge(card, known) for card in chosen]
    return sorted(ranked, key=lambda item: (-item["suits"], item["seconds"] or 0.0, item["model"]))


def seconds(card: Card, known: Facts) -> float | None:
    """Expected time of one fit with default settings on this data."""
    if "scale" not in card.cost:
        return None
    rows = min(known.rows, card.need("max_rows") or known.rows)
    columns = known.encoded if card.need("categories") == "onehot" else known.columns + known.texts * TEXT_COLUMNS
    power = card.cost.get("rows_power", 1.0), card.cost.get("columns_power", 1.0)
    return float(card.cost["scale"] * rows ** power[0] * max(columns, 1) ** power[1])


def _judge(card: Card, known: Facts) -> dict[str, Any]:
    rules = {**RULES, **FREE_RULES} if known.task in FREE_TASKS else RULES
    weighed = [rule(known) for rule in (rules.get(word) for word in card.advice) if rule is not None]
    weighed = sorted((w for w in weighed if w is not None), key=lambda w: -w[0])
    suits = 0.3 + sum(weight for weight, _ in weighed)
    reasons = [reason for weight, reason in weighed if reason and weight > 0]
    if card.choose:
        reasons.append(card.choose)
    if card.priority is not None:  # between equals, what the search tries first
        suits += 0.08 * (1.0 - min(card.priority, 70) / 70.0)
    took = seconds(card, known)
    warnings = []
    for cost, warning in _objections(card, known, took):
        suits -= cost
        warnings.append(warning)
    if "baseline" in card.advice:
        suits = 0.05
    installed = catalog.available(card)
    if not installed:
        warnings.append(f"needs the package {card.package}, which is not installed: {pip_line(card.package or '')}")
        suits *= 0.5
    return {
        "model": card.name,
        "title": card.title,
        "summary": card.summary,
        "suits": round(float(min(max(suits, 0.0), 1.0)), 3),
        "reasons": reasons,
        "warnings": warnings,
        "seconds": None if took is None else round(took, 4),
        "installed": installed,
    }


def _objections(card: Card, known: Facts, took: float | None) -> Iterable[tuple[float, str]]:
    """(how much it counts, why the model would be wrong here)."""
    words = set(card.advice)
    if card.need("unlabelled") and not known.unlabelled:
        yield 0.6, "made for rows without a label, of which there are none or few here"
    most_rows, most_columns = card.need("max_rows"), card.need("max_columns")
    linear = card.family == "linear"
    if most_rows and known.rows > most_rows:
        yield 0.7, f"wrong for {_n(known.rows)} rows: it takes at most {_n(most_rows)}, so it would see a sample only"
    if most_columns and known.encoded > most_columns:
        yield 0.5, f"wrong for {_n(known.encoded)} columns (after encoding): it takes at most {_n(most_columns)}"
    if card.name == "linear_regression" and known.encoded >= known.rows:
        yield (
            0.6,
            f"wrong with {_n(known.encoded)} columns for {_n(known.rows)} rows: many lines fit exactly; take ridge",
        )
    elif card.name == "linear_regression" and known.correlated > 0.1:
        yield 0.1, "columns follow one another, so its coefficients are unstable; ridge is the safer line"
    if card.name in ("linear_regression", "ridge", "polynomial") and known.target_outliers:
        yield 0.15, "outliers in the target pull its line; huber bears them"
    if card.name == "poisson" and known.negative:
        yield 0.8, "wrong for a target below zero: it refuses it"
    elif card.name == "poisson" and not known.counts:
        yield 0.15, "the target does not count anything"
    if "big_data" in words and linear and known.rows < 10_000:
        yield 0.15, f"made for big data; on {_n(known.rows)} rows exact solvers are as quick and better"
    if known.rows < 100 and "accurate" in words and "small_data" not in words:
        yield 0.3, f"{_n(known.rows)} rows are too few for it to learn from; ridge or logistic regression err less"
    if {"few_columns", "irregular"} <= words and known.encoded > 30:
        yield 0.15, f"distances say little among {_n(known.encoded)} columns"
    if "text" in words and "basic" not in words and not known.texts and "big_data" not in words:
        yield 0.1, "made for text and counts; there is no text here"
    there = {"matrix": 1, "text": known.texts, "image": known.images, "sequence": known.series}
    if not any(there[word] for word in card.inputs):
        yield 0.9, f"made for a column of {' or '.join(card.inputs)} cells; there is none here"
    if "graph" in words:
        yield 0.3, "made for nodes that are joined by edges; rows of a table are not"
    if "rules" in words:
        yield 0.1, "one tree is far less accurate than a forest or booster of them"
    if card.family == "bayes" and known.correlated > 0.1:
        yield 0.1, "columns follow one another, which makes its probabilities too sure"
    if card.name == "discriminant" and known.categories > 0.5:
        yield 0.15, "mostly categories: they are not bell-shaped"
    if "gaussian" in card.name and known.categories > 0.5:
        yield 0.15, "mostly categories: they are not bell-shaped"
    if linear and card.kind == "classifier" and known.task == "multiclass" and known.classes > 20:
        yield 0.05, f"{known.classes} classes are seldom separated by straight lines"
    if took is not None and took > 600:
        yield 0.2, f"expected to take {took / 60:.0f} minutes for one fit"
