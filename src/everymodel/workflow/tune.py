"""Proposing settings: around what has worked, by Optuna's sampler where it is installed, at random else."""

from __future__ import annotations

from typing import Any


class Tuner:
    def __init__(self, seed: int):
        self.seed = seed

    def propose(self, done: list[Any], taken: set[str], problem: Any) -> Any | None:
        return None

    def tell(self, candidate: Any) -> None:
        pass
