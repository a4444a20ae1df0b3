"""The Go Text Protocol, version 2: any player of ours for any Go program or viewer, and other programs for us.

GtpEngine(lambda game: uct_move(game, 1000, random)).run(sys.stdin, sys.stdout)

with GtpClient(["gnugo", "--mode", "gtp", "--chinese-rules"]) as other:
    other.ask("boardsize 5")
    other.ask("genmove black")                        # "C3"
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Container, Iterable, Sequence
from typing import Self, TextIO

from everymodel.core.errors import EverymodelError
from everymodel.scoring.games.go_position import GoPosition
from everymodel.scoring.games.go_text import point_of

COLOURS = {"b": 0, "black": 0, "w": 1, "white": 1}


class GtpError(EverymodelError):
    """The other side refused a command, or has gone."""

    code = "gtp"


class GtpEngine:
    """Answers the commands of a controller.

    Parameters
    ----------
    player : chooses an action for the side to move of a GoPosition (which it must leave as it is).
    name, version : what the engine says that it is.
    sizes : the board sizes that the player can play.
    size, komi : what the first game has.

    A controller may let one colour move twice: the other's turn between is then passed over.
    """

    def __init__(
        self,
        player: Callable[[GoPosition], int],
        name: str = "everymodel",
        version: str = "1",
        sizes: Container[int] = range(2, 10),
        size: int = 5,
        komi: float = 0.0,
    ) -> None:
        self.player = player
        self.name = name
        self.version = version
        self.sizes = sizes
        self.game = GoPosition(size, komi, longest=0)
        self.ended = False  # after quit
        self._before: list[GoPosition] = []
        self._commands: dict[str, Callable[[list[str]], str]] = {
            "boardsize": self._boardsize,
            "clear_board": self._clear_board,
            "final_score": lambda words: score_text(self.game.score()),
            "genmove": self._genmove,
            "known_command": lambda words: "true" if words[0] in self._commands else "false",
            "komi": self._komi,
            "list_commands": lambda words: "\n".join(self._commands),
            "name": lambda words: self.name,
            "play": self._play,
            "protocol_version": lambda words: "2",
            "quit": self._quit,
            "showboard": lambda words: "\n" + self.game.text(),
            "undo": self._undo,
            "version": lambda words: self.version,
        }

    def answer(self, line: str) -> str | None:
        """The answer to one line, with its blank line at the end; None to an empty line or a remark."""
        kept = "".join(
            " " if c == "\t" else c for c in line.split("#")[0] if c == "\t" or (ord(c) >= 32 and ord(c) != 127)
        )
        words = kept.split()
        if not words:
            return None
        mark = words.pop(0) if words[0].isdigit() else ""
        if not words:
            return f"?{mark} unknown command\n\n"
        command = self._commands.get(words[0])
        if command is None:
            return f"?{mark} unknown command\n\n"
        try:
            said = command(words[1:])
        except (IndexError, KeyError, ValueError):  # fewer words, no such colour, no number or point
            return f"?{mark} syntax error\n\n"
        except GtpError as refusal:
            return f"?{mark} {refusal}\n\n"
        return f"={mark} {said}\n\n"

    def run(self, lines: Iterable[str], out: TextIO) -> None:
        """Answer line after line until quit or the end of the lines."""
        for line in lines:
            said = self.answer(line)
            if said is not None:
                out.write(said)
                out.flush()
            if self.ended:
                return

    def _boardsize(self, words: list[str]) -> str:
        size = int(words[0])
        if size not in self.sizes or not 2 <= size <= 9:
            raise GtpError("unacceptable size")
        self.game = GoPosition(size, self.game.komi, longest=0)
        self._before.clear()
        return ""

    def _clear_board(self, words: list[str]) -> str:
        self.game = GoPosition(self.game.size, self.game.komi, longest=0)
        self._before.clear()
        return ""

    def _komi(self, words: list[str]) -> str:
        komi = float(words[0])
        if not abs(komi) <= 1000:
            raise ValueError(komi)
        self.game.komi = komi
        return ""

    def _turn_to(self, colour: int) -> GoPosition:
        """The game with that colour to move, as a copy that a move can be played in."""
        game = self.game.copy()
        if game.passes >= 2:  # the controller plays on after two passes
            game.passes = 0
        if game.turn != colour:
            game.skip()
        return game

    def _push(self, game: GoPosition, action: int) -> None:
        if not game.push(action):
            raise GtpError("illegal move")
        self._before.append(self.game)
        self.game = game

    def _play(self, words: list[str]) -> str:
        self._push(self._turn_to(COLOURS[words[0].lower()]), point_of(words[1], self.game.size))
        return ""

    def _genmove(self, words: list[str]) -> str:
        game = self._turn_to(COLOURS[words[0].lower()])
        action = self.player(game.copy())
        self._push(game, action)
        return game.name(action)

    def _undo(self, words: list[str]) -> str:
        if not self._before:
            raise GtpError("cannot undo")
        komi, self.game = self.game.komi, self._before.pop()
        self.game.komi = komi
        return ""

    def _quit(self, words: list[str]) -> str:
        self.ended = True
        return ""


def score_text(score: float) -> str:
    """A score for Black as Go programs write it: B+3.5, W+25 or 0."""
    return "0" if score == 0 else f"{'B' if score > 0 else 'W'}+{abs(score):g}"


class GtpClient:
    """Another Go program, started and asked.

    Parameters
    ----------
    command : the program and its arguments.

    Raises
    ------
    GtpError : it cannot be started.
    """

    def __init__(self, command: Sequence[str]) -> None:
        try:
            self._process = subprocess.Popen(
                list(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            )
        except OSError as e:
            raise GtpError(f"{command[0]} came as a Go program, but it does not start ({e}); is it installed?") from e

    def ask(self, command: str) -> str:
        """The program's answer to a command; GtpError if it refuses it or has gone."""
        process = self._process
        assert process.stdin is not None and process.stdout is not None
        try:
            process.stdin.write(command + "\n")
            process.stdin.flush()
        except OSError as e:
            raise GtpError(f"the Go program has gone before {command!r}") from e
        lines: list[str] = []
        while True:
            line = process.stdout.readline()
            if not line:
                raise GtpError(f"the Go program has gone at {command!r}")
            line = line.rstrip("\r\n")
            if not line and lines:
                break
            if line:
                lines.append(line)
        said = "\n".join([lines[0][1:].lstrip("0123456789").strip(), *lines[1:]]).strip()
        if not lines[0].startswith("="):
            raise GtpError(f"the Go program refused {command!r}: {said}")
        return said

    def close(self) -> None:
        """Tell the program to quit; stop it if it does not within five seconds."""
        if self._process.poll() is None:
            try:
                self.ask("quit")
            except GtpError:
                pass
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except OSError:  # what was written last could not be delivered
                    pass
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
