"""Tables made at random, small and nasty: preparation must refuse them with DataError or hold all its promises."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from everymodel.core.errors import DataError
from everymodel.core.schema import Column, Schema
from everymodel.preprocessing.preparation import Preparation
from everymodel.scoring.graph import Pack
from everymodel.scoring.steps.base import Batch

KINDS = ("number", "number", "boolean", "date", "category", "category", "text")
NASTY = (0.0, 1e308, -1e308, 1e-308, np.inf, -np.inf, np.nan)
WORDS = ("", "a", "bb", "Ccc 12!", "été", "日本", "🙂")


def full(matrix):
    return matrix if isinstance(matrix, np.ndarray) else matrix.toarray()


def numbers(rng, style, n):
    values = [
        lambda: rng.normal(size=n),
        lambda: rng.lognormal(0, 3, n),
        lambda: np.full(n, 7.0),
        lambda: rng.integers(0, 3, n).astype(float),
        lambda: rng.choice(NASTY, n),
        lambda: np.full(n, np.nan),
        lambda: np.where(rng.random(n) < 0.9, 0, rng.exponential(size=n) * 1e6),
    ][style]()
    return np.where(rng.random(n) < 0.3, np.nan, values) if rng.random() < 0.3 else values


def rows(rng, plan, n, lowest):
    columns = {}
    for name, kind, levels, style in plan:
        if kind == "boolean":
            columns[name] = rng.choice([0.0, 1.0, np.nan], n, p=[0.5, 0.4, 0.1])
        elif kind == "category":
            codes = rng.integers(lowest, levels, n) if style % 2 else np.zeros(n)
            columns[name] = codes.astype(np.int32)
        elif kind == "text":
            columns[name] = np.empty(n, dtype=object)
            columns[name][:] = [" ".join(rng.choice(WORDS, rng.integers(0, 6))) for _ in range(n)]
        else:
            values = numbers(rng, style, n)
            columns[name] = np.where(np.abs(values) < 1e200, values, 0) * 1e9 if kind == "date" else values
    return Batch(columns, n)


def targets(rng, n):
    return [
        ("binary", rng.integers(0, 2, n)),
        ("multiclass", rng.integers(0, rng.integers(2, 15), n)),
        ("regression", rng.choice([0, 1, 1e6], n) * rng.normal(size=n)),
        ("regression", rng.normal(size=(n, 2))),
        ("multilabel", rng.integers(0, 2, (n, 3))),
    ][rng.integers(5)]


@pytest.mark.parametrize("seed", range(8))
def test_promises_hold_or_the_table_is_refused(seed):
    rng = np.random.default_rng(seed)
    fitted = 0
    for _ in range(40):
        n = int(rng.choice([1, 2, 3, 5, 12, 40, 150]))
        plan = [
            (f"c{i}", str(rng.choice(KINDS)), int(rng.choice([1, 2, 3, 5, 70, 400])), int(rng.integers(0, 7)))
            for i in range(rng.integers(1, 7))
        ]
        task, y = targets(rng, n)
        columns = (
            Column(name, kind, levels=tuple(map(str, range(levels))) if kind == "category" else ())
            for name, kind, levels, _ in plan
        )
        missing = bool(rng.random() < 0.3)
        words = {
            "scaling": "none" if missing else str(rng.choice(["none", "standard", "range", "robust"])),
            "missing": missing,
            "categories": str(rng.choice(["onehot", "codes", "native"])),
            "sparse": bool(rng.random() < 0.4),
            "non_negative": bool(rng.random() < 0.2) and not missing,
        }
        preparation = Preparation(Schema(tuple(columns), task), **words)
        batch, asked = rows(rng, plan, n, -1), rows(rng, plan, 6, -2)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                X = full(preparation.fit_transform(batch, y))
            except DataError:
                continue
            served = full(preparation.transform(asked))
            pack = Pack.build(*Pack(preparation.nodes()).spec())
            alone = np.vstack([full(pack(asked.take(np.array([i])))) for i in range(6)])
        fitted += 1
        np.testing.assert_allclose(alone, served, rtol=1e-12, atol=1e-12, err_msg=str((words, plan)))
        assert X.shape == (n, served.shape[1]) == (n, len(preparation.feature_names_))
        for matrix in (X, served):
            assert not np.isinf(matrix).any()
            assert words["missing"] or not np.isnan(matrix).any()
            assert not words["non_negative"] or matrix.min() >= 0
    assert fitted > 20
