"""A finding: something noticed in the data, with a stable code and advice."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

SEVERITIES = ("info", "warning", "error")


@dataclass(frozen=True)
class Finding:
    """`code` never changes meaning; `columns` are the columns concerned; `data` holds the figures behind it."""

    code: str
    severity: str
    message: str
    advice: str = ""
    columns: tuple[str, ...] = ()
    data: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)
