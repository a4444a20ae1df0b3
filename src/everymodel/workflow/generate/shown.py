"""What the report of a generator shows, as plain data: samples, the film, nearest training data, curves, shapes."""

from __future__ import annotations

from typing import Any

import numpy as np

from everymodel.scoring.images import as_png, data_url, grid
from everymodel.scoring.steps.enhancing import resized
from everymodel.workflow.generate.material import Material
from everymodel.workflow.types import Evaluation

_GRID, _FRAMES, _WIDE = 64, 8, 96  # samples shown, frames of the film, pixels of an image
_COLUMNS, _BINS, _LEVELS = 9, 24, 12  # of the shapes
_TEXTS, _LETTERS, _ROWS = 4, 1200, 12
_PAIRS, _REGION = 5, 128  # held-out images shown before and after, and the side of the part of each, in pixels


def structure(
    whole: Material, train: Material, held: Material | None, model: Any, best: Any, evaluation: Evaluation, seed: int
) -> dict[str, Any]:
    """Everything beside the figures; what a kind of data does not have is left out."""
    estimator = best.model
    told: dict[str, Any] = {
        "makes": model.makes,
        "words": whole.words(),
        "classes": [str(c) for c in model.step.classes],
        "figures": evaluation.curves["figures"],
        "beside": evaluation.curves["beside"],
        "history": _history(estimator),
        "judge": model.manifest.get("judge", {}),
        "notes": list(getattr(getattr(estimator, "history_", None), "notes", [])),
        "summary": {"card": best.card.name, "title": best.card.title, "choose": best.card.choose,
                    "avoid": best.card.avoid, "sentence": best.card.summary},
    }  # fmt: skip
    if model.makes == "images":
        told |= _images(model, estimator, train, seed)
    elif model.makes == "enhanced":
        told["enlarged"] = _enlarged(model, held)
    elif model.makes in ("rows", "table"):
        told |= _tables(model, whole, seed)
    else:  # texts, pieces of music, levels
        made = model.step.sample(3 * _TEXTS if model.makes == "levels" else _TEXTS, seed=seed)
        if hasattr(made[0], "picture"):
            told["pictures"] = [data_url(one.picture()) for one in made]
        if model.makes != "pieces":  # one level, as it is written
            told["texts"] = [str(t)[:_LETTERS] for t in (made[:1] if model.makes == "levels" else made)]
    return told


def _history(estimator: Any) -> list[dict[str, Any]]:
    """Numbers of each epoch, at most 200 of them."""
    epochs = getattr(getattr(estimator, "history_", None), "epochs", [])
    every = max(len(epochs) // 200, 1)
    return [{k: v for k, v in e.items() if isinstance(v, int | float)} for e in epochs[::every]]


def _images(model: Any, estimator: Any, train: Material, seed: int) -> dict[str, Any]:
    classes = list(model.step.classes)
    told: dict[str, Any] = {}
    if classes:
        several = classes[:10]
        per = max(min(_GRID // len(several), 8), 2)
        made = model.step.sample(len(several) * per, [c for c in several for _ in range(per)], seed=seed)
        told["grid"] = {"image": _picture(made, per), "rows": [str(c) for c in several], "columns": per}
    else:
        made = model.step.sample(_GRID if made_small(model) else 16, seed=seed)
        told["grid"] = {"image": _picture(made, 8 if len(made) > 16 else 4), "rows": [], "columns": 8}
    film = getattr(estimator, "film_", [])
    if film:
        places = np.unique(np.linspace(0, len(film) - 1, _FRAMES).round().astype(int))
        told["film"] = [{"at": float(film[i][0]), "image": _picture(np.asarray(film[i][1])[:16], 4)} for i in places]
    seen = getattr(estimator, "examined_", None)
    if seen is not None and seen.neighbours is not None:
        told["neighbours"] = [
            {"made": data_url(seen.made[i]), "real": data_url(train.rows[j])}
            for i, j in enumerate(seen.neighbours[:8])
            if seen.made[i].shape == train.rows[j].shape
        ]
    return told


def _enlarged(model: Any, held: Material | None) -> dict[str, Any]:
    """The middles of the first held-out images: shrunk, enlarged in all ways, and true."""
    factor = model.step.factor
    heads = [f"shrunk {factor} times", "bicubic", "fidelity 1"]
    heads += ["fidelity 0"] if model.step.vivid is not None else []
    rows = []
    for image in [] if held is None else held.rows[:_PAIRS]:
        h, w = (min(side, _REGION) // factor * factor for side in image.shape[:2])
        top, left = (image.shape[0] - h) // 2, (image.shape[1] - w) // 2
        true = image[top : top + h, left : left + w]
        planes = np.moveaxis(true.astype(np.float64), 2, 0)
        small = _bytes(resized(planes, h // factor, w // factor))
        plain = _bytes(resized(np.moveaxis(small.astype(np.float64), 2, 0), h, w))
        coarse = small.repeat(factor, axis=0).repeat(factor, axis=1)
        made = [model.upscale(small, fidelity) for fidelity in ((1.0, 0.0) if len(heads) > 3 else (1.0,))]
        rows.append([data_url(one) for one in (coarse, plain, *made, true)])
    return {"heads": [*heads, "true"], "rows": rows}


def _bytes(planes: np.ndarray) -> np.ndarray:
    return np.moveaxis(np.clip(np.rint(planes), 0, 255).astype(np.uint8), 0, 2)


def live(samples: Any, shape: tuple[int, ...]) -> bytes | None:
    """A PNG of images that a network makes just now, in its own units (-1 to 1); None where they are no such images."""
    made = np.asarray(samples, dtype=np.float32)
    if made.ndim == 4 and made.shape[1] == shape[2]:
        made = made.transpose(0, 2, 3, 1)
    if made[0].size != int(np.prod(shape)):
        return None
    return as_png(grid(np.clip(np.rint(made.reshape(-1, *shape) * 127.5 + 127.5), 0, 255).astype(np.uint8)))


def made_small(model: Any) -> bool:
    return max(model.step.columns()[0].shape[:2]) <= _WIDE


def _picture(images: np.ndarray, columns: int) -> str:
    return data_url(grid(images, columns))


def _tables(model: Any, real: Material, seed: int) -> dict[str, Any]:
    """Samples, and how often each value comes in real and in made data."""
    n = int(np.clip(len(real), 200, 2000))
    real = real.take(np.random.default_rng(seed).permutation(len(real))[:5000])
    made = model.sample(n, seed=seed)
    truth = real.rows
    told: dict[str, Any] = {
        "table": {"names": [str(c) for c in made.columns[:20]],
                  "rows": [[_cell(v) for v in row] for row in made.head(_ROWS).iloc[:, :20].itertuples(index=False)]},
        "shapes": [],
    }  # fmt: skip
    for name in made.columns[:_COLUMNS]:
        if name in truth.columns:
            told["shapes"].append({"name": str(name), **_shape(truth[name], made[name])})
    if model.makes == "rows" and made.shape[1] >= 2:
        pair = [made.columns[0], made.columns[1]]
        few = min(len(truth), 800)
        told["pair"] = {"names": [str(p) for p in pair],
                        "real": truth[pair].head(few).to_numpy(float).round(6).tolist(),
                        "made": made[pair].head(few).to_numpy(float).round(6).tolist()}  # fmt: skip
    return told


def _cell(value: Any) -> str:
    number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    return f"{value:.6g}" if number else str(value)


def _shape(real: Any, made: Any) -> dict[str, Any]:
    """Shares of both by bins of numbers or by levels."""
    import pandas as pd

    numbers = pd.api.types.is_numeric_dtype(real) and not pd.api.types.is_bool_dtype(real)
    a, b = (pd.to_numeric(v, errors="coerce").dropna().to_numpy(float) if numbers else () for v in (real, made))
    few = numbers and len(np.unique(a)) <= _LEVELS and bool((np.asarray(a) == np.floor(a)).all())
    if numbers and len(a) and not few:
        edges = np.histogram_bin_edges(np.quantile(a, [0.005, 0.995]), _BINS)
        shares = [np.histogram(np.clip(v, edges[0], edges[-1]), edges)[0] / max(len(v), 1) for v in (a, b)]
        return {"edges": edges.tolist(), "real": shares[0].tolist(), "made": shares[1].tolist()}
    words = [v.astype(object).where(v.notna(), "(missing)").map(_cell) for v in (real, made)]
    levels = words[0].value_counts().index[:_LEVELS].tolist()
    shares = [w.value_counts(normalize=True).reindex(levels).fillna(0.0) for w in words]
    return {"levels": levels, "real": shares[0].tolist(), "made": shares[1].tolist()}
