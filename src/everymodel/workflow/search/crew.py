"""The parent's side of the fitting process: hand in jobs, collect outcomes, never wait longer than asked."""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import threading
import time
from dataclasses import replace
from typing import Any

from everymodel.workflow import _worker
from everymodel.workflow.train import Job, Member
from everymodel.workflow.types import Problem

Outcome = tuple[str, Any]  # ("done", Member) or ("failed", reason)


class Crew:
    """Runs up to `size` fits at once in processes that can be killed.

    Parameters
    ----------
    problem : sent once; children share its memory.
    size : fits at once.
    memory : bytes that one fit may hold; None: not watched.
    fork : False starts a process per fit, as on systems without fork.
    """

    def __init__(self, problem: Problem, size: int, memory: float | None = None, fork: bool | None = None):
        self.problem, self.size, self.memory = problem, size, memory
        self.fork = hasattr(os, "fork") and sys.platform != "darwin" if fork is None else fork
        self.running: dict[int, float | None] = {}  # job number -> monotonic moment of its kill
        self._arrived: queue.Queue[tuple[int, Outcome] | int | None] = queue.Queue()
        self._number = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._singles: dict[int, subprocess.Popen[bytes]] = {}
        self._preload: list[tuple[str, str]] = []
        if self.fork:
            self._start()

    def _spawn(self, *arguments: str) -> subprocess.Popen[bytes]:
        env = dict(os.environ, PYTHONPATH=os.pathsep.join(p for p in sys.path if p), PYTHONWARNINGS="ignore")
        for word in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"):
            env[word] = "1"  # raised in the child that may use more
        debug = os.environ.get("EVERYMODEL_DEBUG")
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "everymodel.workflow._worker", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None if debug else subprocess.DEVNULL,
            env=env,
            start_new_session=True,  # a Ctrl-C in the terminal reaches only us
        )

    def _start(self) -> None:
        self._process = self._spawn()
        threading.Thread(target=self._listen, args=(self._process, None), daemon=True).start()
        self._say("problem", self.problem, self.memory)
        if self._preload:
            self._say("preload", self._preload)

    def _say(self, *message: Any) -> None:
        try:
            _worker.write_message(self._process.stdin, message)
        except (BrokenPipeError, OSError):
            pass  # the reader thread notices

    def _listen(self, process: subprocess.Popen[bytes], single: int | None) -> None:
        try:
            while True:
                self._arrived.put(_worker.read_message(process.stdout))
        except (EOFError, OSError, ValueError):
            self._arrived.put(single)

    def preload(self, cards: list[tuple[str, str]]) -> None:
        """Import these models' packages in the fitting process, so that fits need not."""
        self._preload += cards
        if self.fork:
            self._say("preload", cards)

    def free(self) -> int:
        return self.size - len(self.running)

    def submit(self, job: Job, stop_at: float | None = None, kill_at: float | None = None) -> int:
        """Start a fit and return its number. `stop_at`, `kill_at`: moments of `time.monotonic`."""
        for i, (fit, valid) in enumerate(self.problem.folds):
            if job.fit is fit and job.valid is valid:  # the other side has these rows already
                job = replace(job, fit=fit[:0], valid=valid[:0], fold=i)
        self._number += 1
        self.running[self._number] = kill_at
        if self.fork:
            self._say("job", self._number, job, stop_at, kill_at)
        else:
            process = self._spawn("once")
            self._singles[self._number] = process
            threading.Thread(target=self._listen, args=(process, self._number), daemon=True).start()
            try:
                _worker.write_message(process.stdin, ("problem", self.problem, None))
                _worker.write_message(process.stdin, ("job", self._number, job, stop_at, kill_at))
            except (BrokenPipeError, OSError):
                pass
        return self._number

    def kill(self, number: int) -> None:
        """End one fit; its outcome arrives as failed."""
        if self.fork:
            self._say("kill", number)
        elif number in self._singles:
            self._singles[number].kill()

    def wait(self, timeout: float | None = None) -> list[tuple[int, Outcome]]:
        """Outcomes that have arrived, waiting for the first at most `timeout` seconds."""
        end = None if timeout is None else time.monotonic() + max(timeout, 0)
        done: list[tuple[int, Outcome]] = []
        while self.running and not done:
            left = 0.25 if end is None else min(0.25, end - time.monotonic())
            try:
                item = self._arrived.get(timeout=max(left, 0.001))
            except queue.Empty:
                self._kill_late()
                if end is not None and time.monotonic() >= end:
                    break
                continue
            done += self._take(item)
            while not self._arrived.empty():
                done += self._take(self._arrived.get())
        return done

    def _take(self, item: tuple[int, Outcome] | int | None) -> list[tuple[int, Outcome]]:
        if item is None:  # the fitting process is gone: what it ran has failed; a new one takes its place
            lost = [(n, ("failed", "the fitting process died")) for n in self.running]
            self.running.clear()
            if self._process is not None:
                self._process.wait()
                self._start()
            return lost
        if isinstance(item, int):
            self._singles.pop(item, None)
            known = self.running.pop(item, ...) is not ...
            return [(item, ("failed", "the process ended early"))] if known else []
        number, outcome = item
        if self.running.pop(number, ...) is ...:
            return []
        return [(number, outcome)]

    def _kill_late(self) -> None:
        """Without fork nobody else watches the deadlines."""
        if self.fork:
            return
        now = time.monotonic()
        for number, kill_at in list(self.running.items()):
            if kill_at is not None and now > kill_at:
                self.kill(number)

    def close(self) -> None:
        """End everything at once."""
        self.running.clear()
        for process in [self._process, *self._singles.values()]:
            if process is None:
                continue
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout):
                try:
                    stream.close()
                except (OSError, ValueError):
                    pass
        self._process, self._singles = None, {}

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


__all__ = ["Crew", "Member", "Outcome"]
