"""How trees are walked with numpy alone: the engines behind steps.trees.

Nothing here is stored in a file; engines are made from a step's validated arrays on its first call.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from everymodel.scoring.steps.trees import Oblivious, Trees

_ZERO = 1e-35  # LightGBM's kZeroThreshold


def preorder(left: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(nodes in preorder, distance to the right child at each position; 0 at leaves)."""
    n = len(left)
    split = np.flatnonzero(left >= 0)
    if np.array_equal(left[split], split + 1) and bool((right[split] > split).all()):
        order = np.arange(n)  # already in preorder, as in scikit-learn's depth-first trees
        jump = np.zeros(n, dtype=np.int64)
        jump[split] = right[split] - split
        return order, jump
    lefts, rights = left.tolist(), right.tolist()
    order_list: list[int] = []
    place = np.zeros(n, dtype=np.int64)
    stack = [0]
    while stack:
        node = stack.pop()
        place[node] = len(order_list)
        order_list.append(node)
        if lefts[node] >= 0:
            stack.append(rights[node])
            stack.append(lefts[node])
        if len(order_list) > n:
            raise ValueError("the nodes do not form a tree")
    order = np.array(order_list)
    inner = left[order] >= 0
    jump = np.zeros(len(order), dtype=np.int64)
    positions = np.flatnonzero(inner)
    jump[positions] = place[right[order[positions]]] - positions
    return order, jump


def depth_within(sizes: np.ndarray, split: np.ndarray, target: np.ndarray, limit: int) -> bool:
    """Whether no tree is deeper than `limit`. Nodes are in preorder; target is the right child of each split."""
    nodes = int(sizes.sum())
    if nodes < limit or len(split) == 0:
        return True
    number = np.full(nodes + 1, -1, dtype=np.int64)
    number[split] = np.arange(len(split))
    front = np.cumsum(sizes) - sizes
    for _ in range(limit + 1):
        here = number[front]
        here = here[here >= 0]
        if len(here) == 0:
            return True
        front = np.concatenate([split[here] + 1, target[here]])
    return False


class Engine:
    """Walks the trees of a Trees step."""

    def __init__(self, trees: Trees):
        self.outputs = trees.outputs
        self.dtype = trees.value.dtype
        self.value = trees.value
        self.base = trees.base
        self.group = trees.group
        self.x_type = np.dtype(trees.x_type)
        self.strict = trees.comparison == "<"
        sizes = trees.sizes.astype(np.int64)
        feature = trees.feature.astype(np.int64)
        split = np.flatnonzero(feature >= 0)
        starts = np.cumsum(sizes) - sizes
        nodes = len(feature)
        # Siblings become neighbours: the children of the s-th split of a tree get places 1 + 2s and 2 + 2s.
        tree_of_split = np.searchsorted(starts, split, side="right") - 1
        first_split = np.searchsorted(split, starts)
        order_in_tree = np.arange(len(split)) - first_split[tree_of_split]
        child = starts[tree_of_split] + 1 + 2 * order_in_tree
        place = np.zeros(nodes, dtype=np.int64)
        place[starts] = starts
        place[split + 1] = child
        place[split + trees.right.astype(np.int64)] = child + 1
        self.roots = starts
        at = place[split]
        self.feature = np.zeros(nodes, dtype=np.int64)
        self.feature[at] = feature[split]
        self.threshold = np.full(nodes, np.inf)
        self.threshold[at] = trees.threshold
        self.child = place.copy()
        self.child[place] = place  # leaves point at themselves
        self.child[at] = child
        self.is_split = np.zeros(nodes, dtype=bool)
        self.is_split[at] = True
        self.leaf = np.zeros(nodes, dtype=np.int64)
        leaves = np.flatnonzero(feature < 0)
        self.leaf[place[leaves]] = np.arange(len(leaves))
        self.missing = np.zeros(nodes, dtype=np.int8)
        if trees.missing is not None:
            self.missing[at] = trees.missing
        self.any_mark = bool(self.missing.any())
        self.category = np.full(nodes, -1, dtype=np.int64)
        if trees.category is not None:
            self.category[at] = trees.category
            offsets = np.concatenate([[0], np.cumsum(trees.set_sizes.astype(np.int64))])
            self.sets = [set(trees.set_levels[a:b].tolist()) for a, b in pairwise(offsets.tolist())]
            top = int(trees.set_levels.max()) + 1 if len(trees.set_levels) else 0
            self.in_set = np.zeros((len(self.sets), top + 1), dtype=bool)
            self.in_set[np.repeat(np.arange(len(self.sets)), np.diff(offsets)), trees.set_levels] = True

    def sums(self, matrix: np.ndarray) -> np.ndarray:
        """(n, features) -> (n, outputs) in the dtype of the leaves."""
        n = len(matrix)
        x = matrix.astype(self.x_type).astype(np.float64)
        total = np.zeros((n, self.outputs), dtype=self.dtype)
        if self.base is not None:
            total += self.base
        rows = np.arange(n)
        for t, root in enumerate(self.roots):
            node = np.full(n, root)
            active = rows
            while len(active):
                here = node[active]
                active = active[self.is_split[here]]
                if not len(active):
                    break
                here = node[active]
                node[active] = self.child[here] + ~self._left(x[active, self.feature[here]], here)
            values = self.value[self.leaf[node]]
            if self.group is None:
                total += values
            else:
                total[:, self.group[t]] += values[:, 0]
        return total

    def _left(self, x: np.ndarray, node: np.ndarray) -> np.ndarray:
        threshold, mark = self.threshold[node], self.missing[node]
        nan = np.isnan(x)
        value = np.where(nan, 0.0, x)
        left = value < threshold if self.strict else value <= threshold
        gone = nan | ((mark >= 4) & (np.abs(value) <= _ZERO))
        left = np.where(gone & (mark != 2), (mark & 1) == 1, left)
        category = self.category[node]
        by_set = np.flatnonzero(category >= 0)
        if len(by_set):
            top = self.in_set.shape[1] - 1
            code = np.where((value < 0) | (value > top), top, value)[by_set].astype(np.int64)
            inside = self.in_set[category[by_set], code]
            lost = nan[by_set] | (value[by_set] <= -1)
            left[by_set] = np.where(lost, (mark[by_set] & 1) == 1, inside)
        return left


class ObliviousEngine:
    """Answers the questions of symmetric trees by bit arithmetic."""

    def __init__(self, trees: Oblivious):
        self.outputs = trees.outputs
        self.value = trees.value
        self.depths = trees.depths.tolist()
        self.feature = trees.feature.astype(np.int64)
        self.border = trees.border
        self.nan_true = None if trees.nan_true is None else trees.nan_true.astype(bool)

    def sums(self, matrix: np.ndarray) -> np.ndarray:
        """(n, features) -> (n, outputs) float64."""
        x = np.ascontiguousarray(matrix.T, dtype=np.float32)  # (features, n)
        if self.nan_true is not None and self.nan_true.any():
            x = np.where(np.isnan(x) & self.nan_true[:, None], np.float32(np.inf), x)
        total = np.zeros((len(matrix), self.outputs))
        question = start = 0
        for depth in self.depths:
            index = np.zeros(len(matrix), dtype=np.int64)
            for i in range(depth):
                index |= (x[self.feature[question]] > self.border[question]).astype(np.int64) << i
                question += 1
            total += self.value[start + index]
            start += 1 << depth
        return total
