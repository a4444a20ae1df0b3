"""Self-play: what is learnt from the rules of a game alone, and how fast.

    python benchmarks/self_play.py train go:5 --out go5.em           # about 20 minutes on two cores
    python benchmarks/self_play.py look go5.em                       # the empty board: value, share of visits
    python benchmarks/self_play.py match go5.em --opponent uct:1000 --first
    python benchmarks/self_play.py match go5.em --opponent gnugo --first
    python benchmarks/self_play.py match tic.em --opponent perfect --games 1000
    python benchmarks/self_play.py speed                             # simulations a CPU second

`train` prints a line every minute: positions and games so far, simulations a CPU second (learning included), value of
the first position. CPU seconds are of all threads. `match` plays many games at once; GNU Go is asked by the Go Text
Protocol, with its usual strength, a seed for each game, and no resigning.
"""

from __future__ import annotations

import argparse
import itertools
import os
import shutil
import sys
import time
from typing import Any

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

import numpy as np  # noqa: E402

from everymodel.scoring import games  # noqa: E402
from everymodel.scoring.matches import match, opponent, policy_player  # noqa: E402
from everymodel.scoring.model import load  # noqa: E402

# Without the last two it passes while dead stones lie on the board, which count as alive by area.
GNU_GO = (
    "--mode gtp --chinese-rules --positional-superko --forbid-suicide --never-resign "
    "--play-out-aftermath --capture-all-dead"
)


def train(given: argparse.Namespace) -> None:
    import everymodel as em

    settings = {k: v for k in ("rounds", "simulations", "games", "width", "depth") if (v := getattr(given, k))}
    agent = em.SelfPlay(budget=given.budget, checkpoint=given.checkpoint, random_state=given.seed, **settings)
    began, cpu = time.monotonic(), time.process_time()
    told = [began]

    def show(live: Any) -> None:
        now = time.monotonic()
        if now - told[0] >= given.every:
            told[0] = now
            used = time.process_time() - cpu
            print(
                f"{now - began:7.0f} s  {used:7.0f} CPU s  {live.done:5.1%}  {live.steps:9,} positions "
                f"({live.steps / used:,.0f} a CPU s)  {live.episodes:7,} games  value {live.look:+.2f}",
                flush=True,
            )

    agent._listener = show
    agent.fit(given.game)
    del agent._listener
    used = time.process_time() - cpu
    print(
        f"learnt {agent.environment_} in {time.monotonic() - began:.0f} s, {used:.0f} CPU s: {agent.positions_:,} "
        f"positions of {agent.games_:,} games; loss {agent.history_.epochs[-1]['net']:.3f}"
    )
    if given.out:
        em.wrap(agent, None).save(given.out)
        print(f"written to {given.out}")


def look(given: argparse.Namespace) -> None:
    step = load(given.file).step
    rules = step.rules
    found = step.look(rules.start(1), given.simulations)
    share = found.visits[0] / max(found.visits[0].sum(), 1)
    best = int(found.best[0])
    print(rules.text(rules.start(1)))
    points = found.value[0] * rules.worth
    print(f"value {points:+.2f} points after {given.simulations} simulations")
    print(f"{rules.name(best)}: {share[best]:.0%} of visits, {found.policy[0, best]:.0%} of the improved policy")


def play(given: argparse.Namespace) -> None:
    step = load(given.file).step
    rules = step.rules
    own = policy_player(step, given.simulations, given.temperature, given.seed)
    begins = True if given.first else False if given.second else None
    clients: dict[int, Any] = {}
    other = (
        gnugo(rules, clients, given.seed) if given.opponent == "gnugo" else opponent(rules, given.opponent, given.seed)
    )
    scores, firsts, cpu = [], [], time.process_time()
    for low in range(0, given.games, given.at_once):
        played = match(rules, own, other, min(given.at_once, given.games - low), begins=begins)
        scores.append(played.scores)
        firsts.append(played.began)
        for _, client in clients.values():
            client.close()
        clients.clear()
        done = np.concatenate(scores)
        print(f"{len(done)} games: mean {done.mean():+.2f}, lost {(done < 0).sum()}", flush=True)
    score, first = np.concatenate(scores), np.concatenate(firsts)
    for name, rows in (("first", first), ("second", ~first)):
        own_scores = score[rows]
        if len(own_scores):
            print(
                f"as {name} player v {given.opponent}: {len(own_scores)} games, won {(own_scores > 0).sum()}, drawn "
                f"{(own_scores == 0).sum()}, lost {(own_scores < 0).sum()}, by all there is (+{rules.worth:g}) "
                f"{(own_scores == rules.worth).sum()}, mean {own_scores.mean():+.2f}"
            )
    print(f"{time.process_time() - cpu:.0f} CPU s of this process")


def gnugo(rules: Any, clients: dict[int, Any], seed: int) -> Any:
    """GNU Go as a player: one process for each game."""
    from everymodel.scoring.games.gtp import GtpClient

    program = shutil.which("gnugo") or "/usr/games/gnugo"
    size, colours = rules.settings["size"], ("black", "white")
    seeds = itertools.count(seed + 1)  # another one for every game

    def move(positions: Any, singles: Any) -> list[int]:
        made = []
        for game in singles:
            if id(game) not in clients:
                client = GtpClient([program, *GNU_GO.split(), "--seed", str(next(seeds))])
                for command in (f"boardsize {size}", "clear_board", f"komi {rules.settings['komi']}"):
                    client.ask(command)
                clients[id(game)] = [0, client]
            entry = clients[id(game)]
            for ply in range(entry[0], len(game.moves)):
                entry[1].ask(f"play {colours[ply % 2]} {rules.name(game.moves[ply])}")
            action = rules.action(entry[1].ask(f"genmove {colours[game.turn]}"))
            entry[0] = len(game.moves) + 1
            if action not in game.legal():
                print(f"GNU Go wants {rules.name(action)}, which is against the rules after {game.moves}: it passes")
                entry[1].ask("undo")
                entry[0] -= 1
                action = rules.action("pass")
            made.append(action)
        return made

    return move


def speed(given: argparse.Namespace) -> None:
    import torch

    from everymodel.models.reinforcement._self_play import BoardNet, Seer
    from everymodel.scoring.search import Search
    from everymodel.training.device import quick

    torch.set_num_threads(1)
    rules = games.build("go", size=5)
    net, rng = BoardNet(rules, 3, 32), np.random.default_rng(0)
    positions = rules.start(256)
    for _ in range(8):
        positions = rules.play(positions, games.choose(rules.sensible(positions), rng))
    allowed = rules.sensible(positions)

    def nothing(p: Any, mask: Any) -> Any:
        return np.zeros(mask.shape, dtype=np.float32), np.zeros(len(mask), dtype=np.float32)

    narrow = quick("cpu") == "bfloat16"
    for name, evaluate in (("rules and tree alone", nothing), ("with a network", Seer(rules, net, narrow))):
        search, paces = Search(rules, evaluate, 32), []
        for _ in range(3):
            cpu = time.process_time()
            for _ in range(3):
                search.run(positions, rng)
                if isinstance(evaluate, Seer):
                    evaluate.forget()
            paces.append(3 * 256 * 32 / (time.process_time() - cpu))
        print(f"5x5 Go, 256 games, {name}: {np.median(paces):,.0f} simulations a CPU second")
    seer, paces = Seer(rules, net, narrow), []
    seen = rules.observe(positions)
    for _ in range(5):
        cpu = time.process_time()
        for _ in range(10):
            seer.network(seen)
        paces.append(10 * len(allowed) / (time.process_time() - cpu))
    print(f"network alone, 3 blocks of 32 channels: {np.median(paces):,.0f} evaluations a CPU second")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = parser.add_subparsers(required=True)
    one = kinds.add_parser("train")
    one.add_argument("game", help="tic_tac_toe, connect_four, go:5")
    one.add_argument("--out")
    one.add_argument("--budget", help="wall time such as 20min; without it: the usual rounds")
    one.add_argument("--checkpoint")
    one.add_argument("--seed", type=int, default=0)
    one.add_argument("--every", type=float, default=60.0, help="seconds between two lines")
    for name in ("rounds", "simulations", "games", "width", "depth"):
        one.add_argument(f"--{name}", type=int)
    one.set_defaults(run=train)
    two = kinds.add_parser("look")
    two.add_argument("file")
    two.add_argument("--simulations", type=int, default=400)
    two.set_defaults(run=look)
    three = kinds.add_parser("match")
    three.add_argument("file")
    three.add_argument("--opponent", default="uct:1000", help="uct:1000, gnugo, random, perfect")
    three.add_argument("--games", type=int, default=100)
    three.add_argument("--at-once", type=int, default=20)
    three.add_argument("--simulations", type=int)
    three.add_argument("--temperature", type=float, default=0.0)
    three.add_argument("--seed", type=int, default=0)
    side = three.add_mutually_exclusive_group()
    side.add_argument("--first", action="store_true", help="the player always begins")
    side.add_argument("--second", action="store_true")
    three.set_defaults(run=play)
    kinds.add_parser("speed").set_defaults(run=speed)
    given = parser.parse_args()
    given.run(given)
    return 0


if __name__ == "__main__":
    sys.exit(main())
