"""The report: one file, no requests, nothing of the data runs, all tasks render, thousands of columns stay small."""

from __future__ import annotations

import copy
import json
import re
from dataclasses import asdict
from html.parser import HTMLParser

import numpy as np
import pytest
from sample_story import make

from everymodel.workflow.evaluate import evaluate, html, report

VOID = {"meta", "br", "hr", "img", "input", "link"}


class Reader(HTMLParser):
    """Collects tags and complains about tags that do not close."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.faults: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if self.open and self.open[-1] == tag:
            self.open.pop()
        elif tag == "p" or (tag in ("li",) and tag in self.open):
            return
        else:
            self.faults.append(f"</{tag}> closes {self.open[-3:]}")

    def handle_data(self, data):
        self.text.append(data)


def read(text: str) -> Reader:
    reader = Reader()
    reader.feed(text)
    reader.close()
    return reader


@pytest.fixture(scope="module")
def stories():
    return {task: make(task, seconds=0.6) for task in ("binary", "regression", "multiclass", "multilabel")}


@pytest.fixture(scope="module")
def page(stories):
    return html(stories["binary"])


@pytest.fixture
def light(stories):
    """The binary story without most of its plots: fast to render."""
    story = copy.deepcopy(stories["binary"])
    story["explanations"] = {"importance": story["explanations"]["importance"]}
    story["evaluation"]["curves"] = {"confusion": story["evaluation"]["curves"]["confusion"]}
    return story


@pytest.mark.parametrize("task", ["binary", "regression", "multiclass", "multilabel"])
def test_every_task_renders_from_json(stories, task, tmp_path):
    story = json.loads(json.dumps(stories[task], allow_nan=False))
    report(story, tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    reader = read(text)
    assert not reader.faults and not reader.open
    words = " ".join(" ".join(reader.text).split())
    assert story["headline"] in words
    assert "nan" not in re.findall(r"[a-z]+", words.lower())
    assert "None" not in words
    figures = [tag for tag, attrs in reader.tags if tag == "svg"]
    assert len(figures) >= {"binary": 14, "regression": 12, "multiclass": 8, "multilabel": 6}[task]
    assert all(attrs.get("aria-label") for tag, attrs in reader.tags if attrs.get("role") == "img")
    assert len(text) < 1_500_000


def test_the_file_asks_nothing_of_anybody(page):
    text = page
    reader = read(text)
    for tag, attrs in reader.tags:
        assert tag not in ("script", "link", "iframe", "object", "embed", "img", "base"), tag
        for name, value in attrs.items():
            assert not name.startswith("on"), name
            if name in ("href", "xlink:href", "src"):
                assert (value or "").startswith("#"), (tag, value)
    assert "@import" not in text
    assert not re.search(r"url\((?!#)", text)
    assert "default-src 'none'" in text


def test_ids_are_unique(page):
    ids = [attrs["id"] for _, attrs in read(page).tags if attrs.get("id")]
    assert len(ids) == len(set(ids))


EVIL = '--></style></svg><script>alert("x")</script><img src=x onerror=alert(1)>$\\frac{a}$ {{ 7*7 }} \x00\x1b'


def test_text_of_the_data_cannot_run(stories):
    story = copy.deepcopy(stories["binary"])
    name = story["columns"][0]["name"]
    text = json.dumps(story)
    evil = json.dumps(EVIL)[1:-1]
    for word in (name, "benign", "malignant", "clinic", "outcome", "Random forest", "worst area", "discharge_code"):
        text = text.replace(f'"{word}"', f'"{evil}"')
    story = json.loads(text)
    for key in ("title", "headline", "model_file"):
        story[key] = EVIL
    story["findings"][0]["message"] = story["findings"][0]["advice"] = EVIL
    story["how_to"] = dict.fromkeys(("python", "cli", "rest"), EVIL)
    story["source"]["path"] = EVIL
    page = html(story)
    reader = read(page)
    assert not any(tag in ("script", "img") for tag, _ in reader.tags)
    assert not any(name.startswith("on") for _, attrs in reader.tags for name in attrs)
    assert "alert(1)" in " ".join(reader.text)  # shown, not run
    assert "{{ 7*7 }}" in page


def test_thousands_of_columns_stay_readable(stories):
    story = copy.deepcopy(stories["regression"])
    story["columns"] = [{"name": f"column {j}", "kind": "number", "low": 0, "high": 1} for j in range(10_000)]
    story["explanations"]["importance"] = [
        {"column": f"column {j}", "kind": "number", "value": 1 / (j + 1), "low": 0, "high": 1} for j in range(10_000)
    ]
    story["findings"] = [
        {"code": f"c{j}", "severity": "warning", "message": "m", "columns": [f"column {i}" for i in range(10_000)]}
        for j in range(500)
    ]
    page = html(story)
    assert len(page) < 2_000_000
    assert "and 9,960 more" in page and "and 9,992 more" in page


def test_a_suspect_score_is_loud(light, page):
    assert "Do not trust this score" not in page
    page = html({**light, "suspect": True})
    assert "Do not trust this score" in page and 'role="alert"' in page and "(suspect)" in page
    assert page.index("Do not trust") < page.index('class="big"')


def test_cross_validated_scores_are_called_so(light):
    story = light
    story["evaluation"]["source"] = "cross-validation"
    story["split"].update(test=0, train=569)
    page = html(story)
    assert "There was no separate test part" in page and "slightly flattered" in page
    assert "Measured once" not in page


PARTS = (
    "evaluation explanations findings columns leaderboard members split history how_to timing source classes created"
)


@pytest.mark.parametrize("gone", PARTS.split())
def test_a_story_that_lacks_a_part_still_renders(light, gone):
    story = {k: v for k, v in light.items() if k != gone}
    assert not read(html(story)).faults


def test_unknown_figures_read_not_available(light):
    story = light
    for row in story["evaluation"]["metrics"]:
        row["low"] = row["high"] = None
    for row in story["evaluation"]["comparisons"]:
        row.update(low=None, high=None)
    words = " ".join(read(html(story)).text)
    assert "nan" not in re.findall(r"[a-z]+", words.lower()) and "with 95 % confidence" in words


def test_several_targets_render(light):
    rng = np.random.default_rng(0)
    y = rng.normal(size=(200, 2))
    evaluation = evaluate("regression", y, y + 0.3 * rng.normal(size=(200, 2)), classes=("height", "weight"))
    story = {**light, "task": "regression", "metric": "rmse", "evaluation": asdict(evaluation), "classes": []}
    words = " ".join(read(html(story)).text)
    assert "Spread of errors of height" in words and "Spread of errors of weight" in words


def test_a_run_without_time_for_explanations_says_so(light):
    assert "no time of the budget was left" in html({**light, "explanations": {}})
    assert "no time of the budget was left" not in html(light)


def test_writing_fails_whole(light, tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    path.write_text("before")

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        report(light, path)
    assert path.read_text() == "before" and list(tmp_path.iterdir()) == [path]
