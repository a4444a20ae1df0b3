"""Every finding that reading can make. A code never changes its meaning."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from everymodel.core.finding import Finding

CODES: dict[str, str] = {
    "read-as": "The content is not what the file's name says; it was read as what it is.",
    "no-header": "The first row looks like data, so the columns got names by number.",
    "skipped-lines": "Lines above the table were skipped.",
    "renamed-columns": "Columns without a name, or with a name that occurs twice, were renamed.",
    "ragged-rows": "Rows with too few cells were filled up; surplus cells were set aside, and are listed.",
    "unbalanced-quotes": "Quotation marks do not come in pairs; they were read as ordinary characters.",
    "mixed-encodings": "Lines that are not UTF-8 were read as Windows-1252.",
    "nul-bytes": "NUL bytes were removed.",
    "one-of-several": "The file holds several tables; one was read.",
    "nested-values": "Values within values became columns of their own.",
    "unreadable-lines": "Lines that are not JSON were left out.",
    "empty-folders": "Folders that hold no file that can be read; they are no class of the model.",
    "files-left-out": "Files in the folder that are not of its kind were left out.",
    "mixed-rates": "Sounds have several sampling rates.",
}


def finding(
    code: str, severity: str, message: str, advice: str = "", columns: Iterable[str] = (), **data: Any
) -> Finding:
    """A Finding whose code is one of CODES."""
    if code not in CODES:
        raise KeyError(code)
    return Finding(code, severity, message, advice, tuple(columns), data)
