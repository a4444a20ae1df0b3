"""The Go Text Protocol: what an engine answers, and another program asked through pipes."""

from __future__ import annotations

import io
import sys

import pytest

from everymodel.scoring.games.gtp import GtpClient, GtpEngine, GtpError, score_text

# The first legal point of the board: a player that needs no chance.
PROGRAM = """
import sys
from everymodel.scoring.games.gtp import GtpEngine
GtpEngine(lambda game: game.legal()[0], name="first").run(sys.stdin, sys.stdout)
"""


def engine() -> GtpEngine:
    return GtpEngine(lambda game: game.legal()[0], name="first", version="3", sizes=(5, 7))


def test_every_command_is_answered_as_the_protocol_says():
    e = engine()
    for line, said in [
        ("protocol_version", "= 2"),
        ("12 name", "=12 first"),
        ("version # remark", "= 3"),
        ("known_command genmove", "= true"),
        ("known_command dance", "= false"),
        ("boardsize 7", "="),
        ("komi 0.5", "="),
        ("clear_board", "="),
        ("play b D4", "="),
        ("play\tWHITE d5", "="),
        ("3 play b d4", "?3 illegal move"),
        ("genmove black", "= A7"),
        ("genmove w", "= B7"),
        ("undo", "="),
        ("genmove w", "= B7"),
        ("komi 1.5", "="),
        ("undo", "="),  # takes the move back, not the komi
        ("genmove w", "= B7"),
        ("play b pass", "="),
        ("final_score", "= W+1.5"),
        ("quit", "="),
    ]:
        answer = e.answer(line)
        assert answer is not None and answer.endswith("\n\n")
        assert answer.strip() == said, line
    assert e.ended
    shown = e.answer("showboard")
    assert shown is not None and shown.startswith("= \n") and "\n\n" not in shown[:-2] and "O" in shown
    listed = e.answer("list_commands")
    assert listed is not None
    assert all(e.answer(f"known_command {word}") == "= true\n\n" for word in listed[2:].split())


def test_what_cannot_be_done_is_refused_and_changes_nothing():
    e = engine()
    e.answer("play b c3")
    before = e.game.text()
    for line, said in [
        ("boardsize 19", "? unacceptable size"),
        ("boardsize six", "? syntax error"),
        ("boardsize", "? syntax error"),
        ("komi nan", "? syntax error"),
        ("play b", "? syntax error"),
        ("play red c4", "? syntax error"),
        ("play b i1", "? syntax error"),
        ("play w f1", "? syntax error"),
        ("play w c3", "? illegal move"),
        ("dance", "? unknown command"),
        ("7", "?7 unknown command"),
    ]:
        assert e.answer(line) == said + "\n\n", line
    assert e.game.text() == before and e.game.komi == 0
    for line in ("", "   ", "# a remark", "\x07"):
        assert e.answer(line) is None
    assert e.answer("undo") == "= \n\n"
    assert e.answer("undo") == "? cannot undo\n\n"
    assert GtpEngine(lambda game: 12).answer("genmove b") == "= C3\n\n"
    stubborn = GtpEngine(lambda game: 12)
    stubborn.answer("play b c3")
    assert stubborn.answer("genmove w") == "? illegal move\n\n"


def test_colours_may_move_twice_and_play_goes_on_after_two_passes():
    e = engine()
    for line in ("play b c3", "play b c4", "play b pass", "play w pass", "play w a1"):
        assert e.answer(line) == "= \n\n"
    assert e.game.stones[0].bit_count() == 2 and e.game.stones[1].bit_count() == 1


def test_lines_are_answered_until_quit():
    out = io.StringIO()
    engine().run(["1 name\n", "\n", "2 quit\n", "3 name\n"], out)
    assert out.getvalue() == "=1 first\n\n=2 \n\n"
    assert [score_text(s) for s in (3.5, -25.0, 0.0)] == ["B+3.5", "W+25", "0"]


def test_another_program_is_asked_through_pipes():
    with GtpClient([sys.executable, "-c", PROGRAM]) as other:
        assert other.ask("name") == "first"
        assert other.ask("boardsize 3") == ""
        assert other.ask("9 genmove b") == "A3"
        assert other.ask("showboard").splitlines()[1].startswith("3 X")
        with pytest.raises(GtpError, match="refused 'play w a3': illegal move"):
            other.ask("play w a3")
        assert other.ask("genmove w") == "B3"
        other.ask("quit")
        with pytest.raises(GtpError, match="has gone"):
            other.ask("name")
            other.ask("name")
    with pytest.raises(GtpError, match="does not start"):
        GtpClient(["/nowhere/go-program"])
