"""The page of a run without a target: every part is drawn, nothing hostile gets through, what lacks is left out."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pandas as pd
import pytest

from everymodel.scoring import table
from everymodel.workflow.evaluate.page import html
from everymodel.workflow.story import plain
from everymodel.workflow.understand import understand
from everymodel.workflow.unsupervised.material import Material
from everymodel.workflow.unsupervised.profile import describe

EVIL = '<script>alert("x")</script>'


def story(task: str, structure: dict[str, Any], **more: Any) -> dict[str, Any]:
    return plain(
        {
            "task": task,
            "title": f"Found in {EVIL}.csv",
            "headline": "4 groups.",
            "rows": 600,
            "version": "0",
            "columns": [{"name": EVIL, "kind": "number", "role": "feature", "low": 0.0, "high": 1.0}],
            "findings": [{"code": "x", "severity": "warning", "message": EVIL, "columns": [EVIL]}],
            "leaderboard": [
                {"model": EVIL, "clusters": 4, "score": 0.5, "noise_share": 0.02, "status": "ok", "chosen": True},
                {"model": "other", "clusters": 3, "score": None, "status": "out of time"},
            ],
            "members": [{"model": "K-means", "weight": 1.0, "parameters": {"n_clusters": 4}}],
            "failures": [{"model": "spectral", "reason": EVIL}],
            "evaluation": {"metrics": [{"name": "silhouette", "value": 0.5, "low": 0.4, "high": 0.6, "text": ""}]},
            "metric": "silhouette",
            "structure": structure,
            "labels": EVIL,
            "how_to": {"python": "model.predict(rows)"},
            "source": {},
            **more,
        }
    )


def groups(count: int = 4, columns: int = 6, noise: bool = True) -> dict[str, Any]:
    """Structure of a run that found `count` groups, with all that a report may hold."""
    random = np.random.default_rng(0)
    n = 40 * count
    g = np.arange(n) % count
    frame = pd.DataFrame(random.normal(size=(n, columns)) + 5 * random.normal(size=(count, columns))[g])
    frame.columns = [f"{EVIL} {i}" for i in range(columns)]
    frame["level"] = np.where(g == 0, f"{EVIL}</svg>", "plain")
    labels = np.where(random.random(n) < 0.05, -1, g) if noise else g
    schema = understand(frame, None).schema
    batch, _ = table.parse(schema, frame, unseen="ignore", bad="missing")
    members = np.eye(count + 1)[np.where(labels < 0, count, labels)]
    made = describe(Material(schema, batch), labels, members).structure
    for s in made["segments"]:
        s["stability"] = 0.4 if s["number"] == 0 else 0.95
    made["map"] = {"points": random.normal(size=(n, 2)), "labels": labels, "explained": [0.4, 0.2]}
    made["silhouettes"] = [{"segment": i, "widths": random.random(30) - 0.2} for i in range(count)]
    made["choice"] = [{"clusters": k, "silhouette": random.random(), "gap": random.random(), "votes": k == 4} for k in
                      range(1, 9)]  # fmt: skip
    made["stability"] = [{"clusters": k, "ari": 0.9, "low": 0.8, "high": 1.0} for k in range(2, 9)]
    made["dendrogram"] = {"merges": [[0, 1, 1.0, 2], [2, 3, 1.5, 2], [4, 5, 4.0, 4]]}
    made["interval"] = {"low": 3, "high": 5}
    return made


def parts(task: str) -> dict[str, Any]:
    random = np.random.default_rng(1)
    points = random.normal(size=(200, 2))
    if task == "cluster":
        return groups()
    if task == "anomaly":
        top = [{"row": i, "score": 9.0 - i, "tail": 10.0 ** (i - 6),
                "reasons": [{"column": EVIL, "text": f"{EVIL} is 9,400", "part": 1.0}]} for i in range(30)]  # fmt: skip
        scores = {"histogram": {"edges": np.linspace(0, 10, 21), "counts": random.integers(0, 90, 20)}}
        return {"threshold": 6.0, "how": "extreme values", "scores": scores, "top": top,
                "map": {"points": points, "labels": random.integers(0, 2, 200)}}  # fmt: skip
    if task == "reduce":
        made_of = [{"feature": EVIL, "value": 0.8}, {"feature": "b", "value": -0.4}]
        said = {"name": EVIL, "sentence": EVIL, "explained": 0.3, "again": 0.9, "parts": made_of}
        loadings = [{"component": i + 1, **said} for i in range(3)]
        return {"explained": [0.5, 0.3, 0.1, 0.1], "chance": [0.3, 0.28, 0.2, 0.1], "kept": 2, "loadings": loadings,
                "circle": [{"feature": EVIL, "x": 0.9, "y": 0.1}, {"feature": "b", "x": -0.3, "y": 0.8}],
                "held": {EVIL: 0.9, "b": 0.2}, "map": {"points": points}, "reconstruction": {"error": 0.2},
                "why": "the others are not above chance"}  # fmt: skip
    kinds = {"values": random.integers(0, 3, 200), "names": [EVIL, "b", "c"]}
    colours = [
        {"name": EVIL, "kind": "number", "values": random.normal(size=200)},
        {"name": "kind", "kind": "category", **kinds},
    ]
    shepard = {"correlation": 0.9, "points": random.random((99, 2))}
    return {"map": {"points": points, "colours": colours}, "shepard": shepard,
            "trust": [{"neighbours": k, "trustworthiness": 0.9, "continuity": 0.95} for k in (5, 10, 20)]}  # fmt: skip


FIGURES = {"cluster": 6, "anomaly": 2, "reduce": 4, "embed": 4}


class Checker(HTMLParser):
    """Collects tags; elements that must be closed are counted."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.add(tag)
        if tag not in ("meta", "br", "link", "path", "use", "rect"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("path", "use", "rect"):
            assert self.open.pop() == tag


def check(page: str) -> None:
    checker = Checker()
    checker.feed(page)
    assert checker.open == [] and "script" not in checker.tags and len(page) < 5_000_000
    assert not re.search(r'(src|href)="https?:', page)


@pytest.mark.parametrize("task", FIGURES)
def test_every_part_is_drawn_and_hostile_words_stay_words(task: str) -> None:
    page = html(story(task, parts(task)))
    check(page)
    assert page.count("<figure") == FIGURES[task]
    assert "&lt;script&gt;" in page and "<script" not in page


@pytest.mark.parametrize("task", FIGURES)
def test_a_story_with_nothing_in_it_still_makes_a_page(task: str) -> None:
    bare = {"task": task, "headline": "Nothing.", "structure": {}}
    page = html(bare)
    check(page)
    assert "Nothing." in page and page.count("<figure") == 0


def test_groups_are_shown_with_names_rules_and_doubts() -> None:
    made = groups()
    page = html(story("cluster", made))
    for s in made["segments"]:
        assert f">{s['number']}</span>" in page
    assert page.count("do not rely on it") == 1
    assert "From 3 to 5 groups are plausible" in page
    assert "Rows that lie in no group" in page


@pytest.mark.parametrize(("count", "columns"), [(40, 8), (3, 200)])
def test_many_groups_and_many_columns(count: int, columns: int) -> None:
    page = html(story("cluster", groups(count, columns)))
    check(page)
    assert page.count('<article class="card group"') == count


def test_one_group_says_that_there_are_none() -> None:
    made = groups(1, noise=False)
    page = html(story("cluster", made, headline="No groups here."))
    check(page)
    assert "No groups were told apart" in page and "Groups side by side" not in page


def test_the_gain_of_unlabelled_rows_stands_in_the_report_of_a_classifier() -> None:
    gain = {"metric": "accuracy", "labelled_only": 0.8, "with_unlabelled": 0.9, "difference": 0.1, "low": 0.05,
            "high": 0.15, "verdict": f"They helped {EVIL}."}  # fmt: skip
    told = {"task": "binary", "headline": "90 of 100.", "structure": {"gain": gain, "labelled": 50, "unlabelled": 900}}
    page = html(told)
    check(page)
    assert "What the unlabelled rows were good for" in page and "900" in page and "+0.10" in page
    assert "What the unlabelled rows" not in html({**told, "structure": {}})
