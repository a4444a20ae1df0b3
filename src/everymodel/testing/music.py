"""The contract of models that write music: pieces, beginnings and likelihoods, in a file as in Python."""

from __future__ import annotations

from typing import Any

import numpy as np

from everymodel import catalog
from everymodel.core.card import Card
from everymodel.scoring.midi import from_midi
from everymodel.testing.generating import refused

_CHORDS = ((48, 60, 64, 67), (53, 60, 65, 69), (55, 59, 62, 67), (45, 60, 64, 69))


def tiny_pieces(n: int = 12, seed: int = 0) -> list[list[list[int]]]:
    """Chords that follow one another in their order, each for two frames, with a rest now and then."""
    rng = np.random.default_rng([seed, n])
    pieces = []
    for _ in range(n):
        up, first = int(rng.integers(-3, 4)), int(rng.integers(len(_CHORDS)))
        chords = [_CHORDS[(first + i) % len(_CHORDS)] for i in range(int(rng.integers(6, 12)))]
        piece = [[p + up for p in chord] for chord in chords for _ in range(2)]
        if rng.random() < 0.3:
            piece[5] = []
        pieces.append(piece)
    return pieces


def check_music(card: Card, model: Any) -> None:
    """Raises AssertionError with what is broken.

    Fitting gives the model itself; samples are pieces that begin as asked, go on as long as asked, and are
    MIDI files that read back alike; equal seeds give equal pieces, others differ; equal random states give equal
    models; pieces like the learnt ones are likelier than noise; the step and the model file write alike; options that
    make no sense and pieces of one chord are refused.
    """
    from sklearn.base import clone

    from everymodel.scoring.model import open_bytes
    from everymodel.workflow.wrap import wrap

    where = card.class_name
    pieces = tiny_pieces()
    source = clone(model)
    assert source.fit(pieces) is source, f"{where}: fit does not give the model"
    begin = pieces[0][:3]
    made = source.sample(5, begin, seed=3, length=9)
    assert len(made) == 5 and all(len(p) == 12 and p.tolist()[:3] == begin for p in made), f"{where}: not as asked"
    assert made == source.sample(5, begin, seed=3, length=9), f"{where}: equal seeds give different samples"
    assert made != source.sample(5, begin, seed=4, length=9), f"{where}: other seeds give the same samples"
    assert clone(model).fit(pieces).sample(5, begin, seed=3, length=9) == made, f"{where}: equal random states differ"
    for piece in made:
        again = from_midi(bytes(piece), source.grid).frames
        assert again == piece.frames[: len(again)], f"{where}: a piece does not survive the way into a MIDI file"
    assert all(len(p) <= source.step_.usual for p in source.sample(6, seed=0)), f"{where}: pieces do not end"
    sure = source.sample(2, seed=0, length=8, temperature=0)
    assert sure[0] == sure[1], f"{where}: not the likeliest"
    rng = np.random.default_rng(0)
    noise = [sorted(rng.choice(np.arange(40, 80), 4, replace=False).tolist()) for _ in range(16)]
    like = source.score_samples([pieces[0], noise])
    assert like.shape == (2,) and np.isfinite(like).all() and like[0] > like[1] + 1, f"{where}: noise is as likely"
    told = source.evaluate(tiny_pieces(4, seed=1), train=pieces, n=3)
    assert all(np.isfinite(v) for v in told.values()) and told["nats_per_frame"] > 0, f"{where}: {told}"
    step = catalog.module(card).pack(source)
    again = type(step).build(*step.spec())
    assert again.sample(5, begin, seed=3, length=9) == made, f"{where}: the step writes otherwise after a round trip"
    opened = open_bytes(wrap(source, pieces).to_bytes())
    assert opened.sample(5, begin, seed=3, length=9) == made, f"{where}: the file writes otherwise"
    assert np.allclose(opened.score_samples(pieces[:1]), like[:1]), f"{where}: the file judges otherwise"
    for wrong in ({"temperature": -1}, {"top_p": 0}, {"length": 0}, {"stop": "x"}, {"colour": 1}, {"n": 0},
                  {"seed": -1}, {"truncation": 0.5}, {"condition": 3}, {"condition": "no-such.mid"},
                  {"condition": [[200]]}):  # fmt: skip
        refused(lambda wrong=wrong: source.sample(**{"n": 2, **wrong}), where, f"sample({wrong})")
    for empty in ([], [[]], [[[60]] * 20] * 3, "no such folder", [b"MThd"], [3], None):
        refused(lambda empty=empty: clone(model).fit(empty), where, f"fit({empty!r:.20})")
