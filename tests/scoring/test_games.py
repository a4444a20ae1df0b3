"""Board games: batched rules and single games agree at every ply, known values come out, UCT finds what wins."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest

from everymodel.core.errors import ParameterError
from everymodel.scoring import games
from everymodel.scoring.games.tic_tac_toe import TicTacToe, perfect, value
from everymodel.scoring.games.uct import uct_move, uct_root

ALL = [
    ("tic_tac_toe", {}),
    ("connect_four", {}),
    ("connect_four", {"rows": 4, "columns": 5}),
    ("go", {"size": 2, "komi": 0.5}),
    ("go", {"size": 3}),
    ("go", {"size": 5, "komi": -1.5}),
    ("go", {"size": 9}),
]


def finished(rules: games.Rules, n: int, rng: np.random.Generator):
    """Positions after random games."""
    p = rules.start(n)
    while not rules.over(p).all():
        p = rules.play(p, games.choose(rules.sensible(p), rng))
    return p


@pytest.mark.parametrize(("word", "settings"), ALL)
@pytest.mark.parametrize("kind", ["legal", "sensible"])
def test_batched_rules_and_single_games_agree_at_every_ply(word, settings, kind):
    rules = games.build(word, **settings)
    rng = np.random.default_rng(3)
    n = 12 if settings.get("size", 5) < 7 else 2
    p, single = rules.start(n), [rules.single() for _ in range(n)]
    plies = 0
    while not rules.over(p).all():
        allowed = {"legal": rules.legal(p), "sensible": rules.sensible(p)}
        for i, game in enumerate(single):
            assert np.flatnonzero(allowed["legal"][i]).tolist() == game.legal()
            assert np.flatnonzero(allowed["sensible"][i]).tolist() == game.sensible()
            assert rules.over(p)[i] == game.over
            assert rules.turn(p)[i] == game.turn
        actions = games.choose(allowed[kind], rng)
        p = rules.play(p, actions)
        for game, action in zip(single, actions.tolist()):
            assert game.over or game.push(action)
        np.testing.assert_array_equal(rules.score(p), [game.score() for game in single])
        plies += 1
    assert plies <= rules.longest
    assert np.abs(rules.score(p)).max() <= rules.worth
    again = rules.after(single[0].moves)
    assert rules.text(again) == rules.text(p)
    assert rules.single(*single[0].moves).score() == rules.score(p)[0]


@pytest.mark.parametrize(("word", "settings"), ALL)
def test_positions_are_taken_put_and_joined_and_ended_games_stay(word, settings):
    rules = games.build(word, **settings)
    rng = np.random.default_rng(0)
    p = finished(rules, 6, rng)
    before = p.copy()
    q = rules.play(p, np.zeros(6, dtype=int))
    for name in p.__slots__:
        np.testing.assert_array_equal(getattr(p, name), getattr(before, name))
    assert [rules.text(q, i) for i in range(6)] == [rules.text(p, i) for i in range(6)]
    assert rules.over(q).all() and not rules.legal(q).any() and not rules.sensible(q).any()
    np.testing.assert_array_equal(rules.turn(q), rules.turn(p))
    np.testing.assert_array_equal(rules.observe(q), rules.observe(p))
    tree = rules.start(10)
    rules.put(tree, [7, 2], rules.take(p, [0, 3]))
    assert rules.text(tree, 7) == rules.text(p, 0) and rules.text(tree, 2) == rules.text(p, 3)
    assert rules.over(tree).sum() == 2
    both = p.join(tree, rules.start(3))
    assert len(both) == 19 and rules.text(both, 13) == rules.text(tree, 7)
    assert len(rules.take(both, rules.over(both))) == 8


@pytest.mark.parametrize(("word", "settings"), ALL)
def test_symmetries_turn_positions_and_actions_alike(word, settings):
    rules = games.build(word, **settings)
    rng = np.random.default_rng(1)
    points, actions = rules.symmetries()
    np.testing.assert_array_equal(points[0], np.arange(points.shape[1]))
    np.testing.assert_array_equal(actions[0], np.arange(rules.actions))
    assert len({tuple(a) for a in actions.tolist()}) == len(actions)
    s = len(points)  # game k is played twice: as it comes, and turned the k-th way
    each = np.arange(s)
    moved = np.argsort(actions, axis=1)  # where an action of the first game lies in the turned one
    p, q = rules.start(s), rules.start(s)
    for _ in range(min(rules.longest, 60)):
        legal = rules.legal(p)
        np.testing.assert_array_equal(np.take_along_axis(legal, actions, axis=1), rules.legal(q))
        np.testing.assert_array_equal(np.take_along_axis(rules.sensible(p), actions, axis=1), rules.sensible(q))
        seen = rules.observe(p).reshape(s, -1, rules.planes)[each[:, None], points]
        np.testing.assert_array_equal(seen, rules.observe(q).reshape(seen.shape))
        a = games.choose(legal, rng)
        p, q = rules.play(p, a), rules.play(q, moved[each, a])
    np.testing.assert_array_equal(rules.score(p), rules.score(q))


@pytest.mark.parametrize(("word", "settings"), ALL)
def test_settings_make_the_rules_again_and_actions_have_names(word, settings):
    rules = games.build(word, **settings)
    again = games.build(rules.word, **rules.settings)
    assert again.settings == rules.settings and again.actions == rules.actions
    names = [rules.name(a) for a in range(rules.actions)]
    assert len(set(names)) == rules.actions
    assert [rules.action(name.upper()) for name in names] == list(range(rules.actions))
    with pytest.raises(ParameterError, match="write one of them"):
        rules.action("nowhere")
    observed = rules.observe(rules.start(3))
    assert observed.shape == (3, *rules.board, rules.planes) and observed.dtype == np.float32


def test_observations_are_seen_from_the_side_of_the_mover():
    for word in games.WORDS:
        rules = games.build(word)
        p = rules.after([0])
        o = rules.observe(p)[0]
        assert o[..., 0].sum() == 0 and o[..., 1].sum() == 1  # the mover is the second player
        o = rules.observe(rules.play(p, [1]))[0]
        assert o[..., 0].sum() == 1 and o[..., 1].sum() == 1
    rules = games.build("connect_four")
    assert rules.observe(rules.after([0]))[0, 5, 0, 1] == 1  # it fell to the last row


def test_moves_from_outside_are_checked():
    rules = games.build("tic_tac_toe")
    p = rules.start(2)
    for actions in ([0], [0.0, 1.0], [[0, 1]], [0, 9], [-1, 0]):
        with pytest.raises(ParameterError):
            rules.require_legal(p, actions)
    with pytest.raises(ParameterError, match="position 1, but the rules forbid"):
        rules.require_legal(rules.play(p, [0, 1]), [1, 1])
    with pytest.raises(ParameterError, match="the game is over"):
        rules.after([0, 3, 1, 4, 2, 5])
    np.testing.assert_array_equal(rules.require_legal(p, [3, 8]), [3, 8])
    for bad in ("chess", "Go", ["go"], None):
        with pytest.raises(ParameterError, match="expected one of"):
            games.build(bad)  # type: ignore[arg-type]
    with pytest.raises(ParameterError, match="settings komi"):
        games.build("tic_tac_toe", komi=1)
    for settings in ({"rows": 3}, {"columns": 4.0}, {"rows": 9, "columns": 9}):
        with pytest.raises(ParameterError):
            games.build("connect_four", **settings)
    for word in games.WORDS:
        with pytest.raises(ParameterError):
            games.build(word).single(99)


def test_choose_takes_every_allowed_action_as_often():
    mask = np.zeros((30000, 5), dtype=bool)
    mask[:, [1, 3, 4]] = True
    mask[-2] = False
    chosen = games.choose(mask, np.random.default_rng(0))
    shares = np.bincount(chosen[:-2], minlength=5) / len(chosen)
    assert shares[0] == shares[2] == 0 and np.abs(shares[[1, 3, 4]] - 1 / 3).max() < 0.02
    assert chosen[-2] == 0 and mask[-1, chosen[-1]]
    np.testing.assert_array_equal(games.choose(np.zeros((2, 3), dtype=bool), np.random.default_rng(0)), [0, 0])


def test_perfect_tic_tac_toe_draws_with_itself_and_never_loses():
    assert value(0, 0) == 0
    rules, rng = TicTacToe(), np.random.default_rng(0)
    for side, worst in ((0, 0), (1, 0), (None, 0)):
        p, ply = rules.start(300), 0
        while not rules.over(p).all():
            mask = perfect(p) if side is None or ply % 2 == side else rules.legal(p)
            p = rules.play(p, games.choose(mask, rng))
            ply += 1
        mine = rules.score(p) * (-1 if side == 1 else 1)
        assert mine.min() >= worst
        if side is None:
            assert not mine.any()
        else:
            assert mine.mean() > 0.5
    # Only a corner answers the centre.
    assert np.flatnonzero(perfect(rules.after([4]))[0]).tolist() == [0, 2, 6, 8]


def test_connect_four_sees_fours_in_every_direction_and_none_around_corners():
    rules = games.build("connect_four")
    won = {
        "column": [0, 1, 0, 1, 0, 1, 0],
        "row": [0, 0, 1, 1, 2, 2, 3],
        "rising": [0, 1, 1, 2, 2, 3, 2, 3, 3, 6, 3],
        "falling": [6, 5, 5, 4, 4, 3, 4, 3, 3, 0, 3],
    }
    for moves in won.values():
        p = rules.after(moves)
        assert rules.over(p)[0] and rules.score(p)[0] == 1
        assert not rules.over(rules.after(moves[:-1]))[0]
        assert rules.single(*moves).over
    # Three at the top of a column and one at the foot of the next are no four.
    around = [1, 0, 6, 0, 5, 0, 0, 3, 0, 3, 0]
    assert not rules.over(rules.after(around))[0]
    full = rules.after([0] * 6)
    assert rules.legal(full)[0].tolist() == [False] + [True] * 6


def test_uct_finds_wins_and_stops_losses():
    rules = games.build("connect_four")
    assert uct_move(rules.single(0, 6, 0, 6, 0, 5), 150, Random(0)) == 0  # wins at once
    assert uct_move(rules.single(3, 0, 3, 1, 3), 400, Random(0)) == 3  # or loses at once
    three = games.build("tic_tac_toe")
    game = three.single(4)
    root = uct_root(game, 500, Random(0))
    assert game.moves == [4] and root.visits == 500
    assert sum(child.visits for child in root.children) == 500
    assert uct_move(game, 500, Random(0)) in (0, 2, 6, 8)
    with pytest.raises(ParameterError, match="is over"):
        uct_move(three.single(0, 3, 1, 4, 2), 10, Random(0))
    with pytest.raises(ParameterError, match="playouts = 0"):
        uct_move(game, 0, Random(0))


def test_uct_beats_chance_and_repeats_with_its_seed():
    rules = games.build("go", size=3)
    for side in (0, 1):
        random, won = Random(side), 0
        for _ in range(4):
            game = rules.single()
            while not game.over:
                own = game.turn == side
                game.push(uct_move(game, 60, random, width=9) if own else random.choice(game.sensible()))
            won += (game.score() > 0) == (side == 0)
        assert won >= 3
    game = rules.single(4)
    assert len({uct_move(game, 50, Random(7)) for _ in range(3)}) == 1
