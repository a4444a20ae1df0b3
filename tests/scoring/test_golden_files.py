"""Files of every past version open and answer as recorded when they were written (scripts/make_golden.py)."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from everymodel import scoring

FOLDER = Path(__file__).parent.parent / "golden"
FILES = sorted(FOLDER.glob("*.em"))


def test_there_are_golden_files_of_the_first_format():
    names = {path.stem for path in FILES}
    assert {"v1-logistic-binary", "v1-lightgbm-regression", "v1-catboost-binary"} <= names


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_a_past_file_opens_and_answers_as_recorded(path):
    told = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    model = scoring.load(path)
    if "proofs" in told:  # what makes data: numbers of the samples of some seeds
        proofs = [model.step.proof(seed) for seed in range(100, 100 + len(told["proofs"]))]
        np.testing.assert_allclose(proofs, told["proofs"], rtol=max(1e-9, model.pack.tolerance), atol=1e-6)
        return
    if "behind" in told:  # what acts: the numbers behind its choices
        behind = np.asarray(model.step(range(len(told["behind"]))), float)
        np.testing.assert_allclose(behind, told["behind"], rtol=max(1e-9, model.pack.tolerance), atol=1e-6)
        return
    edges = {"edges": told["edges"]} if "edges" in told else {}
    batch, _ = model.read(told["rows"], unseen="ignore", **edges)
    answers, expected = answered(model, batch), told["answers"]
    near = max(1e-9, model.pack.tolerance)
    agrees(answers, expected, near)
    if edges:  # an answer is for a graph, not for a row
        return
    # One row at a time takes other ways through the steps; they must agree.
    for row in range(3):
        by_row = isinstance(told["rows"], list)
        one = told["rows"][row] if by_row else {name: values[row] for name, values in told["rows"].items()}
        agrees(answered(model, model.read([one], unseen="ignore")[0])[:1], expected[row : row + 1], near)


def answered(model, batch):
    answers = model.answers(batch)
    return [maps for maps, _ in answers] if model.pack.output == "maps" else answers


def agrees(answers, expected, near: float) -> None:
    """Numbers nearly, words exactly."""
    answers = answers.tolist() if isinstance(answers, np.ndarray) else list(answers)
    if isinstance(answers[0], str) or (isinstance(answers[0], list | tuple) and isinstance(answers[0][0], str)):
        assert [list(a) for a in answers] == [list(e) for e in expected]
        return
    if isinstance(answers[0], list | tuple | np.ndarray) and len({np.shape(a) for a in answers}) > 1:
        for one, other in zip(answers, expected, strict=True):
            agrees(np.asarray(one), np.asarray(other), near)
        return
    assert np.shape(answers) == np.shape(expected)
    tiny = near if np.ndim(answers) > 2 else 1e-3 * near  # maps go through zero
    np.testing.assert_allclose(np.array(answers, float), np.array(expected, float), rtol=near, atol=tiny)
