"""The contract of models that make levels: maps that can be played, in a file as in Python."""

from __future__ import annotations

from typing import Any

import numpy as np

from everymodel import catalog
from everymodel.core.card import Card
from everymodel.testing.generating import refused


def tiny_levels(n: int = 30, seed: int = 0, height: int = 9, width: int = 11) -> list[list[str]]:
    """Mazes within walls, from a start in the upper left to a goal in the lower right, some walls taken away."""
    rng = np.random.default_rng([seed, n])
    levels = []
    for _ in range(n):
        cells = np.full((height, width), "#")
        stack, seen = [(1, 1)], {(1, 1)}
        cells[1, 1] = "."
        while stack:
            y, x = stack[-1]
            ways = [(dy, dx) for dy, dx in ((0, 2), (2, 0), (0, -2), (-2, 0))
                    if 0 < y + dy < height - 1 and 0 < x + dx < width - 1 and (y + dy, x + dx) not in seen]  # fmt: skip
            if not ways:
                stack.pop()
                continue
            dy, dx = ways[rng.integers(len(ways))]
            cells[y + dy // 2, x + dx // 2] = cells[y + dy, x + dx] = "."
            seen.add((y + dy, x + dx))
            stack.append((y + dy, x + dx))
        inner = np.argwhere(cells[1:-1, 1:-1] == "#") + 1
        for y, x in inner[rng.permutation(len(inner))[: len(inner) // 4]]:
            cells[y, x] = "."
        cells[1, 1], cells[-2, -2] = "S", "G"
        levels.append(["".join(row) for row in cells.tolist()])
    return levels


def check_levels(card: Card, model: Any) -> None:
    """Raises AssertionError with what is broken.

    Fitting gives the model itself; samples are maps of known tiles in the sizes that are asked for, with one start and
    a way to the goal; what a map fixes stays; equal seeds give equal levels, others differ; equal random states give
    equal models; levels like the learnt ones are likelier than noise; the step and the model file draw alike; wishes
    that make no sense, and data that are no levels, are refused.
    """
    from sklearn.base import clone

    from everymodel.scoring.model import open_bytes
    from everymodel.workflow.wrap import wrap

    where = card.class_name
    levels = tiny_levels()
    source = clone(model)
    assert source.fit(levels) is source, f"{where}: fit does not give the model"
    made = source.sample(6, seed=3)
    assert len(made) == 6 and all(level.shape == (9, 11) for level in made), f"{where}: not the sizes of the data"
    assert made == source.sample(6, seed=3), f"{where}: equal seeds give different samples"
    assert made != source.sample(6, seed=4), f"{where}: other seeds give the same samples"
    assert clone(model).fit(levels).sample(6, seed=3) == made, f"{where}: equal random states differ"
    asked = {"width": 13, "height": 6, "start": (4, 1), "goal": (1, 11)}
    for level in [*made, *source.sample(6, asked, seed=0), *source.sample(3, seed=0, temperature=3.0)]:
        told = str(level)
        assert told.count("S") == 1 and "G" in told, f"{where}: no start or no goal"
        assert source.solution(level) is not None, f"{where}: no way through"
    rows = source.sample(1, asked, seed=0)[0].tolist()
    assert len(rows) == 6 and len(rows[0]) == 13 and rows[4][1] == "S" and rows[1][11] == "G", f"{where}: not as asked"
    part = ["####", "#??G", "#S??", "??#?"]
    for level in source.sample(4, part, seed=1):
        kept = [a == b for row, want in zip(level.tolist(), part) for a, b in zip(row, want) if b != "?"]
        assert all(kept), f"{where}: what is fixed does not stay"
    rng = np.random.default_rng(0)
    noise = ["".join(row) for row in rng.choice(list("#."), (9, 11)).tolist()]
    like = source.score_samples([levels[0], noise])
    assert like.shape == (2,) and np.isfinite(like).all() and like[0] > like[1], f"{where}: noise is as likely"
    told = source.evaluate(tiny_levels(8, seed=1), train=levels, n=8)
    assert all(np.isfinite(v) for v in told.values()) and 0 < told["nats_per_tile"] < 1, f"{where}: {told}"
    step = catalog.module(card).pack(source)
    again = type(step).build(*step.spec())
    assert again.sample(6, seed=3) == made, f"{where}: the step draws otherwise after a round trip"
    opened = open_bytes(wrap(source, levels).to_bytes())
    assert opened.sample(6, seed=3) == made, f"{where}: the file draws otherwise"
    assert np.allclose(opened.score_samples(levels[:1]), like[:1]), f"{where}: the file judges otherwise"
    for wrong in ({"temperature": -1}, {"length": 3}, {"colour": 1}, {"n": 0}, {"seed": -1}, {"truncation": 0.5},
                  {"solvable": "yes"}, {"condition": {"width": 0}}, {"condition": {"depth": 3}}, {"condition": ["ab"]},
                  {"condition": {"start": (99, 99)}}, {"condition": {"start": 3}}, {"condition": ["SS"]},
                  {"condition": ["S#G"]}):  # fmt: skip
        refused(lambda wrong=wrong: source.sample(**{"n": 2, **wrong}), where, f"sample({wrong})")
    for odd in ([], "S.G", [["S.", "G"]], [["SS", "SS"]], [[1.5]], None, [["S.G"], np.zeros((2, 2), dtype=int)]):
        refused(lambda odd=odd: clone(model).fit(odd), where, f"fit({odd!r:.30})")
