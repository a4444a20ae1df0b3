"""Checkpoints of agents that learn tables: one file of arrays, without torch."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from everymodel.core.errors import ModelFileError, ParameterError
from everymodel.core.files import atomic_write
from everymodel.scoring import tensors


def lifted(value: Any, place: str, arrays: dict[str, np.ndarray]) -> Any:
    if isinstance(value, np.ndarray):
        arrays[place] = value
        return {"array": place}
    if isinstance(value, dict):
        return {"dict": [[k, lifted(v, f"{place}/{k}", arrays)] for k, v in value.items()]}
    if isinstance(value, list | tuple):
        return {"list": [lifted(v, f"{place}/{i}", arrays) for i, v in enumerate(value)]}
    return value.item() if isinstance(value, np.generic) else value


def lowered(told: Any, arrays: dict[str, np.ndarray]) -> Any:
    if not isinstance(told, dict):
        return told
    if "array" in told:
        return arrays[told["array"]].copy()
    if "dict" in told:
        return {k: lowered(v, arrays) for k, v in told["dict"]}
    return [lowered(v, arrays) for v in told["list"]]


def write(path: Path, told: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    body = tensors.write({**arrays, "\0json": np.frombuffer(json.dumps(told).encode(), dtype=np.uint8)})
    with atomic_write(path) as stream:
        stream.write(body)
        stream.write(zlib.crc32(body).to_bytes(4, "little"))


def read(path: Path, plan: dict[str, Any]) -> dict[str, Any]:
    """ModelFileError for a damaged checkpoint; ParameterError for that of another fit."""
    raw = path.read_bytes()
    whole = len(raw) > 12 and zlib.crc32(raw[:-4]).to_bytes(4, "little") == raw[-4:]
    try:
        if not whole:
            raise ModelFileError("its checksum is wrong")
        arrays = tensors.read(raw[:-4])
        told = tensors.load_json(arrays["\0json"].tobytes(), "checkpoint")
        other = [k for k, v in plan.items() if told["plan"].get(k) != v]
    except (ModelFileError, KeyError, TypeError, AttributeError) as error:
        raise ModelFileError(f"{path} is damaged, or no checkpoint of such an agent ({error}).") from error
    if other:
        raise ParameterError(
            f"{path} is the checkpoint of another fit ({other[0]} was {told['plan'].get(other[0])!r}, is "
            f"{plan[other[0]]!r}). Give the same settings, or another file."
        )
    return {**told, "arrays": arrays}
