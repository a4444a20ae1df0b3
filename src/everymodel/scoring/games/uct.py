"""UCT: tree search by random games alone (Kocsis & Szepesvári 2006), an opponent without any learning.

action = uct_move(rules.single(), playouts=1000, random=Random(0))
"""

from __future__ import annotations

from math import log, sqrt
from random import Random

from everymodel.core.errors import ParameterError
from everymodel.scoring.games.base import Single


class Node:
    """What the search knows of a position: the actions tried from it, and those not yet."""

    __slots__ = ("action", "children", "parent", "untried", "visits", "wins")

    def __init__(self, parent: Node | None, action: int, untried: list[int]) -> None:
        self.parent = parent
        self.action = action
        self.untried = untried
        self.children: list[Node] = []
        self.visits = 0
        self.wins = 0.0  # of the player who played `action`


def uct_root(game: Single, playouts: int, random: Random, exploration: float = 0.5, width: float = 0.0) -> Node:
    """The tree after that many random games from `game`; its children hold visits and wins.

    Parameters
    ----------
    game : a game that is not over; it is left as it is.
    playouts : random games.
    random : where chance comes from.
    exploration : the factor of sqrt(ln N / n).
    width : 0: a game counts as won, drawn or lost. Larger: it counts also by score / width, half and half, so that
        a player who wins anyway wins by more, and one who loses anyway by less.
    """
    if game.over:
        raise ParameterError("a game came that is over; expected one with a move to choose")
    if playouts < 1:
        raise ParameterError(f"playouts = {playouts} came; expected 1 or more")
    root = Node(None, -1, game.sensible())
    random.shuffle(root.untried)
    for _ in range(playouts):
        node, now = root, game.copy()
        while not node.untried and node.children:
            scale = exploration * sqrt(log(node.visits))
            best, node_best = -1.0, node
            for child in node.children:
                bound = child.wins / child.visits + scale / sqrt(child.visits)
                if bound > best:
                    best, node_best = bound, child
            node = node_best
            now.push(node.action)
        if node.untried:
            action = node.untried.pop()
            now.push(action)
            child = Node(node, action, now.sensible())
            random.shuffle(child.untried)
            node.children.append(child)
            node = child
        score = now.score() if now.over else now.random_game(random)
        gain = 0.5 if score == 0 else 1.0 if score > 0 else 0.0
        if width:
            gain = 0.5 * gain + 0.25 + 0.25 * max(-1.0, min(1.0, score / width))
        if now.turn == 0:  # the second player played last
            gain = 1.0 - gain
        up: Node | None = node
        while up is not None:
            up.visits += 1
            up.wins += gain
            gain = 1.0 - gain
            up = up.parent
    return root


def uct_move(game: Single, playouts: int, random: Random, exploration: float = 0.5, width: float = 0.0) -> int:
    """The action that the search visits most."""
    children = uct_root(game, playouts, random, exploration, width).children
    return max(children, key=lambda child: child.visits).action
