"""The process that fits. Started as `python -m everymodel.workflow._worker`, it talks with its parent over two pipes.

It loads the libraries and the table once, then forks one child for each fit: memory is shared until written to, OpenMP
starts fresh in every child, and a fit can be killed at its deadline without losing anything else. It is not made with
multiprocessing, whose "spawn" runs the user's own script again. Where there is no fork, the parent starts one such
process per fit ("once").

Messages are pickles with their length in front. Both ends are ours and the pipes are private to the two processes;
nothing that a user could be sent is ever read this way.
"""

from __future__ import annotations

import ctypes
import gc
import os
import pickle
import select
import signal
import struct
import sys
import time
import traceback
from typing import Any, BinaryIO

_LENGTH = struct.Struct("<Q")
_PR_SET_PDEATHSIG = 1
_TICK = 0.1
IDLE = 30.0  # seconds after which a process that nobody needs goes


def write_message(stream: BinaryIO, message: Any) -> None:
    data = pickle.dumps(message, protocol=5)
    stream.write(_LENGTH.pack(len(data)))
    stream.write(data)
    stream.flush()


def read_message(stream: BinaryIO) -> Any:
    """The next message; EOFError when the other end is gone."""
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        raise EOFError
    data = stream.read(_LENGTH.unpack(head)[0])
    if len(data) < _LENGTH.unpack(head)[0]:
        raise EOFError
    return pickle.loads(data)  # noqa: S301 - from our own parent or child, over a private pipe


def resident_bytes(pid: int) -> int:
    """Memory held by a process, 0 where it cannot be known."""
    try:
        with open(f"/proc/{pid}/statm") as stream:
            return int(stream.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0


def run_job(problem: Any, job: Any, stop_at: float | None) -> tuple[str, Any]:
    """("done", what `job.run(problem, stop)` gives) or ("failed", reason in words)."""
    from everymodel.core.errors import EverymodelError

    def stop() -> bool:
        return stop_at is not None and time.monotonic() > stop_at

    stop.deadline = stop_at  # for models that plan ahead, such as a learning rate that must come down in time
    try:
        try:
            from threadpoolctl import threadpool_limits

            threadpool_limits(job.threads)
        except ImportError:
            pass
        return "done", job.run(problem, stop)
    except MemoryError:
        return "failed", "out of memory"
    except EverymodelError as error:
        return "failed", str(error)
    except Exception as error:
        if os.environ.get("EVERYMODEL_DEBUG"):
            traceback.print_exc()
        return "failed", f"{type(error).__name__}: {error}"[:500]


def _die_with_parent() -> None:
    try:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    except (OSError, AttributeError):
        pass


class _Child:
    def __init__(self, number: int, pid: int, pipe: int, kill_at: float | None):
        self.number, self.pid, self.pipe, self.kill_at = number, pid, pipe, kill_at
        self.data = bytearray()
        self.reason = ""


class Zygote:
    """One thread only, so that forking is safe; everything waits in one `select`."""

    def __init__(self, source: BinaryIO, sink: BinaryIO):
        self.source, self.sink = source, sink
        self.problem: Any = None
        self.memory: float | None = None
        self.children: dict[int, _Child] = {}  # by pipe
        self.waiting: list[tuple[str, str]] = []  # cards to import while nothing else is to be done

    def serve(self) -> None:
        try:
            while True:
                pipes = [self.source.fileno(), *self.children]
                idle = None if self.problem is not None else IDLE
                patience = 0 if self.waiting else _TICK if self.children else idle
                ready, _, _ = select.select(pipes, [], [], patience)
                if not ready and self.waiting:
                    preload([self.waiting.pop(0)])
                elif not ready and not self.children and self.problem is None:
                    return
                for pipe in ready:
                    if pipe in self.children:
                        self._read_child(self.children[pipe])
                if self.source.fileno() in ready and not self._read_parent():
                    return
                self._watch()
        except (EOFError, BrokenPipeError):
            return  # the parent is gone, so is the reason to go on
        finally:
            for child in self.children.values():
                _kill(child.pid)

    def _read_parent(self) -> bool:
        word, *rest = read_message(self.source)
        if word == "problem":
            self.problem, self.memory = rest
            preload([])
            remember(self.problem)
        elif word == "preload":
            self.waiting += rest[0]  # one at a time, so that a fit need not wait for packages that it does not use
        elif word == "job":
            job = rest[1]
            if (job.card, job.kind) in self.waiting:
                self.waiting.remove((job.card, job.kind))
                preload([(job.card, job.kind)])
            self._start(*rest)
        elif word == "forget":  # the search is over; the libraries stay loaded for a next one
            for child in self.children.values():
                child.reason = "not needed any more"
                _kill(child.pid)
            self.problem = None
        elif word == "kill":
            for child in self.children.values():
                if child.number == rest[0]:
                    child.reason = "not needed any more"
                    _kill(child.pid)
        return word != "end"

    def _start(self, number: int, job: Any, stop_at: float | None, kill_at: float | None) -> None:
        gc.freeze()  # so that a collection in a child does not copy the table's pages
        out, into = os.pipe()
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                _die_with_parent()
                os.close(out)
                with os.fdopen(into, "wb") as stream:
                    write_message(stream, run_job(self.problem, job, stop_at))
                status = 0
            finally:
                os._exit(status)
        os.close(into)
        self.children[out] = _Child(number, pid, out, kill_at)

    def _read_child(self, child: _Child) -> None:
        data = os.read(child.pipe, 1 << 20)
        if data:
            child.data += data
            return
        os.close(child.pipe)
        del self.children[child.pipe]
        _, status = os.waitpid(child.pid, 0)
        whole = len(child.data) >= _LENGTH.size and len(child.data) == _LENGTH.size + _LENGTH.unpack_from(child.data)[0]
        if whole:
            outcome = pickle.loads(memoryview(child.data)[_LENGTH.size :])  # noqa: S301 - from our own child
        elif child.reason:
            outcome = ("failed", child.reason)
        else:
            code = os.waitstatus_to_exitcode(status)
            outcome = ("failed", f"the process ended by signal {-code}" if code < 0 else "the process ended early")
        write_message(self.sink, (child.number, outcome))

    def _watch(self) -> None:
        now = time.monotonic()
        for child in self.children.values():
            if child.reason:
                continue
            if child.kill_at is not None and now > child.kill_at:
                child.reason = "out of time"
            elif self.memory is not None and resident_bytes(child.pid) > self.memory:
                child.reason = f"out of memory (more than {self.memory / 2**30:.1f} GiB)"
            if child.reason:
                _kill(child.pid)


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def preload(cards: list[tuple[str, str]]) -> None:
    """Import what fits will need, so that children share it. A model that cannot be imported fails in its own fit."""
    from everymodel import catalog
    from everymodel.workflow import train  # noqa: F401

    try:
        import everymodel.preprocessing.preparation
        import everymodel.scoring  # noqa: F401
    except ImportError:
        pass
    for name, kind in cards:
        try:
            card = catalog.find(name, kind=kind)
            catalog.load(card)
            catalog.module(card)
        except Exception:
            continue


def remember(problem: Any) -> None:
    """What every fit would do again with the same rows is done once, before the first fork."""
    try:
        from everymodel.preprocessing.preparation import remember as remember_text

        remember_text(problem.schema, problem.batch)
    except Exception:
        return  # every fit then does it by itself, and says what is wrong


def main() -> None:
    source = os.fdopen(os.dup(0), "rb", buffering=0)
    sink = os.fdopen(os.dup(1), "wb")
    quiet = os.open(os.devnull, os.O_RDWR)
    os.dup2(quiet, 0)
    os.dup2(2, 1)  # what libraries print must not end up between messages
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    reader = _Exact(source)
    if "once" in sys.argv[1:]:
        _, problem, _ = read_message(reader)
        _, number, job, stop_at, _ = read_message(reader)
        write_message(sink, (number, run_job(problem, job, stop_at)))
        return
    _die_with_parent()
    Zygote(reader, sink).serve()


class _Exact:
    """Reads exactly what is asked and buffers nothing, so that `select` tells the truth about the pipe."""

    def __init__(self, raw: Any):
        self.raw = raw

    def fileno(self) -> int:
        return self.raw.fileno()

    def read(self, size: int) -> bytes:
        parts = bytearray()
        while len(parts) < size:
            part = self.raw.read(min(size - len(parts), 1 << 24))
            if not part:
                break
            parts += part
        return bytes(parts)


if __name__ == "__main__":
    main()
