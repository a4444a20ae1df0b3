"""Soft actor-critic: real-numbered actions that pay, drawn with as much chance as the task allows."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from everymodel.core.errors import CapabilityError
from everymodel.models.reinforcement._base import Trial, fit
from everymodel.models.reinforcement._network import NetworkAgent, Seen
from everymodel.models.reinforcement._picture import Picture
from everymodel.models.reinforcement._replay import Drawn, Replay, Replaying, Scaled, entrance, follower
from everymodel.scoring.spaces import Space
from everymodel.scoring.steps.acting import NetworkPolicy
from everymodel.scoring.steps.base import Step
from everymodel.training.blocks.feed import MemberLinear
from everymodel.training.blocks.written import written
from everymodel.training.optimizers import Optimizer

__all__ = ["CARD", "SAC", "fit", "pack"]

CARD = {
    "name": "sac",
    "title": "Soft actor-critic",
    "summary": "Learns real-numbered actions from what it did long ago as well as now, keeping as much chance as pays.",
    "choose": "Environments whose actions are real numbers between bounds; few steps are needed.",
    "avoid": "Choices: DQN or PPO. Actions without bounds, and environments that are very quick to step: PPO.",
    "gives": ["actions"],
    "needs": {"package": "torch", "inputs": "environment"},
    "cost": {"scale": 0.0005, "rows_power": 1.0, "columns_power": 0.1},
    "references": [
        "Haarnoja et al. (2018), Soft actor-critic algorithms and applications.",
        "Fujimoto, van Hoof and Meger (2018), Addressing function approximation error in actor-critic methods.",
        "Bhatt et al. (2024), CrossQ: batch normalization in deep reinforcement learning.",
    ],
    "advice": ["slow"],
    "parameters": {
        "steps": {"default": None, "text": "Steps of the environment; none: 120,000, or as many as the budget allows."},
        "lanes": {"default": 8},
        "updates": {},
        "batch_size": {"default": 128},
        "learning_rate": {"default": 0.001},
        "discount": {},
        "ahead": {"default": 3},
        "memory": {"default": 200000},
        "first": {},
        "target_rate": {"default": 0.05},
        "delay": {"type": "int", "default": 2, "low": 1, "high": 100, "text": "Critics' updates to one of the actor."},
        "width": {"type": "int", "default": 64, "low": 2, "high": 8192, "log": True, "text": "Units of a layer."},
        "depth": {"type": "int", "default": 2, "low": 1, "high": 16, "text": "Hidden layers of each network."},
        "filters": {},
    },
    "tiny": [{"steps": 600, "lanes": 4, "first": 100, "batch_size": 32, "memory": 1000, "width": 8, "random_state": 0}],
    "presets": [{}],
    "priority": 1,
    "classes": {"agent": {"class": "everymodel.models.reinforcement.sac:SAC", "tasks": ["act"]}},
}  # fmt: skip

_TURNS = 64  # steps of all lanes to an epoch
_LOWEST, _HIGHEST = -20.0, 2.0  # log deviations, as `NetworkPolicy` cuts them
_BEGIN = 0.2  # temperature at the start, in sizes of a reward


class SAC(NetworkAgent):
    """Soft actor-critic: two critics, a squashed normal policy, a temperature that is learnt.

        L_Q = E (r + g (min Q'(s', a') - t log pi(a' | s')) - Q(s, a))^2,    L_pi = E (t log pi(a | s) - min Q(s, a))

    a = tanh(u), u normal by the actor; the temperature t moves so that the entropy of pi is minus the number of action
    dimensions. Both critics are one network with a leading axis; Q' are averages of their weights. Rewards are scaled
    by their mean size at the start.

    Parameters
    ----------
    steps : of the environment; None: 120,000, or as many as the budget allows.
    lanes, updates, batch_size : copies of the environment; after each step of all of them, so many updates.
    learning_rate, discount : of Adam; g above.
    ahead : steps of the return before Q' counts.
    memory, first : steps remembered, and steps at random before learning begins.
    target_rate, delay : how fast Q' follows Q; updates of the critics to one of the actor.
    width, depth : of the networks. filters : of the first convolution, where images are seen.
    budget, checkpoint, random_state, verbose : as for all networks.

    Attributes
    ----------
    step_, environment_, curve_, steps_, stopped_, history_

    Examples
    --------
    >>> agent = SAC(steps=2000, random_state=0).fit("Pendulum-v1")
    >>> agent.act([1.0, 0.0, 0.0]).shape
    (1,)
    """

    kinds = ("continuous",)

    def __init__(
        self,
        steps: int | None = None,
        lanes: int = 8,
        updates: int = 1,
        batch_size: int = 128,
        learning_rate: float = 0.001,
        discount: float = 0.99,
        ahead: int = 3,
        memory: int = 200_000,
        first: int = 1000,
        target_rate: float = 0.05,
        delay: int = 2,
        width: int = 64,
        depth: int = 2,
        filters: int = 16,
        budget: float | str | None = None,
        checkpoint: str | None = None,
        random_state: int | None = None,
        verbose: int = 0,
    ):
        self.steps = steps
        self.lanes = lanes
        self.updates = updates
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.discount = discount
        self.ahead = ahead
        self.memory = memory
        self.first = first
        self.target_rate = target_rate
        self.delay = delay
        self.width = width
        self.depth = depth
        self.filters = filters
        self.budget = budget
        self.checkpoint = checkpoint
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, env: Any, until: float | str | None = "auto") -> SAC:
        """Learn in an environment until its mean return is `until`, or the steps or the budget end.

        Parameters
        ----------
        env : see `everymodel.environments.make`.
        until : mean return over 100 episodes; "auto": the environment's own threshold where it has one; None: none.
        """
        lanes = self._enter(env, self.lanes)
        if not lanes.action.bounded:
            raise CapabilityError(f"SAC needs bounds of the actions; {lanes.name} has none. PPO needs none.")
        seen, d = Seen(lanes.observation), lanes.action.width
        with self._initial():
            actor = Actor(entrance(seen.space, self.filters), self.width, self.depth, lanes.action)
            critics = Critics(entrance(seen.space, self.filters), d, self.width, self.depth)
            targets = Critics(entrance(seen.space, self.filters), d, self.width, self.depth)
        replay = Replay(
            lanes, seen, actor, size=self.memory, batch=self.batch_size, ahead=self.ahead, discount=self.discount,
            first=self.first, turns=_TURNS, updates=self.updates, seed=self.seed_,
        )  # fmt: skip
        trial = Trial(env, until, self.seed_, replay.curve)
        heat = Temperature(_BEGIN * (1.0 - self.discount) if self.discount < 1 else _BEGIN)
        learning = Soft(replay, trial, actor, critics, targets, heat, self.target_rate, self.delay)
        self._learn(
            learning, steps=self.steps, per_epoch=_TURNS * lanes.n, usual=120_000,
            optimizers=Optimizer("adam", self.learning_rate),
            schedule="flat_cosine" if self.steps or self.budget is None else "constant",
        )  # fmt: skip
        self.step_ = learning.actor()
        lanes.close()
        return self


class Actor(nn.Module):
    """Means and log deviations of normal draws whose tanh is the action, in units of its bounds."""

    strayed = None

    def __init__(self, first: Scaled | Picture, width: int, depth: int, does: Space):
        super().__init__()
        self.does, d = does, does.width
        self.low, high = (side.reshape(-1) for side in does.bounds())
        self.reach = 0.5 * (high - self.low)
        layers: list[nn.Module] = [first]
        for i in range(depth):
            layers += [nn.Linear(first.width if i == 0 else width, width), nn.ReLU()]
        self.body = nn.Sequential(*layers, nn.Linear(width, 2 * d))
        with torch.no_grad():
            self.body[-1].weight.mul_(0.1)
            self.body[-1].bias.zero_()

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(actions (b, d) as drawn, in (-1, 1), their log densities (b,))."""
        mean, log = self.body(x).chunk(2, dim=1)
        log = log.clamp(_LOWEST, _HIGHEST)
        noise = torch.randn_like(mean)
        u = mean + log.exp() * noise
        # log(1 - tanh(u)^2) = 2 (log 2 - u - softplus(-2 u)), which stays finite.
        bent = 2.0 * (math.log(2.0) - u - F.softplus(-2.0 * u))
        each = -0.5 * noise.square() - log - bent
        return u.tanh(), each.sum(dim=1) - 0.5 * math.log(2 * math.pi) * mean.shape[1]

    def act(
        self, rows: np.ndarray, rng: np.random.Generator, allowed: np.ndarray | None, blind: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        shape = (len(rows), self.does.width)
        if blind:
            drawn = rng.uniform(-1.0, 1.0, shape)
        else:
            with torch.no_grad():
                made = self.body(torch.from_numpy(rows)).numpy()
            spread = np.exp(np.clip(made[:, shape[1] :], _LOWEST, _HIGHEST))
            drawn = np.tanh(made[:, : shape[1]] + spread * rng.standard_normal(shape))
        native = self.low + (drawn + 1.0) * self.reach
        return drawn, native.reshape(len(rows), *self.does.shape).astype(np.float32)

    def state(self) -> list[Any]:
        return []

    def restore(self, told: Any) -> None:
        """Nothing but weights is kept here."""


class Critics(nn.Module):
    """Two critics side by side: (b, p), (b, d) -> (2, b)."""

    def __init__(self, first: Scaled | Picture, d: int, width: int, depth: int):
        super().__init__()
        self.first = first
        self.layers = nn.ModuleList(MemberLinear(2, first.width + d if i == 0 else width, width) for i in range(depth))
        self.last = MemberLinear(2, width, 1)
        self.width = [width]

    def forward(self, x: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        made = torch.cat([self.first(x), actions], dim=1)
        made = made.expand(2, *made.shape)
        for layer in self.layers:
            made = F.relu(F.layer_norm(layer(made), self.width))  # (2, b, width)
        return self.last(made)[..., 0]


class Temperature(nn.Module):
    """What entropy is worth."""

    def __init__(self, begin: float):
        super().__init__()
        self.log = nn.Parameter(torch.tensor(math.log(begin)))


class Soft(Replaying):
    """The critics' losses, then the actor's against what they have become, then the temperature's."""

    def __init__(
        self,
        replay: Replay,
        trial: Trial,
        actor: Actor,
        critics: Critics,
        targets: Critics,
        heat: Temperature,
        rate: float,
        delay: int,
    ):
        targets.load_state_dict(critics.state_dict())
        super().__init__(replay, trial, actor=actor, critics=critics, targets=targets.requires_grad_(False), heat=heat)
        self.rate, self.delay, self.count, self.follow = rate, delay, 0, follower(targets, critics)
        self.wanted = -float(replay.lanes.action.width)  # entropy

    def weights(self) -> Any:
        return {name: [self.nets[name]] for name in ("critics", "actor", "heat")}

    def step(self, nets: Any, batch: Drawn) -> Iterator[tuple[str, torch.Tensor]]:
        warm = nets["heat"].log.exp()
        with torch.no_grad():
            then, log = nets["actor"](batch.after)
            worth = nets["targets"](batch.after, then).amin(dim=0) - warm * log
            wanted = batch.reward + batch.keep * worth
        gap = nets["critics"](batch.seen, batch.action) - wanted
        yield "critics", gap.square().sum(dim=0).mean()
        self.count += 1
        if self.count % self.delay:
            return
        chosen, log = nets["actor"](batch.seen)
        worth = nets["critics"](batch.seen, chosen).amin(dim=0)
        yield "actor", (warm.detach() * log - worth).mean()
        yield "heat", -nets["heat"].log * (log.detach().mean() + self.wanted)

    def scale(self, seen: Seen) -> None:
        body = self.nets["actor"].body
        body[0].follow(seen, body[1].weight.T, body[1].bias)
        for critics in (self.nets["critics"], self.nets["targets"]):
            dense = critics.layers[0]
            critics.first.follow(seen, dense.weight, dense.bias)

    def after_step(self, step: int) -> None:
        self.follow(self.rate)

    def state(self) -> dict[str, Any]:
        return {**super().state(), "count": self.count}

    def restore(self, state: dict[str, Any]) -> None:
        super().restore(state)
        self.count = int(state["count"])

    def actor(self) -> NetworkPolicy:
        replay = self.experience
        layers = written(self.nets["actor"].body)
        return NetworkPolicy(replay.seen.space.to_dict(), replay.lanes.action.to_dict(), layers, "gaussian", "tanh")


def pack(model: Any, n_classes: int | None = None) -> Step:
    """The numpy step that acts."""
    return model._step()
