"""One thread per library: tests of several processes share the cores, and small data gain nothing from more."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "agg")


@pytest.fixture(autouse=True)
def _one_thread_for_torch() -> None:
    """Tests that use torch load it themselves; where none has, it stays unloaded."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.get_num_threads() != 1:
        torch.set_num_threads(1)


_DEATHS = """
import os
import sys
from pathlib import Path
sys.path.insert(0, {folder!r})
import torch
torch.set_num_threads(1)
import {module} as own
own.ready()
for name in {names!r}:
    if os.fork() == 0:
        own.die(name, Path({place!r}) / name)
        os._exit(0)
for _ in {names!r}:
    print(os.wait()[1])
"""


@pytest.fixture(scope="module")
def kill_each(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Runs the module's `die(name, path)` for each name in a process forked for it, which must kill itself; gives the
    folder of these paths. One process loads torch for all, once, and what it loads late by the module's `ready()`.
    """

    def run(names: Iterable[str], seconds: float) -> Path:
        names, place, own = list(names), tmp_path_factory.mktemp("killed"), request.path
        script = _DEATHS.format(folder=str(own.parent), module=own.stem, names=names, place=str(place))
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=seconds)
        assert done.stdout.split() == ["9"] * len(names), done.stderr
        return place

    return run
