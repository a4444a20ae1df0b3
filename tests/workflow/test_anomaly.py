"""task="anomaly": what is found, from where on a row is odd, and why."""

from __future__ import annotations

import time

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_breast_cancer

import everymodel as em
from everymodel import scoring
from everymodel.core.errors import ModelFileError
from everymodel.scoring.steps.detect import Excess
from everymodel.scoring.tails import beyond
from everymodel.workflow.unsupervised import anomaly, clumps, extremes, oddness


def fit(frame, folder, **options):
    return em.fit(frame, task="anomaly", budget="60s", out=folder / "run", progress=False, **options)


def payments(n=1200, seed=0):
    """Card payments of which every hundredth is odd in one of three ways, known by its number."""
    r = np.random.default_rng(seed)
    shop = r.choice(["groceries", "fuel", "clothes"], n, p=[0.5, 0.3, 0.2])
    usual = pd.Series(shop).map({"groceries": 35.0, "fuel": 60.0, "clothes": 80.0}).to_numpy()
    abroad = r.random(n) < 0.15
    frame = pd.DataFrame(
        {
            "day": pd.Timestamp("2024-01-01") + pd.to_timedelta(r.integers(0, 365, n), unit="D"),
            "shop": shop,
            "amount": np.round(usual * r.lognormal(0, 0.3, n), 2),
            "country": np.where(abroad, "US", "DE"),
            "currency": np.where(abroad, "USD", "EUR"),
            "hour": np.round(np.clip(r.normal(14, 3, n), 6, 22), 1),
        }
    )
    odd = np.arange(50, n, 100)
    frame.loc[odd[0::3], "amount"] = 2500.0
    frame.loc[odd[1::3], "hour"] = 2.5
    frame.loc[odd[2::3], "country"], frame.loc[odd[2::3], "currency"] = "DE", "USD"
    frame.loc[r.random(n) < 0.02, "amount"] = np.nan
    truth = np.isin(np.arange(n), odd)
    frame.loc[odd, "amount"] = frame.loc[odd, "amount"].fillna(50.0)
    return frame, truth


@pytest.fixture(scope="module")
def paid(tmp_path_factory):
    frame, truth = payments()
    run = fit(frame.assign(fraud=np.where(truth, "yes", "no")), tmp_path_factory.mktemp("paid"), target="fraud")
    return frame, truth, run


def test_planted_oddities_come_first_and_say_why(paid):
    _, truth, run = paid
    table = run.tables["anomalies"]
    assert truth[table.row.iloc[:8]].sum() >= 5  # of twelve among 1,200
    reasons = dict(zip(table.row, table.reasons))
    large = [text for row, text in reasons.items() if row % 300 == 50 and truth[row] and text]
    assert large
    assert all("amount 2500" in text for text in large)
    known = {row: text for row, text in reasons.items() if text and truth[row]}
    right = [["amount"], ["hour"], ["country", "currency"]]
    hits = [any(word in text for word in right[(row - 50) // 100 % 3]) for row, text in known.items()]
    assert np.mean(hits) >= 0.8


def test_the_columns_for_comparison_are_measured_with_intervals(paid):
    _, truth, run = paid
    found = {m.name: m for m in run.evaluation.metrics}
    assert {"roc_auc", "average_precision", "precision_at_k", "recall"} <= set(found)
    assert found["roc_auc"].value > 0.9
    assert all(m.low <= m.value <= m.high for m in found.values())
    assert {"first opinion", "ok"} <= set(run.leaderboard.status)
    assert run.leaderboard.roc_auc.notna().all()
    assert run.leaderboard.weight.sum() == pytest.approx(1.0)
    assert f"{truth.sum()} oddest rows" in found["precision_at_k"].text


def test_the_file_scores_decides_and_explains_without_rows_of_the_fit(paid):
    frame, _, run = paid
    loaded = scoring.load(run.folder / "model.em")
    assert loaded.manifest["contains_training_rows"] is False
    scores = -np.asarray(loaded.score_samples(frame))
    np.testing.assert_array_equal(scores, -np.asarray(run.model.score_samples(frame)))
    one = frame.iloc[[50]]
    assert -np.asarray(loaded.score_samples(one))[0] == pytest.approx(scores[50], rel=1e-12)
    threshold = loaded.manifest["threshold"]
    np.testing.assert_array_equal(np.asarray(loaded.predict(frame)) == "anomaly", scores > threshold)
    told = loaded.explain(one, top=2)[0]
    assert told["contributions"][0]["column"] == "amount"
    assert told["base"] < told["answer"]
    share = beyond(loaded.manifest["tail"], scores)
    assert ((share > 0) & (share <= 1)).all()
    assert (np.diff(share[np.argsort(scores)]) <= 1e-9).all()
    assert share[50] < 0.002 < np.median(share)


def test_ordinary_new_rows_are_seldom_called_odd_and_far_ones_always(tmp_path):
    r = np.random.default_rng(3)
    mix = r.normal(size=(4, 4))
    frame = pd.DataFrame(r.normal(size=(1500, 4)) @ mix, columns=list("abcd"))
    run = fit(frame, tmp_path)
    new = pd.DataFrame(r.normal(size=(20_000, 4)) @ mix, columns=list("abcd"))
    alarms = (np.asarray(run.model.predict(new)) == "anomaly").mean()
    assert alarms < 0.006
    assert (np.asarray(run.model.predict(new.head(100) * 8 + 30)) == "anomaly").all()
    odd = run.model.manifest["odd"]
    assert odd["low"] <= odd["rows"] <= odd["high"]
    assert odd["rows"] <= 10


def test_a_small_crowd_of_odd_rows_does_not_vouch_for_itself(tmp_path):
    r = np.random.default_rng(4)
    X = r.normal(size=(700, 5))
    crowd = 3.0 + 0.05 * r.normal(size=(25, 5))
    frame = pd.DataFrame(np.r_[X, crowd], columns=list("abcde"))
    run = fit(frame, tmp_path)
    assert set(run.tables["anomalies"].row[:25]) == set(range(700, 725))
    assert "anomalies-alike" in {f.code for f in run.findings}
    # a detector that learns from all rows finds the crowd ordinary
    neighbours = em.NeighborDistance(n_neighbors=5).fit(frame.to_numpy())
    assert -neighbours.score_samples(crowd).min() < np.median(-neighbours.score_samples(X))


def test_a_crowd_of_equal_rows_far_away_is_odd_beside_categories_too(tmp_path):
    r = np.random.default_rng(0)
    g = np.arange(240) % 3
    frame = pd.DataFrame(
        {
            "age": np.array([30, 45, 70])[g] + r.normal(0, 3, 240).round(),
            "income": np.array([20, 90, 40])[g] + r.normal(0, 4, 240),
            "country": np.array(["Germany", "Italy", "Spain"])[g],
        }
    )
    frame.loc[frame.index[:60:3], ["age", "income"]] = [400.0, -900.0]  # 8 % of the rows
    run = fit(frame, tmp_path)
    assert set(np.flatnonzero(np.asarray(run.model.predict(frame)) == "anomaly")) >= set(range(0, 60, 3))
    assert set(run.tables["anomalies"].row[:20]) == set(range(0, 60, 3))
    assert "anomalies-far-crowd" in {f.code for f in run.findings}


def test_only_small_crowds_far_from_all_others_are_far(monkeypatch):
    r = np.random.default_rng(0)
    X, random = r.normal(size=(950, 4)), np.random.default_rng(1)
    measures = np.array([True, True, True, False])
    crowd = np.r_[X, np.full((50, 4), [60.0, 0.0, 0.0, 0.0])]
    assert np.flatnonzero(clumps.far(crowd, measures, random)).tolist() == list(range(950, 1000))
    monkeypatch.setattr(clumps, "LOOKED_AT", 300)
    assert np.flatnonzero(clumps.far(crowd, measures, random)).tolist() == list(range(950, 1000))
    for other in (
        X,
        r.standard_t(2, size=(1000, 4)),  # long tails hold rows far away, but here fewer than a crowd
        np.r_[X[:700], X[:300] + 60],  # too many
        np.r_[X, np.full((50, 4), [0.0, 0.0, 0.0, 60.0])],  # far as levels are
        np.ones((40, 4)),
    ):
        assert clumps.far(other, measures, random).mean() < 0.02


def test_the_share_that_is_asked_for_is_called_odd(tmp_path):
    data = load_breast_cancer(as_frame=True).data.iloc[:300, :8]
    run = fit(data, tmp_path, contamination=0.05)
    called = np.asarray(run.model.predict(data)) == "anomaly"
    assert called.sum() == round(0.05 * len(data))
    assert run.model.manifest["threshold_from"] == "contamination"
    assert "as many as asked for" in run.headline


def test_named_detectors_are_blended_as_asked(tmp_path):
    data = load_breast_cancer(as_frame=True).data.iloc[:300, :8]
    run = fit(data, tmp_path, models=["LocalOutlierFactor", "IsolationForest"])
    assert [m["card"] for m in run.model.manifest["members"]] == ["local_outlier_factor", "isolation_forest"]
    assert run.model.manifest["contains_training_rows"] is True
    loaded = scoring.load(run.folder / "model.em")
    np.testing.assert_array_equal(np.asarray(loaded.predict(data)), np.asarray(run.model.predict(data)))


@pytest.mark.parametrize(
    ("made", "code"),
    [
        (lambda r: {"a": r.normal(size=12), "b": r.normal(size=12)}, "anomalies-very-few-rows"),
        (lambda r: {"a": np.r_[np.ones(150), r.normal(size=50)]}, "anomalies-duplicates"),
        (lambda r: {c: r.choice(list("abc"), 150, p=[0.6, 0.3, 0.1]) for c in "xyz"}, "anomalies-duplicates"),
        (lambda r: {f"c{i}": r.normal(size=60) for i in range(120)}, "more-columns-than-rows"),
    ],
    ids=["few rows", "duplicates in one column", "categories alone", "more columns than rows"],
)
def test_poor_tables_are_answered_and_said(made, code, tmp_path):
    frame = pd.DataFrame(made(np.random.default_rng(0)))
    run = fit(frame, tmp_path)
    assert code in {f.code for f in run.findings}
    assert np.isfinite(np.asarray(scoring.load(run.folder / "model.em").score_samples(frame))).all()


def test_many_rows_are_scored_by_what_some_of_them_taught(tmp_path, monkeypatch):
    monkeypatch.setattr(anomaly, "LEARNT", 1000)
    r = np.random.default_rng(0)
    frame = pd.DataFrame(r.normal(size=(6000, 3)), columns=list("abc"))
    frame.iloc[7] = 40.0
    started = time.monotonic()
    run = em.fit(frame, task="anomaly", budget="20s", out=tmp_path / "run", progress=False)
    assert time.monotonic() - started < 60
    assert "anomalies-sampled" in {f.code for f in run.findings}
    assert run.tables["anomalies"].row.iloc[0] == 7


def test_hardly_any_time_still_answers(tmp_path):
    run = em.fit(
        load_breast_cancer(as_frame=True).data, task="anomaly", budget="2s", out=tmp_path / "run", progress=False
    )
    assert run.model.manifest["members"]


def test_labels_with_more_than_two_values_are_not_compared(tmp_path):
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(60, 2)), columns=["a", "b"]).assign(
        kind=list("xyz") * 20
    )
    run = fit(frame, tmp_path, target="kind")
    assert "labels-not-compared" in {f.code for f in run.findings}
    assert not run.evaluation.metrics


# ---------------------------------------------------------------------- parts


@pytest.mark.parametrize("law", ["normal", "exponential", "gumbel"])
def test_the_threshold_is_passed_by_about_the_stated_share(law):
    r = np.random.default_rng(0)
    alarms = []
    for _ in range(12):
        tail, drawn = extremes.fit(getattr(r, law)(size=2000))
        alarms.append((getattr(r, law)(size=100_000) > tail.threshold()).mean())
        assert min(drawn) <= tail.threshold() <= max(drawn)
    assert 0.2 * extremes.FALSE_ALARMS < np.mean(alarms) < 3 * extremes.FALSE_ALARMS


@pytest.mark.parametrize("law", ["normal", "exponential", "gumbel"])
def test_scores_of_many_odd_rows_that_are_scattered_are_told_from_ordinary_ones(law):
    r = np.random.default_rng(2)
    caught, alarms = [], []
    for _ in range(5):
        ordinary = getattr(r, law)(size=880)
        odd = ordinary.max() + np.ptp(ordinary) * r.uniform(0.0, 1.0, 120)
        tail, drawn = extremes.fit(np.r_[ordinary, odd])
        caught.append((odd > tail.threshold()).mean())
        alarms.append((getattr(r, law)(size=20_000) > tail.threshold()).mean())
        assert min(drawn) <= tail.threshold() <= max(drawn)
    assert np.mean(caught) > 0.6
    assert np.mean(alarms) < 0.005


def test_a_large_share_of_odd_rows_is_said_to_be_uncertain():
    r = np.random.default_rng(0)
    few, many = r.normal(size=1000), np.r_[r.normal(size=880), r.uniform(4, 8, 120)]
    for scores, said in ((few, False), (many, True)):
        findings = []
        _, how, (low, high) = anomaly._threshold(scores, scores, *extremes.fit(scores), None, findings)
        assert how == "extreme values"
        assert ("anomalies-share-uncertain" in {f.code for f in findings}) is said
    assert low <= findings[0].data["rows"] <= high
    assert 40 <= findings[0].data["rows"] <= 125


def test_odd_rows_do_not_bend_the_law_that_is_to_find_them():
    r = np.random.default_rng(1)
    scores = np.r_[r.normal(size=2000), r.uniform(6, 9, 80)]  # 4 % are odd
    tail, _ = extremes.fit(scores)
    assert tail.threshold() < 6


def test_equal_scores_are_not_parted_by_a_share():
    scores = np.r_[np.zeros(90), np.ones(10)]
    assert (scores > extremes.exactly(scores, 0.05)).sum() == 10
    assert (scores > extremes.exactly(scores, 0.1)).sum() == 10
    assert (np.arange(100.0) > extremes.exactly(np.arange(100.0), 0.07)).sum() == 7
    assert (np.zeros(10) > extremes.exactly(np.zeros(10), 0.2)).sum() == 0


def test_scores_of_unlike_detectors_come_to_one_scale():
    r = np.random.default_rng(0)
    scores = r.exponential(size=1000)
    a, b = oddness.standing(scores)(scores), oddness.standing(1e6 * scores - 5)(1e6 * scores - 5)
    np.testing.assert_allclose(a, b, atol=1e-9)
    assert oddness.standing(np.full(5, 3.0))(np.full(5, 3.0)).tolist() == [0.0] * 5
    assert np.isfinite(oddness.standing(scores)(np.array([1e308, -1e308]))).all()
    with pytest.raises(ModelFileError):
        Excess.build({"center": 0.0, "scale": 0.0}, {})


def test_rows_left_out_are_the_suspected_ones():
    suspect = np.array([5.0, 1.0, 4.0, 2.0, 3.0])
    assert oddness.kept(suspect, 0.4).tolist() == [1, 3, 4]
    assert oddness.kept(suspect, 0.0).tolist() == [0, 1, 2, 3, 4]
    assert oddness.kept(suspect, 0.5, np.array([0, 2, 4])).tolist() == [2, 4]
