"""How good made rows and images are, with the same figure for real data beside each.

Images are compared in the features of a small network that is trained here on the classes of the training images (see
`everymodel.training.judge`), rows after they were standardised. Nothing is downloaded.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from everymodel.core.errors import DataError
from everymodel.core.optional import require
from everymodel.core.seeds import derive
from everymodel.scoring.likeness import copied, frechet, kernel_distance, nearest, neighborhoods
from everymodel.scoring.steps.generating import Sampler

MOST = 2000  # samples that are judged, unless more are asked for
SHOWN = 8  # samples whose nearest training neighbours are kept
_FOLDS, _LEAST = 2, 20


@dataclass
class Examined:
    """What an evaluation saw.

    figures : name to number; a name with "_real" at its end is that of real data in place of samples.
    made : the samples that were judged. asked : (n,) what they should be, or None.
    neighbours : (k,) places of the training rows nearest to the first k samples, None without training data.
    judge : what images were compared with, {} for rows.
    """

    figures: dict[str, float]
    made: np.ndarray
    asked: np.ndarray | None = None
    neighbours: np.ndarray | None = None
    judge: dict[str, Any] = field(default_factory=dict)


def quality(held: np.ndarray, fake: np.ndarray, real: np.ndarray, seed: int = 0) -> dict[str, float]:
    """Samples `fake` (m, d) and other real rows `real` (k, d), each against held-out rows (n, d), in equal numbers.

    Returns
    -------
    frechet, kernel (distances, 0 is best), precision, recall, density, coverage (see `scoring.likeness`), c2st (area
    under the curve of a classifier that tells both sets apart, .5 is best), each also with "_real"; frechet_ratio.
    """
    n = min(len(held), len(fake), len(real))
    if n < _LEAST:
        raise DataError(f"{n} rows are too few to judge samples by; expected {_LEAST} or more held out.")
    figures: dict[str, float] = {}
    for rows, end in ((fake, ""), (real, "_real")):
        a, b = held[:n], rows[:n]
        figures["frechet" + end] = frechet(a, b)
        figures["kernel" + end] = kernel_distance(a, b)
        figures |= {name + end: value for name, value in neighborhoods(a, b).items()}
        figures["c2st" + end] = told_apart(a, b, seed)
    ratio = figures["frechet"] / max(figures["frechet_real"], 1e-12)
    return {"frechet": figures.pop("frechet"), "frechet_ratio": ratio, **figures, "n": float(n)}


def told_apart(real: np.ndarray, fake: np.ndarray, seed: int = 0) -> float:
    """Area under the ROC curve of a boosted classifier of real (n, d) against made rows (m, d), each row judged by a
    fit without it; .5 where nobody can tell (Lopez-Paz and Oquab 2017)."""
    from lightgbm import LGBMClassifier
    from sklearn.metrics import roc_auc_score

    X = np.concatenate([real, fake])
    y = np.repeat([1, 0], [len(real), len(fake)])
    fold = np.random.default_rng(derive(seed, "folds")).permutation(len(X)) % _FOLDS
    said = np.zeros(len(X))
    for k in range(_FOLDS):
        model = LGBMClassifier(n_estimators=60, num_leaves=15, learning_rate=0.15, n_jobs=1, verbosity=-1,
                               min_child_samples=10, random_state=0)  # fmt: skip
        said[fold == k] = model.fit(X[fold != k], y[fold != k]).predict_proba(X[fold == k])[:, 1]
    # A fold by itself: scores of two fits are not on one scale.
    return float(np.mean([roc_auc_score(y[fold == k], said[fold == k]) for k in range(_FOLDS)]))


def examine(
    step: Sampler,
    held: np.ndarray,
    y: Any = None,
    *,
    train: np.ndarray | None = None,
    train_labels: Any = None,
    n: int | None = None,
    seed: int = 0,
    judge: Any = None,
    steps: int | None = None,
    budget: float | None = None,
) -> Examined:
    """Hold samples of a step against rows (m, p) or images (m, h, w, c) that its fit has not seen.

    Parameters
    ----------
    y, train_labels : classes of both, where there are any: a model with a condition is then asked for each class as
        often as it is held out.
    train : what it was fitted on. Without it, real is compared with real in halves of `held`, and copies go unseen.
    n : samples; by default as many as are held out, 2,000 at most.
    judge : a `Judge` for images that is there already. steps : of training one; by default 100 to 400, by their number.
    budget : seconds that training networks to judge by may take.

    Raises
    ------
    DataError
        when fewer than 20 rows are held out.
    """
    rng = np.random.default_rng(derive(seed, "evaluation"))
    held, y = np.asarray(held), None if y is None else np.asarray(y)
    order = rng.permutation(len(held))
    held, y = held[order], None if y is None else y[order]
    count = min(len(held), MOST if n is None else int(n))
    steps = int(np.clip(len(held if train is None else train) // 16, 100, 400)) if steps is None else steps
    if train is None:
        count //= 2
        others, others_y = held[count : 2 * count], None if y is None else y[count : 2 * count]
    else:
        train, picked = np.asarray(train), rng.permutation(len(train))[:count]
        others = train[picked]
        others_y = None if train_labels is None else np.asarray(train_labels)[picked]
    if count < _LEAST:
        raise DataError(
            f"{len(held)} rows are held out, too few to judge samples by; expected {_LEAST} or more"
            + (", or twice as many without the training data." if train is None else ".")
        )
    asked = None
    if step.classes and y is not None:
        known = {str(c): c for c in step.classes}
        asked = np.array([known.get(str(c)) for c in y[:count]], dtype=object)
        if any(a is None for a in asked):
            strange = next(str(c) for c, a in zip(y, asked) if a is None)
            raise DataError(f"The held-out class {strange!r} was not learnt: expected one of {list(known)[:20]}.")
    fake = np.asarray(step.sample(count, None if asked is None else list(asked), seed=derive(seed, "samples")))
    images = fake.ndim == 4
    told: dict[str, Any] = {}
    if images:
        if judge is None:
            require("torch", "Judging images")
            from everymodel.training.judge import Judge

            judge = Judge(others if train is None else train, others_y if train is None else train_labels,
                          seed=derive(seed, "judge") % 2**31, steps=steps, budget=budget and budget / 2,
                          threads=1)  # fmt: skip
        told = dict(judge.record)
        space = judge.features
    else:
        base = (others if train is None else train).astype(np.float64)
        spread = base.std(axis=0)
        centre, spread = base.mean(axis=0), np.where(spread > 0, spread, 1.0)

        def space(rows: np.ndarray) -> np.ndarray:
            return (rows - centre) / spread

    figures = quality(space(held[:count]), space(fake), space(others), seed)
    places = None
    if train is not None:
        flat = (lambda x: x.reshape(len(x), -1) / 127.5) if images else space
        figures["copied"] = copied(flat(fake), flat(train[rng.permutation(len(train))[: len(held)]]), flat(held))
        places = nearest(flat(fake[:SHOWN]), flat(train))[1][:, 0]
    if asked is not None and others_y is not None and y is not None:
        figures |= _classes(fake, asked, held, y, others, others_y, judge, images, steps, seed, budget)
    return Examined(figures, fake, asked, places, told)


def _classes(
    fake: np.ndarray,
    asked: np.ndarray,
    held: np.ndarray,
    y: np.ndarray,
    real: np.ndarray,
    real_y: np.ndarray,
    judge: Any,
    images: bool,
    steps: int,
    seed: int,
    budget: float | None,
) -> dict[str, float]:
    """agreement: share of samples that a classifier trained on real data takes for what was asked; cas: share of
    held-out rows that a classifier trained on samples alone gets right (Ravuri and Vinyals 2019). "_real": the
    classifier on held-out rows; a classifier trained on as many real rows."""

    def fitted(rows: np.ndarray, labels: np.ndarray) -> Any:
        if images:
            from everymodel.training.judge import Judge

            few, share = min(steps, len(rows) // 8 + 50), budget and budget / 4
            return Judge(rows, labels, steps=few, seed=seed % 2**31, budget=share, threads=1).classify
        from lightgbm import LGBMClassifier

        return LGBMClassifier(n_estimators=60, num_leaves=15, n_jobs=1, verbosity=-1, random_state=0).fit(
            rows, labels
        ).predict  # fmt: skip

    wanted, truth, others = (np.array([str(v) for v in rows]) for rows in (asked, y, real_y))
    told = judge.classify if images and judge is not None and judge.classes is not None else fitted(real, others)

    def right(classify: Any, rows: np.ndarray, labels: np.ndarray) -> float:
        return float(np.mean([str(v) for v in classify(rows)] == labels))

    made = fitted(fake, wanted) if len(np.unique(wanted)) > 1 else None
    return {
        "agreement": right(told, fake, wanted),
        "agreement_real": right(told, held, truth),
        "cas": float("nan") if made is None else right(made, held, truth),
        "cas_real": right(fitted(real, others), held, truth),
    }
