"""Write tests/golden: small model files of the present format, and the answers that every later version must give.

    python scripts/make_golden.py [WORD ...]     # only files whose names hold one of the words

Run it when the format number rises, or when a release adds steps; never rewrite the files of a released version: they
are the promise that every past file opens forever. Files are named v<format>-<model>.em.
"""

from __future__ import annotations

import json
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import everymodel as em
from everymodel import catalog
from everymodel.environments.lanes import ArrayLanes
from everymodel.scoring import container, probe, table
from everymodel.scoring.model import Model
from everymodel.scoring.spaces import Space, box
from everymodel.workflow.train import Job, fit_member
from everymodel.workflow.types import Problem
from everymodel.workflow.understand import understand

FOLDER = Path(__file__).parent.parent / "tests" / "golden"
BINARY: dict[str, dict[str, Any]] = {
    "logistic": {},
    "lightgbm": {"n_estimators": 8, "num_leaves": 6},
    "gradient_boosting": {"max_iter": 6, "max_leaf_nodes": 6},
    "catboost": {"iterations": 8, "depth": 4},
    "random_forest": {"n_estimators": 4, "max_leaf_nodes": 9},
    "gaussian_nb": {},
    "svm": {},
    "nearest_neighbors": {},
    "label_spreading": {},
    "multilayer_perceptron": {"width": 8, "layers": 1, "members": 1},
}
REGRESSION: dict[str, dict[str, Any]] = {
    "ridge": {},
    "lightgbm": {"n_estimators": 8, "num_leaves": 70, "min_child_samples": 1},
    "gaussian_process": {},
}


FREE: dict[str, dict[str, dict[str, Any]]] = {
    "cluster": {
        "kmeans": {"n_clusters": 3},
        "agglomerative": {"n_clusters": 3, "linkage": "average"},
        "dbscan": {"min_samples": 4},
        "hdbscan": {"min_cluster_size": 6},
        "optics": {"min_samples": 4},
        "gaussian_mixture": {"n_components": 2},
    },
    "reduce": {"pca": {"n_components": 3}, "kernel_pca": {"n_components": 3}, "nmf": {"n_components": 3}},
    "embed": {
        "tsne": {},
        "isomap": {"n_components": 2},
        "locally_linear_embedding": {"n_components": 2},
        "multidimensional_scaling": {},
        "spectral_embedding": {"n_components": 2},
    },
    "anomaly": {
        "isolation_forest": {"n_estimators": 10},
        "local_outlier_factor": {"n_neighbors": 8},
        "neighbor_distance": {},
        "one_class_svm": {},
        "robust_covariance": {},
        "pca_reconstruction": {},
    },
}
_TEXTS = {"cell": "lstm", "hidden": 4, "embedding": 4, "grams": False, "epochs": 2}
# name of the file: class and its settings; what it learns from is made in `cells`
WRAPPED: dict[str, tuple[str, str, dict[str, Any]]] = {
    "feed_forward-table": ("FeedForwardClassifier", "table", {"hidden": [8], "members": 2, "epochs": 4}),
    "feed_forward_plain-table": ("FeedForwardRegressor", "table", {"hidden": [8], "recipe": "plain", "epochs": 4}),
    "convolutional-images": ("ConvolutionalClassifier", "images", {"width": 4, "depth": 1, "epochs": 2}),
    "signal_convolution-series": (
        "SignalConvolutionClassifier",
        "series",
        {"width": 4, "depth": 1, "stages": 1, "epochs": 2},
    ),
    "recurrent_gru-series": ("RecurrentClassifier", "series", {"cell": "gru", "hidden": 4, "epochs": 2}),
    "recurrent_lstm-texts": ("RecurrentRegressor", "texts", _TEXTS),
    "hydra-series": ("HydraMultiRocketClassifier", "series", {"features": 84, "groups": 0}),
    "tagger-words": ("SequenceTagger", "tags", {"hidden": 4, "embedding": 8, "characters": 0, "marks": 0, "epochs": 3}),
    "translator-texts": ("SequenceToSequence", "pairs", {"hidden": 8, "embedding": 8, "epochs": 4}),
}
FORECASTS: dict[str, dict[str, Any]] = {
    "seasonal_naive": {"drift": True},
    "exponential_smoothing": {},
    "autoregression": {},
    "lagged_regression": {},
    "recurrent_forecaster": {"hidden": 4, "epochs": 2},
}
GRAPHS: dict[str, dict[str, Any]] = {
    "graph_convolution": {"hidden": [8], "epochs": 4},
    "graph_sage": {"hidden": [8], "epochs": 4},
    "graph_attention": {"hidden": [4], "heads": 2, "epochs": 4},
}
PLACES: dict[str, tuple[str, dict[str, Any]]] = {
    "segmentation-masks": ("SegmentationNetwork", {"width": 4, "levels": 2, "epochs": 3}),
    "detection-boxes": ("DetectionNetwork", {"width": 4, "levels": 2, "epochs": 3, "batch_size": 8}),
}
KINDS = {"cluster": "clusterer", "reduce": "reducer", "embed": "reducer", "anomaly": "detector"}


def frame(rows: int = 80) -> pd.DataFrame:
    """Numbers with gaps, categories, a truth value, dates, text."""
    rng = np.random.default_rng(7)
    words = np.array(["red", "round", "old", "new", "fast", "überall"])
    made = pd.DataFrame(
        {
            "size": rng.normal(size=rows).round(3),
            "price": np.exp(rng.normal(3, 1, size=rows)).round(2),
            "rooms": rng.integers(1, 9, size=rows),
            "city": np.array(["Bonn", "Köln", "Ulm"])[rng.integers(3, size=rows)],
            "garden": rng.random(rows) < 0.5,
            "sold": pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 900, size=rows), unit="D"),
            "note": [" ".join(words[rng.integers(6, size=5)]) for _ in range(rows)],
        }
    )
    made.loc[rng.random(rows) < 0.1, "size"] = np.nan
    score = made["size"].fillna(0) + 0.3 * made["rooms"] + (made["city"] == "Köln") + 0.2 * rng.normal(size=rows)
    made["value"] = score.round(4)
    made["sells"] = np.where(score > score.median(), "yes", "no")
    return made


def make(name: str, task: str, parameters: dict[str, Any]) -> None:
    target, other = ("sells", "value") if task == "binary" else ("value", "sells")
    train = frame().drop(columns=other)
    schema = understand(train, target, task=task).schema
    batch, _ = table.parse(schema, train, unseen="ignore", bad="missing")
    y = table.parse_target(schema, train[target])
    kind = "classifier" if task == "binary" else "regressor"
    card = catalog.find(name, kind=kind)
    everything = np.arange(len(train))
    problem = Problem(schema, task, batch, y, [], "roc_auc")
    member = fit_member(problem, Job(card.name, kind, parameters, everything, everything[:0], seed=0))
    rows_inside = any(node.step.holds_rows for node in member.pack().nodes)
    told: dict[str, Any] = {
        "contains_training_rows": rows_inside,
        "name": name,
        "created": "2026-11-21",
        "everymodel": "0.1.0",
        "provenance": {"rows": len(train)},
    }
    write(Model(schema, member.pack(), told), name, task)


def make_free(name: str, task: str, parameters: dict[str, Any]) -> None:
    """A model without a target, as `fit` makes it of the same table."""
    from dataclasses import replace

    from everymodel.workflow.unsupervised.material import Fit, Material, prepare

    train = frame().drop(columns=["value", "sells"])
    schema = understand(train, None).schema
    batch, _ = table.parse(schema, train, unseen="ignore", bad="missing")
    material = Material(schema, batch, 0, prepare(schema, batch, 0))
    fitted = Fit(name, KINDS[task], parameters).run(material)
    pack = fitted.pack()
    classes: tuple[Any, ...] = ("normal", "anomaly") if task == "anomaly" else ()
    if task == "cluster":
        groups = int(fitted.labels.max()) + 1
        classes = (*range(groups), *([-1] if fitted.answers.shape[1] > groups else []))
    told = {
        "contains_training_rows": any(node.step.holds_rows for node in pack.nodes),
        "name": name,
        "created": "2026-11-21",
        "everymodel": "0.1.0",
        "provenance": {"rows": len(train)},
    }
    write(Model(replace(schema, task=task, classes=classes), pack, told), name, task)


def cells(form: str, count: int = 24) -> tuple[Any, Any]:
    """(X, y) of what networks read."""
    random = np.random.default_rng(3)
    y = np.arange(count) % 2
    if form == "table":
        return random.normal(size=(60, 3)).round(3) + (np.arange(60) % 2)[:, None], np.arange(60) % 2
    if form == "images":
        return random.integers(0, 200, (count, 8, 8, 1), dtype=np.uint8) + (50 * y[:, None, None, None]).astype(
            np.uint8
        ), y
    if form == "series":
        t = np.arange(24)
        return [(np.sin(t / (1.0 + k)) + random.normal(size=24) / 4).astype(np.float32)[:, None].round(3) for k in y], y
    if form == "texts":
        words = np.array(["good", "bad", "film", "plot", "überall"])
        texts = np.array([" ".join(random.choice(words, 5)) for _ in range(count)], dtype=object)
        return texts, np.array([float(text.count("good")) for text in texts])
    if form == "tags":
        from everymodel.testing.tagging import tiny_sentences

        return tiny_sentences(count)
    words = ["ein", "zwei", "drei", "vier"]
    said = dict(zip(words, ("one", "two", "three", "four"), strict=True))
    sentences = [random.choice(words, 3).tolist() for _ in range(count)]
    return [" ".join(s) for s in sentences], [" ".join(said[w] for w in s) for s in sentences]


def make_wrapped(name: str, cls: str, form: str, parameters: dict[str, Any]) -> None:
    """A single model of cells, as `em.wrap` makes it."""
    X, y = cells(form)
    estimator = getattr(em, cls)(**parameters)
    if "random_state" in estimator.get_params():
        estimator.set_params(random_state=0)
    model = em.wrap(estimator.fit(X, y), X)
    model.manifest["created"] = "2026-11-21"
    if form in ("tags", "pairs"):
        write(model, *name.split("-"), asked=[{"text": x if isinstance(x, str) else " ".join(x)} for x in X[:6]])
    else:
        write(model, *name.split("-"))


def make_forecast(name: str, parameters: dict[str, Any]) -> None:
    """A forecast of two series, as `fit` makes it, with one model of its own settings."""
    from everymodel.workflow.forecast import choice
    from everymodel.workflow.forecast.choice import Candidate

    t = np.arange(40)
    table_ = pd.DataFrame(
        {
            "shop": np.repeat(["a", "b"], 40),
            "month": np.tile(pd.date_range("2020-01-01", periods=40, freq="MS"), 2),
            "sales": np.concatenate([100 + t + 9 * np.sin(t * np.pi / 6), 20 + 3 * np.cos(t * np.pi / 6)]).round(2),
        }
    )
    with tempfile.TemporaryDirectory() as folder:
        run = em.fit(table_, target="sales", time="month", group="shop", horizon=4, models=["seasonal_naive"],
                     trials=1, out=folder, progress=False)  # fmt: skip
        plain = run.model
        candidate = Candidate(catalog.find(name), parameters, name)
        steps = choice.steps([candidate], plain.past.cells(), 4, int(plain.told["season"]), 0)
        model = type(plain)(plain.schema, choice.pack(steps, plain.past), {**plain.manifest, "created": "2026-11-21"})
        model.manifest["members"] = [{"model": name, "card": name, "weight": 1.0, "parameters": parameters}]
        waves = 50 + 5 * np.sin(np.arange(30) * 0.5) + 0.2 * np.arange(30)
        write(model, name, "forecast", asked=[{"history": waves[:n].round(3).tolist()} for n in (1, 3, 14, 30)])


def make_graph(name: str, parameters: dict[str, Any]) -> None:
    """Classes of nodes, as `fit` makes it of edges and nodes."""
    random = np.random.default_rng(5)
    n = 24
    half = np.arange(n) // 12
    pairs = [
        (i, j) for i in range(n) for j in range(i + 1, n) if random.random() < (0.4 if half[i] == half[j] else 0.04)
    ]
    edges = pd.DataFrame(pairs, columns=["source", "target"])
    nodes = pd.DataFrame(
        {"id": np.arange(n), "age": random.normal(size=n).round(2) + half, "side": np.where(half, "l", "r")}
    )
    with tempfile.TemporaryDirectory() as folder:
        run = em.fit(edges, target="side", nodes=nodes, models=[name], out=folder, progress=False)
        write(run.model, name, "nodes", asked=[{"id": i} for i in range(0, n, 4)])


def tables_of_graphs(count: int = 40) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(edges, nodes) of trees, half of them with one edge more."""
    random = np.random.default_rng(11)
    edges: list[tuple[str, str]] = []
    nodes: list[dict[str, Any]] = []
    for graph in range(count):
        n = int(random.integers(5, 9))
        pairs = [(i, int(random.integers(0, i))) for i in range(1, n)] + ([(n - 1, 0), (n - 2, 0)] if graph % 2 else [])
        edges += [(f"{graph}.{i}", f"{graph}.{j}") for i, j in pairs]
        for i in range(n):
            kind = str(random.choice(["C", "N"]))
            row = {"graph": f"g{graph}", "node": f"{graph}.{i}", "kind": kind}
            nodes.append(row | {"charge": round(float(random.normal()), 2), "ring": "yes" if graph % 2 else "no"})
    return pd.DataFrame(edges, columns=["from", "to"]), pd.DataFrame(nodes)


def make_graphs(name: str) -> None:
    """Classes of whole graphs, as `fit` makes it of edges and nodes."""
    edges, nodes = tables_of_graphs()
    with tempfile.TemporaryDirectory() as folder:
        run = em.fit(edges, target="ring", nodes=nodes, graph="graph", models=[name], budget=15, out=folder,
                     progress=False)  # fmt: skip
    few = nodes[nodes["graph"].isin(["g0", "g1", "g2", "g3"])].drop(columns="ring")
    pairs = edges[edges["from"].isin(few["node"])].to_numpy().tolist()
    run.model.manifest["created"] = "2026-11-21"
    write(run.model, name, "graphs", few.to_dict("records"), pairs)


def make_places(name: str, cls: str, parameters: dict[str, Any]) -> None:
    """Masks, or boxes around things, as `em.wrap` makes it."""
    from everymodel.testing.pixelwise import shapes

    X, masks, things = shapes(12, side=16)
    estimator = getattr(em, cls)(**parameters, random_state=0).fit(X, masks if "masks" in name else things)
    model = em.wrap(estimator, X)
    model.manifest["created"] = "2026-11-21"
    write(model, *name.split("-"), asked=[{"image": image.tolist()} for image in (*X[:2], X[2, :11])])


GENERATORS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "vanilla_gan-rows": ("VanillaGAN", "rows", {"width": 8, "components": 6, "steps": 20}),
    "conditional_gan-images": ("ConditionalGAN", "images", {"width": 4, "latent_size": 4, "steps": 4, "batch_size": 8}),
    "lapgan-images": ("LAPGAN", "images", {"width": 4, "latent_size": 4, "steps": 3, "batch_size": 8}),
    "vae-rows": ("VAE", "rows", {"width": 8, "latent_size": 2, "epochs": 3, "prior": "mixture", "conditional": True}),
    "vae-images": ("VAE", "images", {"width": 8, "latent_size": 2, "epochs": 2}),
    "srgan-pictures": ("SRGAN", "pictures", {"factor": 2, "width": 4, "blocks": 1, "patch": 8, "steps": 3,
                                             "batch_size": 2}),
    "gaussian_copula-table": ("GaussianCopula", "table", {}),
    "smote-table": ("SMOTE", "table", {}),
    "table_gan-table": ("TableGAN", "table", {"width": 8, "steps": 20, "components": 4}),
    "table_vae-table": ("TableVAE", "table", {"width": 8, "depth": 1, "steps": 20}),
    "table_diffusion-table": ("TableDiffusion", "table", {"width": 8, "depth": 1, "bins": 5, "steps": 20}),
    "text_generator-gpt": ("TextGenerator", "text", {"width": 16, "depth": 1, "context": 16, "steps": 20}),
    "text_generator-lstm": ("TextGenerator", "text", {"architecture": "lstm", "width": 16, "depth": 1, "context": 16,
                                                      "steps": 20}),
    "music_generator-pieces": ("MusicGenerator", "music", {"width": 16, "context": 16, "steps": 20, "batch_size": 8,
                                                           "grid": 1}),
    "level_generator-levels": ("LevelGenerator", "level", {"passable": ".", "start": "S", "goal": "G", "width": 16,
                                                           "steps": 20}),
}  # fmt: skip


def make_generator(name: str, cls: str, form: str, parameters: dict[str, Any]) -> None:
    """What makes data: numbers that stand for the samples of six seeds."""
    from everymodel.testing import enhancing, generating, levels, music, tables, texts

    y = None
    if form == "rows":
        X, y = generating.tiny_rows(60)
    elif form == "images":
        X, y = generating.tiny_images(40, side=8)
    else:
        made = {
            "pictures": enhancing.tiny_pictures,
            "table": lambda: tables.tiny_table(50),
            "text": lambda: texts.tiny_names(20),
            "music": music.tiny_pieces,
            "level": levels.tiny_levels,
        }
        X = made[form]()
    estimator = getattr(em, cls)(**parameters, random_state=0)
    asks = bool(getattr(estimator, "conditional", False))
    model: Any = em.wrap(estimator.fit(X, y) if asks else estimator.fit(X), X)
    model.manifest["created"] = "2026-11-21"
    stem = FOLDER / f"v{container.FORMAT}-{name}"
    raw = model.to_bytes()
    container.write(stem.with_suffix(".em"), raw)
    told = {"proofs": [np.asarray(model.step.proof(seed), float).tolist() for seed in range(100, 106)]}
    stem.with_suffix(".json").write_text(json.dumps(told, separators=(",", ":")) + "\n", encoding="utf-8")
    print(f"{stem.name}.em: {len(raw)} bytes")


class Spot(ArrayLanes):
    """An image with one bright point in its left or right half, which is to be said; one step an episode."""

    name = "spot"
    observation = box(0, 255, (2, 9, 10), image=True)
    action = Space(2)
    limit = 1

    def begin(self, rng: np.random.Generator, n: int) -> np.ndarray:
        return rng.integers(0, 10, (1, n))

    def advance(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return (actions == (self.inner[0] > 4)).astype(np.float32), np.ones(self.n, dtype=bool)

    def show(self, inner: np.ndarray) -> np.ndarray:
        seen = np.full((inner.shape[1], 2, 9, 10), 20, dtype=np.uint8)
        seen[np.arange(len(seen)), 1, 4, inner[0]] = 250
        return seen


# Agents: class, where it learns, what is given to it.
AGENTS: dict[str, tuple[str, Any, dict[str, Any]]] = {
    "q_learning-frozen_lake": ("QLearning", "FrozenLake-v1", {"steps": 2000, "lanes": 8}),
    "q_learning-cells": ("QLearning", "CartPole-v1", {"steps": 2000, "lanes": 8, "bins": 3}),
    "ppo-cart_pole": ("PPO", "CartPole-v1", {"steps": 1024, "lanes": 8, "horizon": 16, "width": 8}),
    "ppo-images": ("PPO", Spot, {"steps": 2048, "lanes": 8, "horizon": 16, "width": 8, "filters": 4}),
    "sac-pendulum": ("SAC", "Pendulum-v1", {"steps": 400, "width": 8}),
    "self_play-tic_tac_toe": (
        "SelfPlay",
        "tic_tac_toe",
        {"rounds": 2, "games": 8, "width": 8, "depth": 1, "batch_size": 16},
    ),
}


def make_agent(name: str, cls: str, place: str, parameters: dict[str, Any]) -> None:
    """What acts: the numbers behind its choice for six observations that it makes up itself."""
    estimator = getattr(em, cls)(**parameters, random_state=0).fit(place, until=None)
    model: Any = em.wrap(estimator, None)
    model.manifest["created"] = "2026-11-21"
    stem = FOLDER / f"v{container.FORMAT}-{name}"
    raw = model.to_bytes()
    container.write(stem.with_suffix(".em"), raw)
    told = {"behind": np.asarray(model.step(range(6)), float).tolist()}
    stem.with_suffix(".json").write_text(json.dumps(told, separators=(",", ":")) + "\n", encoding="utf-8")
    print(f"{stem.name}.em: {len(raw)} bytes")


def write(
    model: Model, name: str, task: str, asked: list[dict[str, Any]] | None = None, edges: list[Any] | None = None
) -> None:
    """The file, and what it says to twelve rows, or to those given."""
    schema = model.schema
    stem = FOLDER / f"v{container.FORMAT}-{name}-{task}"
    raw = model.to_bytes()
    rows = asked or probe.rows(schema, 12 if model.task in ("binary", "regression") else 6, seed=99)
    more = {} if edges is None else {"edges": edges}
    answers = model.answers(model.read(rows, unseen="ignore", **more)[0])
    if model.pack.output == "maps":
        answers = [np.asarray(maps, float).round(6) for maps, _ in answers]
    container.write(stem.with_suffix(".em"), raw)
    text = json.dumps({"rows": rows, **more, "answers": plain(answers)}, separators=(",", ":"))
    stem.with_suffix(".json").write_text(text + "\n", encoding="utf-8")
    print(f"{stem.name}.em: {len(raw)} bytes")


def plain(answers: Any) -> list[Any]:
    """Answers as JSON holds them."""
    told = answers.tolist() if isinstance(answers, np.ndarray) else list(answers)
    return [plain(a) if isinstance(a, np.ndarray | list | tuple) else a for a in told]


def main() -> int:
    FOLDER.mkdir(exist_ok=True)
    jobs: list[tuple[str, Any, tuple]] = []
    for task, models in (("binary", BINARY), ("regression", REGRESSION)):
        jobs += [(f"{name}-{task}", make, (name, task, more)) for name, more in models.items()]
    for task, models in FREE.items():
        jobs += [(f"{name}-{task}", make_free, (name, task, more)) for name, more in models.items()]
    jobs += [(name, make_wrapped, (name, *told)) for name, told in WRAPPED.items()]
    jobs += [(f"{name}-forecast", make_forecast, (name, more)) for name, more in FORECASTS.items()]
    jobs += [(f"{name}-nodes", make_graph, (name, more)) for name, more in GRAPHS.items()]
    jobs += [(f"{name}-graphs", make_graphs, (name,)) for name in ("logistic", *GRAPHS)]
    jobs += [(name, make_places, (name, *told)) for name, told in PLACES.items()]
    jobs += [(name, make_generator, (name, *told)) for name, told in GENERATORS.items()]
    jobs += [(name, make_agent, (name, *told)) for name, told in AGENTS.items()]
    words, failed = sys.argv[1:], 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, work, given in jobs:
            if words and not any(word in name for word in words):
                continue
            try:
                work(*given)
            except Exception as error:  # a missing extra must not hide the others
                failed += 1
                print(f"{name}: {type(error).__name__}: {error}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
