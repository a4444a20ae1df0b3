"""Splitting rows into a part to learn from and a part that is touched once, and the first into folds.

Row numbers count the usable rows (those with a target). Every way of splitting keeps one promise: what must not be
shared between the parts (groups, the future) is not shared between folds either.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from everymodel.core import seeds
from everymodel.core.errors import DataError, ParameterError
from everymodel.core.schema import Column
from everymodel.workflow.types import Split, Understanding

if TYPE_CHECKING:
    import pandas as pd

Folds = list[tuple[np.ndarray, np.ndarray]]

_TEST_WORDS = {"test", "testing", "holdout", "hold-out", "true", "1.0"}
_TRAIN_WORDS = {"train", "training", "fit", "false", "learn"}
_VALID_WORDS = {"valid", "validation", "val", "dev"}
LEAST = 10  # rows to learn from, or half of them where there are fewer than twice as many
_MANY_GROUPS = 20_000  # beyond this, chance balances folds well enough


def split(
    understanding: Understanding,
    frame: pd.DataFrame,
    *,
    test_size: float = 0.2,
    seed: int = 0,
    group: str | None = None,
    time: str | None = None,
    column: str | None = None,
    folds: int | None = None,
) -> Split:
    """Choose test rows and folds by the user's column, by group and time, or at random and stratified.

    Parameters
    ----------
    understanding, frame : what `understand` gave for the frame; rows without a target are left out.
    test_size : share of rows kept for the one test, 0 (none) to below 1.
    group, time, column : column names; where None, the schema's roles "group", "time" and "split" are used.
    folds : number of validation folds; None: 5.

    Raises
    ------
    ParameterError for an impossible test_size or column, DataError where there are too few rows or groups.
    """
    if not 0 <= test_size < 1:
        raise ParameterError(
            f"test_size={test_size!r} is not a share: expected 0 (no test part) up to, not including, 1."
        )
    if folds is not None and folds < 2:
        raise ParameterError(f"folds={folds!r} is too few: expected at least 2.")
    made = _split(understanding, frame, test_size, seed, group, time, column, folds)
    if len(made.test) and made.kind != "column":
        _check_left(understanding, frame, made, test_size)
    return made


def _check_left(understanding: Understanding, frame: pd.DataFrame, made: Split, share: float) -> None:
    """Raise ParameterError where the test part leaves too little to learn from."""
    strata = _strata(understanding, frame[np.asarray(understanding.keep, bool)])
    n, left = len(strata), len(made.train)
    classes = 0
    if understanding.schema.task in ("binary", "multiclass") and made.kind not in ("group", "time"):
        classes = int((np.bincount(strata) > 1).sum())
        shown = int((np.bincount(strata[made.train]) > 1).sum())
        few = shown < min(classes, 2)
    else:
        few = False
    if few or left < min(LEAST, n // 2):
        of = f" of {classes} classes" if classes else ""
        raise ParameterError(
            f"test_size={share:g} keeps {len(made.test):,} of {n:,} rows for the test and leaves {left:,}{of} to learn "
            f"from, which is too few. Give a smaller share, such as {0.2 if share > 0.2 else 0}."
        )


def _split(
    understanding: Understanding,
    frame: pd.DataFrame,
    test_size: float,
    seed: int,
    group: str | None,
    time: str | None,
    column: str | None,
    folds: int | None,
) -> Split:
    schema = understanding.schema
    roles = {c.role: c.name for c in schema.columns}
    group, time, column = group or roles.get("group"), time or roles.get("time"), column or roles.get("split")
    for name, given in (("group", group), ("time", time), ("split", column)):
        if given is not None and given not in frame.columns:
            raise ParameterError(f"{name}={given!r} is not a column. The table has: {', '.join(map(str, frame)):.300}.")
    keep = np.asarray(understanding.keep, bool)
    rows = frame[keep]
    n = len(rows)
    if n < 2:
        raise DataError(f"{n} rows can be learned from; at least 2 are needed to train and to validate.")
    strata = _strata(understanding, rows)
    if column is not None:
        return _by_column(rows[column], strata, folds, seed)
    if time is not None:
        moments = _moments(rows[time], time, next((c for c in schema.columns if c.name == time), None))
        if group is not None:
            codes = _group_codes(rows[group])
            made = _by_group_and_time(codes, moments, strata, test_size, folds, seed, group, time)
            return replace(made, note=made.note + _ungrouped(rows[group], group))
        return _by_time(moments, test_size, folds, time)
    if group is not None:
        made = _by_group(_group_codes(rows[group]), strata, test_size, folds, seed, group)
        return replace(made, note=made.note + _ungrouped(rows[group], group))
    test = stratified_part(strata, test_size, seeds.derive(seed, "split", "test"))
    train = np.setdiff1d(np.arange(n), test)
    parts = stratified_folds(strata[train], _count(folds, len(train)), seeds.derive(seed, "split", "folds"))
    kind = "random" if strata.max(initial=0) == 0 else "stratified"
    return Split(kind, train, test, parts, _note(kind, n, train, test))


def stratified_part(strata: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Sorted rows (share of n) in which every stratum has its share; strata of one row are never taken."""
    n = len(strata)
    total = round(share * n)
    if share > 0 and n >= 2:
        total = min(max(total, 1), n - 1)
    if total == 0:
        return np.zeros(0, np.int64)
    counts = np.bincount(strata)
    exact = np.where(counts > 1, counts * (total / n), 0.0)
    take = np.minimum(np.floor(exact).astype(int), np.maximum(counts - 1, 0))
    rest = exact - take
    for c in np.argsort(-rest, kind="stable")[: max(0, total - take.sum())]:
        if counts[c] - take[c] > 1:
            take[c] += 1
    order = _shuffled_within(strata, seed)
    position = np.arange(n) - np.repeat(np.cumsum(counts) - counts, counts)  # place of each sorted row in its stratum
    chosen = order[position < np.repeat(take, counts)]
    if not len(chosen):  # nothing but strata of one row
        chosen = np.random.default_rng(seed).choice(n, total, replace=False)
    return np.sort(chosen)


def stratified_folds(strata: np.ndarray, folds: int, seed: int) -> Folds:
    """Rows dealt out like cards, stratum after stratum, so that each fold gets its share even of rare strata."""
    n = len(strata)
    place = np.empty(n, np.int64)
    place[_shuffled_within(strata, seed)] = np.arange(n) % folds
    return _from_places(place, folds)


def _from_places(place: np.ndarray, folds: int) -> Folds:
    made = [(np.flatnonzero(place != i), np.flatnonzero(place == i)) for i in range(folds)]
    return [(fit, valid) for fit, valid in made if len(fit) and len(valid)]


def _shuffled_within(strata: np.ndarray, seed: int) -> np.ndarray:
    return np.lexsort((np.random.default_rng(seed).random(len(strata)), strata))


def _count(folds: int | None, n: int) -> int:
    return min(folds if folds is not None else 5, n)


def _note(kind: str, n: int, train: np.ndarray, test: np.ndarray, more: str = "") -> str:
    if not len(test):
        head = f"All {len(train):,} rows are trained on, so the score is a cross-validated one."
    else:
        head = f"{len(train):,} rows to learn from, {len(test):,} kept for one test ({kind})."
    lost = n - len(train) - len(test)
    if lost:
        more = f"{more} {lost:,} rows are used by neither part, so that nothing is shared.".strip()
    return f"{head} {more}".strip()


def _strata(understanding: Understanding, rows: pd.DataFrame) -> np.ndarray:
    """(n,) int: the class, or the tenth of the target in which a row lies; all 0 where neither makes sense."""
    schema, n = understanding.schema, len(rows)
    target = schema.target
    if target is None or target.name not in rows.columns or schema.task == "multilabel":
        return np.zeros(n, np.int64)
    import pandas as pd

    if schema.task == "regression":
        values = pd.to_numeric(rows[target.name], errors="coerce").to_numpy(float, na_value=np.nan)
        if n < 50 or not np.isfinite(values).mean() > 0.9:
            return np.zeros(n, np.int64)
        edges = np.unique(np.nanquantile(np.where(np.isfinite(values), values, np.nan), np.linspace(0.1, 0.9, 9)))
        return np.searchsorted(edges, np.nan_to_num(values), side="left").astype(np.int64)
    return pd.factorize(rows[target.name].astype(str).str.strip(), sort=True)[0].astype(np.int64)


def _group_codes(values: Any) -> np.ndarray:
    """(n,) int; a missing group is a group of its own. Cells are told apart as everywhere else, by canonical text."""
    from everymodel.scoring.cells import as_text

    words = as_text(values)
    _, codes = np.unique(words.astype(str), return_inverse=True)
    codes = codes.reshape(-1).astype(np.int64)
    alone = words == ""
    codes[alone] = codes.max(initial=0) + 1 + np.arange(alone.sum())
    return codes


def _moments(values: Any, name: str, column: Column | None) -> np.ndarray:
    """(n,) float: seconds or plain numbers, read as understanding read the column; missing ones become the earliest."""
    import pandas as pd

    from everymodel.scoring import cells

    known = column is not None and column.kind in ("number", "date") and not hasattr(values, "dt")
    if pd.api.types.is_numeric_dtype(values):
        moments, bad = values.to_numpy(float, na_value=np.nan), np.zeros(len(values), bool)
    elif known and column is not None and column.kind == "number":
        moments, bad = cells.to_numbers(values, column.decimal, column.thousands, column.percent)
    else:
        moments, bad = cells.to_dates(values, column.date_format if known and column is not None else None)
    if np.mean(bad) > (0.5 if known else 0.05):  # what understanding took for dates has its odd cells reported there
        raise ParameterError(
            f"time={name!r} holds no dates or numbers (for example {values[bad].iloc[0]!r}). Write them as 2024-12-31 "
            "or as numbers, or split another way."
        )
    if not np.isfinite(moments).any():
        raise ParameterError(f"time={name!r} is empty, so rows cannot be put in order of time.")
    return np.where(np.isfinite(moments), moments, -np.inf)


def _undated(moments: np.ndarray, name: str) -> str:
    count = int(np.isneginf(moments).sum())
    return f" Rows without a readable {name!r} count as the earliest: {count:,}." if count else ""


def _ungrouped(values: Any, name: str) -> str:
    from everymodel.scoring.cells import as_text

    count = int((as_text(values) == "").sum())
    return f" Rows without {name!r} are a group of their own each: {count:,}." if count else ""


def _border(moments: np.ndarray, share: float) -> float:
    """The moment at which the last `share` of rows begins; rows of one moment stay together."""
    ordered = np.sort(moments)
    n = len(ordered)
    at = min(max(round((1 - share) * n), 1), n - 1)
    border = ordered[at]
    if border == ordered[0]:  # the first moment has so many rows that the part before the border would be empty
        later = ordered[ordered > border]
        if not len(later):
            raise DataError("All rows have the same time, so no later part can be split off. Split another way.")
        border = later[0]
    return float(border)


def _by_time(moments: np.ndarray, share: float, folds: int | None, name: str) -> Split:
    n = len(moments)
    order = np.argsort(moments, kind="stable")
    if share > 0:
        border = _border(moments, share)
        train, test = order[moments[order] < border], order[moments[order] >= border]
    else:
        train, test = order, np.zeros(0, np.int64)
    train = np.sort(train)
    parts = _forward(moments[train], _count(folds, len(train)))
    more = f"The test part is the latest by {name!r}, and each fold is validated on what came after it."
    more += _undated(moments, name)
    return Split("time", train, np.sort(test), parts, _note("time", n, train, test, more))


def _forward(moments: np.ndarray, folds: int) -> Folds:
    """Expanding windows: learn from the first blocks, validate on the next; equal moments stay together."""
    ordered = np.sort(moments)
    n = len(ordered)
    edges = np.unique([ordered[i * n // (folds + 1)] for i in range(1, folds + 1)])
    made = []
    for i, edge in enumerate(edges):
        end = edges[i + 1] if i + 1 < len(edges) else np.inf
        fit, valid = np.flatnonzero(moments < edge), np.flatnonzero((moments >= edge) & (moments < end))
        if len(fit) and len(valid):
            made.append((fit, valid))
    if not made:
        raise DataError(
            "All rows to learn from have the same time: there is nothing to validate on. Split another way."
        )
    return made


def _deal_groups(groups: np.ndarray, strata: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """(n,) fold of each row: whole groups, largest first, each to the fold that stays most even in rows and classes."""
    _, codes = np.unique(groups, return_inverse=True)
    n_groups, k = codes.max() + 1, strata.max() + 1
    rng = np.random.default_rng(seed)
    sizes = np.bincount(codes)
    order = np.lexsort((rng.random(n_groups), -sizes))
    fold_of = np.empty(n_groups, np.int64)
    if n_groups > _MANY_GROUPS:
        fold_of[order] = np.arange(n_groups) % folds
        return fold_of[codes]
    flat = np.bincount(codes * k + strata, minlength=n_groups * k).reshape(n_groups, k)
    weight = 1.0 / np.maximum(np.bincount(strata, minlength=k), 1)  # rare classes count as much as common ones
    filled, rows = np.zeros((folds, k)), np.zeros(folds)
    for g in order:
        after = filled + flat[g]  # (folds, k): what each fold would hold
        uneven = ((after**2 - filled**2) * weight**2).sum(1) * k + ((rows + sizes[g]) ** 2 - rows**2) / len(codes) ** 2
        best = int(np.argmin(uneven))
        filled[best] += flat[g]
        rows[best] += sizes[g]
        fold_of[g] = best
    return fold_of[codes]


def _by_group(groups: np.ndarray, strata: np.ndarray, share: float, folds: int | None, seed: int, name: str) -> Split:
    n, n_groups = len(groups), len(np.unique(groups))
    if n_groups < (3 if share > 0 else 2):
        raise DataError(
            f"group={name!r} has {n_groups} different values; at least 3 are needed to train, validate and test."
        )
    test = np.zeros(0, np.int64)
    if share > 0:
        pieces = min(max(round(1 / share), 2), n_groups)
        place = _deal_groups(groups, strata, pieces, seeds.derive(seed, "split", "test"))
        wanted = max(1, round(share * pieces))
        test = np.flatnonzero(place < wanted)
    train = np.setdiff1d(np.arange(n), test)
    inner = len(np.unique(groups[train]))
    if inner < 2:
        raise DataError(f"group={name!r}: one group holds nearly all rows; nothing is left to validate on.")
    count = min(_count(folds, len(train)), inner)
    place = _deal_groups(groups[train], strata[train], count, seeds.derive(seed, "split", "folds"))
    more = f"No value of {name!r} is in two parts."
    return Split("group", train, test, _from_places(place, count), _note("group", n, train, test, more))


def _by_group_and_time(
    groups: np.ndarray,
    moments: np.ndarray,
    strata: np.ndarray,
    share: float,
    folds: int | None,
    seed: int,
    group: str,
    time: str,
) -> Split:
    n = len(groups)
    train, test = np.arange(n), np.zeros(0, np.int64)
    if share > 0:
        train, test = _later_groups(groups, moments, share, seed)
        if not len(train) or not len(test):
            raise DataError(
                f"group={group!r} and time={time!r} cannot both be kept apart here: no group begins after the others' "
                "rows. Give one of them only."
            )
    count, parts = _count(folds, len(train)), []
    for i in range(1, count + 1):  # the last groups by their beginning, then the last but one part, ...
        inside = train if not parts else train[parts[-1][0]]
        fit, valid = _later_groups(groups[inside], moments[inside], 1 / (count - i + 2), seed)
        if not len(fit) or not len(valid) or len(np.unique(strata[inside[fit]])) < min(2, len(np.unique(strata))):
            break
        where = np.searchsorted(train, inside)
        parts.append((where[fit], where[valid]))
    parts.reverse()
    if not parts:
        place = _deal_groups(groups[train], strata[train], count, seeds.derive(seed, "split", "folds"))
        parts = _from_places(place, count)
    more = f"No value of {group!r} is in two parts, and what is tested comes later by {time!r}."
    more += _undated(moments, time)
    return Split("group+time", train, test, parts, _note("group and time", n, train, test, more))


def _later_groups(groups: np.ndarray, moments: np.ndarray, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(earlier rows, later rows) that share no group; rows that fit neither side are dropped."""
    _, codes = np.unique(groups, return_inverse=True)
    start = np.full(codes.max() + 1, np.inf)
    np.minimum.at(start, codes, moments)
    sizes = np.bincount(codes)
    order = np.argsort(start, kind="stable")
    later = order[np.cumsum(sizes[order][::-1])[::-1] <= max(share * len(groups), sizes[order[-1]])]
    if len(later):
        border = start[later].min()
        chosen = np.isin(codes, later)
        earlier = np.flatnonzero(~chosen & (moments < border))
        if len(earlier) >= 0.3 * (1 - share) * len(groups):
            return earlier, np.flatnonzero(chosen)
    # A panel (every group runs through all of the time): new groups, in the late part, against the others' early part.
    if moments.min() == moments.max():
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    border = _border(moments, share)
    lot = np.random.default_rng(seeds.derive(seed, "split", "panel")).permutation(len(start))
    taken = lot[: max(1, round(share * len(start)))]
    chosen = np.isin(codes, taken)
    return np.flatnonzero(~chosen & (moments < border)), np.flatnonzero(chosen & (moments >= border))


def _by_column(values: Any, strata: np.ndarray, folds: int | None, seed: int) -> Split:
    """Words (train, test, validation), true/false (true = test) or fold names."""
    from everymodel.scoring.cells import as_text

    n, name = len(values), values.name
    words = np.array([str(w).strip().lower() for w in as_text(values)])
    distinct = set(words.tolist()) - {""}
    test = np.isin(words, list(_TEST_WORDS)) if distinct & (_TEST_WORDS - {"1.0"}) else np.zeros(n, bool)
    valid = np.isin(words, list(_VALID_WORDS))
    if distinct == {"0", "1"}:  # the usual flag
        test = words == "1"
    others = distinct - _TEST_WORDS - _TRAIN_WORDS - _VALID_WORDS - ({"0", "1"} if distinct == {"0", "1"} else set())
    train = np.flatnonzero(~test)
    if len(others) > 50:
        raise ParameterError(
            f"split={name!r} has {len(others)} different values; expected train/test/validation, true/false or up to "
            "50 fold names."
        )
    if not len(train):
        raise DataError(f"split={name!r} marks every row as test: nothing is left to learn from.")
    parts: Folds = []
    more = ""
    if valid.any():
        here = valid[train]
        parts = [(np.flatnonzero(~here), np.flatnonzero(here))]
    elif len(others) >= 2:
        inside = words[train]
        parts = [(np.flatnonzero(inside != w), np.flatnonzero(inside == w)) for w in sorted(others)]
        more = f"Its {len(others)} other values are the folds."
    parts = [(fit, check) for fit, check in parts if len(fit) and len(check)]
    if not parts:
        parts = stratified_folds(strata[train], _count(folds, len(train)), seeds.derive(seed, "split", "folds"))
    rows = np.flatnonzero(test)
    unmarked = int((words == "").sum())
    if others and not more:
        more = f"Rows marked {', '.join(map(repr, sorted(others)[:3]))} are learned from."
    if unmarked:
        more += f" Rows without a mark in {name!r} are learned from: {unmarked:,}."
    return Split("column", train, rows, parts, _note(f"by the column {name!r}", n, train, rows, more.strip()))
