"""Learning a board game from nothing but its rules: games against oneself, and the network that learns from them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from everymodel.core.seeds import derive
from everymodel.models.reinforcement._base import Curve
from everymodel.scoring.games.base import Positions, Rules, choose
from everymodel.scoring.layers import feed
from everymodel.scoring.layers.base import Layer
from everymodel.scoring.search import Remembered, Search
from everymodel.training.blocks.convolution import convolve
from everymodel.training.blocks.feed import Residual
from everymodel.training.blocks.written import written
from everymodel.training.objective import Objective
from everymodel.training.source import Source


class BoardNet(nn.Module):
    """From observations (n, h, w, c) to logits of actions (n, A) and values (n,) between -1 and 1.

    Parameters
    ----------
    rules : of the game.
    blocks, width : residual blocks of two convolutions, and their channels.
    """

    def __init__(self, rules: Rules, blocks: int, width: int):
        super().__init__()
        area, few = int(np.prod(rules.board)), max(width // 8, 2)
        body: list[nn.Module] = [convolve(rules.planes, width, 3, bias=True), nn.ReLU()]
        for _ in range(blocks):
            inner = nn.Sequential(convolve(width, width, 3, bias=True), nn.ReLU(), convolve(width, width, 3, bias=True))
            with torch.no_grad():
                inner[2].weight.zero_()  # type: ignore[union-attr]  # a block begins as nothing, so depth does no harm
            body += [Residual(inner), nn.ReLU()]
        self.body = nn.Sequential(*body)
        self.policy = nn.Sequential(
            nn.Conv2d(width, few, 1), nn.ReLU(), nn.Flatten(), nn.Linear(area * few, rules.actions)
        )
        self.value = nn.Sequential(
            nn.Conv2d(width, few, 1), nn.ReLU(), nn.Flatten(), nn.Linear(area * few, 2 * width), nn.ReLU()
        )
        self.worth = nn.Sequential(nn.Linear(2 * width, 1), nn.Tanh())
        with torch.no_grad():
            for last in (self.policy[-1], self.worth[0]):
                last.weight.mul_(0.1)  # type: ignore[union-attr]
                last.bias.zero_()  # type: ignore[union-attr]

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        seen = self.body(x.movedim(-1, 1))  # (n, width, h, w)
        seen = seen.float()
        return self.policy(seen), self.worth(self.value(seen))[:, 0]

    def layer(self) -> Layer:
        """In numpy, one answer (n, A + 1): the logits, then the value."""
        value = feed.Sequential([written(self.value), written(self.worth)])
        return feed.Sequential([written(self.body), feed.Concat([written(self.policy), value])])


class Seer(Remembered):
    """What a network in torch says of positions, until its weights change.

    Parameters
    ----------
    net : whose weights are taken over, see `learn`. narrow : the convolutions multiply bfloat16 numbers.
    """

    def __init__(self, rules: Rules, net: BoardNet, narrow: bool):
        super().__init__(rules, self._answer)
        self.narrow = narrow
        self.net = copy.deepcopy(net).eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if narrow:
            self.net.body.to(torch.bfloat16)

    def learn(self, weights: Iterable[torch.Tensor]) -> None:
        """Take over the weights of a network."""
        with torch.no_grad():
            for own, new in zip(self.net.parameters(), weights, strict=True):
                own.copy_(new)
        self.forget()

    def _answer(self, seen: np.ndarray) -> np.ndarray:
        x = torch.from_numpy(seen)
        with torch.inference_mode():
            logits, values = self.net(x.bfloat16() if self.narrow else x)
        return np.concatenate([logits.numpy(), values.numpy()[:, None]], axis=1)


@dataclass(frozen=True)
class Play:
    """How games are played to learn from.

    simulations : before each move, two thirds of them while values mean little yet. considered :
    actions in question at a root. wild : share of games that begin after some random moves. trust : later in the run,
    of what comes after a move against what the search says, in the value that is learnt. slip : a move that is worse
    than the best by more than this tells then nothing of the position before it.
    """

    simulations: int = 24
    considered: int = 8
    wild: float = 0.5
    trust: float = 0.9
    slip: float = 0.1


Rows = dict[str, np.ndarray]


class Table:
    """Games in play, move by move. Games that are over are taken away with what is to be learnt from them.

    Parameters
    ----------
    games : at this table.
    """

    def __init__(self, rules: Rules, play: Play, seer: Seer, seed: int, games: int):
        self.rules, self.play, self.seer, self.seed = rules, play, seer, seed
        self.search = Search(rules, seer, play.simulations, play.considered)
        self.open = {k: np.zeros((games, rules.longest + 1, *s), t) for k, (s, t) in _kinds(rules).items()}
        self.open["worse"] = np.zeros((games, rules.longest + 1), np.float32)
        self.plies = np.zeros(games, dtype=np.int64)
        self.moves = self.begun = self.looked = 0
        self.positions = self._begin(games)

    def _begin(self, n: int) -> Positions:
        """n new games; some begin where random moves have led."""
        rng = np.random.default_rng(derive(self.seed, "begin", self.begun))
        self.begun += 1
        positions = self.rules.start(n)
        lengths = np.where(rng.random(n) < self.play.wild, rng.integers(1, np.prod(self.rules.board), size=n), 0)
        for ply in range(int(lengths.max(initial=0))):
            rows = np.flatnonzero(lengths > ply)
            before = self.rules.take(positions, rows)
            after = self.rules.play(before, choose(self.rules.sensible(before), rng))
            going = ~self.rules.over(after)  # what would be over stays one move before its end
            lengths[rows[~going]] = 0
            self.rules.put(positions, rows[going], self.rules.take(after, np.flatnonzero(going)))
        return positions

    def advance(self, moves: int, ripe: float) -> list[Rows]:
        """Some moves in every game; gives the positions of the games that ended.

        ripe : from 0 to 1, how far the search's values are trusted beside the games' ends.
        """
        return [rows for _ in range(moves) if (rows := self.move(ripe)) is not None]

    def move(self, ripe: float) -> Rows | None:
        play, rows = self.play, np.arange(len(self.plies))
        rng = np.random.default_rng(derive(self.seed, "move", self.moves))
        self.moves += 1
        simulations = round(play.simulations * (2 + ripe) / 3)
        found = self.search.run(self.positions, rng, simulations)
        self.looked += simulations * len(rows)
        worse = found.values[rows, found.best] - found.values[rows, found.actions]
        told = {"seen": self.rules.observe(self.positions), "allowed": self.rules.sensible(self.positions)}
        told |= {"policies": found.policy, "values": found.value, "worse": worse}
        for name, array in self.open.items():
            array[rows, self.plies] = told[name]
        self.positions = self.rules.play(self.positions, found.actions)
        self.plies += 1
        over = np.flatnonzero(self.rules.over(self.positions))
        return self._close(over, ripe) if len(over) else None

    def _close(self, rows: np.ndarray, ripe: float) -> Rows:
        """The positions of games that are over, each with what came of it; others begin in their place."""
        ended = self.rules.take(self.positions, rows)
        sign = 1 - 2 * self.rules.turn(ended).astype(np.float32)
        after = self.rules.score(ended) * sign / np.float32(self.rules.worth)  # for the mover
        plies, longest = self.plies[rows], int(self.plies[rows].max())
        trust, slip = 1 - (1 - self.play.trust) * ripe, self.play.slip / max(ripe, 1e-9)
        values, worse = self.open["values"][rows, :longest], self.open["worse"][rows, :longest]
        for ply in range(longest - 1, -1, -1):
            own = values[:, ply]
            target = np.where(worse[:, ply] > slip, own, (1 - trust) * own - trust * after)
            target = np.where(plies == ply + 1, -after, target)  # the end is no opinion
            after = np.where(plies > ply, target, after).astype(np.float32)
            values[:, ply] = after
        within = np.arange(longest) < plies[:, None]  # (m, longest)
        made = {name: self.open[name][rows, :longest][within] for name in self.open if name not in ("worse", "values")}
        self.plies[rows] = 0
        self.rules.put(self.positions, rows, self._begin(len(rows)))
        return {**made, "values": values[within], "games": np.full(1, len(rows))}

    def _arrays(self) -> dict[str, np.ndarray]:
        own = {f.name: getattr(self.positions, f.name) for f in fields(self.positions)}  # type: ignore[arg-type]
        return {**self.open, **{f"position:{k}": a for k, a in own.items()}, "plies": self.plies}

    def state(self) -> dict[str, Any]:
        """A copy of all that the next move depends on."""
        arrays = {k: bytes_of(a).clone() for k, a in self._arrays().items()}
        return {"numbers": [self.moves, self.begun, self.looked], "arrays": arrays}

    def restore(self, state: dict[str, Any]) -> None:
        self.moves, self.begun, self.looked = state["numbers"]
        for name, array in self._arrays().items():
            array[...] = state["arrays"][name].numpy().view(array.dtype).reshape(array.shape)


class Store:
    """The last `capacity` positions of games that are over.

    Attributes
    ----------
    added : positions so far. games : games so far.
    """

    def __init__(self, rules: Rules, capacity: int):
        self.rules, self.capacity = rules, capacity
        self.arrays = {k: np.zeros((capacity, *s), dtype=t) for k, (s, t) in _kinds(rules).items()}
        self.added = self.games = 0

    def add(self, rows: Rows) -> None:
        count = len(rows["values"])
        places = (self.added + np.arange(count)) % self.capacity
        for name, array in self.arrays.items():
            array[places] = rows[name]
        self.added += count
        self.games += int(rows["games"][0])

    def draw(self, size: int, window: int, rng: np.random.Generator) -> tuple[torch.Tensor, ...]:
        """`size` of the last `window` positions, each turned or mirrored by chance."""
        held = min(window, self.added, self.capacity)
        places = (self.added - 1 - rng.integers(held, size=size)) % self.capacity
        points, actions = self.rules.symmetries()
        way = rng.integers(len(points), size=size)
        seen = self.arrays["seen"][places].reshape(size, points.shape[1], -1)
        seen = np.take_along_axis(seen, points[way][:, :, None], axis=1).reshape(size, *self.rules.board, -1)
        turned = [np.take_along_axis(self.arrays[k][places], actions[way], axis=1) for k in ("allowed", "policies")]
        parts = (seen.astype(np.float32), *turned, self.arrays["values"][places])
        return tuple(torch.from_numpy(part) for part in parts)

    def state(self) -> dict[str, Any]:
        held = min(self.added, self.capacity)
        arrays = {k: bytes_of(a[:held]) for k, a in self.arrays.items()}
        return {"numbers": [self.added, self.games], "arrays": arrays}

    def restore(self, state: dict[str, Any]) -> None:
        self.added, self.games = state["numbers"]
        held = min(self.added, self.capacity)
        for name, array in self.arrays.items():
            array[:held] = state["arrays"][name].numpy().view(array.dtype).reshape(array[:held].shape)


def _kinds(rules: Rules) -> dict[str, tuple[tuple[int, ...], Any]]:
    """(shape, type) of what is kept of a position."""
    a = rules.actions
    seen = ((*rules.board, rules.planes), np.float16)
    rest = {"policies": ((a,), np.float16), "values": ((), np.float32)}
    return {"seen": seen, "allowed": ((a,), np.bool_), **rest}


def bytes_of(array: np.ndarray) -> torch.Tensor:
    """The bytes of an array: torch and files know fewer kinds of numbers than games use."""
    return torch.from_numpy(np.ascontiguousarray(array).reshape(-1).view(np.uint8))


class Games(Source):
    """Batches of positions, while the games go on with the weights that the epoch began with.

    The tables play `moves` moves an epoch, each in a thread of its own; what they find is learnt from in the next
    epoch, so that the result does not depend on who is faster.
    """

    fixed = False

    def __init__(
        self, tables: list[Table], store: Store, *, moves: int, count: int, batch: int, least: int, threads: int = 2
    ):
        self.tables, self.store = tables, store
        self.moves, self.count, self.batch, self.least = moves, count, batch, least
        self.threads, self.ripe = max(min(threads, len(tables)), 1), 0.0
        self.look: Callable[[], None] = lambda: None  # the learner's: the tables take over the weights
        self.begun: list[Any] | None = None  # of an epoch that runs: the tables as they were at its beginning

    def steps(self) -> int:
        return self.count

    def window(self) -> int:
        """How far back positions are drawn from: further as learning goes on."""
        return max(self.least, self.store.added // 2)

    def epoch(self, number: int, seed: int, start: int = 0) -> Iterator[Any]:
        with ThreadPoolExecutor(self.threads) as pool:

            def go() -> list[Any]:
                return [pool.submit(table.advance, self.moves, self.ripe) for table in self.tables]

            if start == 0:
                self.look()
            while self.store.added < self.least:
                self._add(go())
            self.begun = [table.state() for table in self.tables]
            jobs = go()
            for i in range(start, self.count):
                rng = np.random.default_rng(derive(seed, "batch", number, i))
                yield self.store.draw(self.batch, self.window(), rng)
            self._add(jobs)
        self.begun = None

    def _add(self, jobs: list[Any]) -> None:
        for job in jobs:
            for rows in job.result():
                self.store.add(rows)

    def state(self) -> dict[str, Any]:
        tables = self.begun if self.begun is not None else [table.state() for table in self.tables]
        return {"tables": tables, "store": self.store.state(), "ripe": self.ripe}

    def restore(self, state: dict[str, Any]) -> None:
        for table, told in zip(self.tables, state["tables"], strict=True):
            table.restore(told)
        self.store.restore(state["store"])
        self.ripe, self.begun = state["ripe"], None


class Learner(Objective):
    """The policy learns what the search has made of it, the value what came of the game."""

    def __init__(self, net: BoardNet, games: Games, curve: Curve):
        super().__init__(net=net)
        self.games, self.curve = games, curve
        games.look = self.look

    def look(self) -> None:
        """The games go on with the weights as they are now."""
        net = self.nets["net"]
        assert isinstance(net, BoardNet)
        for table in self.games.tables:
            table.seer.learn(net.parameters())
        self.games.ripe = min(max((self.done - 0.2) / 0.3, 0.0), 1.0)
        rules, seer = self.games.store.rules, self.games.tables[0].seer
        value = float(Search(rules, seer, 64).run(rules.start(1)).value[0])
        self.curve.looks.append((self.games.store.added, value * rules.worth))

    def step(self, nets: Any, batch: Any) -> dict[str, torch.Tensor]:
        seen, allowed, policies, values = batch
        logits, guessed = nets["net"](seen)
        logits = logits.float().masked_fill(~allowed, -1e9)
        policies = policies.float()
        # Kullback and Leibler's distance: of the same gradient as the cross-entropy, and 0 where all is learnt.
        apart = F.cross_entropy(logits, policies, reduction="none") + torch.special.xlogy(policies, policies).sum(dim=1)
        return {"net": apart.mean() + F.mse_loss(guessed.float(), values)}

    def state(self) -> dict[str, Any]:
        weights = [p.detach().float().clone() for p in self.games.tables[0].seer.net.parameters()]
        return {"games": self.games.state(), "seer": weights, "curve": self.curve.state()}

    def restore(self, state: dict[str, Any]) -> None:
        self.games.restore(state["games"])
        self.curve.restore(state["curve"])
        for table in self.games.tables:
            table.seer.learn(state["seer"])
