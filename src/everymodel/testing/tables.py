"""The contract of models that make rows of tables."""

from __future__ import annotations

from typing import Any

import numpy as np

from everymodel import catalog
from everymodel.core.card import Card
from everymodel.core.errors import EverymodelError


def tiny_table(n: int = 240, seed: int = 0) -> Any:
    """A frame of all kinds of columns, some tied to one another, some with gaps, one constant."""
    import pandas as pd

    rng = np.random.default_rng([seed, n])
    age = rng.integers(18, 80, n)
    kind = rng.choice(["red", "green", "blue"], n, p=[0.5, 0.3, 0.2])
    pay = np.round(age * 100 + (kind == "red") * 5000 + rng.normal(0, 300, n), 2)
    date = pd.Timestamp("2021-03-01") + pd.to_timedelta(rng.integers(0, 700, n), unit="D")
    return pd.DataFrame(
        {
            "age": age,
            "kind": pd.Categorical(kind, categories=["blue", "green", "red", "never"]),
            "pay": np.where(rng.random(n) < 0.15, np.nan, pay),
            "old": age > 50,
            "when": date,
            "visits": pd.array(np.where(rng.random(n) < 0.2, None, rng.integers(0, 4, n)), dtype="Int64"),
            "note": rng.choice(np.array(["yes", "no", None], dtype=object), n, p=[0.6, 0.3, 0.1]),
            "same": 7,
        }
    )


def check_table(card: Card, model: Any) -> None:
    """Raises AssertionError with what is broken.

    Samples have the columns, dtypes, words, ranges, whole numbers and gaps of the table; equal seeds give equal
    samples; conditions are obeyed exactly and by all rows; the packed step and the model file sample alike; unknown
    columns and values are refused; odd tables are taken or refused in one sentence.
    """
    import pandas as pd
    from sklearn.base import clone

    from everymodel.scoring.model import open_bytes
    from everymodel.workflow.wrap import wrap

    where = card.class_name
    frame = tiny_table()
    source = clone(model)
    assert source.fit(frame) is source, f"{where}: fit does not give the model"
    made = source.sample(60, seed=3)
    assert isinstance(made, pd.DataFrame) and len(made) == 60, f"{where}: samples are {type(made).__name__}"
    like_the_table(made, frame, where)
    assert made.equals(source.sample(60, seed=3)), f"{where}: equal seeds give different samples"
    assert not made.equals(source.sample(60, seed=4)), f"{where}: other seeds give the same samples"
    assert clone(model).fit(frame).sample(60, seed=3).equals(made), f"{where}: equal random states differ"
    asked = {"kind": "blue", "age": 30, "pay": None, "old": False, "when": "2021-05-03", "visits": 2}
    for part in ({"kind": "blue"}, {"age": 30, "note": None}, {"old": True, "pay": 4321.5}, asked):
        got = source.sample(9, part, seed=0)
        assert len(got) == 9, f"{where}: {len(got)} of 9 rows came under {part}"
        for name, value in part.items():
            value = pd.Timestamp(value) if name == "when" else value
            good = got[name].isna() if value is None else got[name] == value
            assert bool(good.all()), f"{where}: {name}={value!r} is not obeyed"
        like_the_table(got, frame, where)
    several = source.sample(3, {"kind": ["red", "blue", "red"]}, seed=0)
    assert several["kind"].tolist() == ["red", "blue", "red"], f"{where}: a value for each row is not obeyed"
    step = catalog.module(card).pack(source)
    again = type(step).build(*step.spec())
    told, first = again.sample(20, seed=3), step.sample(20, seed=3)
    for name in told:
        same = pd.Series(told[name]).equals(pd.Series(first[name]))
        assert same, f"{where}: the step samples {name!r} differently after a round trip"
    file = open_bytes(wrap(source, frame).to_bytes())
    assert file.makes == "table" and file.manifest["contains_training_rows"] == step.holds_rows
    for condition in (None, {"kind": "red"}):
        opened = file.sample(20, condition, seed=3)
        flat = source.form_.frame(opened)
        assert flat.equals(source.sample(20, condition, seed=3)), f"{where}: the file samples differently"
    asked_wrongly = (
        *({"colour": "red"}, {"kind": "violet"}, "red", {"kind": ["red"] * 2}, {"age": 30.5}, {"age": 1e6}),
        *({"age": None}, {"age": "old"}),
    )
    for wrong in (*({"n": 3, "condition": c} for c in asked_wrongly), {"n": 0}, {"n": 3, "colour": 1}, {"seed": -1}):
        refused(lambda wrong=wrong: source.sample(**wrong), where, f"sample({wrong})")
    if hasattr(step, "score_samples"):
        odd = frame.head(20).assign(age=79, pay=2000.0, old=False)  # nobody of 79 earns that, or is not old
        usual, strange = source.score_samples(frame.head(20)), source.score_samples(odd)
        assert np.isfinite(usual).all() and usual.mean() > strange.mean(), f"{where}: odd rows are not less likely"
        assert np.allclose(file.score_samples(frame.head(20)), usual), f"{where}: the file scores differently"
    else:
        refused(lambda: source.score_samples(frame), where, "scores that it does not have")
    if getattr(step, "encoder", None) is not None:
        z = source.encode(frame.head(5))
        like_the_table(source.decode(z), frame, where)
        assert np.allclose(file.encode(frame.head(5)), z, atol=1e-5) and len(source.interpolate(0, 1, 4)) == 4


def like_the_table(made: Any, frame: Any, where: str) -> None:
    """AssertionError unless made rows could be cells of the table."""
    assert list(made.columns) == list(frame.columns), f"{where}: the columns are {list(made.columns)}"
    for name in frame:
        a, b = made[name], frame[name]
        assert a.dtype == b.dtype, f"{where}: {name} is {a.dtype}, it was {b.dtype}"
        assert b.isna().any() or not a.isna().any(), f"{where}: {name} has gaps, it had none"
        seen = b.dropna()
        if b.dtype.kind in "iufbM" and len(a.dropna()):
            assert a.min() >= seen.min() and a.max() <= seen.max(), f"{where}: {name} is beyond what was seen"
        elif b.dtype.kind == "O" or str(b.dtype) in ("category", "str"):
            assert set(a.dropna()) <= set(seen), f"{where}: {name} has words that were never seen"


def refused(call: Any, where: str, what: str) -> None:
    """AssertionError unless the call raises one of our own errors."""
    try:
        call()
    except EverymodelError:
        return
    raise AssertionError(f"{where}: {what} is taken")
