"""em.fit in environments: the agent is chosen from the spaces, tested on fresh episodes beside chance, and kept."""

from __future__ import annotations

import json
import math
import time
from dataclasses import replace
from types import SimpleNamespace

import gymnasium as gym
import numpy as np
import pandas as pd
import pytest

import everymodel as em
from everymodel import catalog, environments
from everymodel.core.errors import CapabilityError, ParameterError
from everymodel.environments import EnvironmentFault
from everymodel.scoring.spaces import Space, box
from everymodel.workflow.evaluate.page import html
from everymodel.workflow.reinforce import acts_in, choice, is_game, shown
from everymodel.workflow.reinforce.outcome import Chance, Outcome, episodes_in, outcome_of
from everymodel.workflow.reinforce.story import headline


class Corridor(gym.Env):
    """Five fields in a row; 1 for the last, nothing else; to the right is action 1."""

    observation_space = gym.spaces.Discrete(5)
    action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.at = 0
        return self.at, {}

    def step(self, action):
        self.at = min(max(self.at + (1 if action else -1), 0), 4)
        return self.at, float(self.at == 4), self.at == 4, False, {}


class Broken(Corridor):
    def step(self, action):
        if getattr(self, "at", 0) == 2:
            raise ValueError("the floor is gone")
        return super().step(action)


@pytest.fixture(scope="module")
def lake(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lake") / "run"
    return em.fit("FrozenLake-v1", models="q_learning", trials=1, out=folder, seed=1)


def test_a_lake_is_learnt_tested_and_kept(lake, tmp_path):
    assert lake.story["task"] == "act" and lake.evaluation.source == "episodes"
    assert lake.metrics["mean"] > 0.45 and lake.metrics["mean"].low <= lake.metrics["mean"] <= lake.metrics["mean"].high
    chance = lake.evaluation.comparisons[0]
    assert chance["name"] == "chance" and chance["mean"] < 0.1 and "by chance returns" in lake.headline
    row = lake.search.leaderboard[0]
    assert row["card"] == "q_learning" and row["steps"] > 1000 and row["ended_by"] in ("until", "budget")
    opened = em.load(lake.folder / "model.em")
    assert opened.environment == "FrozenLake-v1" and opened.manifest["until"] == 0.7
    states = list(range(16))
    assert np.array_equal(opened.act(states), lake.model.act(states))
    told = opened.evaluate(50, seed=3)
    assert told == lake.model.evaluate(50, seed=3) and told["episodes"] == 50 and told["mean"] > 0.4
    seen = []
    one = opened.play(seed=5, watch=lambda lanes, action, reward, total, steps: seen.append((steps, lanes.text())))
    assert [s for s, _ in seen] == list(range(one.steps)) and all("@" in text for _, text in seen)
    assert one == opened.play(seed=5)
    with pytest.raises(ParameterError, match="learnt to see"):
        opened.evaluate(5, env="CartPole-v1")
    with pytest.raises(CapabilityError, match="Use act"):
        opened.predict({"seed": 1})


def test_the_story_is_plain_and_its_page_shows_what_was_done(lake, tmp_path):
    json.dumps(lake.story, allow_nan=False)
    page = lake.report(tmp_path / "report.html").read_text()
    assert "<script" not in page and page.count("<svg") >= 5
    for text in ("How well it acts", "What it does where", "data:image/gif", "everymodel play", "/v1/act"):
        assert text in page, text
    told = dict(lake.story)
    told["structure"] = {}
    assert "How it learnt" in html(told)  # a story that lacks everything still has its page
    assert (lake.folder / "film.gif").read_bytes()[:4] == b"GIF8"


def test_classes_files_and_objects_are_environments(tmp_path):
    run = em.fit(Corridor, models="q_learning", until=0.95, trials=1, out=tmp_path / "a")
    assert run.metrics["mean"] == 1.0 and run.story["structure"]["goal"] == 0.95
    assert "no-limit" in {f.code for f in run.findings} and "no-film" in {f.code for f in run.findings}
    assert run.model.act(0) == 1 and run.evaluation.comparisons[0]["length"] > 5
    with pytest.raises(ParameterError, match="no environment 'Corridor'"):
        em.load(run.folder / "model.em").evaluate(3)
    assert em.load(run.folder / "model.em").evaluate(3, env=Corridor)["mean"] == 1.0
    assert acts_in("CartPole-v1") and acts_in(Corridor) and acts_in(Corridor())
    assert acts_in("go:5") and is_game("tic_tac_toe") and not is_game("go:x") and not is_game("CartPole-v1")
    for other in ("houses.csv", pd.DataFrame({"action_space": [1], "step": [2]}), {"a": [1]}, None, "go.csv"):
        assert not acts_in(other)


def test_faults_of_environments_are_one_sentence(tmp_path):
    with pytest.raises(EnvironmentFault, match="the floor is gone"):
        em.fit(Broken, models="q_learning", trials=1, out=tmp_path / "a")
    with pytest.raises(ParameterError, match=r"Did you mean .*CartPole-v1"):
        em.fit("CartPol-v1", budget=3, out=tmp_path / "b")


def test_options_that_mean_nothing_are_refused(tmp_path):
    for name, value in (("target", "y"), ("metric", "rmse"), ("group", "g"), ("horizon", 3), ("prefer", "fast")):
        with pytest.raises(ParameterError, match=f"{name}="):
            em.fit("FrozenLake-v1", budget=2, out=tmp_path / "a", **{name: value})
    with pytest.raises(ParameterError, match="until="):
        em.fit("FrozenLake-v1", until="soon", budget=2, out=tmp_path / "a")
    with pytest.raises(ParameterError, match="for agents"):
        em.fit(pd.DataFrame({"a": [1, 2], "y": [1, 2]}), "y", until=3)
    with pytest.raises(ParameterError, match=r"q_learning .*CartPole-v1 shows"):
        em.fit("CartPole-v1", models="q_learning", budget=2, out=tmp_path / "a")
    with pytest.raises(ParameterError, match="cannot do act"):
        em.fit("CartPole-v1", models="ridge", budget=2, out=tmp_path / "a")


# --- which agents, and when the next one has its turn ---


def _lanes(observation: Space, action: Space) -> SimpleNamespace:
    return SimpleNamespace(name="World", observation=observation, action=action)


def test_agents_suit_the_spaces():
    numbers = box(-1.0, 1.0, (3,))
    first = [c.name for c in choice.agents(_lanes(Space(16), Space(4)), None)]
    assert first[0] == "q_learning"
    choices = [c.name for c in choice.agents(_lanes(numbers, Space(2)), None)]
    assert choices and not {"q_learning", "sac", "self_play"} & set(choices)
    real = [c.name for c in choice.agents(_lanes(numbers, numbers), None)]
    assert "sac" in real and "dqn" not in real
    many = [c.name for c in choice.agents(_lanes(Space(10**6), Space(4)), None)]
    assert many and "q_learning" not in many


class _Learner:
    """An agent whose fit is told in advance: what it reports, and how it ends."""

    def __init__(self, values, ended="steps", pause=0.01):
        self.values, self.ended, self.pause = values, ended, pause
        self.curve_ = SimpleNamespace(looks=[(i, v) for i, v in enumerate(values)], episodes=[(1, 0.0, 1)])

    def learn(self, stop, listener):
        for value in self.values:
            listener(SimpleNamespace(mean=math.nan, look=value, steps=1, episodes=1))
            time.sleep(self.pause)
            if stop():
                self.ended = "stop"
                break
        self.stopped_ = self.ended
        return self


def _tried(monkeypatch, plans, until, seconds, **options):
    order = []

    def fit(card, env, until, stop, **ignored):
        order.append(card.name)
        made = _Learner(*plans[card.name])
        return made.learn(stop, stop.told)

    monkeypatch.setattr(choice, "fit", fit)
    card = next(c for c in catalog.for_task("act") if c.name == "ppo")
    cards = iter([replace(card, name=n, title=n.title()) for n in plans])
    board = choice.try_all(cards, "x", until, compare=0, seconds=seconds, seed=0, told=None,
                           score=lambda agent, s: {"mean": max(agent.values)}, **options)  # fmt: skip
    return order, board


def test_an_agent_that_stands_still_gives_way(monkeypatch):
    order, board = _tried(monkeypatch, {"first": ([1.0] * 200,), "second": ([1.0, 9.0], "until")}, 9.0, 1.0)
    assert order == ["first", "second"] and board[0].card.name == "second" and board[0].reached
    assert [b.ended for b in board] == ["until", "still"] and board[1].other == "Second"
    order, _ = _tried(monkeypatch, {"first": ([1.0, 9.0], "until"), "second": ([9.0],)}, 9.0, 1.0)
    assert order == ["first"]
    order, _ = _tried(monkeypatch, {"first": ([1.0] * 3,), "second": ([9.0],)}, None, 1.0)
    assert order == ["first"]  # nothing was asked for, so nothing was missed
    order, board = _tried(monkeypatch, {"first": ([1.0] * 200,)}, 9.0, 0.3)
    assert board[0].ended == "budget" and not board[0].other  # no other waits, so it has all of the time


def test_patience_counts_from_the_first_report_and_only_where_another_waits():
    patient = choice.Patience(0.2, 10.0, lambda: True)
    live = SimpleNamespace(mean=math.nan, look=1.0)
    time.sleep(0.1)  # loading
    patient.told(live)
    assert not patient.still
    time.sleep(0.08)
    patient.told(live)
    assert patient.still and patient()
    alone = choice.Patience(0.2, 10.0)
    for _ in range(4):
        alone.told(live)
        time.sleep(0.04)
    assert not alone.still
    rising = choice.Patience(0.3, 10.0, lambda: True)
    for value in (1.0, 2.0, 3.0, 4.0, 5.0, 6.0):
        rising.told(SimpleNamespace(mean=value, look=math.nan))
        time.sleep(0.04)
    assert not rising.still


# --- the test ---


def test_chance_keeps_to_the_space_and_to_what_is_allowed():
    rng = np.random.default_rng(0)
    rows = np.zeros((500, 1))
    drawn = Chance(Space(3)).choose(rows, rng, 0.0)
    assert set(drawn) == {0, 1, 2}
    allowed = np.tile([False, True, True], (500, 1))
    assert set(Chance(Space(3)).choose(rows, rng, 0.0, allowed)) == {1, 2}
    numbers = Chance(box([-2.0, -np.inf], [1.0, np.inf])).choose(rows, rng, 0.0)
    assert numbers.shape == (500, 2) and -2 <= numbers[:, 0].min() < -1.8 and 0.8 < numbers[:, 0].max() <= 1
    assert 0.8 < numbers[:, 1].std() < 1.2


def test_tested_counts_every_step_of_whole_episodes():
    made = outcome_of(Chance(Space(2)), Corridor, 12, seed=0)
    assert len(made.returns) == made.asked == 12 and (made.returns == 1).all() and (made.lengths >= 4).all()
    assert made.counts is not None and made.counts.sum() >= made.lengths.sum()
    assert len(made.seen) == len(made.actions) == made.counts.sum()
    stopped = outcome_of(Chance(Space(2)), Corridor, 12, seed=0, stop=lambda: True)
    assert not len(stopped.returns) and "no return" in headline(stopped, None, None, "x")
    assert episodes_in(10, 1000, 100, 100) == 100 and episodes_in(1, 1000, 100, 100) == 10
    assert episodes_in(0.001, 1000, 1000, 100) == 5 and episodes_in(math.inf, 1, 1, 100) == 100


def test_sentences_say_how_sure_they_are():
    def of(mean, low, high):
        summary = {"mean": mean, "low": low, "high": high}
        none = np.zeros(0)
        return Outcome(np.zeros(10), np.ones(10), 10, None, none, none, None, summary)

    assert ", surely in the range" in headline(of(480, 476, 490), None, 475, "x")
    assert ", in the range" in headline(of(480, 470, 490), None, 475, "x")
    assert "; 475 was asked for" in headline(of(300, 280, 320), None, 475, "x")
    assert "10 fresh episodes of x." in headline(of(300, 280, 320), None, None, "x")


def test_maps_of_two_numbers_and_curves_are_short(lake):
    step = SimpleNamespace(choose=lambda rows, rng, t, allowed: (rows[:, 0] > 0).astype(int), head="categorical")
    world = replace(_world(), observation=box(-1.0, 1.0, (2,)), action=Space(2))
    seen = np.random.default_rng(0).uniform(-0.5, 0.5, (900, 2))
    test = Outcome(np.ones(3), np.ones(3), 3, None, np.zeros(900), seen, None)
    told = shown._map(step, test, world)
    assert told is not None and np.asarray(told["actions"]).shape == (41, 41) and len(told["path"]) <= 400
    assert told["actions"][0, 0] == 0 and told["actions"][-1, 0] == 1
    assert told["axes"][0][0] >= -0.6 and told["axes"][0][-1] <= 0.6  # where it has been
    episodes = [(i, float(i), 3) for i in range(5000)]
    curve = shown.curve(SimpleNamespace(episodes=episodes, looks=[(i, 1.0) for i in range(900)]))
    assert len(curve["training"]) == 100 and len(curve["looks"]) <= 240 and curve["training"][0][1] == 24.5
    grid = lake.story["structure"]["grid"]
    assert grid["fields"] == ["SFFF", "FHFH", "FFFH", "HFFG"] and grid["values"][15] is None
    steps = np.array(grid["steps"])  # left, down, right, up
    assert steps[0, 1] < -0.1 and steps[1, 0] > 0.1 and steps[2, 1] > 0.1 and steps[3, 0] < -0.1


def _world():
    from everymodel.workflow.reinforce.story import World

    lanes = environments.make("FrozenLake-v1", 1)
    return World.of(lanes)


def test_look_says_what_an_environment_is():
    world = em.look("CartPole-v1")
    assert world.limit == 500 and world.threshold == 475 and dict(world.words())["takes"] == "one of 2 actions"
    assert em.look("go:5").action.n == 26


def test_advice_is_the_order_in_which_agents_are_taken():
    advice = em.advise("Pendulum-v1")
    lanes = environments.make("Pendulum-v1", 1)
    assert [a["model"] for a in advice] == [c.name for c in choice.agents(lanes, None)] and advice[0]["reasons"]
    assert em.advise("tic_tac_toe")[0]["model"] == "self_play"


def test_a_run_that_was_stopped_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(choice, "_KEPT", 0.1)
    folder = tmp_path / "run"
    first = em.fit("FrozenLake-v1", models="q_learning", until=None, budget=2, out=folder)
    kept = folder / "learning" / "q_learning.ckpt"
    assert kept.is_file() and first.search.leaderboard[0]["ended_by"] == "budget"
    second = em.fit("FrozenLake-v1", models="q_learning", until=None, budget=2, out=folder, resume=True)
    assert second.search.leaderboard[0]["steps"] > first.search.leaderboard[0]["steps"]
    third = em.fit("FrozenLake-v1", models="q_learning", until=0.01, budget=30, out=folder)
    assert third.search.leaderboard[0]["steps"] < second.search.leaderboard[0]["steps"] and not kept.parent.exists()


def test_a_board_game_is_learnt_by_its_word(tmp_path, monkeypatch):
    from everymodel.workflow.reinforce import board

    monkeypatch.setattr(board, "GAMES", 8)
    made = catalog.make

    def small(card, **given):
        few = {"rounds": 3, "games": 8, "simulations": 4, "lookahead": 12, "width": 8, "depth": 1, "batch_size": 16}
        return made(card, **{**given, **few})

    monkeypatch.setattr(catalog, "make", small)
    run = em.fit("tic_tac_toe", trials=1, out=tmp_path / "run")
    rows = run.story["structure"]["matches"]
    assert [r["opponent"] for r in rows] == ["the perfect player", "random moves"]
    assert all(r["games"] == r["won"] + r["drawn"] + r["lost"] == 8 for r in rows)
    assert "of 8 games won against the perfect player" in run.headline and run.metrics["won_perfect"] == 0
    json.dumps(run.story, allow_nan=False)
    page = html(run.story)
    assert "How well it plays" in page and "The first move" in page and "A game against itself" in page
    opened = em.load(run.folder / "model.em")
    assert 0 <= opened.act([]) <= 8 and opened.act(["1", "4", "2"], simulations=100) == 2  # else the row is full
    assert opened.evaluate(6, env="random", seed=1) == run.model.evaluate(6, env="random", seed=1)
    with pytest.raises(ParameterError, match="self-play has no return"):
        em.fit("tic_tac_toe", until=3, trials=1, out=tmp_path / "b")
    with pytest.raises(ParameterError, match="game for two"):
        em.fit("go:5", models="ppo", trials=1, out=tmp_path / "b")
    with pytest.raises(CapabilityError, match="no film"):
        opened.record(tmp_path / "a.gif")
