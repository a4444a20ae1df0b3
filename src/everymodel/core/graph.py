"""A graph: nodes with ids of any kind, edges in compressed rows, and features of nodes. numpy alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from everymodel.core.errors import DataError, TargetError
from everymodel.core.finding import Finding

SPARSE_SHARE = 0.25  # features of which fewer cells than this are other than zero are kept in compressed rows
SPARSE_CELLS = 50_000
_BLOCK = 1 << 22  # numbers gathered at once in a product


class Rows:
    """A matrix in compressed rows (CSR).

    values (m,) float64, columns (m,) int64, starts (n + 1,) int64, shape (n, p).
    """

    __slots__ = ("columns", "shape", "starts", "values")

    def __init__(self, values: np.ndarray, columns: np.ndarray, starts: np.ndarray, shape: tuple[int, int]):
        self.values = np.asarray(values, dtype=np.float64)
        self.columns = np.asarray(columns, dtype=np.int64)
        self.starts = np.asarray(starts, dtype=np.int64)
        self.shape = (int(shape[0]), int(shape[1]))

    def __len__(self) -> int:
        return self.shape[0]

    @staticmethod
    def of(row: np.ndarray, column: np.ndarray, values: np.ndarray, shape: tuple[int, int]) -> Rows:
        """From entries (row, column, value) in any order; no entry may come twice."""
        order = np.argsort(row * np.int64(max(shape[1], 1)) + column, kind="stable")
        counts = np.bincount(row, minlength=shape[0])
        return Rows(values[order], column[order], np.concatenate([[0], np.cumsum(counts)]), shape)

    @property
    def row(self) -> np.ndarray:
        """(m,) the row of every entry."""
        return np.repeat(np.arange(self.shape[0]), np.diff(self.starts))

    def transposed(self) -> tuple[Rows, np.ndarray]:
        """The transposed matrix, and the order (m,) in which it holds this one's entries."""
        order = np.argsort(self.columns, kind="stable")
        counts = np.bincount(self.columns, minlength=self.shape[1])
        starts = np.concatenate([[0], np.cumsum(counts)])
        return Rows(self.values[order], self.row[order], starts, (self.shape[1], self.shape[0])), order

    def dot(self, dense: np.ndarray) -> np.ndarray:
        """This (n, p) times dense (p, k) -> (n, k), in the precision of `dense`."""
        return self.reduced(dense, np.add, self.values.astype(dense.dtype, copy=False))

    def reduced(self, dense: np.ndarray, by: np.ufunc, weights: np.ndarray | None) -> np.ndarray:
        """Row i is `by` over rows of `dense` (p, k) at its columns, times weights (m,); 0 where there is none."""
        out = np.zeros((self.shape[0], dense.shape[1]), dtype=dense.dtype)
        rows = np.flatnonzero(np.diff(self.starts))
        step = max(_BLOCK // max(dense.shape[1], 1), 1)  # entries at once
        low = 0
        while low < len(rows):
            high = int(np.searchsorted(self.starts[rows], self.starts[rows[low]] + step))
            high = max(high, low + 1)
            some = rows[low:high]
            a, b = self.starts[some[0]], self.starts[some[-1] + 1]
            taken = dense[self.columns[a:b]]
            if weights is not None:
                taken = taken * weights[a:b, None]
            out[some] = by.reduceat(taken, self.starts[some] - a, axis=0)
            low = high
        return out

    def take(self, rows: np.ndarray) -> Rows:
        """These rows (k,), in this order."""
        sizes = np.diff(self.starts)[rows]
        starts = np.concatenate([[0], np.cumsum(sizes)])
        entry = np.arange(starts[-1]) + np.repeat(self.starts[rows] - starts[:-1], sizes)
        return Rows(self.values[entry], self.columns[entry], starts, (len(rows), self.shape[1]))

    def toarray(self) -> np.ndarray:
        dense = np.zeros(self.shape)
        dense[self.row, self.columns] = self.values
        return dense


class Graph:
    """Nodes, edges between them, and what is known of each node.

    Self-loops are taken off (layers that need a node itself add it), an edge that comes several times counts once (its
    weights add up), edges to nodes that are not listed are left out. All of that is counted in `findings`.

    Parameters
    ----------
    edges : (m, 2) ids of source and target, or a pair of sequences; ids may be of any kind that can be hashed.
    nodes : (n,) ids. Default: 0 to n - 1 where there are features for n nodes, else every id that occurs in an edge.
    features : (n, p) numbers, rows as `nodes`; NaN for what is missing; sparse matrices of scipy stay sparse.
    directed : whether messages flow from source to target alone.
    weights : (m,) positive weights of edges; 1 each by default.

    Attributes
    ----------
    ids : (n,) node ids. adjacency : Rows (n, n), row i holds those whose messages i receives, without self-loops.
    features : ndarray (n, p) float64, Rows (n, p), or None. findings : list of Finding.

    Raises
    ------
    DataError
        for edges that are no pairs, repeated ids, features of another length, infinite numbers, no node at all.

    Examples
    --------
    >>> graph = Graph([("a", "b"), ("b", "c"), ("c", "c")], nodes=["a", "b", "c", "d"])
    >>> len(graph), graph.adjacency.columns.tolist()
    (4, [1, 0, 2, 1])
    """

    def __init__(
        self,
        edges: Any,
        nodes: Sequence[Any] | np.ndarray | None = None,
        features: Any = None,
        directed: bool = False,
        weights: Any = None,
    ):
        source, target = _ends(edges)
        self.directed = bool(directed)
        self.features = None if features is None else _features(features)
        self.findings: list[Finding] = []
        if nodes is None and self.features is not None:
            nodes = np.arange(len(self.features))
        self.ids = _listed(nodes) if nodes is not None else _distinct(source, target)
        if not len(self.ids):
            raise DataError("The graph has no nodes: it needs edges, a list of nodes, or features.")
        if self.features is not None and len(self.features) != len(self.ids):
            raise DataError(f"There are features for {len(self.features)} nodes and ids for {len(self.ids)}.")
        self._place: dict[Any, int] | None = None
        self.adjacency = self._adjacency(self.places(source), self.places(target), _weights(weights, len(source)))
        alone = int((self.degrees() == 0).sum()) if len(self.ids) > 1 else 0
        if alone:
            self._note("isolated-nodes", f"{alone:,} of {len(self.ids):,} nodes have no edge.",
                       "They are judged by their own features alone.", alone)  # fmt: skip

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        p = 0 if self.features is None else self.features.shape[1]
        return f"<Graph: {len(self):,} nodes, {self.edges:,} edges, {p} features>"

    @property
    def edges(self) -> int:
        """Edges that are kept; one between two nodes counts once unless the graph is directed."""
        return len(self.adjacency.columns) // (1 if self.directed else 2)

    def degrees(self) -> np.ndarray:
        """(n,) edges of each node, in either direction."""
        own = np.diff(self.adjacency.starts)
        return own + np.bincount(self.adjacency.columns, minlength=len(self)) if self.directed else own

    def places(self, ids: Any) -> np.ndarray:
        """(k,) int64 row numbers of the nodes called so; -1 for those that are not there."""
        known = self.ids
        ids = np.asarray(ids) if getattr(ids, "dtype", None) is not None else _column(ids)
        if known.dtype.kind in "iu" and ids.dtype.kind in "iu":
            if np.array_equal(known, np.arange(len(known))):
                return np.where((ids >= 0) & (ids < len(known)), ids, -1).astype(np.int64)
            order = np.argsort(known)
            place = order[np.clip(np.searchsorted(known, ids, sorter=order), 0, len(known) - 1)]
            return np.where(known[place] == ids, place, -1)
        if self._place is None:
            self._place = {node: i for i, node in enumerate(known.tolist())}
        find = self._place.get
        try:
            return np.array([find(node, -1) for node in ids.tolist()], dtype=np.int64)
        except TypeError as error:
            raise DataError(
                f"An id of a node is of a kind that names nothing: {error}. Use numbers or texts."
            ) from error

    def _adjacency(self, source: np.ndarray, target: np.ndarray, weight: np.ndarray | None) -> Rows:
        n, m = len(self.ids), len(source)
        known = (source >= 0) & (target >= 0)
        if not known.all():
            lost = int(m - known.sum())
            self._note("edges-to-missing-nodes", f"{lost:,} of {m:,} edges name a node that is not there.",
                       "They are left out. Add those nodes, or see how ids are written.", lost, "warning")  # fmt: skip
        loops = known & (source == target)
        if loops.any():
            self._note("self-loops", f"{int(loops.sum()):,} edges lead from a node to itself.",
                       "They are left out: every node sees itself anyway.", int(loops.sum()))  # fmt: skip
        keep = known & ~loops
        source, target = source[keep], target[keep]
        weight = np.ones(len(source)) if weight is None else weight[keep]
        low, high = (target, source) if self.directed else (np.minimum(source, target), np.maximum(source, target))
        key, first, place = np.unique(low * np.int64(n) + high, return_index=True, return_inverse=True)
        if len(key) < len(low):
            twice = len(low) - len(key)
            either = "" if self.directed else " (in one direction or the other)"
            self._note("repeated-edges", f"{twice:,} edges come more than once{either}.",
                       "Each counts once; weights that were given add up.", twice)  # fmt: skip
        total = np.bincount(place.ravel(), weight, len(key)) if not np.all(weight == 1) else np.ones(len(key))
        low, high = low[first], high[first]
        if not self.directed:
            low, high, total = np.concatenate([low, high]), np.concatenate([high, low]), np.concatenate([total, total])
        return Rows.of(low, high, total, (n, n))

    def _note(self, code: str, message: str, advice: str, count: int, severity: str = "info") -> None:
        self.findings.append(Finding(code, severity, message, advice, data={"count": count}))


def spread(adjacency: Rows, how: str) -> Rows:
    """The matrix by which messages are summed.

    "symmetric": D^-1/2 (A + I) D^-1/2 (Kipf and Welling 2017; of a directed graph, by in- and out-degree).
    "mean": each row of A sums to 1, without the node itself. "self": A + I as it is. "plain": A as it is.
    """
    n = len(adjacency)
    if how == "plain":
        return adjacency
    if how == "mean":
        total = np.bincount(adjacency.row, adjacency.values, n)
        values = adjacency.values / total[adjacency.row]
        return Rows(values, adjacency.columns, adjacency.starts, adjacency.shape)
    here = np.arange(n)
    row, column = np.concatenate([adjacency.row, here]), np.concatenate([adjacency.columns, here])
    value = np.concatenate([adjacency.values, np.ones(n)])
    if how == "symmetric":
        into, out = np.bincount(row, value, n), np.bincount(column, value, n)
        value = value / np.sqrt(into[row] * out[column])
    return Rows.of(row, column, value, (n, n))


def joined(graphs: Iterable[Graph]) -> tuple[Rows, Any, np.ndarray]:
    """(adjacency, features, sizes (g,)) of several graphs as one without edges between them.

    Raises
    ------
    DataError
        when some have features and some have none, or not equally many.
    """
    graphs = list(graphs)
    sizes = np.array([len(g) for g in graphs], dtype=np.int64)
    widths = {None if g.features is None else g.features.shape[1] for g in graphs}
    if len(widths) != 1:
        raise DataError(
            f"Graphs with different numbers of features came ({sorted(map(str, widths))}); give all the same."
        )
    shift = np.repeat(np.cumsum(sizes) - sizes, [len(g.adjacency.columns) for g in graphs])
    counts = np.concatenate([np.diff(g.adjacency.starts) for g in graphs])
    adjacency = Rows(
        np.concatenate([g.adjacency.values for g in graphs]),
        np.concatenate([g.adjacency.columns for g in graphs]) + shift,
        np.concatenate([[0], np.cumsum(counts)]),
        (int(sizes.sum()), int(sizes.sum())),
    )
    if None in widths:
        return adjacency, None, sizes
    return adjacency, np.concatenate([dense(g.features) for g in graphs]), sizes


def dense(features: Any) -> np.ndarray:
    """Features (n, p) as an ordinary matrix."""
    return features.toarray() if isinstance(features, Rows) else features


def mask_of(mask: Any, n: int, name: str) -> np.ndarray:
    made = np.asarray(mask)
    if made.shape != (n,) or made.dtype != bool:
        raise DataError(f"{name} has shape {made.shape} of {made.dtype}; expected true or false for each of {n} nodes.")
    return made


def labelled(graph: Graph, y: Any, mask: Any, classes: bool) -> tuple[np.ndarray, np.ndarray]:
    """(numbers (k,) of the nodes with a label, their labels)."""
    n = len(graph)
    if isinstance(y, dict):
        places = graph.places(list(y))
        if (places < 0).any():
            lost = [node for node, place in zip(y, places.tolist()) if place < 0]
            raise TargetError(f"{len(lost)} labelled nodes are not in the graph, such as {lost[0]!r}.")
        order = np.argsort(places)
        rows, labels = places[order], np.array(list(y.values()))[order]
    else:
        labels = y.to_numpy() if hasattr(y, "to_numpy") else np.asarray(y)
        if labels.ndim == 0 or len(labels) != n:
            raise TargetError(
                f"There are {labels.shape[:1]} labels for {n} nodes. Give one for each, None for unknown."
            )
        rows = np.arange(n)
    if labels.ndim == 1:
        known = np.array([not (v is None or v != v) for v in labels.tolist()], dtype=bool)
        if classes and labels.dtype.kind == "i" and len(np.unique(labels[labels != -1])) > 1:
            known &= labels != -1
    else:
        known = np.isfinite(labels.astype(np.float64)).all(axis=1)
    if mask is not None:
        known &= mask_of(mask, n, "train_mask")[rows]
    rows, labels = rows[known], labels[known]
    if labels.dtype == object and len(labels):
        labels = np.array(labels.tolist())
    if not len(rows):
        raise TargetError("No node has a label to learn from: all are missing, or left out by train_mask.")
    whole = labels.dtype.kind == "f" and classes and np.all(labels == np.round(labels))
    return rows, labels.astype(np.int64) if whole else labels  # whole numbers beside NaN had to be floats


def _ends(edges: Any) -> tuple[np.ndarray, np.ndarray]:
    """Sources and targets of edges."""
    if hasattr(edges, "iloc") and hasattr(edges, "columns"):  # a frame: its first two columns
        if edges.shape[1] < 2:
            raise DataError(f"A table of edges has two columns, source and target; this one has {edges.shape[1]}.")
        return edges.iloc[:, 0].to_numpy(), edges.iloc[:, 1].to_numpy()
    pair = isinstance(edges, tuple) and len(edges) == 2
    if pair and all(hasattr(side, "__len__") and not isinstance(side, str) for side in edges):
        source, target = _column(edges[0]), _column(edges[1])
        if len(source) != len(target):
            raise DataError(f"There are {len(source)} sources and {len(target)} targets of edges.")
        return source, target
    if isinstance(edges, np.ndarray):
        if edges.size == 0:
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        if edges.ndim != 2 or edges.shape[1] != 2:
            raise DataError(f"Edges of shape {edges.shape} came; expected (m, 2): source and target of each.")
        return edges[:, 0], edges[:, 1]
    listed = list(edges)
    try:
        if any(isinstance(edge, str) or len(edge) != 2 for edge in listed):
            raise TypeError
    except TypeError:
        raise DataError("Edges are pairs (source, target); something else came among them.") from None
    return _column([a for a, _ in listed]), _column([b for _, b in listed])


def _column(values: Any) -> np.ndarray:
    """Ids (n,), as whole numbers where all of them are, else as they came."""
    if isinstance(values, np.ndarray):
        return values
    if hasattr(values, "to_numpy"):
        return values.to_numpy()
    values = list(values)
    if values and all(isinstance(v, int | np.integer) and not isinstance(v, bool) for v in values):
        return np.array(values)
    out = np.empty(len(values), dtype=object)
    out[:] = values
    return out


def _missing(node: Any) -> bool:
    return node is None or (isinstance(node, float) and node != node)


def _listed(nodes: Any) -> np.ndarray:
    ids = _column(nodes)
    if ids.ndim != 1:
        raise DataError(f"Ids of nodes of shape {ids.shape} came; expected one id for each node.")
    listed = ids.tolist()
    if any(_missing(node) for node in listed):
        raise DataError(f"{sum(map(_missing, listed))} nodes have no id. Every node needs one.")
    twice = len(listed) - len(set(listed))
    if twice:
        seen: set[Any] = set()
        first = next(node for node in listed if node in seen or seen.add(node))
        raise DataError(
            f"{twice} ids of nodes come more than once, such as {first!r}. Every node needs an id of its own."
        )
    return ids


def _distinct(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Every id of an edge: sorted where they are numbers, else as they first come."""
    if source.dtype.kind in "iu" and target.dtype.kind in "iu":
        return np.unique(np.concatenate([source, target]))
    both = [node for pair in zip(source.tolist(), target.tolist()) for node in pair]
    return _column([node for node in dict.fromkeys(both) if not _missing(node)])


def _weights(weights: Any, m: int) -> np.ndarray | None:
    if weights is None:
        return None
    made = np.asarray(weights, dtype=np.float64)
    if made.shape != (m,):
        raise DataError(f"Weights of shape {made.shape} came for {m} edges.")
    if not (np.isfinite(made) & (made > 0)).all():
        bad = int((~(np.isfinite(made) & (made > 0))).sum())
        raise DataError(f"{bad} of {m} weights of edges are missing, infinite, zero or below. Leave those edges out.")
    return made


def _features(features: Any) -> np.ndarray | Rows:
    if isinstance(features, Rows):
        made: np.ndarray | Rows = features
    elif hasattr(features, "tocsr"):
        csr = features.tocsr()
        csr.sum_duplicates()
        made = Rows(csr.data, csr.indices, csr.indptr, csr.shape)
    else:
        try:
            made = np.asarray(features, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise DataError(f"Features of nodes must be numbers: {error}.") from error
        if made.ndim != 2:
            raise DataError(f"Features of shape {made.shape} came; expected (n, p): a row for each node.")
        if made.size >= SPARSE_CELLS and np.count_nonzero(made) < SPARSE_SHARE * made.size:
            row, column = np.nonzero(made)
            made = Rows.of(row, column, made[row, column], made.shape)  # type: ignore[arg-type]
    numbers = made.values if isinstance(made, Rows) else made
    if np.isinf(numbers).any():
        raise DataError(f"{int(np.isinf(numbers).sum())} features of nodes are infinite. Correct them, or use NaN.")
    return made
