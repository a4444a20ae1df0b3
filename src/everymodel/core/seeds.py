"""Randomness comes from one seed: every part derives its own number from it by name."""

from __future__ import annotations

import hashlib


def derive(seed: int, *names: object) -> int:
    """A seed in [0, 2**31) for the part called `names`; equal inputs give equal seeds on every machine."""
    text = "\x1f".join([str(seed), *map(str, names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1
