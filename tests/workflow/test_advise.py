"""Advice: the rules of thumb of the field, from the cards and the data, with reasons."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris

from everymodel import catalog
from everymodel.core.errors import TargetError
from everymodel.workflow.advise import RULES, advise
from everymodel.workflow.understand import understand


def ranked(frame: pd.DataFrame, target="target", **options) -> dict[str, dict]:
    """Model -> advice, in the order of the ranking."""
    return {item["model"]: item for item in advise(understand(frame, target, **options), frame)}


def place(found: dict[str, dict], name: str) -> int:
    return list(found).index(name)


def numbers(n: int, p: int = 5, noise=None) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(n, p)), columns=[f"x{i}" for i in range(p)])
    return frame.assign(target=frame.sum(axis=1) + (rng.normal(size=n) if noise is None else noise))


def reasons(item: dict) -> str:
    return " ".join(item["reasons"])


def test_basic_prediction_wants_a_line():
    found = ranked(load_diabetes(as_frame=True).frame)
    assert {"linear_regression", "ridge"} <= set(list(found)[:4])
    assert "basic prediction" in reasons(found["linear_regression"])


def test_feature_selection_wants_lasso():
    found = ranked(numbers(150, 120))
    assert place(found, "lasso") < 4 and "feature selection" in reasons(found["lasso"])
    assert place(found, "lasso") < place(found, "linear_regression")
    assert "feature selection" not in reasons(ranked(numbers(2000))["lasso"])


def test_outliers_want_huber():
    noise = np.random.default_rng(1).normal(size=800)
    noise[::40] += 300
    found = ranked(numbers(800, noise=noise))
    assert place(found, "huber") < place(found, "ridge") and "outliers" in reasons(found["huber"])
    assert any("outliers" in warning for warning in found["linear_regression"]["warnings"])
    assert place(ranked(numbers(800)), "huber") > place(ranked(numbers(800)), "ridge")


def test_yes_or_no_wants_logistic():
    found = ranked(load_breast_cancer(as_frame=True).frame)
    assert next(iter(found)) == "logistic" and "yes/no" in reasons(found["logistic"])


def test_big_data_wants_sgd_and_boosters():
    found = ranked(numbers(300_000))
    linear = [name for name in found if catalog.find(name, "regression").family == "linear"]
    assert linear[0] == "sgd" and "big data" in reasons(found["sgd"])
    for name in ("gaussian_process", "svm", "nearest_neighbors"):
        assert found[name]["suits"] < 0.2
        assert any(warning.startswith("wrong for 300 000 rows") for warning in found[name]["warnings"])
    small = ranked(numbers(500))
    assert place(small, "sgd") > place(small, "ridge") and any("big data" in w for w in small["sgd"]["warnings"])


def test_few_rows_want_no_booster():
    found = ranked(numbers(40))
    assert found["gradient_boosting"]["suits"] < 0.2 < found["ridge"]["suits"]


def test_more_columns_than_rows_want_no_plain_line():
    found = ranked(numbers(50, 100))
    assert any("take ridge" in warning for warning in found["linear_regression"]["warnings"])
    assert found["linear_regression"]["suits"] < 0.2


def test_counts_want_poisson_unless_below_zero():
    rng = np.random.default_rng(0)
    frame = numbers(500).assign(target=lambda f: rng.poisson(np.exp(0.5 * f["x0"] + 2)))
    found = ranked(frame, task="regression")
    assert place(found, "poisson") < 6 and "counts" in reasons(found["poisson"])
    below = ranked(numbers(500))
    assert below["poisson"]["suits"] == 0 and any("below zero" in w for w in below["poisson"]["warnings"])


def test_text_wants_what_reads_text():
    rng = np.random.default_rng(0)
    words = ["good", "bad", "fast", "slow", "nice", "poor", "late", "kind"]
    frame = pd.DataFrame(
        {"review": [" ".join(rng.choice(words, 9)) for _ in range(600)], "target": rng.integers(0, 2, 600)}
    )
    found = ranked(frame)
    assert place(found, "logistic") < 4 and "text" in reasons(found["logistic"])


@pytest.mark.parametrize("load", [load_iris, load_digits, load_diabetes])
def test_every_model_of_the_task_is_ranked(load):
    frame = load(as_frame=True).frame
    understanding = understand(frame, "target")
    found = advise(understanding, frame)
    task = understanding.schema.task
    assert {item["model"] for item in found} == {card.name for card in catalog.for_task(task)}
    assert [item["suits"] for item in found] == sorted((item["suits"] for item in found), reverse=True)
    for item in found:
        assert 0 <= item["suits"] <= 1 and item["reasons"] and item["title"] and item["summary"]
        assert item["seconds"] is None or item["seconds"] >= 0
    assert found[-1]["suits"] <= 0.05 or found[-1]["warnings"]


def test_every_word_of_every_card_is_known():
    used = {word for card in catalog.cards() if card.kind in ("classifier", "regressor") for word in card.advice}
    assert used <= set(RULES)


def test_missing_packages_are_named(monkeypatch):
    monkeypatch.setattr(catalog, "installed", lambda package: False)
    found = ranked(load_diabetes(as_frame=True).frame)
    assert not found["lightgbm"]["installed"] and any("pip install" in w for w in found["lightgbm"]["warnings"])


def test_needs_a_target():
    frame = load_iris(as_frame=True).frame
    with pytest.raises(TargetError, match="target="):
        advise(understand(frame), frame)
