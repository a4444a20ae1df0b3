"""Environments written for arrays against Gymnasium's own, step by step, and the rules that all keep."""

from __future__ import annotations

import numpy as np
import pytest

from everymodel import environments
from everymodel.core.errors import ParameterError
from everymodel.environments import grid
from everymodel.environments.adapter import GymLanes
from everymodel.environments.lanes import MOST, ArrayLanes

gym = pytest.importorskip("gymnasium")

BOXES = ("CartPole-v1", "MountainCar-v0", "MountainCarContinuous-v0", "Acrobot-v1", "Pendulum-v1")
TABLES = ("FrozenLake-v1", "FrozenLake8x8-v1", "CliffWalking-v1", "CliffWalkingSlippery-v1", "Taxi-v4")


def drawn(space, rng: np.random.Generator, n: int) -> np.ndarray:
    if space.discrete:
        return rng.integers(0, space.n, n)
    low, high = space.bounds()
    return rng.uniform(low * 1.5, high * 1.5, (n, *space.shape)).astype(np.float32)  # beyond the bounds, too


def registered(name: str):
    if name not in gym.registry:
        pytest.skip(f"this Gymnasium has no {name}")
    return gym.make(name)


@pytest.mark.parametrize("name", BOXES)
def test_steps_are_those_of_gymnasium(name: str):
    lanes, env, rng = environments.make(name, 16), registered(name).unwrapped, np.random.default_rng(0)
    lanes.reset(1)
    env.reset(seed=0)
    if name.startswith(("MountainCar", "Acrobot")):  # so that ends are met within few steps
        lanes.inner[0] += rng.uniform(0, 1.0, 16).astype(np.float32)
    for _ in range(60):
        before, actions = lanes.inner.copy(), drawn(lanes.action, rng, 16)
        moved = lanes.step(actions)
        for i in range(16):
            env.state, env.steps_beyond_terminated = before[:, i].astype(np.float64), None
            seen, reward, ended, _, _ = env.step(int(actions[i]) if lanes.action.discrete else actions[i])
            np.testing.assert_allclose(moved.last[i], seen, rtol=1e-5, atol=1e-5)
            assert moved.reward[i] == pytest.approx(reward, rel=1e-4, abs=1e-5)
            assert moved.ended[i] == ended
    assert moved.seen.dtype == moved.reward.dtype == np.float32


@pytest.mark.parametrize("name", BOXES + TABLES)
def test_spaces_limits_and_thresholds_are_as_registered(name: str):
    lanes, env = environments.make(name, 3), registered(name)
    theirs = GymLanes(lambda render: env, name, 1)
    assert (lanes.observation, lanes.action, lanes.name) == (theirs.observation, theirs.action, name)
    assert lanes.limit == (env.spec.max_episode_steps or MOST)
    assert lanes.threshold == env.spec.reward_threshold


@pytest.mark.parametrize("name", BOXES)
def test_episodes_begin_as_in_gymnasium(name: str):
    ours, env = environments.make(name, 4000).reset(0), registered(name)
    theirs = np.stack([env.reset(seed=s)[0] for s in range(400)])
    for mine, other in zip(ours.T, theirs.T, strict=True):  # the largest gap of the two distributions
        below = [np.searchsorted(np.sort(v), other, side="right") / len(v) for v in (mine, other)]
        assert np.abs(below[0] - below[1]).max() < 0.1
    assert (ours.min(axis=0) >= theirs.min(axis=0) - 0.05 * np.ptp(theirs, axis=0) - 1e-6).all()
    assert (ours.max(axis=0) <= theirs.max(axis=0) + 0.05 * np.ptp(theirs, axis=0) + 1e-6).all()


@pytest.mark.parametrize("name", TABLES)
def test_tables_are_those_of_gymnasium(name: str):
    lanes, env = environments.make(name, 2), registered(name).unwrapped
    for state in range(lanes.observation.n):
        for action in range(lanes.action.n):
            wanted: dict = {}
            for chance, after, reward, ended in env.P[state][action]:
                key = (int(after), float(reward), bool(ended))
                wanted[key] = wanted.get(key, 0.0) + chance
            made: dict = {}
            for k in range(lanes.outcomes):
                at = (state, action, k)
                key = (int(lanes.after[at]), float(lanes.reward[at]), bool(lanes.ended[at]))
                made[key] = made.get(key, 0.0) + lanes.chance[at]
            assert made == pytest.approx(wanted), (state, action)
    np.testing.assert_allclose(lanes.starts, env.initial_state_distrib)


def test_outcomes_come_with_their_chances():
    chance = np.array([[[0.2, 0.5, 0.3]], [[0.2, 0.5, 0.3]], [[0.2, 0.5, 0.3]]])
    after = np.tile([0, 1, 2], (3, 1, 1))
    lanes = grid.Table(1000, after=after, reward=after, chance=chance)
    lanes.reset(0)
    shares = np.mean([np.bincount(lanes.step(np.zeros(1000, int)).last, minlength=3) / 1000 for _ in range(50)], axis=0)
    np.testing.assert_allclose(shares, [0.2, 0.5, 0.3], atol=0.01)


@pytest.mark.parametrize("name", BOXES + TABLES)
def test_a_state_goes_on_as_the_original(name: str):
    lanes, rng = environments.make(name, 8, limit=30), np.random.default_rng(0)
    lanes.reset(5)
    actions = [drawn(lanes.action, rng, 8) for _ in range(120)]
    for action in actions[:50]:
        lanes.step(action)
    other = lanes.alike(8)
    other.restore(lanes.state())
    for action in actions[50:]:
        for a, b in zip(lanes.step(action), other.step(action), strict=True):
            np.testing.assert_array_equal(a, b)
    again = lanes.alike(8)
    first = again.reset(5)
    np.testing.assert_array_equal(first, lanes.reset(5))
    assert not np.array_equal(first, lanes.reset(6)) or lanes.observation.discrete


@pytest.mark.parametrize("name", ["Pendulum-v1", "FrozenLake-v1", "CartPole-v1"])
def test_cut_is_not_ended_and_the_next_episode_begins_in_the_same_step(name: str):
    lanes, rng = environments.make(name, 50, limit=7), np.random.default_rng(0)
    now, age = lanes.reset(0), np.zeros(50, dtype=int)
    for _ in range(40):
        held = [np.array(a) for a in lanes.step(drawn(lanes.action, rng, 50))]
        seen, _, ended, cut, last = held
        age += 1
        assert not (ended & cut).any()
        np.testing.assert_array_equal(cut, (age == 7) & ~ended)
        over = ended | cut
        age[over] = 0
        np.testing.assert_array_equal(lanes.age, age)
        np.testing.assert_array_equal(seen[~over], last[~over])
        now = seen
    assert now.shape == (50, *lanes.observation.shape)


def test_what_was_given_does_not_change_later():
    lanes, rng = environments.make("CartPole-v1", 32), np.random.default_rng(0)
    lanes.reset(0)
    moved = lanes.step(drawn(lanes.action, rng, 32))
    copies = [np.array(a) for a in moved]
    for _ in range(40):
        lanes.step(drawn(lanes.action, rng, 32))
    for a, b in zip(moved, copies, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", BOXES + TABLES)
def test_pictures_show_where_it_is(name: str):
    pytest.importorskip("PIL")
    lanes, rng = environments.make(name, 2), np.random.default_rng(1)
    lanes.reset(0)
    first = lanes.picture(1)
    assert first.ndim == 3 and first.shape[2] == 3 and first.dtype == np.uint8 and len(np.unique(first)) > 4
    for _ in range(12):
        lanes.step(drawn(lanes.action, rng, 2))
    moves = lanes.inner.copy()
    shown = lanes.picture(1)
    np.testing.assert_array_equal(moves, lanes.inner)  # looking changes nothing
    assert name in TABLES or not np.array_equal(first, shown)
    assert (lanes.text() is not None) == (name in TABLES)


def test_text_of_a_grid():
    lake = grid.FrozenLake(1, is_slippery=False)
    lake.reset(0)
    assert lake.text() == "@FFF\nFHFH\nFFFH\nHFFG"
    lake.step(np.array([1]))
    assert lake.text() == "SFFF\n@HFH\nFFFH\nHFFG"
    taxi = grid.Taxi(1)
    taxi.reset(0)
    assert taxi.text().count("@") == 1 and "wants to: " in taxi.text()


def test_options_choose_the_array_version_or_gymnasium():
    assert isinstance(environments.make("FrozenLake-v1", map_name="8x8"), grid.FrozenLake)
    assert environments.make("Pendulum-v1", g=9.81).options == {"g": 9.81}
    other = environments.make("CartPole-v1", sutton_barto_reward=True)  # not written here
    assert not isinstance(other, ArrayLanes)
    with pytest.raises(ParameterError, match="map_name"):
        environments.make("FrozenLake-v1", map_name="9x9")


def test_an_object_is_a_plan():
    maze = grid.Maze(lines=["S.#", "..G"])
    made = environments.make(maze, 5)
    assert made is not maze and made.n == 5 and made.options == maze.options
    assert environments.make(made, 2).n == 2


def test_mazes_have_walls_and_value_iteration_finds_the_way():
    maze = grid.Maze(lines=["S#...", ".#.#.", "...#G"])
    values = maze.best(discount=1.0)
    assert values[0].max() == pytest.approx(-10)
    policy = values.argmax(axis=1)
    assert maze.expected(policy) == pytest.approx(-10)
    maze.reset(0)
    assert maze.step(np.array([1])).last[0] == 0  # a wall
    assert maze.step(np.array([0])).last[0] == 0  # the rim


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (lambda: grid.Table(after=[[3]], reward=0), "states from 0 to 0"),
        (lambda: grid.Table(after=[[0.5]], reward=0), "whole numbers"),
        (lambda: grid.Table(after=[[0]], reward=[[1, 2]]), "expected"),
        (lambda: grid.Table(after=[[0]], reward=np.nan), "NaN"),
        (lambda: grid.Table(after=[[[0, 0]]], reward=0, chance=[[[0.5, 0.4]]]), "sum to 1"),
        (lambda: grid.Table(after=[[0]], reward=0, starts=[1, 2]), "starts"),
        (lambda: grid.Maze(lines=["S.", "G"]), "lengths"),
        (lambda: grid.Maze(lines=["S.", ".."]), "no goal"),
        (lambda: grid.Maze(lines=["S?", ".G"]), "'[?]'"),
        (lambda: grid.Maze(0, lines=["SG"]), "lanes"),
        (lambda: grid.Maze(1, 0, lines=["SG"]), "limit"),
        (lambda: grid.FrozenLake(desc=["FG"]), "no start"),
    ],
)
def test_what_does_not_fit_is_said(made, words: str):
    with pytest.raises(ParameterError, match=words):
        made()
