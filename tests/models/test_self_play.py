"""Self-play: what is learnt, what is stored of games, and a run that goes on where it was stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from everymodel.core.errors import CapabilityError, ParameterError  # noqa: E402
from everymodel.models.reinforcement._self_play import BoardNet, Play, Seer, Store, Table  # noqa: E402
from everymodel.models.reinforcement.self_play import SelfPlay  # noqa: E402
from everymodel.scoring import games  # noqa: E402
from everymodel.scoring.games.base import choose  # noqa: E402
from everymodel.scoring.matches import match, opponent, policy_player  # noqa: E402
from everymodel.training.blocks.written import written  # noqa: E402

TINY: dict[str, Any] = {"games": 8, "simulations": 6, "lookahead": 16, "width": 8, "depth": 1, "batch_size": 32}


def table_of(rules: games.Rules, seats: int = 6, **play: Any) -> Table:
    torch.manual_seed(0)
    settings = {"simulations": 6, "considered": 4, "wild": 0.5, **play}
    return Table(rules, Play(**settings), Seer(rules, BoardNet(rules, 1, 8), False), 3, seats)


@pytest.mark.parametrize("game", ["tic_tac_toe", "connect_four", "go"])
def test_the_network_answers_the_same_in_numpy(game: str) -> None:
    rules = games.build(game)
    torch.manual_seed(0)
    net = BoardNet(rules, 2, 8)
    with torch.no_grad():
        for p in net.parameters():
            p.add_(0.1 * torch.randn_like(p))
    seen = np.random.default_rng(0).random((5, *rules.board, rules.planes)).astype(np.float32)
    logits, values = net(torch.from_numpy(seen))
    made = written(net)(seen)
    assert np.allclose(made[:, :-1], logits.detach(), atol=1e-5)
    assert np.allclose(made[:, -1], values.detach(), atol=1e-5)


@pytest.mark.parametrize("game", ["tic_tac_toe", "go"])
def test_what_is_learnt_of_a_game_is_how_it_ended_for_the_mover(game: str) -> None:
    rules = games.build(game, **({"size": 3} if game == "go" else {}))
    table = table_of(rules, wild=0.0)
    rows = [r for _ in range(40) for r in [table.move(0.0)] if r is not None]
    assert rows
    # With ripe = 0 a target is the end of the game, and its sign changes with every move.
    for r in rows:
        assert set(np.unique(np.abs(r["values"]))) <= {round(k / rules.worth, 6) for k in range(10)} or game == "go"
        first = r["seen"].reshape(len(r["values"]), -1, rules.planes)[:, :, :2].sum(axis=(1, 2)) == 0
        starts = np.flatnonzero(first)
        assert int(r["games"][0]) == len(starts)
        for low, high in zip(starts, [*starts[1:], len(first)], strict=True):
            values = r["values"][low:high]
            assert np.allclose(values[1:], -values[:-1])
    policies = np.concatenate([r["policies"] for r in rows]).astype(float)
    allowed = np.concatenate([r["allowed"] for r in rows])
    assert np.allclose(policies.sum(axis=1), 1, atol=0.01) and (policies[~allowed] == 0).all()


def test_a_slip_tells_nothing_of_the_position_before_it() -> None:
    rules = games.build("tic_tac_toe")
    table = table_of(rules, seats=1, trust=1.0, slip=0.1, wild=0.0)
    moves = [0, 4, 8, 2, 3, 6]  # the second player wins with 2, 4, 6
    table.positions = rules.after(moves)
    table.plies[:] = len(moves)
    table.open["values"][0, : len(moves)] = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
    table.open["worse"][0, : len(moves)] = [0, 0, 0, 0, 0.7, 0]
    made = table._close(np.array([0]), 1.0)
    # The first player's slip at ply 4 stands by itself; before it the search's 0.5 is what the game was worth.
    assert np.allclose(made["values"], [0.5, -0.5, 0.5, -0.5, 0.5, 1.0])
    assert table.plies[0] == 0


def test_wild_games_begin_later_and_none_is_over() -> None:
    rules = games.build("tic_tac_toe")
    table = table_of(rules, seats=200, wild=1.0)
    assert not rules.over(table.positions).any()
    assert len(np.unique(table.positions.plies)) > 4
    assert table_of(rules, seats=20, wild=0.0).positions.plies.max() == 0


def test_turned_positions_keep_their_policies() -> None:
    rules = games.build("go", size=3)
    store, rng = Store(rules, 50), np.random.default_rng(0)
    positions = rules.start(30)
    for _ in range(3):
        positions = rules.play(positions, choose(rules.sensible(positions), rng))
    allowed = rules.sensible(positions)
    policies = allowed / allowed.sum(axis=1, keepdims=True)
    rows = {"seen": rules.observe(positions), "allowed": allowed, "policies": policies}
    store.add({**rows, "values": np.arange(30), "games": np.ones(1)})
    seen, sensible, policy, values = store.draw(300, 30, rng)
    assert (policy[~sensible] == 0).all() and (policy[sensible] > 0).all()
    stones = seen[..., :2].sum(dim=-1).flatten(1)
    assert not (stones.bool() & sensible[:, :9]).any()  # nothing is played where a stone lies, however it is turned
    own = seen[:, :, :, 0].sum(dim=(1, 2))
    expected = rules.observe(positions)[:, :, :, 0].sum(axis=(1, 2))[values.long().numpy()]
    assert np.array_equal(own.numpy(), expected)
    assert len({tuple(s.tolist()) for s, v in zip(stones, values, strict=True) if v == values[0]}) > 1


def test_only_the_last_positions_are_kept() -> None:
    rules = games.build("tic_tac_toe")
    store = Store(rules, 10)
    for start in range(0, 40, 4):
        values = np.arange(start, start + 4)
        rows = {"seen": np.zeros((4, 3, 3, 2)), "allowed": np.ones((4, 9)), "policies": np.ones((4, 9))}
        store.add({**rows, "values": values, "games": np.ones(1)})
    drawn = store.draw(400, 1000, np.random.default_rng(0))[3]
    assert set(drawn.int().tolist()) == set(range(30, 40))
    assert set(store.draw(400, 3, np.random.default_rng(0))[3].int().tolist()) == {37, 38, 39}
    assert (store.added, store.games) == (40, 10)


def test_tables_go_on_from_their_state() -> None:
    rules = games.build("go", size=3)
    table = table_of(rules)
    for _ in range(15):
        table.move(0.5)
    state, after = table.state(), [table.move(0.5) for _ in range(20)]
    other = table_of(rules)
    other.restore(state)
    assert any(told is not None for told in after)
    for mine, told in zip([other.move(0.5) for _ in range(20)], after, strict=True):
        assert (mine is None) == (told is None)
        assert mine is None or told is None or all(np.array_equal(mine[k], told[k]) for k in told)


def test_a_stopped_run_goes_on_as_if_nothing_had_happened(tmp_path: Path) -> None:
    settings = {**TINY, "game": "go", "size": 3, "rounds": 6, "random_state": 1}
    whole = SelfPlay(**settings).fit()

    class Stop:
        calls = 0

        def __call__(self) -> bool:
            self.calls += 1
            return self.calls > 1

    part = SelfPlay(**settings, checkpoint=str(tmp_path / "run"))
    part._stop, part._threads = Stop(), 1  # type: ignore[attr-defined]
    part.fit()
    assert part.stopped_ == "stop" and (tmp_path / "run").exists()
    on = SelfPlay(**settings, checkpoint=str(tmp_path / "run"))
    on._threads = 2  # type: ignore[attr-defined]
    on.fit()
    assert any("Went on" in note for note in on.history_.notes)
    assert on.curve_.looks == whole.curve_.looks and on.positions_ == whole.positions_
    mine, theirs = (a.step_.spec()[1] for a in (on, whole))
    assert all(np.array_equal(mine[k], theirs[k]) for k in theirs)


def test_noughts_and_crosses_is_learnt() -> None:
    agent = SelfPlay("tic_tac_toe", rounds=16, games=32, simulations=8, width=8, depth=1, random_state=0).fit()
    rules = agent.rules_
    played = match(rules, policy_player(agent.step_, 64), opponent(rules, "perfect"), 40)
    assert (played.scores < 0).mean() < 0.3
    assert agent.evaluate(40, env="random", simulations=32)["mean"] > 0.7
    assert agent.games_ > 100 and len(agent.curve_.looks) == 16


def test_games_are_named_with_their_size() -> None:
    agent = SelfPlay(**TINY, rounds=1, random_state=0).fit("go:3")
    assert agent.environment_ == "go:3" and agent.step_.rules.board == (3, 3)
    assert agent.act(["B2"]) != 4


@pytest.mark.parametrize("settings", [{"game": "chess"}, {"game": "go", "size": 1}, {"game": "go", "size": 12}])
def test_games_that_are_not_there_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ParameterError):
        SelfPlay(**settings).fit()


def test_what_a_game_has_not_is_refused(tmp_path: Path) -> None:
    agent = SelfPlay(**TINY, rounds=1, random_state=0)
    with pytest.raises(ParameterError, match="until"):
        agent.fit(until=475)
    for env in ("go:x", "tic_tac_toe:3", "CartPole-v1"):
        with pytest.raises(ParameterError):
            agent.fit(env)
    with pytest.raises(CapabilityError):
        agent.fit(object())  # type: ignore[arg-type]
    with pytest.raises(CapabilityError):
        agent.fit().record(tmp_path / "game.gif")
    with pytest.raises(ParameterError):
        agent.evaluate(2, env="the champion")
