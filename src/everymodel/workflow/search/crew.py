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
from everymodel.workflow.train import Job
from everymodel.workflow.types import Problem

Outcome = tuple[str, Any]  # ("done", Member) or ("failed", reason)


class Link:
    """A fitting process and the thread that listens to it."""

    def __init__(self, *arguments: str):
        env = dict(os.environ, PYTHONPATH=os.pathsep.join(p for p in sys.path if p), PYTHONWARNINGS="ignore")
        self.path = env["PYTHONPATH"]
        for word in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"):
            env[word] = "1"  # raised in the child that may use more
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "everymodel.workflow._worker", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None if os.environ.get("EVERYMODEL_DEBUG") else subprocess.DEVNULL,
            env=env,
            start_new_session=True,  # a Ctrl-C in the terminal reaches only us
        )
        self.arrived: queue.Queue[tuple[int, Outcome] | None] = queue.Queue()
        self.loaded: set[tuple[str, str]] = set()
        self.number = 0  # of the last job, never used twice, so that a late outcome cannot be taken for another's
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        try:
            while True:
                self.arrived.put(_worker.read_message(self.process.stdout))
        except (EOFError, OSError, ValueError):
            self.arrived.put(None)

    def say(self, *message: Any) -> None:
        try:
            _worker.write_message(self.process.stdin, message)
        except (BrokenPipeError, OSError, ValueError):
            pass  # the listening thread notices

    def preload(self, cards: list[tuple[str, str]]) -> None:
        new = [c for c in cards if c not in self.loaded]
        if new:
            self.loaded.update(new)
            self.say("preload", new)

    def alive(self) -> bool:
        return self.process.poll() is None and self.path == os.pathsep.join(p for p in sys.path if p)

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            try:
                stream.close()
            except (OSError, ValueError):
                pass


_spare: list[Link] = []  # at most one process with its libraries loaded, waiting for a next search
_owner = os.getpid()


def _can_fork() -> bool:
    return hasattr(os, "fork") and sys.platform not in ("darwin", "win32")


def warm_up(cards: list[tuple[str, str]]) -> None:
    """Start loading what a search will need, while something else is done. The process ends when nobody comes."""
    if _can_fork() and not _spare:
        link = Link()
        link.preload(cards)
        _spare.append(link)


def _take_link() -> Link:
    global _owner
    if _owner != os.getpid():  # we are a fork of the process that made it: its pipes are not ours
        _spare.clear()
        _owner = os.getpid()
    while _spare:
        link = _spare.pop()
        if link.alive():
            return link
        link.end()
    return Link()


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
        self.fork = _can_fork() if fork is None else fork
        self.running: dict[int, float | None] = {}  # job number -> monotonic moment of its kill
        self._link: Link | None = None
        self._singles: dict[int, Link] = {}
        self._preload: list[tuple[str, str]] = []
        self._number = 0
        if self.fork:
            self._start()

    def _start(self) -> None:
        self._link = _take_link()
        self._link.say("problem", self.problem, self.memory)
        self._link.preload(self._preload)

    @property
    def pid(self) -> int:
        """Number of the fitting process."""
        return self._link.process.pid if self._link else 0

    def preload(self, cards: list[tuple[str, str]]) -> None:
        """Import these models' packages in the fitting process, so that fits need not."""
        self._preload += cards
        if self._link is not None:
            self._link.preload(cards)

    def submit(self, job: Job, stop_at: float | None = None, kill_at: float | None = None) -> int:
        """Start a fit and return its number. `stop_at`, `kill_at`: moments of `time.monotonic`."""
        for i, (fit, valid) in enumerate(self.problem.folds):
            if job.fit is fit and job.valid is valid:  # the other side has these rows already
                job = replace(job, fit=fit[:0], valid=valid[:0], fold=i)
        if self._link is not None:
            self._link.number += 1
            number = self._link.number
            self.running[number] = kill_at
            self._link.say("job", number, job, stop_at, kill_at)
            return number
        self._number += 1
        self.running[self._number] = kill_at
        single = Link("once")
        self._singles[self._number] = single
        single.say("problem", self.problem, None)
        single.say("job", self._number, job, stop_at, kill_at)
        return self._number

    def kill(self, number: int) -> None:
        """End one fit; its outcome arrives as failed."""
        if self._link is not None:
            self._link.say("kill", number)
        elif number in self._singles:
            self._singles[number].process.kill()

    def wait(self, timeout: float | None = None) -> list[tuple[int, Outcome]]:
        """Outcomes that have arrived, waiting for the first at most `timeout` seconds."""
        end = None if timeout is None else time.monotonic() + max(timeout, 0)
        done: list[tuple[int, Outcome]] = []
        while self.running and not done:
            left = 0.25 if end is None else min(0.25, end - time.monotonic())
            if self._link is not None:
                done = self._from_link(max(left, 0.001))
            else:
                done = self._from_singles()
                if not done:
                    time.sleep(max(min(left, 0.05), 0.001))
            if not done and end is not None and time.monotonic() >= end:
                break
        return done

    def _from_link(self, left: float) -> list[tuple[int, Outcome]]:
        assert self._link is not None
        arrived = self._link.arrived
        done: list[tuple[int, Outcome]] = []
        try:
            item = arrived.get(timeout=left)
        except queue.Empty:
            return done
        while True:
            if item is None:  # the fitting process is gone: what it ran has failed; a new one takes its place
                done += [(n, ("failed", "the fitting process died")) for n in self.running]
                self.running.clear()
                self._link.end()
                self._start()
                return done
            if self.running.pop(item[0], ...) is not ...:
                done.append(item)
            try:
                item = arrived.get_nowait()
            except queue.Empty:
                return done

    def _from_singles(self) -> list[tuple[int, Outcome]]:
        done: list[tuple[int, Outcome]] = []
        now = time.monotonic()
        for number, link in list(self._singles.items()):
            try:
                item = link.arrived.get_nowait()
            except queue.Empty:
                kill_at = self.running.get(number)
                if kill_at is not None and now > kill_at:  # nobody else watches the deadlines here
                    link.process.kill()
                    done.append((number, ("failed", "out of time")))
                    self.running.pop(number)
                    self._singles.pop(number).end()
                continue
            done.append((number, item[1] if item is not None else ("failed", "the process ended early")))
            self.running.pop(number, None)
            self._singles.pop(number).end()
        return done

    def close(self, keep: bool = True) -> None:
        """End all fits at once; the process stays for a next search, for a while.

        `keep=False` ends the process too: after a Ctrl-C, half a message may be in its pipe.
        """
        self.running.clear()
        for link in self._singles.values():
            link.end()
        self._singles = {}
        link, self._link = self._link, None
        if link is None:
            return
        if keep and link.alive() and not _spare:
            link.say("forget")
            _spare.append(link)
        else:
            link.end()

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close(keep=exception[0] is None)
