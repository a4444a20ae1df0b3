"""The contract of agents: what they do, in a file as in Python."""

from __future__ import annotations

from typing import Any

import numpy as np

from everymodel import catalog, environments
from everymodel.core.card import Card
from everymodel.testing.generating import refused

# Where tiny instances learn, by the kinds of actions that they take and whether they need states that can be counted.
_WHERE = {"discrete": "CartPole-v1", "continuous": "Pendulum-v1", "table": "FrozenLake-v1"}


def place_of(model: Any) -> str:
    """An environment that suits the agent."""
    return _WHERE["table" if getattr(model, "counted", False) else type(model).kinds[0]]


def check_agent(card: Card, model: Any) -> None:
    """Raises AssertionError with what is broken.

    Fitting gives the agent itself; actions lie in the environment's space, are the same for the same observation at
    temperature 0 and for the same seed above it; equal random states give equal agents; the packed step and the model
    file act alike; observations of another shape, NaN, and a mask that allows nothing are refused in one sentence; an
    evaluation says mean, interval and episodes.
    """
    if "game" in card.inputs:
        from everymodel.testing.playing import check_player

        check_player(card, model)
        return
    from sklearn.base import clone

    from everymodel.scoring.model import open_bytes
    from everymodel.workflow.wrap import wrap

    where = card.class_name
    place = place_of(model)
    lanes = environments.make(place, 12)
    seen = lanes.reset(3)
    source = clone(model)
    assert source.fit(place, until=None) is source, f"{where}: fit does not give the agent"
    made = np.asarray(source.act(seen))
    assert made.shape == (12, *lanes.action.shape), f"{where}: actions have shape {made.shape}"
    lanes.action.batch(made, "action")
    if not lanes.action.discrete:
        low, high = lanes.action.bounds()
        assert ((made >= low) & (made <= high)).all(), f"{where}: actions lie outside their bounds"
    one = source.act(seen[0])
    assert np.array_equal(one, made[0]) or np.allclose(one, made[0], atol=1e-5), f"{where}: one row acts differently"
    drawn = np.asarray(source.act(seen, seed=5, temperature=1.0))
    assert np.array_equal(drawn, source.act(seen, seed=5, temperature=1.0)), f"{where}: equal seeds act differently"
    again = clone(model).fit(place, until=None)
    assert np.array_equal(again.act(seen), made), f"{where}: equal random states differ"
    step = catalog.module(card).pack(source)
    packed = type(step).build(*step.spec())
    assert np.array_equal(packed.act(seen), made), f"{where}: the step acts differently after a round trip"
    opened = open_bytes(wrap(source, None).to_bytes())
    assert np.array_equal(opened.act(seen), made), f"{where}: the file acts differently"
    assert opened.environment == lanes.name, f"{where}: the file says it learnt in {opened.environment!r}"
    if lanes.action.discrete:
        only = np.zeros(lanes.action.n, dtype=bool)
        only[-1] = True
        assert (np.asarray(opened.act(seen, mask=only)) == lanes.action.n - 1).all(), f"{where}: a mask is not kept"
        refused(lambda: opened.act(seen, mask=np.zeros(lanes.action.n, dtype=bool)), where, "a mask of nothing")
    if lanes.observation.discrete:
        refused(lambda: opened.act(lanes.observation.n), where, "a state that is not there")
    else:
        refused(lambda: opened.act(seen[:, :-1]), where, "an observation of another shape")
        refused(lambda: opened.act(np.full(lanes.observation.shape, np.nan)), where, "NaN")
    refused(lambda: opened.act("left"), where, "a word")
    refused(lambda: opened.act(seen, temperature=-1.0), where, "a temperature below 0")
    told = source.evaluate(4, seed=1)
    assert {"mean", "low", "high", "iqm", "episodes"} <= set(told) and told["episodes"] == 4, f"{where}: evaluate"
    assert told == source.evaluate(4, seed=1), f"{where}: equal seeds evaluate differently"
    refused(lambda: source.evaluate(0), where, "no episodes")
    refused(lambda: clone(model).fit("NoSuchPlace-v0"), where, "an environment that is not there")
