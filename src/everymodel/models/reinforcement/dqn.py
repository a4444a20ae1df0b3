"""Deep Q-learning: what each choice is worth, learnt from what was done long ago as well as now."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from everymodel.models.reinforcement._base import Trial, fit
from everymodel.models.reinforcement._network import NetworkAgent, Seen
from everymodel.models.reinforcement._picture import Picture
from everymodel.models.reinforcement._replay import Drawn, Replay, Replaying, Scaled, entrance, follower
from everymodel.scoring.layers import feed
from everymodel.scoring.layers.base import Layer
from everymodel.scoring.steps.acting import NetworkPolicy
from everymodel.scoring.steps.base import Step
from everymodel.training.blocks.written import array, written
from everymodel.training.optimizers import Optimizer

__all__ = ["CARD", "DQN", "fit", "pack"]

CARD = {
    "name": "dqn",
    "title": "Deep Q-learning",
    "summary": "Learns what each choice is worth, from what it did long ago as well as now, and takes the best.",
    "choose": "Environments with choices whose steps are dear, or whose rewards are rare; images or numbers shown.",
    "avoid": "Actions that are real numbers: SAC or PPO. Environments that are quick to step: PPO is sooner there.",
    "gives": ["actions"],
    "needs": {"package": "torch", "inputs": "environment"},
    "cost": {"scale": 0.0003, "rows_power": 1.0, "columns_power": 0.1},
    "references": [
        "Mnih et al. (2015), Human-level control through deep reinforcement learning.",
        "Hessel et al. (2018), Rainbow: combining improvements in deep reinforcement learning.",
        "Horgan et al. (2018), Distributed prioritized experience replay.",
        "Dabney, Ostrovski and Barreto (2021), Temporally-extended epsilon-greedy exploration.",
    ],
    "advice": ["slow"],
    "parameters": {
        "steps": {"default": None, "text": "Steps of the environment; none: 200,000, or as many as the budget allows."},
        "lanes": {"default": 16},
        "updates": {"default": 2},
        "batch_size": {"default": 256},
        "learning_rate": {"default": 0.001},
        "discount": {},
        "ahead": {"default": 10},
        "memory": {"default": 100000},
        "first": {},
        "exploration": {"type": "float", "default": 0.4, "low": 0.0, "high": 1.0, "text": "Random choices, at most."},
        "target_rate": {"default": 0.05},
        "double": {"type": "bool", "default": True, "text": "One network chooses, the other says what that is worth."},
        "duel": {"type": "bool", "default": True, "text": "Values of states apart from what choices add to them."},
        "gap": {"type": "float", "default": 0.0, "low": 0.0, "high": 0.99, "text": "Pushes near choices apart."},
        "priority": {"type": "float", "default": 0.0, "low": 0.0, "high": 1.0, "text": "Draw large errors more often."},
        "width": {"type": "int", "default": 64, "low": 2, "high": 8192, "log": True, "text": "Units of a layer."},
        "depth": {"type": "int", "default": 2, "low": 1, "high": 16, "text": "Hidden layers."},
        "filters": {},
    },
    "tiny": [{"steps": 600, "lanes": 4, "first": 100, "batch_size": 32, "memory": 1000, "width": 8, "random_state": 0},
             {"steps": 400, "lanes": 4, "first": 100, "batch_size": 32, "memory": 1000, "width": 8, "priority": 0.6,
              "double": False, "duel": False, "random_state": 0}],
    "presets": [{}],
    "priority": 2,
    "classes": {"agent": {"class": "everymodel.models.reinforcement.dqn:DQN", "tasks": ["act"]}},
}  # fmt: skip

_TURNS = 64  # steps of all lanes to an epoch
_LADDER = 7.0  # of the lanes' exploration: from e to e^(1 + 7)
_MEAN = 0.02  # how fast the weights that answer follow those that learn
_TAIL, _LONGEST = 2.0, 64  # of how long a random choice is repeated


class DQN(NetworkAgent):
    """Deep Q-learning: double, duelling, n-step, prioritised by choice, with layers that are normalised.

        L = E (r_1 + g r_2 + ... + g^(n-1) r_n + g^n Q'(s_n, argmax_a Q(s_n, a)) - Q(s, a))^2

    Q' follows Q, and a slower average of its weights answers. Lanes explore each at a rate of its own, from bold to
    nearly not at all (Horgan et al. 2018), and a random choice is repeated for a while that is long now and then
    (Dabney et al. 2021), which finds rewards that single random steps do not reach. Rewards are scaled by their mean
    size at the start.

    Parameters
    ----------
    steps : of the environment; None: 200,000, or as many as the budget allows.
    lanes, updates, batch_size : copies of the environment; after each step of all of them, so many updates.
    learning_rate, discount : of Adam; g above.
    ahead : n above.
    memory, first : steps remembered, and steps at random before learning begins.
    exploration : share of random choices in the boldest lane.
    target_rate : how fast Q' follows Q.
    double : the choice in the target by Q, its value by Q'; else both by Q'.
    duel : the value of a state and what choices add to it are told apart.
    gap : a share of max Q'(s, .) - Q'(s, a) is taken off the target (advantage learning, Bellemare et al. 2016).
    priority : exponent of the error by which steps are drawn; 0 draws evenly.
    width, depth : of the network. filters : of the first convolution, where images are seen.
    budget, checkpoint, random_state, verbose : as for all networks.

    Attributes
    ----------
    step_, environment_, curve_, steps_, stopped_, history_

    Examples
    --------
    >>> agent = DQN(steps=3000, random_state=0).fit("CartPole-v1")
    >>> agent.act([0.0, 0.0, 0.05, 0.5]) in (0, 1)
    True
    """

    kinds = ("discrete",)

    def __init__(
        self,
        steps: int | None = None,
        lanes: int = 16,
        updates: int = 2,
        batch_size: int = 256,
        learning_rate: float = 0.001,
        discount: float = 0.99,
        ahead: int = 10,
        memory: int = 100_000,
        first: int = 1000,
        exploration: float = 0.4,
        target_rate: float = 0.05,
        double: bool = True,
        duel: bool = True,
        gap: float = 0.0,
        priority: float = 0.0,
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
        self.exploration = exploration
        self.target_rate = target_rate
        self.double = double
        self.duel = duel
        self.gap = gap
        self.priority = priority
        self.width = width
        self.depth = depth
        self.filters = filters
        self.budget = budget
        self.checkpoint = checkpoint
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, env: Any, until: float | str | None = "auto") -> DQN:
        """Learn in an environment until its mean return is `until`, or the steps or the budget end.

        Parameters
        ----------
        env : see `everymodel.environments.make`.
        until : mean return over 100 episodes; "auto": the environment's own threshold where it has one; None: none.
        """
        lanes = self._enter(env, self.lanes)
        seen = Seen(lanes.observation)
        with self._initial():
            net = values(entrance(seen.space, self.filters), self.width, self.depth, lanes.action.n, self.duel)
            target = values(entrance(seen.space, self.filters), self.width, self.depth, lanes.action.n, self.duel)
            mean = values(entrance(seen.space, self.filters), self.width, self.depth, lanes.action.n, self.duel)
        replay = Replay(
            lanes, seen, Bold(net, lanes.n, lanes.action.n, self.exploration), size=self.memory, batch=self.batch_size,
            ahead=self.ahead, discount=self.discount, first=self.first, turns=_TURNS, updates=self.updates,
            priority=self.priority, seed=self.seed_,
        )  # fmt: skip
        trial = Trial(env, until, self.seed_, replay.curve)
        learning = Bellman(replay, trial, net, target, mean, self.double, self.gap, self.target_rate)
        self._learn(
            learning, steps=self.steps, per_epoch=_TURNS * lanes.n, usual=200_000,
            optimizers=Optimizer("adam", self.learning_rate),
        )  # fmt: skip
        self.step_ = learning.actor()
        lanes.close()
        return self


class Duel(nn.Module):
    """The value of a state and what each choice adds to it (Wang et al. 2016), as one weighted sum: x (b, p) -> (b, A).

    What choices add has mean 0: a fixed matrix takes it away.
    """

    join: torch.Tensor

    def __init__(self, inputs: int, choices: int):
        super().__init__()
        self.heads = nn.Linear(inputs, choices + 1)
        join = torch.cat([torch.eye(choices) - 1.0 / choices, torch.ones(1, choices)])
        self.register_buffer("join", join, persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.heads(x) @ self.join

    def layer(self) -> Layer:
        join = array(self.join)
        return feed.Dense(array(self.heads.weight).T @ join, array(self.heads.bias) @ join)


class Bold:
    """The best choice, but for random ones at a rate of each lane's own, repeated for a while."""

    def __init__(self, net: nn.Module, lanes: int, choices: int, most: float):
        self.net, self.choices = net, choices
        power = 1.0 + _LADDER * (np.arange(lanes) / (lanes - 1) if lanes > 1 else np.array([0.3]))
        self.rates = most**power if most else np.zeros(lanes)
        self.strayed = np.zeros(lanes, dtype=bool)
        self.left, self.kept = np.zeros(lanes, dtype=np.int64), np.zeros(lanes, dtype=np.int64)

    def act(
        self, rows: np.ndarray, rng: np.random.Generator, allowed: np.ndarray | None, blind: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        n = len(rows)
        draw, which, far = rng.random(n), rng.integers(0, self.choices, n), rng.random(n)
        if allowed is not None:  # a random one of those that are allowed
            which = np.where(allowed, rng.random(allowed.shape), -1.0).argmax(axis=1)
        fresh = (self.left <= 0) & (blind | (draw < self.rates))
        # P(length >= k) = k^-(tail - 1): mostly short, long now and then.
        length = np.minimum((1.0 - far) ** (-1.0 / (_TAIL - 1.0)), _LONGEST).astype(np.int64)
        self.kept = np.where(fresh, which, self.kept)
        self.left = np.where(fresh, length, self.left)
        random, self.left = self.left > 0, np.maximum(self.left - 1, 0)
        if random.all():
            chosen, best = self.kept, np.full(n, -1)
        else:
            with torch.no_grad():
                worth = self.net(torch.from_numpy(rows)).numpy()
            if allowed is not None:
                worth = np.where(allowed, worth, -np.inf)
            best = worth.argmax(axis=1)
            chosen = np.where(random, self.kept, best)
        if allowed is not None:
            chosen = np.where(allowed[np.arange(n), chosen], chosen, which)
        self.strayed = chosen != best
        return chosen, chosen

    def state(self) -> list[np.ndarray]:
        return [self.left, self.kept]

    def restore(self, told: Any) -> None:
        self.left, self.kept = told


class Bellman(Replaying):
    """What a choice is worth is what it brings, and what the best choice after it is worth."""

    def __init__(
        self,
        replay: Replay,
        trial: Trial,
        net: nn.Module,
        target: nn.Module,
        mean: nn.Module,
        double: bool,
        gap: float,
        rate: float,
    ):
        for slow in (target, mean):
            slow.load_state_dict(net.state_dict())
            slow.requires_grad_(False)
        super().__init__(replay, trial, net=net, target=target, mean=mean)
        self.double, self.gap, self.rate = double, gap, rate
        self.follow, self.average = follower(target, net), follower(mean, net)

    def weights(self) -> Any:
        return {"net": [self.nets["net"]]}

    def step(self, nets: Any, batch: Drawn) -> dict[str, torch.Tensor]:
        b, actions = len(batch.seen), batch.action[:, None]
        with torch.no_grad():
            rows = torch.cat([batch.after, batch.seen]) if self.gap else batch.after
            worth = nets["target"](rows)
            here, worth = worth[b:], worth[:b]
            by = nets["net"](batch.after) if self.double else worth
            if batch.may is not None:
                by = by.masked_fill(~batch.may, -torch.inf)
            wanted = batch.reward + batch.keep * worth.gather(1, by.argmax(dim=1, keepdim=True))[:, 0]
            if self.gap:
                wanted -= self.gap * (here.amax(dim=1) - here.gather(1, actions)[:, 0])
        gap = nets["net"](batch.seen).gather(1, actions)[:, 0] - wanted
        if batch.weight is not None:
            self.experience.rank(gap.detach().numpy())
            return {"net": 0.5 * (batch.weight * gap.square()).mean()}
        return {"net": 0.5 * gap.square().mean()}

    def scale(self, seen: Seen) -> None:
        for net in self.nets.values():
            net[0].follow(seen, net[1].weight.T, net[1].bias)

    def after_step(self, step: int) -> None:
        self.follow(self.rate)
        self.average(_MEAN)

    def actor(self) -> NetworkPolicy:
        replay = self.experience
        layers = written(self.nets["mean"])
        return NetworkPolicy(replay.seen.space.to_dict(), replay.lanes.action.to_dict(), layers, "values")


def values(first: Scaled | Picture, width: int, depth: int, choices: int, duel: bool) -> nn.Sequential:
    """Layers of normalised rectifiers; all values begin near 0."""
    layers: list[nn.Module] = [first]
    for i in range(depth):
        dense = nn.Linear(first.width if i == 0 else width, width)
        layers += [dense, nn.LayerNorm(width, elementwise_affine=False), nn.ReLU()]
    last = Duel(width, choices) if duel else nn.Linear(width, choices)
    for part in last.parameters():
        part.data.mul_(0.1)
    return nn.Sequential(*layers, last)


def pack(model: Any, n_classes: int | None = None) -> Step:
    """The numpy step that acts."""
    return model._step()
