"""Proximal policy optimisation: many lanes act, and the policy moves a short way towards what paid."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import nn

from everymodel.models.reinforcement._base import Trial, fit
from everymodel.models.reinforcement._network import Learning, NetworkAgent, Seen
from everymodel.models.reinforcement._rollouts import Rollouts
from everymodel.scoring.layers import feed
from everymodel.scoring.spaces import Space
from everymodel.scoring.steps.acting import NetworkPolicy
from everymodel.scoring.steps.base import Step
from everymodel.training.blocks.written import written
from everymodel.training.optimizers import Optimizer

__all__ = ["CARD", "PPO", "fit", "pack"]

CARD = {
    "name": "ppo",
    "title": "Proximal policy optimisation",
    "summary": "Learns a policy by acting in many copies of an environment and moving a short way towards what paid.",
    "choose": "Environments that are quick to step, with choices or real numbers as actions; the usual first agent.",
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
        "steps": {"default": None, "text": "Steps of the environment; none: 200,000, or as many as the budget allows."},
        "lanes": {"default": 64},
        "horizon": {"type": "int", "default": 32, "low": 1, "high": 65536, "text": "Steps of each lane to a rollout."},
        "passes": {"type": "int", "default": 10, "low": 1, "high": 100, "text": "Passes over a rollout."},
        "batch_size": {"default": 256},
        "learning_rate": {"default": 0.001},
        "discount": {},
        "trace": {"type": "float", "default": 0.9, "low": 0.0, "high": 1.0, "text": "Decay of the advantages' trace."},
        "clip": {"type": "float", "default": 0.2, "low": 0.01, "high": 10.0, "text": "How far a rollout moves the policy."},
        "entropy": {"type": "float", "default": 0.0, "low": 0.0, "high": 1.0, "text": "Weight of the policy's entropy."},
        "width": {"type": "int", "default": 64, "low": 2, "high": 8192, "log": True, "text": "Units of a layer."},
        "depth": {"type": "int", "default": 2, "low": 1, "high": 16, "text": "Hidden layers of each network."},
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
    steps : of the environment; None: 200,000, or as many as the budget allows.
    lanes, horizon : copies of the environment, and steps of each to a rollout.
    passes, batch_size, learning_rate : of learning from a rollout.
    discount, trace, clip, entropy : gamma, lambda, e and c above.
    width, depth : hidden layers of policy and value.
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
        lanes: int = 64,
        horizon: int = 32,
        passes: int = 10,
        batch_size: int = 256,
        learning_rate: float = 0.001,
        discount: float = 0.99,
        trace: float = 0.9,
        clip: float = 0.2,
        entropy: float = 0.0,
        width: int = 64,
        depth: int = 2,
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
        lanes = self._enter(env, self.lanes)
        seen = Seen(lanes.observation)
        with self._initial():
            policy = Policy(seen.space, lanes.action, self.width, self.depth)
            value = perceptron(seen.space.width, self.width, self.depth, 1, 1.0)
        rollouts = Rollouts(
            lanes, seen, policy.act, valued(value), horizon=self.horizon, passes=self.passes, batch=self.batch_size,
            discount=self.discount, trace=self.trace, scale_rewards=True, seed=self.seed_,
        )  # fmt: skip
        trial = Trial(env, until, self.seed_, rollouts.curve)
        learning = Proximal(rollouts, trial, policy, value, self.clip, self.entropy)
        per_epoch = lanes.n * self.horizon
        self._learn(
            learning, steps=self.steps, per_epoch=per_epoch, usual=200_000, clip=0.5,
            optimizers=Optimizer("adam", self.learning_rate, eps=1e-5),
            schedule="linear" if self.steps or self.budget is None else "constant",
        )  # fmt: skip
        self.step_ = learning.actor()
        lanes.close()
        return self


class Policy(nn.Module):
    """Logits of choices, or means and learnt log deviations of normal actions."""

    def __init__(self, sees: Space, does: Space, width: int, depth: int):
        super().__init__()
        self.sees, self.does = sees, does
        self.body = perceptron(sees.width, width, depth, does.width, 0.01)
        self.log = None if does.discrete else nn.Parameter(torch.zeros(does.width))
        self.numbers: feed.Layer | None = None  # the body in numpy, of the weights as they were when acting began
        low, high = (None, None) if does.discrete else does.bounds()
        self.low, self.high = low, high

    def forward(self, x: torch.Tensor, actions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(log probability (b,), entropy (b,)) of actions."""
        made = self.body(x)
        if self.log is None:
            logs = made.log_softmax(dim=1)
            return logs.gather(1, actions[:, None])[:, 0], -(logs.exp() * logs).sum(dim=1)
        z = (actions - made) * (-self.log).exp()
        log = -0.5 * (z * z).sum(dim=1) - self.log.sum() - 0.5 * made.shape[1] * math.log(2 * math.pi)
        return log, (self.log.sum() + 0.5 * made.shape[1] * (1 + math.log(2 * math.pi))).expand(len(x))

    def act(self, rows: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(actions as drawn, their log probabilities, actions for the environment)."""
        made = (self.numbers or written(self.body))(rows)
        if self.log is None:
            top = made.max(axis=1, keepdims=True)
            logs = made - top
            logs -= np.log(np.exp(logs).sum(axis=1, keepdims=True))
            chosen = (logs + rng.gumbel(size=logs.shape)).argmax(axis=1)
            return chosen, logs[np.arange(len(rows)), chosen], chosen
        spread = np.exp(self.log.detach().numpy())
        noise = rng.standard_normal(made.shape).astype(np.float32)
        drawn = made + spread * noise
        log = -0.5 * (noise**2).sum(axis=1) - np.log(spread).sum() - 0.5 * made.shape[1] * math.log(2 * math.pi)
        native = np.clip(drawn, self.low.reshape(-1), self.high.reshape(-1)).reshape(len(rows), *self.does.shape)
        return drawn, log, native.astype(np.float32)


class Proximal(Learning):
    """The clipped loss of PPO."""

    def __init__(self, rollouts: Rollouts, trial: Trial, policy: Policy, value: nn.Module, clip: float, entropy: float):
        super().__init__(rollouts, trial, 4, policy=policy, value=value)
        self.clip, self.entropy = clip, entropy

    def step(self, nets: Any, batch: Any) -> dict[str, torch.Tensor]:
        x, actions, old, advantage, wanted = batch
        log, entropy = nets["policy"](x, actions)
        ratio = (log - old).exp()
        gain = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
        pays = torch.minimum(ratio * gain, ratio.clamp(1 - self.clip, 1 + self.clip) * gain)
        miss = 0.5 * (nets["value"](x)[:, 0] - wanted).square().mean()
        return {"net": miss - pays.mean() - self.entropy * entropy.mean()}

    def actor(self) -> NetworkPolicy:
        policy, seen = self.nets["policy"], self.experience.seen
        return network_policy(policy.body, seen, policy.does, "categorical" if policy.log is None else "gaussian",
                              None if policy.log is None else policy.log.detach().numpy().copy())  # fmt: skip


def perceptron(p: int, width: int, depth: int, out: int, gain: float) -> nn.Sequential:
    """Layers of tanh, weights orthogonal (Saxe et al. 2014)."""
    layers: list[nn.Module] = []
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


def valued(net: nn.Module) -> Any:
    """The network's values (m,) in numpy."""

    def value(rows: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return net(torch.from_numpy(rows))[:, 0].numpy()

    return value


def network_policy(body: nn.Module, seen: Seen, does: Space, head: str, spread: np.ndarray | None) -> NetworkPolicy:
    """The network with the scale of what it sees, in numpy."""
    layers = [written(body)]
    if seen.normalize:
        scale = (1 / seen.spread).astype(np.float32)
        layers.insert(0, feed.Affine(scale, (-seen.shift / seen.spread).astype(np.float32)))
    return NetworkPolicy(seen.space.to_dict(), does.to_dict(), feed.Sequential(layers), head, "clip", spread)


def pack(model: Any, n_classes: int | None = None) -> Step:
    """The numpy step that acts."""
    return model._step()
