"""Every finding but those of reading (`read/codes.py`). A code never changes its meaning."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from everymodel.core.finding import Finding

# code -> what it means (the documentation's table is made from this)
CODES: dict[str, str] = {
    # columns
    "missing-values": "Cells are empty or hold a word for nothing; they are imputed, and marked, inside the pipeline.",
    "empty-columns": "Every cell is missing; the columns are left out.",
    "constant-columns": "One value throughout, so nothing can be learned from it; the columns are left out.",
    "near-constant-columns": "Nearly all cells are equal; the columns are kept but seldom help.",
    "identifiers": "The column names rows rather than describing them; it is left out.",
    "high-cardinality": "A category has very many levels; the levels are encoded by what they say of the target.",
    "free-text": "A column of categories turned out to be free text; it is read as words.",
    "outliers": "Some numbers lie far outside the rest; robust models are advised.",
    "infinite-values": "Infinite numbers are treated as missing.",
    # repaired cells
    "repaired-numbers": "Cells with currency, thousands, percent signs, decimal commas or parentheses became numbers.",
    "null-words": "Words such as ? or n/a were read as missing.",
    "mixed-types": "A column mixes numbers or dates with text; what does not fit is missing, or all is text.",
    "date-formats": "Dates are written in several ways, or in one that can be read in two ways.",
    "images-resized": "Images differ in size, or are large; all are brought to one size.",
    "lengths-differ": "Signals differ in length; all are cut, or continued by zeros, to one length.",
    "cells-unreadable": "Images or sequences could not be read; their rows count as blank.",
    # rows
    "few-rows": "So few rows that every figure is uncertain.",
    "more-columns-than-rows": "More columns than rows: strongly regularised models are advised.",
    "duplicate-rows": "Rows that are equal in every column; in train and test alike they flatter the score.",
    "conflicting-rows": "Rows equal in every feature have different targets, which bounds what any model can reach.",
    "shared-rows": "Rows of the test part occur in the training part as well.",
    # target
    "target-missing": "Rows without a usable target were left out, or learnt from as rows without a label.",
    "no-gain-from-unlabelled": "Rows without a label did not help, so the model was learnt from labelled rows alone.",
    "augmentation-helped": "Made rows among those learnt from helped on real validation rows, so the model keeps them.",
    "no-gain-from-augmentation": "Made rows did not clearly help on real validation rows: real ones alone teach.",
    "augmentation-not-possible": "Rows of this table cannot be made to learn from; the finding says why.",
    "task-assumed": "The task was inferred from the target; say task= if it is another.",
    "rare-classes": "Some classes have very few rows, so that little is learned of them.",
    "single-member-classes": "Rows of classes with a single row were left out: it cannot be learned and tested too.",
    "spelling-variants": "Classes that differ only in capitals or blanks are different classes to a model.",
    "imbalance": "One class is far more frequent than another: accuracy misleads.",
    "skewed-target": "The target has a long tail; a logarithm is tried inside the search.",
    "target-outliers": "Some targets lie far outside the rest; a robust loss is advised.",
    # leaks
    "leak-copy": "The column is the target under another name, spelling or unit.",
    "leak-missing": "Whether the column is empty tells the target.",
    "leak-parts": "Columns add up to the target.",
    "leak-strong": "The column alone predicts the target almost perfectly, far better than any other.",
    "leak-word": "A word inside the column's text tells the class.",
    "leak-partial": "The column tells a part of the target exactly, as a leak does, or an honest column; it is kept.",
    "leak-future": "The column is known only later: dates after the outcome, or the target's own future.",
    "leak-kept": "Suspect columns were kept, on request or because nothing else was left: the score is suspect.",
    # search and files
    "little-time": "The time left for the search was too short for what was planned.",
    "blend-not-nested": "No time was left to judge the blend on rows that its weights have not seen.",
    "models-failed": "Models did not come to an end; what answers instead is said.",
    "run-folder": "Something could not be kept in the run folder; the run went on without it.",
    "not-saved": "A file could not be written, such as on a full disk; what is missing is said.",
    # without a target
    "labels-not-compared": "The column to compare with does not hold what the task can be compared with.",
    "no-structure": "No groups were found: the rows are one crowd, or too few.",
    "number-of-groups-unknown": "The number of groups could not be found in the time; the one shown is a guess.",
    "groups-sampled": "Groups were looked for among some of the rows; all rows were assigned.",
    "unstable-group": "A group is seldom found again when rows are drawn anew.",
    "anomalies-share-uncertain": "Many rows are odd, or no law fits the scores: how many is uncertain, within bounds.",
    "anomalies-sampled": "What is ordinary was learnt from some of the rows; all rows were scored.",
    "anomalies-far-crowd": "Some rows lie far from all others, some of them together; nothing was learnt from them.",
    "anomalies-few-rows": "Too few different scores to learn how far ordinary rows reach; a rule of thumb decides.",
    "anomalies-very-few-rows": "So few rows that they say little on what is ordinary.",
    "anomalies-tied": "Rows with equal scores cannot be parted, so more or fewer than asked for are called odd.",
    "anomalies-all-alike": "All rows get the same score.",
    "anomalies-duplicates": "Many rows are repeated, which makes them look ordinary and all others odd.",
    "anomalies-alike": "The odd rows resemble each other: they may be a small group rather than accidents.",
    "components-sampled": "Some figures of the components were found from some of the rows.",
    "components-few-rows": "Few rows for the columns: other rows would give other components.",
    "components-beyond-rank": "More components were asked for than the rows have directions.",
    "components-unstable": "Components come out differently when some rows are left out.",
    "component-of-one-column": "A component stands for little more than one column.",
    "columns-not-held": "Columns of which the components hold next to nothing.",
    "no-components": "The columns are not related more than chance would have it.",
    "map-few-rows": "So few rows that the map keeps the main directions rather than neighbourhoods.",
    "map-one-column": "There is one column, so the map is a line.",
    "map-not-tried": "A way to draw the map was left out for want of time.",
    "map-sampled": "The map was drawn from some of the rows; the others were placed on it.",
    "map-rows-left-out": "Rows have no place on the map for want of time; the model places them.",
    "map-note": "What the method that drew the map has to say.",
    "map-untrustworthy": "The map keeps neighbourhoods badly; do not read groups off it.",
    "isolated-nodes": "Nodes of a graph have no edge; their own features alone judge them.",
    "self-loops": "Edges lead from a node to itself; they were left out.",
    "repeated-edges": "Edges of a graph come more than once; each counts once.",
    "edges-to-missing-nodes": "Edges name a node that has no row; they were left out.",
    "edges-without-weight": "Edges have no weight above zero; they were left out.",
    "edge-columns-unused": "Columns of the table of edges were not read.",
    "edges-between-graphs": "Edges lead from one graph to another, and are left out.",
    "transductive": "Nodes were judged inside the graph that was learnt from; labels of test nodes were hidden.",
    "unlabelled-nodes": "Nodes have no label; they are part of the graph, and are answered.",
}


def finding(
    code: str, severity: str, message: str, advice: str = "", columns: Iterable[str] = (), **data: Any
) -> Finding:
    """A Finding whose code is one of CODES."""
    if code not in CODES:
        raise KeyError(code)
    return Finding(code, severity, message, advice, tuple(columns), data)


def many(n: int, word: str) -> str:
    """ "1 row", "1 200 rows"."""
    return f"{n:,} {word}{'s' * (n != 1)}".replace(",", " ")


def listed(names: Iterable[str], most: int = 5) -> str:
    """'a', 'b' and 7 more: names for a message."""
    names = [str(name) if len(str(name)) <= 40 else str(name)[:37] + "..." for name in names]
    shown = ", ".join(repr(name) for name in names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
