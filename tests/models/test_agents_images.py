"""Agents that are shown images: small convolutions learn from bytes, and numpy answers as torch does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import everymodel as em
from everymodel import environments
from everymodel.core.errors import DataError, EverymodelError, ModelFileError
from everymodel.environments.lanes import EnvironmentFault
from everymodel.models.reinforcement import _replay
from everymodel.models.reinforcement._network import Seen
from everymodel.models.reinforcement._picture import Picture
from everymodel.models.reinforcement.dqn import DQN
from everymodel.models.reinforcement.ppo import PPO, Policy, network_policy
from everymodel.models.reinforcement.sac import SAC
from everymodel.scoring.model import open_bytes
from everymodel.scoring.spaces import Space, box
from everymodel.scoring.steps.acting import NetworkPolicy
from everymodel.training.blocks.written import written
from everymodel.workflow.wrap import wrap

gym = pytest.importorskip("gymnasium")
SIDE = 10


class Catch(gym.Env):
    """A ball falls, and a paddle of three points below goes left, stays, or goes right; 1 for a catch, else -1."""

    observation_space: Any = gym.spaces.Box(0, 255, (SIDE, SIDE), np.uint8)
    action_space: Any = gym.spaces.Discrete(3)

    def seen(self) -> np.ndarray:
        made = np.zeros((SIDE, SIDE), np.uint8)
        made[-1, self.at - 1 : self.at + 2] = 128
        made[self.row, self.column] = 255
        return made

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.row, self.column = 0, int(self.np_random.integers(SIDE))
        self.at = int(self.np_random.integers(1, SIDE - 1))
        return self.seen(), {}

    def step(self, action: Any) -> Any:
        self.at = min(max(self.at + int(action) - 1, 1), SIDE - 2)
        self.row += 1
        over = self.row == SIDE - 1
        reward = 0.0 if not over else 1.0 if abs(self.column - self.at) <= 1 else -1.0
        return self.seen(), reward, over, False, {}


class Stacked(Catch):
    """The last three frames, the first axis, as Gymnasium stacks them."""

    observation_space: Any = gym.spaces.Box(0, 255, (3, SIDE, SIDE), np.uint8)

    def seen(self) -> np.ndarray:
        made = super().seen()
        self.frames = [made] * 3 if self.row == 0 else [*self.frames[1:], made]
        return np.stack(self.frames)


class Push(Catch):
    """A real number pushes the paddle."""

    action_space: Any = gym.spaces.Box(-1.0, 1.0, (1,), np.float32)

    def step(self, action: Any) -> Any:
        return super().step(int(np.round(action[0])) + 1)


SMALL: dict[str, Any] = {"lanes": 4, "horizon": 16, "batch_size": 32, "passes": 2, "width": 8, "filters": 4,
                         "random_state": 3}  # fmt: skip


@pytest.fixture(scope="module")
def player() -> PPO:
    return PPO(steps=40_000, random_state=0).fit(Catch, until=0.8)


def test_images_are_answered_over_rest(player: PPO) -> None:
    pytest.importorskip("httpx")
    from starlette.testclient import TestClient

    from everymodel.interfaces.server.app import Limits, make_app

    client = TestClient(make_app(wrap(player, None), Limits()))
    seen = environments.make(Catch, 3).reset(1)
    one = client.post("/v1/act", json={"observation": seen[0].tolist()})
    assert one.status_code == 200 and one.json() == {"action": player.act(seen[0])}
    many = client.post("/v1/act", json={"observation": seen.tolist()})
    assert many.json() == {"actions": player.act(seen).tolist()}
    for wrong in ((seen[0] / 255).tolist(), seen[0][:9].tolist()):
        refused = client.post("/v1/act", json={"observation": wrong})
        assert refused.status_code == 422
        assert "images of 10 x 10 points" in refused.text or "no byte" in refused.text
    assert "images of 10 x 10 points" in client.get("/openapi.json").text


def random_images(space: Space, n: int) -> np.ndarray:
    rng = np.random.default_rng(1)
    return np.stack([space.example(rng) for _ in range(n)])


def test_ppo_learns_to_catch_from_the_image_and_the_file_plays_alike(player: PPO) -> None:
    assert player.stopped_ == "until"
    assert player.evaluate(50, seed=7)["mean"] >= 0.7
    opened = open_bytes(wrap(player, None).to_bytes())
    lanes = environments.make(Catch, 20)
    seen = lanes.reset(3)
    assert seen.dtype == np.uint8
    assert np.array_equal(opened.act(seen), player.act(seen))  # type: ignore[attr-defined]
    one = opened.act(seen[0].tolist())  # type: ignore[attr-defined]  # as over REST
    assert one == player.act(seen[0])
    space = opened.observation_space  # type: ignore[attr-defined]
    assert space.image and str(space) == "images of 10 x 10 points, bytes"


@pytest.mark.parametrize(
    ("shape", "form", "large"),
    [
        ((10, 10), (10, 10, 1), 255),
        ((3, 8, 12), (8, 12, 3), 255),
        ((9, 13, 2), (9, 13, 2), 1),
        ((50, 40), (50, 40, 1), 255),
    ],
)
def test_numpy_answers_as_torch_does(shape: tuple[int, ...], form: tuple[int, ...], large: int) -> None:
    space = box(0, large, shape, image=True)
    assert space.form == form
    torch.manual_seed(0)
    policy = Policy(space, Space(5), 16, 2, 6)
    with torch.no_grad():
        for p in policy.parameters():
            p.add_(0.1 * torch.randn_like(p))
    seen = Seen(space)
    rows = random_images(space, 7)
    assert rows.dtype == np.uint8 and rows.max() == large
    step = network_policy(policy, seen, "categorical", None)
    told = policy.body(torch.from_numpy(np.ascontiguousarray(seen(rows)))).detach().numpy()
    assert np.allclose(step.outputs(rows), told, rtol=1e-5, atol=1e-5)
    assert np.abs(told - told[0]).max() > 1e-3, "the answers depend on the image"
    packed = NetworkPolicy.build(*step.spec())
    packed.check()
    assert np.array_equal(packed.outputs(rows), step.outputs(rows))


@pytest.mark.parametrize("shape", [(3, 8, 12), (3, 8, 12, 2)])
def test_stacked_frames_are_channels(shape: tuple[int, ...]) -> None:
    space = Space(shape=shape, low=(0.0,), high=(255.0,), image=True)
    rows = random_images(space, 2)
    seen = space.pixels(rows)
    assert seen.shape == (2, 8, 12, 3 * shape[3] if len(shape) == 4 else 3)
    assert np.array_equal(seen[1, :, :, -1], rows[1, 2, :, :, 1] if len(shape) == 4 else rows[1, 2])
    net, flat = Picture(space, 4), torch.from_numpy(np.ascontiguousarray(seen))
    assert net(flat).shape == (2, net.width)
    assert np.allclose(written(net)(seen), net(flat).detach().numpy(), atol=1e-5)


def test_an_agent_learns_from_stacked_frames() -> None:
    lanes = environments.make(Stacked, 2)
    assert lanes.observation.form == (10, 10, 3) and "10 x 10 points in 3 channels" in str(lanes.observation)
    assert any("in 3 channels" in told for _, told in em.look(Stacked).words())  # type: ignore[attr-defined]
    agent = PPO(**SMALL, steps=64).fit(Stacked, until=None)
    assert agent.act(lanes.reset(0)).shape == (2,)


def test_real_numbers_are_chosen_by_images_too() -> None:
    agent = PPO(**SMALL, steps=64).fit(Push, until=None)
    lanes = environments.make(Push, 3)
    seen = lanes.reset(0)
    made = agent.act(seen)
    assert made.shape == (3, 1) and np.abs(made).max() <= 1
    other = SAC(steps=400, lanes=4, first=100, batch_size=16, memory=1000, width=8, filters=4, random_state=0)
    other.fit(Push, until=None)
    opened = open_bytes(wrap(other, None).to_bytes())
    assert np.array_equal(opened.act(seen), other.act(seen))  # type: ignore[attr-defined]


def test_dqn_learns_to_catch_and_remembers_bytes() -> None:
    agent = DQN(steps=16_000, lanes=16, updates=1, batch_size=64, ahead=5, discount=0.95, memory=20_000, width=32,
                filters=8, first=500, random_state=0)  # fmt: skip
    agent.fit(Catch, until=0.5)
    assert agent.evaluate(50, seed=7)["mean"] > 0.3, "chance gets -0.4"
    seen = environments.make(Catch, 20).reset(3)
    opened = open_bytes(wrap(agent, None).to_bytes())
    assert np.array_equal(opened.act(seen), agent.act(seen))  # type: ignore[attr-defined]


def test_images_that_would_fill_the_memory_are_fewer_and_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_replay, "_BYTES", 80_000)  # of steps of 100 bytes before and 100 after
    held: list[Any] = []
    make = _replay.Replay.__init__

    def watched(self: Any, *given: Any, **named: Any) -> None:
        make(self, *given, **named)
        held.append(self)

    monkeypatch.setattr(_replay.Replay, "__init__", watched)
    small = {"steps": 512, "lanes": 4, "first": 100, "batch_size": 16, "memory": 1000, "width": 8, "filters": 4}
    agent = DQN(**small, random_state=0).fit(Catch, until=None)
    assert [note for note in agent.history_.notes if "the last 400 are remembered" in note]
    arrays = held[0].held
    assert arrays["seen"].dtype == arrays["after"].dtype == np.uint8 and arrays["seen"].shape == (100, 4, 10, 10)
    assert agent.steps_ == 512


def test_what_is_no_image_is_said(player: PPO) -> None:
    with pytest.raises(DataError, match="no byte; expected whole numbers from 0 to 255"):
        player.act(np.full((SIDE, SIDE), 0.5))
    with pytest.raises(DataError, match="no byte"):
        player.act(np.full((SIDE, SIDE), 256))
    with pytest.raises(DataError, match="shape \\(9, 10\\) came; expected images of 10 x 10 points"):
        player.act(np.zeros((9, 10), np.uint8))
    with pytest.raises(EverymodelError, match="numbers"):  # numbers between 0 and 1 are no bytes

        class Floats(Catch):
            observation_space = gym.spaces.Box(0, 255, (SIDE, SIDE), np.float32)

        player.evaluate(2, env=Floats)

    class Wrong(Catch):
        def seen(self) -> Any:
            return super().seen() / 255

    with pytest.raises(EnvironmentFault, match=r"cannot be read .*no byte"):
        environments.make(Wrong, 1).reset(0)
    told = box(0, 255, (10, 10), image=True).to_dict()
    assert Space.from_dict(told).image
    for bad in ({"shape": [10, 4]}, {"high": [300.0]}, {"low": [None]}, {"image": 1}, {"shape": [10]}):
        with pytest.raises(ModelFileError):
            Space.from_dict({**told, **bad})
    small = environments.make(
        type("Tiny", (Catch,), {"observation_space": gym.spaces.Box(0, 255, (128,), np.uint8)}), 1
    )
    assert not small.observation.image, "bytes that are no image are numbers"
