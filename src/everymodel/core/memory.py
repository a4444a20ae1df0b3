"""How much memory there is to be had."""

from __future__ import annotations

from pathlib import Path

_GROUP = Path("/sys/fs/cgroup")


def free_memory() -> float | None:
    """Bytes that could still be had, as far as the system says: of the machine, or of a container that has a limit."""
    try:
        text = Path("/proc/meminfo").read_text()
        free = float(text.split("MemAvailable:")[1].split()[0]) * 1024
    except (OSError, IndexError, ValueError):
        return None
    try:
        limit, used, told = ((_GROUP / f"memory.{name}").read_text() for name in ("max", "current", "stat"))
        parts = dict(line.split() for line in told.splitlines())
        files = float(parts["inactive_file"]) + float(parts["active_file"])  # read from disk, and given back when asked
        return max(min(free, float(limit) - float(used) + files), 0.0)
    except (OSError, ValueError, KeyError):  # no limit
        return free
