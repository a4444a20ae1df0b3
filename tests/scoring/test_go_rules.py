"""Go: known counts and values, superko, suicide, eyes and scores, in the batched rules and in single games."""

from __future__ import annotations

from itertools import product
from random import Random

import numpy as np
import pytest

from everymodel.core.errors import ParameterError
from everymodel.scoring import games
from everymodel.scoring.games.go import Go
from everymodel.scoring.games.go_position import GoPosition, grid
from everymodel.scoring.games.go_text import point_name, point_of


def moves(text: str, size: int) -> list[int]:
    """Actions from "C3 pass D4"."""
    return [point_of(word, size) for word in text.split()]


def free(size: int, text: str) -> tuple[set[str], set[str]]:
    """What the mover may do after these moves, by either engine, pass left out; equal or the test fails."""
    rules, actions = Go(size), moves(text, size)
    game = GoPosition(size).play(*actions)
    one = {rules.name(a) for a in np.flatnonzero(rules.legal(rules.after(actions))[0]).tolist()}
    two = {rules.name(a) for a in game.legal()}
    assert one == two
    sensible = {rules.name(a) for a in np.flatnonzero(rules.sensible(rules.after(actions))[0]).tolist()}
    assert sensible == {rules.name(a) for a in game.sensible()}
    return one - {"pass"}, sensible


@pytest.mark.parametrize(("size", "count"), [(1, 1), (2, 57), (3, 12675)])
def test_as_many_positions_are_legal_as_known(size, count):
    g = grid(size)
    found = 0
    for colours in product(range(3), repeat=size * size):
        first = sum(b for b, c in zip(g.bits, colours) if c == 1)
        second = sum(b for b, c in zip(g.bits, colours) if c == 2)
        found += g.all_have_liberties(first, second)
    assert found == count


def test_the_board_of_four_points_is_worth_one_after_1446_nodes():
    nodes = 0

    def search(game: GoPosition, alpha: float, beta: float) -> float:
        nonlocal nodes
        if game.passes >= 2:
            return game.score()
        nodes += 1
        for action in (game.area, *range(game.area)):
            after = game.copy()
            if after.push(action):
                found = search(after, alpha, beta)
                alpha, beta = (max(alpha, found), beta) if game.turn == 0 else (alpha, min(beta, found))
                if alpha >= beta:
                    break
        return alpha if game.turn == 0 else beta

    assert search(GoPosition(2, longest=0), -4, 4) == 1
    assert nodes == 1446


def test_a_single_stone_is_not_retaken_at_once():
    ko = "B3 C3 A2 D2 B1 C1 C2 B2"  # White has taken nothing yet: Black's C2 stands, White's B2 takes it
    game = GoPosition(5).play(*moves(ko, 5))
    assert "C2" not in game.text().split()
    legal, _ = free(5, ko)
    assert "C2" not in legal
    legal, _ = free(5, ko + " E5 E4")  # after a move elsewhere and its answer it is another position
    assert "C2" in legal


def test_a_position_never_comes_back_even_after_many_moves_or_passes():
    rules = Go(2)
    rng = np.random.default_rng(0)
    barred = 0
    for kind in ("legal", "sensible"):
        p = rules.start(40)
        seen = [{bytes(4)} for _ in range(40)]
        while not rules.over(p).all():
            legal = rules.legal(p)
            # Every move that the rules would allow but for repetition: its result must have been on the board.
            for i in range(40):
                if rules.over(p)[i]:
                    continue
                game = rules.single()
                colours = rules.stones(p)[i]
                game.stones = [
                    sum(b for b, c in zip(grid(2).bits, colours) if c == 1),
                    sum(b for b, c in zip(grid(2).bits, colours) if c == 2),
                ]
                game.turn = int(rules.turn(p)[i])
                for a in range(4):
                    after = game.copy()
                    if not after.push(a):
                        assert not legal[i, a]
                        continue
                    board = bytes(1 if b & after.stones[0] else 2 if b & after.stones[1] else 0 for b in grid(2).bits)
                    assert legal[i, a] == (board not in seen[i])
                    barred += not legal[i, a]
            actions = games.choose(legal if kind == "legal" else rules.sensible(p), rng)
            live = ~rules.over(p)
            p = rules.play(p, actions)
            for i, colours in enumerate(rules.stones(p)):
                if live[i] and actions[i] < 4:
                    assert bytes(colours.tolist()) not in seen[i]
                    seen[i].add(bytes(colours.tolist()))
    assert barred > 20  # or the test has tried nothing


def test_suicide_is_forbidden_and_taking_is_not_suicide():
    legal, _ = free(5, "A2 E5 B1 E4")
    assert "A1" in legal  # Black's own eye
    legal, _ = free(5, "A2 E5 B1")
    assert "A1" not in legal  # White would die at once
    legal, _ = free(5, "A2 A3 B1 B2 E5 C1 E4")
    assert "A1" in legal  # White takes A2 and B1
    game = GoPosition(5).play(*moves("A2 A3 B1 B2 E5 C1 E4 A1", 5))
    assert game.stones[0].bit_count() == 2
    legal, _ = free(5, "A2 E5 B1 E4 A4 E3 B3 D5 C2 D4 B2 D3")
    assert {"A1", "A3"} <= legal


def test_eyes_are_kept_and_passes_come_last():
    _, sensible = free(5, "A2 E5 B1 E4")
    assert "A1" not in sensible and "pass" not in sensible
    _, sensible = free(5, "A2 B2 B1 E4")  # White at the corner of it: no eye
    assert "A1" in sensible
    # Black holds everything but two eyes: nothing sensible is left, and White finds nothing at all.
    rules = Go(2)
    p = rules.after(moves("A1 pass B2 pass", 2))
    assert np.flatnonzero(rules.sensible(p)[0]).tolist() == [4]
    assert rules.legal(p)[0].tolist() == [True, True, True, True, True] or rules.legal(p)[0, 4]
    middle = "B3 D1 C4 E1 D3 E2 C2 A5"  # four stones around C3
    _, sensible = free(5, middle)
    assert "C3" not in sensible
    _, sensible = free(5, middle.replace("D1", "B4"))  # one corner of it is White's
    assert "C3" not in sensible
    _, sensible = free(5, middle.replace("D1", "B4").replace("E1", "D2"))  # two are
    assert "C3" in sensible


def test_scores_count_stones_and_what_they_alone_reach():
    for size, text, score in [
        (5, "", 0),
        (5, "C3", 25),
        (5, "C3 A1", 0),  # both reach all the rest
        (3, "A1 C1 A2 C2 A3 C3", 0),
        (3, "B1 C1 B2 C2 B3", 4),
        (5, "C1 D1 C2 D2 C3 D3 C4 D4 C5 D5", 5),
        (2, "A1 pass B2", 4),
    ]:
        actions = moves(text, size)
        for komi in (0.0, 2.5):
            rules = Go(size, komi)
            assert rules.score(rules.after(actions))[0] == score - komi
            assert rules.single(*actions).score() == score - komi
    owners = Go(3).owners(Go(3).after(moves("A1 C1 A2 C2 A3 C3", 3)))[0]
    assert owners.reshape(3, 3).tolist() == [[1, 0, -1]] * 3


def test_a_game_ends_with_two_passes_or_three_plies_a_point():
    rules = Go(2)
    p = rules.after([4, 4])
    assert rules.over(p)[0] and not rules.legal(p).any()
    p = rules.after([4, 0, 4])
    assert not rules.over(p)[0]
    rng = np.random.default_rng(0)
    p = rules.start(200)
    for _ in range(rules.longest):
        assert p.plies.max() <= rules.longest
        p = rules.play(p, games.choose(rules.legal(p), rng))
    assert rules.over(p).all() and (p.plies == rules.longest).any() and (p.passes == 2).any()
    game = GoPosition(2, longest=0)
    random = Random(1)
    while not game.over:
        game.push(random.choice(game.legal()))
    assert game.passes == 2


def test_keys_tell_positions_apart_on_every_size():
    for size in (5, 6, 7, 9):
        rules, rng = Go(size), np.random.default_rng(size)
        p = rules.start(40)
        by_key: dict[int, bytes] = {}
        for _ in range(60):
            p = rules.play(p, games.choose(rules.legal(p), rng))
            for key, colours in zip(p.keys.tolist(), rules.stones(p)):
                assert by_key.setdefault(key, colours.tobytes()) == colours.tobytes()
        assert len(set(by_key.values())) == len(by_key)


def test_settings_and_names_that_cannot_be_are_refused():
    for settings in ({"size": 1}, {"size": 10}, {"size": 5.0}, {"komi": float("nan")}, {"komi": 99}, {"komi": "1"}):
        with pytest.raises(ParameterError):
            Go(**settings)
    with pytest.raises(ParameterError, match="size 19"):
        GoPosition(19)
    assert [point_name(a, 9) for a in (0, 8, 80, 81)] == ["A9", "J9", "J1", "pass"]
    for word in ("", "I5", "F1", "A0", "A6", "A", "5A", "AA1"):
        with pytest.raises(ValueError):
            point_of(word, 5)
    with pytest.raises(ParameterError, match="move C3 came as number 2"):
        GoPosition(5).play(12, 12)


def test_random_games_leave_the_game_as_it_is_and_end_settled():
    game = GoPosition(5, 0.5).play(12, 7)
    text = game.text()
    scores = [game.random_game(Random(k)) for k in range(60)]
    assert game.text() == text and game.moves == [12, 7]
    assert {s % 1 for s in scores} == {0.5} and max(scores) == 24.5 and min(scores) < 0
    assert np.mean(scores) > 0  # Black holds the centre
