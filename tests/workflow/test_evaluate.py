"""Evaluation: intervals that cover, comparisons that are paired, thresholds, segments and fairness gaps."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest

from everymodel.core.errors import DataError, ParameterError
from everymodel.scoring import metrics as m
from everymodel.workflow.evaluate import choose_threshold, evaluate, threshold_choice
from everymodel.workflow.evaluate.intervals import (
    Resamples,
    auc_influence,
    difference,
    interval,
    precision_influence,
    wilson,
)


def _binary(n: int, seed: int = 0, strength: float = 1.5):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n) * strength
    p = 1 / (1 + np.exp(-x))
    return (rng.random(n) < p).astype(int), p


def _found(evaluation):
    return {metric.name: metric for metric in evaluation.metrics}


def test_influences_are_the_derivative_of_the_metric():
    y, p = _binary(60)
    p = np.round(p, 1)  # with ties
    for function, exact in ((auc_influence, m.auc), (precision_influence, m.average_precision)):
        value, pull = function(y == 1, p)
        assert value == pytest.approx(exact(y == 1, p))
        copies, row = 400, 7
        rows = np.concatenate([np.tile(np.arange(60), copies), [row] * 4])  # a little more weight on one row
        slope = (exact(y[rows] == 1, p[rows]) - value) * (60 * copies) / 4
        assert pull[row] == pytest.approx(slope, rel=0.02, abs=1e-3)
        assert abs(pull.mean()) < 1e-9


@pytest.mark.parametrize("name", ["roc_auc", "average_precision", "f1", "log_loss", "matthews_corrcoef"])
def test_interval_agrees_with_a_plain_bootstrap(name):
    y, p = _binary(400, 1)
    value, low, high = interval(name, "binary", y, p, Resamples(400))
    rng = np.random.default_rng(0)
    plain = np.quantile(
        [m.score(name, "binary", y, p, rng.integers(400, size=400)) for _ in range(600)], [0.025, 0.975]
    )
    assert value == pytest.approx(m.score(name, "binary", y, p))
    assert [low, high] == pytest.approx(plain, abs=0.25 * np.ptp(plain))


@pytest.mark.parametrize("name", ["rmse", "mae", "median_absolute_error", "r2", "mape", "huber", "pinball", "mse"])
def test_regression_interval_agrees_with_a_plain_bootstrap(name):
    rng = np.random.default_rng(2)
    y = rng.normal(10, 2, 500)
    a = y + rng.standard_t(5, 500)
    _, low, high = interval(name, "regression", y, a, Resamples(500))
    plain = np.quantile(
        [m.score(name, "regression", y, a, rng.integers(500, size=500)) for _ in range(600)], [0.025, 0.975]
    )
    assert [low, high] == pytest.approx(plain, abs=0.3 * np.ptp(plain))


def test_intervals_cover_the_truth_about_95_times_in_100():
    hits, runs = {"roc_auc": 0, "accuracy": 0, "brier": 0, "calibration_error": 0}, 200
    big_y, big_p = _binary(400_000, 99)
    truth = {name: m.score(name, "binary", big_y, big_p) for name in hits}
    for seed in range(runs):
        y, p = _binary(150, seed)
        resamples = Resamples(150, seed, draws=300)
        for name in hits:
            _, low, high = interval(name, "binary", y, p, resamples)
            hits[name] += low <= truth[name] <= high
    for name, count in hits.items():
        assert 0.89 <= count / runs <= 1.0, (name, count)


def test_blocks_of_many_rows_give_the_same_interval_as_single_rows():
    y, p = _binary(20_000, 3)
    few, _ = (np.diff(interval("log_loss", "binary", y, p, Resamples(20_000, seed))[1:]) for seed in (0, 1))
    exact = 2 * 1.96 * m.row_log_loss("binary", y, p).std() / np.sqrt(20_000)
    assert few == pytest.approx(exact, rel=0.15)


def test_groups_widen_the_interval():
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(40), 50)
    shift = rng.normal(0, 1, 40)[group]
    y = rng.normal(size=2000)
    a = y + shift + 0.1 * rng.normal(size=2000)
    alone = interval("mae", "regression", y, a, Resamples(2000))
    together = interval("mae", "regression", y, a, Resamples(2000, groups=group))
    assert together[2] - together[1] > 3 * (alone[2] - alone[1])


def test_a_perfect_score_on_few_rows_is_not_certain():
    y = np.array([0] * 12 + [1] * 8)
    p = np.where(y == 1, 0.9, 0.1)
    found = _found(evaluate("binary", y, p))
    for name in ("accuracy", "roc_auc", "f1", "balanced_accuracy", "average_precision"):
        assert found[name].value == 1 and found[name].low < 0.9, name
    assert wilson(0, 0)[0] != wilson(0, 0)[0]


def test_one_row_has_a_value_but_no_interval():
    found = _found(evaluate("regression", np.array([1.0]), np.array([2.0])))
    assert found["mae"].value == 1.0 and np.isnan(found["mae"].low)


def test_comparisons_are_paired():
    y, p = _binary(3000, 5)
    rng = np.random.default_rng(1)
    slightly = np.clip(p + 0.10 * rng.normal(size=3000), 0.001, 0.999)
    gain, low, high = difference("roc_auc", "binary", y, p, slightly, Resamples(3000))
    single = interval("roc_auc", "binary", y, p, Resamples(3000))
    assert gain > 0 and low > 0  # far smaller than the single interval could show
    assert high - low < 0.6 * (single[2] - single[1])
    back = difference("roc_auc", "binary", y, slightly, p, Resamples(3000))
    assert back == pytest.approx((-gain, -high, -low), abs=1e-12)
    # Lower is better: the sign still says who is better.
    assert difference("log_loss", "binary", y, p, slightly, Resamples(3000))[0] > 0


def test_headline_names_what_is_better_and_what_is_not_distinguishable():
    y, p = _binary(2000, 6)
    rng = np.random.default_rng(2)
    share = y.mean()
    result = evaluate(
        "binary", y, p, classes=["stay", "churn"], metric="accuracy",
        baselines={"dummy": np.full(2000, share), "simple": np.clip(p + 0.01 * rng.normal(size=2000), 0, 1),
                   "best_single": p.copy()},
    )  # fmt: skip
    verdict = {(c["against"], c["metric"]): c["verdict"] for c in result.comparisons}
    assert verdict["dummy", "accuracy"] == "better"
    assert verdict["simple", "accuracy"] == "not distinguishable"
    assert verdict["best_single", "accuracy"] == "identical"
    assert result.headline.startswith("Right for ") and "of 100 rows" in result.headline
    assert "better than guessing" in result.headline
    assert "not distinguishable from logistic regression" in result.headline
    assert "best single" not in result.headline


def test_headline_figures_never_look_alike_when_they_are_not():
    y = np.array([0] * 30 + [1] * 30)
    p = np.linspace(0, 1, 60)
    p[[29, 30]] = p[[30, 29]]  # one pair of 900 is wrong
    other = p.copy()
    other[[28, 31]] = other[[31, 28]]
    text = evaluate("binary", y, p, baselines={"simple": other}).headline
    assert "in 99.9 of 100 pairs" in text and "logistic regression (99.6)" in text, text


def test_headline_falls_back_when_accuracy_hides_what_the_model_knows():
    rng = np.random.default_rng(3)
    p = rng.beta(0.6, 12, 8000)  # nobody passes 50 %, yet the ranking is informative
    y = (rng.random(8000) < p).astype(int)
    base = np.column_stack([np.full(8000, 1 - y.mean()), np.full(8000, y.mean())])
    result = evaluate("binary", y, p, classes=[0, 1], metric="log_loss", baselines={"dummy": base})
    assert result.headline.startswith("Log loss")
    assert "better than guessing" in result.headline


def test_headlines_of_other_tasks_and_sources():
    rng = np.random.default_rng(4)
    y = rng.lognormal(10, 0.5, 500)
    result = evaluate("regression", y, y * rng.lognormal(0, 0.1, 500), source="cross-validation",
                      baselines={"dummy": np.full(500, y.mean())})  # fmt: skip
    assert result.headline.startswith("Off by ") and "better than guessing" in result.headline
    assert "cross-validation" in result.headline
    codes = rng.integers(3, size=300)
    shares = np.eye(3)[codes] * 0.8 + 0.2 / 3
    other = evaluate("multiclass", codes, np.roll(shares, 1, axis=1), metric="recall")
    assert other.headline.startswith("Recall 0")
    assert evaluate("multiclass", codes, shares, classes=list("abc")).headline.startswith("Right for 100 of 100 rows")


def test_out_of_fold_gaps_are_left_out_and_counted():
    y, p = _binary(200)
    p[:50] = np.nan
    result = evaluate("binary", y, p, source="cross-validation")
    assert result.curves["rows"] == {"evaluated": 150, "without_answer": 50}
    assert _found(result)["brier"].value == pytest.approx(m.score("brier", "binary", y[50:], p[50:]))
    with pytest.raises(DataError, match="no row with an answer"):
        evaluate("binary", y, np.full(200, np.nan))


@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel", "regression", "outputs"])
def test_everything_is_plain_json(task):
    rng = np.random.default_rng(0)
    n, k = 300, 20
    y, answers, classes = {
        "binary": lambda: (rng.integers(2, size=n), rng.random((n, 2)), ["a", "b"]),
        "multiclass": lambda: (rng.integers(k, size=n), rng.dirichlet(np.ones(k), n), list(range(k))),
        "multilabel": lambda: (rng.integers(2, size=(n, 3)), rng.random((n, 3)), list("abc")),
        "regression": lambda: (rng.normal(size=n), rng.normal(size=n), ()),
        "outputs": lambda: (rng.normal(size=(n, 2)), rng.normal(size=(n, 2)), ("u", "v")),
    }[task]()
    result = evaluate("regression" if task == "outputs" else task, y, answers, classes=classes,
                      segments={"s": rng.integers(3, size=n)}, fairness={"s": rng.integers(2, size=n)})  # fmt: skip
    text = json.dumps(asdict(result), allow_nan=False)
    assert len(text) < 300_000
    if task == "multiclass":
        assert len(result.curves["confusion"]["labels"]) == 12  # the rest is counted together
        assert np.sum(result.curves["confusion"]["counts"]) == n


def test_threshold_follows_the_costs():
    y, p = _binary(20_000, 7)
    # With calibrated probabilities the best threshold is fp / (fp + fn).
    for costs, expected in (
        ({"false_positive": 1, "false_negative": 5}, 1 / 6),
        ({"false_positive": 3, "false_negative": 1}, 0.75),
    ):
        choice = threshold_choice(y, p, costs)
        assert choice["threshold"] == pytest.approx(expected, abs=0.06)
        assert choice["low"] <= expected <= choice["high"]
        assert choice["value"] <= choice["at_half"]
    cut = choose_threshold(y, p, {"false_positive": 1, "false_negative": 5})
    cost = _found(evaluate("binary", y, p, costs={"false_positive": 1, "false_negative": 5}, threshold=cut))["cost"]
    by_hand = np.mean(np.where(y == 1, (p < cut) * 5, (p >= cut) * 1))
    assert cost.value == pytest.approx(by_hand) and cost.low < cost.value < cost.high


def test_threshold_by_metric_equals_a_brute_search():
    y, p = _binary(300, 8)
    choice = threshold_choice(y, p, metric="f1")
    best = max(m.score("f1", "binary", y, p, threshold=t) for t in np.unique(p))
    assert choice["value"] == pytest.approx(best)
    assert m.score("f1", "binary", y, p, threshold=choice["threshold"]) == pytest.approx(best)


@pytest.mark.parametrize(
    "costs,message",
    [
        ({"false_negatives": 5}, "expected some of"),
        ({"false_positive": 1}, "one answer is never worse"),
        ({"false_positive": float("nan"), "false_negative": 1}, "finite number"),
    ],
)
def test_bad_costs_say_what_to_write(costs, message):
    with pytest.raises(ParameterError, match=message):
        choose_threshold(np.array([0, 1]), np.array([0.2, 0.8]), costs)


def test_a_threshold_needs_both_classes():
    with pytest.raises(ParameterError, match="both classes"):
        choose_threshold(
            np.zeros(5, int), np.random.default_rng(0).random(5), {"false_positive": 1, "false_negative": 1}
        )


def test_the_worst_segment_is_found_and_small_ones_are_not_judged():
    rng = np.random.default_rng(5)
    y, p = _binary(4000, 9, strength=3)
    region = rng.choice(["north", "south", "east"], 4000).astype(object)
    region[:12] = "island"
    region[12:20] = None
    bad = region == "south"
    p[bad] = rng.permutation(p[bad])  # in the south the answers are worthless
    rows = evaluate("binary", y, p, segments={"region": region}).segments
    assert rows[0]["segment"] == "south" and rows[0]["verdict"] == "worse" and rows[0]["gap"] < -0.2
    by = {row["segment"]: row for row in rows}
    assert by["island"]["verdict"] == by["(missing)"]["verdict"] == "too few rows"
    assert by["north"]["verdict"] == "better"  # than the rest, which holds the south


def test_chance_alone_makes_no_segment_look_bad():
    flagged = 0
    for seed in range(10):
        rng = np.random.default_rng(seed)
        y, p = _binary(2000, 100 + seed)
        rows = evaluate("binary", y, p, segments={"noise": rng.integers(20, size=2000).astype(str)}, seed=seed).segments
        flagged += any(row["verdict"] in ("worse", "better") for row in rows)
    assert flagged <= 2


def test_number_columns_are_cut_at_quartiles():
    y, p = _binary(400)
    rows = evaluate("binary", y, p, segments={"age": np.linspace(18, 90, 400)}).segments
    assert len(rows) == 4 and sum(row["rows"] for row in rows) == 400
    assert any(row["segment"].startswith("18 to") for row in rows)


def test_fairness_gap_is_found_with_its_interval():
    rng = np.random.default_rng(6)
    y, p = _binary(4000, 10)
    sex = rng.choice(["a", "b"], 4000, p=[0.7, 0.3])
    lowered = np.where(sex == "b", p * 0.6, p)
    rows = evaluate("binary", y, lowered, fairness={"sex": sex}).fairness
    gap = next(r for r in rows if r["measure"] == "selection rate" and r["group"] == "b")
    assert gap["reference"] == "a" and gap["verdict"] == "gap" and gap["gap_high"] < 0 and gap["ratio"] < 0.8
    fair = evaluate("binary", y, p, fairness={"sex": sex}).fairness
    assert all(r["verdict"] in ("reference", "no gap found") for r in fair)
    value = evaluate("regression", p, p + np.where(sex == "b", 0.2, 0.0), fairness={"sex": sex}).fairness
    biased = next(r for r in value if r["measure"] == "mean error" and r["group"] == "b")
    assert biased["gap"] == pytest.approx(0.2) and biased["verdict"] == "gap"


def test_same_seed_same_evaluation():
    y, p = _binary(500)
    one, two = (json.dumps(asdict(evaluate("binary", y, p, seed=4))) for _ in range(2))
    assert one == two
