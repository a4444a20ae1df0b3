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
    batch, _ = model.read(told["rows"], unseen="ignore")
    answers, expected = model.answers(batch), np.array(told["answers"])
    assert answers.shape == expected.shape
    np.testing.assert_allclose(answers, expected, rtol=1e-9, atol=1e-12)
    # One row at a time takes other ways through the steps; they must agree.
    for row in range(3):
        one, _ = model.read({name: values[row] for name, values in told["rows"].items()}, unseen="ignore")
        np.testing.assert_allclose(model.answers(one)[0], expected[row], rtol=1e-9, atol=1e-12)
