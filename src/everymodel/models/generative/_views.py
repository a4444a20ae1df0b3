"""Images as a critic sees them where they are few: changed at random, real and made ones alike, with gradients."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional as F

from everymodel.core.errors import ParameterError

FEW = 10_000  # images below which the critic would learn them by heart
_WORDS = {"none": (0.0, 0.0), "shift": (0.125, 0.0), "shift_cut": (0.125, 0.5)}


@dataclass(frozen=True)
class Seen:
    """Shifted by up to `shift` of the sides (gaps filled by the edge), and a box of `cut` of the sides hidden.

    Differentiable augmentation (Zhao et al. 2020): a generator is not taught to make the changes, since real and made
    images are seen through the same ones.
    """

    shift: float = 0.125
    cut: float = 0.0

    @classmethod
    def by(cls, word: str, n: int) -> Seen | None:
        """What a setting means for n images; None where images are seen as they are."""
        if word not in (*_WORDS, "auto"):
            raise ParameterError(f"augment={word!r} is not known: expected auto, {', '.join(_WORDS)}.")
        shift, cut = _WORDS[
            word if word != "auto" else "shift_cut" if n < FEW // 10 else "shift" if n < FEW else "none"
        ]
        return cls(shift, cut) if shift or cut else None

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        b, _, h, w = x.shape
        if self.shift:
            dy, dx = max(round(h * self.shift), 1), max(round(w * self.shift), 1)
            x = F.pad(x, (dx, dx, dy, dy), mode="replicate")
            rows = torch.randint(2 * dy + 1, (b, 1), device=x.device) + torch.arange(h, device=x.device)  # (b, h)
            columns = torch.randint(2 * dx + 1, (b, 1), device=x.device) + torch.arange(w, device=x.device)  # (b, w)
            image = torch.arange(b, device=x.device)[:, None, None]
            x = x.permute(0, 2, 3, 1)[image, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)  # (b, c, h, w)
        if self.cut:
            sides = torch.tensor([h, w], device=x.device) * self.cut
            low = (torch.rand(b, 2, device=x.device) * 1.5 - 0.25) * torch.tensor([h, w], device=x.device) - sides / 2
            y, z = torch.arange(h, device=x.device), torch.arange(w, device=x.device)
            hidden = ((y >= low[:, :1]) & (y < low[:, :1] + sides[0]))[:, None, :, None]
            hidden = hidden & ((z >= low[:, 1:]) & (z < low[:, 1:] + sides[1]))[:, None, None, :]
            x = x.masked_fill(hidden, 0.0)
        return x
