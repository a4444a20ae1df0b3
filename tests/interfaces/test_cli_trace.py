"""everymodel trace: text, CSV, JSON, a page, a landscape, and words for what does not fit."""

from __future__ import annotations

import io
import json

import pandas as pd
import pytest
from hand_models import ROW, two_values_model
from typer.testing import CliRunner

from everymodel.interfaces.cli.app import app


@pytest.fixture
def call(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    frame = pd.DataFrame([ROW, {**ROW, "rooms": 5}, {**ROW, "city": None}])
    frame.assign(price=[4000.0, 6000.0, 5000.0], churn=["no", "yes", "no"]).to_csv("rows.csv", index=False)
    frame.to_csv("bare.csv", index=False)
    return lambda *words: CliRunner().invoke(app, ["trace", *map(str, words)])


def test_text_of_a_row(call, churn_file):
    done = call(churn_file, "rows.csv", "--row", 1, "--lr", 0.1)
    assert done.exit_code == 0, done.output
    for words in (
        "Dense 5 → 1, sigmoid",
        "z = W x + b",
        "δ = 1/k (a - t)",
        "1 yes",
        "Target",
        "after one step of lr = 0.1",
    ):
        assert words in done.stdout
    assert "1.5" in done.stdout  # 5 rooms - 3.5
    other = call(churn_file, "bare.csv", "--target", "no")
    assert "Loss (cross-entropy)" in other.stdout
    assert "Loss" not in call(churn_file, "bare.csv").stdout


def test_numbers_as_csv_and_json(call, price_file):
    done = call(price_file, "rows.csv", "--csv", "--lr", 1e-9)
    frame = pd.read_csv(io.StringIO(done.stdout))
    z = frame[(frame.quantity == "z")].value.item()
    assert z == 3000 + 805 + 500 + 100
    assert frame[frame.quantity == "delta"].value.item() == pytest.approx(2 * (z - 4000))
    assert set(frame[frame.quantity == "W"].name) == {"price"}
    told = json.loads(call(price_file, "rows.csv", "--json", "--row", 2).stdout)
    assert told["loss"] == pytest.approx((told["output"][0] - 5000) ** 2) and told["parts"][0]["values"]["W"]


def test_page_and_landscape(call, churn_file, tmp_path):
    done = call(churn_file, "rows.csv", "--html", "row.html", "--landscape", "map.png")
    assert done.exit_code == 0, done.output
    assert "<svg" in (tmp_path / "row.html").read_text()
    assert (tmp_path / "map.png").read_bytes()[:4] == b"\x89PNG"
    assert "3 rows" in done.output and "z = W x + b" not in done.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--row", 3), "rows 0 to 2"),
        (("--target", "perhaps"), "perhaps"),
        (("--member", 1), "networks 0 to 0"),
        (("--html", "page.txt"), "must end in one of .html"),
        (("--landscape", "map.gif"), "must end in one of .png"),
        (("--csv", "--json"), "choose one"),
    ],
)
def test_what_does_not_fit_is_said(call, churn_file, words, message):
    done = call(churn_file, "rows.csv", *words)
    assert done.exit_code == 1 and message in done.output


def test_a_landscape_needs_targets_and_one_target_one_value(call, churn_file, tmp_path):
    done = call(churn_file, "bare.csv", "--landscape", "map.png")
    assert done.exit_code == 1 and "no column 'churn'" in done.output and not (tmp_path / "map.png").exists()
    two_values_model().save(tmp_path / "two.em")
    done = call("two.em", "bare.csv", "--target", "3")
    assert done.exit_code == 1 and "2 targets" in done.output
    pd.DataFrame(columns=list(ROW)).to_csv("none.csv", index=False)
    assert call(churn_file, "none.csv").exit_code == 1
