"""The ledger: every finished fit on disk, so that a killed run goes on where it was.

`search/settings.json` says what the fits belong to, `search/ledger.jsonl` has one line per finished fit, and
`search/fits/<id>.safetensors` its arrays. Arrays are written first and atomically, so a line always has its arrays; a
line that was cut off by a kill is ignored.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from everymodel.core.errors import EverymodelError, ParameterError
from everymodel.core.files import atomic_write
from everymodel.scoring import tensors
from everymodel.workflow.train import Member

FORMAT = 1
KEPT_BYTES = 4_000_000  # arrays of models that were not used are kept below this, for a run that goes on


class Ledger:
    """Finished fits of one search, in `folder`; without a folder nothing is kept.

    Raises
    ------
    ParameterError when `resume` meets the fits of other data or other settings.
    """

    def __init__(self, folder: str | os.PathLike[str] | None, settings: dict[str, Any], resume: bool):
        self.place = None if folder is None else Path(folder) / "search"
        self.known: dict[str, dict[str, Any]] = {}
        self.problems: list[str] = []
        self._stream: Any = None
        self._claim: Any = None
        if self.place is None:
            return
        self.place.parent.mkdir(parents=True, exist_ok=True)
        self._claim = claim(self.place.parent)
        try:
            self._open(settings, resume)
        except BaseException:
            self.release()
            raise

    def _open(self, settings: dict[str, Any], resume: bool) -> None:
        assert self.place is not None
        told = {"format": FORMAT, **json.loads(json.dumps(settings))}
        if self.place.exists():
            if resume:
                self._read(told)
            else:
                shutil.rmtree(self.place)
        elif resume:
            self.problems.append("nothing to resume was found in the folder; the run starts from the beginning")
        try:
            (self.place / "fits").mkdir(parents=True, exist_ok=True)
            with atomic_write(self.place / "settings.json") as stream:
                stream.write(json.dumps(told).encode())
            self._stream = open(self.place / "ledger.jsonl", "ab")  # noqa: SIM115 - open for the whole search
        except OSError as error:
            self.problems.append(f"finished fits are not kept for a resume: {error}")

    def _read(self, told: dict[str, Any]) -> None:
        assert self.place is not None
        try:
            before = json.loads((self.place / "settings.json").read_text())
        except (OSError, ValueError) as error:
            raise ParameterError(f"resume: the run in {self.place.parent} cannot be read ({error}).") from error
        different = _differences(before, told)
        if different:
            raise ParameterError(
                f"resume: the run in {self.place.parent} was made with {different}. Give the same table and options, "
                "or another folder for a new run."
            )
        try:
            lines = (self.place / "ledger.jsonl").read_bytes().split(b"\n")
        except OSError:
            return
        whole = 0
        for line in lines:
            try:
                entry = json.loads(line)
                self.known[entry["key"]] = entry
                whole += len(line) + 1
            except (ValueError, KeyError, TypeError):
                if line:
                    break
        os.truncate(self.place / "ledger.jsonl", whole)  # a half line must not run into the next one

    def _file(self, key: str) -> Path:
        assert self.place is not None
        return self.place / "fits" / f"{hashlib.sha256(key.encode()).hexdigest()[:24]}.safetensors"

    def get(self, key: str) -> tuple[str, Any] | None:
        """("done", Member) or ("failed", reason) of an earlier fit, None where it must be fitted."""
        entry = self.known.get(key)
        if entry is None:
            return None
        if entry["status"] != "done":
            return entry["status"], entry["reason"]
        try:
            arrays = {k: v.copy() for k, v in tensors.read(self._file(key).read_bytes()).items()}
        except (OSError, EverymodelError):
            return None  # removed to save space, or damaged: fit it again
        answers = arrays.pop("answers")
        own = {k[2:]: v for k, v in arrays.items()}
        return "done", Member(entry["spec"], own, entry["output"], answers, **entry["figures"])

    def put(self, key: str, name: str, status: str, value: Any) -> None:
        """Write one finished fit. A full disk ends the ledger, not the search."""
        if self._stream is None:
            return
        entry: dict[str, Any] = {"key": key, "name": name, "status": status}
        try:
            if status == "done":
                member: Member = value
                arrays = {f"a.{k}": v for k, v in member.arrays.items()}
                with atomic_write(self._file(key)) as stream:
                    stream.write(tensors.write({**arrays, "answers": np.asarray(member.answers, float)}))
                figures = ("seconds", "row_ms", "size", "refit", "stopped", "after", "notes", "curve")
                entry |= {"spec": member.spec, "output": member.output}
                entry["figures"] = {f: getattr(member, f) for f in figures}
            else:
                entry["reason"] = str(value)
            self._stream.write(json.dumps(entry, default=_plain).encode() + b"\n")
            self._stream.flush()
            os.fsync(self._stream.fileno())
        except (OSError, EverymodelError, TypeError) as error:
            self.problems.append(f"finished fits are no longer kept for a resume: {error}")
            self.close()

    def finish(self, used: set[str]) -> None:
        """The search ended: large arrays of models that nobody uses go."""
        if self.place is None:
            return
        for entry in self.known_now():
            file = self._file(entry)
            if entry.rpartition("|")[0].rpartition("|")[0] not in used:
                try:
                    if file.stat().st_size > KEPT_BYTES:
                        file.unlink()
                except OSError:
                    continue

    def known_now(self) -> list[str]:
        """Keys of every fit in the ledger."""
        assert self.place is not None
        try:
            lines = (self.place / "ledger.jsonl").read_bytes().splitlines()
        except OSError:
            return []
        return [json.loads(line)["key"] for line in lines if line.endswith(b"}")]

    def release(self) -> None:
        """Another search may have the folder."""
        if self._claim is not None:
            self._claim.close()
            self._claim = None

    def close(self) -> None:
        if self._stream is not None:
            try:
                self._stream.close()
            except OSError:
                pass
            self._stream = None


def claim(folder: Path) -> Any:
    """An open file whose lock says that a search is writing into `folder`; the system lets go of it if we are killed.

    Raises
    ------
    ParameterError when another search has it.
    """
    try:
        stream = open(folder / ".lock", "ab")  # noqa: SIM115 - open for the whole search
    except OSError:
        return None  # a full disk; the ledger says so
    try:
        if os.name == "nt":
            import msvcrt

            msvcrt.locking(stream.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        else:
            import fcntl

            fcntl.flock(stream.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK):
            return stream  # a file system without locks
        stream.close()
        raise ParameterError(
            f"Another search is running in the folder {folder}. Wait until it has ended, or give another folder."
        ) from None
    return stream


def _differences(before: dict[str, Any], now: dict[str, Any]) -> str:
    """What a run was made with that is not given now, in words; empty where all is the same."""
    old, new = before.get("options") or {}, now.get("options") or {}
    told = [f"{k}={old.get(k)!r} (now {new.get(k)!r})" for k in sorted({*old, *new}) if old.get(k) != new.get(k)]
    words = [w for w in ("models", "metric", "prefer", "seed") if before.get(w) != now.get(w)]
    told += [f"{w}={before.get(w)!r} (now {now.get(w)!r})" for w in words]
    if before.get("format") != now.get("format"):
        told.append("another version of everymodel")
    if not told and any(before.get(word) != now.get(word) for word in ("source", "data")):
        told.append("other data")
    return ", ".join(told)


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} cannot be kept")
