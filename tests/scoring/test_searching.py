"""The search in many games at once, the step that plays by it, and matches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from everymodel.core.errors import DataError, EverymodelError, ModelFileError, ParameterError
from everymodel.scoring import games
from everymodel.scoring.games.tic_tac_toe import perfect
from everymodel.scoring.layers.convolution import Flatten
from everymodel.scoring.layers.feed import Activation, Concat, Dense, Sequential
from everymodel.scoring.matches import match, opponent, policy_player
from everymodel.scoring.search import Remembered, Search, _halving
from everymodel.scoring.steps.searching import SearchPolicy


def knows_nothing(positions: Any, allowed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.zeros(allowed.shape, dtype=np.float32), np.zeros(len(allowed), dtype=np.float32)


def step_for(rules: games.Rules, seed: int = 0, simulations: int = 32) -> SearchPolicy:
    rng = np.random.default_rng(seed)
    size = int(np.prod(rules.board)) * rules.planes

    def dense(inputs: int, outputs: int) -> Dense:
        weight = (rng.standard_normal((inputs, outputs)) / np.sqrt(inputs)).astype(np.float32)
        return Dense(weight, np.zeros(outputs, dtype=np.float32))

    heads = [dense(16, rules.actions), Sequential([dense(16, 1), Activation("tanh")])]
    network = Sequential([Flatten(), dense(size, 16), Activation("relu"), Concat(heads)])
    return SearchPolicy(network, rules.word, dict(rules.settings), simulations)


def test_a_win_is_seen_and_a_threat_is_met_without_any_knowledge() -> None:
    rules = games.build("tic_tac_toe")
    found = Search(rules, knows_nothing, 400).run(rules.after([0, 3, 1, 4]).join(rules.after([0, 4, 1])))
    assert found.best.tolist() == [2, 2]  # wins; keeps the other from it
    assert found.value[0] > 0.95
    assert found.visits.sum(axis=1).tolist() == [400, 400]
    assert np.allclose(found.policy.sum(axis=1), 1, atol=1e-5)
    assert (found.policy[0, [0, 1, 3, 4]] == 0).all() and (found.visits[0, [0, 1, 3, 4]] == 0).all()


def test_games_are_searched_each_by_itself() -> None:
    rules = games.build("go", size=3)
    policy = step_for(rules)
    search = Search(rules, Remembered(rules, policy.network), 24)
    several = rules.after([4]).join(rules.start(1), rules.after([0, 4, 8]))
    together = search.run(several)
    for i in range(3):
        alone = search.run(several.take([i]))
        assert np.array_equal(alone.visits[0], together.visits[i])
        assert np.allclose(alone.policy[0], together.policy[i], atol=1e-4)


def test_a_noisy_root_halves_its_candidates() -> None:
    rules = games.build("go", size=5)
    search = Search(rules, knows_nothing, 32, considered=8)
    found = search.run(rules.start(64), np.random.default_rng(0))
    assert ((found.visits > 0).sum(axis=1) == 8).all()
    assert (found.visits.sum(axis=1) == 32).all()
    assert (found.visits[np.arange(64), found.actions] == found.visits.max(axis=1)).all()
    assert len(np.unique(found.actions)) > 10  # the noise draws the candidates
    again = search.run(rules.start(64), np.random.default_rng(0))
    assert np.array_equal(again.actions, found.actions)


@pytest.mark.parametrize("considered", [1, 2, 3, 7, 16])
@pytest.mark.parametrize("simulations", [1, 5, 16, 50])
def test_every_round_of_halving_goes_over_all_candidates(considered: int, simulations: int) -> None:
    visits = [0] * considered
    for wanted in _halving(considered, simulations)[considered]:
        assert wanted in visits  # some candidate has that many
        visits[visits.index(int(wanted))] += 1
    assert sum(visits) == simulations
    if simulations >= 2 * considered > 4:
        assert max(visits) > min(visits) >= 1


def test_few_sensible_moves_are_enough() -> None:
    rules = games.build("tic_tac_toe")
    one_left = rules.after([0, 1, 2, 4, 3, 5, 7, 6])
    found = Search(rules, knows_nothing, 10).run(one_left, np.random.default_rng(0))
    assert found.actions.tolist() == [8] and found.visits[0, 8] == 10


def test_what_is_remembered_is_what_the_network_says() -> None:
    rules = games.build("go", size=4)
    policy, rng = step_for(rules), np.random.default_rng(0)
    remembered = Remembered(rules, policy.network, slots=64)
    positions = rules.start(40)
    for _ in range(12):
        for _ in range(2):
            logits, values = remembered(positions, rules.sensible(positions))
            made = policy.network(rules.observe(positions))
            assert np.allclose(logits, made[:, :-1], atol=1e-5) and np.allclose(values, made[:, -1], atol=1e-5)
        positions = rules.play(positions, games.choose(rules.sensible(positions), rng))
    assert 0.2 < remembered.known / remembered.asked < 0.9
    remembered.forget()
    before = remembered.known
    remembered(rules.after([3]), rules.sensible(rules.after([3])))
    assert remembered.known == before


def test_a_player_that_only_looks_ahead_beats_chance() -> None:
    rules = games.build("tic_tac_toe")
    blank = step_for(rules)
    for part in (blank.network.layers[1], blank.network.layers[3].layers[0]):  # type: ignore[attr-defined]
        part.weight[:] = 0
    played = match(rules, policy_player(blank, 60), opponent(rules, "random"), 40)
    assert played.scores.mean() > 0.7


def test_matches_are_played_to_the_end_by_the_rules() -> None:
    rules = games.build("go", size=3)
    played = match(rules, policy_player(step_for(rules), 6), opponent(rules, "random"), 12)
    assert played.began.sum() == 6 and len(played.moves) == 12
    told = played.summary()
    assert told["won"] == told["won_first"] + told["won_second"] == int((played.scores > 0).sum())
    assert told["low"] <= told["mean"] <= told["high"]
    for moves, score, first in zip(played.moves, played.scores, played.began, strict=True):
        game = rules.single(*moves)
        assert game.over and game.score() == (score if first else -score)


def test_opponents_play_as_they_are_called() -> None:
    rules = games.build("tic_tac_toe")
    masters = match(rules, opponent(rules, "perfect", 1), opponent(rules, "perfect", 2), 30)
    assert (masters.scores == 0).all()
    assert match(rules, opponent(rules, "uct:100"), opponent(rules, "random"), 20).scores.mean() > 0.6
    for word in ("strong", "uct:0", "uct:many", "random:3", ""):
        with pytest.raises(ParameterError, match="expected"):
            opponent(rules, word)
    with pytest.raises(ParameterError):
        opponent(games.build("go", size=3), "perfect")
    with pytest.raises(ParameterError, match="games"):
        match(rules, opponent(rules, "random"), opponent(rules, "random"), 0)


def test_a_game_comes_as_moves_positions_or_what_is_seen() -> None:
    rules = games.build("go", size=3)
    policy = step_for(rules)
    moves = [4, 0]
    action = policy.act(moves)
    assert action == policy.act(["B2", "a3"]) == policy.act({"moves": moves}) == policy.act(tuple(moves))
    assert policy.act([moves, []]).tolist() == [action, policy.act([])]
    assert policy.act(rules.after(moves)).tolist() == [action]
    assert policy.act(rules.observe(rules.after(moves))[0]) in range(10)
    assert policy.player()(rules.single(*moves)) == action
    assert policy.act(moves, simulations=0) in np.flatnonzero(rules.sensible(rules.after(moves))[0])


def test_many_games_are_looked_at_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    rules = games.build("tic_tac_toe")
    policy = step_for(rules)
    positions = rules.start(3).join(rules.after([4]), rules.after([0, 8]))
    whole = policy.look(positions, 10)
    monkeypatch.setattr("everymodel.scoring.steps.searching._NODES", 25)
    parts = policy.look(positions, 10)
    assert np.array_equal(parts.visits, whole.visits) and np.allclose(parts.policy, whole.policy, atol=1e-4)
    with pytest.raises(DataError, match="No game"):
        policy.act(rules.start(0))


def test_draws_by_temperature_are_varied_and_allowed() -> None:
    rules = games.build("tic_tac_toe")
    policy = step_for(rules)
    positions = rules.start(200)
    drawn = policy.act(positions, temperature=1.0, seed=3)
    assert len(np.unique(drawn)) > 3
    assert np.array_equal(drawn, policy.act(positions, temperature=1.0, seed=3))
    taken = rules.after([0, 8])
    few = np.isin(np.arange(9), (0, 3, 5))
    assert set(policy.act(taken.take(np.zeros(50, dtype=int)), temperature=50.0, seed=1, mask=few).tolist()) == {3, 5}
    with pytest.raises(DataError, match="mask"):
        policy.act(taken, mask=np.isin(np.arange(9), (0, 8)))


@pytest.mark.parametrize(
    "moves", [[9], [0, 0], ["x"], [-1], [0, 3, 1, 4, 2], [0, 3, 1, 4, 2, 5], "1", [True], [1.5], None, {"moves": 3}]
)
def test_games_that_cannot_be_are_refused_in_a_sentence(moves: Any) -> None:
    with pytest.raises(EverymodelError) as caught:
        step_for(games.build("tic_tac_toe")).act(moves)
    assert len(str(caught.value)) > 20


@pytest.mark.parametrize(
    "options", [{"simulations": -1}, {"simulations": True}, {"simulations": 2.5}, {"temperature": 101}]
)
def test_settings_of_play_are_checked(options: dict[str, Any]) -> None:
    with pytest.raises(ParameterError):
        step_for(games.build("tic_tac_toe")).act([], **options)


def test_a_player_is_written_and_read() -> None:
    policy = step_for(games.build("go", size=4, komi=1.5))
    settings, arrays = policy.spec()
    read = SearchPolicy.build(settings, arrays)
    assert isinstance(read, SearchPolicy) and read.rules.settings == {"size": 4, "komi": 1.5}
    assert read.act([5]) == policy.act([5])
    assert np.array_equal(read(np.zeros((3, 1))), policy(np.zeros((3, 1))))


@pytest.mark.parametrize(
    "change",
    [
        {"game": "chess"},
        {"game": 3},
        {"options": {"size": 99}},
        {"options": {"size": 4, "speed": 1}},
        {"options": {"size": "4"}},
        {"options": []},
        {"options": {"size": 5}},  # the network is of another board
        {"simulations": -1},
        {"simulations": 1e9},
        {"simulations": "many"},
        {"network": None},
        {"network": {"layer": "dense"}},
        {"surprise": 1},
    ],
)
def test_a_damaged_player_is_refused(change: dict[str, Any]) -> None:
    settings, arrays = step_for(games.build("go", size=4)).spec()
    with pytest.raises(ModelFileError):
        SearchPolicy.build({**settings, **change}, arrays)


def test_weights_that_are_no_numbers_are_refused() -> None:
    settings, arrays = step_for(games.build("go", size=3)).spec()
    for name in arrays:
        with pytest.raises(ModelFileError):
            SearchPolicy.build(settings, {**arrays, name: np.full_like(arrays[name], np.nan)})
    with pytest.raises(ModelFileError):
        SearchPolicy.build(settings, dict(list(arrays.items())[1:]))


def test_perfect_play_keeps_what_the_search_sees() -> None:
    rules = games.build("tic_tac_toe")
    rng, positions = np.random.default_rng(2), rules.start(30)
    for _ in range(4):
        positions = rules.play(positions, games.choose(rules.sensible(positions), rng))
    positions = positions.take(~rules.over(positions))
    found = Search(rules, knows_nothing, 600).run(positions)
    assert perfect(positions)[np.arange(len(positions)), found.best].mean() > 0.95
