"""Proposing settings: near the best at first, then by Optuna's sampler where it is installed, at random else.

A proposal is a pure function of the results so far and the seed, so a replayed search proposes the same again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from everymodel.core import seeds
from everymodel.core.card import Card, Parameter
from everymodel.core.optional import installed

NEAR = 8  # proposals near the best before a model of the whole space is worth asking
_STEP = 0.15  # of a parameter's range


def propose(card: Card, history: Sequence[tuple[Mapping[str, Any], float]], seed: int) -> dict[str, Any] | None:
    """Settings that have not been tried, or None where the card has nothing to tune.

    Parameters
    ----------
    history : (settings, loss) of finished candidates of this card; lower is better.
    """
    space = [p for p in card.parameters if p.tune and (p.choices or p.type == "bool" or p.high is not None)]
    if not space or not history:
        return None
    best = min(history, key=lambda item: item[1])[0]
    defaults = card.defaults()
    tried = [{p.name: h.get(p.name, defaults.get(p.name)) for p in space} for h, _ in history]
    for attempt in range(20):
        rng = np.random.default_rng(seeds.derive(seed, "propose", len(history), attempt))
        if len(history) > NEAR and attempt < 3 and installed("optuna"):
            found = _by_optuna(space, history, defaults, seeds.derive(seed, "tpe", len(history), attempt))
        else:
            found = _near(space, best, defaults, rng)
        if not any(all(_same(found[n], t[n]) for n in found) for t in tried):
            return {**best, **found}
    return None


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, float) and isinstance(b, int | float):
        return math.isclose(a, b, rel_tol=1e-3)
    return a == b


def _bounds(p: Parameter) -> tuple[float, float]:
    """Where tuning may go, on the scale on which it moves."""
    low, high = float(p.low or 0.0), float(p.high or 1.0)
    if p.log:
        low = math.log(max(low, 1e-12))
        return low, math.log(high)
    return low, high


def _near(space: list[Parameter], best: Mapping[str, Any], defaults: Mapping[str, Any], rng: Any) -> dict[str, Any]:
    """A step from the best in a few directions."""
    moved = {}
    chosen = rng.random(len(space)) < max(0.5, 1.5 / len(space))
    if not chosen.any():
        chosen[rng.integers(len(space))] = True
    for p, move in zip(space, chosen):
        value = best.get(p.name, defaults.get(p.name))
        if not move:
            moved[p.name] = value
        elif p.type == "bool":
            moved[p.name] = bool(rng.random() < 0.5)
        elif p.type == "choice":
            moved[p.name] = p.choices[rng.integers(len(p.choices))]
        else:
            low, high = _bounds(p)
            middle = (low + high) / 2 if value is None else math.log(max(value, 1e-12)) if p.log else float(value)
            moved[p.name] = _value(p, float(np.clip(middle + rng.normal() * _STEP * (high - low), low, high)))
    return moved


def _value(p: Parameter, place: float) -> float | int:
    """From the moving scale back to the parameter, rounded to what a person would write."""
    value = math.exp(place) if p.log else place
    if p.type == "int":
        return int(min(max(round(value), p.low or round(value)), p.high or round(value)))
    rounded = float(f"{value:.4g}")
    return min(max(rounded, float(p.low) if p.low is not None else rounded), float(p.high or rounded))


def _by_optuna(
    space: list[Parameter], history: Sequence[tuple[Mapping[str, Any], float]], defaults: Mapping[str, Any], seed: int
) -> dict[str, Any]:
    """The next point of the tree-structured Parzen estimator (Bergstra et al. 2011) after this history."""
    import warnings

    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    distributions: dict[str, Any] = {}
    for p in space:
        if p.type in ("bool", "choice"):
            distributions[p.name] = optuna.distributions.CategoricalDistribution([*(p.choices or (False, True))])
        elif p.type == "int":
            distributions[p.name] = optuna.distributions.IntDistribution(int(p.low or 0), int(p.high or 1), log=p.log)
        else:
            distributions[p.name] = optuna.distributions.FloatDistribution(
                float(p.low or (1e-12 if p.log else 0.0)), float(p.high or 1.0), log=p.log
            )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        study = optuna.create_study(
            sampler=optuna.samplers.TPESampler(seed=seed, n_startup_trials=5, multivariate=True)
        )
        for settings, loss in history:
            given = {p.name: settings.get(p.name, defaults.get(p.name)) for p in space}
            inside = all(v is not None and distributions[n]._contains(distributions[n].to_internal_repr(v))
                         for n, v in given.items())  # fmt: skip
            if inside and math.isfinite(loss):
                study.add_trial(optuna.trial.create_trial(params=given, distributions=distributions, value=loss))
        asked = study.ask(distributions).params
    by_name = {p.name: p for p in space}
    return {
        n: (_value(by_name[n], math.log(v) if by_name[n].log else v) if by_name[n].type == "float" else v)
        for n, v in asked.items()
    }
