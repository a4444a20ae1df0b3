"""Groups: how many, by which method, whether they are real, and what is said of them."""

from __future__ import annotations

import time

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_iris, load_wine, make_blobs, make_circles, make_moons
from sklearn.metrics import adjusted_rand_score

import everymodel as em
from everymodel import catalog
from everymodel.core.clock import Clock
from everymodel.core.errors import CapabilityError, DataError
from everymodel.scoring import table
from everymodel.workflow.types import Progress
from everymodel.workflow.understand import understand
from everymodel.workflow.unsupervised import choice, cluster
from everymodel.workflow.unsupervised.material import Fit, Material, prepare
from everymodel.workflow.unsupervised.stability import Resample, overlaps


def framed(X: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame(X, columns=[f"x{i}" for i in range(X.shape[1])])


def material(frame: pd.DataFrame) -> Material:
    schema = understand(frame, None).schema
    batch, _ = table.parse(schema, frame, unseen="ignore", bad="missing")
    made = Material(schema, batch, 0)
    made.balanced = prepare(schema, batch, 0)
    return made


@pytest.fixture(scope="module")
def blobs():
    X, y = make_blobs([150, 250, 100, 200], n_features=4, cluster_std=1.3, random_state=4)
    return framed(X), y


@pytest.fixture(scope="module")
def run(blobs, tmp_path_factory):
    out = tmp_path_factory.mktemp("blobs") / "run"
    return em.fit(blobs[0], task="cluster", budget="60s", trials=3, out=out, progress=False)


def test_planted_groups_are_found_counted_and_described(run, blobs):
    frame, truth = blobs
    assert adjusted_rand_score(truth, run.model.predict(frame)) > 0.98
    told = run.story["structure"]
    assert told["interval"]["low"] <= 4 <= told["interval"]["high"]
    assert sorted(told["sizes"]) == [100, 150, 200, 250]
    assert all(s["stability"] > 0.9 for s in told["segments"])
    assert {"map", "silhouettes", "choice", "votes", "stability", "dendrogram", "heat", "rules"} <= set(told)
    assert len(told["silhouettes"]) == 4
    assert {"clusters", "stability", "agreement", "noise_share", "status"} <= set(run.leaderboard.columns)


def test_every_leaf_and_merge_of_the_dendrogram_is_joined_once(run):
    tree = run.story["structure"]["dendrogram"]
    joined = [node for a, b, *_ in tree["merges"] for node in (a, b)]
    assert sorted(joined) == list(range(len(tree["leaves"]) + len(tree["merges"]) - 1))
    assert tree["merges"][-1][3] == tree["rows"] == sum(tree["leaves"])
    heights = [m[2] for m in tree["merges"]]
    assert heights == sorted(heights)


@pytest.mark.parametrize("kind", ["uniform", "gauss", "skewed"])
def test_noise_is_said_to_have_no_groups(kind, tmp_path):
    random = np.random.default_rng(1)
    draw = {"uniform": random.uniform, "gauss": random.standard_normal, "skewed": random.exponential}[kind]
    frame = framed(draw(size=(300, 4)))
    run = em.fit(frame, task="cluster", budget="60s", out=tmp_path / "run", progress=False)
    assert run.headline.startswith("No groups")
    assert "no-structure" in {f.code for f in run.findings}
    assert set(run.model.predict(frame)) == {0}


@pytest.mark.parametrize("shape", ["moons", "circles"])
def test_groups_of_any_shape_are_found(shape):
    if shape == "moons":
        X, y = make_moons(600, noise=0.1, random_state=0)
    else:
        X, y = make_circles(400, noise=0.04, factor=0.4, random_state=0)
    found = cluster.discover(material(framed(X)), clock=Clock(60))
    labels = found.fitted.answers[:, :2].argmax(axis=1)
    assert adjusted_rand_score(y, labels) > 0.95


def test_a_number_that_is_given_is_kept_and_doubted(tmp_path):
    frame = framed(np.random.default_rng(0).standard_normal((400, 3)))
    run = em.fit(frame, task="cluster", clusters=3, trials=2, budget="60s", out=tmp_path / "run", progress=False)
    assert set(run.model.predict(frame)) == {0, 1, 2}
    doubts = {f.code: f.severity for f in run.findings}
    assert doubts["no-structure"] == "warning"


def test_the_same_seed_gives_the_same_answer(blobs):
    one, two = (cluster.discover(material(blobs[0]), clock=Clock(None), trials=2, seed=5) for _ in range(2))
    np.testing.assert_array_equal(one.fitted.answers, two.fitted.answers)
    keep = [{k: v for k, v in line.items() if k != "fit_seconds"} for line in one.leaderboard]
    assert keep == [{k: v for k, v in line.items() if k != "fit_seconds"} for line in two.leaderboard]


def test_an_interruption_keeps_the_best_so_far(blobs):
    heard = []

    def listener(event: Progress) -> None:
        heard.append(event.candidate)
        if len(heard) == 2:
            raise KeyboardInterrupt

    found = cluster.discover(material(blobs[0]), clock=Clock(None), listener=listener)
    assert found.stopped == "interrupted"
    assert adjusted_rand_score(blobs[1], found.fitted.answers.argmax(axis=1)) > 0.9


def test_a_method_that_takes_few_rows_is_fitted_on_a_sample_and_it_is_said(blobs, monkeypatch):
    monkeypatch.setitem(catalog.find("mean_shift", kind="clusterer").needs, "max_rows", 400)
    found = cluster.discover(material(blobs[0]), models=["mean_shift"], clock=Clock(60))
    assert "groups-sampled" in {f.code for f in found.findings}
    assert len(found.fitted.answers) == 700


def test_time_that_reading_has_taken_is_not_taken_from_the_number_of_groups(blobs):
    found = cluster.discover(material(blobs[0]), clock=Clock(900.0, started=time.monotonic() - 600.0), trials=1)
    assert "number-of-groups-unknown" not in {f.code for f in found.findings}
    assert len(found.structure["segments"]) == 4


def test_a_tree_of_bent_groups_is_cut_from_as_many_rows_as_it_can_hold(monkeypatch):
    monkeypatch.setattr(cluster, "QUICK", 200)
    X, _ = make_moons(300, noise=0.05, random_state=0)
    found = cluster.discover(material(framed(X)), models=["agglomerative"], clock=Clock(60))
    single = [line for line in found.leaderboard if line["parameters"].get("linkage") == "single"]
    assert single and single[0]["status"] == "ok"


def test_mixed_and_categorical_tables():
    random = np.random.default_rng(3)
    group = random.integers(0, 3, 240)
    words = np.array([["a", "b", "c"], ["p", "q", "r"], ["s", "t", "u"]])
    noisy = [np.where(random.uniform(size=240) < 0.9, group, random.integers(0, 3, 240)) for _ in range(5)]
    categories = pd.DataFrame({f"c{i}": words[i % 3][g] for i, g in enumerate(noisy)})
    mixed = categories.iloc[:, :2].assign(x=group * 5.0 + random.standard_normal(240), z=random.standard_normal(240))
    for frame in (categories, mixed):
        found = cluster.discover(material(frame), clock=Clock(60), trials=1)
        assert adjusted_rand_score(group, found.fitted.answers.argmax(axis=1)) > 0.8


def test_one_category_alone_and_unrelated_ones_make_no_groups():
    random = np.random.default_rng(0)
    frame = pd.DataFrame({name: random.choice(list("abc"), 400) for name in ("one", "two", "three")})
    frame["number"] = random.standard_normal(400)
    assert choice.choose(material(frame).balanced.X, origins=material(frame).balanced.origins).groups == 1


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame({"x": [1.0, 2.0, 3.0, 40.0]}),
        pd.DataFrame({"x": np.r_[np.random.default_rng(0).normal(0, 1, 99), 1e6]}),
        pd.DataFrame({"x": [0.0, 1.0] * 50, "y": [0.0, 1.0] * 50}),
        pd.DataFrame({"x": [1.0, np.nan, np.inf, 4.0] * 10, "k": list("abba") * 10}),
    ],
)
def test_odd_tables_get_an_answer(frame):
    found = cluster.discover(material(frame), clock=Clock(30), trials=2)
    assert np.isfinite(found.fitted.answers).all() and len(found.fitted.answers) == len(frame)


def test_more_groups_than_different_rows_are_refused_in_words():
    frame = pd.DataFrame({"x": [0.0, 1.0] * 10})
    with pytest.raises(DataError, match="8 groups"):
        cluster.discover(material(frame), clusters=8, models=["kmeans"], clock=Clock(20))


def test_overlaps_are_jaccard():
    np.testing.assert_allclose(overlaps(np.array([0, 0, 1, 1, -1]), np.array([1, 1, 1, 0, 0])), [2 / 3, 1 / 3])


def test_resamples_tell_a_real_group_from_an_arbitrary_cut(blobs):
    made = material(blobs[0])
    rows = np.arange(made.n)
    real = Resample("kmeans", {"n_clusters": 4}, rows, blobs[1], draws=6).run(made)
    random = framed(np.random.default_rng(0).standard_normal((500, 4)))
    crowd = material(random)
    cut = Fit("kmeans", "clusterer", {"n_clusters": 5}).run(crowd).answers.argmax(axis=1)
    arbitrary = Resample("kmeans", {"n_clusters": 5}, np.arange(500), cut, draws=6).run(crowd)
    assert real.mean > 0.95 > 0.7 > arbitrary.mean


def on_noise(seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    groups = [random.normal(center, 0.4, (120, 2)) for center in ((-4, -4), (4, -3), (0, 4))]
    return np.vstack([*groups, random.uniform(-7, 7, (90, 2))]), np.r_[np.repeat([0, 1, 2], 120), np.full(90, -1)]


@pytest.mark.parametrize("seed", [3, 4])
def test_noise_that_groups_lie_in_is_no_group(seed):
    X, truth = on_noise(seed)
    found = choice.choose((X - X.mean(axis=0)) / X.std(axis=0))
    assert found.groups == 3
    assert adjusted_rand_score(truth, found.labels) > 0.85


@pytest.mark.parametrize(("load", "groups"), [(load_wine, 3), (load_iris, 2)])
def test_pieces_of_groups_that_are_no_gaussians_give_way_to_what_is_found_again(load, groups):
    ready = material(load(as_frame=True).data).balanced
    found = choice.choose(ready.X, origins=ready.origins)
    assert found.groups == groups and found.crossed
    assert found.low <= groups <= found.high


@pytest.mark.parametrize("tied", [True, False])
def test_categories_alone_make_groups_where_they_are_tied(tied):
    right = 0
    for seed in range(2):
        random = np.random.default_rng(seed)
        group = random.integers(0, 3, 300)
        cells = [np.where(random.uniform(size=300) < 0.85 * tied, group, random.integers(0, 3, 300)) for _ in range(5)]
        ready = material(pd.DataFrame({f"c{i}": np.array(list("abc"))[c] for i, c in enumerate(cells)})).balanced
        right += choice.choose(ready.X, origins=ready.origins).groups == (3 if tied else 1)
    assert right == 2


def test_a_number_that_was_not_looked_for_is_said_to_be_unknown(blobs, monkeypatch):
    def late(self, *_, **__):
        raise MemoryError("no room")

    monkeypatch.setattr(cluster.Choose, "run", late)
    found = cluster.discover(material(blobs[0]), clock=Clock(30), trials=1)
    assert "not known" in found.headline and "plausible" not in found.headline
    assert found.structure["interval"] == {"low": None, "high": None}
    codes = {f.code for f in found.findings}
    assert "number-of-groups-unknown" in codes and "no-structure" not in codes


def test_a_named_method_with_another_number_says_what_the_rows_speak_for():
    X, _ = make_moons(300, noise=0.05, random_state=0)
    found = cluster.discover(material(framed(X)), models=["mean_shift"], clock=Clock(60))
    told, shown = found.structure["interval"], len(found.structure["segments"])
    assert not told["low"] <= shown <= told["high"]
    assert f"the rows themselves speak for {told['low']}" in found.headline
    assert "plausible" not in found.headline


# ---- drift


def test_stable_rows_do_not_drift_and_planted_shifts_are_found(blobs, run):
    frame, truth = blobs
    random = np.random.default_rng(0)
    X = frame.to_numpy()
    same = X[random.integers(0, len(X), 2000)] + random.normal(0, 0.05, (2000, 4))
    assert not run.model.drift(framed(same)).drifted
    more = np.vstack([same[:1700], X[truth == 2][random.integers(0, 100, 300)]])
    shares = run.model.drift(framed(more))
    assert shares.drifted and "shares" in {s.what for s in shares.shifts if s.changed}
    new = np.vstack([same, random.normal(0, 0.5, (70, 4)) + np.array([0, 40, 0, -40])])
    appeared = run.model.drift(framed(new))
    assert "far" in {s.what for s in appeared.shifts if s.changed}
    assert "new group" in str(appeared)
    moved = run.model.drift(framed(same + np.array([1.5, 0, 0, 0])))
    assert "moved" in {s.what for s in moved.shifts if s.changed}


def test_drift_needs_groups_and_rows(run, blobs, tmp_path):
    with pytest.raises(DataError, match="at least 20"):
        run.model.drift(blobs[0].head(5))
    wine = load_wine(as_frame=True).data
    other = em.fit(wine, task="reduce", budget="20s", out=tmp_path / "run", progress=False)
    with pytest.raises(CapabilityError, match="cluster"):
        other.model.drift(wine)


def test_the_file_keeps_figures_of_groups_and_no_row(run, tmp_path, blobs):
    kept = em.load(run.model.save(tmp_path / "m.em") or tmp_path / "m.em").manifest["groups"]
    assert [g["rows"] for g in kept["each"]] == run.story["structure"]["sizes"]
    assert all(len(g["distances"]) == 201 for g in kept["each"])
