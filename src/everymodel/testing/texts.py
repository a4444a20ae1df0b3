"""The contract of models that write texts: samples, streams and likelihoods, in a file as in Python."""

from __future__ import annotations

from typing import Any

import numpy as np

from everymodel import catalog
from everymodel.core.card import Card
from everymodel.testing.generating import refused

_WORDS = ("the", "cat", "dog", "sat", "on", "a", "mat", "log", "and", "ran")


def tiny_text(n: int = 400, seed: int = 0) -> str:
    """So many words, in lines."""
    rng = np.random.default_rng([seed, n])
    ends = [".\n" if i % 14 == 13 else ". " if i % 7 == 6 else " " for i in range(n)]
    return "".join(w + end for w, end in zip(rng.choice(_WORDS, n), ends))


def tiny_names(n: int = 120, seed: int = 0) -> list[str]:
    """Short words of two or three syllables."""
    rng = np.random.default_rng([seed, n])
    parts = ("an", "na", "el", "la", "mi", "ra", "jo", "to")
    return ["".join(rng.choice(parts, rng.integers(2, 4))) for _ in range(n)]


def check_writer(card: Card, model: Any) -> None:
    """Raises AssertionError with what is broken.

    Fitting gives the model itself; samples are texts that begin with their prompts; a stream tells what a sample of the
    same seed says; equal seeds give equal texts, others differ; equal random states give equal models; stops are obeyed
    and not told; texts like the learnt ones are likelier than noise; several texts have ends; the step and the model
    file write alike; options that make no sense, empty texts and texts of one character are refused.
    """
    from sklearn.base import clone

    from everymodel.scoring.model import open_bytes
    from everymodel.workflow.wrap import wrap

    where = card.class_name
    text = tiny_text()
    source = clone(model)
    assert source.fit(text) is source, f"{where}: fit does not give the model"
    made = source.sample(5, "the ", seed=3, length=40)
    assert len(made) == 5 and all(isinstance(t, str) and t.startswith("the ") for t in made), f"{where}: no texts"
    assert made == source.sample(5, "the ", seed=3, length=40), f"{where}: equal seeds give different samples"
    assert made != source.sample(5, "the ", seed=4, length=40), f"{where}: other seeds give the same samples"
    assert clone(model).fit(text).sample(5, "the ", seed=3, length=40) == made, f"{where}: equal random states differ"
    one = source.sample(1, "the ", seed=3, length=150)[0]  # longer than the context
    assert "the " + "".join(source.stream("the ", seed=3, length=150)) == one, f"{where}: a stream says something else"
    cut = "the " + "".join(source.stream("the ", seed=3, length=150, stop=one[20:24]))
    assert cut == one[: one.index(one[20:24], 4)], f"{where}: a stop is not obeyed"
    sure = source.sample(2, "the ", seed=0, length=20, temperature=0)
    assert sure[0] == sure[1] == source.sample(1, "the ", seed=9, length=20, top_k=1)[0], f"{where}: not the likeliest"
    like = source.score_samples([text[:200], text[200:400][::-1]])
    assert like.shape == (2,) and np.isfinite(like).all() and like[0] > like[1], f"{where}: noise is as likely"
    told = source.evaluate(tiny_text(100, seed=1), train=text, n=4)
    assert all(np.isfinite(v) for v in told.values()) and 0 < told["nats_per_character"] < 4, f"{where}: {told}"
    step = catalog.module(card).pack(source)
    again = type(step).build(*step.spec())
    assert again.sample(5, "the ", seed=3, length=40) == made, f"{where}: the step writes otherwise after a round trip"
    own = catalog.module(card).evaluate(step, tiny_text(100, seed=1), n=4)
    assert own and all(told[k] == v for k, v in own.items()), f"{where}: the step is judged otherwise"
    opened = open_bytes(wrap(source, text).to_bytes())
    assert opened.sample(5, "the ", seed=3, length=40) == made, f"{where}: the file writes otherwise"
    assert np.allclose(opened.score_samples([text[:200]]), like[:1]), f"{where}: the file judges otherwise"
    several = clone(model).fit(tiny_names())
    names = several.sample(6, seed=0)
    assert any(len(name) < several.step_.usual for name in names), f"{where}: texts do not end"
    assert several.sample(2, ["an", "jo"], seed=0)[1].startswith("jo"), f"{where}: prompts are not kept apart"
    for wrong in ({"temperature": -1}, {"top_p": 0}, {"top_k": 0}, {"length": 0}, {"stop": ""}, {"colour": 1},
                  {"n": 0}, {"seed": -1}, {"truncation": 0.5}, {"condition": 3},
                  {"condition": ["a", "b"]}):  # fmt: skip
        refused(lambda wrong=wrong: source.sample(**{"n": 3, **wrong}), where, f"sample({wrong})")
    for empty in ("", [], "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", [1, 2], None, "ab"):
        refused(lambda empty=empty: clone(model).fit(empty), where, f"fit({empty!r:.20})")
