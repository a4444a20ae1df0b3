"""Where to train, and in which number format."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch

from everymodel.core.errors import ParameterError

DEVICES = ("auto", "cpu", "cuda", "mps")


def choose(wish: str | torch.device = "auto") -> torch.device:
    """The device for "auto", "cpu", "cuda", "cuda:1" or "mps"; ParameterError where what was asked for is absent."""
    word = str(wish)
    if word == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    kind, _, number = word.partition(":")
    if kind not in DEVICES or (number and not number.isdigit()):
        raise ParameterError(f"device={word!r} is unknown: expected auto, cpu, cuda, cuda:0 (1, 2, ...) or mps.")
    present = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}[kind]
    if not present:
        raise ParameterError(
            f"device={word!r}: this machine (or the torch installed on it, {torch.__version__}) has no such device. "
            'Use device="auto" or "cpu".'
        )
    if int(number or 0) >= present:
        raise ParameterError(f"device={word!r}: there are {present} of these, counted from 0.")
    return torch.device(word)


@contextlib.contextmanager
def settings(device: torch.device, threads: int | None, precision: str) -> Iterator[Any]:
    """Threads, matrix precision and random state for one run; all are put back at the end. Gives an autocast context.

    precision: "float32"; "bfloat16" (mixed: weights stay float32); "medium" lets float32 products lose digits (TF32,
    or bfloat16 units of the CPU); "auto" is "bfloat16" on CUDA and "float32" elsewhere.
    """
    digits_of = {"float32": "highest", "medium": "medium", "bfloat16": "high"}
    if precision not in (*digits_of, "auto"):
        raise ParameterError(f"precision={precision!r} is unknown: expected auto, {', '.join(digits_of)}.")
    if precision == "auto":
        precision = "bfloat16" if device.type == "cuda" else "float32"
    before, digits = torch.get_num_threads(), torch.get_float32_matmul_precision()
    indices = [device.index or 0] if device.type == "cuda" else []
    try:
        if threads:
            torch.set_num_threads(threads)
        torch.set_float32_matmul_precision(digits_of[precision])
        with torch.random.fork_rng(devices=indices):
            mixed = precision == "bfloat16"
            yield torch.autocast(device.type, torch.bfloat16) if mixed else contextlib.nullcontext()
    finally:
        if threads:
            torch.set_num_threads(before)
        torch.set_float32_matmul_precision(digits)


def to(batch: Any, device: torch.device) -> Any:
    """Tensors of a nested batch on the device."""
    if isinstance(batch, torch.Tensor):
        return batch.to(device, non_blocking=True)
    if isinstance(batch, dict):
        return {k: to(v, device) for k, v in batch.items()}
    if isinstance(batch, tuple | list):
        return type(batch)(to(v, device) for v in batch)
    return batch


def quick(device: str | torch.device = "auto") -> str:
    """The precision of `settings` for networks of large products: mixed where the device multiplies bfloat16 faster."""
    where = choose(device)
    fast = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    narrow = where.type == "cuda" or (where.type == "cpu" and fast is not None and bool(fast()))
    return "bfloat16" if narrow else "float32"
