"""Groups in words: names that mention what was planted, told apart, with figures; rules measured on other rows."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from everymodel.scoring import table
from everymodel.workflow.understand import understand
from everymodel.workflow.unsupervised import words
from everymodel.workflow.unsupervised.material import Material
from everymodel.workflow.unsupervised.profile import Description, describe


def told(frame: pd.DataFrame, labels: np.ndarray, **more: int) -> Description:
    schema = understand(frame, None).schema
    batch, _ = table.parse(schema, frame, unseen="ignore", bad="missing")
    groups = int(labels.max()) + 1
    members = np.eye(groups + 1)[np.where(labels < 0, groups, labels)]
    return describe(Material(schema, batch), labels, members[:, : groups + int((labels < 0).any())], **more)


@pytest.fixture(scope="module")
def shop() -> tuple[pd.DataFrame, np.ndarray]:
    random = np.random.default_rng(0)
    n = 600
    g = random.integers(0, 3, n)
    days = random.integers(0, 900, n) + np.where(g == 2, 1000, 0)
    income = np.exp(random.normal(10, 0.4, n) + 1.6 * (g == 0))
    frame = pd.DataFrame(
        {
            "age": np.where(g == 0, 65, 40) + random.normal(0, 4, n).round(),
            "annual_income": income.round(),
            "income_in_dollars": (income * 1.1 + random.normal(0, 100, n)).round(),
            "country": np.where((g == 1) & (random.random(n) < 0.9), "Germany", random.choice(["Italy", "Spain"], n)),
            "signup": pd.Timestamp("2020-01-01") + pd.to_timedelta(days, unit="D"),
            "newsletter": np.where(random.random(n) < np.where(g == 2, 0.95, 0.1), "yes", "no"),
            "phone": np.where((g == 1) & (random.random(n) < 0.9), np.nan, random.normal(30, 3, n)),
            "noise": random.normal(size=n),
        }
    )
    return frame, g


def test_names_mention_what_was_planted_and_nothing_twice(shop: tuple[pd.DataFrame, np.ndarray]) -> None:
    first, second, third = (s["name"] for s in told(*shop).segments)
    assert "old" in first and "income" in first and first.count("income") == 1
    assert "Germany" in second and "phone not given" in second
    assert "recent signup" in third and "with newsletter" in third
    assert all("noise" not in name for name in (first, second, third))


def test_sentences_hold_the_figures_of_the_table(shop: tuple[pd.DataFrame, np.ndarray]) -> None:
    frame, g = shop
    segment = told(frame, g).segments[0]
    own, whole = frame.age[g == 0].median(), frame.age.median()
    assert (
        f"median age {words.figure(own, True)} against {words.figure(whole, True)} overall"
        in segment["sentence"].lower()
    )
    assert segment["rows"] == (g == 0).sum() and segment["share"] == pytest.approx((g == 0).mean())


def test_rules_find_the_groups_again_on_rows_they_were_not_made_from(shop: tuple[pd.DataFrame, np.ndarray]) -> None:
    found = told(*shop)
    assert all(s["rule"]["f1"] >= 0.9 for s in found.segments)
    assert "not made from" in found.structure["rules"]["measured"]
    assert found.structure["rules"]["agreement"] >= 0.9
    random = np.random.default_rng(1).integers(0, 3, len(shop[0]))
    assert all(s["rule"]["f1"] < 0.6 for s in told(shop[0], random).segments)  # nothing to find: the figures say so


def test_groups_that_no_column_tells_apart_are_not_named_after_noise() -> None:
    random = np.random.default_rng(0)
    frame = pd.DataFrame(random.normal(size=(400, 12)), columns=[f"x{i}" for i in range(12)])
    names = [s["name"] for s in told(frame, random.integers(0, 4, 400)).segments]
    assert all(name.startswith("near the average") for name in names) and len(set(names)) == 4


def test_names_are_unique_also_for_many_groups() -> None:
    random = np.random.default_rng(0)
    y = np.repeat(np.arange(40), 30)
    frame = pd.DataFrame(random.normal(size=(40, 6))[y] * 4 + random.normal(size=(1200, 6)), columns=list("abcdef"))
    found = told(frame, y)
    assert len({s["name"] for s in found.segments}) == 40
    assert found.structure["rules"]["tree"] is None  # forty answers are no small tree


def test_noise_is_told_apart_and_counts_for_no_group(shop: tuple[pd.DataFrame, np.ndarray]) -> None:
    frame, g = shop
    labels = np.where(frame.noise > 1.5, -1, g)
    found = told(frame, labels)
    noise = found.structure["noise"]
    assert noise["rows"] == (labels < 0).sum() and "noise" in noise["sentence"]
    assert [s["number"] for s in found.segments] == [0, 1, 2]
    assert sum(s["rows"] for s in found.segments) + noise["rows"] == len(frame)
    assert found.table.number.tolist() == [0, 1, 2, -1]


@pytest.mark.parametrize("labels", [np.zeros(600, int), np.full(600, -1)])
def test_one_group_and_no_group(shop: tuple[pd.DataFrame, np.ndarray], labels: np.ndarray) -> None:
    found = told(shop[0], labels)
    if labels[0] == 0:
        (segment,) = found.segments
        assert segment["name"] == "all rows" and segment["rule"] is None
    else:
        assert found.segments == [] and found.structure["noise"]["share"] == 1.0


def test_few_rows_give_no_figures_because_they_would_be_cells(shop: tuple[pd.DataFrame, np.ndarray]) -> None:
    labels = shop[1].copy()
    labels[:3] = 3
    segment = told(shop[0], labels).segments[3]
    assert segment["rows"] == 3 and "typical" not in segment
    assert not any(c.isdigit() for c in segment["sentence"])
    assert all("figures" not in t for t in segment["traits"])


def test_typical_values_are_of_each_column_by_itself(shop: tuple[pd.DataFrame, np.ndarray]) -> None:
    typical = {t["column"]: t["value"] for t in told(*shop).segments[1]["typical"]}
    assert typical["country"] == "Germany" and typical["phone"] == "not given" and typical["newsletter"] == "no"


def test_words_of_texts_name_groups() -> None:
    random = np.random.default_rng(0)
    g = random.integers(0, 2, 300)
    fillers = np.array(["please", "send", "my", "order", "soon", "thanks", "again", "hello", "there", "today"])
    notes = [
        " ".join([*random.choice(fillers, 6), *(["refund"] if k else ["invoice"]), str(i)]) for i, k in enumerate(g)
    ]
    found = told(pd.DataFrame({"notes": notes, "x": random.normal(size=300)}), g)
    assert "refund" in found.segments[1]["name"] or "invoice" in found.segments[1]["name"]


def test_hostile_names_and_levels_are_cut_and_kept_on_one_line() -> None:
    random = np.random.default_rng(0)
    g = random.integers(0, 2, 200)
    frame = pd.DataFrame({"a" * 300: g * 9 + random.normal(size=200), "b\n\t<i>": np.where(g, "<script>\x00x", "ok")})
    for segment in told(frame, g).segments:
        assert len(segment["name"]) < 200 and segment["name"].isprintable() and segment["sentence"].isprintable()


@pytest.mark.parametrize(
    ("value", "text"),
    [(2015.0, "2015"), (61.0, "61"), (82_345.0, "82,300"), (0.03456, "0.0346"), (-5.0, "−5"), (0.0, "0"),
     (float("nan"), "unknown"), (1e-9, "1.00e-09")],
)  # fmt: skip
def test_figures(value: float, text: str) -> None:
    assert words.figure(value, value == round(value) if value == value else False) == text


def test_a_large_table_is_described_by_a_sample_with_true_sizes() -> None:
    random = np.random.default_rng(0)
    g = (random.random(60_000) < 0.005).astype(int)
    frame = pd.DataFrame({"x": g * 8 + random.normal(size=len(g)), "y": random.normal(size=len(g))})
    found = told(frame, g)
    assert found.segments[1]["rows"] == g.sum() and "high x" in found.segments[1]["name"]
