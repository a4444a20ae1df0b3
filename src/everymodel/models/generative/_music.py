"""Music as windows of frames, the network that reads them note by note, and what is learnt; see `scoring.midi`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from everymodel.core.seeds import derive
from everymodel.scoring.layers.base import Layer
from everymodel.scoring.midi import Piece
from everymodel.scoring.steps.composing import MOST, Keys, tokens, wants
from everymodel.training.blocks.feed import Activation, Dropout, Residual, role
from everymodel.training.blocks.recurrence import OneWay
from everymodel.training.blocks.written import written
from everymodel.training.objective import Losses, Objective
from everymodel.training.source import Source

OWN = 0.25  # share of windows that stay in their key at least; it is told which do
JUDGED = 512  # frames of a piece that a validation looks at


class ComposerNet(nn.Module):
    """Log-odds of notes, frame by frame and note by note; `scoring.steps.composing.Composer` answers alike."""

    def __init__(self, keys: Keys, width: int, dropout: float):
        super().__init__()
        self.keys = keys
        inputs, outputs = keys.inputs, sum(keys.widths())
        self.memory = OneWay("gru", inputs, width)
        self.join = nn.Linear(width + inputs, width)
        self.table = role(torch.randn(sum(keys.features), width) * 0.1, "embedding")
        self.chosen = role(torch.randn(keys.count, width) * 0.1, "embedding")
        inner = nn.Sequential(nn.Linear(width, width), Activation("relu"))
        head = nn.Linear(width, outputs)
        nn.init.zeros_(head.weight)
        role(head.weight, "last")
        self.body = nn.Sequential(Activation("relu"), Dropout(dropout), Residual(inner), Dropout(dropout), head)
        self.stop = nn.Linear(width, 1)
        nn.init.zeros_(self.stop.weight)
        nn.init.constant_(self.stop.bias, -4.0)
        role(self.stop.weight, "last")
        self.dropout = Dropout(dropout)

    def forward(self, batch: Windowed) -> tuple[torch.Tensor, torch.Tensor]:
        """Scores (n, notes + 1) of all notes of a batch, and log-odds (b, T) of the end."""
        x = batch.x
        state = self.dropout(self.memory.cell(x)[0])  # (b, T, h)
        joined = self.join(torch.cat([state, x], dim=2)).flatten(0, 1)  # (b T, d)
        z = joined.index_select(0, batch.rows) + F.embedding_bag(batch.ids, self.table, mode="sum")
        made = self.body(z + batch.chosen @ self.chosen).float()
        plain = self.keys.notes + 1
        scores = F.pad(made[:, :plain], (0, 1)).scatter_add(1, batch.steps, made[:, plain:])[:, :plain]
        return scores.masked_fill(batch.barred, -1e9), self.stop(state)[..., 0].float()

    def parts(self) -> dict[str, Layer]:
        """The layers of a `Composer`."""
        return {
            "cell": self.memory.layer(),
            "join": written(self.join),
            "network": written(self.body),
            "stop": written(self.stop),
        }


class Windowed:
    """A batch of windows: inputs x (b, T, inputs), and for each of n notes what `Keys.look` finds.

    rows (n,) : its frame among b * T. over (b, T) : 1 where the piece is over, 0 where it goes on, -1 for padding.
    """

    names = ("x", "rows", "ids", "chosen", "steps", "barred", "wanted", "over")
    x: torch.Tensor
    rows: torch.Tensor
    ids: torch.Tensor
    chosen: torch.Tensor
    steps: torch.Tensor
    barred: torch.Tensor
    wanted: torch.Tensor
    over: torch.Tensor

    def __init__(self, device: torch.device, **arrays: np.ndarray):
        for name, array in arrays.items():
            setattr(self, name, torch.from_numpy(array).to(device, non_blocking=True))

    def __len__(self) -> int:
        return len(self.x)


class Frames(Source):
    """Windows of pieces in random keys; an epoch is `count` steps.

    Parameters
    ----------
    length : frames of a window. shift : most semitones up or down by which a window is moved.
    """

    def __init__(self, pieces: Sequence[Piece], keys: Keys, length: int, batch: int, count: int, shift: int):
        self.keys, self.length, self.batch, self.count, self.shift = keys, length, int(batch), int(count), shift
        read = [keys.read(piece) for piece in pieces]
        self.sizes = np.array([len(p) for p, _ in read])
        quiet = np.full((2, MOST), -1, dtype=np.int64)  # two silent frames stand before each piece
        self.pitches = np.concatenate([part for p, _ in read for part in (quiet, p)])
        self.states = np.concatenate([part for _, s in read for part in (quiet * 0, s)])
        self.starts = np.cumsum(self.sizes + 2) - self.sizes
        known = [p[p >= 0] for p, _ in read]
        self.room = np.array([[k.min(), keys.count - 1 - k.max()] if len(k) else [0, 0] for k in known])
        windows = np.ceil(self.sizes / length)
        self.shares = windows / windows.sum()
        self.place = torch.device("cpu")

    def move(self, device: torch.device) -> None:
        self.place = device

    def steps(self) -> int:
        return self.count

    def epoch(self, number: int, seed: int, start: int = 0) -> Iterator[Windowed]:
        for i in range(start, self.count):
            rng = np.random.default_rng(derive(seed, "windows", number, i))
            which = rng.choice(len(self.sizes), self.batch, p=self.shares)
            last = np.maximum(self.sizes[which] + 1 - self.length, 0)
            half = self.length // 2
            first = rng.integers(-half, np.maximum(self.sizes[which] + 1 - half, 1 - half))
            low, high = np.minimum(self.room[which], self.shift).T
            moved = np.where(rng.random(self.batch) < OWN, 0, rng.integers(-low, high + 1))
            yield self.windows(which, np.clip(first, 0, last), moved, self.length)

    def ordered(self) -> Iterator[Windowed]:
        """Each piece once, in its own key, up to `JUDGED` frames."""
        order = np.argsort(self.sizes, kind="stable")
        for low in range(0, len(order), self.batch):
            which = order[low : low + self.batch]
            longest = min(int(self.sizes[which].max()), JUDGED)
            zeros = np.zeros(len(which), dtype=np.int64)
            yield self.windows(which, zeros, zeros, longest)

    def windows(self, which: np.ndarray, first: np.ndarray, moved: np.ndarray, length: int) -> Windowed:
        """Windows (b,) of these pieces, from these frames on, moved by so many semitones."""
        keys = self.keys
        sizes = np.minimum(self.sizes[which] - first, length)  # frames that are there
        place = (self.starts[which] + first)[:, None] + np.arange(-2, length)  # (b, length + 2)
        there = np.arange(-2, length) < sizes[:, None]
        place = np.minimum(place, len(self.pitches) - 1)
        pitches = np.where(there[..., None], self.pitches[place], -1)
        pitches = np.where(pitches < 0, -1, pitches + moved[:, None, None])
        states = np.where(there[..., None], self.states[place], 0) if keys.states > 1 else np.zeros_like(pitches)
        places = np.eye(keys.bar, dtype=np.float32)[(first[:, None] + np.arange(length)) % keys.bar]
        own = np.broadcast_to((moved == 0).astype(np.float32)[:, None, None], (*places.shape[:2], 1))
        x = np.concatenate([keys.roll(pitches[:, 1:-1], states[:, 1:-1]), places, own], axis=2)
        now, before, earlier = (pitches[:, i : i + length].reshape(-1, MOST) for i in (2, 1, 0))
        state = states[:, 2:].reshape(-1, MOST)
        t, k = tokens(now)
        stay = there[:, 2:].reshape(-1)[t]
        t, k = t[stay], k[stay]
        last_state = np.where(k > 0, state[t, np.maximum(k - 1, 0)], 0)
        ids, chosen, anchor, last = keys.look(k, now[t], last_state, before[t], earlier[t])
        barred = np.pad(~keys.allowed(last, before[t]), ((0, 0), (0, 1)))  # and never the end
        over = np.where(np.arange(length) < sizes[:, None], 0.0, -1.0).astype(np.float32)
        over[(first[:, None] + np.arange(length)) == self.sizes[which][:, None]] = 1.0
        over[:, 0] = np.where(first == 0, -1.0, over[:, 0])  # a piece has a frame at least
        told = {"x": x, "rows": t, "ids": ids, "chosen": chosen, "steps": keys.steps(anchor, last), "over": over}
        return Windowed(self.place, **told, barred=barred, wanted=wants(now, state, t, k, keys))


class NextNote(Objective):
    """Mean of -log p(next note), and of the end of the piece; validation tells nats by frame."""

    falls = True

    def __init__(self, net: nn.Module):
        super().__init__(net=net)

    def step(self, nets: Any, batch: Any) -> Losses:
        notes, over = self._told(nets, batch)
        return {"net": (notes + over) / len(batch.wanted)}

    def _told(self, nets: Any, batch: Any) -> tuple[torch.Tensor, torch.Tensor]:
        scores, odds = nets["net"](batch)
        told = (batch.over >= 0).float()
        over = F.binary_cross_entropy_with_logits(odds, batch.over.clamp_min(0), told, reduction="sum")
        return F.cross_entropy(scores, batch.wanted, reduction="sum"), over

    def judge(self, nets: Any, batches: Iterable[Any]) -> dict[str, torch.Tensor | float]:
        total, ends, frames = torch.zeros(()), torch.zeros(()), torch.zeros(())
        for batch in batches:
            notes, over = self._told(nets, batch)
            total, ends = total + notes.cpu(), ends + over.cpu()
            frames = frames + (batch.over == 0).sum().cpu() + (batch.over[:, 0] < 0).sum().cpu()
        frames = frames.clamp_min(1.0)
        return {"loss": (total + ends) / frames, "nats_per_frame": total / frames}


def quality(made: Sequence[Piece], held: Sequence[Piece], train: Sequence[Piece] | None) -> dict[str, float]:
    """How alike samples and held-out pieces are, and what is copied.

    Returns
    -------
    pitch_classes, intervals, polyphony : shares of both histograms that overlap, 0 to 1: notes by pitch class, steps of
    the highest voice in semitones, notes in a frame. copied : longest run of frames of a sample that stands in a
    training piece, in frames; with _real the same of held-out pieces (and the overlaps of training pieces with them).
    """
    told: dict[str, float] = {}
    views = {"pitch_classes": _classes, "intervals": _intervals, "polyphony": _polyphony}
    for name, view in views.items():
        told[name] = _overlap(view(made), view(held))
    if train is not None:
        told |= {f"{name}_real": _overlap(view(train), view(held)) for name, view in views.items()}
        told["copied"] = float(longest_run(made, train))
        told["copied_real"] = float(longest_run(held, train))
    return told


def _overlap(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.minimum(a / max(a.sum(), 1), b / max(b.sum(), 1)).sum())


def _classes(pieces: Sequence[Piece]) -> np.ndarray:
    return np.bincount([p % 12 for piece in pieces for frame in piece.frames for p in frame], minlength=12)


def _intervals(pieces: Sequence[Piece]) -> np.ndarray:
    tops = [[frame[-1] for frame in piece.frames if frame] for piece in pieces]
    steps = [min(max(b - a, -24), 24) + 24 for top in tops for a, b in pairwise(top)]
    return np.bincount(np.array(steps, dtype=np.int64), minlength=49)


def _polyphony(pieces: Sequence[Piece]) -> np.ndarray:
    return np.bincount([len(frame) for piece in pieces for frame in piece.frames], minlength=MOST + 1)


def longest_run(pieces: Sequence[Piece], known: Sequence[Piece], most: int = 256) -> int:
    """Frames in the longest run, up to `most`, of a piece that also stands in a known one; silence does not count."""
    words: dict[tuple[int, ...], int] = {}
    told = [[words.setdefault(f, len(words)) for f in piece.frames] for piece in known]
    silent = words.get((), -1)
    asked = [[words.get(f, -1) if f else -2 for f in piece.frames] for piece in pieces]

    def stands(length: int) -> bool:
        seen = {tuple(row[i : i + length]) for row in told for i in range(len(row) - length + 1)}
        runs = (tuple(row[i : i + length]) for row in asked for i in range(len(row) - length + 1))
        return any(run in seen for run in runs if silent not in run)

    low, high = 0, min(most, max(map(len, asked), default=0))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if stands(middle) else (low, middle - 1)
    return low
