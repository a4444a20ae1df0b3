"""Settings of the whole program: name, default, sentence. Each can be set by an environment variable."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, fields


def _setting(default: int | float | str, text: str) -> int | float | str:
    return field(default=default, metadata={"text": text})  # type: ignore[return-value]


@dataclass(frozen=True)
class Settings:
    threads: int = _setting(0, "Processor cores to use; 0 means all this process may use.")  # type: ignore[assignment]
    memory_share: float = _setting(0.8, "Share of free memory that a fit may take before it steps back.")  # type: ignore[assignment]
    runs_folder: str = _setting("everymodel_runs", "Where run folders go when --out names none.")  # type: ignore[assignment]

    @classmethod
    def load(cls) -> Settings:
        """Defaults, overridden by EVERYMODEL_THREADS and the like."""
        values = {}
        for f in fields(cls):
            word = os.environ.get(f"EVERYMODEL_{f.name.upper()}")
            if word is not None:
                values[f.name] = type(f.default)(word)
        return cls(**values)

    def cores(self) -> int:
        if self.threads > 0:
            return self.threads
        try:
            return len(os.sched_getaffinity(0))
        except AttributeError:
            return os.cpu_count() or 1
