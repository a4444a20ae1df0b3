"""Fuzzy c-means: every row belongs to every group, to a degree."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClusterMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from everymodel.core.errors import ParameterError
from everymodel.models.cluster._lloyd import solve
from everymodel.models.cluster._rows import checked, distinct
from everymodel.scoring.steps.base import Step
from everymodel.scoring.steps.groups import Centers

CARD = {
    "name": "fuzzy_c_means",
    "title": "Fuzzy c-means",
    "summary": "Gives each row a degree of membership in each of c groups, instead of one group.",
    "choose": "Groups that pass into each other, where it matters how clearly a row belongs to one.",
    "avoid": "Long or nested groups; many columns with a fuzzifier set by hand, for all centres then coincide.",
    "gives": ["probabilities"],
    "needs": {"scaling": "standard"},
    "cost": {"scale": 1e-7, "rows_power": 1.0, "columns_power": 1.0},
    "references": [
        "Bezdek (1981), Pattern Recognition with Fuzzy Objective Function Algorithms.",
        "Schwaemmle and Jensen (2010), A simple and fast method to determine the parameters for fuzzy c-means cluster "
        "analysis. Bioinformatics 26(22).",
    ],
    "advice": ["groups", "overlapping"],
    "priority": 40,
    "parameters": {
        "n_clusters": {
            "type": "int",
            "default": 8,
            "low": 1,
            "high": 1000,
            "tune": False,
            "text": "Number of groups.",
        },
        "m": {
            "type": "float",
            "default": None,
            "low": 1.01,
            "high": 4.0,
            "tune": False,
            "text": "Fuzzifier: near 1 groups are sharp, from 2 on soft; by default from the size of the data.",
        },
    },
    "tiny": [{"n_clusters": 3, "random_state": 0}, {"n_clusters": 2, "m": 1.5, "random_state": 0}],
    "classes": {"clusterer": {"class": "everymodel.models.cluster.fuzzy_c_means:FuzzyCMeans", "tasks": ["cluster"]}},
}


def fuzzifier(n: int, p: int) -> float:
    """The fuzzifier for n rows of p columns, by the rule of Schwaemmle and Jensen (2010), at most 2.

    m = 1 + (1418 / n + 22.05) p^-2 + (12.33 / n + 0.243) p^(-0.0406 ln n - 0.1134): the smallest m for which groups are
    no longer found in noise. For few columns the rule asks for more than 2, which only blurs real groups.
    """
    rule = (1418 / n + 22.05) / p**2 + (12.33 / n + 0.243) * p ** (-0.0406 * np.log(n) - 0.1134)
    return float(min(1 + rule, 2.0))


class FuzzyCMeans(ClusterMixin, BaseEstimator):
    """Find centres v_j and memberships u_ij that make sum_ij u_ij^m ||x_i - v_j||^2 small.

    The iteration u_ij = 1 / sum_l (d_ij / d_il)^(2 / (m - 1)), v_j = sum_i u_ij^m x_i / sum_i u_ij^m starts from
    k-means centres. With too large an m, all centres run into one point, and the answer means nothing: by default m
    follows from the size of the data and is lowered while centres coincide; with an m given by hand, this is warned of.

    Parameters
    ----------
    n_clusters : number of groups, from 1 to the number of different rows.
    m : fuzzifier above 1, or "auto" (also None): see `fuzzifier`.
    max_iter : most iterations.
    tol : the iteration ends when no membership changes by more.
    random_state : seed of the k-means start.

    Attributes
    ----------
    cluster_centers_ : (k, p) · memberships_ : (n, k), rows sum to 1 · labels_ : (n,) the group of largest membership ·
    m_ : the fuzzifier used · fpc_ : partition coefficient, the mean of sum_j u_ij^2: 1 for sharp groups, 1/k where the
    memberships say nothing · coincident_ : list of pairs of groups whose centres are one point · n_iter_.

    Raises
    ------
    ParameterError : `n_clusters` is not a whole number above 0, or m not above 1.
    DataError : there are fewer (different) rows than groups.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> FuzzyCMeans(3, random_state=0).fit(load_iris().data).memberships_.shape
    (150, 3)
    """

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        m: float | str | None = "auto",
        max_iter: int = 300,
        tol: float = 1e-4,
        random_state: Any = None,
    ):
        self.n_clusters = n_clusters
        self.m = m
        self.max_iter = max_iter
        self.tol = tol
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> FuzzyCMeans:
        """Find the groups of X (n, p); y is ignored."""
        X, k = checked(self, X), int(self.n_clusters)
        auto = self.m is None or (isinstance(self.m, str) and self.m == "auto")
        good = isinstance(self.m, int | float | np.number) and not isinstance(self.m, bool) and 1 < self.m < np.inf
        if not auto and not good:
            raise ParameterError(f'm={self.m!r} is not possible: expected a number above 1, or "auto".')
        rng = np.random.default_rng(check_random_state(self.random_state).randint(2**31))
        middle = X.mean(axis=0)
        Z = X - middle
        size = float(np.abs(Z).max())
        Z /= size or 1.0
        several = len(X) > max(2000, 200 * k)  # k-means needs few rows for a start that is only improved upon
        part = Z[rng.choice(len(X), max(2000, 200 * k), replace=False)] if several else Z
        start, label, _ = solve(part.astype(np.float32), k, rng, 50, 1e-3 * float(part.var(axis=0).mean()))
        if len(np.unique(label)) < k:
            distinct(X, k)
        self.m_ = fuzzifier(*X.shape) if auto else float(self.m)  # pyright: ignore[reportArgumentType]
        while True:
            centers, self.n_iter_, moved = _iterate(Z, start, self.m_, self.max_iter, self.tol)
            self.coincident_ = _coincident(Z, centers)
            if not auto or not self.coincident_ or self.m_ < 1.05:
                break
            self.m_ = 1 + (self.m_ - 1) / 2
        if moved > self.tol:
            warnings.warn(
                f"The memberships still changed by {moved:.2g} after max_iter={self.max_iter} iterations: raise it.",
                ConvergenceWarning,
                stacklevel=2,
            )
        self.cluster_centers_ = centers * size + middle
        self.memberships_ = pack(self)(X)
        self.labels_ = self.memberships_.argmax(axis=1)
        self.fpc_ = float(np.vdot(self.memberships_, self.memberships_) / len(X))
        if self.coincident_:
            pairs = ", ".join(f"{i} and {j}" for i, j in self.coincident_[:5])
            more = f" and {len(self.coincident_) - 5} more pairs" if len(self.coincident_) > 5 else ""
            warnings.warn(
                f"The centres of groups {pairs}{more} coincide with m={self.m_:.3g} (partition coefficient "
                f"{self.fpc_:.3g}, of {1 / k:.3g} to 1): these groups are not different. Lower m "
                f'("auto" would start from {fuzzifier(*X.shape):.2f}) or ask for fewer groups.',
                ConvergenceWarning,
                stacklevel=2,
            )
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Number of the group of largest membership (n,)."""
        return self.predict_proba(X).argmax(axis=1)

    def predict_proba(self, X: Any) -> np.ndarray:
        """Membership in each group (n, k)."""
        check_is_fitted(self)
        return pack(self)(validate_data(self, X, dtype=np.float64, reset=False))


def _iterate(Z: np.ndarray, centers: np.ndarray, m: float, max_iter: int, tol: float) -> tuple[np.ndarray, int, float]:
    """(centers (k, p), iterations, last change of a membership); in float32, which centres do not notice."""
    X, c = Z.astype(np.float32), centers.astype(np.float32)
    squares = np.einsum("ij,ij->i", X, X)
    floor = np.float32(1e-12) * max(float(squares.mean()), 1e-30)
    before = np.zeros((len(c), len(X)), np.float32)  # memberships, groups first: sums over groups are quicker so
    moved, done = np.inf, 0
    while done < max_iter and moved > tol:
        moved, top, below = 0.0, np.zeros(c.shape), np.zeros(len(c))
        twice, lengths = -2.0 * c, np.einsum("ij,ij->i", c, c)[:, None]
        for start in range(0, len(X), 8192):
            here = slice(start, start + 8192)
            u = twice @ X[here].T  # (k, rows)
            u += lengths
            u += squares[here]
            np.log(np.maximum(u, floor, out=u), out=u)
            u -= u.min(axis=0)  # so that the largest power is 1
            u *= np.float32(-1 / (m - 1))
            np.exp(u, out=u)
            u /= u.sum(axis=0)
            moved = max(moved, float(np.abs(u - before[:, here]).max()))
            before[:, here] = u
            np.multiply(u, u, out=u) if m == 2.0 else np.power(u, np.float32(m), out=u)
            top += u @ X[here]
            below += u.sum(axis=1)
        c = (top / np.maximum(below, 1e-30)[:, None]).astype(np.float32)
        done += 1
    return c.astype(np.float64), done, moved


def _coincident(Z: np.ndarray, centers: np.ndarray) -> list[tuple[int, int]]:
    """Pairs of centres that are much closer to each other than rows are to their nearest centre."""
    rows = Z if len(Z) <= 2000 else Z[:: len(Z) // 2000]
    near = ((rows[:, None] - centers[None]) ** 2).sum(axis=2).min(axis=1).mean()
    gap = ((centers[:, None] - centers[None]) ** 2).sum(axis=2)
    i, j = np.nonzero(np.triu(gap < 1e-3 * near, 1))
    return [(int(a), int(b)) for a, b in zip(i, j)]


def pack(model: Any) -> Step:
    """The fitted model as a scoring step."""
    return Centers(np.asarray(model.cluster_centers_), kind="fuzzy", fuzzifier=float(model.m_))
