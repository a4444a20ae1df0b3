"""HDBSCAN: groups of any shape and density, cut from the tree of all densities; rows outside of them are noise."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClusterMixin
from sklearn.utils.validation import validate_data

from everymodel.core.errors import ParameterError
from everymodel.models._answers import GroupsAndNoise
from everymodel.models.cluster._density import measurable, spanning_tree
from everymodel.scoring.steps.base import Step
from everymodel.scoring.steps.density import Reachability

CARD = {
    "name": "hdbscan",
    "title": "HDBSCAN",
    "summary": "Finds the regions that stay together longest as the density asked for rises; other rows are noise.",
    "choose": "Groups of unequal shape, size and density among noise, when their number is not known.",
    "avoid": "Overlapping groups, which it calls noise, and more rows than its time, which grows with their square.",
    "gives": ["probabilities", "noise"],
    "needs": {"scaling": "standard", "max_rows": 50000},
    "cost": {"scale": 1.1e-8, "rows_power": 1.75, "columns_power": 0.67},
    "references": [
        "Campello, Moulavi and Sander (2013), Density-based clustering based on hierarchical density estimates. PAKDD.",
        "Campello, Moulavi, Zimek and Sander (2015), Hierarchical density estimates for data clustering, "
        "visualization, and outlier detection. ACM TKDD 10(1).",
        "Malzer and Baum (2020), A hybrid approach to hierarchical density-based cluster selection. IEEE MFI.",
    ],
    "advice": ["groups", "irregular", "outliers"],
    "priority": 30,
    "parameters": {
        "min_cluster_size": {
            "type": "int",
            "default": 5,
            "low": 2,
            "high": 100000,
            "log": True,
            "text": "Fewest rows that count as a group.",
        },
        "min_samples": {
            "type": "int",
            "default": None,
            "low": 1,
            "high": 1000,
            "log": True,
            "text": "Neighbours, itself counted, that density is measured by: more call more rows noise. By default as "
            "many as the smallest group has rows.",
        },
        "cluster_selection_method": {
            "type": "choice",
            "default": "eom",
            "choices": ["eom", "leaf"],
            "text": "'eom' takes the groups that last longest, 'leaf' the smallest ones.",
        },
        "cluster_selection_epsilon": {
            "type": "float",
            "default": 0.0,
            "low": 0.0,
            "high": 1e12,
            "tune": False,
            "text": "Groups that part below this distance stay one.",
        },
        "allow_single_cluster": {
            "type": "bool",
            "default": False,
            "tune": False,
            "text": "Whether all rows may be one group.",
        },
    },
    "presets": [{"min_cluster_size": 15, "min_samples": 5}, {"min_cluster_size": 50, "min_samples": 10}],
    "tiny": [{}, {"min_cluster_size": 8, "min_samples": 3, "cluster_selection_method": "leaf"}],
    "classes": {"clusterer": {"class": "everymodel.models.cluster.hdbscan:HDBSCAN", "tasks": ["cluster"]}},
}


class HDBSCAN(GroupsAndNoise, ClusterMixin, BaseEstimator):
    """Find groups that persist over many levels of density (Campello et al. 2013), and place new rows.

    Rows i and j are max(reach_i, reach_j, |x_i - x_j|) apart, a row's reach being the distance to its `min_samples`-th
    nearest row, itself counted. Cutting the minimum spanning tree of these distances from the longest edge down, a
    group splits where both sides have at least `min_cluster_size` rows, and else loses rows. Of all groups those are
    taken whose stability, the sum over their rows of 1 / (distance at which the row leaves) - 1 / (distance at which
    the group appears), is larger than that of the groups inside them. Groups are those of scikit-learn's HDBSCAN; the
    tree is grown by Boruvka's method, 2 to 5 times as fast.

    A new row is tied to the closest row of a group, by the same distance, the new row counted among the neighbours,
    and joins that group if they are closer than the distance at which the group appears; confidence is
    (1 + probability) / 2. Rows of the fit keep their label.

    Parameters
    ----------
    min_cluster_size : fewest rows of a group, at least 2.
    min_samples : neighbours by which density is measured, at least 1; None for `min_cluster_size`.
    cluster_selection_method : "eom" (most stable groups) or "leaf" (smallest groups).
    cluster_selection_epsilon : groups that part below this distance stay one.
    allow_single_cluster : whether all rows may be one group.

    Attributes
    ----------
    labels_ (n,) : -1 is noise. probabilities_ (n,) : 1 for the densest rows of a group, falling to its edge, 0 for
    noise: (least distance at which rows of the group leave) / (distance at which this one does). persistence_ (k,) :
    share of the range of density over which rows of the group, on average, hung together, from 0 to 1.
    tree_ : dict of arrays, the spanning tree: ends (n - 1, 2), length (n - 1,).

    Examples
    --------
    >>> from everymodel import HDBSCAN
    >>> HDBSCAN(min_cluster_size=2).fit([[0.0], [0.1], [5.0], [5.1], [40.0]]).labels_.tolist()
    [0, 0, 1, 1, -1]
    """

    def __init__(
        self,
        min_cluster_size: int = 5,
        min_samples: int | None = None,
        cluster_selection_method: str = "eom",
        cluster_selection_epsilon: float = 0.0,
        allow_single_cluster: bool = False,
    ):
        self.min_cluster_size = min_cluster_size
        self.min_samples = min_samples
        self.cluster_selection_method = cluster_selection_method
        self.cluster_selection_epsilon = cluster_selection_epsilon
        self.allow_single_cluster = allow_single_cluster

    def fit(self, X: Any, y: Any = None) -> HDBSCAN:
        """Find the groups of X (n, p); y is ignored.

        Raises
        ------
        ParameterError : for parameters outside of their range.
        """
        size = self.min_cluster_size
        neighbors = size if self.min_samples is None else self.min_samples
        for name, value, low in (("min_cluster_size", size, 2), ("min_samples", neighbors, 1)):
            if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < low:
                raise ParameterError(f"{name}={value!r} is not possible: expected a whole number of at least {low}.")
        if self.cluster_selection_method not in ("eom", "leaf"):
            raise ParameterError(
                f"cluster_selection_method={self.cluster_selection_method!r} is unknown: expected 'eom' or 'leaf'."
            )
        if not self.cluster_selection_epsilon >= 0:
            raise ParameterError(
                f"cluster_selection_epsilon={self.cluster_selection_epsilon!r} is not possible: expected 0 or more."
            )
        X = measurable(validate_data(self, X, dtype=np.float64))
        n = len(X)
        self._rows, self._neighbors = X, int(neighbors)
        if n < max(size, neighbors, 2):
            what = f"min_cluster_size={size}" if n < size else f"min_samples={neighbors}"
            warnings.warn(f"There are {n} rows, too few for {what}: all of them are noise.", stacklevel=2)
            self.tree_ = {"ends": np.zeros((0, 2), dtype=np.int64), "length": np.zeros(0)}
            self._reach = self._leave = np.zeros(n)
            self._neighbors = min(self._neighbors, n)
            chosen, self.labels_ = _Groups.none(n)
        else:
            ends, length, _, self._reach = spanning_tree(X, self._neighbors)
            self.tree_ = {"ends": ends, "length": length}
            tree = _condense(n, ends, length, int(size))
            self._leave = tree.leave
            chosen, self.labels_ = _choose(
                tree, self.cluster_selection_method, float(self.cluster_selection_epsilon), self.allow_single_cluster
            )
        self._limit, self._full, self.persistence_ = chosen.limit, chosen.full, chosen.persistence
        self.probabilities_ = np.zeros(n)
        member = self.labels_ >= 0
        full, leave = self._full[self.labels_[member]], self._leave[member]
        self.probabilities_[member] = np.where(leave > full, full / np.maximum(leave, 1e-300), 1.0)
        return self

    def _step(self) -> Step:
        return pack(self)


@dataclass
class _Groups:
    """What is kept of the chosen groups, (k,) each; see `scoring.steps.density.Reachability`."""

    limit: np.ndarray
    full: np.ndarray
    persistence: np.ndarray

    @staticmethod
    def none(n: int) -> tuple[_Groups, np.ndarray]:
        return _Groups(np.zeros(0), np.zeros(0), np.zeros(0)), np.full(n, -1)


@dataclass
class _Tree:
    """The condensed tree. Groups are numbered from the root, 0, down: a group comes after the one it parts from."""

    home: np.ndarray  # (n,) the smallest group that each row was in
    leave: np.ndarray  # (n,) the distance at which it left that one
    parent: np.ndarray  # (g,) -1 for the root
    appears: np.ndarray  # (g,) distance at which the group parts from its parent; infinite for the root
    size: np.ndarray  # (g,)


def _condense(n: int, ends: np.ndarray, length: np.ndarray, least: int) -> _Tree:
    """Cut the spanning tree from the longest edge down; parts of fewer than `least` rows are rows that leave.

    Reachability has many ties, and the tree is then one of several: what comes out is the same for all of them.
    """
    order = np.argsort(length, kind="stable")
    length = length[order]
    first, second, size = _merges(n, ends[order])
    group, fallen = np.full(2 * n - 1, -1), np.full(2 * n - 1, -1.0)  # of every node; fallen: where it left, or -1
    group[2 * n - 2] = 0
    parent, appears, sizes = [-1], [np.inf], [n]
    for node in range(2 * n - 2, n - 1, -1):
        g, d = int(group[node]), float(length[node - n])
        if g < 0:  # taken apart with the node above
            continue
        if fallen[node] >= 0:
            for child in (first[node - n], second[node - n]):
                group[child], fallen[child] = g, fallen[node]
            continue
        parts, todo = [], [node]
        while todo:  # edges of one length are cut at once: their order means nothing
            at = todo.pop()
            for child in (first[at - n], second[at - n]):
                (todo if child >= n and length[child - n] == d else parts).append(child)
        split = sum(size[part] >= least for part in parts) > 1
        for part in parts:
            group[part] = g
            if size[part] < least:
                fallen[part] = d
            elif split:
                group[part] = len(parent)
                parent.append(g)
                appears.append(d)
                sizes.append(size[part])
    return _Tree(group[:n], fallen[:n], np.array(parent), np.array(appears), np.array(sizes))


def _merges(n: int, ends: np.ndarray) -> tuple[list[int], list[int], list[int]]:
    """Nodes n, n + 1, ... of the tree that sorted edges (n - 1, 2) build: two children each, and all nodes' sizes."""
    top, size = list(range(2 * n - 1)), [1] * n + [0] * (n - 1)
    first, second = [], []
    for node, (i, j) in enumerate(ends.tolist(), n):
        while top[i] != i:
            top[i] = top[top[i]]
            i = top[i]
        while top[j] != j:
            top[j] = top[top[j]]
            j = top[j]
        first.append(i)
        second.append(j)
        top[i] = top[j] = node
        size[node] = size[i] + size[j]
    return first, second, size


def _choose(tree: _Tree, method: str, epsilon: float, single: bool) -> tuple[_Groups, np.ndarray]:
    """The groups taken, and the labels (n,)."""
    n, count = len(tree.home), len(tree.parent)
    # Equal rows leave at distance 0, an infinite density: they count as the closest rows that differ do.
    positive = np.concatenate(
        [tree.leave[tree.leave > 0], tree.appears[(tree.appears > 0) & np.isfinite(tree.appears)]]
    )
    floor = positive.min() if len(positive) else 1.0
    density = 1.0 / np.maximum(tree.leave, floor)
    born = np.where(np.isfinite(tree.appears), 1.0 / np.maximum(tree.appears, floor), 0.0)
    stability = np.bincount(tree.home, density, count) - np.bincount(tree.home, minlength=count) * born
    children: list[list[int]] = [[] for _ in range(count)]
    for g in range(1, count):
        children[tree.parent[g]].append(g)
        stability[tree.parent[g]] += (born[g] - born[tree.parent[g]]) * tree.size[g]
    own = stability.copy()
    taken = _leaves(children) if method == "leaf" else _most_stable(children, stability, single)
    if epsilon > 0 and taken != {0}:
        taken = {_outwards(tree, g, epsilon, single) for g in taken}
        taken = {g for g in taken if not any(a in taken for a in _above(tree, g))}
    if 0 in taken and not single:
        taken = set()
    if not taken:
        return _Groups.none(n)
    groups = sorted(taken)
    place = np.full(count, -1)  # of every group the chosen one that it is part of
    for g in range(count):
        place[g] = groups.index(g) if g in taken else (place[tree.parent[g]] if g else -1)
    labels = place[tree.home]
    limit = tree.appears[groups] * (1 - 1e-9)  # a row exactly that far away is no more inside
    if groups == [0]:
        # All rows are one group: those that are left when its density is highest, or when it reaches epsilon.
        inside = np.concatenate([tree.leave[tree.home == 0], tree.appears[tree.parent == 0]])
        edge = epsilon if epsilon > 0 else float(inside.min())
        labels = np.where(tree.leave <= edge, 0, -1)
        if not (labels == 0).any():
            return _Groups.none(n)
        limit = np.array([edge * (1 + 1e-9)])
    full, persistence = np.zeros(len(groups)), np.zeros(len(groups))
    for i, g in enumerate(groups):
        mine = np.concatenate([tree.leave[tree.home == g], tree.appears[tree.parent == g]])
        full[i] = max(float(mine.min(initial=np.inf)), floor)
        room = (1.0 / full[i] - born[g]) * tree.size[g]
        persistence[i] = min(max(own[g] / room, 0.0), 1.0) if room > 0 else 0.0
    return _Groups(limit, full, persistence), labels


def _leaves(children: list[list[int]]) -> set[int]:
    return {g for g, inner in enumerate(children) if not inner}


def _most_stable(children: list[list[int]], stability: np.ndarray, single: bool) -> set[int]:
    """From the smallest groups up: a group stands unless those inside it are together more stable."""
    taken: list[set[int]] = [set() for _ in children]
    for g in range(len(children) - 1, -1, -1):
        inner = float(stability[children[g]].sum())
        if (g == 0 and not single) or (children[g] and inner > stability[g]):
            taken[g] = set().union(*(taken[c] for c in children[g]))
            stability[g] = inner
        else:
            taken[g] = {g}
    return taken[0]


def _above(tree: _Tree, g: int) -> list[int]:
    """The groups around g, nearest first."""
    around = []
    while tree.parent[g] >= 0:
        g = int(tree.parent[g])
        around.append(g)
    return around


def _outwards(tree: _Tree, g: int, epsilon: float, single: bool) -> int:
    """g, or where it appears below epsilon the first group around it that appears above it, short of the root."""
    while tree.appears[g] < epsilon:
        around = int(tree.parent[g])
        if around == 0:
            return 0 if single else g
        g = around
    return g


def pack(model: Any) -> Step:
    """The fitted model as a scoring step; it holds the prepared training rows."""
    return Reachability(
        model._rows,
        model._reach,
        model.labels_.astype(np.int32),
        model._leave,
        model._limit,
        model._full,
        model._neighbors,
    )
