"""The state of a run in one file, so that a killed run goes on as if nothing had happened.

Tensors in the safetensors format, everything else as JSON in one tensor of bytes, and a checksum at the end; nothing in
it is executed on load.
"""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch

from everymodel.core.errors import ModelFileError
from everymodel.core.files import atomic_write
from everymodel.scoring import tensors

_JSON = "\0json"
_DTYPES = {
    str(t).removeprefix("torch."): t
    for t in (
        *(torch.float64, torch.float32, torch.float16, torch.bfloat16),
        *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool),
    )
}


def write(path: Path, state: dict[str, Any]) -> None:
    """Save nested dicts and lists of tensors, numbers and texts; the old file stays until the new one is whole."""
    arrays: dict[str, np.ndarray] = {}
    told = _lift(state, "", arrays)
    arrays[_JSON] = np.frombuffer(json.dumps(told).encode(), dtype=np.uint8)
    body = tensors.write(arrays)
    with atomic_write(path) as stream:
        stream.write(body)
        stream.write(zlib.crc32(body).to_bytes(4, "little"))


def read(path: Path) -> dict[str, Any]:
    """The inverse of `write`; ModelFileError when the file is damaged."""
    raw = path.read_bytes()
    if len(raw) < 12 or zlib.crc32(raw[:-4]).to_bytes(4, "little") != raw[-4:]:
        raise ModelFileError("It is damaged, or no checkpoint of a training run.")
    arrays = tensors.read(raw[:-4])
    if _JSON not in arrays:
        raise ModelFileError("It is no checkpoint of a training run.")
    return _lower(tensors.load_json(arrays[_JSON].tobytes(), "checkpoint"), arrays)


def _lift(value: Any, place: str, arrays: dict[str, np.ndarray]) -> Any:
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu()
        arrays[place] = (value.float() if value.dtype == torch.bfloat16 else value).numpy()
        return {"tensor": place, "dtype": str(value.dtype).removeprefix("torch.")}
    if isinstance(value, dict):
        return {"dict": [[k, _lift(v, f"{place}/{k}", arrays)] for k, v in value.items()]}
    if isinstance(value, list | tuple):
        return {"list": [_lift(v, f"{place}/{i}", arrays) for i, v in enumerate(value)]}
    if isinstance(value, float):
        return {"float": value.hex()}  # exact, and infinities pass
    return value


def _lower(told: Any, arrays: dict[str, np.ndarray]) -> Any:
    if not isinstance(told, dict):
        return told
    if "tensor" in told:
        return torch.from_numpy(arrays[told["tensor"]].copy()).to(_DTYPES[told["dtype"]])
    if "dict" in told:
        return {k: _lower(v, arrays) for k, v in told["dict"]}
    if "list" in told:
        return [_lower(v, arrays) for v in told["list"]]
    return float.fromhex(told["float"])
