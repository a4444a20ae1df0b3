"""How trees are answered with numpy alone: the engines behind steps.trees.

Nothing here is stored in a file; an engine is made from a step's validated arrays when the first row comes.

Three ways, all exact, all adding up leaves in the order of the trees:

* Masks (trees of at most 256 leaves whose features have few distinct thresholds: most boosters). A feature's value is
  turned into the number of its interval between thresholds, once for all trees. For each tree and feature a table says
  for each interval which leaves can still be reached, one bit per leaf (in up to four words of 64); the tables' AND has
  exactly one bit left, the leaf. So a tree costs one lookup per feature it uses instead of one per level, and no
  branch. (The idea of bit vectors is that of QuickScorer, Lucchese et al. 2015; tables per interval suit numpy, which
  has fast lookups and slow loops.)
* Walking (all other trees): level by level, all rows of a block at once. Siblings are neighbours, so a step to the next
  level is child + (value > threshold).
* Symmetric trees: comparisons give the bits of the leaf's number directly.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from everymodel.scoring.steps.trees import Oblivious, Trees

_ZERO = 1e-35  # LightGBM's kZeroThreshold
MAX_DEPTH = 10_000  # a deeper tree in a file is taken for an attack: one answer would take seconds
_MAX_MASKS = 1 << 23  # entries of all mask tables: beyond this walking is used, to bound memory
_MAX_WORDS = 4  # of 64 leaves each, per tree
_FULL = np.uint64(0xFFFFFFFFFFFFFFFF)
_BLOCK = 4096  # rows per block: its intervals and masks stay in the processor's cache
_WALK_BLOCK = 16384
_BIT_BLOCK = 1 << 17
_FEW = 1 << 18  # rows times tables (or trees) that are answered in one go, without a loop over trees


def preorder(left: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(nodes in preorder, distance to the right child at each position; 0 at leaves).

    left, right (nodes,): children of each node, negative at leaves; node 0 is the root.
    """
    n = len(left)
    split = np.flatnonzero(left >= 0)
    jump = np.zeros(n, dtype=np.int64)
    if np.array_equal(left[split], split + 1) and not fault(np.array([n]), split, right[split]):
        jump[split] = right[split] - split  # as scikit-learn's depth-first trees are
        return np.arange(n), jump
    lefts, rights = left.tolist(), right.tolist()
    order: list[int] = []
    place = np.zeros(n, dtype=np.int64)
    stack = [0]
    while stack:
        node = stack.pop()
        place[node] = len(order)
        order.append(node)
        if lefts[node] >= 0:
            stack.append(rights[node])
            stack.append(lefts[node])
        if len(order) > n:
            raise ValueError("the nodes do not form a tree")
    found = np.array(order)
    positions = np.flatnonzero(left[found] >= 0)
    jump = np.zeros(len(found), dtype=np.int64)
    jump[positions] = place[right[found[positions]]] - positions
    return found, jump


def fault(sizes: np.ndarray, split: np.ndarray, right: np.ndarray) -> str:
    """Why nodes do not form trees in preorder, "" where they do, given that each split's left child is the next node.

    sizes (trees,), split (splits,) node of each split, right (splits,) node of its right child. Below a split lie its
    left part, then its right part, and nothing else: so each leaf must be a part of exactly one node.
    """
    nodes = int(sizes.sum())
    if len(split) == 0:
        return "" if bool((sizes == 1).all()) else "the nodes do not form trees"
    if int(right.max()) >= nodes or bool((right < split + 2).any()):
        return "a right child is not where it can be"
    # Every node but the roots has exactly one parent, and parents come first: so there are no cycles or shared parts.
    roots = np.cumsum(sizes) - sizes
    expected = np.ones(nodes + 1, dtype=np.int64)
    expected[nodes] = 0
    expected[roots] = 0
    if not np.array_equal(np.bincount(np.concatenate([split + 1, right]), minlength=nodes + 1), expected):
        return "the nodes do not form trees"
    end = subtree_ends(sizes, split, right)
    leaf = np.ones(nodes, dtype=bool)
    leaf[split] = False
    leaves = np.flatnonzero(leaf)
    if not bool(end[leaves].all()):
        return f"a tree is deeper than {MAX_DEPTH}"
    if bool((end[leaves] == leaves + 1).all() and (right < end[split]).all()):
        return ""
    return "the nodes do not form trees in preorder"


def subtree_ends(sizes: np.ndarray, split: np.ndarray, right: np.ndarray) -> np.ndarray:
    """(nodes,) the node after the last one below each node; 0 below MAX_DEPTH levels."""
    nodes = int(sizes.sum())
    front = np.cumsum(sizes) - sizes
    end = np.zeros(nodes + 1, dtype=np.int64)
    end[front] = front + sizes
    number = np.full(nodes + 1, -1, dtype=np.int64)
    number[split] = np.arange(len(split))
    for _ in range(MAX_DEPTH):
        here = number[front]
        here = here[here >= 0]
        if len(here) == 0:
            break
        node, other = split[here], right[here]
        end[node + 1] = other
        end[other] = end[node]
        front = np.concatenate([node + 1, other])
    return end[:-1]


class Engine:
    """Sums of a Trees step over rows."""

    def __init__(self, trees: Trees):
        self.outputs = trees.outputs
        self.dtype = trees.value.dtype
        self.value = trees.value  # (leaves, w)
        self.base = trees.base
        self.group = None if trees.group is None else trees.group.astype(np.int64)
        self.x_type = np.dtype(trees.x_type)
        self.shape = _Shape(trees)
        # One tree per output in turn, as boosters have them: sums become a reshape.
        self.cycle = (
            self.group is not None
            and len(self.group) % self.outputs == 0
            and bool((self.group == np.arange(len(self.group)) % self.outputs).all())
        )
        self.masks = _Masks.of(self.shape, trees)
        self.walker = None if self.masks is not None else _Walker(self.shape, trees)

    def sums(self, matrix: np.ndarray) -> np.ndarray:
        """(n, features) -> (n, outputs) in the dtype of the leaves."""
        engine = self.masks if self.masks is not None else self.walker
        assert engine is not None
        n = len(matrix)
        x = matrix.astype(self.x_type, copy=False)
        few = max(1, _FEW // engine.width)
        if n <= few:
            return self._add(engine.leaves(x))
        if n <= 512:
            return np.concatenate([self._add(engine.leaves(x[i : i + few])) for i in range(0, n, few)])
        total = np.empty((n, self.outputs), dtype=self.dtype)
        for start in range(0, n, engine.block):
            total[start : start + engine.block] = self._add_trees(engine, x[start : start + engine.block])
        return total

    def _add(self, leaves: np.ndarray) -> np.ndarray:
        """Sums from leaf numbers (n, trees). `accumulate` adds one after the other; `sum` would add in pairs."""
        n, k = len(leaves), self.outputs
        if self.group is None and self.value.shape[1] > 1:
            values = self.value[leaves]  # (n, trees, k)
            if self.base is not None:
                values[:, 0] += self.base
            return np.add.accumulate(values, axis=1)[:, -1]
        values = self.value[:, 0].take(leaves)  # (n, trees)
        if self.group is None or self.cycle:
            values = values.reshape(n, values.shape[1] // k, k)
            if self.base is not None:
                values[:, 0] += self.base
            return np.add.accumulate(values, axis=1)[:, -1]
        total = np.zeros((n, k), dtype=self.dtype)
        if self.base is not None:
            total += self.base
        for t, g in enumerate(self.group.tolist()):
            total[:, g] += values[:, t]
        return total

    def _add_trees(self, engine: _Masks | _Walker, x: np.ndarray) -> np.ndarray:
        """Sums of a block of rows, one tree after the other."""
        n = len(x)
        wide = self.group is None and self.outputs > 1
        total = np.zeros((n, self.outputs) if wide else (self.outputs, n), dtype=self.dtype)
        if self.base is not None:
            total += self.base if wide else self.base[:, None]
        column = None if wide else np.ascontiguousarray(self.value[:, 0])
        room = np.empty(n, dtype=self.dtype)
        for t, leaf in enumerate(engine.each(x)):
            if column is None:
                total += self.value.take(leaf, axis=0)
            else:
                column.take(leaf, out=room, mode="clip")
                total[0 if self.group is None else self.group[t]] += room
        return total if wide else total.T


class _Shape:
    """Structure that both ways need, from a step's preorder arrays."""

    def __init__(self, trees: Trees):
        sizes = trees.sizes.astype(np.int64)
        self.sizes = sizes
        self.nodes = int(sizes.sum())
        self.roots = np.cumsum(sizes) - sizes
        node_feature = trees.feature.astype(np.int64)
        self.leaf_node = node_feature < 0
        self.split = np.flatnonzero(~self.leaf_node)  # node of each split
        self.right = self.split + trees.right.astype(np.int64)  # node of its right child
        self.feature = node_feature[self.split]
        self.tree = np.searchsorted(self.roots, self.split, side="right") - 1  # tree of each split
        self.leaves_before = np.cumsum(self.leaf_node) - self.leaf_node  # leaves before each node
        bounds = np.append(self.roots, self.nodes)
        before = np.append(self.leaves_before, int(self.leaf_node.sum()))
        self.first_leaf = before[bounds[:-1]]
        self.leaves = np.diff(before[bounds])
        self.strict = trees.comparison == "<"
        marks = trees.missing
        self.mark = np.zeros(len(self.split), dtype=np.int64) if marks is None else marks.astype(np.int64)
        self.category = (
            np.full(len(self.split), -1, dtype=np.int64) if trees.category is None else trees.category.astype(np.int64)
        )
        if trees.category is not None:
            lengths = trees.set_sizes.astype(np.int64)
            top = int(trees.set_levels.max()) + 1 if len(trees.set_levels) else 0
            self.set_ends = np.cumsum(lengths)
            self.set_of = np.repeat(np.arange(len(lengths)), lengths)
            self.set_levels = trees.set_levels.astype(np.int64)
            self.top = top
        else:
            self.set_of = self.set_levels = np.zeros(0, dtype=np.int64)
            self.top = 0
        self.sets = 0 if trees.set_sizes is None else len(trees.set_sizes)

    def levels_of(self, number: int) -> np.ndarray:
        """The level codes of a set."""
        return self.set_levels[(self.set_ends[number - 1] if number else 0) : self.set_ends[number]]


class _Masks:
    """Leaves by AND of tables over intervals; see the module's docstring."""

    block = _BLOCK

    def __init__(self) -> None:
        self.width = 1  # tables looked up per row
        self.table = np.zeros(0, dtype=np.uint64)
        self.views: list[list[list[tuple[int, np.ndarray]]]] | None = None

    @classmethod
    def of(cls, s: _Shape, trees: Trees) -> _Masks | None:
        """None where the trees do not suit."""
        words = (s.leaves + 63) // 64
        if int(words.max()) > _MAX_WORDS:
            return None
        made = cls()
        made.words = words
        made.first_word = np.cumsum(words) - words
        made.word = np.arange(int(words.sum())) - np.repeat(made.first_word, words)  # number of each word in its tree
        made.strict = s.strict
        made.first_leaf = s.first_leaf
        threshold = trees.threshold.astype(np.float64)
        used = np.unique(s.feature)
        made.used = used
        # Intervals of each feature: 0..m between m thresholds, then NaN, then zero where zero counts as missing;
        # for categories: codes 0..top - 1, any other code, missing.
        made.cuts, made.kinds = [], []
        count, place = [], np.zeros(len(s.split), dtype=np.int64)
        for f in used.tolist():
            own = np.flatnonzero(s.feature == f)
            if s.category[own[0]] >= 0:
                made.cuts.append(np.zeros(0))
                made.kinds.append("category")
                count.append(s.top + 2)
                continue
            cuts, inverse = np.unique(threshold[own], return_inverse=True)
            place[own] = inverse.reshape(-1)
            zero = s.mark[own] >= 4
            if zero.any() and not zero.all():
                return None
            made.cuts.append(cuts)
            made.kinds.append("zero" if zero.any() else "number")
            count.append(len(cuts) + 3)
        made.top = s.top
        sizes = np.array([*count, 1], dtype=np.int64)  # the last one is for trees without splits
        # A split counts in every word that has leaves below it.
        slot = np.searchsorted(used, s.feature)
        before = np.append(s.leaves_before, int(s.leaf_node.sum()))
        start = before[s.split] - s.first_leaf[s.tree]
        middle = before[s.right] - s.first_leaf[s.tree]
        stop = before[subtree_ends(s.sizes, s.split, s.right)[s.split]] - s.first_leaf[s.tree]
        times = (stop - 1) // 64 - start // 64 + 1
        which = np.repeat(np.arange(len(s.split)), times)
        word = start[which] // 64 + np.arange(len(which)) - np.repeat(np.cumsum(times) - times, times)
        # A pair is a word of a tree and a feature that matters to it.
        width = len(used) + 1
        keys = (made.first_word[s.tree[which]] + word) * width + slot[which]
        bare = np.setdiff1d(np.arange(len(made.word)), keys // width)
        pairs = np.unique(np.concatenate([keys, bare * width + len(used)]))
        made.pair_slot = pairs % width
        made.first_pair = np.searchsorted(pairs // width, np.arange(len(made.word)))
        made.lengths = sizes[made.pair_slot]
        if int(made.lengths.sum()) > _MAX_MASKS:
            return None
        made.offset = np.cumsum(made.lengths) - made.lengths
        made.width = len(pairs)
        made.lists = [c.tolist() for c in made.cuts]
        # Bits of the leaves on the right are cleared by going left, and the other way round.
        low = [_low(edge[which] - 64 * word) for edge in (start, middle, stop)]
        keep_left, keep_right = ~(low[2] & ~low[1]), ~(low[1] & ~low[0])
        made._fill(s, which, np.searchsorted(pairs, keys), place[which], slot[which], keep_left, keep_right)
        return made

    def _fill(
        self,
        s: _Shape,
        which: np.ndarray,
        pair: np.ndarray,
        place: np.ndarray,
        slot: np.ndarray,
        keep_left: np.ndarray,
        keep_right: np.ndarray,
    ) -> None:
        """Make the tables: for each interval, the leaves that a tree's splits on the feature leave open.

        which: split of each entry; pair, place, slot: its pair, place among the feature's thresholds, feature;
        keep_left, keep_right: bits that stay where it is answered so.
        """
        table = np.full(int(self.lengths.sum()), _FULL, dtype=np.uint64)
        by_set = s.category[which] >= 0
        order = np.lexsort((place, pair))
        order = order[~by_set[order]]
        if len(order):
            p, j = pair[order], place[order]
            high = _running_and(keep_right[order], p)  # after split i: all splits up to i answered "right"
            low = _running_and(keep_left[order][::-1], p[::-1])[::-1]  # splits from i on answered "left"
            first = np.flatnonzero(np.append(True, p[1:] != p[:-1]))
            last = np.append(first[1:], len(p)) - 1
            # Region i of a pair reaches from the threshold before split i to that of split i.
            region = low.copy()
            inner = np.ones(len(p), dtype=bool)
            inner[first] = False
            region[inner] &= high[np.flatnonzero(inner) - 1]
            reach = j + 1
            reach[inner] = j[inner] - j[np.flatnonzero(inner) - 1]
            cuts = self.lengths[p[last]] - 3  # thresholds of the feature
            values = np.insert(region, last + 1, high[last])
            repeats = np.insert(reach, last + 1, cuts - j[last])
            flat = np.repeat(values, repeats)
            spots = np.repeat(self.offset[p[first]], cuts + 1)
            inside = np.arange(len(flat)) - np.repeat(np.cumsum(cuts + 1) - (cuts + 1), cuts + 1)
            table[spots + inside] = flat
            # NaN, then zero-as-missing.
            mark = s.mark[which[order]]
            at_zero = np.array(
                [int(np.searchsorted(c, 0.0, side="right" if self.strict else "left")) for c in self.cuts] or [0]
            )[slot[order]]
            left = np.where(mark == 2, at_zero <= j, (mark & 1) == 1)
            odd = np.bitwise_and.reduceat(np.where(left, keep_left[order], keep_right[order]), first)
            table[self.offset[p[first]] + cuts + 1] = odd
            table[self.offset[p[first]] + cuts + 2] = odd
        row = np.zeros(s.top + 2, dtype=bool)
        for i in np.flatnonzero(by_set).tolist():
            split = int(which[i])
            levels = s.levels_of(int(s.category[split]))
            row[levels] = True
            row[s.top + 1] = (s.mark[split] & 1) == 1
            at = self.offset[pair[i]]
            table[at : at + s.top + 2] &= np.where(row, keep_left[i], keep_right[i])
            row[levels] = False
        # Bits beyond a tree's own leaves are never set.
        own = _low(np.repeat(s.leaves, self.words) - 64 * self.word)  # (words,)
        of_pair = np.searchsorted(self.first_pair, np.arange(len(self.offset)), side="right") - 1
        table &= np.repeat(own[of_pair], self.lengths)
        self.table = table.astype(np.uint32) if int(s.leaves.max()) <= 32 else table

    def _bins(self, x: np.ndarray) -> np.ndarray:
        """Interval numbers (used features + 1, n) of rows (n, features)."""
        n = len(x)
        bins = np.zeros((len(self.used) + 1, n), dtype=np.intp)
        if n <= 4 and len(self.used) <= 200:
            search = bisect_right if self.strict else bisect_left
            used = self.used.tolist()
            for r, row in enumerate(x.tolist()):
                bins[:-1, r] = [
                    search(self.lists[i], row[f])
                    if self.kinds[i] == "number" and row[f] == row[f]
                    else self._odd_bin(i, row[f])
                    for i, f in enumerate(used)
                ]
            return bins
        side = "right" if self.strict else "left"
        for i, f in enumerate(self.used.tolist()):
            column = x[:, f].astype(np.float64)
            nan = np.isnan(column)
            own = bins[i]
            if self.kinds[i] == "category":
                inside = (column > -1) & (column < self.top)
                own[:] = self.top
                own[inside] = column[inside].astype(np.intp)
                own[nan | (column <= -1)] = self.top + 1
                continue
            own[:] = np.searchsorted(self.cuts[i], column, side=side)
            own[nan] = len(self.cuts[i]) + 1
            if self.kinds[i] == "zero":
                own[np.abs(column) <= _ZERO] = len(self.cuts[i]) + 2
        return bins

    def _odd_bin(self, i: int, value: float) -> int:
        if self.kinds[i] == "category":
            if value != value or value <= -1:
                return self.top + 1
            return int(value) if value < self.top else self.top
        if value != value:
            return len(self.lists[i]) + 1
        if self.kinds[i] == "zero" and abs(value) <= _ZERO:
            return len(self.lists[i]) + 2
        return (bisect_right if self.strict else bisect_left)(self.lists[i], value)

    def leaves(self, x: np.ndarray) -> np.ndarray:
        """Leaf numbers (n, trees) of a few rows."""
        bins = self._bins(x)
        if len(x) == 1:
            left = self.table.take(self.offset + bins[:, 0].take(self.pair_slot))
            left = np.bitwise_and.reduceat(left, self.first_pair)[None, :]
        else:
            left = self.table.take(self.offset + bins.T.take(self.pair_slot, axis=1))  # (n, pairs)
            left = np.bitwise_and.reduceat(left, self.first_pair, axis=1)  # (n, words)
        number = left.astype(np.float64).view(np.int64) >> 52
        if len(self.word) > len(self.first_word):
            number = np.maximum.reduceat(number + 64 * self.word, self.first_word, axis=1)
        return number + (self.first_leaf - 1023)

    def each(self, x: np.ndarray) -> Iterator[np.ndarray]:
        """Leaf numbers (n,) of a block of rows, tree by tree. The array is used again for the next tree."""
        if self.views is None:
            bounds = np.append(self.first_pair, len(self.offset)).tolist()
            pairs = [
                (slot, self.table[at : at + length])
                for slot, at, length in zip(self.pair_slot.tolist(), self.offset.tolist(), self.lengths.tolist())
            ]
            words = [pairs[a:b] for a, b in pairwise(bounds)]
            self.views = [words[a:b] for a, b in pairwise(np.append(self.first_word, len(words)).tolist())]
        bins = list(self._bins(x))
        n = len(x)
        mask, other = np.empty(n, dtype=self.table.dtype), np.empty(n, dtype=self.table.dtype)
        number, second = np.empty(n), np.empty(n)
        bits, more = number.view(np.int64), second.view(np.int64)
        for tree, first in zip(self.views, (self.first_leaf - 1023).tolist()):
            for word, pairs in enumerate(tree):
                slot, table = pairs[0]
                table.take(bins[slot], out=mask, mode="clip")
                for slot, table in pairs[1:]:
                    table.take(bins[slot], out=other, mode="clip")
                    np.bitwise_and(mask, other, out=mask)
                if word == 0:  # the number of the one bit that is set is the exponent of the mask as a float
                    number[:] = mask
                    np.right_shift(bits, 52, out=bits)
                else:  # only one word of a tree has a bit left; of the others, 0 is what remains
                    second[:] = mask
                    np.right_shift(more, 52, out=more)
                    np.add(more, 64 * word, out=more)
                    np.maximum(bits, more, out=bits)
            bits += first
            yield bits


def _low(count: np.ndarray) -> np.ndarray:
    """Words whose lowest `count` bits are set, all of them from 64 on."""
    one = np.uint64(1)
    some = (one << np.clip(count, 0, 63).astype(np.uint64)) - one
    return np.where(count >= 64, _FULL, some)


def _running_and(values: np.ndarray, segment: np.ndarray) -> np.ndarray:
    """Running AND within stretches of equal `segment`, by doubling."""
    out = values.copy()
    step = 1
    while step < len(out):
        same = segment[step:] == segment[:-step]
        if not same.any():
            break
        merged = out[step:] & out[:-step]
        out[step:] = np.where(same, merged, out[step:])
        step *= 2
    return out


class _Walker:
    """Leaves by walking level by level."""

    block = _WALK_BLOCK

    def __init__(self, s: _Shape, trees: Trees):
        nodes = s.nodes
        # Siblings become neighbours: the children of the i-th split of a tree get places 1 + 2i and 2 + 2i.
        first_split = np.searchsorted(s.split, s.roots)
        child = s.roots[s.tree] + 1 + 2 * (np.arange(len(s.split)) - first_split[s.tree])
        place = np.zeros(nodes, dtype=np.int64)
        place[s.roots] = s.roots
        place[s.split + 1] = child
        place[s.right] = child + 1
        at = place[s.split]
        self.roots = s.roots
        self.width = len(s.roots) * 8
        self.strict = s.strict
        # One record per node, so that a step touches one line of memory: threshold, child, feature.
        self.record = np.zeros(nodes, dtype=np.complex128)
        view = self.record.view(np.int32).reshape(nodes, 4)
        threshold = self.record.view(np.float64).reshape(nodes, 2)
        threshold[:, 0] = np.nan  # leaves: no value is above NaN, so they stay where they are
        threshold[at, 0] = trees.threshold
        view[:, 2] = np.arange(nodes)
        view[at, 2] = child
        view[at, 3] = s.feature
        self.is_split = np.zeros(nodes, dtype=bool)
        self.is_split[at] = True
        self.leaf = np.zeros(nodes, dtype=np.int64)
        self.leaf[place[s.leaf_node.nonzero()[0]]] = np.arange(int(s.leaf_node.sum()))
        kinds = np.unique(s.mark)
        self.by_set = s.sets > 0
        # Where all splits agree on NaN, it is replaced before the walk.
        agreed = {0: np.inf, 1: -np.inf, 2: 0.0}
        self.instead = agreed.get(int(kinds[0])) if len(kinds) == 1 and not self.by_set else None
        if len(kinds) == 0:
            self.instead = 0.0
        self.mark = np.ones(nodes, dtype=np.int8)
        self.mark[at] = s.mark
        self.any_zero = bool((s.mark >= 4).any())
        self.category = np.full(nodes, -1, dtype=np.int64)
        self.category[at] = s.category
        self.top = s.top
        self.members = np.unique(s.set_of * (s.top + 2) + s.set_levels)  # set and level in one number

    def leaves(self, x: np.ndarray) -> np.ndarray:
        """Leaf numbers (n, trees) of a few rows."""
        n, t = len(x), len(self.roots)
        x, plain = self._ready(x)
        node = np.tile(self.roots, n)
        row = np.repeat(np.arange(n) * x.shape[1], t) if n > 1 else None
        return self.leaf.take(self._go(x.ravel(), node, row, plain)).reshape(n, t)

    def each(self, x: np.ndarray) -> Iterator[np.ndarray]:
        """Leaf numbers (n,) of a block of rows, tree by tree."""
        x, plain = self._ready(x)
        row = np.arange(len(x)) * x.shape[1]
        flat = x.ravel()
        for root in self.roots.tolist():
            yield self.leaf.take(self._go(flat, np.full(len(x), root), row, plain))

    def _ready(self, x: np.ndarray) -> tuple[np.ndarray, bool]:
        """(rows as float64, whether the plain comparison is all that is needed)."""
        x = np.ascontiguousarray(x, dtype=np.float64)
        if self.by_set or self.any_zero:
            return x, False
        nan = np.isnan(x)
        if not nan.any():
            return x, True
        if self.instead is None:
            return x, False
        return np.where(nan, self.instead, x), True

    def _go(self, flat: np.ndarray, node: np.ndarray, row: np.ndarray | None, plain: bool) -> np.ndarray:
        """Walk until every row is at a leaf. node (m,) starting nodes, row (m,) where each row starts in `flat`."""
        above = np.greater_equal if self.strict else np.greater
        done = np.empty(0, dtype=np.int64)
        active: np.ndarray | None = None  # None: all
        level = 0
        while True:
            record = self.record.take(node)
            numbers = record.view(np.int32)
            at = numbers[3::4] if row is None else numbers[3::4] + row
            value = flat.take(at)
            if plain:
                step = above(value, record.view(np.float64)[::2])
            else:
                step = ~self._left(value, node, record.view(np.float64)[::2])
            node = numbers[2::4] + step
            level += 1
            if level % 4:
                continue
            left = self.is_split.take(node)
            going = int(np.count_nonzero(left))
            if going == 0:
                if active is None:
                    return node
                done[active] = node
                return done
            if going < 0.7 * len(node):  # leave those at their leaves behind
                if active is None:
                    done, active = node.astype(np.int64), np.flatnonzero(left)
                else:
                    done[active] = node
                    active = active[left]
                node = node[left]
                row = None if row is None else row[left]

    def _left(self, x: np.ndarray, node: np.ndarray, threshold: np.ndarray) -> np.ndarray:
        """Whether each goes left, with all rules for missing cells and categories. Leaves always do."""
        mark = self.mark.take(node)
        nan = np.isnan(x)
        value = np.where(nan, 0.0, x)
        left = value < threshold if self.strict else value <= threshold
        gone = nan | ((mark >= 4) & (np.abs(value) <= _ZERO))
        left = np.where(gone & (mark != 2), (mark & 1) == 1, left)
        if self.by_set:
            category = self.category.take(node)
            where = np.flatnonzero(category >= 0)
            code = value[where]
            code = np.where((code > -1) & (code < self.top), code, self.top).astype(np.int64)
            code += category[where] * (self.top + 2)
            spot = np.searchsorted(self.members, code)
            inside = self.members.take(spot, mode="clip") == code if len(self.members) else code < 0
            lost = nan[where] | (value[where] <= -1)
            left[where] = np.where(lost, (mark[where] & 1) == 1, inside)
        return left | ~self.is_split.take(node)


class ObliviousEngine:
    """Sums of an Oblivious step: comparisons give the bits of a leaf's number."""

    def __init__(self, trees: Oblivious):
        self.outputs = trees.outputs
        self.value = trees.value
        depths = trees.depths.astype(np.int64)
        self.depths = depths.tolist()
        self.deepest = max(1, int(depths.max()))
        self.first_leaf = np.cumsum(1 << depths) - (1 << depths)
        self.feature = trees.feature.astype(np.int64)
        self.border = trees.border
        # All trees as deep as the deepest, with questions that nothing answers with yes: one shape for few rows.
        inside = np.arange(self.deepest) < depths[:, None]
        self.features = np.zeros(inside.shape, dtype=np.int64)
        self.features[inside] = self.feature
        self.borders = np.full(inside.shape, np.inf, dtype=np.float32)
        self.borders[inside] = self.border
        self.weights = 1 << np.arange(self.deepest)
        self.nan_true = None
        if trees.nan_true is not None and trees.nan_true.any():
            self.nan_true = trees.nan_true.astype(bool)

    def sums(self, matrix: np.ndarray) -> np.ndarray:
        """(n, features) -> (n, outputs) float64."""
        x = matrix.astype(np.float32)
        if self.nan_true is not None:
            x[np.isnan(x) & self.nan_true] = np.inf
        n = len(x)
        if n * self.features.size <= 4 * _FEW or n <= 64:
            if n * self.features.size > 16 * _FEW:
                return np.concatenate([self._few(x[i : i + 1]) for i in range(n)])
            return self._few(x)
        total = np.empty((n, self.outputs))
        for start in range(0, n, _BIT_BLOCK):
            total[start : start + _BIT_BLOCK] = self._many(x[start : start + _BIT_BLOCK])
        return total

    def _few(self, x: np.ndarray) -> np.ndarray:
        yes = x.take(self.features, axis=1) > self.borders  # (n, trees, depth)
        leaf = yes @ self.weights + self.first_leaf  # (n, trees)
        return np.add.accumulate(self.value[leaf], axis=1)[:, -1]  # one after the other, not in pairs

    def _many(self, x: np.ndarray) -> np.ndarray:
        columns = np.ascontiguousarray(x.T)  # (features, n)
        n = len(x)
        total = np.zeros((n, self.outputs)) if self.outputs > 1 else np.zeros(n)
        column = np.ascontiguousarray(self.value[:, 0])
        small = np.uint8 if self.deepest <= 8 else np.uint16 if self.deepest <= 16 else np.uint32
        yes, room = np.empty(n, dtype=bool), np.empty(n)
        number, leaf = np.empty(n, dtype=small), np.empty(n, dtype=np.intp)
        features, borders = self.feature.tolist(), list(self.border)
        answer = yes.view(np.uint8)
        start = stop = 0
        for depth in self.depths:
            number[:] = 0
            stop += depth
            for question in range(stop - 1, stop - depth - 1, -1):  # highest bit first: double and add
                np.greater(columns[features[question]], borders[question], out=yes)
                np.add(number, number, out=number)
                np.bitwise_or(number, answer, out=number)
            leaf[:] = number
            if self.outputs > 1:
                leaf += start
                total += self.value.take(leaf, axis=0)
            else:
                column[start : start + (1 << depth)].take(leaf, out=room, mode="clip")
                total += room
            start += 1 << depth
        return total if self.outputs > 1 else total[:, None]
