"""everymodel play: an agent acts in its environment, is watched, filmed; and what a fit of an agent says at its end."""

from __future__ import annotations

import sys
import time
from typing import Annotated, Any

import typer

from everymodel.core.errors import CapabilityError, ParameterError
from everymodel.core.schema import ACT_TASKS
from everymodel.interfaces.cli import draw, game
from everymodel.interfaces.cli.shell import Json, Quiet, Verbose, console, emit, examples, guarded, say, working
from everymodel.interfaces.cli.source import ModelFile, check_writable, size

EXAMPLES = examples(
    "everymodel play cartpole.em",
    "everymodel play cartpole.em --episodes 10 --seed 7 --json",
    "everymodel play cartpole.em --record balance.gif",
    "everymodel play lake.em --pace 4                             # where the environment can be drawn as text",
    "everymodel play go.em --second                              # a board game: you have the second move",
    "everymodel play go.em --gtp                                 # for Go programs and viewers",
    "everymodel play mine.em --env world.py:Mine-v0 --temperature 0.5",
)
_BOARD = "Board games"
_SHOWN = 20  # episodes that are listed


@guarded
def command(
    model: ModelFile,
    episodes: Annotated[int, typer.Option("--episodes", "-n", min=1, max=10_000, help="How many.")] = 3,
    env: Annotated[
        str | None,
        typer.Option(help="Where: an id, or a Python file; by default where it has learnt."),
    ] = None,
    record: Annotated[
        str | None, typer.Option(metavar="FILE", help="Also a film of the first episode: .gif or .mp4.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Equal seeds give equal episodes.")] = 0,
    temperature: Annotated[
        float, typer.Option(min=0.0, max=100.0, help="0: the best actions; 1: drawn as in training.")
    ] = 0.0,
    pace: Annotated[
        float | None, typer.Option(min=0.1, help="Steps per second to watch, where there is a view as text.")
    ] = None,
    second: Annotated[
        bool, typer.Option("--second", help="Board games: the agent has the first move.", rich_help_panel=_BOARD)
    ] = False,
    simulations: Annotated[
        int | None,
        typer.Option(
            min=0, max=1_000_000, help="Board games: positions to look at; fewer are weaker.", rich_help_panel=_BOARD
        ),
    ] = None,
    gtp: Annotated[bool, typer.Option("--gtp", help="Go: speak the Go Text Protocol.", rich_help_panel=_BOARD)] = False,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Let an agent act in its environment, and say what each episode returned; or play a board game against it."""
    check_writable(record, "--record", (".gif", ".mp4"))
    with working("Loading", quiet or as_json):
        import everymodel as em

        loaded: Any = em.load(model)
    if loaded.task not in ACT_TASKS:
        raise CapabilityError(f"This model ({loaded.task}) acts nowhere. Use everymodel predict, or sample.")
    if hasattr(loaded, "rules"):
        if record or env:
            raise ParameterError(f"--{'record' if record else 'env'} is not for board games. Leave it out.")
        if gtp:
            game.gtp(loaded, simulations, temperature, seed)
        else:
            game.play(loaded, second, simulations, temperature, seed, as_json, quiet)
        return
    if second or gtp or simulations is not None:
        raise ParameterError(f"--second, --simulations and --gtp are for board games; this agent acts in "
                             f"{loaded.environment}.")  # fmt: skip
    told = []
    watched = not (quiet or as_json) and (pace is not None or sys.stdout.isatty())
    for i in range(episodes):
        view = _View(pace or 4.0) if watched and i < _SHOWN else None
        one = loaded.play(env=env, seed=seed + i, temperature=temperature, watch=view)
        told.append({"episode": i + 1, "seed": seed + i, "return": one.total, "steps": one.steps,
                     "ended_by": "task" if one.ended else "time limit"})  # fmt: skip
        if not (quiet or as_json) and i < _SHOWN:
            say_episode(told[-1])
    mean = sum(t["return"] for t in told) / len(told)
    if record:
        with working("Filming", quiet or as_json):
            loaded.record(record, env=env, seed=seed, temperature=temperature)
    if as_json:
        emit({"environment": env or loaded.environment, "mean": mean, "episodes": told, "film": record})
        return
    if quiet:
        print(draw.number(mean))
        return
    if episodes > _SHOWN:
        console().print(draw.text(f"and {episodes - _SHOWN:,} more", "dim"))
    if episodes > 1:
        console().print(draw.text(f"Mean return {draw.number(mean)} over {episodes:,} episodes.", "bold"))
    if record:
        say(f"The film of episode 1 is in {record} ({size(record)}).")


def say_episode(told: dict[str, Any]) -> None:
    cut = " (time limit)" if told["ended_by"] == "time limit" else ""
    steps = f"{told['steps']:,} step{'s' if told['steps'] != 1 else ''}{cut}"
    console().print(draw.text(f"episode {told['episode']}: return {draw.number(told['return'])}, {steps}"))


class _View:
    """Draws the environment as text after every step, where it can be; in a terminal each view over the last one."""

    def __init__(self, pace: float):
        self.pause, self.rows, self.over = 1 / pace, 0, sys.stdout.isatty()

    def __call__(self, lanes: Any, action: Any, reward: float, total: float, steps: int) -> None:
        seen = lanes.text()
        if seen is None:
            return
        lines = [draw.clean(line) for line in seen.splitlines()]
        lines.append(f"step {steps:,}" + (f", action {_action(action)}, return {total:.4g}" if steps else ""))
        if self.over and self.rows:
            sys.stdout.write(f"\x1b[{self.rows}A\x1b[J")
        print("\n".join(lines), flush=True)
        self.rows = len(lines)
        if self.over:
            time.sleep(min(self.pause, 2.0))


def _action(action: Any) -> str:
    try:
        return ", ".join(f"{v:.3g}" for v in action.reshape(-1)[:6])
    except (AttributeError, TypeError, ValueError):
        return str(action)


def until(words: str | None) -> float | str | None:
    """ "475", "none" or nothing as `em.fit` takes it."""
    if words is None or words.strip().lower() == "auto":
        return "auto"
    if words.strip().lower() == "none":
        return None
    try:
        return float(words)
    except ValueError:
        raise ParameterError(f"--until {words}: expected a mean return, such as 475, or none.") from None


def evaluate(loaded: Any, env: str | None, episodes: int, seed: int, as_json: bool, quiet: bool) -> None:
    """Returns of fresh episodes, and how sure their mean is."""
    told = loaded.evaluate(episodes, env=env, seed=seed)
    if as_json:
        emit({"environment": env or loaded.environment, **told})
        return
    if hasattr(loaded, "rules"):
        game.evaluate(told, env or "uct:200", loaded.environment, quiet)
        return
    span = draw.between(told.get("low"), told.get("high"))
    line = f"Mean return {draw.number(told['mean'])} {span}".rstrip()
    console().print(draw.text(f"{line} over {told['episodes']:,} episodes of {env or loaded.environment}.", "bold"))
    if quiet:
        return
    names = {"iqm": "mean of the middle half", "std": "spread", "worst": "worst", "best": "best",
             "length": "steps of an episode"}  # fmt: skip
    console().print(draw.pairs([(title, draw.number(told[key])) for key, title in names.items()]))


def spaces(loaded: Any) -> list[tuple[str, Any]]:
    """Where it acts, what it sees and does, for its card."""
    told = loaded.manifest
    steps = f"{told['steps']:,} steps, {told.get('episodes', 0):,} episodes" if told.get("steps") else ""
    goal = f"a mean return of {told['until']:g}" if isinstance(told.get("until"), int | float) else ""
    return [("sees", str(loaded.observation_space)), ("does", str(loaded.action_space)), ("learnt for", goal),
            ("learnt in", steps)]  # fmt: skip


def look(env: str, as_json: bool) -> None:
    """What an environment is."""
    import everymodel as em

    world = em.look(env)
    if as_json:
        emit({"environment": world.name, "observation": world.observation, "action": world.action,
              "limit": world.limit, "threshold": world.threshold, "arrays": world.arrays})  # fmt: skip
        return
    console().print(draw.heading(f"{draw.clean(world.name)}: an environment"))
    console().print(draw.pairs(world.words()))
    console().print()
    console().print(draw.text(f"  everymodel fit {env} --budget 60s", "cyan"))


def show(run: Any, files: dict[str, Any], took: float, data: str) -> None:
    """What an agent has learnt: its return, what was tried, where it is, what to do next."""
    from rich.panel import Panel

    out, told = console(), run.story["structure"]
    what = "games" if "matches" in told else "episodes"
    good = told["goal"] is None or (told["test"].get("mean") or float("-inf")) >= told["goal"]
    title = f"act · {draw.clean(told['environment'], 60)}"
    panel = Panel(draw.text(run.headline, "bold"), title=title, title_align="left",
                  border_style="green" if good else "yellow")  # fmt: skip
    out.print(panel)
    out.print(draw.text(run.story["split"]["note"], "dim"))
    for row in run.search.leaderboard:
        mark = "*" if row["weight"] else " "
        if row["status"] != "ok":
            out.print(draw.text(f"  {row['model']}: {row['status']}"))
            continue
        parts = [f"{row['fit_seconds']:.1f} s", f"{row['steps'] or 0:,} steps", f"{row['episodes'] or 0:,} {what}"]
        if row["score"] is not None and len(run.search.leaderboard) > 1:
            span = draw.between(row["score_low"], row["score_high"])
            parts.insert(0, f"return {draw.number(row['score'])} {span}".rstrip())
        ends = {
            "until": "the return asked for",
            "budget": "the time",
            "stop": "a request",
            "steps": "its steps",
            "still": "no more gain",
        }
        ended = f", ended by {ends[row['ended_by']]}" if row["ended_by"] in ends else ""
        out.print(draw.text(f"{mark} {row['model']}: {', '.join(parts)}{ended}"))
    if "matches" in told:
        out.print()
        out.print(game.matches(told["matches"]))
    if told["test"].get("mean") is not None:
        made = draw.table("", "agent", "by chance", right=[1, 2])
        for key, name in told["titles"].items():
            other = told["by_chance"].get(key)
            made.add_row(draw.text(name), draw.text(draw.number(told["test"].get(key))),
                         draw.text("" if other is None else draw.number(other), "dim"))  # fmt: skip
        out.print()
        out.print(made)
    from everymodel.interfaces.cli.fit import close

    close(run, files, took, data)
