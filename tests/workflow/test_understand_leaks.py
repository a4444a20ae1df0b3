"""The leak guard: every disguise of the target is found, and no honest column is accused."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn import datasets

from everymodel.workflow.understand import understand

CLASSES = ["iris", "wine", "breast_cancer", "digits"]


def table(name: str) -> pd.DataFrame:
    return getattr(datasets, f"load_{name}")(as_frame=True).frame


def planted(frame: pd.DataFrame, column) -> tuple[str, ...]:
    """Suspects once `column` stands among the others."""
    place = len(frame.columns) // 2
    copy = frame.copy()
    copy.insert(place, "extra", column)
    return understand(copy, "target").suspects


@pytest.mark.parametrize("name", [*CLASSES, "diabetes"])
def test_honest_tables_have_no_suspect(name):
    assert understand(table(name), "target").suspects == ()


def disguises(name: str):
    """(what, column) for a target of classes."""
    rng = np.random.default_rng(0)
    y = table(name)["target"].to_numpy()
    k = y.max() + 1
    wrong = rng.random(len(y)) < 0.02
    yield "copy", y
    yield "words", [f"group {chr(65 + 7 * c % 26)}" for c in y]
    yield "permuted codes", (y * 3 + 1) % (k + 3 if k != 3 else 7)
    yield "finer words", [f"{c}-{r}" for c, r in zip(y, rng.integers(0, 8, len(y)))]
    yield "noise", y + 1e-6 * rng.normal(size=len(y))
    yield "scaled", 1e6 * y + 17
    yield "2 % errors", [f"z{c}" for c in np.where(wrong, (y + 1) % k, y)]
    yield "2 % errors in numbers", np.where(wrong, (y + 1) % k, y)
    yield "floats with gaps", np.where(rng.random(len(y)) < 0.001, np.nan, y.astype(float))
    if k == 2:
        yield "yes and no", np.where(y == 1, "yes", "no")
        yield "filled only where true", np.where(y == 1, rng.normal(size=len(y)), np.nan)


@pytest.mark.parametrize("name", CLASSES)
def test_copies_of_classes_are_found(name):
    frame = table(name)
    missed = [what for what, column in disguises(name) if planted(frame, column) != ("extra",)]
    assert missed == []


def test_copies_of_numbers_are_found():
    rng = np.random.default_rng(0)
    frame = table("diabetes")
    y = frame["target"]
    found = {
        "copy": y,
        "noise": y + 1e-6 * rng.normal(size=len(y)),
        "log": np.log(y),
        "other unit": y * 1.8 + 32,
        "negative": -y,
        "text": [f"${v:,.2f}" for v in y],
        "bands": pd.qcut(y, 5, labels=list("abcde")).astype(str),
        "with gaps": y.where(rng.random(len(y)) > 0.05),
    }
    assert [what for what, column in found.items() if planted(frame, column) != ("extra",)] == []


def test_several_copies_do_not_hide_one_another():
    frame = table("breast_cancer").assign(a=lambda f: f["target"], b=lambda f: f["target"].map({0: "x", 1: "y"}))
    frame["c"] = frame["target"] * 2.0 + 1e-7 * np.arange(len(frame))
    assert set(understand(frame, "target").suspects) == {"a", "b", "c"}


@pytest.mark.parametrize("errors", [0.0, 0.02])
def test_rare_events(errors):
    """Where 1 % is true, a leak with 2 % errors looks wrong in most cells that say so; it is a leak all the same."""
    rng = np.random.default_rng(0)
    y = (rng.random(20_000) < 0.01).astype(int)
    frame = pd.DataFrame(rng.normal(size=(len(y), 3)), columns=list("abc")).assign(target=y)
    leak = np.where(rng.random(len(y)) < errors, 1 - y, y)
    assert planted(frame, np.where(leak == 1, "T", "F")) == ("extra",)
    honest = np.where(rng.random(len(y)) < 0.3, 1 - y, y)
    assert planted(frame, honest) == ()


def test_good_columns_are_not_accused():
    rng = np.random.default_rng(0)
    n = 2000
    y = rng.integers(0, 2, n)
    frame = pd.DataFrame({"a": rng.normal(size=n) + y, "b": rng.normal(size=n), "target": y})
    assert planted(frame, y + 0.6 * rng.normal(size=n)) == ()  # about 80 % right
    assert planted(frame, np.where(rng.random(n) < 0.1, 1 - y, y)) == ()  # 90 % right
    value = 3 * frame["a"] + frame["b"]
    numbers = frame.assign(target=value + rng.normal(size=n))
    assert planted(numbers, value) == ()  # the best any model can do, but not the target


def test_perfect_separation_by_several_columns_is_nature():
    iris = table("iris")
    iris["target"] = (iris["target"] == 0).astype(int)  # petal length and width both tell setosa without error
    assert understand(iris, "target").suspects == ()


def test_files_sorted_by_class_do_not_accuse_time():
    iris = table("iris")
    iris["measured"] = pd.date_range("1935-01-01", periods=150)
    iris["seconds"] = np.linspace(0.0, 1000.0, 150)
    assert understand(iris, "target").suspects == ()


def test_parts_that_add_up_to_the_target():
    rng = np.random.default_rng(0)
    n = 500
    casual, registered = rng.poisson(30, n), rng.poisson(120, n)
    frame = pd.DataFrame({"temp": rng.normal(15, 8, n).clip(0), "casual": casual, "registered": registered})
    frame["target"] = casual + registered
    found = understand(frame, "target")
    assert set(found.suspects) == {"casual", "registered"}
    assert "leak-parts" in {f.code for f in found.findings}
    frame["target"] = casual + registered + rng.poisson(5, n)
    assert understand(frame, "target").suspects == ()


def test_one_column_far_above_all_others():
    rng = np.random.default_rng(0)
    n = 1000
    y = rng.normal(size=n)
    frame = pd.DataFrame({"a": rng.normal(size=n), "b": rng.normal(size=n) + 0.3 * y, "target": y})
    found = understand(frame.assign(c=y + 0.03 * rng.normal(size=n)), "target")
    assert found.suspects == ("c",) and "leak-strong" in {f.code for f in found.findings}


def test_dates_after_the_outcome():
    rng = np.random.default_rng(0)
    n = 200
    sold = pd.Timestamp("2020-01-01") + pd.to_timedelta(np.arange(n), "D")
    frame = pd.DataFrame({"sold": sold, "x": rng.normal(size=n), "target": rng.integers(0, 2, n)})
    frame["built"] = sold - pd.to_timedelta(rng.integers(1, 5000, n), "D")
    frame["refunded"] = sold + pd.to_timedelta(rng.integers(1, 30, n), "D")
    assert understand(frame, "target", time="sold").suspects == ("refunded",)
    assert understand(frame, "target").suspects == ()


def test_past_of_the_target_is_no_leak_but_its_future_is():
    rng = np.random.default_rng(0)
    n = 3000
    walk = np.cumsum(rng.normal(size=n)) + 100
    frame = pd.DataFrame({"day": pd.date_range("2015-01-01", periods=n), "volume": rng.gamma(2, 9, n), "target": walk})
    assert understand(frame, "target").suspects == ()  # the day tells the target, by its neighbours, and is no leak
    assert understand(frame.assign(t=np.arange(n) * 1.5), "target").suspects == ()
    grown = frame.assign(target=np.cumsum(rng.gamma(2, 3, n)))
    assert understand(grown, "target").suspects == ()
    past = frame.assign(yesterday=frame["target"].shift(1))
    assert understand(past, "target").suspects == ()
    assert understand(past.sample(frac=1, random_state=0), "target", time="day").suspects == ()
    future = frame.assign(tomorrow=frame["target"].shift(-1))
    for found in (understand(future, "target"), understand(future, "target", time="day")):
        assert found.suspects == ("tomorrow",) and "leak-future" in {f.code for f in found.findings}


def test_what_becomes_of_suspects():
    frame = table("iris").assign(leak=lambda f: f["target"].map({0: "x", 1: "y", 2: "z"}))
    out = understand(frame, "target")
    assert out.schema.column("leak").role == "ignored" and "leak" in out.schema.column("leak").reason
    assert "leak-kept" not in {f.code for f in out.findings}
    for keep in (True, ["leak"]):
        kept = understand(frame, "target", keep_suspects=keep)
        assert kept.suspects == ("leak",) and kept.schema.column("leak").role == "feature"
        assert next(f for f in kept.findings if f.code == "leak-kept").severity == "error"
        assert not any("left out" in f.advice for f in kept.findings if f.code.startswith("leak-"))
    assert understand(frame, "target", keep_suspects=["other"]).schema.column("leak").role == "ignored"


def test_the_only_column_is_kept_and_marked():
    frame = pd.DataFrame({"x": np.linspace(0, 1, 100)}).assign(target=lambda f: 2 * f["x"] + 1)
    found = understand(frame, "target")
    assert [c.name for c in found.schema.features] == ["x"] and found.suspects == ("x",)
    assert "leak-kept" in {f.code for f in found.findings}


def codes_of(found, column):
    return {f.code for f in found.findings if column in f.columns and f.code.startswith("leak")}


def customers(n=800, labels=("active", "churned", "paused"), seed=0):
    rng = np.random.default_rng(seed)
    y = rng.choice(labels, n, p=[0.6, 0.3, 0.1] if len(labels) == 3 else [0.7, 0.3])
    return pd.DataFrame({"age": rng.integers(18, 90, n), "spend": rng.gamma(2, 50, n).round(2), "target": y}), rng


DAYS = [f"{d} {m}" for m in ("January", "May", "June", "December") for d in range(1, 29)]


@pytest.mark.parametrize("labels", [("active", "churned"), ("active", "churned", "paused")])
@pytest.mark.parametrize("errors", [0.0, 0.02])
def test_label_words_inside_longer_text(labels, errors):
    frame, rng = customers(labels=labels)
    said = frame["target"].where(rng.random(len(frame)) >= errors, labels[0])
    words = rng.choice(["call back", "prefers mail", "two devices", "moved house", "asked for a discount"], len(frame))
    day = rng.choice(DAYS, len(frame))
    notes = [f"{w}; status: {y} on {d}" for w, y, d in zip(words, said, day)]
    found = understand(frame.assign(note=notes), "target")
    assert found.suspects == ("note",) and codes_of(found, "note") == {"leak-word"}
    frame["target"] = (frame["target"] == "churned").astype(int)  # the class has another name than the word
    other = understand(frame.assign(note=notes), "target")
    assert "note" in other.suspects or codes_of(other, "note") == {"leak-partial"} or errors
    assert "note" in other.suspects or errors


def test_text_that_merely_speaks_of_the_class_stays():
    frame, rng = customers(labels=("active", "churned"))
    gone = frame["target"] == "churned"
    speaks = np.where(gone, rng.random(len(frame)) < 0.8, rng.random(len(frame)) < 0.1)
    day = rng.choice(DAYS, len(frame))
    notes = [
        f"{'might have churned' if s else 'all is well'} says agent {a}, {d}"
        for s, a, d in zip(speaks, range(800), day)
    ]
    found = understand(frame.assign(note=notes), "target")
    assert found.suspects == () and codes_of(found, "note") == set()


def test_a_mark_for_one_class_of_several():
    frame, _ = customers()
    mark = (frame["target"] == "paused").astype(int)
    assert understand(frame.assign(is_paused=mark), "target").suspects == ("is_paused",)
    for values in (mark, mark.map({0: "no", 1: "yes"}), mark.astype(bool), mark.map({0: None, 1: "x"})):
        found = understand(frame.assign(milk=values), "target")  # so does milk mark the mammals, honestly
        assert found.suspects == () and codes_of(found, "milk") == {"leak-partial"}
        assert found.schema.column("milk").role == "feature"
    almost = mark.where(np.random.default_rng(0).random(len(frame)) > 0.05, 1 - mark)
    assert codes_of(understand(frame.assign(milk=almost), "target"), "milk") == set()


@pytest.mark.parametrize("filled", [0.6, 0.2])
@pytest.mark.parametrize("name", [*CLASSES, "diabetes"])
def test_copies_that_are_not_filled_everywhere(name, filled):
    frame = table(name)
    there = np.random.default_rng(0).random(len(frame)) < filled
    y = frame["target"]
    forms = {"copy": y.where(there)}
    if name == "diabetes":
        forms["text"] = pd.Series([f"${v:,.2f}" for v in y]).where(there)
    elif y.where(there).value_counts().min() >= 5:
        forms["words"] = y.map(lambda c: f"group {chr(65 + c)}").where(there)
    assert [what for what, column in forms.items() if planted(frame, column) != ("extra",)] == []
    rng = np.random.default_rng(1)
    assert planted(frame, pd.Series(rng.permutation(y)).where(there)) == ()


def test_coarse_copies_of_numbers():
    rng = np.random.default_rng(0)
    frame = table("diabetes")
    y = frame["target"]
    forms = {
        "tens": y.round(-1),
        "hundreds": (y / 100).round(),
        "five": pd.qcut(y, 5, labels=False),
        "down": -(y // 50),
    }
    assert [what for what, column in forms.items() if planted(frame, column) != ("extra",)] == []
    assert planted(frame, (y / 50).round().where(rng.random(len(y)) < 0.6)) == ("extra",)
    copy = frame.assign(high=(y > 200).astype(int))
    found = understand(copy, "target")
    assert found.suspects == () and codes_of(found, "high") == {"leak-partial"}
    honest = ((y + 5 * rng.normal(size=len(y))) / 50).round()
    assert planted(frame, honest) == ()


@pytest.mark.parametrize("words", [False, True])
def test_groups_that_lie_far_apart_are_not_called_a_copy(words):
    """An honest column can part the target cleanly; it stays."""
    rng = np.random.default_rng(0)
    for n, apart in ((60, 5.0), (600, 8.0), (3000, 9.0)):
        kind = rng.integers(0, 3, n)
        frame = pd.DataFrame({"x": rng.normal(size=n), "z": rng.normal(size=n) + kind})
        frame["target"] = apart * kind + rng.normal(size=n)
        frame["kind"] = np.array(["oak", "fir", "elm"])[kind] if words else kind
        found = understand(frame, "target")
        assert not {f.code for f in found.findings} & {"leak-copy"}
        assert codes_of(found, "kind") <= {"leak-partial", "leak-strong"}


def test_years_of_a_growing_target_are_not_its_rounding():
    n = 600
    frame = pd.DataFrame({"year": 1960 + np.arange(n) // 12, "x": np.random.default_rng(0).normal(size=n)})
    frame["target"] = np.cumsum(np.random.default_rng(1).gamma(2, 3, n))
    assert understand(frame.sample(frac=1, random_state=0).reset_index(drop=True), "target").suspects == ()


def test_multilabel_copies():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.integers(0, 2, (300, 2)), columns=["p", "q"]).assign(x=rng.normal(size=300))
    frame["r"] = frame["q"].map({0: "off", 1: "on"})
    assert understand(frame, ["p", "q"]).suspects == ("r",)


def test_big_tables_are_sampled_and_it_is_said():
    rng = np.random.default_rng(0)
    n = 60_000
    frame = pd.DataFrame({"a": rng.normal(size=n), "target": rng.normal(size=n)}).assign(leak=lambda f: f["target"] * 2)
    found = understand(frame, "target")
    assert found.suspects == ("leak",)
    note = next(f for f in found.findings if f.code == "leak-copy")
    assert note.data["sampled"] and note.data["sample_rows"] == 20_000
