"""Agents on the command line: fitted, played, evaluated, shown; board games in the terminal."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hand_models import board_file
from typer.testing import CliRunner

import everymodel as em
from everymodel.interfaces.cli import play
from everymodel.interfaces.cli.app import app


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lake")
    agent = em.QLearning(steps=20_000, random_state=0).fit("FrozenLake-v1", until=None)
    em.wrap(agent, None).save(folder / "lake.em")
    return folder / "lake.em"


def _call(*words: object, typed: str | None = None):
    return CliRunner().invoke(app, list(map(str, words)), input=typed)


def _refused(*words: object) -> str:
    made = _call(*words)
    assert made.exit_code == 1, made.output
    assert "Traceback" not in made.output and "Unexpected" not in made.output, made.output
    return " ".join(made.stderr.split())


def test_a_fit_from_the_terminal(tmp_path: Path):
    out, report = tmp_path / "lake.em", tmp_path / "lake.html"
    made = _call("fit", "FrozenLake-v1", "-m", "q_learning", "--until", "0.2", "--trials", 1, "-o", out,
                 "--report", report, "--run-folder", tmp_path / "run")  # fmt: skip
    assert made.exit_code == 0, made.output
    told = " ".join(made.stdout.replace("│", " ").split())  # however wide the terminal is
    assert "fresh episodes of FrozenLake-v1" in told and "by chance" in told
    assert f"everymodel play {out} --episodes 3" in told
    assert re.search(r"return [\d.]+ \(last \d+\), asked for 0.2, [\d,]+ episodes, [\d,]+ steps", made.stderr)
    assert "How it learnt" in report.read_text() and em.load(out).manifest["until"] == 0.2
    shown = _call("report", tmp_path / "run", "-o", tmp_path / "again.html")
    assert shown.exit_code == 0 and "How it learnt" in (tmp_path / "again.html").read_text()
    told = _call("fit", "FrozenLake-v1", "-m", "q_learning", "--until", "0.1", "--trials", 1, "--json",
                 "--run-folder", tmp_path / "two")  # fmt: skip
    assert json.loads(told.stdout)["task"] == "act" and json.loads(told.stdout)["metrics"][0]["name"] == "mean"


def test_until_is_a_number_or_a_word(tmp_path: Path):
    assert play.until(None) == play.until("auto") == "auto"
    assert play.until("none") is None and play.until("-110") == -110.0
    assert "expected a mean return" in _refused("fit", "FrozenLake-v1", "--until", "soon", "-b", "2s")
    (tmp_path / "a.csv").write_text("a,y\n1,2\n2,3\n")
    assert "for agents" in _refused("fit", tmp_path / "a.csv", "-t", "y", "--until", "3", "-b", "2s")
    assert "Did you mean" in _refused("fit", "FrozenLak-v1", "-b", "2s")


def test_playing_tells_each_episode(lake: Path, tmp_path: Path):
    made = _call("play", lake, "-n", 4, "--seed", 3)
    assert made.exit_code == 0, made.output
    told = json.loads(_call("play", lake, "-n", 4, "--seed", 3, "--json").stdout)
    assert len(told["episodes"]) == 4 and told["environment"] == "FrozenLake-v1"
    assert made.stdout.count("episode ") == 4 and f"Mean return {told['mean']:g} over 4" in made.stdout
    assert {e["seed"] for e in told["episodes"]} == {3, 4, 5, 6}
    assert _call("play", lake, "-n", 4, "--seed", 3, "-q").stdout.strip() == f"{told['mean']:g}"
    view = _call("play", lake, "-n", 1, "--pace", 1000).stdout
    assert "@" in view and "step 1, action " in view and "\x1b" not in view
    film = tmp_path / "one.gif"
    assert _call("play", lake, "-n", 1, "--record", film).exit_code == 0
    assert film.read_bytes()[:4] == b"GIF8"
    world = tmp_path / "world.py"
    world.write_text(
        "import gymnasium as gym\n"
        "class Small(gym.Env):\n"
        "    observation_space = gym.spaces.Discrete(16)\n    action_space = gym.spaces.Discrete(4)\n"
        "    def reset(self, *, seed=None, options=None):\n        return 0, {}\n"
        "    def step(self, action):\n        return 15, 2.5, True, False, {}\n"
    )
    assert json.loads(_call("play", lake, "--env", world, "-n", 1, "--json").stdout)["mean"] == 2.5


def test_what_cannot_be_played_is_said(lake: Path, tmp_path: Path, price_file: Path):
    assert "acts nowhere" in _refused("play", price_file)
    assert ".gif .mp4" in _refused("play", lake, "--record", tmp_path / "a.avi")
    assert "learnt to see" in _refused("play", lake, "--env", "CartPole-v1")
    assert "for board games" in _refused("play", lake, "--gtp")
    assert "cannot be run" in _refused("play", lake, "--env", _raising(tmp_path))


def _raising(folder: Path) -> Path:
    (folder / "bad.py").write_text("raise RuntimeError('no')\n")
    return folder / "bad.py"


def test_evaluating_looking_and_the_card(lake: Path, price_file: Path):
    made = _call("evaluate", lake, "--episodes", 40)
    assert made.exit_code == 0 and "over 40 episodes of FrozenLake-v1" in " ".join(made.stdout.split())
    told = json.loads(_call("evaluate", lake, "FrozenLake-v1", "--episodes", 40, "--json").stdout)
    assert told["episodes"] == 40 and told["mean"] == em.load(lake).evaluate(40)["mean"]
    assert "--metric is not for agents" in _refused("evaluate", lake, "--metric", "rmse")
    assert "labelled rows" in _refused("evaluate", price_file)
    assert "are for agents" in _refused("evaluate", price_file, "x.csv", "--episodes", 3)
    card = _call("card", lake).stdout
    assert "acts in" in card and "FrozenLake-v1" in card and "a whole number from 0 to 3" in card
    world = _call("look", "CartPole-v1").stdout
    assert "a mean return of 475" in world and "everymodel fit CartPole-v1" in world
    assert json.loads(_call("look", "FrozenLake-v1", "--json").stdout)["threshold"] == 0.7
    assert "acting" in _call("models", "--task", "act").stdout


def test_a_board_game_is_played_in_the_terminal(tmp_path: Path):
    file = board_file(tmp_path / "ttt.em")
    made = _call("play", file, typed="5\n?\nnonsense\n5\nundo\n5\nquit\n")
    assert made.exit_code == 0, made.output
    assert made.stdout.count("the agent plays") == 2 and "is no action" in made.stderr
    assert "5 is not allowed here" in made.stderr and "The game was left" in made.stderr
    first = _call("play", file, "--second", typed="")
    assert first.stdout.count("the agent plays") == 1 and "The game was left" in first.stderr
    told = json.loads(_call("play", file, "--json", "-q", typed="\n".join("1234567895") + "\n").stdout)
    assert told["over"] and told["score"] in (-1.0, 0.0, 1.0) and 5 <= len(told["moves"]) <= 9
    assert "not for board games" in _refused("play", file, "--record", tmp_path / "a.gif")
    assert "for Go" in _refused("play", file, "--gtp")
    made = _call("evaluate", file, "random", "--episodes", 10)
    assert made.exit_code == 0 and re.search(r"[5-9] won, \d drawn, \d lost of 10 games", " ".join(made.stdout.split()))
    assert "opponent=" in _refused("evaluate", file, "nobody")


def test_go_speaks_gtp(tmp_path: Path):
    file = board_file(tmp_path / "go.em", "go", size=3)
    made = _call("play", file, "--gtp", "--simulations", 8, typed="1 name\nboardsize 5\ngenmove b\nquit\n")
    assert made.exit_code == 0
    first, refused, move, left, *_ = made.stdout.split("\n\n")
    assert first == "=1 everymodel" and refused.startswith("?") and re.match(r"= ?[A-C][1-3]|= ?pass", move)
    assert left.startswith("=")
