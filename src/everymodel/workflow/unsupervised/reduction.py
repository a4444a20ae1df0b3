"""What `reduce` is made of: matrices for reducers, jobs that fit and judge them, and what chance would explain."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from everymodel import catalog
from everymodel.core import seeds
from everymodel.core.card import Card
from everymodel.core.clock import Clock
from everymodel.scoring.graph import TABLE, Node, Pack
from everymodel.scoring.steps.base import Sparse
from everymodel.scoring.steps.prepare import Join, Scale, TextTerms
from everymodel.workflow.train import make
from everymodel.workflow.unsupervised.material import Fit, Fitted, Material, Matrix, in_slices

WORDS = 4000  # kept of one text column
COMMON = 0.5  # words in more of the texts than this part say nothing of any
ROUNDS, FEW = 30, 8  # shuffled tables, and for large ones
FLOPS = 4e10  # multiplications spent on their eigenvalues at most
ROWS = 20_000  # rows of a table looked at: more would not change which components are above chance
LARGEST = 1000  # rows looked at in very wide tables
HELD = 20_000, 5000  # rows at most to learn from and to rebuild, when the reconstruction error is measured


def plan(material: Material) -> str:
    """ "text" where all columns are text, "counts" where all are whole numbers, mostly zero, else "numbers"."""
    columns = material.schema.features
    if all(c.kind == "text" for c in columns):
        return "text" if text_terms(material) is not None else "numbers"
    if len(columns) < 5 or not all(c.kind == "number" and c.integer and (c.low or 0) >= 0 for c in columns):
        return "numbers"
    zeros = np.mean([np.mean(material.batch.columns[c.name] == 0) for c in columns])
    return "counts" if zeros >= 0.6 else "numbers"


def matrix(material: Material, card: Card, kind: str) -> Matrix:
    """Rows as the card wants them; a text plan gives models of sparse tables the words themselves."""
    if kind == "text" and card.need("sparse"):
        found = text_terms(material)
        if found is not None:
            return found
    made = material.matrix(card)
    if not card.need("non_negative"):
        return made
    # As in the balanced matrix: columns that stem from one column weigh as one; without moving zero.
    variance = made.X.var(axis=0)
    total = dict.fromkeys(made.origins, 0.0)
    for origin, v in zip(made.origins, variance):
        total[origin] += float(v)
    factor = np.array([1.0 / np.sqrt(total[o]) if total[o] > 1e-12 else 1.0 for o in made.origins])
    step = Scale(np.zeros(len(factor)), factor)
    return Matrix(step(made.X), [*made.nodes, Node("weighed", step, (made.nodes[-1].name,))], made.names, made.origins)


def text_terms(material: Material) -> Matrix | None:
    """Weighted words (n, v) of all text columns as a sparse matrix; None where no word is worth a column."""
    from scipy.sparse import csr_matrix
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    from everymodel.preprocessing.text import TextVocabulary

    nodes: list[Node] = []
    names, origins = [], []
    for column in material.schema.features:
        if column.kind != "text":
            continue
        learner = TextVocabulary(column.name, 3 * WORDS, 0, seed=seeds.derive(material.seed, "words"))
        learner.fit(material.batch)
        rare = 1.0 + np.log(1.0 / COMMON)  # the weight of a word in so many of the texts
        keep = [
            i
            for i, word in enumerate(learner.words_)
            if " " not in word
            and len(word) > 1
            and not word.isdigit()
            and word not in ENGLISH_STOP_WORDS
            and learner.weight_[i] >= rare
        ]
        keep = sorted(sorted(keep, key=lambda i: learner.weight_[i])[:WORDS])
        if not keep:
            continue
        words = tuple(learner.words_[i] for i in keep)
        step = TextTerms(column.name, words, False, np.empty(0, dtype=np.int64), learner.weight_[keep])
        nodes.append(Node(f"words{len(nodes)}", step, (TABLE,)))
        names += words
        origins += [column.name] * len(words)
    if len(names) < 2:
        return None
    if len(nodes) > 1:
        nodes.append(Node("words", Join(), tuple(n.name for n in nodes)))
    terms: Any = Pack(nodes)(material.batch)
    X = csr_matrix((terms.data, terms.indices, terms.indptr), shape=terms.shape)
    return Matrix(X, nodes, names, origins)


def as_step_input(X: Any) -> Any:
    """A matrix as steps read it: a scipy matrix becomes a Sparse."""
    if isinstance(X, np.ndarray):
        return X
    return Sparse(X.data, X.indices.astype(np.int64), X.indptr.astype(np.int64), X.shape)


def apply(step: Any, X: Any, size: int = 8192) -> np.ndarray:
    """A step's answers (n, d) for many rows, dense or sparse, a slice at a time."""
    if isinstance(X, np.ndarray):
        return in_slices(step, X, size)
    return np.concatenate([step(as_step_input(X[i : i + size])) for i in range(0, X.shape[0], size)])


@dataclass
class Reduction(Fit):
    """One fit of a reducer, with the plan of the table."""

    plan: str = "numbers"

    def run(self, material: Material, stop: Callable[[], bool] | None = None) -> Fitted:
        """Fit, pack, prove that the pack answers like the model, answer all rows."""
        started = time.perf_counter()
        fitted, matrix_, notes = self._learn(material, self.rows)
        model, step = fitted
        ended = time.perf_counter()
        answers = apply(step, matrix_.X)
        few = matrix_.X[:64]
        expected = np.asarray(model.transform(few), dtype=np.float64)
        gap = float(np.abs(answers[: len(expected)] - expected).max() / max(np.abs(expected).max(), 1e-300))
        if not gap <= 1e-8:
            from everymodel.core.errors import PackError

            raise PackError(f"{self.card}: the packed model differs from its source by {gap:.3g} of its answers.")
        nodes = [*matrix_.nodes, Node("m", step, (matrix_.nodes[-1].name,))]
        spec, arrays = Pack(nodes).spec()
        details = {name: getattr(model, name) for name in self.details if hasattr(model, name)}
        return Fitted(spec, arrays, answers, None, details, ended - started, notes)

    def _learn(self, material: Material, rows: np.ndarray | None) -> tuple[tuple[Any, Any], Matrix, list[str]]:
        card = catalog.find(self.card, kind=self.kind)
        with warnings.catch_warnings(record=True) as caught, np.errstate(all="ignore"):
            warnings.simplefilter("always")
            made = matrix(material, card, self.plan)
            X = made.X if rows is None else made.X[rows]
            model = make(card, self.parameters, seeds.derive(self.seed, "model", card.name), self.threads)
            model.fit(X)
            step = catalog.module(card).pack(model)
        notes = {str(w.message).partition("\n")[0][:160] for w in caught if issubclass(w.category, UserWarning)}
        return (model, step), made, sorted(notes)


@dataclass
class HeldOut(Reduction):
    """How well rows are rebuilt from their components by a reducer that has not seen them.

    Preparation, reducer and the linear decoder that leads back are learnt from the rows `learn` alone. All reducers are
    asked to rebuild the same thing: the balanced matrix, or the weighted words of a table of texts.
    """

    learn: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    rebuild: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.int64))

    def run(self, material: Material, stop: Callable[[], bool] | None = None) -> dict[str, Any]:
        """{"errors", "totals": (m,) squared lengths of what is not rebuilt and of all, "scores": (m, d), "seconds"}."""
        started = time.perf_counter()
        part = Material(material.schema, material.batch.take(self.learn), material.seed)
        limit = catalog.find(self.card, kind=self.kind).need("max_rows")
        few = np.arange(limit) if limit and len(self.learn) > limit else None
        (_, step), made, notes = self._learn(part, few)
        seconds = time.perf_counter() - started
        inside = apply(step, made.X)
        outside = Pack([*made.nodes, Node("m", step, (made.nodes[-1].name,))])(material.batch.take(self.rebuild))
        goal = target(material, self.plan).X
        errors, totals = rebuilt(inside, goal[self.learn], outside, goal[self.rebuild])
        return {"errors": errors, "totals": totals, "scores": outside, "seconds": seconds, "notes": notes}


def target(material: Material, kind: str) -> Matrix:
    """What components stand for: the weighted words of a table of texts, else the balanced matrix."""
    found = text_terms(material) if kind == "text" else None
    return found or material.matrix(catalog.find("pca", kind="reducer"))


def decoder(T: np.ndarray, X: Any) -> np.ndarray:
    """Least squares (d, p) from centred coordinates (n, d) to centred X; a sparse X is left where it is."""
    gram = T.T @ T
    gram[np.diag_indices_from(gram)] += 1e-12 * max(float(np.trace(gram)) / len(gram), 1e-300)
    back = X.T @ T  # (p, d)
    return np.linalg.lstsq(gram, np.asarray(back).T, rcond=1e-12)[0]


def rebuilt(inside: np.ndarray, X: Any, outside: np.ndarray, Y: Any) -> tuple[np.ndarray, np.ndarray]:
    """(errors, totals), each (m,): squared lengths of rows Y (m, p) less what a decoder learnt on X makes of them.

    Dense rows are about the mean of X; sparse ones about zero.
    """
    if isinstance(X, np.ndarray):
        low, mean = inside.mean(axis=0), X.mean(axis=0)
        B = decoder(inside - low, X - mean)
        Y = Y - mean
        gap = Y - (outside - low) @ B
        return np.einsum("ij,ij->i", gap, gap), np.einsum("ij,ij->i", Y, Y)
    B = decoder(inside, X)
    totals = np.asarray(Y.multiply(Y).sum(axis=1)).ravel()
    cross = np.einsum("ij,ij->i", outside, np.asarray(Y @ B.T))
    return np.maximum(totals - 2.0 * cross + np.einsum("ij,jk,ik->i", outside, B @ B.T, outside), 0.0), totals


def ratio(errors: np.ndarray, totals: np.ndarray) -> tuple[float, float, float]:
    """Sum of errors over sum of totals, with its 95 % interval by the delta method."""
    whole = float(totals.sum())
    if not whole > 0 or len(errors) < 2:
        return float("nan"), float("nan"), float("nan")
    value = float(errors.sum()) / whole
    if value < 1e-12:  # rounding
        return 0.0, 0.0, 0.0
    spread = float(np.std(errors - value * totals, ddof=1)) * np.sqrt(len(errors)) / whole
    return value, max(value - 1.96 * spread, 0.0), value + 1.96 * spread


def halves(n: int, seed: int) -> tuple[np.ndarray, np.ndarray] | None:
    """(rows to learn from, rows to rebuild): 80 and 20 %, at most `HELD`; None below ten rows."""
    if n < 10:
        return None
    order = np.random.default_rng(seeds.derive(seed, "held out")).permutation(n)
    cut = max(n // 5, 2)
    return np.sort(order[cut:][: HELD[0]]), np.sort(order[:cut][: HELD[1]])


# ---------------------------------------------------------------------- what chance would explain


@dataclass
class Spectrum:
    """Shares of the variance by component, and what they would be if columns had nothing to do with each other."""

    shares: np.ndarray  # (m,) of the variance, largest first
    chance: np.ndarray  # (m,) 99 % quantile over shuffled tables
    rows: int  # looked at
    rank: int | None  # directions in which rows differ at all; None where only some rows were looked at

    @property
    def above(self) -> int:
        """Components before the first that chance explains as well (Horn 1965)."""
        below = self.shares <= self.chance * (1 + 1e-9)
        return int(below.argmax()) if below.any() else len(below)

    def holding(self, share: float) -> int | None:
        """The fewest components that hold so much; None where those looked at do not."""
        held = np.cumsum(self.shares)
        return int(np.searchsorted(held, share - 1e-12)) + 1 if len(held) and held[-1] >= share - 1e-12 else None


def spectrum(X: np.ndarray, origins: list[str], seed: int, clock: Clock) -> Spectrum:
    """Eigenvalues of the covariance of X (n, p), and those of tables whose columns were shuffled by themselves.

    Matrix columns that stem from one column of the table are shuffled together: what one category's levels have to do
    with each other is no news. Of large matrices some rows are looked at, and as many of the shuffled ones; a clock
    that runs ends the shuffling after a tenth of its time, but not before `FEW` rounds.
    """
    n, p = X.shape
    rng = np.random.default_rng(seeds.derive(seed, "chance"))
    rows = min(n, ROWS) if p <= LARGEST else min(n, LARGEST)

    def cost(rows: int) -> float:
        return float(rows) * p * min(rows, p) + 3.0 * min(rows, p) ** 3

    rounds = int(np.clip(FLOPS / cost(rows) - 1, FEW, ROUNDS))
    while rows > 200 and (rounds + 1) * cost(rows) > FLOPS:
        rows = max(int(rows * 0.8), 200)
    if rows < n:
        X = X[np.sort(rng.choice(n, rows, replace=False))]
    values = _eigenvalues(X)
    whole = float(values.sum())
    if not whole > 0:
        return Spectrum(np.zeros(1), np.zeros(1), rows, 0)
    blocks: dict[str, list[int]] = {}
    for j, origin in enumerate(origins):
        blocks.setdefault(origin, []).append(j)
    alone = np.array([js[0] for js in blocks.values() if len(js) == 1], dtype=np.int64)
    several = [np.array(js) for js in blocks.values() if len(js) > 1]
    end = time.monotonic() + 0.1 * clock.left()
    shuffled = []
    mixed = X.copy()
    while len(shuffled) < rounds and (len(shuffled) < FEW or time.monotonic() < end):
        if len(blocks) > 1:
            mixed[:, alone] = rng.permuted(X[:, alone], axis=0)
            for block in several:
                mixed[:, block] = X[np.ix_(rng.permutation(len(X)), block)]
        shuffled.append(_eigenvalues(mixed) / whole)
    chance = np.mean(shuffled, axis=0) + 2.33 * np.std(shuffled, axis=0, ddof=1)
    rank = int((values > 1e-10 * values[0]).sum()) if rows == n else None
    return Spectrum(values / whole, chance, rows, rank)


def _eigenvalues(X: np.ndarray) -> np.ndarray:
    """Of the covariance of X (n, p), largest first (min(n, p),)."""
    X = X - X.mean(axis=0)
    product = X.T @ X if X.shape[1] <= X.shape[0] else X @ X.T
    return np.maximum(np.linalg.eigvalsh(product)[::-1], 0.0)


def topics_above_chance(X: Any, seed: int, most: int = 20, rows: int = 5000) -> tuple[int, np.ndarray, np.ndarray]:
    """(number of topics, shares (m,), chance (m,)) of a sparse matrix of words (n, v).

    Words are spread over rows at random, each by itself; the first direction, the mean text, is there by chance too,
    so counting starts behind it.
    """
    from scipy.sparse import csr_matrix
    from sklearn.utils.extmath import randomized_svd

    rng = np.random.default_rng(seeds.derive(seed, "topics"))
    if X.shape[0] > rows:
        X = X[np.sort(rng.choice(X.shape[0], rows, replace=False))]
    state = seeds.derive(seed, "svd") % 2**31
    most = max(1, min(most, min(X.shape) - 1))
    whole = float(X.multiply(X).sum()) or 1.0
    shares = randomized_svd(X, most, n_iter=4, random_state=state)[1] ** 2 / whole
    X = X.tocsc()
    size = np.diff(X.indptr)
    shuffled = []
    for _ in range(5):
        places = np.concatenate([rng.choice(X.shape[0], k, replace=False) for k in size if k] or [np.empty(0, int)])
        columns = np.repeat(np.arange(X.shape[1]), size)
        mixed = csr_matrix((X.data, (places, columns)), shape=X.shape)
        shuffled.append(randomized_svd(mixed, most, n_iter=4, random_state=state)[1] ** 2 / whole)
    chance = np.mean(shuffled, axis=0) + 2.33 * np.std(shuffled, axis=0, ddof=1)
    below = shares[1:] <= chance[1:]
    above = 1 + (int(below.argmax()) if below.any() else len(below))
    return above, shares, chance
