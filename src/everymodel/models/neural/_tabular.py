"""Plumbing of networks for tables: what columns look like to a network, the network, and its objective."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from everymodel.scoring.layers import feed
from everymodel.scoring.layers.base import Layer
from everymodel.scoring.layers.embeddings import Tabular
from everymodel.training.blocks.embeddings import Levels, Normed, Periodic, Piecewise
from everymodel.training.blocks.feed import Activation, Dropout, Thinned, role
from everymodel.training.blocks.written import array
from everymodel.training.objective import Objective

HOT = 9  # columns of up to so many levels become a column for each level, others are embedded
LEVEL_WIDTH = 8
PIECE = 20  # fewest rows in a piece of a number, unless all its pieces would be four or less
RARE = 5  # fewest training rows of a level that is embedded
HALVES = 10  # fewest validation rows of which each half chooses the epoch that judges the other
_HEATS = (0.8, 0.9, 1.0, 1.12, 1.25)  # steps by which the temperature may change from epoch to epoch
_ROWS = 50_000  # rows from which quantiles are taken


def learn_front(
    X: np.ndarray, categories: Sequence[int] = (), scaling: str = "robust", one_scale: bool = False, rare: int = RARE
) -> Tabular:
    """What columns (n, p) look like to the network, from training rows; NaN for missing, `categories` hold levels.

    scaling: "robust" (median, quartiles, soft clip) or "range" (0 to 1). one_scale: all numbers share one range.
    Columns that say nothing are left out, and so are levels of fewer than `rare` rows where a column has many levels.
    """
    categories = {int(j) for j in categories}
    numbers, centre, scale, gaps, hot, hot_level, coded, levels = [], [], [], [], [], [], [], []
    lowest, highest = (float(np.nanmin(X)), float(np.nanmax(X))) if one_scale else (0.0, 1.0)
    for j in range(X.shape[1]):
        column = X[:, j]
        missing = np.isnan(column)
        some = bool(missing.any())
        column = column[~missing] if some else column
        if some and len(column):
            gaps.append(j)
        if not len(column):
            continue
        if j in categories:
            own, often = np.unique(column, return_counts=True)
            if len(own) > HOT:
                own = own[often >= rare]  # those of a few rows would be learnt by heart: they count as not seen
                if not len(own):
                    continue
                coded.append(j)
                levels.append(own)
            elif len(own) > 1:
                own = own[1:] if len(own) == 2 and not some else own
                hot += [j] * len(own)
                hot_level += list(own)
            continue
        low, high = float(column.min()), float(column.max())
        if low == high:
            continue
        if scaling == "range":
            middle, width = (lowest, highest - lowest) if one_scale else (low, high - low)
        else:
            part = column if len(column) <= _ROWS else column[:: len(column) // _ROWS + 1]
            quarter, middle, rest = (float(v) for v in np.quantile(part, (0.25, 0.5, 0.75)))
            width = rest - quarter
            if not width > 1e-9 * (high - low):  # mostly one value
                width = 0.5 * high - 0.5 * low
        if not (np.isfinite(width) and width > np.finfo(np.float64).tiny):
            continue
        numbers.append(j)
        centre.append(middle)
        scale.append(1.0 / width)
    if not numbers and not hot and not coded and not gaps:  # nothing to see: one column of zeros
        numbers, centre, scale = [0], [0.0], [0.0]
    counts = np.cumsum([0, *(len(own) for own in levels)])
    whole, real = np.int32, np.float64
    return Tabular(
        columns=X.shape[1],
        numbers=np.array(numbers, dtype=whole),
        centre=np.array(centre, dtype=real),
        scale=np.array(scale, dtype=real),
        gaps=np.array(gaps, dtype=whole),
        hot=np.array(hot, dtype=whole),
        hot_level=np.array(hot_level, dtype=real),
        coded=np.array(coded, dtype=whole),
        starts=counts.astype(whole),
        levels=np.concatenate(levels) if levels else np.zeros(0),
        smooth=scaling == "robust",
    )


def pieces(Z: np.ndarray, most: int, total: int = 2000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(column, start, width) of pieces between quantiles of scaled numbers (n, m); near `total`, or n, at most."""
    columns, starts, widths = [], [], []
    most = max(4, min(most, len(Z) // PIECE, min(total, len(Z)) // max(Z.shape[1], 1)))
    Z = Z if len(Z) <= _ROWS else Z[:: len(Z) // _ROWS + 1]
    for j in range(Z.shape[1]):
        edges = np.unique(Z[:, j])
        if len(edges) > most + 1:
            edges = np.unique(np.quantile(Z[:, j], np.linspace(0, 1, most + 1)))
        wide = np.diff(edges.astype(np.float32))
        keep = wide > 1e-6
        columns.append(np.full(int(keep.sum()), j))
        starts.append(edges[:-1][keep])
        widths.append(wide[keep])
    made = (np.concatenate(columns), np.concatenate(starts), np.concatenate(widths))
    return made[0].astype(np.int64), made[1].astype(np.float32), made[2].astype(np.float32)


@dataclass(frozen=True)
class Shape:
    """How a network for tables is built."""

    hidden: tuple[int, ...] = (256, 128)
    members: int = 1
    activation: str = "relu"
    embedding: str = "none"  # of numbers: "periodic" "piecewise" "none"
    bins: int = 48
    dropout: float = 0.0


class TableNet(nn.Module):
    """Rows as a Tabular layer gives them, (b, q) or (f, b, q), to answers (f, b, k, outputs) of k members.

    Members share the embeddings and nothing else. All weights have a leading axis, of `nets` independent networks or,
    in the body, of their members.
    """

    def __init__(self, front: Tabular, Z: np.ndarray, outputs: int, shape: Shape, nets: int = 1):
        super().__init__()
        self.shape, self.nets, self.numbers, self.kept = shape, nets, len(front.numbers), front.kept
        m, wide = self.numbers, 0
        self.wave: nn.Module | None = None
        if m and shape.embedding == "periodic":
            self.wave = Periodic(nets, m)
            wide += 3 * m
        elif m and shape.embedding == "piecewise":
            column, start, width = (torch.as_tensor(a) for a in pieces(Z[:, :m], shape.bins))
            self.wave = Piecewise(column, start, width)
            wide += len(column)
        self.levels: Levels | None = None
        if len(front.coded):
            self.levels = Levels(nets, np.diff(front.starts).tolist(), LEVEL_WIDTH)
            wide += LEVEL_WIDTH * len(front.coded)
        wide += self.kept
        bodies = nets * shape.members
        body: list[nn.Module] = []
        sizes = [wide, *shape.hidden]
        for a, b in itertools.pairwise(sizes):
            body += [Normed(bodies, a, b), Activation(shape.activation)]
            body += [Thinned(b, shape.dropout)] if shape.dropout else []
        self.body = nn.Sequential(*body)
        # First answers are near the mean.
        self.head = role(torch.randn(bodies, sizes[-1], outputs) * (0.1 * math.sqrt(2.0 / sizes[-1])), "last")
        self.offset = role(torch.zeros(bodies, 1, outputs), "bias")

    def inputs(self, x: torch.Tensor) -> torch.Tensor:
        """All columns as the first layer sees them (f, b, wide)."""
        x = x.expand(self.nets, *x.shape[-2:])
        m = self.numbers
        parts = []
        if self.wave is None:
            parts.append(x[..., : self.kept])
        else:
            waves = self.wave(x[..., :m])
            # Waves hold the numbers themselves, pieces do not.
            parts += [waves, x[..., m if isinstance(self.wave, Periodic) else 0 : self.kept]]
        if self.levels is not None:
            parts.append(self.levels(x[..., self.kept :]))
        return torch.cat(parts, dim=-1) if len(parts) > 1 else parts[0]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.inputs(x)
        f, b, k = self.nets, h.shape[1], self.shape.members
        h = self.body(h[:, None].expand(f, k, b, -1).reshape(f * k, b, -1))
        out = torch.baddbmm(self.offset, h, self.head)  # (f * k, b, outputs)
        return out.view(f, k, b, -1).transpose(1, 2)

    def layer(self, chosen: int = 0) -> Layer:
        """Network number `chosen` in numpy: (n, q) -> (n, outputs), (n, k, outputs) for more than one member."""
        i, k, m = chosen, self.shape.members, self.numbers
        parts: list[Layer] = []
        rest = np.arange(self.kept, dtype=np.int32)
        if self.wave is not None:
            numbers = feed.Columns(np.arange(m, dtype=np.int32))
            parts.append(feed.Sequential([numbers, self.wave.layer(i)]))  # type: ignore[operator]
            rest = rest[m:] if isinstance(self.wave, Periodic) else rest
        if len(rest):
            parts.append(feed.Columns(rest))
        if self.levels is not None:
            codes = np.arange(self.kept, self.kept + len(self.levels.starts), dtype=np.int32)
            parts.append(feed.Sequential([feed.Columns(codes), self.levels.layer(i)]))
        made: list[Layer] = [feed.Concat(parts) if len(parts) > 1 else parts[0]]
        own: int | slice = i if k == 1 else slice(i * k, (i + 1) * k)
        for block in self.body:
            if isinstance(block, Normed):
                made.append(block.layer(own))
            elif isinstance(block, Activation):
                made.append(block.layer())
        made.append(feed.Dense(array(self.head[own]), array(self.offset[own, ..., 0, :])))
        return feed.Sequential(made)


class PlainNet(nn.Module):
    """The network of tutorials: weighted sums and one bend, (b, p) -> (1, b, 1, outputs)."""

    def __init__(self, inputs: int, outputs: int, hidden: Sequence[int], activation: str, dropout: float = 0.0):
        super().__init__()
        sizes, parts = [inputs, *hidden], []
        for a, b in itertools.pairwise(sizes):
            parts += [nn.Linear(a, b), Activation(activation), *([Dropout(dropout)] if dropout else [])]
        self.body = nn.Sequential(*parts, nn.Linear(sizes[-1], outputs))
        for part in self.body:
            if isinstance(part, nn.Linear):  # as tutorials start (Glorot and Bengio 2010)
                nn.init.xavier_uniform_(part.weight)
                nn.init.zeros_(part.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x)[None, :, None]


class Fit(Objective):
    """Cross-entropy, logistic losses of several labels, or squared errors; the mean over members of their losses.

    Validation judges the mean answer of the members. Networks grow too sure of themselves long before they stop to
    learn, so sums are divided by the temperature that suits the validation rows before the loss there is taken (Berta
    et al. 2025); `heat` is that of the best epoch. Each half of the rows also notes its answers in the epoch, and with
    the temperature, that are best for the other half.

    heat : None: found on the validation rows.
    """

    falls = True

    def __init__(self, net: nn.Module, loss: str, smoothing: float = 0.0, heat: float | None = None):
        super().__init__(net=net)
        self.loss, self.smoothing = loss, smoothing
        self.finds = heat is None and loss != "square"
        self.heat = self.now = 1.0 if heat is None else float(heat)
        self.best = math.inf
        self.half_best = [math.inf, math.inf]
        self.held: torch.Tensor | None = None

    def state(self) -> dict[str, Any]:
        return {"heats": [self.heat, self.now, self.best, *self.half_best], "held": self.held}

    def restore(self, state: dict[str, Any]) -> None:
        self.heat, self.now, self.best, *self.half_best = state["heats"]
        self.held = state["held"]

    def step(self, nets: Any, batch: Any) -> dict[str, torch.Tensor]:
        x, y = batch
        out = nets["net"](x)  # (1, b, k, outputs)
        _, b, k, o = out.shape
        if self.loss == "softmax":
            many = y[:, None].expand(b, k).reshape(-1)
            return {"net": F.cross_entropy(out.reshape(b * k, o), many, label_smoothing=self.smoothing)}
        goal = y[None, :, None].expand_as(out)
        if self.loss == "sigmoid":
            goal = goal if not self.smoothing else goal * (1 - self.smoothing) + 0.5 * self.smoothing
            return {"net": F.binary_cross_entropy_with_logits(out, goal)}
        return {"net": F.mse_loss(out, goal)}

    def answers(self, out: torch.Tensor, heat: float = 1.0) -> torch.Tensor:
        """The mean answer (b, outputs) of the members, whose sums are divided by `heat`."""
        out = out[0].float() / heat  # (b, k, outputs)
        if self.loss == "softmax":
            out = out.softmax(-1)
        elif self.loss == "sigmoid":
            out = out.sigmoid()
        return out.mean(dim=1)

    def row_losses(self, answers: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """(b,) of what is made small; 0 for classes that were not learnt."""
        if self.loss == "softmax":
            own = answers.gather(1, y.clamp(min=0)[:, None])[:, 0].clamp(min=1e-7)
            return torch.where(y >= 0, -own.log(), 0.0)
        if self.loss == "sigmoid":
            return F.binary_cross_entropy(answers.clamp(1e-7, 1 - 1e-7), y, reduction="none").mean(dim=1)
        return ((answers - y) ** 2).mean(dim=1)

    def judge(self, nets: Any, batches: Iterable[Any]) -> dict[str, torch.Tensor | float]:
        made = [(nets["net"](x), y) for x, y in batches]
        out, goals = torch.cat([o for o, _ in made], dim=1), torch.cat([y for _, y in made])
        known = goals >= 0 if self.loss == "softmax" else torch.ones(len(goals), dtype=torch.bool, device=goals.device)
        heats = [self.now * step for step in _HEATS] if self.finds else [self.now]
        found = [self.answers(out, heat) for heat in heats]
        losses = torch.stack([self.row_losses(a, goals) for a in found]).double()  # (heats, b)
        sums = losses.sum(dim=1)
        at = int(sums.argmin())
        loss = float(sums[at]) / max(int(known.sum()), 1)
        self.now = min(max(heats[at], 0.2), 20.0)
        if loss < self.best:
            self.best, self.heat = loss, heats[at]
        if len(goals) >= HALVES:
            if self.held is None:
                self.held = torch.zeros_like(found[0])
            for h in (0, 1):
                own = losses[:, h::2].sum(dim=1)
                own_at = int(own.argmin())
                if float(own[own_at]) < self.half_best[h]:
                    self.half_best[h] = float(own[own_at])
                    self.held[1 - h :: 2] = found[own_at][1 - h :: 2]
        figures: dict[str, torch.Tensor | float] = {"loss": loss}
        if self.loss == "softmax":
            figures["accuracy"] = float((found[at].argmax(dim=1) == goals)[known].float().mean())
        return figures


def flat(X: Any) -> tuple[Any, bool]:
    """(X as a matrix (n, p), whether it was of more axes or of bytes, such as images, whose numbers share a scale)."""
    if getattr(X, "ndim", 2) > 2:
        X = np.asarray(X)
        return X.reshape(len(X), -1), True
    return X, getattr(X, "dtype", None) == np.uint8


def seen(front: Tabular, X: np.ndarray, rows: int = 65_536) -> np.ndarray:
    """What the network sees of X, (n, q) float32, computed in float64 a part at a time."""
    made = np.empty((len(X), front.kept + len(front.coded)), dtype=np.float32)
    for low in range(0, len(X), rows):
        made[low : low + rows] = front(X[low : low + rows].astype(np.float64, copy=False))
    return made
