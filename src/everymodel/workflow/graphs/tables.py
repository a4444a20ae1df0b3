"""From two tables to a graph: which columns name nodes, what is known of each node as numbers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from everymodel.core.errors import DataError, TargetError
from everymodel.core.finding import Finding
from everymodel.core.graph import SPARSE_SHARE, Graph, Rows, dense
from everymodel.core.schema import Schema
from everymodel.scoring import cells, table
from everymodel.scoring.graph import Pack

if TYPE_CHECKING:
    import pandas as pd

WEIGHTS = ("weight", "weights")
_LOOKED = 2000  # edges by which columns are recognised


@dataclass
class Known:
    """What two tables say of a graph."""

    graph: Graph
    column: str  # of the nodes' table, names the nodes
    words: np.ndarray  # (n,) ids as text, in the order of the nodes' table
    findings: list[Finding]
    ends: tuple[str, str] = ("", "")  # columns of the edges' table
    weight: str | None = None


def connect(edges: pd.DataFrame, nodes: pd.DataFrame, target: str) -> Known:
    """Find the columns that name nodes, and make the graph (without features yet).

    Raises
    ------
    DataError
        where no column of the nodes' table names what two columns of the edges' table name.
    """
    if edges.shape[1] < 2:
        raise DataError(f"The table of edges has {edges.shape[1]} column; two are needed, source and target of each.")
    if not len(nodes):
        raise DataError("The table of nodes has no rows, so there is nothing to learn from.")
    column, pair = ends_of(edges, nodes, (target,))
    words = cells.as_text(nodes[column])
    empty = int((words == "").sum())
    twice = len(words) - len(set(words.tolist()))
    if empty or twice:
        raise DataError(
            f"In the nodes' table {empty} rows have no {column!r} and {twice} repeat one. Each node needs one row, and "
            "an id of its own."
        )
    findings, weights = [], None
    spare = [name for name in edges.columns if name not in pair]
    named = next((name for name in spare if str(name).strip().lower() in WEIGHTS), None)
    keep = np.ones(len(edges), bool)
    if named is not None:
        numbers, _ = cells.to_numbers(edges[named])
        keep = np.isfinite(numbers) & (numbers > 0)
        weights = numbers[keep]
        if not keep.all():
            findings.append(
                Finding(
                    "edges-without-weight",
                    "warning",
                    f"{int((~keep).sum()):,} edges have no weight above zero in {named!r}.",
                    "They are left out.",
                    (str(named),),
                    {"count": int((~keep).sum())},
                )
            )
    unused = [str(name) for name in spare if name != named]
    if unused:
        findings.append(
            Finding(
                "edge-columns-unused",
                "info",
                f"Columns of edges are not read: {', '.join(unused[:8])}.",
                'A column called "weight" would be.',
                tuple(unused),
            )
        )
    source, goal = (cells.as_text(edges[name])[keep] for name in pair)
    source, goal = (np.where(side == "", None, side) for side in (source, goal))
    graph = Graph((source, goal), nodes=words, weights=weights)
    if not graph.edges:
        raise DataError(
            "No edge leads from one node of the nodes' table to another, so there is no graph to learn from."
        )
    ends = str(pair[0]), str(pair[1])
    return Known(graph, column, words, [*findings, *graph.findings], ends, None if named is None else str(named))


def ends_of(
    edges: pd.DataFrame, nodes: pd.DataFrame, aside: tuple[str, ...], within: str | None = None
) -> tuple[str, list[str]]:
    """(column of the nodes' table that names nodes, the two columns of the edges' table that use these names).

    aside : columns that name no nodes. within : a column of both tables, in each value of which ids are their own.
    """

    def words(table: pd.DataFrame, name: str, rows: int | None = None) -> list[str]:
        own = cells.as_text(table[name].iloc[:rows]).tolist()
        if within is None:
            return own
        where = cells.as_text(table[within].iloc[:rows]).tolist()
        return [word and f"{place}\x1f{word}" for place, word in zip(where, own, strict=True)]

    ends = {name: words(edges, name, _LOOKED) for name in edges.columns if name != within}
    best: tuple[float, str, list[str]] = (0.0, "", [])
    for name in nodes.columns:
        if name in aside:
            continue
        own = words(nodes, name)
        if len(set(own)) < 0.9 * len(own):
            continue
        there = set(own) - {""}
        share = {end: float(np.mean([w in there for w in some])) if len(some) else 0.5 for end, some in ends.items()}
        pair = sorted(share, key=lambda end: -share[end])[:2]
        if len(pair) == 2 and share[pair[1]] > best[0]:
            best = share[pair[1]], str(name), [end for end in edges.columns if end in pair]
    if not best[1]:
        raise DataError(
            f"No column of the nodes' table ({', '.join(map(str, nodes.columns[:8]))}) holds the ids that the edges' "
            f"table ({', '.join(map(str, edges.columns[:8]))}) uses. Give each node a row with its id, written alike."
        )
    return best[1], best[2]


def schema_of(known: Known, target: str, first: Schema) -> Schema:
    """What the model asks for: the id of a node. An id that is not in the graph is refused."""
    from everymodel.core.schema import Column

    goal = next(c for c in first.columns if c.name == target)
    node = Column(known.column, "category", levels=tuple(known.words.tolist()))
    return replace(first, columns=(node, goal), unseen="error")


def described(
    known: Known,
    nodes: pd.DataFrame,
    target: str,
    train: np.ndarray,
    keep_suspects: Any,
    seed: int,
    steering: list[str],
) -> tuple[Any, list[Finding], tuple[str, ...], tuple[Schema, Pack] | None]:
    """(features of all nodes or None, findings, columns left out because they give the target away, and what reads
    nodes that are new and makes the same features of them).

    Kinds, scales and levels come from all nodes, for a graph's nodes are all known; the target is looked at in the
    training nodes alone.
    """
    from everymodel.preprocessing.preparation import Preparation
    from everymodel.workflow.understand import understand

    aside = [known.column, target, *steering]
    rest = [name for name in nodes.columns if name not in aside]
    if not rest:
        return None, [], (), None
    guarded = understand(nodes[[target, *rest]].iloc[train], target, keep_suspects=keep_suspects, need_features=False)
    left = () if keep_suspects is True else tuple(guarded.suspects)
    told = [f for f in guarded.findings if set(f.columns) & set(guarded.suspects)]
    rest = [name for name in rest if name not in left]
    if not rest:
        return None, told, left, None
    found = understand(nodes[rest], None)
    told += found.findings
    if not found.schema.features:
        return None, told, left, None
    batch, _ = table.parse(found.schema, nodes[rest], unseen="ignore", bad="missing")
    try:
        first = Preparation(found.schema, sparse=True, task="regression", seed=seed)
        plain = _matrix(first.fit_transform(batch))
        numbers = plain.values if isinstance(plain, Rows) else plain
        counts = bool((numbers >= 0).all()) and np.count_nonzero(numbers) < SPARSE_SHARE * np.prod(plain.shape)
        if counts:
            return plain, told, left, (found.schema, Pack(first.nodes()))
        second = Preparation(found.schema, scaling="standard", task="regression", seed=seed)
        scaled = dense(_matrix(second.fit_transform(batch)))
    except DataError:
        return None, told, left, None  # nothing varies
    return scaled, told, left, (found.schema, Pack(second.nodes()))


def _matrix(made: Any) -> Any:
    if not hasattr(made, "tocsr"):
        return np.asarray(made, dtype=np.float64)
    csr = made.tocsr()
    return Rows(csr.data, csr.indices, csr.indptr, csr.shape)


def check_target(target: Any) -> str:
    """The one column that is learnt."""
    if isinstance(target, list | tuple) and len(target) == 1:
        target = target[0]
    if not isinstance(target, str):
        raise TargetError(f"target={target!r}: of nodes, one column is learnt. Name it: target=NAME (--target NAME).")
    return target
