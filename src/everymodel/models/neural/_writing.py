"""Plumbing of sequence to sequence: the network, its loss, and how rows are taken."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from everymodel.core.errors import DataError
from everymodel.scoring.layers.tokens import PAD
from everymodel.training.blocks.attention import Reader, Writer
from everymodel.training.objective import Losses, Objective


class WritingNet(torch.nn.Module):
    """Vectors of what is read, the reader and the writer."""

    def __init__(self, vectors: torch.nn.Module | None, reader: Reader, writer: Writer):
        super().__init__()
        self.vectors, self.reader, self.writer = vectors, reader, writer

    def forward(self, x: torch.Tensor, lengths: torch.Tensor, before: torch.Tensor) -> torch.Tensor:
        x = x if self.vectors is None else self.vectors(x)
        return self.writer(self.reader(x, lengths), lengths, before)


class Write(Objective):
    """Cross-entropy of every next token."""

    falls = True

    def __init__(self, net: WritingNet, smoothing: float, sampling: float, steps: int):
        super().__init__(net=net)
        self.smoothing, self.sampling, self.steps, self.done = smoothing, sampling, max(steps, 1), 0

    def step(self, nets: Any, batch: Any) -> Losses:
        x, lengths, y, size = batch  # y (b, U): start, tokens, end, padding
        y = y[:, : int(size.max())]
        before, after = y[:, :-1], y[:, 1:]
        net = nets["net"]
        share = self.sampling * min(self.done / self.steps, 1.0)
        if net.training and share > 0:
            with torch.no_grad():
                said = net.writer.outputs(net(x, lengths, before)).argmax(dim=-1)[:, :-1]
                own = torch.rand(said.shape, device=said.device) < share
                own &= before[:, 1:] != PAD
            before = torch.cat([before[:, :1], torch.where(own, said, before[:, 1:])], dim=1)
        hidden, wanted = net(x, lengths, before), after.reshape(-1)
        rows = wanted != PAD  # scores of padding are never computed
        scores = net.writer.outputs(hidden.flatten(0, 1)[rows])
        smoothing = self.smoothing if net.training else 0.0
        return {"net": F.cross_entropy(scores, wanted[rows], label_smoothing=smoothing)}

    def after_step(self, step: int) -> None:
        self.done = step


def cells_of(X: Any) -> list[Any]:
    """Rows as a list: texts, lists of tokens, series (T, p); a row (p,) of a matrix of numbers is one step (1, p)."""
    if hasattr(X, "to_numpy"):
        X = X.to_numpy()
    if isinstance(X, np.ndarray) and X.dtype.kind in "iufb":
        if X.ndim not in (2, 3):
            raise DataError(f"X of shape {X.shape} came; expected (n, p), (n, T, p), texts or lists of tokens.")
        return [row[None] if X.ndim == 2 else row for row in X.astype(np.float64)]
    cells = ["" if cell is None or (isinstance(cell, float) and cell != cell) else cell for cell in X]
    if not cells:
        raise DataError("There is no row.")
    if any(not isinstance(c, str | list | tuple | np.ndarray) for c in cells):
        wrong = next(c for c in cells if not isinstance(c, str | list | tuple | np.ndarray))
        raise DataError(f"X holds {wrong!r}; expected texts, lists of tokens, or series of numbers.")
    return cells
