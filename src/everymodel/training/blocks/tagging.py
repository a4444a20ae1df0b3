"""A conditional random field over the steps of sentences, batched, in log space."""

from __future__ import annotations

import torch
from torch import nn

from everymodel.scoring.layers import recurrence
from everymodel.scoring.layers.base import Layer
from everymodel.training.blocks.feed import role
from everymodel.training.blocks.written import array

FORBIDDEN = -1e4


class CRF(nn.Module):
    """log p(tags | scores) = Σ_t (score_t[y_t] + move[y_t-1, y_t]) + start[y_1] + end[y_T] - log Z.

    allowed (k + 1, k + 1) : which tag may stand after which; the last row is the start of a sentence, the last column
    its end. Forbidden moves weigh -10^4 always.
    """

    def __init__(self, tags: int, allowed: torch.Tensor | None = None):
        super().__init__()
        self.move = role(torch.randn(tags, tags) * 0.01, "bias")
        self.start = role(torch.zeros(tags), "bias")
        self.end = role(torch.zeros(tags), "bias")
        allowed = torch.ones(tags + 1, tags + 1, dtype=torch.bool) if allowed is None else allowed
        self.register_buffer("far", torch.where(allowed, 0.0, FORBIDDEN))

    def weights(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """(moves (k, k), starts (k,), ends (k,)), forbidden ones far below all others."""
        return self.move + self.far[:-1, :-1], self.start + self.far[-1, :-1], self.end + self.far[:-1, -1]

    def forward(self, scores: torch.Tensor, tags: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """log p of tags (b, T) at scores (b, T, k): (b,). Tags beyond a sentence's length may be anything."""
        move, start, end = self.weights()
        steps = scores.shape[1]
        inside = torch.arange(steps, device=scores.device) < lengths[:, None]  # (b, T)
        tags = torch.where(inside, tags, 0)
        path = (scores.gather(2, tags[..., None])[..., 0] * inside).sum(dim=1)
        path = path + (move[tags[:, :-1], tags[:, 1:]] * inside[:, 1:]).sum(dim=1) + start[tags[:, 0]]
        path = path + end[tags.gather(1, lengths[:, None] - 1)[:, 0]]
        alpha = scores[:, 0] + start
        rest = move.exp()  # a matrix product instead of a (b, k, k) sum of exponentials
        for t in range(1, steps):
            top = alpha.amax(dim=1, keepdim=True).detach()
            new = ((alpha - top).exp() @ rest).clamp_min(1e-30).log() + top + scores[:, t]
            alpha = torch.where(inside[:, t, None], new, alpha)
        return path - (alpha + end).logsumexp(dim=1)

    def layer(self) -> Layer:
        return recurrence.CRF(*(array(w) for w in self.weights()))
