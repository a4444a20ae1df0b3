"""Levels for games: maps of tiles, drawn tile by tile by what stands around, with a way through where asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from everymodel.core.errors import DataError, ParameterError
from everymodel.core.seeds import derive
from everymodel.models.generative._base import Generative, fit
from everymodel.scoring.steps.base import Step
from everymodel.scoring.steps.levels import TILES, Level, LevelMaker, coded, feature_sizes, rows_of, views
from everymodel.training.blocks.feed import Activation, Dropout, Residual, role
from everymodel.training.blocks.written import written
from everymodel.training.estimator import set_aside
from everymodel.training.objective import Losses, Objective
from everymodel.training.optimizers import Optimizer
from everymodel.training.source import Arrays, Endless

__all__ = ["CARD", "LevelGenerator", "evaluate", "fit", "pack"]

CARD = {
    "name": "level_generator",
    "title": "Level generator",
    "summary": "Draws maps of tiles for games like those it was given; from start to goal there is a way.",
    "choose": "Some ten levels or more, as text or numbers, whose manner new ones of any size shall have.",
    "avoid": "Levels whose rules span all of the map, such as keys and doors: only start, goal and walls are checked.",
    "gives": ["samples"],
    "needs": {"package": "torch", "inputs": "level"},
    "cost": {"scale": 0.01, "rows_power": 0.2, "columns_power": 0.5},
    "references": [
        "van den Oord, Kalchbrenner and Kavukcuoglu (2016), Pixel recurrent neural networks.",
        "Summerville et al. (2018), Procedural content generation via machine learning.",
    ],
    "advice": ["slow"],
    "priority": 10,
    "parameters": {
        "passable": {
            "type": "str",
            "default": None,
            "tune": False,
            "text": "Tiles that one may walk on, such as '.-'.",
        },
        "start": {"type": "str", "default": None, "tune": False, "text": "The tile where one begins."},
        "goal": {"type": "str", "default": None, "tune": False, "text": "The tile that one must reach."},
        "radius": {"type": "int", "default": 3, "low": 1, "high": 8, "text": "How far tiles see, in tiles."},
        "edge": {
            "type": "int",
            "default": 4,
            "low": 0,
            "high": 250,
            "text": "How near the edges are felt, in tiles; larger where the height above the ground matters.",
        },
        "flip": {
            "type": "choice",
            "default": "none",
            "choices": ["none", "horizontal", "both"],
            "text": "Mirror images of the levels to learn from too.",
        },
        "width": {"type": "int", "default": 96, "low": 8, "high": 4096, "log": True, "text": "Numbers in each layer."},
        "dropout": {"default": 0.1},
        "steps": {"text": "Steps of training; none: 1,500, or as many as the budget allows."},
        "batch_size": {"default": 256, "text": "Tiles in a step."},
        "learning_rate": {"default": 0.003},
        "weight_decay": {"default": 0.01},
        "optimizer": {"default": "adamw"},
        "validation_fraction": {"default": 0.1},
        "device": {},
    },
    "tiny": [
        {"passable": ".", "start": "S", "goal": "G", "width": 32, "steps": 250, "batch_size": 128, "random_state": 0},
    ],
    "presets": [{}],
    "classes": {
        "generator": {"class": "everymodel.models.generative.level_generator:LevelGenerator", "tasks": ["generate"]},
    },
}  # fmt: skip


class LevelNet(nn.Module):
    """Scores (n, tiles) by features (n, f); `scoring.steps.levels.LevelMaker` answers alike."""

    def __init__(self, sizes: Sequence[int], tiles: int, width: int, dropout: float):
        super().__init__()
        self.table = role(torch.randn(sum(sizes), width) * 0.1, "embedding")
        self.offsets = nn.Buffer(torch.tensor([0, *sizes[:-1]]).cumsum(0), persistent=False)
        head = nn.Linear(width, tiles)
        nn.init.zeros_(head.weight)
        role(head.weight, "last")
        inner = nn.Sequential(nn.Linear(width, width), Activation("relu"))
        self.body = nn.Sequential(Activation("relu"), Dropout(dropout), Residual(inner), Dropout(dropout), head)

    def forward(self, seen: torch.Tensor) -> torch.Tensor:
        return self.body(F.embedding_bag(seen.long() + self.offsets, self.table, mode="sum"))


class NextTile(Objective):
    """Mean of -log p(tile)."""

    falls = True

    def step(self, nets: Any, batch: Any) -> Losses:
        seen, tile = batch
        return {"net": F.cross_entropy(nets["net"](seen), tile.long())}


class LevelGenerator(Generative):
    """p(level) = Π p(tile | tiles above and to the left, distances to the edges, what stood already), row by row.

    `fit` takes levels of equal or different sizes: lists of texts (one for each row), texts with lines, or 2-D arrays
    of whole numbers. `sample` gives levels (`.tolist()`, `str(level)`, `.picture()`, `.save("a.png")`) of sizes as in
    the data, or as asked. Where passable=, start= and goal= are said, each sample has a way from the start to the goal
    in four directions: levels without one are drawn again, and at last a way is opened through as few walls as can be.

    Parameters
    ----------
    passable : tiles that one may walk on (besides start and goal). start, goal : where one begins, and what one must
        reach. A sample has one start; tiles that stand once in each level of the data stand once in samples too.
    radius : how far tiles see. edge : how near the edges are felt, in tiles; larger where the height above the ground
        matters, smaller where samples shall be of other sizes.
    flip : mirror images of the levels to learn from too: "none", "horizontal", "both".
    width : numbers in each layer. steps : of training; None: 1,500, or as many as the budget allows.
    batch_size : tiles in a step. dropout, learning_rate, weight_decay, optimizer : as for all networks.
    validation_fraction : share of the levels that chooses the best weights; none of fewer than five levels.
    budget, device, checkpoint, random_state, verbose : as for all networks.

    Attributes
    ----------
    step_, net_ (torch.nn.Module), history_, tiles_ (what levels are made of)

    Raises
    ------
    DataError, ParameterError

    Examples
    --------
    >>> levels = [["#####", "#S..#", "#.#.#", "#..G#", "#####"], ["#####", "#..S#", "#.#.#", "#G..#", "#####"]] * 4
    >>> model = LevelGenerator(passable=".", start="S", goal="G", width=32, steps=100, random_state=0).fit(levels)
    >>> level = model.sample(1, {"width": 9, "height": 6}, seed=0)[0]
    >>> level.shape, model.solution(level) is not None
    ((6, 9), True)
    """

    default_steps = 1_500

    def __init__(
        self,
        passable: Any = None,
        start: Any = None,
        goal: Any = None,
        radius: int = 3,
        edge: int = 4,
        flip: str = "none",
        width: int = 96,
        dropout: float = 0.1,
        steps: int | None = None,
        batch_size: int = 256,
        learning_rate: float = 0.003,
        weight_decay: float = 0.01,
        optimizer: str = "adamw",
        validation_fraction: float = 0.1,
        budget: float | str | None = None,
        device: str = "auto",
        checkpoint: str | None = None,
        random_state: int | None = None,
        verbose: int = 0,
    ):
        self.passable = passable
        self.start = start
        self.goal = goal
        self.radius = radius
        self.edge = edge
        self.flip = flip
        self.width = width
        self.dropout = dropout
        self.steps = steps
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.optimizer = optimizer
        self.validation_fraction = validation_fraction
        self.budget = budget
        self.device = device
        self.checkpoint = checkpoint
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: Any, y: Any = None) -> LevelGenerator:
        """Learn from levels: lists of texts, texts with lines, or 2-D arrays of whole numbers."""
        seed = self._seed()
        for name, least, most in (
            ("radius", 1, 8),
            ("edge", 0, 250),
            ("width", 8, 1 << 20),
            ("batch_size", 1, 1 << 30),
        ):
            if not least <= getattr(self, name) <= most:
                raise ParameterError(f"{name}={getattr(self, name)!r} came; expected {least} to {most:,}.")
        if self.flip not in ("none", "horizontal", "both"):
            raise ParameterError(f"flip={self.flip!r} is unknown: expected none, horizontal or both.")
        levels = _levels(X)
        tiles = sorted({tile for rows in levels for row in rows for tile in row})
        if len(tiles) > TILES:
            raise DataError(f"The levels hold {len(tiles)} kinds of tiles; at most {TILES} are learnt.")
        if len(tiles) < 2:
            raise DataError("All tiles are the same, so there is nothing to learn: give levels of two kinds or more.")
        self.tiles_ = tuple(tiles)
        cells = [coded(rows, tiles) for rows in levels]
        passable, start, goal = self._roles(tiles)
        single = [t for t in range(len(tiles)) if t == start or all((c == t).sum() == 1 for c in cells)]
        kept, held = np.arange(len(cells)), np.arange(0)
        if self.validation_fraction and len(cells) >= 5:
            kept, held = set_aside(
                len(cells), self.validation_fraction, np.random.default_rng(derive(seed, "validation"))
            )
        seen, tile = self._views([m for i in kept for m in self._mirrored(cells[i])], single)
        sizes = feature_sizes(len(tiles), self.radius, self.edge, len(single))
        with self._initial():
            net = LevelNet(sizes, len(tiles), self.width, self.dropout)
        epochs = self._length(self.default_steps)
        self._train(
            NextTile(net=net),
            Endless(seen, tile, count=self.epoch_, batch=self.batch_size),
            valid=Arrays(*self._views([cells[i] for i in held], single), shuffle=False) if len(held) else None,
            stop=getattr(self, "_stop", None),
            threads=getattr(self, "_threads", None),
            epochs=epochs,
            schedule="warm_cosine",
            half_life=0.01,
            optimizers=Optimizer(self.optimizer, self.learning_rate, self.weight_decay),
        )
        self.net_ = net.cpu()
        found = Counter(c.shape for c in cells)
        shares = np.bincount(np.concatenate([c.reshape(-1) for c in cells]), minlength=len(tiles))
        self.step_ = LevelMaker(
            written(net.body), net.table.detach().numpy().copy(),
            np.array(list(found), dtype=np.int64), np.array(list(found.values()), dtype=np.int64),
            shares / shares.sum(), self.tiles_, self.radius, self.edge, tuple(single), passable, start, goal,
        )  # fmt: skip
        self.step_.check()
        self.history_.notes[:0] = self._noted(cells)
        return self

    def _roles(self, tiles: Sequence[Any]) -> tuple[tuple[int, ...], int, int]:
        """Places of the tiles that are passable, the start and the goal."""
        given = {"passable": self.passable, "start": self.start, "goal": self.goal}
        if all(value is None for value in given.values()):
            return (), -1, -1
        missing = [name for name, value in given.items() if value is None]
        if missing:
            raise ParameterError(f"{missing[0]} is not given: passable=, start= and goal= belong together.")
        walk = list(self.passable) if isinstance(self.passable, Iterable) else [self.passable]
        for name, tile in [("start", self.start), ("goal", self.goal), *(("passable", tile) for tile in walk)]:
            if tile not in tiles:
                raise ParameterError(f"{name}: the tile {tile!r} stands in no level; there are {tiles[:30]}.")
        if self.start == self.goal:
            raise ParameterError(f"start and goal are both {self.start!r}; they must be different tiles.")
        places = {tile: i for i, tile in enumerate(tiles)}
        floor = tuple(sorted({places[tile] for tile in walk} - {places[self.start], places[self.goal]}))
        if not floor:
            raise ParameterError("passable holds no tile besides start and goal: say which tiles one walks on.")
        return floor, places[self.start], places[self.goal]

    def _mirrored(self, cells: np.ndarray) -> list[np.ndarray]:
        made = [cells] if self.flip == "none" else [cells, cells[:, ::-1]]
        return made if self.flip != "both" else [*made, *(m[::-1] for m in made)]

    def _views(self, cells: Sequence[np.ndarray], single: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Features (n, f) and tiles (n,), both bytes, of all tiles of these levels."""
        seen = np.concatenate([views(c, len(self.tiles_), self.radius, self.edge, single) for c in cells])
        tile = np.concatenate([c.reshape(-1) for c in cells]).astype(np.uint8)
        return torch.from_numpy(seen), torch.from_numpy(tile)

    def _noted(self, cells: Sequence[np.ndarray]) -> list[str]:
        if self.step_.start < 0:
            return []
        blocked = sum(self.step_.solution(Level(c, self.tiles_)) is None for c in cells)
        return [f"{blocked} of {len(cells)} levels have no way from the start to the goal."] if blocked else []

    # --- verbs ---

    def score_samples(self, levels: Any) -> np.ndarray:
        """(n,) log-likelihood of each level per tile, in nats."""
        return self._step().score_samples(self._cells(levels))  # type: ignore[attr-defined]

    def solution(self, level: Any) -> list[tuple[int, int]] | None:
        """The shortest way (row, column), ... from the start to the goal of a level, or None where there is none."""
        return self._step().solution(level)  # type: ignore[attr-defined]

    def _cells(self, X: Any) -> Any:
        return [Level(coded(rows, self.tiles_), self.tiles_) for rows in _levels(X)]

    def evaluate(
        self, X: Any, y: Any = None, *, train: Any = None, n: int | None = None, seed: int = 0, **ignored: Any
    ) -> dict[str, float]:
        """How well held-out levels are foretold, and how alike, playable and new samples are.

        Parameters
        ----------
        X : held-out levels. train : those of the fit, to say what is copied. n : samples (as many as held out, 20 to
            200).

        Returns
        -------
        nats_per_tile : -log p of the held-out levels. tiles, patterns : shares of the histograms of tiles, and of
        squares of 3 x 3 tiles, that overlap. coverage : share of the held-out squares that samples show. solvable :
        share of samples with a way from start to goal before any is put right. new : share of squares of 5 x 5 tiles
        that stand in no level of the fit. With _real at the end: the same of held-out (or training) levels.
        """
        held, known = self._cells(X), None if train is None else self._cells(train)
        return evaluate(self._step(), held, seed, train=known, n=n)


def evaluate(
    step: Any, held: Any, seed: int = 0, *, train: Sequence[Level] | None = None, n: int | None = None
) -> dict[str, float]:
    """Figures of a step on held-out levels."""
    levels = [Level(coded(level, step.tiles), step.tiles) for level in held]
    if not levels:
        raise DataError("There is no held-out level: give one or more.")
    size = sum(level.cells.size for level in levels)
    told = {"nats_per_tile": -sum(map(step.likelihood, levels)) / size}
    made = step.sample(n or min(max(len(levels), 20), 200), seed=seed, solvable=False)
    views_of = {"tiles": 1, "patterns": 3}
    for name, side in views_of.items():
        told[name] = _overlap(_squares(made, side), _squares(levels, side))
        if train is not None:
            told[f"{name}_real"] = _overlap(_squares(train, side), _squares(levels, side))
    real, shown = _squares(levels, 3), _squares(made, 3)
    told["coverage"] = sum(count for square, count in real.items() if square in shown) / max(real.total(), 1)
    if step.start >= 0:
        told["solvable"] = float(np.mean([step.solution(level) is not None for level in made]))
        told["solvable_real"] = float(np.mean([step.solution(level) is not None for level in levels]))
    if train is not None:
        seen = _squares(train, 3)
        told["coverage_real"] = sum(c for square, c in real.items() if square in seen) / max(real.total(), 1)
        known = _squares(train, 5)
        for name, some in (("new", made), ("new_real", levels)):
            squares = _squares(some, 5)
            told[name] = sum(c for square, c in squares.items() if square not in known) / max(squares.total(), 1)
    return told


def _squares(levels: Sequence[Level], side: int) -> Counter[bytes]:
    """How often each square of tiles stands in levels."""
    found: Counter[bytes] = Counter()
    for level in levels:
        cells = level.cells.astype(np.uint8)
        if min(cells.shape) < side:
            continue
        squares = np.lib.stride_tricks.sliding_window_view(cells, (side, side)).reshape(-1, side * side)
        found.update(square.tobytes() for square in squares)
    return found


def _overlap(a: Counter[bytes], b: Counter[bytes]) -> float:
    return sum(min(a[square] / a.total(), count / b.total()) for square, count in b.items()) if a else 0.0


def _levels(X: Any) -> list[list[list[Any]]]:
    """Rows of tiles of each of several levels."""
    if isinstance(X, np.ndarray) and X.ndim == 3:
        X = list(X)
    if isinstance(X, str | Level) or not isinstance(X, Iterable):
        raise DataError(f"{X!r:.60} came; expected a list of levels, each a list of texts or a 2-D array.")
    made = []
    for i, level in enumerate(X):
        try:
            made.append(rows_of(level))
        except DataError as error:
            raise DataError(f"Level {i}: {error}") from error
    if not made:
        raise DataError("No level came: give some ten or more.")
    if len({type(tile) for rows in made for row in rows for tile in row}) > 1:
        raise DataError("Some tiles are characters and others numbers: give one or the other.")
    return made


def pack(model: Any, n_classes: int | None = None) -> Step:
    """The numpy step that draws."""
    return model._step()
