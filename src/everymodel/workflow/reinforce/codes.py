"""Every finding that a run of agents can make. A code never changes its meaning."""

from __future__ import annotations

from typing import Any

from everymodel.core.finding import Finding

# code -> severity, message with the finding's figures in it, advice, what the code means
_SAID: dict[str, tuple[str, str, str, str]] = {
    "return-not-reached": (
        "warning",
        "The mean return is {mean:.4g}; {until:.4g} was asked for.",
        "Give more time (--budget), or ask for less (--until).",
        "The return that was asked for, or from which the task counts as solved, was not reached.",
    ),
    "no-better-than-chance": (
        "warning",
        "The agent returns {mean:.4g} and acting by chance {chance:.4g}: nothing learnt can be told from luck.",
        "Give more time (--budget); where it stays so, look at the rewards: are there any that differ?",
        "An agent's mean return does not lie clearly above that of random actions.",
    ),
    "no-episode-ended": (
        "warning",
        "No episode ended while it learnt ({steps:,} steps).",
        "Give more time (--budget), or an environment with shorter episodes.",
        "No training episode ended, so that no return of a whole episode was known while learning.",
    ),
    "always-cut": (
        "info",
        "Every tested episode was ended by the limit of {limit:,} steps, none by the task itself.",
        "Nothing to do where the task is to last; else give more time (--budget).",
        "All tested episodes were cut by the time limit.",
    ),
    "no-limit": (
        "info",
        "The environment sets no limit; episodes are cut after {limit:,} steps.",
        "Register it with max_episode_steps, or wrap it in TimeLimit, for another limit.",
        "An environment never ends an episode by itself after some number of steps, so a usual limit was set.",
    ),
    "few-episodes": (
        "warning",
        "Tested on {count} episodes instead of {all}: the time was short.",
        "everymodel evaluate MODEL --episodes {all} tests it again.",
        "Fewer episodes than usual were tested, because the budget was short.",
    ),
    "few-games": (
        "warning",
        "Tested in {count} games against each opponent instead of {all}: the time was short.",
        "everymodel evaluate MODEL --episodes {all} tests it again.",
        "Fewer games than usual were played to test a player, because the budget was short.",
    ),
    "test-cut-short": (
        "warning",
        "The test was ended by the clock while episodes ran; those that ended first are short ones.",
        "everymodel evaluate MODEL --episodes 100 tests it again.",
        "The test was stopped by the clock in the middle of episodes, so that its mean may be biased.",
    ),
    "why-not": (
        "warning",
        "{model}: {why}",
        "",
        "What an agent says of itself when it does not learn: no more exploration, equal rewards, and the like.",
    ),
    "gave-way": (
        "info",
        "{model} did not get better any more ({mean:.4g} of {until:.4g}), so {other} was tried as well.",
        "Name an agent (--model) to give it all of the time.",
        "The first agent stood still below the return that was asked for, and another was given the rest of the time.",
    ),
    "late-start": (
        "warning",
        "{late:.0f} of {whole:.0f} seconds had passed before the first step was learnt from: loading took them.",
        "Give more time (--budget), or run it where less else runs.",
        "Loading libraries took a large part of the time of a fit.",
    ),
    "no-film": (
        "info",
        "There is no film of an episode: {why}",
        "",
        "The environment draws no pictures, or lacks a package for them.",
    ),
    "while-learning": ("info", "{note}", "", "Something that happened while an agent learnt."),
}
CODES = {code: said[3] for code, said in _SAID.items()}


def say(code: str, **figures: Any) -> Finding:
    """The finding of this code."""
    severity, message, advice, _ = _SAID[code]
    return Finding(code, severity, message.format(**figures), advice.format(**figures), (), figures)
