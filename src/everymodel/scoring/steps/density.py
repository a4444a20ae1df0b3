"""Steps that give a row to the dense region around it, or to none: the last column is that of noise.

A row of a group gets at least 0.5 in that group's column, a row of noise less than 0.5 in every group's.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from everymodel.scoring.steps._nearest import Search
from everymodel.scoring.steps.base import Step, need, step

_BELOW_HALF = 0.4999  # the most that a row of noise has of a group


def _columns(group: np.ndarray, share: np.ndarray, k: int) -> np.ndarray:
    """(n, k + 1): each row's `share` (n,) in the column of its `group` (n,), where it has one, the rest in the last."""
    out = np.zeros((len(group), k + 1))
    some = group >= 0
    out[some, group[some]] = share[some]
    out[:, k] = 1.0 - np.where(some, share, 0.0)
    return out


def _outside(limit: np.ndarray, distance: np.ndarray) -> np.ndarray:
    """The share in its nearest group of a row that lies `distance` (n,) away, further than `limit` (n,)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(distance > 0, np.minimum(0.5 * limit / distance, _BELOW_HALF), _BELOW_HALF)


def _check_rows(rows: np.ndarray, group: np.ndarray, limit: np.ndarray) -> None:
    need(rows.ndim == 2 and rows.shape[1] > 0 and rows.dtype.kind == "f", "the rows are not a matrix of floats")
    need(bool(np.isfinite(rows).all()), "the rows are not finite")
    need(group.shape == rows.shape[:1] and group.dtype.kind == "i", "the rows' groups do not fit")
    need(limit.ndim == 1 and limit.dtype.kind == "f" and bool((limit >= 0).all()), "the groups' limits do not fit")
    need(bool(((group >= -1) & (group < len(limit))).all()), "a row's group does not exist")
    need(bool(np.isfinite(limit).all()), "a group's limit is not finite")


class _Searches(Step):
    """Plumbing: finds the nearest of the step's rows; what that needs is worked out once."""

    holds_rows: ClassVar[bool] = True
    rows: np.ndarray

    def _nearest(self, X: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        search = self.__dict__.get("_search")
        if search is None:  # two threads may both make it: they get equal ones
            search = Search(self.rows)
            object.__setattr__(self, "_search", search)
        return search.nearest(X, k)


@step("nearest_group", output="probabilities")
class NearestGroup(_Searches):
    """matrix (n, p) -> memberships (n, k + 1): the group of the nearest row, if that is within the group's limit.

    rows (m, p); group (m,) their groups, -1 for noise; limit (k,) the distance up to which a row joins a group.
    At distance d of a limit e the group gets 1 - d / 2e, from 1 at the row itself to 0.5 at the limit; beyond it
    e / 2d. The rest is noise. Where the nearest row is noise, so is the whole answer.
    """

    rows: np.ndarray
    group: np.ndarray
    limit: np.ndarray

    def __call__(self, X: np.ndarray) -> np.ndarray:
        need(X.ndim == 2 and X.shape[1] == self.rows.shape[1], f"the groups need {self.rows.shape[1]} features")
        k = len(self.limit)
        if not len(self.rows) or not k:
            return _columns(np.full(len(X), -1), np.zeros(len(X)), k)
        distance, number = self._nearest(X, 1)
        d, group = distance[:, 0], self.group[number[:, 0]]
        limit = self.limit[group]
        inside = d <= limit
        with np.errstate(divide="ignore", invalid="ignore"):
            share = np.where(inside, 1.0 - np.where(d > 0, 0.5 * d / limit, 0.0), _outside(limit, d))
        return _columns(group, share, k)

    def check(self) -> None:
        _check_rows(self.rows, self.group, self.limit)


@step("reachability", output="probabilities")
class Reachability(_Searches):
    """matrix (n, p) -> memberships (n, k + 1) in groups cut from a tree of mutual reachability (HDBSCAN).

    rows (m, p); reach (m,) the distance to the last of each row's `neighbors` nearest rows, where the row itself and a
    new one are two of them; group (m,), -1 for noise; leave (m,) the distance below which a row no longer hangs
    together with its group; limit (k,) the distance at which a group parts from the others; full (k,) the distance at
    which its densest rows leave.

    A new row x is tied to the row j of a group for which r = max(reach of x, reach of j, |x - j|) is least, and belongs
    to j's group if r is below the limit. It leaves it at l = max(r, leave of j): the group gets (1 + full / l) / 2,
    from 1 in its core to 0.5 at its edge. Noise has limit / 2r of the nearest group among the rows that were asked.
    A row equal to one of `rows` is taken to be that row.
    """

    rows: np.ndarray
    reach: np.ndarray
    group: np.ndarray
    leave: np.ndarray
    limit: np.ndarray
    full: np.ndarray
    neighbors: int

    def __call__(self, X: np.ndarray) -> np.ndarray:
        need(X.ndim == 2 and X.shape[1] == self.rows.shape[1], f"the groups need {self.rows.shape[1]} features")
        k = len(self.limit)
        if not k:
            return _columns(np.full(len(X), -1), np.zeros(len(X)), 0)
        r, j, same = self._tie(np.asarray(X, dtype=np.float64))
        tied = j >= 0
        group = np.where(tied, self.group[j], -1)
        limit, full = self.limit[group], self.full[group]
        leave = np.maximum(r, self.leave[j])
        inside = tied & (r < limit)
        known = same >= 0
        if known.any():
            row = same[known]
            member = self.group[row] >= 0
            inside[known] = member
            group[known] = np.where(member, self.group[row], group[known])
            leave[known] = self.leave[row]
            full = self.full[group]
        with np.errstate(divide="ignore", invalid="ignore"):
            share = np.where(inside, 0.5 + 0.5 * np.where(leave > full, full / leave, 1.0), _outside(limit, r))
        return _columns(group, share, k)

    def _tie(self, X: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(n,) each: the distance r, the row j (-1: none that matters) and the row equal to x (-1: none)."""
        n, m, far = len(X), len(self.rows), self.limit.max()
        r, j, same = np.full(n, np.inf), np.full(n, -1), np.full(n, -1)
        own = np.empty(n)
        todo, ask = np.arange(n), min(max(self.neighbors, 8), m)
        while len(todo):
            distance, number = self._nearest(X[todo], ask)
            if len(todo) == n:
                equal = distance[:, 0] == 0.0
                same[equal] = number[equal, 0]
                # x counts itself among its neighbours, in the place of the row that it equals if there is one
                own[:] = distance[:, max(self.neighbors - 2, 0)] if self.neighbors > 1 else 0.0
                own[equal] = distance[equal, self.neighbors - 1]
            tie = np.where(self.group[number] >= 0, np.maximum(distance, self.reach[number]), np.inf)
            best = tie.argmin(axis=1)  # the first, hence the closest, of equal ones
            least = tie[np.arange(len(todo)), best]
            r[todo] = np.maximum(least, own[todo])
            j[todo] = np.where(np.isfinite(least), number[np.arange(len(todo)), best], -1)
            # rows not asked for are at least as far as the last one
            edge = distance[:, -1]
            todo = todo[(least > edge) & (edge < far) & (own[todo] < far)] if ask < m else todo[:0]
            ask = min(4 * ask, m)
        return r, j, same

    def check(self) -> None:
        _check_rows(self.rows, self.group, self.limit)
        for array in (self.reach, self.leave):
            need(array.shape == self.group.shape and array.dtype.kind == "f", "the rows' distances do not fit")
            need(bool((array >= 0).all()), "the rows' distances are below zero")
        need(self.full.shape == self.limit.shape and self.full.dtype.kind == "f", "the groups' distances do not fit")
        need(bool((self.full >= 0).all() and np.isfinite(self.full).all()), "the groups' distances are not finite")
        good = isinstance(self.neighbors, int) and not isinstance(self.neighbors, bool)
        need(good and self.neighbors >= 1, f"there are no {self.neighbors!r} neighbours")
        need(not len(self.limit) or self.neighbors <= len(self.rows), "there are fewer rows than neighbours")
