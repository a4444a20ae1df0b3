"""One thread per library: tests of several processes share the cores, and small data gain nothing from more."""

from __future__ import annotations

import os
import sys

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "agg")


@pytest.fixture(autouse=True)
def _one_thread_for_torch() -> None:
    """Tests that use torch load it themselves; where none has, it stays unloaded."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.get_num_threads() != 1:
        torch.set_num_threads(1)
