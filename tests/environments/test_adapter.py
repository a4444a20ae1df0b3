"""Environments of others: whatever is wrong with them is said in one sentence, and nothing else is lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from everymodel import environments
from everymodel.core.errors import CapabilityError, EverymodelError, ParameterError
from everymodel.environments import make
from everymodel.environments.adapter import GymLanes
from everymodel.environments.episodes import play
from everymodel.environments.lanes import MOST, EnvironmentFault

gym = pytest.importorskip("gymnasium")
spaces = gym.spaces


class Counter(gym.Env):
    """Counts its steps; ends at the tenth. Subclasses go wrong."""

    observation_space: Any = spaces.Box(-1.0, 20.0, (2,))
    action_space: Any = spaces.Discrete(2)
    last = 10

    def seen(self) -> Any:
        return np.array([self.at, 0], np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.at = 0
        return self.seen(), {}

    def step(self, action: Any) -> Any:
        self.at += 1
        return self.seen(), 1.0, self.at >= self.last, False, {}


class RaisesInReset(Counter):
    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        raise OSError("no screen")


class RaisesInStep(Counter):
    def step(self, action: Any) -> Any:
        return super().step(action) if self.at < 3 else 1 / 0


class ShowsNaN(Counter):
    def seen(self) -> Any:
        return np.array([np.nan if self.at == 2 else 0, 0], np.float32)


class ShowsMore(Counter):
    def seen(self) -> Any:
        return np.zeros(2 if self.at < 2 else 3, np.float32)


class ShowsWords(Counter):
    def seen(self) -> Any:
        return "left"


class PaysNaN(Counter):
    def step(self, action: Any) -> Any:
        seen, _, ended, cut, info = super().step(action)
        return seen, float("nan"), ended, cut, info


class PaysWords(Counter):
    def step(self, action: Any) -> Any:
        seen, _, ended, cut, info = super().step(action)
        return seen, "much", ended, cut, info


class OldStep(Counter):
    def step(self, action: Any) -> Any:
        return super().step(action)[:4]


class OldReset(Counter):
    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        return super().reset(seed=seed)[0]


class Outside(Counter):
    observation_space = spaces.Discrete(3)

    def seen(self) -> Any:
        return self.at * 2


class Raised(Counter):
    def __init__(self) -> None:
        raise ValueError("no licence")


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (Raised, "Raised could not be made: ValueError: no licence"),
        (RaisesInReset, "RaisesInReset could not begin: OSError: no screen"),
        (RaisesInStep, "RaisesInStep could not go on: ZeroDivisionError"),
        (ShowsNaN, "ShowsNaN: an observation holds NaN"),
        (ShowsMore, r"ShowsMore: an observation of shape \(3,\) came; its space says \(2,\)"),
        (ShowsWords, "ShowsWords: an observation cannot be read"),
        (PaysNaN, "PaysNaN: the reward was nan in step 1"),
        (PaysWords, "PaysWords: the reward 'much' is no number"),
        (OldStep, "OldStep: step gave 4; expected"),
        (OldReset, "OldReset: reset gave ndarray; expected"),
        (Outside, "Outside: the observation 4 came; expected a whole number from 0 to 2"),
    ],
)
def test_what_goes_wrong_is_said_in_one_sentence(kind: type, words: str):
    def run() -> None:
        lanes = make(kind, 3)
        lanes.reset(0)
        for _ in range(12):
            lanes.step(np.zeros(3, dtype=np.int64))

    with pytest.raises(EnvironmentFault, match=words) as told:
        run()
    assert "\n" not in str(told.value)


class Endless(Counter):
    last = 10**9


def test_an_environment_that_never_ends_is_cut():
    lanes = make(Endless, 1)
    assert lanes.limit == MOST
    returns, lengths = play(lanes, Always(0), 1)
    assert returns.tolist() == [MOST] and lengths.tolist() == [MOST]
    lanes = make(Endless, 2, limit=5)
    lanes.reset(0)
    for _ in range(4):
        assert not lanes.step(np.zeros(2, dtype=np.int64)).cut.any()
    moved = lanes.step(np.zeros(2, dtype=np.int64))
    assert moved.cut.all() and not moved.ended.any() and moved.last[:, 0].tolist() == [5, 5]
    assert moved.seen[:, 0].tolist() == [0, 0]


class Always:
    """A policy of one action."""

    def __init__(self, action: Any):
        self.action = action

    def choose(self, rows: np.ndarray, rng: Any, temperature: float, allowed: Any = None) -> np.ndarray:
        return np.stack([np.asarray(self.action)] * len(rows))


class Strange(Counter):
    """Sees and does what its spaces say, and remembers what it was told to do."""

    def __init__(self, sees: Any, does: Any):
        self.observation_space, self.action_space, self.told = sees, does, []

    def seen(self) -> Any:
        return self.observation_space.sample()

    def step(self, action: Any) -> Any:
        assert self.action_space.contains(action), action
        self.told.append(action)
        return super().step(action)


BOX = spaces.Box(-1.0, 1.0, (2, 3))


@pytest.mark.parametrize(
    ("sees", "shape"),
    [
        (spaces.Dict({"a": BOX, "b": spaces.Discrete(4)}), (10,)),
        (spaces.Tuple((spaces.Discrete(2), spaces.MultiBinary(3))), (5,)),
        (spaces.MultiDiscrete([2, 3]), (5,)),
        (spaces.Discrete(5, start=-2), ()),
        (spaces.Box(0, 255, (4, 4, 3), np.uint8), (4, 4, 3)),
        (spaces.Box(-np.inf, np.inf, (3,), np.float64), (3,)),
    ],
)
def test_what_others_see(sees: Any, shape: tuple[int, ...]):
    lanes = make(lambda: Strange(sees, spaces.Discrete(2)), 4)
    seen = lanes.reset(0)
    assert seen.shape == (4, *shape) == (4, *lanes.observation.shape)
    lanes.observation.batch(lanes.step(np.ones(4, dtype=np.int64)).seen)


@pytest.mark.parametrize(
    ("does", "action", "native"),
    [
        (spaces.Discrete(3, start=5), 1, 6),
        (spaces.MultiDiscrete([2, 3]), 4, [1, 1]),
        (spaces.MultiBinary(3), 5, [1, 0, 1]),
        (spaces.Box(-1.0, 1.0, (2,), np.float64), [0.5, -1.0], [0.5, -1.0]),
    ],
)
def test_what_others_do(does: Any, action: Any, native: Any):
    made: list[Strange] = []

    def build() -> Strange:
        made.append(Strange(BOX, does))
        return made[-1]

    lanes = make(build, 2)
    lanes.reset(0)
    lanes.step(np.stack([np.asarray(action)] * 2))
    assert np.asarray(made[-1].told[0]).tolist() == native


@pytest.mark.parametrize(
    ("sees", "does", "words"),
    [
        (BOX, spaces.Dict({"a": spaces.Discrete(2)}), "wants actions from"),
        (BOX, spaces.MultiDiscrete([100, 100]), "wants actions from"),
        (BOX, spaces.Box(0, 9, (1,), np.int64), "wants actions from"),
        (spaces.Sequence(BOX), spaces.Discrete(2), "expected numbers"),
    ],
)
def test_spaces_that_nobody_can_learn_in(sees: Any, does: Any, words: str):
    with pytest.raises(CapabilityError, match=words):
        make(lambda: Strange(sees, does), 1)


# --- where environments come from ---

FILE = """
import gymnasium as gym
import numpy as np

class {name}(gym.Env):
    observation_space, action_space = gym.spaces.Discrete(3), gym.spaces.Discrete(2)
    def reset(self, *, seed=None, options=None):
        return 0, {{}}
    def step(self, action):
        return 1, float(action), True, False, {{}}
"""


def test_a_file_with_one_class(tmp_path: Path):
    file = tmp_path / "hall.py"
    file.write_text(FILE.format(name="Hall"))
    for given in (file, str(file)):
        assert environments.is_environment(given)
        lanes = make(given, 2)
        assert (lanes.name, lanes.observation.n) == ("hall", 3)
        assert play(lanes, Always(1), 4)[0].tolist() == [1.0] * 4


def test_a_file_that_registers(tmp_path: Path):
    file = tmp_path / "rooms.py"
    register = "\ngym.register('{0}', entry_point={1}, max_episode_steps=7)\n"
    file.write_text(FILE.format(name="Room") + register.format("R1Room-v0", "Room"))
    try:
        lanes = make(str(file), 1)
        assert (lanes.name, lanes.limit) == ("R1Room-v0", 7)
        assert make(f"{file}:R1Room-v0", 1).name == "R1Room-v0"
        again = make(str(file), 2)  # a fit makes it several times
        assert (again.name, again.limit) == ("R1Room-v0", 7)
        file.write_text(file.read_text() + register.format("R1Hall-v0", "Room") + register.format("R1Attic-v0", "Room"))
        with pytest.raises(
            ParameterError, match=r"registers R1Attic-v0, R1Hall-v0, R1Room-v0: say which one, as .*:R1Attic-v0"
        ):
            make(str(file), 1)
        assert make(f"{file}:R1Hall-v0", 1).name == "R1Hall-v0"
        with pytest.raises(ParameterError, match="no environment 'R1Cellar-v0'"):
            make(f"{file}:R1Cellar-v0", 1)
    finally:
        for name in [n for n in gym.registry if n.startswith("R1")]:
            del gym.registry[name]


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("x = 1", ParameterError, "defines 0 classes of that kind; expected exactly one"),
        (FILE.format(name="A") + FILE.format(name="B"), ParameterError, "defines 2 classes"),
        ("def f(:", EnvironmentFault, "cannot be run: SyntaxError"),
        ("import a_package_that_is_not_there", EnvironmentFault, "cannot be run: ModuleNotFoundError"),
    ],
)
def test_files_that_hold_no_environment(tmp_path: Path, text: str, error: type, words: str):
    file = tmp_path / "wrong.py"
    file.write_text(text)
    with pytest.raises(error, match=words):
        make(str(file))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("CartPol-v1", "Did you mean CartPole"),
        ("CartPole-v7", "CartPole-v1"),
        ("Nonsense-v0", "no environment 'Nonsense-v0'"),
        ("missing.py", "no file missing.py"),
        ("missing.py:A-v0", "no file missing.py"),
        (3.5, "float is no environment"),
        (None, "NoneType is no environment"),
    ],
)
def test_what_is_no_environment(given: Any, words: str):
    with pytest.raises(EverymodelError, match=words):
        make(given)


def test_an_object_is_made_again_by_its_registration():
    lanes = make(gym.make("FrozenLake-v1", is_slippery=False), 2)
    assert isinstance(lanes, GymLanes) and lanes.limit == 100
    lanes.reset(0)
    assert lanes.step(np.array([1, 2])).seen.tolist() == [4, 1]
    with pytest.raises(ParameterError, match="not registered"):
        make(Counter())


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("CartPole-v1", True),
        ("ALE/Pong-v5", True),
        ("Whatever-v12", True),
        ("houses.csv", False),
        ("data-v2.csv", False),
        ("no such text", False),
        (np.zeros((3, 2)), False),
        (Counter(), True),
        (Counter, True),
        (Path("houses.csv"), False),
        (None, False),
    ],
)
def test_is_environment(given: Any, told: bool):
    assert environments.is_environment(given) is told


def test_a_state_of_others_goes_on_as_the_original():
    class Drawn(Counter):
        def seen(self) -> Any:
            return self.np_random.uniform(-1, 1, 2).astype(np.float32)

    lanes, rng = make(Drawn, 3), np.random.default_rng(0)
    first = lanes.reset(4)
    actions = [rng.integers(0, 2, 3) for _ in range(30)]
    for action in actions[:14]:
        lanes.step(action)
    other = lanes.alike(3)
    other.restore(lanes.state())
    for action in actions[14:]:
        for a, b in zip(lanes.step(action), other.step(action), strict=True):
            np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(lanes.alike(3).reset(4), first)
    assert len(np.unique(first)) == 6  # no two lanes alike


def test_pictures_are_played_again_up_to_where_it_is():
    class Drawn(Counter):
        def __init__(self, render_mode: str | None = None):
            self.render_mode = render_mode

        def render(self) -> Any:
            return np.full((4, 5, 3), self.at * 10, np.uint8)

    lanes = make(Drawn, 2)
    lanes.reset(0)
    for step in (0, 1, 2):
        assert lanes.picture(0).max() == step * 10
        lanes.step(np.zeros(2, dtype=np.int64))
    blind = make(Counter, 1)
    blind.reset(0)
    with pytest.raises(CapabilityError, match=r"cannot be drawn|draws no pictures"):
        blind.picture()
