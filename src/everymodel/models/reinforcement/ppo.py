"""Proximal policy optimisation: many lanes act, and the policy moves a short way towards what paid."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from everymodel import environments
from everymodel.environments.lanes import ArrayLanes
from everymodel.models.reinforcement._base import Trial, fit
from everymodel.models.reinforcement._network import Learning, NetworkAgent, Seen
from everymodel.models.reinforcement._picture import Picture
from everymodel.models.reinforcement._rollouts import Acting, Rollouts
from everymodel.scoring.layers import feed
from everymodel.scoring.spaces import Space
from everymodel.scoring.steps.acting import NetworkPolicy
from everymodel.scoring.steps.base import Step
from everymodel.training.blocks.written import written
from everymodel.training.optimizers import Optimizer

__all__ = ["CARD", "PPO", "fit", "pack"]

_NEVER = -1e9  # the logit of what is not allowed
_ROLLOUT = 2048  # steps of all lanes together
_FEW = 1024  # rows by which it is said how the policy is
_AT_ONCE = 1 << 22  # numbers that are seen at once outside of learning
_HALF_LOG = 0.5 * math.log(2 * math.pi)

CARD = {
    "name": "ppo",
    "title": "Proximal policy optimisation",
    "summary": "Learns a policy by acting in many copies of an environment and moving a short way towards what paid.",
    "choose": "Environments that are quick to step, with choices or real numbers as actions, images or numbers shown; "
              "the usual first agent.",
    "avoid": "Environments in which every step is dear: SAC and DQN learn from what they did long ago, too.",
    "gives": ["actions"],
    "needs": {"package": "torch", "inputs": "environment"},
    "cost": {"scale": 0.0001, "rows_power": 1.0, "columns_power": 0.1},
    "references": [
        "Schulman et al. (2017), Proximal policy optimization algorithms.",
        "Schulman et al. (2016), High-dimensional continuous control using generalized advantage estimation.",
        "Huang et al. (2022), The 37 implementation details of proximal policy optimization.",
    ],
    "advice": ["slow"],
    "parameters": {
        "steps": {"default": None, "text": "Steps of the environment; none: a million, or what the budget allows."},
        "lanes": {"default": None, "text": "Copies of the environment; none: 64 where they are arrays, else 16."},
        "horizon": {"type": "int", "default": None, "low": 1, "high": 65536,
                    "text": "Steps of each lane to a rollout; none: 2,048 of all lanes together."},
        "passes": {"type": "int", "default": 8, "low": 1, "high": 100, "text": "Passes over a rollout."},
        "batch_size": {"default": 512},
        "learning_rate": {"default": 0.001},
        "discount": {"default": 0.995},
        "trace": {"type": "float", "default": 0.97, "low": 0.0, "high": 1.0, "text": "Decay of the advantages' trace."},
        "clip": {"type": "float", "default": 0.2, "low": 0.01, "high": 10.0, "text": "How far a policy moves."},
        "entropy": {"type": "float", "default": 0.01, "low": 0.0, "high": 1.0, "text": "Weight of the entropy."},
        "width": {"type": "int", "default": 64, "low": 2, "high": 8192, "log": True, "text": "Units of a layer."},
        "depth": {"type": "int", "default": 2, "low": 1, "high": 16, "text": "Hidden layers of each network."},
        "filters": {},
    },
    "tiny": [{"steps": 2000, "lanes": 8, "horizon": 16, "batch_size": 64, "width": 8, "random_state": 0}],
    "presets": [{}],
    "priority": 1,
    "classes": {"agent": {"class": "everymodel.models.reinforcement.ppo:PPO", "tasks": ["act"]}},
}  # fmt: skip


class PPO(NetworkAgent):
    """Proximal policy optimisation with clipped ratios.

        L = -E min(r A, clip(r, 1 - e, 1 + e) A) + 1/2 E (V - R)^2 - c H,    r = pi(a | s) / pi_old(a | s)

    A are advantages by generalised advantage estimation, on rollouts of many lanes; episodes that are cut by the time
    limit, rather than ended, are worth what their last observation is worth.

    Parameters
    ----------
    steps : of the environment; None: a million, or as many as the budget allows.
    lanes, horizon : copies of the environment, and steps of each to a rollout; None: 64 lanes where they are stepped as
        arrays, else 16, and 2,048 steps of all together.
    passes, batch_size, learning_rate : of learning from a rollout.
    discount, trace, clip, entropy : gamma, lambda, e and c above.
    width, depth : hidden layers of policy and value.
    filters : of the first convolution, where images are seen.
    budget, checkpoint, random_state, verbose : as for all networks.

    Attributes
    ----------
    step_, environment_, curve_, steps_, stopped_, history_

    Examples
    --------
    >>> agent = PPO(steps=4000, random_state=0).fit("CartPole-v1")
    >>> agent.act([0.0, 0.0, 0.05, 0.5]) in (0, 1)
    True
    """

    kinds = ("discrete", "continuous")

    def __init__(
        self,
        steps: int | None = None,
        lanes: int | None = None,
        horizon: int | None = None,
        passes: int = 8,
        batch_size: int = 512,
        learning_rate: float = 0.001,
        discount: float = 0.995,
        trace: float = 0.97,
        clip: float = 0.2,
        entropy: float = 0.01,
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
        self.horizon = horizon
        self.passes = passes
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.discount = discount
        self.trace = trace
        self.clip = clip
        self.entropy = entropy
        self.width = width
        self.depth = depth
        self.filters = filters
        self.budget = budget
        self.checkpoint = checkpoint
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, env: Any, until: float | str | None = "auto") -> PPO:
        """Learn in an environment until its mean return is `until`, or the steps or the budget end.

        Parameters
        ----------
        env : see `everymodel.environments.make`.
        until : mean return over 100 episodes; "auto": the environment's own threshold where it has one; None: none.
        """
        first = environments.make(env, 1)
        wide = self.lanes or (64 if isinstance(first, ArrayLanes) else 16)
        if first is not env:
            first.close()
        lanes = self._enter(env, wide)
        horizon = self.horizon or max(_ROLLOUT // lanes.n, 1)
        seen = Seen(lanes.observation)
        with self._initial():
            policy = Policy(seen.space, lanes.action, self.width, self.depth, self.filters)
            value = perceptron(seen.space, self.width, self.depth, self.filters, 1, 1.0)
        rollouts = Rollouts(
            lanes, seen, lambda: policy.acting(seen), valued(value), horizon=horizon, passes=self.passes,
            batch=self.batch_size, discount=self.discount, trace=self.trace, scale_rewards=True,
            seed=self.seed_,
        )  # fmt: skip
        trial = Trial(env, until, self.seed_, rollouts.curve)
        learning = Proximal(rollouts, trial, policy, value, self.clip, self.entropy)
        per_epoch = lanes.n * horizon
        self._learn(
            learning, steps=self.steps, per_epoch=per_epoch, usual=1_000_000, clip=0.5,
            optimizers=Optimizer("adam", self.learning_rate, eps=1e-5),
            schedule="linear" if self.steps or self.budget is None else "constant",
        )  # fmt: skip
        self.step_ = learning.actor()
        lanes.close()
        return self


class Policy(nn.Module):
    """Logits of choices, or means and learnt log deviations of normal actions; 1 is as far as the bounds are apart."""

    scale: torch.Tensor

    def __init__(self, sees: Space, does: Space, width: int, depth: int, filters: int = 16):
        super().__init__()
        self.sees, self.does = sees, does
        self.body = perceptron(sees, width, depth, filters, does.width, 0.01)
        self.log = None if does.discrete else nn.Parameter(torch.zeros(does.width))
        # (2, p) shift and spread of what is seen: kept with the weights that have learnt by it.
        self.register_buffer("scale", torch.stack([torch.zeros(sees.width), torch.ones(sees.width)]).double())
        self.middle, self.reach = np.zeros(does.width), np.ones(does.width)
        if not does.discrete:
            self.low, self.high = (side.reshape(-1) for side in does.bounds())
            if does.bounded:
                self.middle, self.reach = (self.low + self.high) / 2, np.maximum((self.high - self.low) / 2, 1e-6)

    def forward(self, x: torch.Tensor, actions: torch.Tensor, allowed: Any = None) -> tuple[torch.Tensor, torch.Tensor]:
        """(log probability (b,) of actions, (b, k) log probabilities or (d,) log deviations)."""
        made = self.body(x)
        if self.log is None:
            logs = (made if allowed is None else made.masked_fill(~allowed, _NEVER)).log_softmax(dim=1)
            return logs.gather(1, actions[:, None])[:, 0], logs
        z = (actions - made) * (-self.log).exp()
        return -0.5 * (z * z).sum(dim=1) - self.log.sum() - made.shape[1] * _HALF_LOG, self.log

    def entropy(self, logs: torch.Tensor) -> torch.Tensor:
        """Mean entropy of the actions that belong to the second output of `forward`."""
        if self.log is None:
            return -(logs.exp() * logs).sum(dim=1).mean()
        return logs.sum() + len(logs) * (0.5 + _HALF_LOG)

    def figures(self, rollout: list[np.ndarray]) -> dict[str, float]:
        """entropy : of choices, as a share of the largest. bounds : share of real actions that are cut at a bound."""
        x, actions = rollout[0][:_FEW], rollout[1][:_FEW]
        if self.log is not None:
            # Where the mean lies, not the draw: while a policy explores widely, draws beyond a bound mean nothing.
            middle = self.middle + self.reach * self._answers()(x)
            return {"bounds": float(((middle <= self.low) | (middle >= self.high)).mean())}
        allowed = [torch.from_numpy(a[:_FEW]) for a in rollout[5:]]
        _, logs = self.forward(torch.from_numpy(x), torch.from_numpy(actions), *allowed)
        return {"entropy": float(self.entropy(logs)) / max(math.log(self.does.n), 1e-9)}

    def _answers(self) -> Callable[[np.ndarray], np.ndarray]:
        """The body as a function of arrays: of few numbers numpy is quicker, of images torch."""
        return answering(self.body) if self.sees.image else written(self.body)

    def acting(self, seen: Seen) -> Acting:
        """The policy of the weights as they are, in numpy, for rows at the scale of `seen`."""
        self.scale.copy_(torch.from_numpy(np.stack([seen.shift, seen.spread])))
        body = self._answers()
        if self.log is None:

            def choose(rows: np.ndarray, rng: np.random.Generator, allowed: np.ndarray | None) -> tuple[Any, Any, Any]:
                logs = body(rows)
                if allowed is not None:
                    logs = np.where(allowed, logs, np.float32(_NEVER))
                logs = logs - logs.max(axis=1, keepdims=True)
                logs -= np.log(np.exp(logs).sum(axis=1, keepdims=True))
                chosen = (logs + rng.gumbel(size=logs.shape)).argmax(axis=1)
                return chosen, logs[np.arange(len(rows)), chosen], chosen

            return choose
        log = self.log.detach().numpy().copy()
        spread, gone = np.exp(log), log.sum() + len(log) * _HALF_LOG

        def draw(rows: np.ndarray, rng: np.random.Generator, allowed: np.ndarray | None) -> tuple[Any, Any, Any]:
            noise = rng.standard_normal((len(rows), len(log)), dtype=np.float32)
            drawn = body(rows) + spread * noise
            native = np.clip(self.middle + self.reach * drawn, self.low, self.high).astype(np.float32)
            return drawn, -0.5 * (noise * noise).sum(axis=1) - gone, native.reshape(len(rows), *self.does.shape)

        return draw


class Proximal(Learning):
    """The clipped loss of PPO."""

    def __init__(self, rollouts: Rollouts, trial: Trial, policy: Policy, value: nn.Module, clip: float, entropy: float):
        # Environments that are stepped one by one are dear to look at.
        per_epoch = None if isinstance(rollouts.lanes, ArrayLanes) else rollouts.horizon * rollouts.lanes.n
        super().__init__(rollouts, trial, 2, per_epoch, policy=policy, value=value)
        self.clip, self.entropy = clip, entropy
        self.figures: dict[str, float] = {}

    def step(self, nets: Any, batch: Any) -> dict[str, torch.Tensor]:
        x, actions, old, gain, wanted, *allowed = batch
        log, rest = nets["policy"](x, actions, *allowed)
        # The smaller of r A and clip(r) A is the smaller of r A and A + e |A|.
        pays = torch.minimum((log - old).exp() * gain, gain + self.clip * gain.abs()).mean()
        loss = 0.5 * nn.functional.mse_loss(nets["value"](x)[:, 0], wanted) - pays
        if self.entropy:
            loss = loss - self.entropy * nets["policy"].entropy(rest)
        return {"net": loss}

    def judge(self, nets: Any, batches: Any) -> dict[str, Any]:
        told = super().judge(nets, batches)
        if math.isfinite(told["loss"]):
            self.figures = self.nets["policy"].figures(self.experience.rollout)
            told |= {"explained": self.experience.explained, **self.figures}
        return told

    def signs(self) -> dict[str, float]:
        return self.figures

    def actor(self) -> NetworkPolicy:
        policy, seen = self.nets["policy"], self.experience.seen
        log = None if policy.log is None else policy.log.detach().numpy() + np.log(policy.reach).astype(np.float32)
        head = "categorical" if policy.log is None else "gaussian"
        return network_policy(policy, seen, head, log)


def perceptron(sees: Space, width: int, depth: int, filters: int, out: int, gain: float) -> nn.Sequential:
    """Layers of tanh, weights orthogonal (Saxe et al. 2014); before them convolutions, where images are seen."""
    layers: list[nn.Module] = [Picture(sees, filters)] if sees.image else []
    p = layers[0].width if sees.image else sees.width
    for i in range(depth):
        layers += [nn.Linear(p if i == 0 else width, width), nn.Tanh()]
    layers.append(nn.Linear(width, out))
    made = nn.Sequential(*layers)
    for module in made:
        if isinstance(module, nn.Linear):
            last = module is made[-1]
            nn.init.orthogonal_(module.weight, gain if last else 2**0.5)
            nn.init.zeros_(module.bias)
    return made


def answering(net: nn.Module) -> Callable[[np.ndarray], np.ndarray]:
    """The network as a function of arrays, so many rows at a time that images fit into memory."""

    def answer(rows: np.ndarray) -> np.ndarray:
        some = max(_AT_ONCE // max(rows[0].size, 1), 1)
        with torch.no_grad():
            return torch.cat([net(part) for part in torch.from_numpy(rows).split(some)]).numpy()

    return answer


def valued(net: nn.Module) -> Callable[[np.ndarray], np.ndarray]:
    """The network's values (m,) in numpy."""
    answer = answering(net)
    return lambda rows: answer(rows)[:, 0]


def network_policy(policy: Policy, seen: Seen, head: str, log: np.ndarray | None) -> NetworkPolicy:
    """The network with the scale of what it sees and does, in numpy."""
    layers = [written(policy.body)]
    if seen.normalize:
        shift, spread = policy.scale.numpy()
        layers.insert(0, feed.Affine((1 / spread).astype(np.float32), (-shift / spread).astype(np.float32)))
    if policy.log is not None:
        layers.append(feed.Affine(policy.reach.astype(np.float32), policy.middle.astype(np.float32)))
    return NetworkPolicy(seen.space.to_dict(), policy.does.to_dict(), feed.Sequential(layers), head, "clip", log)


def pack(model: Any, n_classes: int | None = None) -> Step:
    """The numpy step that acts."""
    return model._step()
