"""What components are made of, in words."""

from __future__ import annotations

from typing import Any

import numpy as np

from everymodel.scoring.steps.prepare import Project, TextTerms
from everymodel.workflow.unsupervised.material import Material, Matrix

CLEAR = 0.3  # correlations below this are not put into words, unless nothing is above
SHOWN = 5  # columns named in a sentence
_DATE = {"days": "later {}", "year": "later {}", "month": "month of {}", "day": "day of {}", "weekday": "weekday of {}",
         "yearday": "season of {}", "hour": "hour of {}", "minute": "minute of {}"}  # fmt: skip
_TEXT = {"characters": "long {}", "words": "many words in {}", "digits": "digits in {}", "capitals": "capitals in {}",
         "marks": "marks in {}"}  # fmt: skip


def labels(material: Material, matrix: Matrix) -> list[str]:
    """A few words for each column of a dense matrix: what it means when it is high."""
    topics = _topic_words(material, matrix)
    told = []
    for j, (name, origin) in enumerate(zip(matrix.names, matrix.origins)):
        column = material.schema.column(origin) if origin else None
        part = name[len(origin) + 1 :] if origin and name.startswith(origin) else ""
        if column is None:
            told.append(name)
        elif part in ("missing", "(missing)"):
            told.append(f"{origin} missing")
        elif part == "frequency":
            told.append(f"frequent {origin}")
        elif column.kind == "category" and part == "(rare)":
            told.append(f"rare {origin}")
        elif name in topics:
            told.append(f"{origin} about {topics[name]}")
        elif column.kind == "category":
            told.append(f"{origin} = {part}" if part else _higher_level(material, matrix, j, origin))
        elif column.kind == "date" and part.startswith("since "):
            told.append(f"time from {part[6:]} to {origin}")
        elif column.kind == "date":
            told.append(_DATE.get(part.partition("_")[0], "{}").format(origin))
        elif column.kind == "text":
            told.append(_TEXT.get(part, "{}").format(origin))
        else:
            told.append(origin)
    return told


def _higher_level(material: Material, matrix: Matrix, j: int, origin: str) -> str:
    """`column = level` for two levels that were made one column."""
    codes = material.batch.columns[origin]
    levels = material.schema.column(origin).levels
    means = [(matrix.X[codes == c, j].mean(), level) for c, level in enumerate(levels) if (codes == c).any()]
    return f"{origin} = {max(means)[1]}" if means else origin


def _topic_words(material: Material, matrix: Matrix) -> dict[str, str]:
    """Feature name -> its words, for the main directions of text columns that preparation has made."""
    steps = {node.name: node for node in matrix.nodes}
    found = {}
    for node in matrix.nodes:
        source = steps.get(node.inputs[0]) if node.inputs else None
        if not isinstance(node.step, Project) or source is None or not isinstance(source.step, TextTerms):
            continue
        words = source.step.words
        for i, axis in enumerate(node.step.axes.T):
            order = [j for j in np.argsort(-axis[: len(words)], kind="stable") if " " not in words[j]][:3]
            found[f"{source.step.column}:topic{i + 1}"] = "/".join(words[j] for j in order)
    return found


def correlations(X: np.ndarray, T: np.ndarray) -> np.ndarray:
    """(p, d) correlation of each matrix column with each component; 0 where one does not vary."""
    X, T = X - X.mean(axis=0), T - T.mean(axis=0)
    sizes = np.sqrt(np.einsum("ij,ij->j", X, X))[:, None] * np.sqrt(np.einsum("ij,ij->j", T, T))
    return np.where(sizes > 1e-12, (X.T @ T) / np.maximum(sizes, 1e-300), 0.0)


def told(component: np.ndarray, names: list[str]) -> tuple[str, str, list[int]]:
    """(name, sentence without a subject, features by weight) of one component's correlations (p,)."""
    order = np.argsort(-np.abs(component), kind="stable")
    strongest = float(np.abs(component[order[0]]))
    least = max(CLEAR, 0.5 * strongest) if strongest >= CLEAR else 0.7 * strongest
    high: list[str] = []
    low: list[str] = []
    for j in order:
        if abs(component[j]) < least or len(high) + len(low) == SHOWN or component[j] == 0:
            break
        if names[j] not in high and names[j] not in low:
            (high if component[j] > 0 else low).append(names[j])
    if not high and not low:
        return "nothing", "nothing that varies", order.tolist()
    if not high:
        sentence = f"low {listed(low)}" + (" together" if len(low) > 1 else "")
        return sentence, sentence, order.tolist()
    sentence = listed(high) + (" together" if len(high) > 1 else "") + (f", against {listed(low)}" if low else "")
    name = listed(high[:3]) + (f" against {listed(low[:2])}" if low else "")
    if strongest < CLEAR:
        sentence += ", all weakly"
    return name, sentence, order.tolist()


def listed(words: list[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    words = [w if len(w) <= 60 else w[:57] + "..." for w in words]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def held(X: np.ndarray, T: np.ndarray, origins: list[str]) -> dict[str, float]:
    """Share of each table column's variance that the components hold together."""
    X, T = X - X.mean(axis=0), T - T.mean(axis=0)
    B = np.linalg.lstsq(T, X, rcond=1e-10)[0]
    gap = X - T @ B
    left, whole = dict.fromkeys(origins, 0.0), dict.fromkeys(origins, 0.0)
    for j, origin in enumerate(origins):
        left[origin] += float(gap[:, j] @ gap[:, j])
        whole[origin] += float(X[:, j] @ X[:, j])
    return {o: max(1.0 - left[o] / whole[o], 0.0) if whole[o] > 0 else 0.0 for o in whole}


def shares(X: np.ndarray, T: np.ndarray) -> np.ndarray:
    """Share (d,) of the variance of X that each component adds to those before it; for PCA its explained variance."""
    X, T = X - X.mean(axis=0), T - T.mean(axis=0)
    whole = float(np.einsum("ij,ij->", X, X))
    if not whole > 0:
        return np.zeros(T.shape[1])
    Q, R = np.linalg.qr(T)
    size = np.abs(np.diag(R))
    part = Q.T @ X
    found = np.einsum("ij,ij->i", part, part) / whole
    return np.where(size > 1e-10 * max(float(size.max(initial=0.0)), 1e-300), found, 0.0)


def of_one_column(X: np.ndarray, t: np.ndarray, origins: list[str]) -> tuple[str, float]:
    """(table column, share) that a component is made of most, by squared covariances."""
    weight = ((X - X.mean(axis=0)).T @ (t - t.mean())) ** 2
    total: dict[str, float] = {}
    for origin, w in zip(origins, weight):
        total[origin] = total.get(origin, 0.0) + float(w)
    best = max(total, key=total.__getitem__)
    whole = sum(total.values())
    return best, total[best] / whole if whole > 0 else 0.0


def table(correlation: np.ndarray, matrix: Matrix, names: list[str]) -> Any:
    """The loadings as a DataFrame: a row per matrix column, a column per component."""
    import pandas as pd

    frame = pd.DataFrame(correlation, columns=[f"component {i + 1}" for i in range(correlation.shape[1])])
    frame.insert(0, "column", matrix.origins)
    frame.insert(0, "feature", names)
    return frame
