"""Music: torch and numpy agree, likelihoods are those of a distribution, windows hide nothing, files are safe."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from everymodel import MusicGenerator
from everymodel.core.errors import DataError, ModelFileError, ParameterError
from everymodel.models.generative._music import ComposerNet, Frames, NextNote, longest_run
from everymodel.scoring.midi import Piece, from_midi
from everymodel.scoring.model import open_bytes
from everymodel.scoring.steps.composing import Composer, Keys
from everymodel.testing.music import tiny_pieces
from everymodel.workflow.wrap import wrap

KEYS = Keys(40, 50, 2, 8)


def composer(keys: Keys = KEYS, seed: int = 0) -> tuple[ComposerNet, Composer]:
    """A network of random weights, and the step that shall answer as it does."""
    torch.manual_seed(seed)
    net = ComposerNet(keys, 16, 0.2)
    with torch.no_grad():
        for weight in net.parameters():
            weight.normal_(0, 0.4)
    vectors = (net.table.detach().numpy().copy(), net.chosen.detach().numpy().copy())
    step = Composer(*net.parts().values(), *vectors, keys.low, keys.count, keys.states, keys.bar)
    step.check()
    return net.eval(), step


def tune(length: int, seed: int, held: bool = True) -> Piece:
    rng = np.random.default_rng(seed)
    frames = [tuple(sorted((rng.permutation(40)[: rng.integers(0, 6)] + 45).tolist())) for _ in range(length)]
    kept = [()] + [tuple(p for p in b if p in a and rng.random() < 0.8) for a, b in pairwise(frames)]
    return Piece(tuple(frames), tuple(kept) if held else None)


def test_torch_and_numpy_agree():
    for states in (1, 2):
        net, step = composer(replace(KEYS, states=states))
        pieces = [tune(length, i, states == 2) for i, length in enumerate((9, 30, 1))]
        source = Frames(pieces, step.keys, 8, 2, 1, 0)
        with torch.no_grad():
            told = NextNote(net).judge({"net": net}, source.ordered())
        total = sum(step.likelihood(piece)[0] for piece in pieces)
        assert float(told["nats_per_frame"]) == pytest.approx(-total / 40, rel=1e-5)


def test_notes_of_a_frame_have_probabilities_that_sum_to_one():
    keys = Keys(60, 3, 2, 2)
    _, step = composer(keys)
    first = Piece(((60, 62),), ((),))
    base = step.likelihood(first)[0]
    total = 0.0
    for code in range(8):
        frame = tuple(60 + i for i in range(3) if code >> i & 1)
        for held in range(8):
            on = tuple(60 + i for i in range(3) if held >> i & 1)
            if set(on) <= {60, 62} & set(frame):
                piece = Piece((*first.frames, frame), ((), on))
                total += np.exp(step.likelihood(piece)[0] - base)
    assert total == pytest.approx(1.0, abs=1e-6)


def test_samples_come_as_often_as_their_likelihood_says():
    keys = Keys(60, 2, 1, 1)
    _, step = composer(keys)
    made = step.sample(4000, seed=0, length=1)
    for frame in ((), (60,), (61,), (60, 61)):
        share = np.mean([piece.frames[0] == frame for piece in made])
        expected = np.exp(step.likelihood(Piece((frame,)))[0])
        assert abs(share - expected) < 4 * np.sqrt(expected * (1 - expected) / 4000) + 1e-9


def test_windows_are_cut_moved_and_told_whole():
    pieces = [tune(30, 0), tune(3, 1)]
    source = Frames(pieces, KEYS, 8, 64, 2, 3)
    lows = set()
    for batch in source.epoch(0, seed=0):
        assert batch.x.shape == (64, 8, KEYS.inputs)
        ends = (batch.wanted == KEYS.end).sum()
        first = (batch.over[:, 0] < 0).sum()
        assert ends == (batch.over == 0).sum() + first, "a frame has one end"
        assert (batch.over == 1).sum(dim=1).max() <= 1
        lows.add(int(batch.wanted[batch.wanted < KEYS.count].min()))
    again = [batch.x for batch in source.epoch(0, seed=0, start=1)]
    whole = [batch.x for batch in source.epoch(0, seed=0)]
    assert torch.equal(again[0], whole[1]), "a run that goes on sees what it would have seen"
    moved = source.windows(np.array([0]), np.array([5]), np.array([2]), 8)
    plain = source.windows(np.array([0]), np.array([5]), np.array([0]), 8)
    notes = plain.wanted < KEYS.end
    assert torch.equal(moved.wanted[notes], plain.wanted[notes] + 2)
    assert torch.equal(moved.x[:, :, 2 : KEYS.count], plain.x[:, :, : KEYS.count - 2])


def test_it_learns_what_follows_what():
    pieces = tiny_pieces(40)
    settings = {"grid": 1, "width": 48, "context": 16, "dropout": 0.0, "learning_rate": 0.01, "random_state": 0}
    model = MusicGenerator(**settings, steps=150, batch_size=12).fit(pieces[:32])
    told = model.evaluate(pieces[32:], train=pieces[:32])
    assert told["nats_per_frame"] < 1.2, told  # 40 chords in 7 keys: 3.7 nats for each frame without its past
    assert told["polyphony"] > 0.8 and told["pitch_classes"] > 0.6, told
    assert model.history_.epochs[-1]["valid_nats_per_frame"] < 1.5
    sample = model.sample(1, pieces[0][:5], seed=1, length=4, temperature=0)[0]
    assert sample.tolist()[5:8] == pieces[0][5:8] or [] in pieces[0][5:8]


def test_midi_goes_in_and_out(tmp_path: Path):
    rng = np.random.default_rng(0)
    for i, frames in enumerate(tiny_pieces(6)):
        held = [[]] + [[p for p in b if p in a] for a, b in pairwise(frames)]
        Piece(tuple(map(tuple, frames)), tuple(map(tuple, held)), 2, 90.0 + i).save(tmp_path / f"{i}.mid")
    (tmp_path / "broken.mid").write_bytes(rng.bytes(40))
    model = MusicGenerator(grid=2, width=16, context=8, steps=20, batch_size=4, random_state=0).fit(str(tmp_path))
    assert "1 of 7 pieces were left out" in model.history_.notes[0]
    assert model.keys_.states == 2
    piece = model.sample(1, str(tmp_path / "0.mid"), seed=0, length=20)[0]
    begin = from_midi((tmp_path / "0.mid").read_bytes(), 2)
    assert piece.frames[: len(begin)] == begin.frames and piece.tempo == begin.tempo
    piece.save(tmp_path / "out.mid")
    assert from_midi((tmp_path / "out.mid").read_bytes(), 2).frames == piece.frames[: max(piece.notes()[:, 1])]
    opened = open_bytes(wrap(model, str(tmp_path)).to_bytes())
    assert opened.sample(1, tmp_path / "0.mid", seed=0, length=20) == [piece]
    with pytest.raises(ParameterError, match="pathlib"):  # a text may come from the net: no file is opened for it
        opened.sample(1, str(tmp_path / "0.mid"))
    json.dumps(piece.tolist())


def test_strange_music_is_taken_or_refused():
    tiny = {"width": 8, "context": 4, "steps": 3, "batch_size": 2, "random_state": 0}
    assert len(MusicGenerator(**tiny).fit([[[0], [127], [5, 6]]]).sample(2, seed=0)) == 2  # beyond a piano
    assert len(MusicGenerator(**tiny).fit([[[60], []]]).sample(1, seed=0, length=50)[0]) == 50
    dense = [list(range(30, 60)), [60]]
    with pytest.raises(DataError, match="more than 24"):
        MusicGenerator(**tiny).fit([dense])
    model = MusicGenerator(**tiny).fit([dense, [[60], [62]]])
    assert "1 pieces have frames of more than 24" in model.history_.notes[0]
    with pytest.raises(DataError, match="beyond"):
        model.score_samples([[[5]]])
    with pytest.raises(ParameterError, match="width"):
        MusicGenerator(width=1).fit([[[60], [62]]])


def test_damaged_files_are_refused():
    _, step = composer()
    settings, arrays = step.spec()
    assert np.array_equal(type(step).build(settings, arrays).proof(3), step.proof(3))
    wrong = [{"low": -1}, {"low": 100}, {"count": 0}, {"count": 49}, {"states": 3}, {"bar": 7}, {"grid": 0},
             {"usual": 10**9}, {"tempo": "fast"}, {"usual": 3.5}, {"cell": None},
             {"network": settings["cell"]}]  # fmt: skip
    for change in wrong:
        with pytest.raises(ModelFileError):
            Composer.build({**settings, **change}, arrays)
    for name, array in arrays.items():
        for bad in (array[:-1], array.astype(np.int64), np.full_like(array, np.nan)):
            with pytest.raises(ModelFileError):
                Composer.build(settings, {**arrays, name: bad})
        with pytest.raises(ModelFileError):
            Composer.build(settings, {k: v for k, v in arrays.items() if k != name})
    with pytest.raises(ModelFileError):
        Composer.build(settings, {**arrays, "more": np.zeros(3)})


def test_copies_are_found():
    known = [tune(30, 0, held=False)]
    copy = Piece((*tune(5, 1).frames, *known[0].frames[4:17], *tune(5, 2).frames))
    silent = sum(not frame for frame in copy.frames[5:18])
    run = longest_run([copy], known)
    assert run == 13 if not silent else 0 < run < 13
    assert longest_run([tune(10, 5)], [tune(10, 6)]) <= 1
