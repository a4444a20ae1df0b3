"""task="embed": the map that keeps neighbourhoods best, honest about it, for any table."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import pdist
from scipy.stats import spearmanr
from sklearn.datasets import load_digits
from sklearn.manifold import trustworthiness

import everymodel as em
from everymodel.core.clock import Clock
from everymodel.core.errors import ParameterError
from everymodel.workflow.unsupervised import embed, mapping


@pytest.fixture(scope="module")
def digits():
    frame = load_digits(as_frame=True).frame.sample(500, random_state=0)
    return frame.set_index(pd.Index([f"picture {i}" for i in range(500)]))


@pytest.fixture(scope="module")
def run(digits, tmp_path_factory):
    folder = tmp_path_factory.mktemp("digits")
    return em.fit(digits, target="target", task="embed", budget="60s", out=folder, progress=False)


def codes(run) -> list[str]:
    return [f.code for f in run.findings]


def fit(frame, tmp_path, **more):
    return em.fit(frame, task="embed", out=tmp_path / "run", progress=False, **{"budget": "60s", **more})


def test_judge_counts_as_scikit_learn_and_scipy_do():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 5))
    T = X[:, :2] + 0.3 * rng.normal(size=(200, 2))
    found = mapping.Judge(X, 0)(T)
    for line in found.curve:
        k = line["neighbours"]
        assert line["trustworthiness"] == pytest.approx(trustworthiness(X, T, n_neighbors=k), abs=1e-9)
        assert line["continuity"] == pytest.approx(trustworthiness(T, X, n_neighbors=k), abs=1e-9)
    assert found.far[0] == pytest.approx(spearmanr(pdist(X), pdist(T))[0], abs=1e-9)
    assert found.trust[1] < found.trust[0] < found.trust[2]


def test_a_judge_of_many_rows_agrees_with_one_of_all(monkeypatch):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(1500, 4))
    whole = mapping.Judge(X, 0)(X[:, :2])
    monkeypatch.setattr(mapping, "RANKS", 300_000)
    few = mapping.Judge(X, 0)
    assert len(few.asked) == 200
    part = few(X[:, :2])
    assert part.near == pytest.approx(whole.near, abs=0.03)
    assert part.trust[1] < whole.trust[0] < part.trust[2]


def test_digits_are_drawn_by_tsne_and_trusted(run, digits):
    board = run.leaderboard.set_index("card")
    assert board.index[0] == "tsne" and {"pca", "isomap", "spectral_embedding"} <= set(board.index)
    assert board.trustworthiness["tsne"] > board.trustworthiness["pca"] + 0.05
    assert "t-SNE" in run.headline and "mean nothing" in run.headline
    told = run.story["structure"]
    assert len(told["trust"]) >= 3 and -1 <= told["shepard"]["correlation"] <= 1
    colours = told["map"]["colours"]
    assert colours[0]["name"] == run.story["labels"]
    assert all(len(c["values"]) == len(told["map"]["points"]) == 500 for c in colours)


def test_the_map_has_the_tables_index_and_new_rows_join_it(run, digits):
    map_ = run.tables["map"]
    assert list(map_.index) == list(digits.index) and list(map_.columns) == ["x", "y"]
    rows = digits.drop(columns="target")
    again = np.asarray(run.model.transform(rows))
    np.testing.assert_allclose(again, map_.to_numpy(), atol=1e-6 * np.ptp(map_.to_numpy()))
    moved = rows.iloc[:50].clip(lower=0.01)
    near = np.linalg.norm(np.asarray(run.model.transform(moved)) - map_.to_numpy()[:50], axis=1)
    assert np.median(near) < 0.1 * np.ptp(map_.to_numpy())


def test_a_plane_is_drawn_by_principal_components(tmp_path):
    """Where PCA keeps what there is, its map, whose far is far, is the better one."""
    rng = np.random.default_rng(0)
    plane = rng.uniform(size=(250, 2)) @ np.array([[1.0, 0.2, 0.5, -1.0], [0.1, 1.0, -0.7, 0.3]])
    run = fit(pd.DataFrame(plane, columns=list("abcd")), tmp_path)
    assert run.leaderboard.card[0] == "pca" and "far is far" in run.headline


def test_many_rows_are_sampled_and_that_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(embed, "DRAWN", {2: 300, 3: 300})
    rng = np.random.default_rng(0)
    kind = rng.integers(0, 8, 2000)
    X = rng.normal(size=(8, 10))[kind] * 5 + rng.normal(size=(2000, 10))
    run = fit(pd.DataFrame(X).add_prefix("c"), tmp_path, models=["tsne"])
    found = next(f for f in run.findings if f.code == "map-sampled")
    assert "300 of the 2,000 rows" in found.message
    map_ = run.tables["map"].to_numpy()
    assert len(map_) == 2000
    from sklearn.neighbors import KNeighborsClassifier

    assert KNeighborsClassifier(10).fit(map_[:1000], kind[:1000]).score(map_[1000:], kind[1000:]) > 0.95


def test_places_end_when_the_time_does():
    X = np.arange(60_000.0).reshape(-1, 1)
    order = np.random.default_rng(0).permutation(len(X))
    asked = []
    got = embed._placed([lambda part: part * 2.0], X, order, lambda: bool(asked.append(1)) or len(asked) > 2)
    assert mapping.ROWS <= len(got) < len(X)
    np.testing.assert_array_equal(got, 2.0 * X[order[: len(got)]])
    assert len(embed._placed([lambda part: part], X, None, lambda: True)) == len(X)


def test_little_time_means_fewer_rows():
    from everymodel import catalog

    card = catalog.find("tsne", kind="reducer")
    assert embed._affordable(card, 15_000, 2, Clock()) == 15_000
    assert embed._affordable(card, 10**6, 2, Clock()) == 20_000
    short = embed._affordable(card, 15_000, 2, Clock(5.0))
    assert 500 <= short < 15_000
    assert embed._affordable(card, 15_000, 2, Clock(0.1)) == 0


@pytest.mark.parametrize("kind", ["categories", "wide", "text", "missing", "repeated"])
def test_any_table_is_drawn(kind, tmp_path):
    rng = np.random.default_rng(0)
    n = 120
    words = ["cat dog pet vet paw fur", "stock bond market price fund bank"]
    frame = {
        "categories": lambda: pd.DataFrame({f"c{i}": rng.choice(list("abcd"), n) for i in range(5)}),
        "wide": lambda: pd.DataFrame(rng.normal(size=(n, 4)) @ rng.normal(size=(4, 300))).add_prefix("w"),
        "text": lambda: pd.DataFrame({"t": [" ".join(rng.choice(words[i % 2].split(), 8)) for i in range(n)]}),
        "missing": lambda: pd.DataFrame(np.where(rng.random((n, 4)) < 0.3, np.nan, rng.normal(size=(n, 4)))).add_prefix(
            "m"
        ),
        "repeated": lambda: pd.DataFrame(np.repeat(rng.normal(size=(5, 3)), n // 5, axis=0)).add_prefix("r"),
    }[kind]()
    run = fit(frame, tmp_path, models=["tsne", "pca"])
    map_ = run.tables["map"]
    assert map_.shape == (n, 2) and np.isfinite(map_.to_numpy()).all()
    np.testing.assert_allclose(np.asarray(run.model.transform(frame)), map_.to_numpy(), rtol=1e-6, atol=1e-6)
    assert run.report(tmp_path / "page.html").exists()


def test_one_column_and_few_rows_are_said(tmp_path):
    rng = np.random.default_rng(0)
    line = fit(pd.DataFrame({"only": rng.normal(size=40)}), tmp_path / "a")
    assert "map-one-column" in codes(line) and line.tables["map"].shape == (40, 2)
    few = fit(pd.DataFrame(rng.normal(size=(4, 3)), columns=list("abc")), tmp_path / "b")
    assert "map-few-rows" in codes(few) and "too few rows" in few.headline


def test_three_coordinates_and_named_models(tmp_path):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(80, 4)), columns=list("abcd"))
    run = fit(frame, tmp_path, components=3, models=["multidimensional_scaling"])
    assert run.tables["map"].shape == (80, 3) and list(run.tables["map"]) == ["x", "y", "z"]
    assert run.leaderboard.card[0] == "multidimensional_scaling"
    with pytest.raises(ParameterError, match="kmeans"):
        fit(frame, tmp_path / "b", models=["kmeans"])


def test_a_map_of_noise_is_not_praised(tmp_path):
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(300, 30))).add_prefix("n")
    run = fit(frame, tmp_path, models=["pca"])
    assert "map-untrustworthy" in codes(run) and "often not near" in run.headline


def test_columns_that_the_map_tells_are_found(tmp_path):
    rng = np.random.default_rng(0)
    t = rng.uniform(size=300)
    frame = pd.DataFrame(
        {"a": t, "b": t**2, "c": np.exp(t), "kind": np.where(t > 0.5, "high", "low"), "noise": rng.normal(size=300)}
    )
    run = fit(frame, tmp_path, models=["pca"])
    share = {one["column"]: one["share"] for one in run.story["structure"]["told"]}
    assert share["a"] > 0.8 and share["kind"] > 0.8
