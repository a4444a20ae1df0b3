"""What acts: policies that turn observations into actions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from everymodel.core.errors import DataError, ParameterError
from everymodel.scoring.layers import base
from everymodel.scoring.layers.base import Layer
from everymodel.scoring.layers.feed import activate
from everymodel.scoring.spaces import Space
from everymodel.scoring.steps.base import Step, need, step

HEADS = ("categorical", "gaussian", "values")
_PROOF = 24  # numbers of each probe that a file keeps
_UNUSED = np.random.default_rng(0)  # stands for chance where nothing is drawn


class Actor(Step):
    """Base of all steps that act.

    As a step among others it answers one made-up observation for each row that comes in, the row's number being the
    seed, with the numbers behind its choice: that is how a file is checked when it is opened.

    Attributes
    ----------
    sees, does : the spaces of observations and actions (`Space`), from the dicts that the file holds.
    """

    output = "actions"
    observation: dict[str, Any]
    action: dict[str, Any]

    @property
    def sees(self) -> Space:
        return _space(self, "observation")

    @property
    def does(self) -> Space:
        return _space(self, "action")

    def act(
        self,
        observation: Any,
        *,
        seed: int | np.random.Generator | None = None,
        temperature: float = 0.0,
        mask: Any = None,
    ) -> Any:
        """The action for one observation, or an array of actions for several.

        Parameters
        ----------
        observation : one, or several along a leading axis.
        temperature : 0 takes the best action; 1 draws as in training; between and beyond, more or less by chance.
        seed : of these draws.
        mask : (A,) or (m, A) bool, which choices are allowed; for whole-numbered actions.

        Returns
        -------
        A whole number, or an array of the action's shape; (m, ...) for several observations.
        """
        if not (isinstance(temperature, int | float) and 0 <= temperature <= 100):
            raise ParameterError(f"temperature={temperature!r} came; expected a number from 0 to 100.")
        rows, one = self.sees.batch(observation)
        rng = seed if isinstance(seed, np.random.Generator) else _UNUSED
        if rng is _UNUSED and temperature:  # to make one takes as long as to act, and the best action needs none
            rng = np.random.default_rng(seed)
        made = self.choose(rows, rng, float(temperature), self._allowed(mask, len(rows)))
        if not one:
            return made
        return int(made[0]) if self.does.discrete else made[0]

    def _allowed(self, mask: Any, n: int) -> np.ndarray | None:
        if mask is None:
            return None
        if not self.does.discrete:
            raise DataError("A mask came; it is for actions that are whole numbers.")
        told = np.asarray(mask, dtype=bool)
        if told.shape not in ((self.does.n,), (n, self.does.n)):
            raise DataError(f"A mask of shape {told.shape} came; expected ({self.does.n},) or ({n}, {self.does.n}).")
        told = np.broadcast_to(told, (n, self.does.n))
        if not told.any(axis=1).all():
            raise DataError("A mask allows no action at all.")
        return told

    def choose(
        self, rows: np.ndarray, rng: np.random.Generator, temperature: float, allowed: np.ndarray | None = None
    ) -> np.ndarray:
        """(m,) or (m, d) actions for observations that were checked. At temperature 0 nothing is drawn from `rng`."""
        raise NotImplementedError

    def scores(self, rows: np.ndarray) -> np.ndarray:
        """(m, k) numbers behind the choice: logits, means, values."""
        raise NotImplementedError

    def __call__(self, rows: Any) -> np.ndarray:
        n = rows.n if hasattr(rows, "n") else len(rows)
        seen = [self.sees.example(np.random.default_rng(seed)) for seed in range(n)]
        if not seen:
            return np.zeros((0, 1))
        return np.asarray(self.scores(np.stack(seen)), dtype=np.float64)[:, :_PROOF]

    def check(self) -> None:
        Space.from_dict(self.observation)
        Space.from_dict(self.action)


def _space(step: Actor, name: str) -> Space:
    made = step.__dict__.get("_" + name)
    if made is None:
        made = step.__dict__["_" + name] = Space.from_dict(getattr(step, name))
    return made


def drawn(
    scores: np.ndarray, rng: np.random.Generator, temperature: float, allowed: np.ndarray | None = None
) -> np.ndarray:
    """(m,) choices by scores (m, k): the best at temperature 0, else drawn from softmax(scores / temperature)."""
    if allowed is not None:
        scores = np.where(allowed, scores, -np.inf)
    if temperature == 0:
        return scores.argmax(axis=1)
    # Adding Gumbel noise and taking the largest draws from the softmax (Gumbel 1954).
    return (scores / temperature + rng.gumbel(size=scores.shape)).argmax(axis=1)


def cells(rows: np.ndarray, ends: np.ndarray, bins: Sequence[int]) -> np.ndarray:
    """(m,) the cells that rows (m, ...) of p numbers lie in, each number cut into equal parts.

    Parameters
    ----------
    ends : (2, p) where the first part of each number begins and where its last one ends; what lies beyond belongs to
        these. bins : (p,) parts of each.
    """
    counts = np.asarray(bins, dtype=np.int64)
    parts = (rows.reshape(len(rows), -1) - ends[0]) * (counts / (ends[1] - ends[0]))
    strides = np.append(counts[:0:-1].cumprod()[::-1], 1)
    return parts.clip(0, counts - 1).astype(np.int64) @ strides


@step("table_policy", output="actions")
class TablePolicy(Actor):
    """The value of every action in every state: values (s, a). What is drawn is near the best value's softmax.

    ends, bins : where states are `cells` of observations that are real numbers.
    """

    observation: dict[str, Any]
    action: dict[str, Any]
    values: np.ndarray
    ends: np.ndarray | None = None
    bins: tuple[int, ...] | None = None

    def scores(self, rows: np.ndarray) -> np.ndarray:
        return self.values[rows if self.ends is None or self.bins is None else cells(rows, self.ends, self.bins)]

    def choose(
        self, rows: np.ndarray, rng: np.random.Generator, temperature: float, allowed: np.ndarray | None = None
    ) -> np.ndarray:
        return drawn(self.scores(rows), rng, temperature, allowed)

    def check(self) -> None:
        Actor.check(self)
        cut = self.bins is not None
        need(self.sees.discrete != cut and self.does.discrete, "a table of values has no states or no choices")
        need((self.ends is not None) == cut, "a table of values says half of how states are counted")
        states = self.sees.n
        if self.bins is not None and self.ends is not None:
            counts, ends, p = list(self.bins), self.ends, self.sees.width
            need(all(type(c) is int and c > 0 for c in counts) and len(counts) == p, "the parts of states are wrong")
            need(ends.shape == (2, p) and ends.dtype == np.float64, "the ends of the parts of states are wrong")
            need(bool(np.isfinite(ends).all() and (ends[0] < ends[1]).all()), "the ends of states are no numbers")
            states = math.prod(counts)
        good = isinstance(self.values, np.ndarray) and self.values.dtype.kind == "f"
        need(good and self.values.shape == (states, self.does.n), "a table of values has another shape")
        need(bool(np.isfinite(self.values).all()), "a table of values holds what is no number")


@step("network_policy", output="actions")
class NetworkPolicy(Actor):
    """A network from observations to what the head makes actions of.

    head : "categorical": logits of choices; "values": of each choice what it is worth; "gaussian": means, and log
        standard deviations behind them (2d) or in `spread` (d,).
    squash : of "gaussian": "tanh" brings the draw between the bounds, "clip" cuts it there.
    """

    observation: dict[str, Any]
    action: dict[str, Any]
    network: Layer
    head: str = "categorical"
    squash: str = "clip"
    spread: np.ndarray | None = None

    tolerance: ClassVar[float] = 1e-3

    def outputs(self, rows: np.ndarray) -> np.ndarray:
        """What the network gives for observations (m, ...)."""
        if self.sees.discrete:
            seen = np.zeros((len(rows), self.sees.n), dtype=np.float32)
            seen[np.arange(len(rows)), rows] = 1.0
        elif self.sees.image:
            seen = self.sees.pixels(rows)  # bytes (m, h, w, c)
        else:
            seen = np.asarray(rows, dtype=np.float32).reshape(len(rows), -1)
        return self.network(seen)

    def scores(self, rows: np.ndarray) -> np.ndarray:
        made = self.outputs(rows)
        return made if self.head != "gaussian" else made[:, : self.does.width]

    def choose(
        self, rows: np.ndarray, rng: np.random.Generator, temperature: float, allowed: np.ndarray | None = None
    ) -> np.ndarray:
        if self.head != "gaussian":
            return drawn(self.scores(rows), rng, temperature, allowed)
        made, d = self.outputs(rows), self.does.width
        mean = made[:, :d]
        if temperature > 0:
            log = self.spread if self.spread is not None else np.clip(made[:, d:], -20.0, 2.0)
            mean = mean + temperature * np.exp(log) * rng.standard_normal(mean.shape)
        return self.bring(mean).reshape(len(rows), *self.does.shape)

    def bring(self, drawn: np.ndarray) -> np.ndarray:
        """Draws (m, d) as actions between the bounds, float32."""
        low, high = (side.reshape(-1) for side in self.does.bounds())
        if self.squash == "tanh":
            drawn = low + (activate(drawn, "tanh") + 1.0) * 0.5 * (high - low)
        return np.clip(drawn, low, high).astype(np.float32)

    # --- the file ---

    def spec(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        settings, arrays = Step.spec(replace(self, network=None))
        settings["network"], own = base.write(self.network)
        return settings, arrays | {f"network:{k}": a for k, a in own.items()}

    @classmethod
    def build(cls, settings: dict[str, Any], arrays: dict[str, np.ndarray]) -> Step:
        own = {k.partition(":")[2]: a for k, a in arrays.items() if k.startswith("network:")}
        plain = {k: a for k, a in arrays.items() if not k.startswith("network:")}
        return super().build({**settings, "network": base.read(settings.get("network"), own)}, plain)

    def check(self) -> None:
        Actor.check(self)
        need(isinstance(self.network, Layer), "an agent has no network")
        need(self.head in HEADS and self.squash in ("clip", "tanh"), "an agent's head is unknown")
        need(self.does.discrete == (self.head != "gaussian"), "an agent's head does not fit its actions")
        need(self.squash != "tanh" or self.does.bounded, "an agent's actions have no bounds")
        spread, d = self.spread, self.does.width
        need(spread is None or (spread.shape == (d,) and bool(np.isfinite(spread).all())), "an agent's spread is wrong")
        made = self.outputs(np.stack([self.sees.example(np.random.default_rng(0))] * 2))
        width = d if self.head != "gaussian" or spread is not None else 2 * d
        need(made.shape == (2, width), "an agent's network answers another shape")
