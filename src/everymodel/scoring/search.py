"""Look ahead in many games at once: a tree search led by a network, in arrays (Gumbel AlphaZero).

    search = Search(rules, evaluate, simulations=32)
    found = search.run(positions, rng)        # positions of n games, none of them over
    found.actions, found.policy, found.value

The tree of all games is one set of arrays; a simulation takes one step down in all games with one array operation,
plays one move in each, and asks the network once for all leaves. So the cost of Python is shared by all games.

At the root, actions are drawn without replacement (Gumbel noise) and the number of those in question is halved again
and again; below, the action is taken whose share of visits is furthest behind the improved policy. The improved policy
is softmax(logits + s(q)), q the values found, and for actions without a visit what the network and the values around
them let expect (Danihelka, Guez, Schrittwieser and Silver 2022, "Policy improvement by planning with Gumbel").
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from everymodel.scoring.games.base import Positions, Rules

# positions (n) and what may be played there (n, A) -> logits (n, A), values (n,) in -1..1 for the mover
Evaluate = Callable[[Positions, np.ndarray], tuple[np.ndarray, np.ndarray]]

_NEVER = np.float32(-1e9)  # logit of what may not be played


@dataclass
class Found:
    """What a search has found for n positions.

    Attributes
    ----------
    actions : (n,) the moves to play.
    best : (n,) the moves that look best, without the noise of exploration.
    policy : (n, A) the improved policy.
    visits : (n, A) how often each move was looked at.
    value : (n,) of the positions for the mover, -1..1, if it goes on with the improved policy.
    values : (n, A) of the moves for the mover.
    """

    actions: np.ndarray
    best: np.ndarray
    policy: np.ndarray
    visits: np.ndarray
    value: np.ndarray
    values: np.ndarray


class Remembered:
    """What a network says of positions, remembered: an `Evaluate`.

    Trees of many games, and of the same game a move later, meet the same positions again and again.

    Parameters
    ----------
    network : observations (n, h, w, c) -> (n, A + 1) float32, the logits and then the value.
    slots : positions that are remembered, a power of two.

    Attributes
    ----------
    asked, known : positions so far, and those of them that were remembered.
    """

    def __init__(self, rules: Rules, network: Callable[[np.ndarray], np.ndarray], slots: int = 1 << 16):
        self.rules, self.network = rules, network
        size = rules.board[0] * rules.board[1] * rules.planes
        self.mixer = np.random.default_rng(0).integers(1 << 62, size=size, dtype=np.int64) | 1
        self.keys = np.zeros(slots, dtype=np.int64)
        self.answers = np.zeros((slots, rules.actions + 1), dtype=np.float32)
        self.asked = self.known = 0

    def forget(self) -> None:
        """The network has changed."""
        self.keys[:] = 0

    def __call__(self, positions: Positions, allowed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        seen = self.rules.observe(positions)
        keys = (seen.reshape(len(seen), -1).view(np.int32) * self.mixer).sum(axis=1)
        places = (keys >> 40) & (len(self.keys) - 1)  # the low bits of a product of round numbers are zero
        fresh = self.keys[places] != keys
        self.asked += len(seen)
        if fresh.all():
            answers = self.network(seen)
        else:
            self.known += len(seen) - int(fresh.sum())
            answers = self.answers[places]
            if fresh.any():
                answers[fresh] = self.network(seen[fresh])
        self.keys[places], self.answers[places] = keys, answers
        return answers[:, :-1], answers[:, -1]


class Search:
    """A search in `n` games at once.

    Parameters
    ----------
    rules : of the game.
    evaluate : the network: see `Evaluate`.
    simulations : leaves that are looked at before a move.
    considered : actions that a noisy root takes into question.
    base, scale : how much values count against logits: (base + most visits) * scale.
    spread : values of moves that lie closer together than this count by their distance, not by their order.
    floor : share of the network's policy that is spread evenly, so that no sensible move is never looked at.
    """

    def __init__(
        self,
        rules: Rules,
        evaluate: Evaluate,
        simulations: int = 32,
        considered: int = 16,
        base: float = 50.0,
        scale: float = 0.1,
        spread: float = 0.2,
        floor: float = 0.03,
    ):
        self.rules, self.evaluate = rules, evaluate
        self.simulations, self.considered = simulations, considered
        self.base, self.scale, self.spread, self.floor = base, scale, np.float32(spread), np.float32(floor)

    def run(
        self, positions: Positions, rng: np.random.Generator | None = None, simulations: int | None = None
    ) -> Found:
        """Search from these positions, none of which is over; with `rng` the root explores (self-play)."""
        tree = _Tree(self, positions, self.simulations if simulations is None else simulations)
        n, count = tree.n, tree.simulations
        root = np.arange(n)
        noisy = noise = None
        if rng is not None:
            noise = rng.gumbel(size=tree.logits[:n].shape).astype(np.float32)
            allowed = (tree.logits[:n] > _NEVER / 2).sum(axis=1)
            table = _halving(min(self.considered, tree.logits.shape[1]), count)
            noisy = table[np.minimum(allowed, len(table) - 1)]  # (n, simulations) visits that the candidates have
        for i in range(count):
            if noise is None:
                first = tree.inside(root)
            else:
                assert noisy is not None
                first = tree.halved(noise, noisy[:, i])
            tree.simulate(first, i + 1)
        return tree.found(noise)


@lru_cache(maxsize=64)
def _halving(considered: int, simulations: int) -> np.ndarray:
    """(considered + 1, simulations): how many visits the candidates of each simulation have, by their number."""
    rows = []
    for m in range(considered + 1):
        if m <= 1:
            rows.append(list(range(simulations)))
            continue
        rounds = math.ceil(math.log2(m))
        visits, left, row = [0] * m, m, []
        while len(row) < simulations:
            for _ in range(max(1, simulations // (rounds * left))):
                row.extend(visits[:left])
                visits[:left] = [v + 1 for v in visits[:left]]
            left = max(2, left // 2)
        rows.append(row[:simulations])
    return np.array(rows, dtype=np.float32)


class _Tree:
    """Node j * n + i is what simulation j has added to the tree of game i (j = 0: the root)."""

    def __init__(self, search: Search, roots: Positions, simulations: int):
        self.search, self.rules, self.simulations = search, search.rules, simulations
        n, actions = len(roots), search.rules.actions
        self.n = n
        size = n * (simulations + 1)
        self.positions = self.rules.start(size)
        self.logits = np.empty((size, actions), dtype=np.float32)
        self.prior = np.empty((size, actions), dtype=np.float32)
        self.visits = np.zeros((size, actions), dtype=np.float32)
        self.totals = np.zeros((size, actions), dtype=np.float32)  # of the values, for the mover
        self.child = np.full((size, actions), -1, dtype=np.int32)
        self.value = np.zeros(size, dtype=np.float32)
        self.over = np.zeros(size, dtype=bool)
        self.rules.put(self.positions, np.arange(n), roots)
        self._look(roots, np.arange(n))

    def _look(self, positions: Positions, nodes: np.ndarray) -> None:
        """Ask the network about positions that are not over."""
        allowed = self.rules.sensible(positions)
        logits, values = self.search.evaluate(positions, allowed)
        prior = _softmax(np.where(allowed, logits, _NEVER))
        floor = self.search.floor
        prior = (1 - floor) * prior + floor * allowed / allowed.sum(axis=1, keepdims=True)
        self.logits[nodes] = np.where(allowed, np.log(np.maximum(prior, 1e-30)), _NEVER)
        self.prior[nodes], self.value[nodes] = prior, values

    def _scores(self, nodes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """(visits, values completed, logits + s(values), value of the node) of these nodes."""
        visits, prior = self.visits[nodes], self.prior[nodes]
        values = self.totals[nodes]
        values /= np.maximum(visits, 1)
        seen = visits > 0
        weights = prior * seen
        total = visits.sum(axis=1)
        expected = np.einsum("ij,ij->i", weights, values) / np.maximum(weights.sum(axis=1), 1e-12)
        mixed = (self.value[nodes] + total * expected) / (1 + total)
        values = np.where(seen, values, mixed[:, None])
        logits = self.logits[nodes]
        # The range over what may be played; the rest has the mixed value, which lies within it.
        low, high = values.min(axis=1), values.max(axis=1)
        weight = (
            (self.search.base + visits.max(axis=1)) * self.search.scale / np.maximum(high - low, self.search.spread)
        )
        scores = logits + (values - low[:, None]) * weight[:, None]
        return visits, values, scores, mixed

    def inside(self, nodes: np.ndarray) -> np.ndarray:
        """Below the root: the action whose share of visits is furthest behind the improved policy."""
        visits, _, scores, _ = self._scores(nodes)
        policy = _softmax(scores)
        policy -= visits / (1 + visits.sum(axis=1, keepdims=True))
        return policy.argmax(axis=1)

    def halved(self, noise: np.ndarray, wanted: np.ndarray) -> np.ndarray:
        """At a noisy root: the best of the candidates with as many visits as `wanted` (n,)."""
        visits, _, scores, _ = self._scores(np.arange(self.n))
        scores += noise
        scores[visits != wanted[:, None]] += 2 * _NEVER
        return scores.argmax(axis=1)

    def simulate(self, actions: np.ndarray, number: int) -> None:
        """Walk down from the roots by `actions` first, add a leaf to each tree, and tell its value upwards."""
        n = self.n
        nodes, games = np.arange(n), np.arange(n)
        path: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []  # games, nodes, actions by depth
        leaf_values = np.zeros(n, dtype=np.float32)
        depth = np.zeros(n, dtype=np.int64)
        parents, moves = np.empty(n, dtype=np.int64), np.empty(n, dtype=np.int64)
        fresh = np.zeros(n, dtype=bool)
        while True:
            path.append((games, nodes, actions))
            below = self.child[nodes, actions]
            new = below < 0
            if new.any():
                gone = games[new]
                parents[gone], moves[gone], fresh[gone] = nodes[new], actions[new], True
            over = ~new & self.over[below]
            if over.any():
                leaf_values[games[over]] = self.value[below[over]]
            depth[games] += 1
            on = ~new & ~over
            if not on.any():
                break
            games, nodes = games[on], below[on]
            actions = self.inside(nodes)
        rows = np.flatnonzero(fresh)
        if len(rows):
            leaf_values[rows] = self._grow(rows, parents[rows], moves[rows], number)
        for level in range(len(path) - 1, -1, -1):
            games, nodes, actions = path[level]
            self.visits[nodes, actions] += 1
            odd = (depth[games] - level) & 1  # the mover changes with every step
            self.totals[nodes, actions] += np.where(odd, -leaf_values[games], leaf_values[games])

    def _grow(self, rows: np.ndarray, parents: np.ndarray, moves: np.ndarray, number: int) -> np.ndarray:
        """New leaves in the trees `rows`; gives their values for their mover."""
        nodes = number * self.n + rows
        self.child[parents, moves] = nodes
        positions = self.rules.play(self.rules.take(self.positions, parents), moves)
        self.rules.put(self.positions, nodes, positions)
        over = self.rules.over(positions)
        if over.any():
            ended = self.rules.take(positions, np.flatnonzero(over))
            sign = 1 - 2 * self.rules.turn(ended).astype(np.float32)
            self.value[nodes[over]] = self.rules.score(ended) * sign / self.rules.worth
            self.over[nodes[over]] = True
            left = np.flatnonzero(~over)
            if len(left):
                self._look(self.rules.take(positions, left), nodes[left])
        else:
            self._look(positions, nodes)
        return self.value[nodes]

    def found(self, noise: np.ndarray | None) -> Found:
        visits, values, scores, _ = self._scores(np.arange(self.n))
        policy = _softmax(scores)
        most = visits.max(axis=1, keepdims=True)
        best = np.where(visits == most, scores, 2 * _NEVER).argmax(axis=1)
        actions = best if noise is None else np.where(visits == most, scores + noise, 2 * _NEVER).argmax(axis=1)
        return Found(actions, best, policy, visits, np.einsum("ij,ij->i", policy, values), values)


def _softmax(scores: np.ndarray) -> np.ndarray:
    policy = np.exp(scores - scores.max(axis=1, keepdims=True))
    policy /= policy.sum(axis=1, keepdims=True)
    return policy
