"""Several detectors as one score: first opinions, fits on the rows that these do not suspect, and their blend.

Odd rows that resemble each other hide from detectors that learn from all rows: they are each other's neighbours, and a
mixture gives them a cloud. So three unlike detectors look at all rows first; the rows that they together find oddest
are left out, and what answers is fitted on the others (trimming, cf. Rousseeuw 1984). How much to leave out is not
known, so one mixture leaves out little and one much.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from everymodel import catalog
from everymodel.core import seeds
from everymodel.scoring.graph import Node, Pack
from everymodel.scoring.steps.base import Step
from everymodel.scoring.steps.combine import Mean
from everymodel.scoring.steps.detect import Excess
from everymodel.scoring.steps.mixture import MixtureDensity
from everymodel.workflow.train import make
from everymodel.workflow.unsupervised.material import Fit, Fitted, Material, Matrix, in_slices, prepare

REFERENCE = 2000  # rows that first opinions on neighbours are asked of
NEIGHBORS = 0.1  # share of them: fewer odd rows than that cannot vouch for each other
MANY = 10  # clouds of the mixtures that do not choose their number,
MANY_ROWS = 8  # with at least so many rows for each number of a cloud's centre
BLUR = 0.3  # variance added to clouds along levels, in units of a column's: with none a rare level outweighs all
# figures, with 1 a level where it does not belong is not seen


@dataclass
class Plan:
    """A detector to fit, and the share of the rows, oddest by the first opinions, that it does not learn from."""

    card: str
    parameters: dict[str, Any]
    left_out: float = 0.0
    title: str = ""
    blur: float = 0.0  # variance added to clouds


@dataclass
class Detect(Fit):
    """Fit a detector on `rows` of the balanced matrix and score all rows; runs in the fitting process.

    With `own`, rows are prepared as the detector's card says instead.
    """

    own: bool = False
    blur: float = 0.0

    def run(self, material: Material, stop: Callable[[], bool] | None = None) -> Fitted:
        """Fit, pack and answer all rows of the material."""
        started = time.perf_counter()
        card = catalog.find(self.card, kind="detector")
        module = catalog.module(card)
        with warnings.catch_warnings(record=True) as caught, np.errstate(all="ignore"):
            warnings.simplefilter("always")
            if material.balanced is None:
                material.balanced = prepare(material.schema, material.batch, material.seed)
            matrix = material.matrix(card) if self.own else material.balanced
            X = matrix.X if self.rows is None else matrix.X[self.rows]
            model = make(card, self.parameters, seeds.derive(self.seed, "model", card.name), self.threads)
            model.fit(X)
            if self.blur and card.name == "gaussian_mixture":
                step = blurred(model, self.blur * levels(material, matrix))
            else:
                step = module.pack(model)
            answers = in_slices(step, matrix.X)
        shared = matrix is material.balanced
        spec, arrays = Pack([*matrix.nodes, Node("m", step, (matrix.nodes[-1].name,))]).spec()
        notes = sorted({str(w.message).partition("\n")[0][:160] for w in caught if issubclass(w.category, UserWarning)})
        return Fitted(spec, arrays, answers, None, {"shared": shared}, time.perf_counter() - started, notes)


def levels(material: Material, matrix: Matrix) -> np.ndarray:
    """(p,) bool: columns of the matrix that stand for a level or a missing cell, not those that measure."""
    kinds = {c.name: c.kind for c in material.schema.features}
    marks = [
        kinds.get(o) in ("category", "boolean") or n.endswith(":missing") for n, o in zip(matrix.names, matrix.origins)
    ]
    return np.array(marks, dtype=bool)


def blurred(model: Any, blur: np.ndarray) -> Step:
    """The mixture with variances `blur` (p,) added to each cloud: flat ones, which levels make, get a thickness."""
    covariances = np.asarray(model.covariances_)
    if covariances.ndim != 3:
        return catalog.module(catalog.find("gaussian_mixture")).pack(model)
    p = covariances.shape[1]
    lower = np.linalg.cholesky(covariances + np.diag(blur + 1e-9))
    axes = np.ascontiguousarray(np.transpose(np.linalg.inv(lower), (0, 2, 1)))
    logs = np.log(np.diagonal(lower, axis1=1, axis2=2)).sum(axis=1)
    with np.errstate(divide="ignore"):
        weights = np.maximum(np.log(model.weights_), -700.0)
    return MixtureDensity(np.ascontiguousarray(model.means_), axes, weights - logs - 0.5 * p * np.log(2.0 * np.pi))


# ---------------------------------------------------------------------- what is asked


def first(n: int, p: int, levels: bool = False) -> list[Plan]:
    """Whose opinions decide which rows are left out."""
    asked = []
    if n >= 10:
        k = max(min(n, REFERENCE) * NEIGHBORS, 5.0)
        asked.append(Plan("neighbor_distance", {"n_neighbors": int(min(k, n - 1))}))
    if _clouds_fit(n, p):
        asked.append(Plan("gaussian_mixture", {"n_init": 1}, blur=BLUR if levels else 0.0))
        if n >= 5 * p:
            asked.append(Plan("robust_covariance", {}))
    else:
        asked += [Plan("isolation_forest", {}), Plan("pca_reconstruction", {})]
    return asked


def members(n: int, p: int, levels: bool = False) -> list[Plan]:
    """What answers, blended: n rows, p columns, `levels`: there are categories among them.

    With categories few rows are left out, for the oddest third would be all that have the rarer levels; and one cloud
    takes the place of the forest, which cuts one level of one category at a time.
    """
    little, much, blur = (0.05, 0.05, BLUR) if levels else (0.1, 0.3, 0.0)
    forest = Plan("isolation_forest", {"n_estimators": 100}, much)
    if not _clouds_fit(n, p):
        return [forest, *(Plan("pca_reconstruction", {"variance": v}, much) for v in (0.5, 0.9))]
    if n < 50:
        return [forest, Plan("gaussian_mixture", {"n_components": 1}, little, blur=blur)]
    many = {"n_components": int(np.clip(n // (MANY_ROWS * (p + 2)), 1, MANY)), "n_init": 1}
    best = Plan("gaussian_mixture", {"n_init": 1}, much, blur=blur)
    if levels:
        return [Plan("gaussian_mixture", {"n_components": 1}, much, blur=blur), best,
                Plan("gaussian_mixture", many, much, blur=blur)]  # fmt: skip
    return [forest, best, Plan("gaussian_mixture", many, little), Plan("gaussian_mixture", many, much)]


def _clouds_fit(n: int, p: int) -> bool:
    return p <= 100 and n >= 4 * p


def suspicion(opinions: Sequence[np.ndarray]) -> np.ndarray:
    """(n,) mean of what the first detectors say, each on the same scale; higher is odder."""
    return np.mean([standing(one)(one) for one in opinions], axis=0)


def standing(scores: np.ndarray) -> Excess:
    """The step that puts a detector's scores on the common scale: median 0, top tenth from log 2 on."""
    scores = np.asarray(scores, dtype=np.float64)
    center = float(np.median(scores))
    for top in (0.9, 0.99, 1.0):
        scale = float(np.quantile(scores, top)) - center
        if scale > 1e-12 * max(abs(center), 1e-12):
            return Excess(center, scale)
    return Excess(center, 1.0)


def kept(suspect: np.ndarray, share: float, among: np.ndarray | None = None) -> np.ndarray:
    """Numbers of the rows that stay when the `share` oddest are left out; `among` (m,) only these count."""
    rows = np.arange(len(suspect)) if among is None else among
    order = np.argsort(suspect[rows], kind="stable")
    return np.sort(rows[order[: max(len(rows) - int(share * len(rows)), 2)]])


# ---------------------------------------------------------------------- running


def run_all(crew: Any, jobs: Sequence[Fit], end: float) -> Iterator[tuple[int, Fitted | str]]:
    """(number in `jobs`, what came of it or why not) as jobs end, at the moment `end` (monotonic) at the latest."""
    waiting = list(range(len(jobs)))
    running: dict[int, int] = {}
    while waiting or running:
        while waiting and len(running) < crew.size:
            i = waiting.pop(0)
            running[crew.submit(jobs[i], stop_at=end, kill_at=end)] = i
        arrived = crew.wait(min(max(end - time.monotonic(), 0.0) + 1.0, 86400.0))
        for number, (status, answer) in arrived:
            if number in running:
                yield running.pop(number), answer if status == "done" else str(answer)
        if not arrived and time.monotonic() >= end:
            for number in running:
                crew.kill(number)
            for i in [*running.values(), *waiting]:
                yield i, "no time was left"
            return


def blend(fits: Sequence[Fitted], material: Material, among: np.ndarray) -> tuple[Pack, np.ndarray]:
    """One pack that answers with the mean of the fits' scores on the common scale, and its answers for the material.

    among : (m,) numbers of the rows that the scale is taken from.
    """
    assert material.balanced is not None
    nodes: list[Node] = []
    ends: list[str] = []
    answers = np.zeros(len(fits[0].answers))
    for i, fit in enumerate(fits):
        pack = fit.pack()
        if fit.details.get("shared"):  # one preparation for all
            if not any(node.name == material.balanced.nodes[-1].name for node in nodes):
                nodes = [*material.balanced.nodes, *nodes]
            own = [replace(pack.nodes[-1], name=f"m{i}")]
        else:
            name = {node.name: f"m{i}.{node.name}" for node in pack.nodes}
            own = [
                Node(name[node.name], node.step, tuple(name.get(one, one) for one in node.inputs))
                for node in pack.nodes
            ]
        scale = standing(fit.answers[among])
        nodes += [*own, Node(f"e{i}", scale, (own[-1].name,))]
        ends.append(f"e{i}")
        answers += scale(fit.answers)
    nodes.append(Node("blend", Mean("scores"), tuple(ends)))
    return Pack(nodes), answers / len(fits)


def crossed(halves: Sequence[np.ndarray], fits: Sequence[Sequence[Fitted]], n: int) -> np.ndarray:
    """(n,) the score that each row gets from detectors which have not learnt from its half of the rows; 0 for rows that
    are in neither.

    halves : row numbers of both halves. fits : of the detectors that learnt from the first, and from the second.
    """
    out = np.zeros(n)
    for learnt, asked, made in ((halves[0], halves[1], fits[0]), (halves[1], halves[0], fits[1])):
        out[asked] = np.mean([standing(f.answers[learnt])(f.answers[asked]) for f in made], axis=0)
    return out
