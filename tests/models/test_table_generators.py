"""Models of tables: odd tables, what is asked for, what judges them, and files from strangers."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from everymodel import SMOTE, GaussianCopula, TableDiffusion, TableGAN, TableVAE
from everymodel.core.errors import CapabilityError, DataError, ModelFileError, ParameterError
from everymodel.models.generative._table import batch_of, learn
from everymodel.models.generative._table_quality import quality
from everymodel.scoring.made_fields import score_of, share_of
from everymodel.scoring.steps.made_tables import LatentTable, MaskedTable
from everymodel.testing.tables import like_the_table, tiny_table

torch.set_num_threads(1)


def quick(kind, **given):
    more = {} if kind in (GaussianCopula, SMOTE) else {"steps": 30, "width": 16}
    return kind(random_state=0, **more, **given)


KINDS = (GaussianCopula, SMOTE, TableDiffusion, TableGAN, TableVAE)


@pytest.mark.parametrize("kind", KINDS, ids=lambda k: k.__name__)
def test_odd_tables_are_taken_or_refused_in_one_sentence(kind):
    rng = np.random.default_rng(0)
    three = pd.DataFrame({"a": [1, 2, 3], "b": ["x", "y", "x"], "c": [np.nan] * 3, "d": [True, False, True]})
    made = quick(kind).fit(three).sample(20, seed=0)
    like_the_table(made, three, kind.__name__)
    assert made.c.isna().all() and not made.a.isna().any()
    model = quick(kind).fit(three, pd.Series(["only"] * 3, name="class"))
    assert set(model.sample(5, {"class": "only"}, seed=0)["class"]) == {"only"}
    many = pd.DataFrame({"city": [f"c{i}" for i in rng.permutation(2000)] * 2, "n": rng.integers(0, 9, 4000)})
    model = quick(kind, **({"max_rows": 500} if kind is SMOTE else {})).fit(many)
    made = model.sample(300, seed=0)
    assert made.city.nunique() > 100 and set(made.city) <= set(many.city)
    assert any("2,000 words" in note for note in model.notes_)
    assert (model.sample(4, {"city": "c7"}, seed=0).city == "c7").all()
    numbers = rng.normal(size=(40, 2))
    assert list(quick(kind).fit(numbers).sample(3, seed=0).columns) == ["column_1", "column_2"]
    twice = pd.DataFrame([[1, 2]] * 5, columns=["a", "a"])
    for wrong, told in (
        (twice, "called 'a'"),
        (pd.DataFrame({"a": [1.0, np.inf, 2.0]}), "infinite"),
        (pd.DataFrame({"a": [[1], [2], [3]]}), "list"),
        (pd.DataFrame({"a": [1j, 2j, 3j]}), "complex"),
        (pd.DataFrame({"a": [1]}), "1 row came"),
        (pd.DataFrame(index=range(4)), "no columns"),
        (pd.DataFrame({"": [1, 2, 3]}), "no name"),
    ):
        with pytest.raises(DataError, match=told):
            quick(kind).fit(wrong)
    with pytest.raises(DataError, match="expected a value for each"):
        quick(kind).fit(three, [1, 2])


def test_dtypes_zones_and_names_come_back():
    rng = np.random.default_rng(1)
    n = 200
    frame = pd.DataFrame(
        {
            "zone": pd.Timestamp("2020-03-29", tz="Europe/Berlin")
            + pd.to_timedelta(rng.integers(0, 5000, n), unit="h"),
            "long": pd.to_timedelta(rng.integers(0, 1000, n), unit="s"),
            "maybe": rng.choice(np.array([True, False, None], dtype=object), n),
            "truth": pd.array(rng.choice([True, False, None], n), dtype="boolean"),
            "short": rng.normal(size=n).astype("float32"),
            "hundreds": rng.integers(1, 900, n) * 100,
            "cents": rng.integers(0, 100_000, n) / 100,
            "who": [f"person {i * 7919 % 9973}" for i in range(n)],
            "grade": pd.Categorical(rng.choice([1, 2, 3], n), categories=[3, 2, 1, 0], ordered=True),
            5: rng.choice(["u", "v"], n),
        }
    )
    model = GaussianCopula(random_state=0).fit(frame)
    made = model.sample(150, seed=0)
    assert list(made.columns) == list(frame.columns) and (made.dtypes == frame.dtypes).all()
    assert (made.hundreds % 100 == 0).all() and np.allclose(made.cents * 100, np.rint(made.cents * 100), atol=1e-6)
    assert (made.long.dt.total_seconds() % 1 == 0).all() and (made.zone.dt.minute == 0).all()
    assert not set(made.who) & set(frame.who) and made.who.is_unique
    assert any("'who' names rows" in note for note in model.notes_)
    with pytest.raises(ParameterError, match="names rows"):
        model.sample(2, {"who": "person 0"})
    assert (model.sample(3, {"zone": frame.zone[3]}, seed=0).zone == frame.zone[3]).all()
    assert (model.sample(3, {5: "u", "grade": 2}, seed=0)[[5, "grade"]] == ["u", 2]).all(axis=None)


def test_numbers_go_there_and_back():
    rng = np.random.default_rng(2)
    for x in (
        rng.normal(size=900),
        rng.integers(0, 30, 900) * 1.0,
        np.where(rng.random(900) < 0.6, 0, rng.exponential(size=900)),
    ):
        frame = pd.DataFrame({"x": np.where(rng.random(900) < 0.1, np.nan, x)})
        form = learn(frame, seed=0)
        (field,) = form.fields
        back = field.numbers(field.uniforms(batch_of(form, frame).columns["x"], rng))
        assert np.array_equal(np.isnan(back), frame.x.isna())
        assert np.nanmax(np.abs(back - frame.x)) < 1e-5
        made = field.numbers(rng.random(20_000))
        seen = frame.x.dropna()
        for q in (0.02, 0.3, 0.5, 0.8, 0.98):
            assert abs((made[~np.isnan(made)] <= seen.quantile(q)).mean() - (seen <= seen.quantile(q)).mean()) < 0.02
        assert abs(np.isnan(made).mean() - frame.x.isna().mean()) < 0.02
    u = rng.random(1000)
    assert np.allclose(share_of(score_of(u)), u, atol=1e-5)


def test_asked_cells_shift_the_others_as_in_the_data():
    rng = np.random.default_rng(3)
    n = 3000
    a = rng.choice(["low", "high"], n, p=[0.8, 0.2])
    frame = pd.DataFrame(
        {
            "a": a,
            "b": (rng.random(n) < np.where(a == "high", 0.9, 0.1)),
            "x": rng.normal(np.where(a == "high", 3, 0), 1),
        }
    )
    for model in (
        GaussianCopula(random_state=0),
        SMOTE(random_state=0),
        TableDiffusion(steps=250, width=32, random_state=0),
        TableVAE(steps=250, width=32, latent_size=2, random_state=0),
        TableGAN(steps=400, width=32, random_state=0),
    ):
        made = model.fit(frame).sample(1500, {"a": "high"}, seed=0)
        name = type(model).__name__
        close = 0.12 if isinstance(model, TableDiffusion | SMOTE) else 0.3  # the others are as good as they are
        assert (made.a == "high").all() and abs(made.b.mean() - 0.9) < close, (name, made.b.mean())
        assert abs(made.x.mean() - 3) < 3 * close, (name, made.x.mean())
        back = model.sample(1500, {"x": 3.0}, seed=0)
        assert (back.x == 3.0).all() and (back.a == "high").mean() > 0.5, name


def test_nothing_can_be_asked_that_leaves_no_rows():
    frame = pd.DataFrame({"a": ["x", "y"] * 100, "b": ["u", "v"] * 100, "n": np.arange(200.0)})
    for kind in KINDS:
        made = quick(kind).fit(frame).sample(7, {"a": "x", "b": "v", "n": 3.0}, seed=0)  # never seen together
        assert len(made) == 7 and (made.a == "x").all() and (made.b == "v").all() and (made.n == 3).all()


def test_smote_stays_between_rows_of_a_class_and_says_that_it_copies():
    rng = np.random.default_rng(4)
    frame = pd.DataFrame({"x": np.r_[rng.normal(0, 1, 300), rng.normal(50, 1, 20)]})
    y = pd.Series(["usual"] * 300 + ["rare"] * 20, name="kind")
    model = SMOTE(random_state=0).fit(frame, y)
    made = model.sample(200, {"kind": "rare"}, seed=0)
    assert made.x.min() >= frame.x[300:].min() and made.x.max() <= frame.x[300:].max()
    loose = model.sample(400, seed=1)
    assert not ((loose.x > 10) & (loose.x < 40)).any()  # nothing between the classes
    assert model.step_.holds_rows and any("keeps these" in note for note in model.notes_)
    told = quality(model, frame.assign(kind=y), train=frame.assign(kind=y))
    assert told["equal_real"] == 1.0


def test_quality_knows_good_rows_bad_rows_and_copies():
    rng = np.random.default_rng(5)

    def draw(n):
        x = rng.normal(size=n)
        y = np.where(x + rng.normal(0, 0.5, n) > 0, "yes", "no")
        return pd.DataFrame({"x": x, "z": x * 2 + rng.normal(0, 0.3, n), "y": y})

    train, held, fresh = draw(1200), draw(1200), draw(1200)
    model = GaussianCopula(random_state=0).fit(train)
    good = quality(model, held, train=train, target="y", made=fresh)
    apart = fresh.assign(x=rng.permutation(fresh.x), y=rng.permutation(fresh.y))
    bad = quality(model, held, train=train, target="y", made=apart)
    copy = quality(model, held, train=train, target="y", made=train)
    assert good["pairs"] > bad["pairs"] + 0.1 and good["shapes"] > 0.95 and bad["shapes"] > 0.95
    assert good["c2st"] < 0.6 < 0.9 < bad["c2st"]
    assert good["utility"] > 0.85 and abs(good["utility"] - good["utility_real"]) < 0.05 and bad["utility"] < 0.6
    assert 0.43 < good["copied"] < 0.57 and copy["copied"] > 0.99
    assert 0.43 < good["membership"] < 0.57 and copy["membership"] > 0.99
    assert copy["equal"] == 1 and good["equal"] == 0
    number = quality(model, held, target="z", made=fresh)
    assert number["utility"] > 0.9 and "copied" not in number
    with pytest.raises(ParameterError, match="no column"):
        quality(model, held, target="w")
    assert model.evaluate(held, train=train)["copied"] < 0.6


def test_a_model_file_says_how_good_its_rows_are(tmp_path):
    import everymodel as em

    frame = tiny_table(400)
    em.wrap(GaussianCopula(random_state=0).fit(frame[:300]), frame).save(tmp_path / "t.em")
    told = em.load(tmp_path / "t.em").evaluate(frame[300:])
    figures = {m.name: m.value for m in told.metrics}
    assert figures["shapes"] > 0.8 and figures["pairs"] > 0.7 and 0.3 < figures["c2st"] <= 1


def test_unlikely_rows_score_low():
    rng = np.random.default_rng(6)
    x = rng.normal(size=800)
    frame = pd.DataFrame({"x": x, "y": x + rng.normal(0, 0.1, 800), "k": np.where(x > 0, "up", "down")})
    odd = pd.DataFrame({"x": [1.5, -1.5], "y": [-1.5, 1.5], "k": ["down", "up"]})
    for model in (TableDiffusion(steps=300, width=32, random_state=0), GaussianCopula(random_state=0)):
        model.fit(frame)
        assert model.score_samples(odd).max() < np.quantile(model.score_samples(frame), 0.02)
        assert np.isfinite(model.score_samples(odd.assign(k="sideways"))).all()  # a word never seen tells nothing
    with pytest.raises(CapabilityError, match="cannot"):
        quick(SMOTE).fit(frame).score_samples(odd)


def test_truncation_makes_usual_rows():
    rng = np.random.default_rng(7)
    frame = pd.DataFrame({"w": rng.choice(list("abcd"), 1000, p=[0.7, 0.1, 0.1, 0.1]), "x": rng.normal(size=1000)})
    model = TableDiffusion(steps=150, width=16, random_state=0).fit(frame)
    usual, free = (model.sample(600, seed=0, truncation=t) for t in (0.3, None))
    assert (usual.w == "a").mean() > 0.95 and 0.6 < (free.w == "a").mean() < 0.8


@pytest.mark.parametrize("kind", KINDS, ids=lambda k: k.__name__)
def test_damaged_files_are_refused(kind):
    model = quick(kind).fit(tiny_table(120))
    settings, arrays = model.step_.spec()
    step = type(model.step_)
    assert step.build(dict(settings), dict(arrays)).sample(3, seed=0)
    for name, array in arrays.items():
        if name == "codes" or (name.startswith("trunk:") and array.ndim == 1):
            continue  # fewer vectors are fewer vectors, and what layers take is tested beside them
        wrong = np.full_like(array, -7) if array.dtype.kind == "i" else array * np.nan
        for broken in (array[:-1], wrong, array.reshape(1, *array.shape), array.astype("U5")):
            with pytest.raises(ModelFileError):
                step.build(dict(settings), {**arrays, name: broken})
        with pytest.raises(ModelFileError):
            step.build(dict(settings), {k: a for k, a in arrays.items() if k != name})
    form = settings["form"]
    rest = form[2:]
    for wrong in (
        *([], "x", form[:-1], [form[1], *form[1:]], [{**form[0], "colour": 1}, *form[1:]]),
        *([{**form[0], "kind": "dream"}, *form[1:]], [{**form[0], "name": 5}, *form[1:]]),
        *([form[0], {**form[1], "levels": ["red"]}, *rest], [{**form[0], "grain": -1}, *form[1:]]),
    ):
        with pytest.raises(ModelFileError):
            step.build({**settings, "form": wrong}, dict(arrays))
    if step in (MaskedTable, LatentTable):
        part = "trunk" if step is MaskedTable else "network"
        for wrong in ({"layer": "nothing"}, None, {"layer": "sequential"}):
            with pytest.raises(ModelFileError):
                step.build({**settings, part: wrong}, dict(arrays))
