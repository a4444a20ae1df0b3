"""The contract of players of games: what they play, in a file as in Python."""

from __future__ import annotations

from typing import Any

import numpy as np

from everymodel import catalog
from everymodel.core.card import Card
from everymodel.testing.generating import refused


def check_player(card: Card, model: Any) -> None:
    """Raises AssertionError with what is broken.

    Fitting gives the player itself; whole games are played by the rules; equal random states give equal players; the
    packed step and the model file play alike; moves that are against the rules, games that are over, and settings out
    of range are refused in one sentence; an evaluation says mean, interval, and who won.
    """
    from sklearn.base import clone

    from everymodel.scoring.model import open_bytes
    from everymodel.workflow.wrap import wrap

    where = card.class_name
    source = clone(model)
    assert source.fit() is source, f"{where}: fit does not give the player"
    rules = source.rules_
    game = rules.single()
    while not game.over:
        assert game.push(source.act(list(game.moves))), f"{where}: plays against the rules"
    moves = list(game.moves)
    refused(lambda: source.act(moves), where, "a game that is over")
    again = clone(model).fit()
    opened = open_bytes(wrap(source, None).to_bytes())
    step = catalog.module(card).pack(source)
    packed = type(step).build(*step.spec())
    positions = rules.after(moves[:1]).join(rules.after(moves[:2]))
    made = source.act(positions)
    for other, name in ((again, "equal random states"), (opened, "the file"), (packed, "the step after a round trip")):
        assert np.array_equal(other.act(positions), made), f"{where}: {name} plays differently"
    assert opened.environment == source.environment_, f"{where}: the file says it learnt {opened.environment!r}"
    named = [rules.name(a) for a in moves[:2]]
    assert opened.act([]) == moves[0], f"{where}: the file begins differently"
    assert opened.act(named) == source.act(moves[:2]), f"{where}: names of moves are read differently"
    seen = rules.observe(positions)
    assert np.shape(opened.act(seen)) == (2,), f"{where}: observations are not answered"
    drawn = opened.act(positions, seed=5, temperature=1.0)
    assert np.array_equal(drawn, source.act(positions, seed=5, temperature=1.0)), (
        f"{where}: equal seeds play differently"
    )
    last = np.flatnonzero(rules.sensible(positions)[0])[-1]
    only = np.arange(rules.actions) == last
    assert opened.act(moves[:1], mask=only) == last, f"{where}: a mask is not kept"
    refused(lambda: opened.act(moves[:1], mask=np.zeros(rules.actions, dtype=bool)), where, "a mask of nothing")
    refused(lambda: opened.act([rules.actions]), where, "a move that is not there")
    refused(lambda: opened.act([moves[0], moves[0]]), where, "a move against the rules")
    refused(lambda: opened.act("left"), where, "a word")
    refused(lambda: opened.act([], temperature=-1.0), where, "a temperature below 0")
    refused(lambda: opened.act([], simulations=-1), where, "a search of less than nothing")
    told = source.evaluate(4, env="random", seed=1)
    assert {"mean", "low", "high", "won", "lost", "games"} <= set(told) and told["games"] == 4, f"{where}: evaluate"
    assert told == source.evaluate(4, env="random", seed=1), f"{where}: equal seeds evaluate differently"
    refused(lambda: source.evaluate(0), where, "no games")
    refused(lambda: clone(model).fit("no_such_game"), where, "a game that is not there")
