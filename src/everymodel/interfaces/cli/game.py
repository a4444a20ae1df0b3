"""Board games in the terminal: a person against an agent, Go programs against it (GTP), and its results in words."""

from __future__ import annotations

import sys
from typing import Any

from everymodel.core.errors import CapabilityError, ParameterError
from everymodel.interfaces.cli import draw
from everymodel.interfaces.cli.shell import console, emit, say

_HELP = "A move such as {such}; ? for all that are allowed, undo, quit (or Ctrl-D)."


def play(
    loaded: Any, second: bool, simulations: int | None, temperature: float, seed: int, as_json: bool, quiet: bool
) -> None:
    """One game against the person, or the lines, on standard input."""
    rules = loaded.rules
    game, watched = rules.single(), sys.stdin.isatty()
    if not quiet:
        say(_HELP.format(such=rules.name(int(game.legal()[0]))))
    while not game.over:
        if not (quiet or as_json):
            print(f"\n{rules.text(rules.after(game.moves))}\n", flush=True)
        if (game.turn == 0) == second:
            action = loaded.act(list(game.moves), seed=seed + len(game.moves), temperature=temperature,
                                **({} if simulations is None else {"simulations": simulations}))  # fmt: skip
            game.push(int(action))
            if not as_json:
                print(f"the agent plays {rules.name(int(action))}", flush=True)
            continue
        word = _asked(watched)
        if word is None or word == "quit":
            say("The game was left.")
            break
        if word == "?":
            print(" ".join(rules.name(int(a)) for a in game.legal()), flush=True)
        elif word == "undo":
            kept = game.moves[: max(len(game.moves) - 2, 0)]
            game = rules.single(*kept)
        elif word:
            try:
                if not game.push(rules.action(word)):
                    say(f"{draw.clean(word, 40)} is not allowed here.")
            except ParameterError as error:
                say(f"{error}.")
    score = game.score() * (-1 if second else 1) if game.over else None
    if as_json:
        emit({"moves": [rules.name(int(a)) for a in game.moves], "over": bool(game.over), "score": score})
        return
    if score is not None:
        print(f"\n{rules.text(rules.after(game.moves))}\n")
        word = "You win" if score > 0 else "The agent wins" if score < 0 else "A draw"
        print(f"{word} ({abs(score):g})." if score and rules.worth > 1 else f"{word}.", flush=True)


def _asked(watched: bool) -> str | None:
    if not watched:
        line = sys.stdin.readline()
        return line.strip().lower() if line else None
    try:
        return input("your move › ").strip().lower()
    except EOFError:
        return None


def gtp(loaded: Any, simulations: int | None, temperature: float, seed: int) -> None:
    """Answer a Go program or viewer on standard input and output until it says quit."""
    from everymodel import __version__
    from everymodel.scoring.games.gtp import GtpEngine

    rules = loaded.rules
    if rules.word != "go":
        raise CapabilityError(f"The Go Text Protocol is for Go; this agent plays {rules.word}.")
    size = int(rules.settings["size"])
    player = loaded.step.player(simulations, temperature, seed)
    komi = float(rules.settings.get("komi", 0.0))
    GtpEngine(player, "everymodel", __version__, (size,), size, komi).run(sys.stdin, sys.stdout)


def evaluate(told: dict[str, Any], other: str, game: str, quiet: bool) -> None:
    """Games against an opponent, in words."""
    span = draw.between(told["low"], told["high"])
    line = f"{told['won']:.0f} won, {told['drawn']:.0f} drawn, {told['lost']:.0f} lost of {told['games']:.0f} games"
    console().print(draw.text(f"{line} of {game} against {other}; mean score {draw.number(told['mean'])} {span}.".
                              replace(" .", "."), "bold"))  # fmt: skip
    if quiet:
        return
    made = draw.table("", "won", "drawn", "lost", right=[1, 2, 3])
    for key, name in (("_first", "with the first move"), ("_second", "with the second")):
        if any(told[f"{w}{key}"] for w in ("won", "drawn", "lost")):
            made.add_row(draw.text(name), *[draw.text(f"{told[w + key]:.0f}") for w in ("won", "drawn", "lost")])
    console().print(made)


def matches(rows: list[dict[str, Any]]) -> Any:
    """Results against each opponent, as a table."""
    made = draw.table("against", "games", "won", "drawn", "lost", "mean score", right=[1, 2, 3, 4, 5], wrap=[0])
    for row in rows:
        cells = [f"{row[k]:.0f}" for k in ("games", "won", "drawn", "lost")]
        made.add_row(draw.text(row["opponent"]), *map(draw.text, cells), draw.text(draw.number(row["mean"])))
    return made
