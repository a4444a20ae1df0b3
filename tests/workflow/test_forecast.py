"""Series in a table become a forecast: found, repaired, tried on the past, tested once, saved and served."""

from __future__ import annotations

import datetime as dt
import json
import zipfile

import numpy as np
import pandas as pd
import pytest

import everymodel as em
from everymodel import catalog, scoring
from everymodel.core.errors import (
    CapabilityError,
    DataError,
    EverymodelError,
    ModelFileError,
    ParameterError,
    SchemaError,
    TargetError,
)
from everymodel.scoring import series
from everymodel.workflow.forecast import backtest, choice

QUICK = ["seasonal_naive", "exponential_smoothing"]


def _sales(n: int = 72, seed: int = 0, start: str = "2018-01-01") -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    t = np.arange(n)
    y = 100 + t + 20 * np.sin(2 * np.pi * t / 12) + rng.normal(0, 2, n)
    return pd.DataFrame({"month": pd.date_range(start, periods=n, freq="MS"), "sales": y})


def _shops(n: int = 4, days: int = 60) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    parts = []
    for i in range(n):
        t = np.arange(days)
        y = 10 * (i + 1) + 3 * np.sin(2 * np.pi * t / 7) + rng.normal(0, 0.3, days)
        parts.append(pd.DataFrame({"shop": f"shop {i}", "day": pd.date_range("2024-03-01", periods=days), "sold": y}))
    return pd.concat(parts, ignore_index=True)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("forecast")
    return em.fit(_sales(), target="sales", time="month", trials=3, out=folder / "run", progress=False)


def _codes(run):
    return {f.code for f in run.findings}


def _fit(table, tmp_path, **more):
    options = {"target": "sales", "time": "month", "models": QUICK, "horizon": 6, "trials": 2, **more}
    return em.fit(table, out=tmp_path / "run", progress=False, **options)


# --- by itself -------------------------------------------------------------------------------------------------------


def test_a_table_of_one_series_is_forecast_by_itself(run):
    assert run.model.task == "forecast"
    assert "forecast-chosen" in _codes(run)
    assert run.model.told["season"] == 12 and run.model.horizon == 12
    assert {"mase", "smape", "coverage"} <= set(run.metrics)
    assert run.metrics["mase"].low <= run.metrics["mase"] <= run.metrics["mase"].high
    assert run.metrics["mase"] < 0.7 and "less error than seasonal-naive" in run.headline
    assert any(row["card"] == "seasonal_naive" for row in run.search.leaderboard)


def test_with_other_columns_it_stays_a_table(tmp_path):
    table = _sales().assign(price=np.random.default_rng(0).normal(size=72), kind=["a", "b"] * 36)
    made = em.fit(table, target="sales", time="month", trials=1, models=None, out=tmp_path / "run", progress=False)
    assert made.model.task == "regression"


def test_uneven_times_are_no_series(tmp_path):
    rng = np.random.default_rng(0)
    when = pd.Timestamp("2020-01-01") + pd.to_timedelta(np.sort(rng.uniform(0, 4e7, 60)), unit="s")
    table = pd.DataFrame({"month": when, "sales": rng.normal(size=60)})
    with pytest.raises(DataError, match="not evenly spaced"):
        _fit(table, tmp_path)


def test_the_test_part_is_read_by_nobody_before(tmp_path, monkeypatch):
    """Models tried in the backtest never see the last horizon: whatever stands there, they are chosen alike."""
    one, other = _sales(), _sales()
    other.loc[other.index[-6:], "sales"] = 1e6
    first, second = (_fit(t, tmp_path / str(i)) for i, t in enumerate((one, other)))
    for a, b in zip(first.search.leaderboard, second.search.leaderboard, strict=True):
        assert (a["model"], a["score"]) == (b["model"], b["score"])
    assert second.metrics["mase"] > 100 * first.metrics["mase"]


def test_same_seed_same_answers(tmp_path):
    answers = [_fit(_sales(), tmp_path / str(i)).model.predict()["sales"].to_numpy() for i in range(2)]
    assert np.array_equal(*answers)


# --- answers ---------------------------------------------------------------------------------------------------------


def test_the_forecast_goes_on_where_the_data_end(run):
    made = run.model.predict()
    assert list(made.columns) == ["month", "sales", "low", "high"]
    assert made["month"].tolist() == list(pd.date_range("2024-01-01", periods=12, freq="MS"))
    assert (made["low"] < made["sales"]).all() and (made["sales"] < made["high"]).all()
    assert len(run.model.predict(horizon=3)) == 3
    longer = run.model.predict(horizon=30)
    assert len(longer) == 30 and np.isfinite(longer["sales"]).all()
    assert longer["sales"][:12].tolist() == made["sales"].tolist()
    wide, narrow = (run.model.predict(level=q)["high"] for q in (0.95, 0.5))
    assert (wide >= narrow).all() and (wide > narrow).any()


def test_other_histories_of_any_form(run):
    table = _sales(40, seed=5, start="2022-06-01")
    made = run.model.predict(table)
    assert made["month"].iloc[0] == pd.Timestamp("2025-10-01")
    shuffled = run.model.predict(table.sample(frac=1, random_state=0))
    assert np.allclose(shuffled["sales"], made["sales"])
    rows = [{"month": str(m.date()), "sales": s} for m, s in zip(table["month"], table["sales"], strict=True)]
    assert np.allclose(run.model.predict(rows)["sales"], made["sales"])
    values = run.model.predict(table["sales"].tolist())
    assert np.allclose(values["sales"], made["sales"]) and values["month"].tolist()[:2] == [1, 2]


def test_bad_histories_are_refused_in_words(run):
    with pytest.raises(SchemaError, match="must have the column 'month'"):
        run.model.predict(pd.DataFrame({"sales": [1.0, 2.0]}))
    with pytest.raises(SchemaError, match="not a number"):
        run.model.predict([{"month": "2024-01-01", "sales": "much"}])
    with pytest.raises(SchemaError, match="not a time"):
        run.model.predict([{"month": "whenever", "sales": 1.0}])
    with pytest.raises(DataError, match="no number"):
        run.model.predict([float("nan"), float("nan")])
    for horizon in (0, -1, 2.5, True, 10**9):
        with pytest.raises(ParameterError, match="horizon"):
            run.model.predict(horizon=horizon)
    with pytest.raises(ParameterError, match="level"):
        run.model.predict(level=1.5)
    with pytest.raises(CapabilityError, match="no columns to explain"):
        run.model.explain([1.0, 2.0])


def test_the_file_answers_with_numpy_alone(run, tmp_path):
    path = tmp_path / "sales.em"
    run.model.save(path)
    plain = scoring.load(path)
    made = plain.predict()
    again = em.load(path)
    assert np.array_equal(made["sales"], again.predict()["sales"])
    assert np.array_equal(made["sales"], run.model.predict()["sales"])
    assert made["month"].dtype.kind == "M"
    assert again.manifest["contains_training_rows"] is True
    assert again.evaluate(_sales(80, seed=3)).metrics[0].name == "mase"
    with pytest.raises(DataError, match="longer than the horizon"):
        again.evaluate(_sales(8))


@pytest.mark.parametrize(
    "change",
    [
        {"horizon": 0},
        {"horizon": 5},
        {"season": -1},
        {"levels": [0.5]},
        {"swell": 7},
        {"widths": "wide"},
        {"frequency": {"unit": "month", "step": 0, "origin": 0.0, "end": False}},
        {"frequency": {"unit": "moon", "step": 1, "origin": 0.0, "end": False}},
        {"frequency": None},
    ],
)
def test_what_a_file_says_of_time_is_checked(run, change):
    import copy

    model = type(run.model)(run.model.schema, run.model.pack, copy.deepcopy(run.model.manifest))
    model.manifest["forecast"].update(change)
    with pytest.raises((ModelFileError, EverymodelError)):
        model.to_bytes()


def test_a_damaged_file_is_refused(run, tmp_path):
    path = tmp_path / "sales.em"
    run.model.save(path)
    raw = bytearray(path.read_bytes())
    rng = np.random.default_rng(0)
    for _ in range(30):
        hurt = bytearray(raw)
        hurt[rng.integers(0, len(hurt))] ^= 1 << int(rng.integers(0, 8))
        try:
            scoring.model.open_bytes(bytes(hurt))
        except ModelFileError:
            continue
        except zipfile.BadZipFile as error:  # pragma: no cover
            raise AssertionError("a zip error came through") from error


# --- many series -----------------------------------------------------------------------------------------------------


def test_several_series_are_told_apart(tmp_path):
    table = _shops()
    table = table.drop(index=[5, 70]).sample(frac=1, random_state=3)
    run = em.fit(
        table, target="sold", time="day", trials=2, models=QUICK, horizon=7, out=tmp_path / "r", progress=False
    )
    codes = _codes(run)
    assert {"series-found", "time-gaps", "even-steps"} <= codes
    made = run.model.predict()
    assert list(made.columns) == ["shop", "day", "sold", "low", "high"]
    assert len(made) == 4 * 7 and set(made["shop"]) == {f"shop {i}" for i in range(4)}
    assert run.model.told["season"] == 7
    assert np.abs(made.groupby("shop")["sold"].mean().to_numpy() - [10, 20, 30, 40]).max() < 2
    new = _shops(1, 30).assign(shop="never seen")
    assert set(run.model.predict(new)["shop"]) == {"never seen"}
    report = run.report(tmp_path / "report.html").read_text()
    assert "shop 2" in report and "<svg" in report


# --- repairs and bad input -------------------------------------------------------------------------------------------


def test_doubles_gaps_and_blanks_are_counted(tmp_path):
    table = _sales()
    table.loc[10, "sales"] = np.nan
    table = pd.concat([table.drop(index=[20, 21]), table.iloc[[30]]])
    run = _fit(table.iloc[::-1], tmp_path)
    told = {f.code: f.data for f in run.findings}
    assert told["time-gaps"]["times"] == 2 and told["time-twice"]["rows"] == 1 and told["values-filled"]["rows"] == 1
    assert "time-unsorted" in told


@pytest.mark.parametrize(
    "written",
    [
        lambda d: d.strftime("%Y-%m"),
        lambda d: d.strftime("%Y %b"),
        lambda d: f"{d.year}M{d.month:02d}",
        lambda d: d.strftime("%d/%m/%Y"),
    ],
)
def test_months_in_many_spellings(tmp_path, written):
    table = _sales()
    table["month"] = [written(d) for d in table["month"]]
    made = _fit(table, tmp_path)
    assert str(made.model.predict()["month"].iloc[0])[:10] == "2024-01-01"
    assert len(made.model.predict(table)) == 6


def test_without_times_rows_are_steps(tmp_path):
    made = _fit(_sales()[["sales"]], tmp_path, time=None).model.predict()
    assert made.columns[0] == "step" and made["step"].tolist() == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize(
    ("table", "more", "error", "words"),
    [
        (_sales(3), {"horizon": 1}, DataError, "at least 4"),
        (_sales(36), {"horizon": 50}, DataError, "too far"),
        (_sales(36), {"horizon": 0}, ParameterError, "horizon"),
        (_sales(36), {"horizon": 3, "task": "binary"}, ParameterError, "horizon is for"),
        (_sales(36), {"horizon": 3, "models": ["ridge"]}, ParameterError, "not for series"),
        (_sales(36), {"horizon": 3, "metric": "roc_auc"}, ParameterError, "not for forecasts"),
        (_sales(36), {"horizon": 3, "time": "when"}, ParameterError, "no such column"),
        (_sales(36).assign(sales="x"), {"horizon": 3}, TargetError, "needs numbers"),
        (_sales(36).assign(sales=np.nan), {"horizon": 3}, EverymodelError, "number"),
        (_sales(36).assign(month="now"), {"horizon": 3}, DataError, "neither dates nor numbers"),
        (_sales(36).assign(month=pd.Timestamp("2020-01-01")), {"horizon": 3}, DataError, "1 different times"),
    ],
)
def test_bad_input_is_refused_in_words(tmp_path, table, more, error, words):
    with pytest.raises(error, match=words):
        _fit(table, tmp_path, **more)


def test_a_constant_series_stays(tmp_path):
    run = _fit(_sales(30).assign(sales=7.0), tmp_path)
    assert "series-constant" in _codes(run)
    made = run.model.predict()
    assert made["sales"].tolist() == [7.0] * 6


def test_short_series_are_judged_by_the_backtest_and_said(tmp_path):
    run = _fit(_sales(9), tmp_path, horizon=2)
    assert {"backtest-small"} & _codes(run)
    assert len(run.model.predict()) == 2
    tiny = _fit(_sales(5), tmp_path / "b", horizon=1)
    assert "forecast-untested" in _codes(tiny) and tiny.evaluation.source == "backtest"


def test_huge_and_negative_values_pass(tmp_path):
    for factor in (1e12, -1e-9):
        run = _fit(_sales().assign(sales=_sales()["sales"] * factor), tmp_path / str(factor), models=None, trials=3)
        assert np.isfinite(run.model.predict()[["sales", "low", "high"]].to_numpy()).all()


# --- pieces ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("freq", "unit", "season"),
    [("D", "day", 7), ("B", "business day", 5), ("W", "day", 52), ("MS", "month", 12), ("ME", "month", 12),
     ("QS", "month", 4), ("YE", "month", None), ("h", "second", 24), ("30min", "second", 48)],
)  # fmt: skip
def test_frequencies_are_found_through_gaps(freq, unit, season):
    when = pd.date_range("2020-01-06", periods=60, freq=freq)
    stamps, _ = series.read_times(pd.Series(when), True)
    grid = series.find([np.delete(stamps, [5, 17, 30])], True)
    assert grid is not None and grid.unit == unit
    at, beside = grid.positions(stamps)
    assert (np.diff(at) == 1).all() and not beside.any()
    assert (grid.times(at) == when.values.astype("datetime64[s]")).all()
    assert grid.seasons() == () if season is None else season in grid.seasons()


def test_numbers_step_evenly_or_not():
    assert series.find([np.array([1821.0, 1822, 1823, 1825, 1830])], False).step == 1
    assert series.find([np.array([0.1, 0.2, 0.3, 0.5])], False).step == pytest.approx(0.1)
    assert series.find([np.sort(np.random.default_rng(0).uniform(size=50))], False) is None


def test_origins_leave_the_future_alone():
    plan = backtest.plan(np.array([60, 30, 9]), horizon=6, season=4)
    assert plan is not None
    for _, i, o in plan.pairs():
        assert 0 < o <= [60, 30, 9][i] - 6
    assert backtest.plan(np.array([3]), 2, 1) is None


def test_widths_hold_as_many_errors_as_promised():
    rng = np.random.default_rng(0)
    steps = np.sqrt(np.arange(1, 9))
    learnt, new = rng.normal(size=(60, 8)) * steps, rng.normal(size=(4000, 8)) * steps
    made = backtest.widths(learnt, 8)
    assert (np.diff(made, axis=1) >= 0).all()
    for level, width in zip(backtest.LEVELS, made, strict=True):
        assert abs((np.abs(new) <= width).mean() - level) < 0.05


def test_a_season_is_found_in_few_turns_and_on_skew_cycles_and_not_in_noise():
    rng = np.random.default_rng(0)
    t = np.arange(64)
    day = np.maximum(np.sin(2 * np.pi * t / 24), 0) + 0.05 * rng.normal(size=64)
    assert series.season_of([day], (24,)) == 24  # less than three days
    cycle = np.exp(3 * np.sin(2 * np.pi * np.arange(60) / 10) + 0.2 * rng.normal(size=60))
    assert series.season_of([cycle], ()) == 10
    walks = [np.cumsum(rng.normal(size=40)) for _ in range(60)]
    assert sum(series.season_of([y], (12,)) > 1 for y in walks) <= 6


def _tried(came, looks, n=1):
    m = len(looks)
    one = np.ones(m)
    return backtest.Tried(np.zeros_like(came), came, one, np.arange(m) % n, np.array(looks), one)


def test_bounds_come_from_errors_that_had_no_say_in_the_choice():
    """Of many guesses at noise the best looks better than it is; what other looks choose does not."""
    rng = np.random.default_rng(0)
    came = rng.normal(size=(8, 4))
    tried = _tried(came, list(range(8)))
    pool = []
    for i in range(60):
        made = choice.Candidate(catalog.find("seasonal_naive"), {}, str(i))
        made.said = rng.normal(size=(8, 4)) * 0.7
        pool.append(made)
    chosen, said, apart = choice._together(pool, tried, "mae")
    best = np.abs(came - said).mean()
    assert len(chosen) == 1 and np.abs(came - apart).mean() > 1.15 * best


def test_families_near_the_best_answer_together():
    names = ["seasonal_naive", "seasonal_naive", "exponential_smoothing", "autoregression"]
    assert choice._near(np.array([1.2, 1.1, 1.0, 1.3]), names) == [2, 1]
    assert choice._near(np.array([0.0, 0.0, 0.1, 0.0]), names) == [0, 3]


def test_bounds_grow_with_the_level_where_moves_do():
    rng = np.random.default_rng(0)
    t = np.arange(100)
    grows = np.exp(0.03 * t) * (1 + 0.1 * rng.normal(size=100))
    assert backtest.swelling([grows], 1) == 1.0
    assert backtest.swelling([50 + 0.5 * t + rng.normal(size=100)], 1) == 0.0
    assert backtest.swelling([np.zeros(50), np.ones(3)], 1) == 0.0
    assert series.swell(grows, 1, 1.0) > 2 * series.swell(grows, 1, 1.0, known=50) > 0
    assert series.swell(grows, 1, 0.0) == 1.0
    assert np.isfinite(series.swell(np.zeros(20), 1, 1.0))


def test_a_model_asked_for_by_name_answers_alone(tmp_path):
    run = _fit(_sales(), tmp_path, models=["exponential_smoothing"], trials=None)
    assert [m["card"] for m in run.model.manifest["members"]] == ["exponential_smoothing"]
    assert any(row["card"] == "seasonal_naive" for row in run.search.leaderboard)


def test_dates_in_the_future_of_calendars():
    grid = series.Frequency("month", 1, dt.datetime(2023, 12, 31, tzinfo=dt.UTC).timestamp(), end=True)
    ends = [str(t)[:10] for t in grid.times(np.arange(4))]
    assert ends == ["2023-12-31", "2024-01-31", "2024-02-29", "2024-03-31"]


def test_the_story_is_json(run):
    text = json.dumps(run.story, allow_nan=False)
    assert "what comes next" in text
