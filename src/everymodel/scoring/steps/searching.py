"""What plays board games: a network that knows good moves, the rules, and a search that looks ahead with both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any, ClassVar

import numpy as np

from everymodel.core.errors import DataError, ParameterError, UserError
from everymodel.scoring import games
from everymodel.scoring.games.base import Positions, Rules, Single
from everymodel.scoring.layers import base
from everymodel.scoring.layers.base import Layer
from everymodel.scoring.search import Found, Remembered, Search
from everymodel.scoring.spaces import Space
from everymodel.scoring.steps.acting import Actor, drawn
from everymodel.scoring.steps.base import Step, need, step

_MOST = 100_000  # simulations before a move
_NODES = 1 << 19  # of trees at once


@step("search_policy", output="actions")
class SearchPolicy(Actor):
    """Plays a game by looking ahead.

    network : observations (n, h, w, c) -> (n, A + 1), logits of the actions and the value for the mover.
    game, options : what `everymodel.scoring.games.build` makes the rules of.
    simulations : positions looked at before a move, unless it is said otherwise: fewer play weaker and faster.
    """

    network: Layer
    game: str
    options: dict[str, Any]
    simulations: int = 200

    tolerance: ClassVar[float] = 1e-3

    @property
    def rules(self) -> Rules:
        return self._once("_rules", lambda: games.build(self.game, **self.options))

    @property
    def observation(self) -> dict[str, Any]:  # type: ignore[override]
        low, high = (-1.0,), (1.0,)
        return Space(shape=(*self.rules.board, self.rules.planes), low=low, high=high).to_dict()

    @property
    def action(self) -> dict[str, Any]:  # type: ignore[override]
        return Space(n=self.rules.actions).to_dict()

    def _once(self, name: str, make: Callable[[], Any]) -> Any:
        made = self.__dict__.get(name)
        if made is None:
            made = self.__dict__[name] = make()
        return made

    # --- playing ---

    def act(
        self,
        observation: Any,
        *,
        seed: int | np.random.Generator | None = None,
        temperature: float = 0.0,
        mask: Any = None,
        simulations: int | None = None,
    ) -> Any:
        """The action for a game as far as it has been played.

        Parameters
        ----------
        observation : the moves so far, as names or numbers (`["C3", "B2"]`; `[]` before the first), or {"moves": ...};
            several such lists; `Positions` of the rules. An array as `rules.observe` gives is answered by the network
            alone, without looking ahead.
        simulations : positions looked at; 0 plays by the network alone.
        temperature : 0 takes the best action, 1 draws from the improved policy: weaker and more varied.

        Returns
        -------
        A whole number (`rules.name` says it as people do), or an array of them where several games came.
        """
        positions, one = self._positions(observation)
        if positions is None:
            return super().act(observation, seed=seed, temperature=temperature, mask=mask)
        if not (isinstance(temperature, int | float) and 0 <= temperature <= 100):
            raise ParameterError(f"temperature={temperature!r} came; expected a number from 0 to 100.")
        rng = seed if isinstance(seed, np.random.Generator) else np.random.default_rng(seed)
        allowed = self._allowed(mask, len(positions))
        found = self.look(positions, simulations)
        if allowed is None and temperature == 0:
            made = found.best
        else:
            sensible = found.policy > 0
            allowed = sensible if allowed is None else allowed & self.rules.legal(positions)
            if not allowed.any(axis=1).all():
                raise DataError("A mask allows no move that the rules allow.")
            made = drawn(np.log(np.maximum(found.policy, 1e-30)), rng, float(temperature), allowed)
        return int(made[0]) if one else made

    def look(self, positions: Positions, simulations: int | None = None) -> Found:
        """What a search finds in positions that are not over; see `everymodel.scoring.search.Found`."""
        count = self.simulations if simulations is None else simulations
        if isinstance(count, bool) or not isinstance(count, int | np.integer) or not 0 <= count <= _MOST:
            raise ParameterError(f"simulations={simulations!r} came; expected a whole number from 0 to {_MOST:,}.")
        n = len(positions)
        if not n:
            raise DataError("No game came: give one or more.")
        if self.rules.over(positions).any():
            raise DataError("A game came that is over: there is no move to choose. Begin another one.")
        # What is remembered is of this look alone: answers do not depend on earlier ones, nor on other threads.
        search = Search(self.rules, Remembered(self.rules, self.network, 1 << 14), int(count))
        size = max(_NODES // (int(count) + 1), 1)  # games whose trees are in memory at once
        parts = [search.run(positions.take(np.arange(i, min(i + size, n)))) for i in range(0, n, size)]
        if len(parts) == 1:
            return parts[0]
        names = [f.name for f in fields(Found)]
        return Found(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})

    def player(
        self, simulations: int | None = None, temperature: float = 0.0, seed: int | None = None
    ) -> Callable[[Single], int]:
        """A function from one game (`rules.single()`) to the action, as the Go Text Protocol's engine wants it."""
        rng = np.random.default_rng(seed)

        def choose(game: Single) -> int:
            return self.act(list(game.moves), simulations=simulations, temperature=temperature, seed=rng)

        return choose

    def _positions(self, told: Any) -> tuple[Positions | None, bool]:
        """(positions, whether one game came); None where it is an observation."""
        if isinstance(told, Positions):
            return told, False
        if isinstance(told, dict) and set(told) == {"moves"}:
            told = told["moves"]
        if not isinstance(told, list | tuple):
            return None, False
        if all(_is_move(move) for move in told):
            return self.rules.after([self._number(move) for move in told]), True
        if all(isinstance(g, list | tuple) and all(_is_move(m) for m in g) for g in told):
            first, *rest = [self.rules.after([self._number(move) for move in game]) for game in told]
            return first.join(*rest), False
        return None, False

    def _number(self, move: Any) -> int:
        return self.rules.action(move) if isinstance(move, str) else int(move)

    # --- without looking ahead ---

    def scores(self, rows: np.ndarray) -> np.ndarray:
        return self.network(np.asarray(rows, dtype=np.float32))[:, :-1]

    def choose(
        self, rows: np.ndarray, rng: np.random.Generator, temperature: float, allowed: np.ndarray | None = None
    ) -> np.ndarray:
        return drawn(self.scores(rows), rng, temperature, allowed)

    # --- the file ---

    def spec(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        settings, arrays = Step.spec(replace(self, network=None))  # type: ignore[arg-type]
        settings["network"], own = base.write(self.network)
        return settings, arrays | {f"network:{k}": a for k, a in own.items()}

    @classmethod
    def build(cls, settings: dict[str, Any], arrays: dict[str, np.ndarray]) -> Step:
        own = {k.partition(":")[2]: a for k, a in arrays.items() if k.startswith("network:")}
        plain = {k: a for k, a in arrays.items() if not k.startswith("network:")}
        return super().build({**settings, "network": base.read(settings.get("network"), own)}, plain)

    def check(self) -> None:
        need(isinstance(self.network, Layer), "a player has no network")
        need(isinstance(self.game, str) and isinstance(self.options, dict), "a player knows no game")
        good = all(isinstance(k, str) and isinstance(v, int | float) for k, v in self.options.items())
        need(good, "the settings of a game are no numbers")
        try:
            rules = self.rules
        except (UserError, TypeError, ValueError) as error:
            need(False, f"its game cannot be set up: {error}")
            raise
        count = self.simulations
        need(isinstance(count, int) and not isinstance(count, bool) and 0 <= count <= _MOST, "a search has no length")
        made = self.network(rules.observe(rules.start(2)))
        fits = isinstance(made, np.ndarray) and made.shape == (2, rules.actions + 1)
        need(fits and bool(np.isfinite(made).all()), "a player's network answers another shape")


def _is_move(value: Any) -> bool:
    return isinstance(value, str | int | np.integer) and not isinstance(value, bool)
