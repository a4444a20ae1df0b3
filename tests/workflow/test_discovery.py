"""em.fit without a target: groups, anomalies, components and maps, from table to file."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_iris, load_wine

import everymodel as em
from everymodel.core.errors import CapabilityError, DataError, ParameterError


@pytest.fixture(scope="module")
def wine():
    frame = load_wine(as_frame=True).frame.rename(columns={"target": "cultivar"})
    return frame[[*frame.columns[:6], "cultivar"]]


@pytest.fixture(scope="module", params=["cluster", "anomaly", "reduce", "embed"])
def run(request, wine, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    return em.fit(wine, target="cultivar", task=request.param, trials=1, out=folder, progress=False)


def test_the_file_answers_new_rows_as_the_run_did(run, wine):
    loaded = em.load(run.folder / "model.em")
    rows = wine.drop(columns="cultivar")  # what is compared with is not needed
    ask = "transform" if run.story["task"] in ("reduce", "embed") else "predict"
    np.testing.assert_array_equal(np.asarray(getattr(loaded, ask)(rows)), np.asarray(getattr(run.model, ask)(rows)))
    one = getattr(loaded, ask)(rows.iloc[0].to_dict())
    assert np.allclose(list(one.values()), np.asarray(loaded.transform(rows))[0]) if isinstance(one, dict) else True


def test_the_column_to_compare_with_is_not_learnt_from(run, wine, tmp_path):
    shuffled = wine.assign(cultivar=wine.cultivar.sample(frac=1, random_state=0).to_numpy())
    again = em.fit(
        shuffled, target="cultivar", task=run.story["task"], trials=1, out=tmp_path / "again", progress=False
    )
    batch, _ = run.model.read(wine)
    np.testing.assert_array_equal(run.model.answers(batch), again.model.answers(batch))


def test_a_report_is_written(run, tmp_path):
    page = run.report(tmp_path / "page.html").read_text(encoding="utf-8")
    assert run.headline.split()[0] in page


def test_without_a_target_groups_are_looked_for(tmp_path):
    run = em.fit(load_iris(as_frame=True).data, trials=1, out=tmp_path / "run", progress=False)
    assert run.story["task"] == "cluster"
    assert set(run.model.predict(load_iris(as_frame=True).data)) <= set(run.model.classes)


def test_models_answer_only_what_they_can(run):
    task = run.story["task"]
    for name, able in {"transform": ("reduce", "embed"), "score_samples": ("anomaly",)}.items():
        if task not in able:
            with pytest.raises(CapabilityError, match=task):
                getattr(run.model, name)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"clusters": 0}, ParameterError, "clusters=0"),
        ({"clusters": 151}, ParameterError, "150"),
        ({"clusters": 2.5}, ParameterError, "2.5"),
        ({"components": 2}, ParameterError, "reduce"),
        ({"task": "embed", "components": 5}, ParameterError, "from 2 to 3"),
        ({"task": "anomaly", "contamination": 0.9}, ParameterError, "0.9"),
        ({"task": "grouping"}, ParameterError, "cluster"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, error, words, tmp_path):
    with pytest.raises(error, match=words):
        em.fit(load_iris(as_frame=True).data, budget="5s", out=tmp_path / "run", progress=False, **options)


def test_options_of_other_tasks_are_refused(tmp_path):
    with pytest.raises(ParameterError, match="clusters"):
        em.fit(load_iris(as_frame=True).frame, target="target", clusters=3, out=tmp_path / "run", progress=False)


def test_too_few_rows_and_no_columns_are_said(tmp_path):
    frame = load_iris(as_frame=True).data
    with pytest.raises(DataError, match="3 rows"):
        em.fit(frame.head(3), out=tmp_path / "a", progress=False)
    with pytest.raises(DataError, match=r"one value"):
        em.fit(frame.assign(**dict.fromkeys(frame.columns, 1)), out=tmp_path / "b", progress=False)


def test_each_column_of_the_table_weighs_the_same():
    """Ten levels, six parts of a date and a rare mark of missing cells count as one column each."""
    import pandas as pd

    from everymodel.scoring import table
    from everymodel.workflow.understand import understand
    from everymodel.workflow.unsupervised.material import prepare

    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "amount": np.where(rng.random(400) < 0.02, np.nan, rng.normal(50, 9, 400)),
            "city": rng.choice([f"city {i}" for i in range(10)], 400),
            "day": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 700, 400), unit="D"),
        }
    )
    schema = understand(frame, None).schema
    batch, _ = table.parse(schema, frame, bad="missing")
    matrix = prepare(schema, batch, 0)
    weight = {c: sum(v for v, o in zip(matrix.X.var(axis=0), matrix.origins) if o == c) for c in frame.columns}
    assert weight == pytest.approx(dict.fromkeys(frame.columns, 1.0), abs=1e-6)
    mark = matrix.X[:, matrix.names.index("amount:missing")].var()
    assert mark < 0.05


@pytest.mark.parametrize("task", ["embed", "reduce"])
def test_maps_are_coloured_by_the_words_of_the_labels(task, tmp_path):
    r = np.random.default_rng(0)
    kind = np.arange(90) % 3
    frame = pd.DataFrame(r.normal(size=(90, 3)) + 4 * kind[:, None], columns=list("abc"))
    frame["species"] = np.array(["setosa", "virginica", "versicolor"])[kind]
    run = em.fit(frame, "species", task=task, models=["pca"], budget="10s", out=tmp_path / "run", progress=False)
    drawn = run.story["structure"]["map"]
    if task == "embed":
        first = drawn["colours"][0]
        assert first["name"] == "species"
        told = [first["names"][code] for code in first["values"]]
    else:
        told = drawn["labels"]
    assert told == frame.species.tolist()
