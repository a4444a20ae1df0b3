"""Self-play: a board game learnt from random moves, with a search that shows the network what it should have seen."""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from everymodel.core.clock import seconds
from everymodel.core.errors import CapabilityError, ParameterError
from everymodel.core.seeds import derive
from everymodel.models.reinforcement._base import AgentEstimator, Curve, fit
from everymodel.models.reinforcement._network import ENDLESS, Live
from everymodel.models.reinforcement._self_play import BoardNet, Games, Learner, Play, Seer, Store, Table
from everymodel.scoring import games as games_of
from everymodel.scoring.games.base import Rules
from everymodel.scoring.matches import match, opponent, policy_player
from everymodel.scoring.steps.base import Step
from everymodel.scoring.steps.searching import SearchPolicy
from everymodel.training.blocks.written import written
from everymodel.training.device import quick
from everymodel.training.estimator import NetworkEstimator
from everymodel.training.loop import Progress
from everymodel.training.optimizers import Optimizer

__all__ = ["CARD", "SelfPlay", "fit", "pack"]

CARD = {
    "name": "self_play",
    "title": "Self-play with search",
    "summary": "Learns a board game by playing against itself, from random moves on, with nothing but the rules.",
    "choose": "Games for two in which all is seen: tic-tac-toe, Connect Four, Go on small boards.",
    "avoid": "Games of chance or of hidden cards, and environments that are not games: PPO and DQN learn those.",
    "gives": ["actions"],
    "needs": {"package": "torch", "inputs": "game"},
    "cost": {"scale": 0.01, "rows_power": 1.0, "columns_power": 0.1},
    "references": [
        "Silver et al. (2018), A general algorithm that masters chess, shogi, and Go through self-play.",
        "Danihelka, Guez, Schrittwieser and Silver (2022), Policy improvement by planning with Gumbel.",
        "Wu (2019), Accelerating self-play learning in Go.",
    ],
    "advice": ["slow"],
    "parameters": {
        "game": {
            "type": "choice",
            "default": "tic_tac_toe",
            "choices": ["tic_tac_toe", "connect_four", "go"],
            "tune": False,
            "text": "The rules.",
        },
        "size": {"type": "int", "default": 5, "low": 2, "high": 9, "tune": False, "text": "Lines of the board, of Go."},
        "komi": {
            "type": "float",
            "default": 0.0,
            "low": -81.0,
            "high": 81.0,
            "tune": False,
            "text": "Points that White is given, in Go.",
        },
        "rounds": {
            "type": "int",
            "default": None,
            "low": 1,
            "high": 1000000000,
            "tune": False,
            "text": "Rounds of play and learning; none: the usual number, or a budget's.",
        },
        "simulations": {
            "type": "int",
            "default": 24,
            "low": 2,
            "high": 10000,
            "log": True,
            "text": "Positions looked at before a move of self-play.",
        },
        "considered": {
            "type": "int",
            "default": 8,
            "low": 2,
            "high": 1000,
            "text": "Moves in question at the root of a search of self-play.",
        },
        "wild": {
            "type": "float",
            "default": 0.5,
            "low": 0.0,
            "high": 1.0,
            "text": "Share of games that begin after some random moves.",
        },
        "trust": {
            "type": "float",
            "default": 0.9,
            "low": 0.0,
            "high": 1.0,
            "text": "Later in the run: weight of a game's further course against the search's opinion, in values.",
        },
        "lookahead": {
            "type": "int",
            "default": 400,
            "low": 0,
            "high": 100000,
            "tune": False,
            "text": "Positions looked at before a move of the finished player.",
        },
        "games": {
            "type": "int",
            "default": None,
            "low": 2,
            "high": 65536,
            "tune": False,
            "text": "Games that are played at once; none: usual for the board.",
        },
        "width": {
            "type": "int",
            "default": None,
            "low": 2,
            "high": 1024,
            "log": True,
            "text": "Channels of a convolution; none: usual for the board.",
        },
        "depth": {
            "type": "int",
            "default": None,
            "low": 1,
            "high": 64,
            "text": "Residual blocks; none: usual for the board.",
        },
        "batch_size": {"default": 256},
        "learning_rate": {"default": 0.002},
    },
    "tiny": [
        {
            "rounds": 4,
            "games": 8,
            "simulations": 4,
            "lookahead": 8,
            "width": 8,
            "depth": 1,
            "batch_size": 16,
            "random_state": 0,
        }
    ],
    "presets": [{}],
    "priority": 1,
    "classes": {"agent": {"class": "everymodel.models.reinforcement.self_play:SelfPlay", "tasks": ["act"]}},
}

_TABLES = 2  # that games are spread over, whatever the number of threads
_ROUNDS = {"tic_tac_toe": 80, "connect_four": 120, "go": 550}  # usual ones


class SelfPlay(AgentEstimator, NetworkEstimator):
    """A board game learnt from its rules alone, by games against itself with a search (Gumbel AlphaZero).

        p <- softmax(logits + s(q)),  v <- score / largest score;   loss KL(p, network's policy) + (v - network's v)^2

    Before each move of many games at once a tree search asks the network about the positions ahead. What it finds is
    better than what the network knew: that is what the network learns, and the end of the game is what its values
    learn. Draws are symmetric: every position is learnt in all the ways the board can be turned.

    Parameters
    ----------
    game : "tic_tac_toe", "connect_four" or "go"; size, komi : of Go.
    rounds : of play and learning; None: usual for the game, or as many as the budget allows.
    simulations, considered : of the search of self-play: positions looked at, and moves in question at the root.
    wild : share of games that begin after some random moves.
    trust : weight of how a game went on, against what the search said of a position, in the value that is learnt;
        it grows to this from 1, since a search says little before the network's values mean something.
    lookahead : positions looked at before a move of the finished player.
    games : played at once. width, depth : of the network; None: usual for the board.
    batch_size, learning_rate, budget, checkpoint, random_state, verbose : as for all networks.

    Attributes
    ----------
    step_ : `SearchPolicy`, the player in numpy. rules_ : of the game. environment_ : such as "go:5".
    curve_ : its looks are (positions played, value of the first position in points).
    positions_, games_ : that were learnt from. history_, stopped_

    Examples
    --------
    >>> agent = SelfPlay("tic_tac_toe", rounds=4, games=8, random_state=0).fit()
    >>> agent.act(["1", "5"]) in range(9)
    True
    """

    kinds = ("discrete",)

    def __init__(
        self,
        game: str = "tic_tac_toe",
        size: int = 5,
        komi: float = 0.0,
        rounds: int | None = None,
        simulations: int = 24,
        considered: int = 8,
        wild: float = 0.5,
        trust: float = 0.9,
        lookahead: int = 400,
        games: int | None = None,
        width: int | None = None,
        depth: int | None = None,
        batch_size: int = 256,
        learning_rate: float = 0.002,
        budget: float | str | None = None,
        checkpoint: str | None = None,
        random_state: int | None = None,
        verbose: int = 0,
    ):
        self.game = game
        self.size = size
        self.komi = komi
        self.rounds = rounds
        self.simulations = simulations
        self.considered = considered
        self.wild = wild
        self.trust = trust
        self.lookahead = lookahead
        self.games = games
        self.width = width
        self.depth = depth
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.budget = budget
        self.checkpoint = checkpoint
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, env: str | None = None, until: Any = None) -> SelfPlay:
        """Play and learn.

        Parameters
        ----------
        env : a game instead of the parameters' own: "tic_tac_toe", "connect_four", "go", or "go:7" with its size.
        until : None or "auto"; a game has no return that could be asked for.
        """
        if until not in (None, "auto"):
            raise ParameterError(f"until={until!r} came; self-play has no return to reach: give rounds or a budget.")
        self.rules_ = rules = self._rules(env)
        self.environment_ = f"{rules.word}:{rules.settings['size']}" if "size" in rules.settings else rules.word
        self.seed_ = int(check_random_state(self.random_state).randint(2**31 - 1))
        small = rules.board[0] * rules.board[1] <= 9
        count = self.games or (64 if small else 512)
        width, depth = self.width or (16 if small else 32), self.depth or (2 if small else 3)
        with self._initial():
            net = BoardNet(rules, depth, width)
        narrow = quick("cpu") == "bfloat16"
        play = Play(self.simulations, self.considered, self.wild, self.trust)
        seats = [len(part) for part in np.array_split(np.arange(count), min(_TABLES, count))]
        tables = [
            Table(rules, play, Seer(rules, net, narrow), derive(self.seed_, "table", k), seat)
            for k, seat in enumerate(seats)
        ]
        stop = getattr(self, "_stop", None)
        limited = seconds(self.budget) is not None or getattr(stop, "deadline", None) is not None
        rounds = self.rounds or (ENDLESS if limited else _ROUNDS[rules.word])
        learnt = 4 * count * (16 if small else 4) // self.batch_size  # every position so many times, about
        source = Games(
            tables,
            Store(rules, 20_000 if small else 300_000),
            moves=4,
            count=max(learnt, 1),
            batch=self.batch_size,
            least=min(8 * count, 4000),
            threads=getattr(self, "_threads", None) or _TABLES,
        )
        curve = Curve()
        learner = Learner(net, source, curve)
        own, began = getattr(self, "_listener", None), time.monotonic()

        def told(progress: Progress, objective: Any) -> None:
            done = source.store
            pace = done.added / max(time.monotonic() - began, 1e-9)
            look = curve.looks[-1][1] if curve.looks else math.nan
            assert own is not None
            own(Live(done.added, None, done.games, math.nan, look, pace, progress.done, progress.seconds_left))

        try:
            if own is not None:
                self._listener = told
            history = self._train(
                learner, source, stop=stop, threads=1, epochs=rounds, device="cpu", clip=5.0, half_life=0.01,
                precision="bfloat16" if narrow else "float32", channels_last=True, schedule="flat_cosine",
                optimizers=Optimizer("adamw", self.learning_rate, 1e-4),
            )  # fmt: skip
        finally:
            if own is not None:
                self._listener = own
        self.curve_, self.positions_, self.games_ = curve, source.store.added, source.store.games
        self.stopped_ = {"end": "steps"}.get(history.stopped, history.stopped)
        self.step_ = SearchPolicy(written(net), rules.word, dict(rules.settings), int(self.lookahead))
        self.step_.check()
        return self

    def _rules(self, env: Any) -> Rules:
        if env is not None and not isinstance(env, str):
            raise CapabilityError(
                f"{env!r} came; self-play learns games: {', '.join(games_of.WORDS)}, or such as go:7."
            )
        word, _, size = (env or self.game).partition(":")
        if size and not (word == "go" and size.isdigit()):
            raise ParameterError(
                f"{env!r} came; expected {', '.join(games_of.WORDS)}, or Go with a size, such as go:7."
            )
        settings = {"size": int(size) if size else self.size, "komi": self.komi} if word == "go" else {}
        return games_of.build(word, **settings)

    def act(
        self,
        observation: Any,
        *,
        seed: int | None = None,
        temperature: float = 0.0,
        mask: Any = None,
        simulations: int | None = None,
    ) -> Any:
        """The action for a game as far as it has been played; see `SearchPolicy.act`."""
        return self._step().act(observation, seed=seed, temperature=temperature, mask=mask, simulations=simulations)  # type: ignore[call-arg]

    def evaluate(  # type: ignore[override]
        self,
        episodes: int = 100,
        *,
        env: str = "uct:200",
        begins: bool | None = None,
        simulations: int | None = None,
        seed: int = 0,
        temperature: float = 0.0,
    ) -> dict[str, float]:
        """Whole games against an opponent that has learnt nothing.

        Parameters
        ----------
        episodes : games. env : the opponent: "random", "uct:200" (that many random games before a move) or, for
            tic-tac-toe, "perfect". begins : True: the agent always has the first move; None: in every other game.
        simulations : positions looked at before a move, instead of `lookahead`.

        Returns
        -------
        mean score, low and high (its 95 % interval), games, won, drawn and lost, and these by who began.
        """
        step = self._step()
        own = policy_player(step, simulations, temperature, seed)  # type: ignore[arg-type]
        return match(self.rules_, own, opponent(self.rules_, env, seed), episodes, begins=begins).summary()

    def record(self, path: Any, **ignored: Any) -> Any:
        raise CapabilityError("A board game has no film; print the positions with rules_.text(...).")


def pack(model: Any, n_classes: int | None = None) -> Step:
    """The numpy step that plays."""
    return model._step()
