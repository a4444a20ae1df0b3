"""task="reduce": how many components are real, what they hold, and what they are made of in words."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_wine

import everymodel as em
from everymodel.core.clock import Clock
from everymodel.core.errors import ParameterError
from everymodel.core.seeds import derive
from everymodel.workflow.unsupervised.reduction import spectrum

WORDS = {
    "food": ["bread", "cheese", "salt", "oven", "butter", "recipe", "taste", "kitchen", "soup", "pepper"],
    "sport": ["goal", "match", "team", "player", "ball", "league", "score", "coach", "stadium", "referee"],
    "money": ["bank", "loan", "interest", "credit", "market", "stock", "price", "tax", "budget", "profit"],
}


def reduce(data, folder, **options):
    return em.fit(data, task="reduce", **{"budget": "60s", "progress": False, "out": folder, **options})


def codes(run) -> set[str]:
    return {f.code for f in run.findings}


def houses(n: int = 400) -> pd.DataFrame:
    """Two hidden traits, size and age, behind numbers and categories; two columns have nothing to do with them."""
    rng = np.random.default_rng(0)
    size, age = rng.normal(size=n), rng.normal(size=n)
    return pd.DataFrame(
        {
            "rooms": np.round(5 + 1.5 * size + 0.3 * rng.normal(size=n)),
            "area": 100 + 30 * size + 8 * rng.normal(size=n),
            "price": np.exp(12 + 0.4 * size + 0.1 * rng.normal(size=n)),
            "distance": 20 - 5 * size + 3 * rng.normal(size=n),
            "built": np.round(1980 - 15 * age + 4 * rng.normal(size=n)),
            "heating": np.where(age + 0.4 * rng.normal(size=n) > 0, "coal", "gas"),
            "state": np.select([age > 0.7, age < -0.7], ["poor", "new"], "fair"),
            "lottery": rng.normal(size=n),
            "sold": pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 700, n), "D"),
        }
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return reduce(houses(), tmp_path_factory.mktemp("houses"))


# ---------------------------------------------------------------------- how many


@pytest.mark.parametrize(("hidden", "columns", "n"), [(1, 12, 150), (3, 20, 300), (5, 30, 1000)])
def test_planted_components_are_counted(hidden, columns, n):
    right = 0
    for seed in range(10):
        rng = np.random.default_rng(seed)
        X = rng.normal(size=(n, hidden)) @ rng.normal(size=(hidden, columns)) + 1.5 * rng.normal(size=(n, columns))
        X /= X.std(axis=0)
        right += spectrum(X, [str(j) for j in range(columns)], seed, Clock()).above == hidden
    assert right >= 8


def test_noise_has_no_components():
    wrong = 0
    for seed in range(20):
        X = np.random.default_rng(derive(seed)).normal(size=(200, 10))
        wrong += spectrum(X, list("abcdefghij"), seed, Clock()).above > 0
    assert wrong <= 3


def test_levels_of_one_category_are_no_component():
    """Levels exclude each other, so their columns are related; that is no relation between columns of the table."""
    rng = np.random.default_rng(0)
    onehot = [np.eye(4)[rng.integers(0, 4, 500)] for _ in range(5)]
    X = np.concatenate(onehot, axis=1) - 0.25
    apart = spectrum(X, [f"{i}={level}" for i in range(5) for level in range(4)], 0, Clock())
    together = spectrum(X, [str(i) for i in range(5) for _ in range(4)], 0, Clock())
    assert apart.above > 0
    assert together.above <= 1


def test_the_number_is_said_with_its_reason(run):
    assert run.headline.startswith("2 components stand for 9 columns")
    assert "not above chance" in run.headline
    structure = run.story["structure"]
    assert structure["kept"] == structure["above_chance"] == 2
    assert structure["explained"][1] > structure["chance"][1] > 0
    assert structure["explained"][2] <= structure["chance"][2]


def test_unrelated_columns_are_said_to_be_so(tmp_path):
    noise = pd.DataFrame(np.random.default_rng(2).normal(size=(300, 8)), columns=list("abcdefgh"))
    run = reduce(noise, tmp_path / "run")
    assert "no-components" in codes(run)
    assert "hardly related" in run.headline


def test_asking_for_a_number_gives_it(tmp_path):
    run = reduce(load_wine(as_frame=True).data, tmp_path / "run", components=5)
    assert run.model.transform(load_wine(as_frame=True).data).columns.tolist() == [
        f"component {i}" for i in range(1, 6)
    ]


# ---------------------------------------------------------------------- in words


def test_components_are_said_in_the_words_of_the_table(run):
    first, second = run.story["structure"]["loadings"]
    assert {"rooms", "area", "price"} <= {p["feature"] for p in first["parts"][:4]}
    assert "against distance" in first["sentence"]
    assert "built" in second["sentence"]
    assert "heating = " in second["sentence"]
    assert "state = " in second["sentence"]
    assert first["again"] > 0.9
    table = run.tables["loadings"].set_index("feature")
    assert table.loc["area", "component 1"] > 0.8 > 0 > table.loc["distance", "component 1"]
    assert table.loc["area", "column"] == "area"
    assert run.tables["components"]["explained"].sum() == pytest.approx(run.metrics["explained_variance"])


def test_columns_that_no_component_holds_are_named(run):
    found = next(f for f in run.findings if f.code == "columns-not-held")
    assert set(found.columns) == {"lottery", "sold"}


def test_a_component_that_is_one_column_is_named(tmp_path):
    rng = np.random.default_rng(1)
    hidden = rng.normal(size=300)
    frame = pd.DataFrame({c: hidden + 0.2 * rng.normal(size=300) for c in "abcd"}).assign(alone=rng.normal(size=300))
    run = reduce(frame, tmp_path / "run", components=2)
    assert next(f for f in run.findings if f.code == "component-of-one-column").columns == ("alone",)


def test_the_circle_and_the_map_are_there(run):
    structure = run.story["structure"]
    places = {c["feature"]: (c["x"], c["y"]) for c in structure["circle"]}
    assert np.hypot(*places["area"]) > 0.8
    assert all(np.hypot(*xy) <= 1 + 1e-9 for xy in places.values())
    assert np.shape(structure["map"]["points"]) == (400, 2)


# ---------------------------------------------------------------------- honesty


def test_the_reconstruction_error_is_that_of_new_rows(tmp_path):
    """Ten rows for forty columns of noise: seen rows are rebuilt well, new ones hardly."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(40, 60)), columns=[f"c{i}" for i in range(60)])
    run = reduce(frame, tmp_path / "run", components=20)
    assert run.metrics["explained_variance"] > 0.7
    error = run.metrics["reconstruction_error"]
    assert error > 0.6
    assert error.low < error < error.high
    assert {"components-few-rows", "components-unstable"} <= codes(run)


def test_held_out_rows_are_not_learnt_from(monkeypatch):
    """Ruining the held-out rows changes what is rebuilt, not what is learnt."""
    from everymodel.scoring import table
    from everymodel.workflow.understand import understand
    from everymodel.workflow.unsupervised.material import Material, prepare
    from everymodel.workflow.unsupervised.reduction import HeldOut, halves

    frame = load_wine(as_frame=True).data
    learn, rebuild = halves(len(frame), 0)
    assert not set(learn) & set(rebuild)

    def scores(rows):
        schema = understand(frame, None).schema
        batch, _ = table.parse(schema, rows, unseen="ignore", bad="missing")
        material = Material(schema, batch, 0)
        material.balanced = prepare(schema, batch, 0)
        return HeldOut("pca", "reducer", {"n_components": 2}, learn=learn, rebuild=rebuild).run(material)["scores"]

    spoilt = frame.copy()
    spoilt.iloc[rebuild[1:]] *= 7.0
    np.testing.assert_array_equal(scores(frame)[0], scores(spoilt)[0])


# ---------------------------------------------------------------------- texts, counts, named models


def documents(n: int = 300) -> tuple[pd.DataFrame, np.ndarray]:
    rng = np.random.default_rng(1)
    about = rng.choice(list(WORDS), n)
    common = ["the", "and", "of", "to", "in", "is", "that", "it", "was", "for", "on", "with", "as", "this", "by"]
    texts = [" ".join(rng.choice(WORDS[a] + common, 30)) for a in about]
    return pd.DataFrame({"story": texts}), about


def test_texts_get_topics_with_words(tmp_path):
    frame, about = documents()
    run = reduce(frame, tmp_path / "run")
    topics = run.story["structure"]["loadings"]
    assert len(topics) == 3
    shown = [{p["feature"] for p in t["parts"][:5]} for t in topics]
    assert all(any(words <= set(known) for known in WORDS.values()) for words in shown)
    answers = run.model.transform(frame)
    assert all(name.startswith("topic ") for name in answers.columns)
    crossed = pd.crosstab(answers.to_numpy().argmax(axis=1), about)
    assert crossed.max(axis=1).sum() == len(frame)
    loaded = em.load(run.folder / "model.em")
    assert max(loaded.transform({"story": "the coach of the team saw the goal"}).values()) > 0
    assert max(loaded.transform({"story": "zzz"}).values()) == 0


def test_counts_get_parts_that_add_up(tmp_path):
    rng = np.random.default_rng(0)
    baskets = np.zeros((3, 12))
    baskets[0, :4] = baskets[1, 4:8] = baskets[2, 8:] = 1.0
    bought = rng.poisson(rng.gamma(0.25, 2.0, size=(500, 3)) @ baskets)
    run = reduce(pd.DataFrame(bought, columns=[f"item{i}" for i in range(12)]), tmp_path / "run")
    assert run.leaderboard.iloc[0]["card"] == "nmf"
    assert set(run.leaderboard["card"]) == {"nmf", "pca"}
    found = {frozenset(p["feature"] for p in one["parts"][:4]) for one in run.story["structure"]["loadings"]}
    assert found == {frozenset(f"item{i}" for i in range(j, j + 4)) for j in (0, 4, 8)}
    assert (run.model.transform(pd.DataFrame(bought, columns=[f"item{i}" for i in range(12)])) >= 0).all(axis=None)


def test_named_models_are_compared_by_the_rows_they_rebuild(tmp_path):
    run = reduce(
        load_wine(as_frame=True).data,
        tmp_path / "run",
        models=["kernel_pca", "fast_ica", "SparseRandomProjection"],
        components=3,
    )
    assert (run.leaderboard["status"] == "ok").all()
    assert run.leaderboard["score"].is_monotonic_increasing
    assert run.leaderboard.iloc[0]["card"] == "fast_ica"
    assert run.metrics["reconstruction_error"] == pytest.approx(run.leaderboard.iloc[0]["score"])


def test_a_model_that_compares_all_rows_takes_a_sample_and_says_so(tmp_path, monkeypatch):
    from dataclasses import replace

    from everymodel.workflow.unsupervised import reduce as stage

    card = em.catalog.find("kernel_pca", kind="reducer")
    monkeypatch.setattr(stage.catalog, "find", lambda *a, **k: replace(card, needs={**card.needs, "max_rows": 100}))
    tries = []
    made = stage._try(type("M", (), {"n": 178, "seed": 0}), stage.catalog.find("kernel_pca"), 2, tries)
    assert len(made.rows) == len(set(made.rows)) == 100
    assert tries[0].code == "components-sampled"
    assert "100 of the 178" in tries[0].message


@pytest.mark.parametrize(("name", "words"), [("PLSCanonical", "two sets"), ("ridge", "cannot do reduce")])
def test_models_that_cannot_are_refused(name, words, tmp_path):
    with pytest.raises(ParameterError, match=words):
        reduce(load_wine(as_frame=True).data, tmp_path / "run", models=[name])


def test_no_time_still_gives_components(tmp_path):
    frame, _ = documents(80)
    run = reduce(frame, tmp_path / "run", budget=2.5)
    assert run.model.transform(frame).shape[0] == 80


def test_the_same_seed_gives_the_same(tmp_path):
    frame = houses(150)
    first, second = (reduce(frame, tmp_path / name, budget=None, trials=1) for name in "ab")
    assert first.story["structure"] == second.story["structure"]


# ---------------------------------------------------------------------- bad input


def test_one_column_is_nothing_to_reduce(tmp_path):
    run = reduce(pd.DataFrame({"x": np.random.default_rng(0).normal(size=50)}), tmp_path / "run")
    assert "nothing to reduce" in run.headline
    assert run.model.transform({"x": 0.3}).keys() == {"component 1"}


def test_more_components_than_directions_are_not_made_up(tmp_path):
    rng = np.random.default_rng(0)
    flat = pd.DataFrame(rng.normal(size=(100, 2)) @ rng.normal(size=(2, 6)), columns=list("abcdef"))
    run = reduce(flat, tmp_path / "run", components=5)
    assert "components-beyond-rank" in codes(run)
    assert run.model.transform(flat).shape == (100, 2)
    assert run.metrics["reconstruction_error"] == 0.0


def test_few_rows_many_columns_gaps_and_repeats(tmp_path):
    rng = np.random.default_rng(0)
    wide = pd.DataFrame(rng.normal(size=(5, 8)), columns=list("abcdefgh"))
    gaps = pd.DataFrame(rng.normal(size=(60, 3)), columns=list("abc")).mask(rng.random((60, 3)) < 0.3)
    same = pd.concat([wide.head(3)] * 20, ignore_index=True)
    for i, frame in enumerate((wide, gaps, same)):
        run = reduce(frame, tmp_path / str(i))
        answers = run.model.transform(frame)
        assert np.isfinite(answers.to_numpy()).all()
        assert answers.shape[1] <= min(frame.shape) + 3


def test_very_wide_tables_end_in_time(tmp_path):
    rng = np.random.default_rng(0)
    wide = rng.normal(size=(60, 3)) @ rng.normal(size=(3, 1500)) + rng.normal(size=(60, 1500))
    run = reduce(pd.DataFrame(wide, columns=[f"c{i}" for i in range(1500)]), tmp_path / "run")
    assert run.story["structure"]["kept"] == 3
