"""Why a model answers as it does, asked of its answers alone: any model, any preparation, raw columns.

Everything here is plain data within a given number of seconds. What the time did not reach is said, not guessed.
"""

from __future__ import annotations

import datetime
import heapq
import sys
import time
from typing import Any

import numpy as np

from everymodel.core.clock import Clock
from everymodel.core.schema import Column
from everymodel.core.seeds import derive
from everymodel.scoring import metrics as m
from everymodel.scoring.steps.base import Batch
from everymodel.workflow.evaluate.curves import plain
from everymodel.workflow.evaluate.inside import coefficients, single_tree
from everymodel.workflow.evaluate.intervals import Resamples, difference
from everymodel.workflow.evaluate.pictures import pictures
from everymodel.workflow.evaluate.surrogate import surrogate

ROWS = 2000  # used for importance
BACKGROUND = 100  # rows that stand for "not known" in contributions
PLAYERS = 30  # columns whose contributions are told apart; the others move together
DEPENDENCE = 6  # columns whose effect is drawn
SURROGATE = 5000  # rows that the small tree imitates
WIDE = 500  # columns from which they are looked at in blocks first
SUMMARY = 120  # rows in the summary of contributions
CELLS = 8_000_000  # of the tables that contributions are computed on
OTHERS = "(all other columns)"


def explain(model: Any, batch: Batch, y: np.ndarray, *, seed: int = 0, seconds: float = 8.0) -> dict[str, Any]:
    """Importance, effects, contributions and a small tree that imitates the model.

    Parameters
    ----------
    model : has `task`, `schema`, `classes`, `manifest` and `answers(batch)`.
    batch : Batch of rows that the model was not fitted on; y : their truth, as in `everymodel.scoring.metrics`.
    seed : int
    seconds : float
        Wall time not to be exceeded by more than one call of `answers`.

    Returns
    -------
    dict with `importance` (per column: value = how much the metric worsens when the column is shuffled, low, high; of
    several labels or targets the metric's mean, as scikit-learn has it; `outputs` says how many),
    `dependence` (mean answer as one column is set to each of its values, with single rows), `summary` and `examples`
    (additive contributions of the columns to single answers), `surrogate` (a tree of depth 3 and how faithful it is, or
    the model itself where it is one tree), `coefficients` (weights of linear members),
    `metric`, `rows`, `columns_tested`, `seconds`. Only `constant` where every row gets the same answer.
    """
    clock = Clock(seconds)
    rng = np.random.default_rng(derive(seed, "explain"))
    y = np.asarray(y)
    told: dict[str, Any] = {"rows": 0, "columns_tested": 0, "columns": len(model.schema.features)}
    columns = [c for c in model.schema.features if c.kind not in ("image", "sequence")]  # no column tells by itself
    shown = pictures(model, batch, y)
    if shown:
        told["pictures"] = shown
    if batch.n < 2 or not columns:
        return told
    metric = m.resolve(model.manifest.get("metric"), model.task).name
    told["metric"] = metric
    cost = _row_seconds(model, batch)
    first = np.asarray(model.answers(batch.take(np.arange(min(batch.n, ROWS)))))
    if bool((first == first[:1]).all()):  # the baseline, say: columns that do nothing need no ranking
        return {**told, "constant": True, "seconds": round(clock.elapsed(), 3)}
    count = len(columns)
    # Rows so that one pass over all columns takes about a quarter of the time.
    rows = int(np.clip(0.25 * seconds / max(cost * count, 1e-12), 200, ROWS))
    chosen = _sample(batch.n, rows, rng)
    part, truth = batch.take(chosen), y[chosen]
    told["rows"] = part.n
    told["importance"] = _importance(model, part, truth, columns, metric, Clock(0.35 * seconds), seed)
    told["columns_tested"] = len(told["importance"])
    told["outputs"] = truth.shape[1] if truth.ndim == 2 else 1  # the metric is their mean, as in scikit-learn
    ranked = [row["column"] for row in told["importance"]]
    told["dependence"] = _dependence(model, part, ranked, Clock(min(0.2 * seconds, clock.left())), rng)
    told.update(_contributions(model, part, truth, ranked, Clock(0.8 * clock.left()), rng))
    if getattr(model, "pack", None) is not None:
        told["coefficients"] = coefficients(model)
        told["surrogate"] = single_tree(model)
    ready = "sklearn.tree" in sys.modules or seconds >= 1.0  # loading it takes longer than a short time lasts
    if not told.get("surrogate") and ready and clock.left() > 0.05 * seconds:
        more = int(np.clip(0.5 * clock.left() / max(cost, 1e-12), part.n, SURROGATE))
        told["surrogate"] = surrogate(model, batch.take(_sample(batch.n, more, rng)), seed=seed)
    told["seconds"] = round(clock.elapsed(), 3)
    return told


def _sample(n: int, size: int, rng: np.random.Generator) -> np.ndarray:
    return np.arange(n) if n <= size else np.sort(rng.choice(n, size, replace=False))


def _row_seconds(model: Any, batch: Batch) -> float:
    """Measured seconds for one row within a batch."""
    model.answers(batch.take(np.arange(min(batch.n, 20))))  # the first call may build caches
    probe = batch.take(np.arange(min(batch.n, 200 if len(batch.columns) > 500 else 1000)))
    started = time.perf_counter()
    model.answers(probe)
    return (time.perf_counter() - started) / probe.n


def _with(batch: Batch, name: str, values: np.ndarray) -> Batch:
    return Batch({**batch.columns, name: values}, batch.n)


# -- importance ---------------------------------------------------------------------------------------------------


def _importance(
    model: Any, batch: Batch, y: np.ndarray, columns: list[Column], metric: str, clock: Clock, seed: int
) -> list[dict[str, Any]]:
    """Shuffle one column after the other; rounds over all columns until the time is up (at most 8)."""
    answers = np.asarray(model.answers(batch), dtype=np.float64)
    resamples = Resamples(batch.n, derive(seed, "importance"), draws=300)
    order = _likely(model, batch, m.align(model.task, y, answers)[1], columns, Clock(0.3 * clock.left()))
    found: dict[str, list[tuple[float, float, float]]] = {}
    for turn in range(8):
        for column in order:
            if clock.over() and (turn or len(found) >= 3):
                break
            shuffle = np.random.default_rng(derive(seed, "shuffle", column.name, turn)).permutation(batch.n)
            worse = model.answers(_with(batch, column.name, batch.columns[column.name][shuffle]))
            found.setdefault(column.name, []).append(
                difference(metric, model.task, y, answers, np.asarray(worse, dtype=np.float64), resamples)
            )
    rows = []
    for column in order:
        if column.name in found:
            value, low, high = np.nanmean(np.array(found[column.name]), axis=0)
            rows.append(
                {
                    "column": column.name,
                    "kind": column.kind,
                    "value": plain(value),
                    "low": plain(low),
                    "high": plain(high),
                    "repeats": len(found[column.name]),
                }
            )
    return sorted(rows, key=lambda row: -(row["value"] if row["value"] is not None else -np.inf))


def _likely(model: Any, batch: Batch, answers: np.ndarray, columns: list[Column], clock: Clock) -> list[Column]:
    """Columns that the answers visibly depend on first, so that a short clock is spent on what matters."""
    found: dict[str, float] = {}
    if len(columns) > WIDE:
        columns = _ordered(model.task, batch, answers, columns, Clock(0.3 * clock.left()))
        found = _screened(model, batch, [c.name for c in columns], clock)
        return sorted(columns, key=lambda c: -found.get(c.name, 0.0))
    return _ordered(model.task, batch, answers, columns, clock)


def _screened(model: Any, batch: Batch, names: list[str], clock: Clock) -> dict[str, float]:
    """Which of thousands of columns the answers depend on: whole blocks are shuffled at once, and those that matter
    most are halved again and again. -> how much the answers change, for columns that were reached."""
    batch = batch.take(np.arange(min(batch.n, 60)))
    before = np.asarray(model.answers(batch), dtype=np.float64)
    turned = np.roll(np.arange(batch.n), max(1, batch.n // 3))
    waiting: list[tuple[float, int, list[str]]] = []
    found: dict[str, float] = {}

    def look(block: list[str]) -> None:
        shuffled = {name: batch.columns[name][turned] for name in block}
        change = float(np.abs(np.asarray(model.answers(Batch({**batch.columns, **shuffled}, batch.n))) - before).mean())
        if change > 0 and len(block) == 1:
            found[block[0]] = change
        elif change > 0:
            heapq.heappush(waiting, (-change / len(block) ** 0.5, len(found) + len(waiting), block))

    size = max(20, len(names) // 100)
    for start in range(0, len(names), size):
        if clock.over():
            break
        look(names[start : start + size])
    while waiting and not clock.over():
        block = heapq.heappop(waiting)[-1]
        half = len(block) // 2
        look(block[:half])
        look(block[half:])
    return found


def _ordered(task: str, batch: Batch, answers: np.ndarray, columns: list[Column], clock: Clock) -> list[Column]:
    """By how well each column alone tells the answers."""
    if len(columns) > WIDE and batch.n > 400:
        batch, answers = batch.take(np.arange(400)), answers[:400]
    target = answers if answers.ndim == 1 else answers[:, _lead(task, answers)]
    total = float(target.var()) or 1.0

    quick: dict[str, float] = {}
    if len(columns) > WIDE:  # one pass over all numbers: how well a line through each explains the answers
        names = [c.name for c in columns if c.kind in ("number", "boolean", "date")]
        table = np.column_stack([batch.columns[name] for name in names]) if names else np.zeros((batch.n, 0))
        table = np.where(np.isfinite(table), table, 0.0)
        table = table - table.mean(axis=0)
        size = (table**2).sum(axis=0) * total * len(target)
        shared = (target - target.mean()) @ table
        quick = dict(zip(names, np.divide(shared**2, size, out=np.zeros(len(size)), where=size > 0).tolist()))

    def strength(column: Column) -> float:
        if column.name in quick:
            return quick[column.name]
        if clock.over():
            return 0.0
        values = batch.columns[column.name]
        if column.kind == "text":
            return 0.5
        if column.kind == "category":
            codes = np.asarray(values, dtype=np.int64) + 2
        else:
            known = np.isfinite(values)
            if known.sum() < 2:
                return 0.0
            edges = np.unique(np.quantile(values[known], [0.2, 0.4, 0.6, 0.8]))
            codes = np.where(known, np.searchsorted(edges, values, "right") + 1, 0)
        sizes = np.bincount(codes)
        means = np.divide(np.bincount(codes, target), sizes, out=np.zeros(len(sizes)), where=sizes > 0)
        return float((sizes * (means - target.mean()) ** 2).sum() / len(target) / total)

    return sorted(columns, key=lambda c: -strength(c))


# -- effects ------------------------------------------------------------------------------------------------------


def _grid(column: Column, values: np.ndarray) -> tuple[np.ndarray, list[Any]]:
    """(values to set, how to show them) for one column; empty for free text."""
    if column.kind == "category":
        codes, counts = np.unique(values[values >= 0], return_counts=True)
        codes = codes[np.argsort(-counts, kind="stable")][:10]
        return codes.astype(values.dtype), [column.levels[c] for c in codes]
    if column.kind == "boolean":
        words = list(column.levels) if len(column.levels) == 2 else ["no", "yes"]
        return np.array([0.0, 1.0]), words
    if column.kind in ("number", "date"):
        known = values[np.isfinite(values)]
        if len(known) == 0:
            return values[:0], []
        # Quantiles without the outermost hundredth: there, means of few rows would draw the picture.
        points = np.unique(np.quantile(known, np.linspace(0.01, 0.99, 21)))
        if column.integer:
            points = np.unique(np.round(points))
        if column.kind == "date":
            return points, [_date(p) for p in points]
        return points, [float(f"{p:.6g}") for p in points]
    return values[:0], []


def _date(seconds: float) -> str:
    try:
        return (datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=float(seconds))).date().isoformat()
    except (OverflowError, ValueError):
        return f"{seconds:.0f} s"


def _outputs(model: Any, answers: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Answers as columns worth drawing (n, o) with their names: at most 4."""
    _, aligned = _aligned(model, answers)
    if aligned.ndim == 1:
        name = str(model.classes[1]) if model.task == "binary" and len(model.classes) > 1 else ""
        return aligned[:, None], [name]
    order = (
        np.arange(aligned.shape[1]) if model.task == "regression" else np.argsort(-aligned.var(axis=0), kind="stable")
    )
    keep = np.sort(order[:4])
    return aligned[:, keep], [_output_name(model, int(j)) for j in keep]


def _lead(task: str, answers: np.ndarray) -> int:
    """The column of answers (n, o) that stands for all where only one can: of several targets the first, whose units
    are not the others'; of probabilities the one that varies most."""
    return 0 if task == "regression" else int(np.argmax(answers.var(axis=0)))


def _aligned(model: Any, answers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    answers = np.asarray(answers, dtype=np.float64)
    if model.task == "binary" and answers.ndim == 2:
        answers = answers[:, -1]
    elif model.task == "regression" and answers.ndim == 2 and answers.shape[1] == 1:
        answers = answers[:, 0]
    return answers, answers


def _dependence(
    model: Any, batch: Batch, ranked: list[str], clock: Clock, rng: np.random.Generator
) -> list[dict[str, Any]]:
    """Partial dependence of the most important columns, with the lines of single rows (ICE)."""
    most = int(np.clip(CELLS / (21 * max(len(batch.columns), 1)), 30, 250))  # rows; each is answered 21 times at once
    rows = batch.take(_sample(batch.n, most, rng))
    made: list[dict[str, Any]] = []
    for name in ranked:
        if len(made) >= DEPENDENCE or (clock.over() and made):
            break
        column = model.schema.column(name)
        points, shown = _grid(column, batch.columns[name])
        if len(points) < 2:
            continue
        tiled = rows.take(np.tile(np.arange(rows.n), len(points)))
        answers = model.answers(_with(tiled, name, np.repeat(points, rows.n)))
        values, names = _outputs(model, answers)
        cube = values.reshape(len(points), rows.n, -1)  # (g, n, o)
        own = batch.columns[name]
        ticks = np.quantile(own[np.isfinite(own)], np.linspace(0, 1, 11)) if column.kind == "number" else []
        told = {"column": name, "kind": column.kind, "grid": shown, "deciles": plain(np.asarray(ticks))}
        if model.task == "regression" and cube.shape[2] > 1:  # each target has its own units, so its own picture
            made += [{**told, "target": n, **_lines(cube[:, :, [j]], [n])} for j, n in enumerate(names)]
        else:
            made.append({**told, **_lines(cube, names)})
    return made


def _lines(cube: np.ndarray, names: list[str]) -> dict[str, Any]:
    """Means of answers (g, n, o); of a single output also the band and lines of single rows."""
    lead = cube[:, :, 0] if cube.shape[2] == 1 else None
    return {
        "outputs": [{"name": names[j], "mean": plain(cube[:, :, j].mean(axis=1))} for j in range(cube.shape[2])],
        "low": plain(np.quantile(lead, 0.1, axis=1)) if lead is not None else None,
        "high": plain(np.quantile(lead, 0.9, axis=1)) if lead is not None else None,
        "ice": plain(lead[:, :25].T) if lead is not None else [],
    }


# -- contributions ------------------------------------------------------------------------------------------------


def shapley(
    model: Any,
    batch: Batch,
    rows: np.ndarray,
    players: list[str],
    background: Batch,
    output: np.ndarray,
    rng: np.random.Generator,
    pairs: int = 5,
) -> tuple[np.ndarray, np.ndarray]:
    """Shapley values of columns by antithetic permutation sampling.

    Each of `pairs` random orders is walked forwards and backwards from a random background row to the row itself, and
    every step's change in the answer goes to the column that was set; columns not in `players` are set together as one
    more player. The values of a row add up to its answer minus its base exactly.

    Parameters
    ----------
    rows : (r,) row numbers; players : names of p columns; output : (r,) which column of the answer, -1 for 1-d answers.

    Returns
    -------
    values (r, p + 1), the last one being all other columns; base (r,) mean answer of the background rows used.
    """
    r, p = len(rows), len(players) + 1
    others = [name for name in batch.columns if name not in set(players)]
    values, base = np.zeros((r, p)), np.zeros(r)
    first = rng.integers(background.n, size=r)
    for turn in range(pairs):
        order = rng.permutation(p)
        start = (first + turn) % background.n  # every background row in turn: less noise than drawing them
        for walk in (order, order[::-1]):
            place = np.empty(p, dtype=np.int64)
            place[walk] = np.arange(p)  # step at which each player is set
            steps = np.repeat(np.arange(p + 1), r)  # (p + 1) blocks of r rows
            columns = {}
            for j, names in enumerate([*[[name] for name in players], others]):
                taken = steps > place[j]
                for name in names:
                    own, other = batch.columns[name][rows], background.columns[name][start]
                    columns[name] = np.where(taken, np.tile(own, p + 1), np.tile(other, p + 1))
            _, answers = _aligned(model, model.answers(Batch(columns, r * (p + 1))))
            if answers.ndim == 2:
                answers = answers[np.arange(len(answers)), np.tile(output, p + 1)]
            path = answers.reshape(p + 1, r)
            values[:, walk] += np.diff(path, axis=0).T
            base += path[0]
    return values / (2 * pairs), base / (2 * pairs)


def _contributions(
    model: Any, batch: Batch, y: np.ndarray, ranked: list[str], clock: Clock, rng: np.random.Generator
) -> dict[str, Any]:
    """Contributions for a few telling rows, then a summary over many."""
    if clock.left() <= 0.05:
        return {"examples": [], "summary": []}
    _, answers = _aligned(model, model.answers(batch))
    players = ranked[:PLAYERS]
    background = batch.take(_sample(batch.n, BACKGROUND, rng))
    picks = _telling(model.task, y, answers)
    rows = np.array([row for row, *_ in picks])
    output = np.array([column for *_, column in picks])
    cost = _row_seconds(model, batch) * (len(players) + 2) * 2
    pairs = int(np.clip(0.3 * clock.left() / max(cost * len(rows), 1e-12), 1, 60))
    values, base = shapley(model, batch, rows, players, background, output, rng, pairs)
    names = [*players, OTHERS] if len(players) < len(batch.columns) else players
    examples = []
    for i, (row, why, _) in enumerate(picks):
        order = np.argsort(-np.abs(values[i, : len(names)]), kind="stable")[:10]
        told = answers[row] if answers.ndim == 1 else answers[row, output[i]]
        examples.append(
            {
                "why": why,
                "output": _output_name(model, int(output[i])),
                "answer": plain(float(told)),
                "truth": _truth(model, y[row] if np.ndim(y) == 1 else y[row, int(output[i])]),
                "base": plain(float(base[i])),
                "contributions": [
                    {
                        "column": names[j],
                        "cell": _cell(model, batch, names[j], row),
                        "value": plain(float(values[i, j])),
                    }
                    for j in order
                ],
                "rest": plain(float(values[i].sum() - values[i, order].sum())),
            }
        )
    out: dict[str, Any] = {"examples": examples, "summary": []}
    left = clock.left()
    room = CELLS / (len(batch.columns) * (len(players) + 2))  # rows whose walks fit into memory at once
    size = int(min(SUMMARY, batch.n, room, 0.8 * left / max(cost * 2, 1e-12)))
    if size >= 20:
        many = _sample(batch.n, size, rng)
        column = -1 if answers.ndim == 1 else _lead(model.task, answers)
        pairs = int(np.clip(0.8 * left / (cost * size), 1, 10))
        values, _ = shapley(model, batch, many, players, background, np.full(size, column), rng, pairs)
        order = np.argsort(-np.abs(values[:, : len(players)]).mean(axis=0), kind="stable")[:12]
        out["summary_of"] = _output_name(model, column)
        out["summary"] = [
            {
                "column": players[j],
                "mean": plain(float(np.abs(values[:, j]).mean())),
                "values": plain(values[:, j].round(8)),
                "level": plain(_level(model.schema.column(players[j]), batch.columns[players[j]], many)),
            }
            for j in order
        ]
    return out


def _telling(task: str, y: np.ndarray, answers: np.ndarray) -> list[tuple[int, str, int]]:
    """A few rows worth showing: (row, why, column of the answer or -1)."""
    if task == "regression" and answers.ndim == 1:
        order = np.argsort(answers, kind="stable")
        return [
            (int(order[-1]), "the highest answer", -1),
            (int(order[len(order) // 2]), "a typical answer", -1),
            (int(order[0]), "the lowest answer", -1),
            (int(np.argmax(np.abs(answers - y))), "the largest error", -1),
        ]
    if task == "regression":
        return [(int(np.argmax(answers[:, j])), "the highest answer", j) for j in range(min(4, answers.shape[1]))]
    if task == "binary":
        order = np.argsort(answers, kind="stable")
        wrong = np.where(y == 1, 1 - answers, answers)
        return [
            (int(order[-1]), "the surest yes", -1),
            (int(order[0]), "the surest no", -1),
            (int(np.argmin(np.abs(answers - 0.5))), "the least sure answer", -1),
            (int(np.argmax(wrong)), "the worst mistake", -1),
        ]
    if task == "multiclass":
        top, said = answers.max(axis=1), answers.argmax(axis=1)
        wrong = np.where(said != y, top, -1)
        rows = [(int(np.argmax(top)), "the surest answer"), (int(np.argmin(top)), "the least sure answer")]
        if wrong.max() > 0:
            rows.append((int(np.argmax(wrong)), "the surest mistake"))
        return [(row, why, int(said[row])) for row, why in rows]
    cells = {
        "the surest yes": answers,
        "the least sure answer": -np.abs(answers - 0.5),
        "the worst mistake": np.abs(y - answers),
    }
    found = {why: np.unravel_index(int(np.argmax(values)), values.shape) for why, values in cells.items()}
    return [(int(row), why, int(label)) for why, (row, label) in found.items()]


def _output_name(model: Any, column: int) -> str:
    if model.task == "binary":
        return str(model.classes[1]) if len(model.classes) > 1 else "yes"
    if model.task == "regression":
        targets = [c.name for c in model.schema.columns if c.role == "target"]
        return targets[column] if 0 <= column < len(targets) and len(targets) > 1 else ""
    return "" if column < 0 else str(model.classes[column]) if column < len(model.classes) else f"output {column + 1}"


def _truth(model: Any, value: Any) -> Any:
    if model.task == "multilabel":
        return "yes" if value == 1 else "no"
    if model.task in ("binary", "multiclass") and int(value) < len(model.classes):
        return plain(model.classes[int(value)])
    return plain(np.asarray(value))


def _cell(model: Any, batch: Batch, name: str, row: int) -> str:
    """One cell as the user wrote it, shortened."""
    if name == OTHERS:
        return ""
    column, value = model.schema.column(name), batch.columns[name][row]
    if column.kind == "category":
        return column.levels[value][:40] if value >= 0 else "(missing)" if value == -1 else "(unseen)"
    if column.kind == "text":
        return str(value)[:40] or "(missing)"
    if not np.isfinite(value):
        return "(missing)"
    if column.kind == "date":
        return _date(value)
    if column.kind == "boolean":
        return column.levels[int(value)] if len(column.levels) == 2 else ("yes" if value else "no")
    return f"{value:,.6g}" if abs(value) < 1e6 else f"{value:,.0f}"


def _level(column: Column, values: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Where each cell lies in its column, 0 (lowest) to 1 (highest), for colours; NaN where there is no order."""
    if column.kind in ("text", "category"):
        return np.full(len(rows), np.nan)
    known = np.sort(values[np.isfinite(values)])
    own = values[rows]
    if len(known) == 0:
        return np.full(len(rows), np.nan)
    middle = (np.searchsorted(known, own, "left") + np.searchsorted(known, own, "right")) / 2
    return np.where(np.isfinite(own), middle / len(known), np.nan).round(4)


def as_shap(
    model: Any, batch: Batch, *, rows: int = 200, background: int = 100, seed: int = 0, output: int = -1
) -> Any:
    """Contributions of the raw columns from the `shap` package (its PermutationExplainer), for its plots.

    Parameters
    ----------
    batch : rows to explain; at most `rows` of them, against at most `background` of them.
    output : which column of the answer (class code); -1 takes the last.

    Returns
    -------
    shap.Explanation over raw columns (category cells are shown as their text).

    Raises
    ------
    NotInstalledError
        The package shap is missing.
    """
    from everymodel.core.optional import require

    shap = require("shap", "as_shap")
    rng = np.random.default_rng(derive(seed, "shap"))
    names = list(batch.columns)
    texts: dict[str, np.ndarray] = {}
    table = np.empty((batch.n, len(names)))
    for j, name in enumerate(names):
        values = batch.columns[name]
        if values.dtype == object:  # free text travels as a row number
            texts[name] = values
            table[:, j] = np.arange(batch.n)
        else:
            table[:, j] = values

    def answer(matrix: np.ndarray) -> np.ndarray:
        columns = {}
        for j, name in enumerate(names):
            own = batch.columns[name]
            columns[name] = texts[name][matrix[:, j].astype(int)] if name in texts else matrix[:, j].astype(own.dtype)
        _, aligned = _aligned(model, model.answers(Batch(columns, len(matrix))))
        return aligned if aligned.ndim == 1 else aligned[:, output]

    known = table[_sample(batch.n, background, rng)]
    explainer = shap.PermutationExplainer(answer, shap.maskers.Independent(known, max_samples=background), seed=seed)
    chosen = _sample(batch.n, rows, rng)
    found = explainer(table[chosen], max_evals=max(500, 2 * len(names) + 1), silent=True)
    shown = np.empty((len(chosen), len(names)), dtype=object)
    for j, name in enumerate(names):
        shown[:, j] = [_cell(model, batch, name, row) for row in chosen]
    return shap.Explanation(found.values, found.base_values, table[chosen], display_data=shown, feature_names=names)
