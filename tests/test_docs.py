"""What the docs are made from: every card gives a page, every finding and command is listed, every example runs."""

from __future__ import annotations

import ast
import importlib.util
import re
import runpy
from pathlib import Path

import pandas as pd
import pytest

import everymodel
from everymodel import catalog

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("[0-9]*.py"))


@pytest.fixture(scope="module")
def make_docs():
    spec = importlib.util.spec_from_file_location("make_docs", ROOT / "scripts" / "make_docs.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_model_has_a_page_with_its_parameters(make_docs, tmp_path, monkeypatch):
    monkeypatch.setattr(make_docs, "DOCS", tmp_path)
    make_docs.write_models()
    for card in catalog.cards():
        page = (tmp_path / "models" / f"{card.name}.md").read_text()
        assert card.class_name in page and card.summary in page
        assert all(f"`{p.name}`" in page for p in card.parameters)


def test_every_finding_that_the_code_makes_has_a_meaning():
    from everymodel.workflow import read, understand

    known, asked = {**read.CODES, **understand.CODES}, set()
    for path in sorted(Path(everymodel.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
                continue
            if node.func.id in ("Finding", "finding") and node.args:
                words = {n.value for n in ast.walk(node.args[0]) if isinstance(n, ast.Constant)}
                asked |= {(path.name, word) for word in words}
    assert len(asked) > 60
    assert not sorted((file, word) for file, word in asked if word not in known)


def test_reference_lists_every_finding_and_command(make_docs, tmp_path, monkeypatch):
    from everymodel.workflow.understand import CODES

    monkeypatch.setattr(make_docs, "DOCS", tmp_path)
    make_docs.write_reference()
    findings = (tmp_path / "reference" / "findings.md").read_text()
    assert all(f"`{code}`" in findings for code in CODES)
    commands = (tmp_path / "reference" / "command-line.md").read_text()
    for name in [
        "look",
        "advise",
        "fit",
        "evaluate",
        "predict",
        "explain",
        "trace",
        "report",
        "models",
        "card",
        "inspect",
        "serve",
        "doctor",
        "drift",
    ]:
        assert f"## {name}\n" in commands


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_every_example_runs(path, tmp_path, monkeypatch):
    """With little time and work, so that it is short; the pages are made from the scripts as they stand."""
    quick = tmp_path / path.name
    script = path.read_text()
    less = 'budget="5s"' if "trials=" in script or "nodes=" in script else 'budget="5s", trials=1'
    quick.write_text(re.sub(r'budget="\d+s"', less, script))
    monkeypatch.chdir(tmp_path)
    with pd.option_context("display.max_colwidth", 50):  # examples set it; nothing of theirs stays behind
        runpy.run_path(str(quick), run_name="__main__")
