"""What a fit of an agent says: live in the terminal, and afterwards, in words, why it has not learnt."""

from __future__ import annotations

import contextlib
import math
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from sklearn.utils.validation import check_is_fitted

from everymodel.models.reinforcement._live import Live

_SMALL = 1e-9
_GONE, _ALL, _OFTEN = 0.02, 0.98, 0.9  # shares from which on something counts as none, as all, and as most


@contextlib.contextmanager
def shown(verbose: int | bool, title: str, until: float | None) -> Iterator[Callable[[Live], None] | None]:
    """A progress bar in the terminal: return, episodes, steps per second, time left; gives the listener."""
    if not verbose:
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    goal = "" if until is None else f" of {until:g}"
    columns = (
        *(TextColumn("{task.description}"), BarColumn(), TextColumn("return {task.fields[mean]}")),
        *(TextColumn("best actions {task.fields[look]}" + goal), TextColumn("{task.fields[episodes]} episodes")),
        *(TextColumn("{task.fields[pace]} steps/s"), TimeRemainingColumn()),
    )
    with Progress(*columns, console=Console(file=sys.stderr), transient=False) as bar:
        task = bar.add_task(title, total=1.0, mean="-", look="-", episodes="0", pace="-")

        def listen(live: Live) -> None:
            mean, look = ("-" if v != v else f"{v:.4g}" for v in (live.mean, live.look))
            bar.update(task, completed=live.done, mean=mean, look=look, episodes=f"{live.episodes:,}",
                       pace=f"{live.pace:,.0f}")  # fmt: skip

        yield listen


class Diagnosed:
    """Part of agents that measure `signs_` of what hinders them."""

    signs_: dict[str, float]
    curve_: Any
    stopped_: str

    def diagnose(self) -> list[str]:
        """Why the agent does not learn, or not better: a sentence for each sign of it; none where there is none."""
        check_is_fitted(self, "signs_")
        return diagnosed(self.signs_, self.curve_, self.stopped_)


def diagnosed(signs: Mapping[str, float], curve: Any, stopped: str) -> list[str]:
    """Sentences about what hinders an agent; see `Diagnosed.diagnose`.

    Parameters
    ----------
    signs : what was measured, where it was: paid (largest difference between two rewards), ends (episodes that were
        over), cut (share of these that the time limit cut), explained (share of the variance of returns that the values
        explain), entropy (of the policy, as a share of the largest), bounds (share of actions at their bounds).
    curve : returns of episodes. stopped : why the fit ended; one that reached its goal has no troubles.
    """
    if stopped == "until":
        return []
    told: list[str] = []
    paid, ends = signs.get("paid", math.nan), signs.get("ends", math.nan)
    returns = [e[1] for e in curve.episodes]
    if ends == 0:
        told.append(
            "No episode ended while it learnt: set a limit of steps (environments.make(..., limit=500)), or give more "
            "steps."
        )
    equal = len(returns) > 1 and max(returns) - min(returns) <= _SMALL
    if paid <= _SMALL and (equal or not returns or signs.get("cut", 0.0) >= _ALL):
        told.append(
            "All rewards were equal, so nothing tells good actions from bad ones: what is to be found is too far away "
            "for chance. Pay for steps towards it, begin episodes nearer to it, or try an agent that explores (DQN)."
        )
    elif signs.get("cut", 0.0) >= _ALL and equal:
        told.append("Every episode was cut by the time limit with the same return: the task is never ended.")
    if signs.get("entropy", 1.0) <= _GONE:
        told.append(
            "The policy does the same everywhere and tries nothing else any more (its entropy is nearly 0): a larger "
            "entropy=, or a smaller learning_rate=, keeps it open."
        )
    if signs.get("explained", 1.0) <= 0.0 and paid > _SMALL:
        told.append(
            "The values explain nothing of the returns: what is seen may not tell how well it goes (is something "
            "missing from the observation?), or the rewards are mostly chance; more steps or a longer horizon= help."
        )
    if signs.get("bounds", 0.0) >= _OFTEN:
        told.append(
            "Nearly all actions lie at their bounds: check that the bounds of the action space are in the units of the "
            "environment."
        )
    return told
