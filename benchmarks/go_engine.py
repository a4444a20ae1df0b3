"""The rules of Go: how fast, and whether they agree with each other, with OpenSpiel and with GNU Go.

    OMP_NUM_THREADS=1 python benchmarks/go_engine.py                       # speed of both engines and of UCT
    OMP_NUM_THREADS=1 python benchmarks/go_engine.py --agree 10000         # batched rules against single games
    OMP_NUM_THREADS=1 python benchmarks/go_engine.py --openspiel 10000     # pip install open_spiel
    OMP_NUM_THREADS=1 python benchmarks/go_engine.py --gnugo 10 --program /usr/games/gnugo

Seconds are CPU seconds. A speed beside OpenSpiel's is measured in turn with it, in the same process.
"""

from __future__ import annotations

import argparse
import time
from random import Random
from statistics import median
from typing import Any

import numpy as np

from everymodel.scoring import games
from everymodel.scoring.games.go import Go
from everymodel.scoring.games.go_position import GoPosition
from everymodel.scoring.games.go_text import point_of
from everymodel.scoring.games.gtp import GtpClient, score_text
from everymodel.scoring.games.uct import uct_move

clock = time.process_time
KOMI = (-12.5, -3.5, 0.5, 4.5, 11.5)


def batched(size: int, n: int, plies: int, seed: int, sensible: bool) -> tuple[float, float]:
    """Plies per CPU second of legal + play + score, and with the choice and new games too."""
    rules, rng = Go(size), np.random.default_rng(seed)
    allowed = rules.sensible if sensible else rules.legal
    p = rules.start(n)
    for _ in range(2 * size * size):  # into the middle of games, each elsewhere
        p = rules.play(p, games.choose(allowed(p), rng))
        ended = np.flatnonzero(rules.over(p) | (rng.random(n) < 0.02))
        rules.put(p, ended, rules.start(len(ended)))
    of_rules, began = 0.0, clock()
    waiting: list[Any] = []
    for _ in range(plies):
        t = clock()
        mask = allowed(p)
        of_rules += clock() - t
        actions = games.choose(mask, rng)
        t = clock()
        p = rules.play(p, actions)
        ended = np.flatnonzero(rules.over(p))
        of_rules += clock() - t
        waiting.append(rules.take(p, ended))
        if sum(map(len, waiting)) >= n:  # as many as are played at once
            t = clock()
            rules.score(waiting[0].join(*waiting[1:]))
            of_rules += clock() - t
            waiting.clear()
        if len(ended):
            rules.put(p, ended, rules.start(len(ended)))
    return n * plies / of_rules, n * plies / (clock() - began)


def single(size: int, total: int, seed: int) -> float:
    """Random legal moves per CPU second by single games; points are drawn until one may be played on."""
    random, moves, began = Random(seed), 0, clock()
    while moves < total:
        game, left = GoPosition(size), 3 * size * size
        while not game.over and left:
            moves += game.push(int(random.random() * (game.area + 1)))
            left -= 1
        game.score()
    return moves / (clock() - began)


def openspiel(size: int, total: int, seed: int) -> float:
    """Moves per CPU second of OpenSpiel's random games from Python."""
    import pyspiel  # type: ignore[import-not-found]

    game, random, moves, began = pyspiel.load_game(f"go(board_size={size})"), Random(seed), 0, clock()
    while moves < total:
        state = game.new_initial_state()
        while not state.is_terminal():
            legal = state.legal_actions()
            state.apply_action(legal[int(random.random() * len(legal))])
            moves += 1
        state.returns()
    return moves / (clock() - began)


def speed(sizes: list[int], rounds: int, plies: int, beside: bool) -> None:
    print(f"{'board':>6} {'what':<44} {'per CPU second':>15}   median of {rounds}")
    for size in sizes:
        rows: dict[str, list[float]] = {}
        for seed in range(rounds):
            for n in (256, 1024):
                for sensible in (False, True):
                    what = f"batch of {n}, {'sensible' if sensible else 'legal'} + play + score"
                    rows.setdefault(what, []).append(batched(size, n, max(plies * 256 // n, 1), seed, sensible)[0])
            rows.setdefault("single games, random moves", []).append(single(size, plies * 40, seed))
            if beside:
                rows.setdefault("OpenSpiel from Python, random moves", []).append(openspiel(size, plies * 40, seed))
            game, random, began = GoPosition(size), Random(seed), clock()
            for _ in range(plies // 4 + 1):
                game.random_game(random)
            rows.setdefault("games by chance to the end", []).append((plies // 4 + 1) / (clock() - began))
            began = clock()
            uct_move(game, plies, random, width=size * size)
            rows.setdefault("UCT playouts from the empty board", []).append(plies / (clock() - began))
        for what, values in rows.items():
            print(f"{size}x{size:<4} {what:<44} {median(values):>15,.0f}")


def agree(size: int, total: int, seed: int) -> None:
    """Legal and sensible moves and the score at every ply of random games, by both engines."""
    rules, rng = Go(size, 0.5), np.random.default_rng(seed)
    plies = forbidden = 0
    for first in range(0, total, 250):
        n = min(250, total - first)
        p, single_games = rules.start(n), [rules.single() for _ in range(n)]
        while not rules.over(p).all():
            legal, sensible, scores = rules.legal(p), rules.sensible(p), rules.score(p)
            for i, game in enumerate(single_games):
                assert game.over == rules.over(p)[i] and game.score() == scores[i], game.text()
                if game.over:
                    continue
                assert np.flatnonzero(legal[i]).tolist() == game.legal(), game.text()
                assert np.flatnonzero(sensible[i]).tolist() == game.sensible(), game.text()
                plies += 1
                forbidden += len(repeats(game))
            actions = games.choose(legal if first // 250 % 2 else sensible, rng)
            p = rules.play(p, actions)
            for game, action in zip(single_games, actions.tolist()):
                assert game.over or game.push(action)
    print(f"{size}x{size}: {total:,} games, {plies:,} plies agree; {forbidden:,} moves barred as repetitions")


def repeats(game: GoPosition) -> list[int]:
    """The moves that only positional superko forbids."""
    open_ = game.copy()
    open_._seen.clear()
    return [a for a in open_.legal() if not game.allowed(a)]


def agree_with_openspiel(size: int, total: int, seed: int) -> None:
    """Every legal move of OpenSpiel's that ours lacks repeats a position, ours has no other; equal winners."""
    import pyspiel

    random = Random(seed)
    plies = barred = 0
    boards = {komi: pyspiel.load_game(f"go(board_size={size},komi={komi})") for komi in KOMI}
    turned = [(size - 1 - a // size) * size + a % size for a in range(size * size)] + [size * size]
    results: dict[str, int] = {}
    for _ in range(total):
        komi = random.choice(KOMI)
        state: Any = boards[komi].new_initial_state()
        game = GoPosition(size, komi, longest=0)
        while not state.is_terminal():
            theirs, ours = {turned[a] for a in state.legal_actions()}, set(game.legal())
            assert ours <= theirs, game.text()
            assert theirs - ours <= set(repeats(game)), game.text()
            barred += len(theirs - ours)
            action = random.choice(sorted(ours))
            assert game.push(action)
            state.apply_action(turned[action])
            plies += 1
        winner = 1 if game.score() > 0 else -1
        assert state.returns() == [winner, -winner], (game.text(), state.returns())
        end = "two passes" if game.over else "its limit of plies"
        results[end] = results.get(end, 0) + 1
    print(
        f"{size}x{size}: {total:,} games, {plies:,} plies equal OpenSpiel's in legality and winner (komi {KOMI}), "
        f"but for {barred:,} moves which repeat a position; ended by {results}"
    )


def against_gnugo(program: str, size: int, total: int, playouts: int, seed: int) -> None:
    """UCT against GNU Go, which is asked at each ply what is legal and at the end for the score."""
    options = "--mode gtp --chinese-rules --positional-superko --forbid-suicide --never-resign --play-out-aftermath"
    random = Random(seed)
    differing = 0
    with GtpClient([program, *options.split(), "--capture-all-dead", "--seed", str(seed + 1)]) as other:
        for k in range(total):
            for command in (f"boardsize {size}", "clear_board", "komi 0"):
                other.ask(command)
            game = GoPosition(size, longest=0)
            while not game.over:
                colour = ("black", "white")[game.turn]
                ours = {game.name(a) for a in game.legal()} - {"pass"}
                differing += ours != set(other.ask(f"all_legal {colour}").split())
                if game.turn == k % 2:
                    action = uct_move(game, playouts, random, width=size * size)
                    other.ask(f"play {colour} {game.name(action)}")
                else:
                    action = point_of(other.ask(f"genmove {colour}"), size)
                game.play(action)
            said, score = other.ask("final_score"), score_text(game.score())
            same = float(said[2:] or 0) == abs(game.score()) and (said[0] == score[0] or score == "0")
            print(
                f"UCT {playouts} as {'black' if k % 2 == 0 else 'white'}: {score}, GNU Go says {said}"
                f"{'' if same else ' (DIFFERS)'}; {len(game.moves)} plies, {differing} with other legal moves",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[5, 7, 9])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--plies", type=int, default=400, help="plies of the batch of 256 in a round")
    parser.add_argument("--agree", type=int, default=0, metavar="GAMES")
    parser.add_argument("--openspiel", type=int, default=None, metavar="GAMES", help="0: its speed only")
    parser.add_argument("--gnugo", type=int, default=0, metavar="GAMES")
    parser.add_argument("--program", default="gnugo")
    parser.add_argument("--playouts", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if args.agree:
        for size in args.sizes:
            agree(size, args.agree, args.seed)
    if args.openspiel:
        for size in args.sizes:
            agree_with_openspiel(size, args.openspiel, args.seed)
    if args.gnugo:
        against_gnugo(args.program, args.sizes[0], args.gnugo, args.playouts, args.seed)
    if not (args.agree or args.openspiel or args.gnugo):
        speed(args.sizes, args.rounds, args.plies, args.openspiel is not None)


if __name__ == "__main__":
    main()
