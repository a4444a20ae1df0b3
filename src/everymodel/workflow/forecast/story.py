"""The whole story of a forecast: set the last horizon aside, try, choose, test once, learn from all, pack, report."""

from __future__ import annotations

import datetime
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from everymodel.core.clock import Clock
from everymodel.core.errors import DataError, ParameterError
from everymodel.core.finding import Finding
from everymodel.core.schema import Column, Schema
from everymodel.scoring import series
from everymodel.scoring.forecast import HISTORY
from everymodel.scoring.steps.forecast import Past
from everymodel.workflow.forecast import backtest, choice
from everymodel.workflow.forecast.codes import say
from everymodel.workflow.forecast.known import Known
from everymodel.workflow.forecast.model import LEVEL, ForecastModel, headline, metrics
from everymodel.workflow.types import Evaluation, Listener, Problem, SearchResult, Split, Table

if TYPE_CHECKING:
    from everymodel.workflow.run import Run

SHOWN, POINTS = 6, 400  # series drawn in the report; values of each
_DEFAULTS = {("month", 1): 12, ("month", 3): 8, ("month", 12): 4, ("day", 1): 14, ("day", 7): 13,
             ("business day", 1): 10, ("second", 3600): 24}  # fmt: skip


@dataclass
class _Test:
    """What was set aside, and what was said of it."""

    rows: np.ndarray  # (s,) series that have one
    came: np.ndarray  # (s, h)
    said: np.ndarray
    half: np.ndarray
    naive: np.ndarray
    smooth: np.ndarray
    size: np.ndarray  # (s,) what MASE divides by
    unit: np.ndarray  # (s,) in what errors are counted for bounds


def consider(
    source: Table, targets: list[str], task: str | None, time: str | None, group: str | None, asked: bool
) -> Known | None:
    """The series of a table; None where it is none and nobody has asked for a forecast. See `known.known`.

    Raises
    ------
    ParameterError
        when a forecast was asked for together with another task, or of several columns.
    """
    from everymodel.workflow.forecast.known import known

    if task not in (None, "forecast"):
        raise ParameterError(f"horizon is for task='forecast', not for task={task!r}. Leave one of them away.")
    if len(targets) > 1:
        if asked:
            raise ParameterError(f"A forecast is of one column; {len(targets)} were named. Forecast them one by one.")
        return None
    found = known(source, targets[0], time, group, asked)
    if found is not None and not asked:
        many = f"{found.n:,} series" if found.n > 1 else "a series"
        found.findings.insert(0, say("forecast-chosen", what=many))
    return found


def forecast(
    source: Table,
    known: Known,
    *,
    horizon: int | None,
    models: list[str] | None,
    metric: str | None,
    clock: Clock,
    trials: int | None,
    seed: int,
    folder: Path,
    model_path: Path | None,
    listener: Listener | None,
    timing: dict[str, float],
) -> Run:
    """Forecast the series of a table that has been read.

    Raises
    ------
    DataError
        when the series are too short for the horizon.
    ParameterError
    """
    from everymodel.workflow.run import Run, _frame, _save, _save_story, _stage

    metric = metric or "mase"
    if metric not in choice.METRICS:
        raise ParameterError(f"metric={metric!r} is not for forecasts: expected one of {', '.join(choice.METRICS)}.")
    inner = Clock(
        clock.limit, clock.started, clock.kept + (0.0 if clock.limit is None else min(2.0, 0.15 * clock.limit))
    )
    with _stage("understand", timing, listener):
        findings = [*source.findings, *known.findings]
        lengths = np.array([len(y) for y in known.values])
        usual = known.frequency.seasons()
        h = _horizon(horizon, known, lengths, usual)
        test_rows = _set_aside(lengths, h, usual[0] if usual else 1)
        train = [y[:-h] if i in set(test_rows.tolist()) else y for i, y in enumerate(known.values)]
        season = series.season_of(train, usual)  # the test part has no say in this either
        train, test_rows, plan = _planned(known.values, train, test_rows, h, season, findings)
        _notice(known, season, plan, h, findings)
    with _stage("search", timing, listener):
        chosen = choice.choose(train, plan, season, models=models, metric=metric, clock=inner, trials=trials, seed=seed,
                               listener=listener)  # fmt: skip
        missed = (chosen.tried.came - chosen.apart) / chosen.tried.unit[:, None]
        widths = backtest.widths(missed, h)
    with _stage("evaluate", timing, listener):
        test = _test(known, train, test_rows, chosen, h, season, widths, seed) if len(test_rows) else None
        evaluation = _evaluation(test, chosen, plan, widths, h, seed)
        if test is not None and plan.horizon == h:  # from here on the test is one more look that no choice has seen
            missed = np.concatenate([(test.came - test.said) / test.unit[:, None], missed])
            widths = backtest.widths(missed, h)
    with _stage("save", timing, listener):
        model = _model(source, known, chosen, h, season, widths, metric, evaluation, findings, seed)
        _save(model, folder, model_path, findings)  # type: ignore[arg-type]
        told = _story(source, known, chosen, plan, test, model, evaluation, findings, metric, h, season, seed, clock,
                      timing, model_path or folder / "model.em")  # fmt: skip
        _save_story(told, folder, findings)
    result = _result(model, chosen, metric, seed)
    tables = {"forecast": model.predict()}
    made = Run(model, _frame(result.leaderboard), findings, evaluation, told, folder, result, tables=tables)  # type: ignore[arg-type]
    return made


def _horizon(asked: int | None, known: Known, lengths: np.ndarray, seasons: tuple[int, ...]) -> int:
    longest = int(lengths.max())
    if longest < 4:
        raise DataError(
            f"The longest series has {longest} values in even steps; a forecast needs at least 4, and 20 to be judged."
        )
    if asked is None:
        usual = _DEFAULTS.get((known.frequency.unit, int(known.frequency.step)), seasons[0] if seasons else 6)
        return int(max(1, min(usual, np.median(lengths) // 5)))
    if isinstance(asked, bool) or not isinstance(asked, int | np.integer) or not 1 <= asked <= 10_000:
        raise ParameterError(f"horizon={asked!r} is not possible: expected a whole number of steps from 1 to 10000.")
    if asked > longest - 3:
        raise DataError(
            f"horizon={asked} is too far: the longest series has {longest} values. Ask for at most {longest // 3 or 1} "
            "steps; a model can go on from there with predict(horizon=...)."
        )
    return int(asked)


def _set_aside(lengths: np.ndarray, horizon: int, season: int) -> np.ndarray:
    """Series whose last horizon is the test: those that are long enough to look ahead once more before it."""
    return np.flatnonzero(lengths >= horizon + max(backtest.least(season), horizon // 2))


def _planned(
    values: list[np.ndarray],
    train: list[np.ndarray],
    rows: np.ndarray,
    horizon: int,
    season: int,
    findings: list[Finding],
) -> tuple[list[np.ndarray], np.ndarray, backtest.Plan]:
    """(training parts, series with a test, from where to look ahead in the training parts)."""
    plan = backtest.plan(np.array([len(y) for y in train]), horizon, season) if len(rows) else None
    longest = max(map(len, values))
    if plan is None:
        train, rows = values, rows[:0]
        plan = backtest.plan(np.array([len(y) for y in train]), horizon, season)
        if plan is None:
            raise DataError(
                f"The longest series has {longest} values, too few to try a forecast of {horizon} steps once. "
                "Ask for fewer steps (horizon=1 needs 4 values) or give longer series."
            )
        findings.append(say("forecast-untested", longest=longest))
    elif len(rows) < len(values):
        findings.append(say("series-short", series=len(values) - len(rows), all=len(values)))
    return train, rows, plan


def _notice(known: Known, season: int, plan: backtest.Plan, horizon: int, findings: list[Finding]) -> None:
    findings.append(say("season", season=season, step=known.frequency.words) if season > 1 else say("no-season"))
    still = sum(np.ptp(y) == 0 for y in known.values)
    if still:
        findings.append(say("series-constant", (known.target.name,), series=int(still)))
    if plan.horizon < horizon:
        findings.append(say("backtest-shorter", asked=horizon, horizon=plan.horizon))
    tries = len(plan.pairs())
    if tries < 5:
        findings.append(say("backtest-small", tries=tries))


def _test(
    known: Known,
    train: list[np.ndarray],
    rows: np.ndarray,
    chosen: choice.Chosen,
    horizon: int,
    season: int,
    widths: np.ndarray,
    seed: int,
) -> _Test:
    """The one look at what was set aside, with models that have not seen it."""
    histories = [train[i] for i in rows]
    came = np.stack([known.values[i][-horizon:] for i in rows])
    made = [step(histories) for step in choice.steps(chosen.members, train, horizon, season, seed)]
    said = np.mean(made, axis=0)
    size = np.array([series.scale(y, season) for y in histories])
    unit = backtest.units(histories, season, chosen.power)
    half = unit[:, None] * widths[backtest.LEVELS.index(LEVEL)][None]
    from everymodel.scoring.steps.forecast import LastSeason, Smoothing

    naive, smooth = LastSeason(horizon, season)(histories), Smoothing(horizon, season)(histories)
    return _Test(rows, came, said, half, naive, smooth, size, unit)


def _evaluation(
    test: _Test | None, chosen: choice.Chosen, plan: backtest.Plan, widths: np.ndarray, horizon: int, seed: int
) -> Evaluation:
    if test is None:
        tried = chosen.tried
        width = widths[backtest.LEVELS.index(LEVEL)][: plan.horizon]
        made = metrics(tried.said, tried.came, tried.size, tried.unit[:, None] * width, [], LEVEL, seed)
        naive = float((np.abs(tried.came - chosen.baseline) / tried.size[:, None]).mean())
        n, look = len(np.unique(tried.which)), plan.horizon
        first = headline(made, n, look, naive).replace("on the last", "in the backtest, looking ahead", 1)
        return Evaluation("forecast", "backtest", made, first, [])
    made = metrics(test.said, test.came, test.size, test.half, [], LEVEL, seed)
    own = np.abs(test.came - test.said) / test.size[:, None]
    rows = []
    for name, other in (("Seasonal-naive", test.naive), ("Exponential smoothing", test.smooth)):
        theirs = np.abs(test.came - other) / test.size[:, None]
        low, high = backtest.blocks_interval(theirs - own, seed)
        verdict = "better" if low > 0 else "worse" if high < 0 else "same"
        rows.append({"name": name, "metric": "mase", "title": "MASE", "ours": float(own.mean()),
                     "theirs": float(theirs.mean()), "gain": float((theirs - own).mean()), "low": low, "high": high,
                     "verdict": verdict})  # fmt: skip
    first = headline(made, len(test.rows), horizon, rows[0]["theirs"])
    return Evaluation("forecast", "test", made, first, rows)


def _model(
    source: Table,
    known: Known,
    chosen: choice.Chosen,
    horizon: int,
    season: int,
    widths: np.ndarray,
    metric: str,
    evaluation: Evaluation,
    findings: list[Finding],
    seed: int,
) -> ForecastModel:
    from everymodel.workflow.pack import versions

    made = choice.steps(chosen.members, known.values, horizon, season, seed)
    lengths = np.array([len(y) for y in known.values], dtype=np.int64)
    past = Past(np.concatenate(known.values), lengths, known.starts)
    low, high = float(past.values.min()), float(past.values.max())
    columns = [Column(HISTORY, "sequence", shape=(int(min(lengths.max(), 16_384)), 1), low=low, high=high)]
    columns += [c for c in (known.time, known.id) if c is not None]
    columns.append(replace(known.target, low=low, high=high))
    columns += [Column(n, "text", role="ignored", reason="a forecast uses time and target") for n in known.ignored]
    titles = ", ".join(c.title for c in chosen.members[:3])
    manifest: dict[str, Any] = {
        "name": known.target.name,
        "title": f"{known.target.name}: {titles}",
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "task": "forecast",
        "metric": metric,
        "members": _members(chosen),
        "findings": [f.to_dict() for f in findings],
        "suspect": False,
        "contains_training_rows": True,
        "headline": evaluation.headline,
        "metrics": [
            {"name": m.name, "value": m.value, "low": m.low, "high": m.high, "source": evaluation.source}
            for m in evaluation.metrics
        ],
        "forecast": {
            "horizon": horizon,
            "season": season,
            "frequency": known.frequency.to_dict(),
            "time": known.time.name if known.time else None,
            "id": known.id.name if known.id else None,
            "ids": known.ids,
            "levels": list(backtest.LEVELS),
            "widths": [[float(f"{w:.8g}") for w in row] for row in widths],
            "swell": chosen.power,
            "floor": 0.0 if low >= 0 else None,
        },
        "provenance": {
            "data_fingerprint": source.fingerprint,
            "rows": int(lengths.sum()),
            "seed": seed,
            "versions": versions(),
            "parent": None,
        },
    }
    return ForecastModel(Schema(tuple(columns), "forecast"), choice.pack(made, past), manifest)


def _members(chosen: choice.Chosen) -> list[dict[str, Any]]:
    weight = 1.0 / len(chosen.members)
    return [{"model": c.title, "card": c.card.name, "weight": weight, "parameters": c.settings} for c in chosen.members]


def _result(model: ForecastModel, chosen: choice.Chosen, metric: str, seed: int) -> SearchResult:
    failures = [{"model": c.title, "reason": c.reason} for c in chosen.candidates if c.reason]
    return SearchResult(
        pack=model.pack,
        leaderboard=choice.leaderboard(chosen, metric, seed),
        oof=np.zeros(0),
        oof_by_model={},
        packs_by_model={},
        members=_members(chosen),
        failures=failures,
        stopped=chosen.stopped,
        history=chosen.history,
    )


def _story(
    source: Table,
    known: Known,
    chosen: choice.Chosen,
    plan: backtest.Plan,
    test: _Test | None,
    model: ForecastModel,
    evaluation: Evaluation,
    findings: list[Finding],
    metric: str,
    horizon: int,
    season: int,
    seed: int,
    clock: Clock,
    timing: dict[str, float],
    model_file: Path,
) -> dict[str, Any]:
    from everymodel.scoring.steps.base import Batch
    from everymodel.workflow.story import plain, story

    total = int(sum(map(len, known.values)))
    tested = 0 if test is None else test.came.size
    note = (
        f"The last {horizon} steps of {'each series' if known.n > 1 else 'the series'} were set aside and read once. "
        f"Models were chosen by {len(plan.pairs())} looks {plan.horizon} steps ahead, from earlier moments."
        if tested
        else "The series are too short for a test of their own."
    )
    rows = np.arange(total)
    parts = Split("time", rows[: total - tested], rows[total - tested :], [(rows[:0], rows[:0])] * plan.k, note)
    problem = Problem(model.schema, "forecast", Batch({}, 0), np.zeros(0), [], metric, seed)
    result = _result(model, chosen, metric, seed)
    told = story(source, findings, parts, problem, result, evaluation, {}, timing, clock.limit, model_file,
                 source.frame, False)  # fmt: skip
    name = Path(source.source).name or source.source
    told["title"] = f"{known.target.name} of {name}: what comes next" if not name.startswith("<") else (
        f"{known.target.name}: what comes next"
    )  # fmt: skip
    told["columns"] = [c for c in told["columns"] if c["name"] != HISTORY]
    told["how_to"] = _how_to(model_file, known, horizon)
    told["structure"] = plain(_structure(known, chosen, plan, test, model, horizon, season))
    return told


def _how_to(path: Path, known: Known, horizon: int) -> dict[str, str]:
    rest = '{"row": {"history": [1.0, 2.0, 3.0]}}'
    return {
        "python": f'import everymodel as em\n\nmodel = em.load("{path}")\nmodel.predict(horizon={horizon})  '
        "# goes on from the end of the data\nmodel.predict(table)  # goes on from other series",
        "cli": f"everymodel predict {path} -o next.csv\neverymodel predict {path} newer.csv --horizon {horizon}",
        "rest": f"everymodel serve {path}\ncurl -s localhost:8000/v1/predict -H 'content-type: application/json' "
        f"-d '{rest}'",
    }


def _structure(
    known: Known,
    chosen: choice.Chosen,
    plan: backtest.Plan,
    test: _Test | None,
    model: ForecastModel,
    horizon: int,
    season: int,
) -> dict[str, Any]:
    """What the report draws."""
    order = np.argsort([-float(np.abs(y).mean()) for y in known.values], kind="stable")[:SHOWN]
    some = known.part(np.sort(order))
    near, far = (model.ahead(some.values, horizon, level) for level in (LEVEL, 0.95))
    grid = known.frequency
    floor = model.told["floor"]
    drawn = []
    for k, i in enumerate(np.sort(order)):
        y, start = known.values[i], int(known.starts[i])
        shown = min(len(y), max(POINTS if known.n == 1 else 120, 4 * horizon), 2000)
        first = start + len(y) - shown
        said, half = near[0][k], near[1][k]
        entry: dict[str, Any] = {
            "name": known.name(int(i)),
            "times": _said(grid, first + np.arange(shown)),
            "values": y[-shown:],
            "ahead": {
                "times": _said(grid, start + len(y) + np.arange(horizon)),
                "values": said,
                "low": _above(said - half, floor, said),
                "high": said + half,
                "lowest": _above(said - far[1][k], floor, said),
                "highest": said + far[1][k],
            },
        }
        if test is not None and i in test.rows:
            j = int(np.flatnonzero(test.rows == i)[0])
            entry["test"] = {
                "times": _said(grid, start + len(y) - horizon + np.arange(horizon)),
                "values": test.said[j],
                "low": _above(test.said[j] - test.half[j], floor, test.said[j]),
                "high": test.said[j] + test.half[j],
                "naive": test.naive[j],
            }
        drawn.append(entry)
    tried = chosen.tried
    own = (np.abs(tried.came - tried.said) / tried.size[:, None]).mean(axis=0)
    naive = (np.abs(tried.came - chosen.baseline) / tried.size[:, None]).mean(axis=0)
    first_one = int(np.sort(order)[0])
    looks = []
    for (_, i, o), said in zip(plan.pairs(), tried.said, strict=True):
        if i == first_one:
            looks.append({"times": _said(grid, int(known.starts[i]) + o + np.arange(plan.horizon)), "values": said})
    return {
        "series": drawn,
        "n": known.n,
        "horizon": horizon,
        "season": season,
        "step": grid.words,
        "dates": grid.dates,
        "by_step": {"own": own, "naive": naive},
        "looks": looks,
        "tries": len(plan.pairs()),
        "level": LEVEL,
    }


def _above(values: np.ndarray, floor: float | None, said: np.ndarray) -> np.ndarray:
    return values if floor is None else np.maximum(values, np.minimum(floor, said))


def _said(grid: Any, at: np.ndarray) -> list[Any]:
    """Times for drawing: numbers, or dates as text."""
    return [str(t) for t in grid.times(at)] if grid.dates else [float(t) for t in grid.times(at)]
