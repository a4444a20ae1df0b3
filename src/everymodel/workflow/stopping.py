"""How a fit of this process is ended from outside: by the clock, by Ctrl-C, by a scheduler; and its threads."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from everymodel.core.settings import Settings


class Stop:
    """Asked by a fit now and then; `deadline` is for those that plan ahead."""

    def __init__(self, seconds: float | None):
        self.deadline = None if seconds is None else time.monotonic() + max(seconds, 0.05)
        self.asked = False

    def __call__(self) -> bool:
        return self.asked or (self.deadline is not None and time.monotonic() > self.deadline)


@contextmanager
def interruptible(seconds: float | None, stop: Stop | None = None) -> Iterator[Stop]:
    """A stop that Ctrl-C and a scheduler's signal set; the second of them interrupts."""
    stop = Stop(seconds) if stop is None else stop
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def ask(number: int, frame: Any) -> None:
        if stop.asked:
            raise KeyboardInterrupt
        stop.asked = True

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)


def threads() -> int:
    """Those of the machine; one where others keep all of it busy, because threads that wait for each other then cost
    more than they bring."""
    cores = Settings.load().cores()
    try:
        return cores if os.getloadavg()[0] <= cores + 0.5 else 1
    except OSError:
        return cores
