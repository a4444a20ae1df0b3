"""Mutated model files: each must be refused with ModelFileError or open and answer; no crash, hang or memory blow-up.

    OMP_NUM_THREADS=1 python benchmarks/fuzz_files.py [mutations] [file.em ...]

Three kinds in turn: the file's own bytes; a member's bytes with checksums mended (so that inner checks are reached);
values inside the decoded JSON and arrays, written again as a well-formed file. Memory is capped with RLIMIT_AS.
"""

from __future__ import annotations

import resource
import sys
import time
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from everymodel.core.errors import ModelFileError
from everymodel.core.schema import Schema
from everymodel.scoring import container, probe
from everymodel.scoring.graph import Pack
from everymodel.scoring.model import open_bytes

ODD = [
    0,
    1,
    -1,
    2,
    7,
    255,
    256,
    65535,
    2**31 - 1,
    -(2**31),
    2**40,
    1e308,
    -1e308,
    0.5,
    None,
    True,
    "",
    "x",
    [],
    {},
    [0],
    "<f8",
]


def mutate_json(value: Any, rng: np.random.Generator) -> Any:
    """Change one place somewhere in a JSON value."""
    if isinstance(value, dict) and value and rng.random() < 0.95:
        key = list(value)[int(rng.integers(len(value)))]
        kind = rng.random()
        changed = dict(value)
        if kind < 0.04:
            del changed[key]
        elif kind < 0.08:
            changed[str(key) + "x"] = changed.pop(key)
        else:
            changed[key] = mutate_json(value[key], rng)
        return changed
    if isinstance(value, list) and value and rng.random() < 0.95:
        at = int(rng.integers(len(value)))
        kind = rng.random()
        if kind < 0.04:
            return value[:at] + value[at + 1 :]
        if kind < 0.08:
            return [*value, value[at]]
        return [*value[:at], mutate_json(value[at], rng), *value[at + 1 :]]
    return ODD[int(rng.integers(len(ODD)))]


def mutate_array(array: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Change a value, the length, the shape or the dtype of an array."""
    kind = int(rng.integers(6))
    flat = array.copy()
    if kind <= 2 and flat.size:
        spot = np.unravel_index(int(rng.integers(flat.size)), flat.shape)
        extremes = [0, 1, 2, 127] if flat.dtype.kind in "iub" else [0.0, np.nan, np.inf, 1e308, -1e-320, 5.0]
        flat[spot] = extremes[int(rng.integers(len(extremes)))]
        if flat.dtype.kind == "i" and rng.random() < 0.3:
            flat[spot] = -int(rng.integers(1, 100))
        return flat
    if kind == 3 and flat.ndim:
        return flat[: int(rng.integers(len(flat) + 1))]
    if kind == 4:
        return flat.reshape(-1) if rng.random() < 0.5 else flat.reshape(1, *flat.shape)
    return flat.astype([np.float64, np.float32, np.int8, np.uint32, np.bool_][int(rng.integers(5))])


def one(raw: bytes, members: dict[str, bytes], contents: container.Contents, rng: np.random.Generator) -> bytes:
    kind = int(rng.integers(3))
    if kind < 2:
        name = container.MEMBERS[int(rng.integers(4))]
        data = bytearray(raw if kind == 0 else members[name])
        for _ in range(int(rng.integers(1, 6))):
            at = int(rng.integers(len(data) or 1))
            if rng.random() < 0.7:
                data[at : at + 1] = bytes([int(rng.integers(256))])
            else:
                stop = at + int(rng.integers(1, 64))
                data[at:stop] = bytes(rng.integers(256, size=int(rng.integers(64)), dtype=np.uint8))
        return bytes(data) if kind == 0 else container.pack_members({**members, name: bytes(data)})
    spec, arrays, manifest, answers = contents.spec, dict(contents.arrays), contents.manifest, contents.probe
    which = rng.random()
    with np.errstate(all="ignore"):
        if which < 0.4 and arrays:
            name = list(arrays)[int(rng.integers(len(arrays)))]
            arrays[name] = mutate_array(arrays[name], rng)
        elif which < 0.7:
            spec = mutate_json(spec, rng)
        elif which < 0.9:
            manifest = mutate_json(manifest, rng)
        else:
            answers = mutate_json(answers, rng)
        if rng.random() < 0.5:  # an attacker would write the probe that the changed model answers
            try:
                answers = probe.make(Schema.from_dict(manifest["schema"]), Pack.build(spec, arrays))
            except Exception:  # then it is refused below, with the old probe
                answers = contents.probe
        return container.encode(manifest, spec, arrays, answers)


def fuzz(raw: bytes, count: int, seed: int = 0) -> tuple[Counter[str], float]:
    """(outcomes, slowest seconds). Raises whatever is not a ModelFileError."""
    rng = np.random.default_rng(seed)
    members, contents = container.members(raw), container.decode(raw)
    model = open_bytes(raw)
    rows = {k: v * 3 for k, v in probe.rows(model.schema, 8, seed=5).items()}
    outcomes: Counter[str] = Counter()
    slowest = 0.0
    for trial in range(count):
        try:
            data = one(raw, members, contents, rng)
        except (ModelFileError, AttributeError, TypeError):
            outcomes["not writable"] += 1
            continue
        start = time.perf_counter()
        try:
            opened = open_bytes(data)
            outcomes["opened"] += 1
            if opened.schema == model.schema:
                opened.answers(opened.read(rows, unseen="ignore")[0])
        except ModelFileError:
            outcomes["refused"] += 1
        except Exception:
            Path("fuzz_failure.em").write_bytes(data)
            print(f"trial {trial} (seed {seed}) kept as fuzz_failure.em")
            raise
        took = time.perf_counter() - start
        slowest = max(slowest, took)
    return outcomes, slowest


def main() -> None:
    warnings.simplefilter("ignore")
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    files = [Path(p) for p in sys.argv[2:]] or sorted((Path(__file__).parent.parent / "tests" / "golden").glob("*.em"))
    resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
    for i, path in enumerate(files):
        started = time.perf_counter()
        outcomes, slowest = fuzz(path.read_bytes(), count // len(files), seed=i + 1)
        took = time.perf_counter() - started
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
        print(f"{path.name:30} {dict(outcomes)} slowest {slowest:.2f} s, {took:.0f} s in all, peak {peak:.0f} MB")


if __name__ == "__main__":
    main()
