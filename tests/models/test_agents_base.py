"""What all agents share: when a goal counts as reached, limits of a fit, how it is told, and what hinders it."""

from __future__ import annotations

import io
import sys

import numpy as np
import pytest

from everymodel.core.errors import CapabilityError, ParameterError
from everymodel.environments.lanes import ArrayLanes
from everymodel.models.reinforcement import ppo
from everymodel.models.reinforcement._base import SCREEN, SURE, Curve, Trial
from everymodel.models.reinforcement._live import Live
from everymodel.models.reinforcement._signs import diagnosed, shown
from everymodel.models.reinforcement.ppo import PPO
from everymodel.scoring.spaces import Space, box

SMALL = {"lanes": 8, "horizon": 16, "batch_size": 64, "passes": 1, "width": 8, "random_state": 0}


class Coin(ArrayLanes):
    """One step an episode, worth 0 or 10 by chance, whatever is done; every reward is `even` where that is given."""

    name = "Coin"
    observation = box(0.0, 1.0, (1,))
    action = Space(2)
    limit = 1
    threshold = 6.0

    def begin(self, rng: np.random.Generator, n: int) -> np.ndarray:
        self.chance = rng
        return np.zeros((1, n), dtype=np.float32)

    def advance(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        even = self.options.get("even")
        paid = 10.0 * (self.chance.random(self.n) < 0.5) if even is None else np.full(self.n, even)
        return paid.astype(np.float32), np.ones(self.n, dtype=bool)


class Flat(Coin):
    """Pays nothing, ever; five steps an episode."""

    name = "Flat"
    limit = 5

    def advance(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.zeros(self.n, dtype=np.float32), np.zeros(self.n, dtype=bool)


class Any_:
    """Acts, it does not matter how."""

    def choose(self, rows, rng, temperature, allowed=None):
        return np.zeros(len(rows), dtype=np.int64)


def test_a_lucky_look_does_not_end_a_fit():
    # The mean is 5 and the goal 6: of looks by 20 episodes a good part is lucky, of those by 100 more hardly one.
    trial = Trial(Coin, "auto", 0, Curve())
    looks = [trial.look(Any_(), 0) for _ in range(60)]
    assert trial.until == 6.0 and not trial.reached
    assert len({len(str(v)) for v in looks}) > 1, "all looks were alike"
    sure = Trial(Coin, 4.0, 0, Curve())
    assert any((sure.look(Any_(), 0), sure.reached)[1] for _ in range(5))


@pytest.mark.parametrize("until", ["much", float("nan"), True])
def test_goals_that_are_no_numbers_are_refused(until):
    with pytest.raises(ParameterError, match="expected a mean return"):
        PPO(steps=500, **SMALL).fit("CartPole-v1", until=until)


@pytest.mark.parametrize("steps", [0, -5, 2.5, True])
def test_steps_that_are_no_count_are_refused(steps):
    with pytest.raises(ParameterError, match="whole number from 1"):
        PPO(steps=steps, **SMALL).fit("CartPole-v1", until=None)


def test_steps_a_goal_a_stop_and_a_budget_end_a_fit():
    agent = PPO(steps=1000, **SMALL).fit("CartPole-v1", until=None)
    assert agent.stopped_ == "steps" and 1000 <= agent.steps_ <= 1000 + 2 * 8 * 16
    assert PPO(steps=100_000, **SMALL).fit("CartPole-v1", until=5).stopped_ == "until"
    assert ppo.fit(PPO(**SMALL), "CartPole-v1", None, stop=lambda: True).stopped_ == "stop"
    spent = PPO(budget=0.3, **SMALL).fit("CartPole-v1", until=None)
    assert spent.stopped_ == "budget" and spent.act([0.0, 0.0, 0.0, 0.0]) in (0, 1)


def test_the_environment_itself_is_what_is_asked_for():
    class Real(PPO):
        kinds = ("continuous",)

    with pytest.raises(CapabilityError, match="takes continuous actions"):
        Real(**SMALL).fit("CartPole-v1")
    agent = PPO(steps=300, **SMALL).fit("CartPole-v1", until=None)
    with pytest.raises(ParameterError, match="this agent learnt to see"):
        agent.evaluate(2, env=Coin)


def test_a_listener_is_told_where_the_fit_is():
    told: list[Live] = []
    ppo.fit(PPO(steps=3000, **SMALL), "CartPole-v1", None, listener=told.append)
    assert told and told[-1].steps >= 3000 and told[-1].most == 3000
    assert told[-1].episodes > 10 and 5 < told[-1].mean < 200 and told[-1].pace > 0
    assert [t.steps for t in told] == sorted(t.steps for t in told)


def test_the_bar_says_the_return_and_nothing_of_a_loss(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("COLUMNS", "160")
    with shown(1, "PPO CartPole-v1", 475.0) as listen:
        listen(Live(3000, 6000, 41, 71.25, 120.0, 20_000.0, 0.5, 3.0))
    text = stream.getvalue()
    for words in ("PPO CartPole-v1", "return 71.25", "best actions 120 of 475", "41 episodes", "20,000 steps/s"):
        assert words in text
    assert "loss" not in text and "epoch" not in text
    with shown(0, "", None) as listen:
        assert listen is None


def test_rewards_that_tell_nothing_are_named():
    agent = PPO(steps=2000, **SMALL).fit(Flat, until=None)
    assert any("All rewards were equal" in s for s in agent.diagnose())
    assert PPO(steps=3000, **SMALL).fit("CartPole-v1", until=5).diagnose() == []


def test_each_sign_has_its_sentence():
    curve = Curve()
    curve.episodes = [(10, 1.0, 5), (20, 3.0, 5)]
    well = {"paid": 1.0, "ends": 9.0, "cut": 0.2, "explained": 0.8, "entropy": 0.4, "bounds": 0.1}
    assert diagnosed(well, curve, "steps") == []
    for sign, value, words in (
        *(("ends", 0.0, "No episode ended"), ("entropy", 0.001, "tries nothing else")),
        *(("explained", -0.2, "explain nothing"), ("bounds", 0.97, "at their bounds")),
    ):
        (told,) = diagnosed({**well, sign: value}, curve, "steps")
        assert words in told
        assert diagnosed({**well, sign: value}, curve, "until") == []


def test_a_goal_is_decided_by_episodes_that_were_not_chosen_for_being_good(monkeypatch):
    counts: list[int] = []
    from everymodel.environments import episodes

    play = episodes.play
    monkeypatch.setattr(
        episodes, "play", lambda lanes, policy, n, **given: (counts.append(n), play(lanes, policy, n, **given))[1]
    )
    trial = Trial("CartPole-v1", 5.0, 0, Curve())
    trial.look(Any_(), 0)
    assert trial.reached and counts == [SCREEN, SURE]
