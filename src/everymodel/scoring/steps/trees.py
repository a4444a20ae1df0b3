"""Trees: decision trees, forests and boosted trees of every kind, and CatBoost's symmetric trees.

Converters in model files build them with `Trees.of(...)` and `Oblivious(...)`; see their docstrings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from everymodel.core.errors import PackError
from everymodel.scoring import walk
from everymodel.scoring.steps.base import Sparse, need, step
from everymodel.scoring.steps.combine import _finite, _Gives, check_link, link

NAN_RIGHT, NAN_LEFT, NAN_AS_ZERO, ZERO_IS_MISSING = 0, 1, 2, 4


@step("trees", "value")
class Trees(_Gives):
    """A sum (or mean) of trees over flat arrays. Input: matrix (n, n_features).

    Build it with `Trees.of`. Nodes of all trees lie one after the other, each tree in preorder: the left child of a
    split is the next node, the right child lies `right` nodes further on.

    sizes     (trees,) nodes in each tree
    feature   (nodes,) feature of a split, -1 for a leaf
    threshold (splits,) float64 or float32, in node order; 0 for a split by categories
    right     (splits,) distance from a split to its right child
    missing   (splits,) where NaN goes: 0 right, 1 left, 2 compared as 0.0; + 4: zero (|x| <= 1e-35) goes where 0 or 1
              says too (LightGBM's zero_as_missing). None: right everywhere
    value     (leaves, w) in node order; w = 1 when `group` says which output a tree adds to, else w = outputs.
              Sums are made in its dtype, tree after tree from `base`, as the source does: equal bit for bit
    group     (trees,) output that each tree adds to, or None
    base      (outputs,) start of the sums, or None for 0
    category  (splits,) -1, or the number of the split's set of level codes that go left; None: no such splits
    set_sizes (sets,) length of each set;  set_levels: the sets one after the other, each sorted
    x_type    "float64" or "float32": what the features are rounded to before they are compared
    comparison "<=" or "<": left where x (comparison) threshold
    divide    the sum is divided by this (forests: number of trees)
    link      see combine.link; `gives` is the kind of answer; places and classes put columns where they belong
    sigma     raw sums are multiplied by this before the link (LightGBM's sigmoid parameter)

    A feature splits either by thresholds or by categories, never both. Level codes are whole numbers; NaN and negative
    codes go where `missing` says (0 right, 1 left), codes outside the set go right.
    """

    sizes: np.ndarray
    feature: np.ndarray
    threshold: np.ndarray
    right: np.ndarray
    value: np.ndarray
    n_features: int
    outputs: int = 1
    missing: np.ndarray | None = None
    group: np.ndarray | None = None
    base: np.ndarray | None = None
    category: np.ndarray | None = None
    set_sizes: np.ndarray | None = None
    set_levels: np.ndarray | None = None
    x_type: str = "float64"
    comparison: str = "<="
    divide: float | None = None
    link: str = "identity"
    sigma: float = 1.0
    gives: str = "value"
    places: np.ndarray | None = None
    classes: int | None = None

    @classmethod
    def of(
        cls,
        trees: Sequence[Mapping[str, Any]],
        n_features: int,
        *,
        outputs: int = 1,
        groups: Sequence[int] | np.ndarray | None = None,
        base: Sequence[float] | np.ndarray | None = None,
        value_type: str = "float64",
        **settings: Any,
    ) -> Trees:
        """Build from trees as their libraries describe them.

        Parameters
        ----------
        trees : one mapping per tree with arrays over its nodes (any order, node 0 is the root):
            "left", "right" (children, negative at leaves), "feature", "threshold", "value" ((nodes,) or (nodes, w);
            read at leaves only), optional "missing" (0, 1, 2, +4 as in the class; default 0), optional "categories"
            (mapping from node to the level codes that go left).
        n_features : width of the matrix.
        outputs : columns of the sum: 1, or classes or targets.
        groups : output of each tree, for boosters with one tree per class; None where leaves hold all outputs.
        base : start of the sums, one per output.
        value_type : dtype in which leaves are kept and summed: "float64" or "float32" (XGBoost).
        settings : x_type, comparison, divide, link, sigma, gives, places, classes: see the class.
        """
        sizes, feature, threshold, right, value, missing, category = [], [], [], [], [], [], []
        sets: list[np.ndarray] = []
        for tree in trees:
            left_child = np.asarray(tree["left"], dtype=np.int64)
            order, jump = walk.preorder(left_child, np.asarray(tree["right"], dtype=np.int64))
            split = left_child[order] >= 0
            own = np.asarray(tree["feature"], dtype=np.int64)[order]
            sizes.append(len(order))
            feature.append(np.where(split, own, -1))
            threshold.append(np.asarray(tree["threshold"])[order][split])
            right.append(jump[split])
            values = np.asarray(tree["value"])
            value.append(values.reshape(len(values), -1)[order][~split])
            marks = tree.get("missing")
            missing.append(np.zeros(split.sum(), np.int8) if marks is None else np.asarray(marks)[order][split])
            number = np.full(len(order), -1, dtype=np.int64)
            categories = tree.get("categories") or {}
            if categories:
                for i in np.flatnonzero(split):
                    levels = categories.get(int(order[i]))
                    if levels is not None:
                        number[i] = len(sets)
                        sets.append(np.unique(np.asarray(levels, dtype=np.int32)))
            category.append(number[split])
        marks_all = np.concatenate(missing).astype(np.int8)
        cuts = np.concatenate(threshold)
        numbers = np.concatenate(category)
        cuts = np.where(numbers >= 0, 0, cuts).astype(cuts.dtype if cuts.dtype.kind == "f" else np.float64)
        made = cls(
            sizes=np.array(sizes, dtype=np.int32),
            feature=np.concatenate(feature).astype(np.int32),
            threshold=cuts,
            right=np.concatenate(right).astype(np.int32),
            value=np.concatenate(value).astype(value_type),
            n_features=int(n_features),
            outputs=int(outputs),
            missing=marks_all if marks_all.any() else None,
            group=None if groups is None else np.asarray(groups, dtype=np.int32),
            base=None if base is None else np.atleast_1d(np.asarray(base, dtype=value_type)),
            category=numbers.astype(np.int32) if sets else None,
            set_sizes=np.array([len(s) for s in sets], dtype=np.int32) if sets else None,
            set_levels=np.concatenate(sets).astype(np.int32) if sets else None,
            **settings,
        )
        try:
            made.check()
        except ValueError as error:
            raise PackError(f"These trees cannot be packed: {error}") from error
        return made

    def __call__(self, matrix: np.ndarray | Sparse) -> np.ndarray:
        raw = self.sums(matrix)
        if self.sigma != 1.0:
            raw = raw * self.sigma
        return link(raw, self.link, self.places, self.classes)

    def sums(self, matrix: np.ndarray | Sparse) -> np.ndarray:
        """Raw sums, (n,) for one output and (n, outputs) else, in the dtype of `value`."""
        total = self._engine().sums(_dense(matrix, self.n_features))
        if self.divide is not None:
            total /= self.divide
        return total[:, 0] if self.outputs == 1 else total

    def _engine(self) -> walk.Engine:
        engine = self.__dict__.get("_made")
        if engine is None:  # two threads may both build it: they get equal ones
            engine = walk.Engine(self)
            object.__setattr__(self, "_made", engine)
        return engine

    def check(self) -> None:
        for name in ("sizes", "feature", "right"):
            array = getattr(self, name)
            need(array.ndim == 1 and array.dtype.kind in "iu", f"tree {name} are not whole numbers")
        for name in ("n_features", "outputs"):
            number = getattr(self, name)
            need(isinstance(number, int) and 0 < number <= 100_000, f"tree {name} is {number!r}")
        need(len(self.sizes) > 0 and int(self.sizes.min()) > 0, "there are empty trees")
        sizes = self.sizes.astype(np.int64)
        nodes = len(self.feature)
        need(int(sizes.sum()) == nodes, "tree sizes do not add up to the nodes")
        feature = self.feature.astype(np.int64)
        need(int(feature.min()) >= -1 and int(feature.max()) < self.n_features, "a split's feature is out of range")
        split = np.flatnonzero(feature >= 0)
        need(self.threshold.shape == (len(split),), "thresholds and splits differ in number")
        need(self.threshold.dtype in (np.float64, np.float32), "thresholds are not floats")
        _finite(self.threshold, "thresholds")
        need(self.right.shape == (len(split),), "children and splits differ in number")
        ends = np.cumsum(sizes)
        tree_of_split = np.searchsorted(ends, split, side="right")
        target = split + self.right.astype(np.int64)
        need(bool((self.right >= 2).all()), "a right child is not after the left one")
        need(bool((target < ends[tree_of_split]).all()), "a child lies outside its tree")
        reason = walk.fault(sizes, split, target)
        need(not reason, reason)
        leaves = nodes - len(split)
        width = self.outputs if self.group is None else 1
        need(self.value.shape == (leaves, width), "leaf values have a wrong shape")
        need(self.value.dtype in (np.float64, np.float32), "leaf values are not floats")
        _finite(self.value, "leaf values")
        if self.group is not None:
            need(self.group.shape == sizes.shape and self.group.dtype.kind in "iu", "tree groups have a wrong shape")
            need(int(self.group.min()) >= 0 and int(self.group.max()) < self.outputs, "a tree group is out of range")
        if self.base is not None:
            _finite(self.base, "base values")
            need(self.base.shape == (self.outputs,), "base values have a wrong shape")
        if self.missing is not None:
            need(self.missing.shape == split.shape and self.missing.dtype.kind in "iu", "missing marks do not fit")
            need(bool(np.isin(self.missing, (0, 1, 2, 4, 5)).all()), "a missing mark is unknown")
        self._check_sets(feature[split])
        need(self.x_type in ("float64", "float32"), f"unknown feature type {self.x_type!r}")
        need(self.comparison in ("<=", "<"), f"unknown comparison {self.comparison!r}")
        for name in ("divide", "sigma"):
            number = getattr(self, name)
            if number is not None:
                good = isinstance(number, int | float) and not isinstance(number, bool)
                need(good and 0 < abs(number) < float("inf"), f"tree {name} is {number!r}")
        check_link(self.link, self.gives, self.places, self.classes, self.outputs)

    def _check_sets(self, feature: np.ndarray) -> None:
        if self.category is None:
            need(self.set_sizes is None and self.set_levels is None, "category sets without splits")
            return
        need(self.set_sizes is not None and self.set_levels is not None, "category sets are missing")
        for array in (self.category, self.set_sizes, self.set_levels):
            need(array.ndim == 1 and array.dtype.kind in "iu", "category sets are not whole numbers")
        need(self.category.shape == feature.shape, "category marks do not fit the splits")
        category, lengths = self.category.astype(np.int64), self.set_sizes.astype(np.int64)
        need(len(lengths) > 0 and int(lengths.min()) >= 0, "a category set has a negative length")
        need(int(lengths.sum()) == len(self.set_levels), "category sets do not add up")
        need(int(category.min()) >= -1 and int(category.max()) < len(lengths), "a category set is out of range")
        if len(self.set_levels):
            need(int(self.set_levels.min()) >= 0 and int(self.set_levels.max()) < 10_000_000, "a level is out of range")
        by_set = np.unique(feature[category >= 0])
        need(not np.isin(by_set, feature[category < 0]).any(), "a feature is split by numbers and by categories")


def _dense(matrix: np.ndarray | Sparse, n_features: int) -> np.ndarray:
    if isinstance(matrix, Sparse):
        matrix = matrix.toarray()
    need(matrix.ndim == 2 and matrix.shape[1] == n_features, f"trees need {n_features} features, got {matrix.shape}")
    return matrix


@step("oblivious", "value")
class Oblivious(_Gives):
    """Symmetric trees (CatBoost): every level of a tree asks one question, x[feature] > border in float32.

    Input: matrix (n, n_features). Bit i of the leaf number is the answer to question i of the tree (the first question
    is the lowest bit), as in CatBoost's JSON. Sums are made in float64, tree after tree from 0; the raw answer is
    sum * scale + bias.

    depths    (trees,) questions per tree (0 allowed)
    feature   (questions,) of all trees, one after the other
    border    (questions,) float32
    value     (sum of 2**depth, outputs) float64, tree after tree
    bias      (outputs,) or None
    nan_true  (n_features,) 0/1: NaN answers a question on the feature with yes (CatBoost's "AsTrue"); None: no
    link, sigma, gives, places, classes: as in Trees.
    """

    depths: np.ndarray
    feature: np.ndarray
    border: np.ndarray
    value: np.ndarray
    n_features: int
    outputs: int = 1
    scale: float = 1.0
    bias: np.ndarray | None = None
    nan_true: np.ndarray | None = None
    link: str = "identity"
    sigma: float = 1.0
    gives: str = "value"
    places: np.ndarray | None = None
    classes: int | None = None

    def __call__(self, matrix: np.ndarray | Sparse) -> np.ndarray:
        raw = self.sums(matrix)
        if self.sigma != 1.0:
            raw = raw * self.sigma
        return link(raw, self.link, self.places, self.classes)

    def sums(self, matrix: np.ndarray | Sparse) -> np.ndarray:
        """Raw answers, (n,) for one output and (n, outputs) else."""
        total = self._engine().sums(_dense(matrix, self.n_features))
        if self.scale != 1.0:
            total *= self.scale
        if self.bias is not None:
            total += self.bias
        return total[:, 0] if self.outputs == 1 else total

    def _engine(self) -> walk.ObliviousEngine:
        engine = self.__dict__.get("_made")
        if engine is None:
            engine = walk.ObliviousEngine(self)
            object.__setattr__(self, "_made", engine)
        return engine

    def check(self) -> None:
        for name in ("n_features", "outputs"):
            number = getattr(self, name)
            need(isinstance(number, int) and 0 < number <= 100_000, f"tree {name} is {number!r}")
        for name in ("depths", "feature"):
            array = getattr(self, name)
            need(array.ndim == 1 and array.dtype.kind in "iu", f"tree {name} are not whole numbers")
        need(len(self.depths) > 0 and int(self.depths.min()) >= 0, "a tree has a negative depth")
        need(int(self.depths.max()) <= 24, "a symmetric tree is deeper than 24")
        need(int(self.depths.astype(np.int64).sum()) == len(self.feature), "depths do not add up to the questions")
        if len(self.feature):
            need(
                int(self.feature.min()) >= 0 and int(self.feature.max()) < self.n_features,
                "a question's feature is out of range",
            )
        need(self.border.shape == self.feature.shape and self.border.dtype == np.float32, "borders do not fit")
        _finite(self.border, "borders")
        leaves = int((1 << self.depths.astype(np.int64)).sum())
        need(self.value.shape == (leaves, self.outputs), "leaf values have a wrong shape")
        need(self.value.dtype == np.float64, "leaf values are not float64")
        _finite(self.value, "leaf values")
        for name in ("scale", "sigma"):
            number = getattr(self, name)
            good = isinstance(number, int | float) and not isinstance(number, bool)
            need(good and 0 < abs(number) < float("inf"), f"tree {name} is {number!r}")
        if self.bias is not None:
            _finite(self.bias, "biases")
            need(self.bias.shape == (self.outputs,), "biases have a wrong shape")
        if self.nan_true is not None:
            need(
                self.nan_true.shape == (self.n_features,) and self.nan_true.dtype.kind in "iub", "NaN marks do not fit"
            )
        check_link(self.link, self.gives, self.places, self.classes, self.outputs)
