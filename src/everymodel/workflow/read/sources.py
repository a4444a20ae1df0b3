"""Thin: CSV by pandas, and frames."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from everymodel.core.errors import ReadError
from everymodel.workflow.types import Table


def read(
    source: Any,
    *,
    sheet: str | int | None = None,
    query: str | None = None,
    separator: str | None = None,
    encoding: str | None = None,
    decimal: str | None = None,
    header: bool | None = None,
    rows: int | None = None,
) -> Table:
    """Read `source` as a table."""
    import pandas as pd

    if isinstance(source, Table):
        return source
    if isinstance(source, str | Path):
        if not Path(source).exists():
            raise ReadError(f"There is no file {str(source)!r}.")
        if str(source).endswith(".parquet"):
            frame, kind = pd.read_parquet(source), "parquet"
        else:
            frame, kind = pd.read_csv(source, sep=separator or ",", encoding=encoding, nrows=rows), "csv"
        name = str(source)
    else:
        frame, kind, name = pd.DataFrame(source), "pandas", "<DataFrame>"
    frame.columns = [str(c) for c in frame.columns]
    digest = hashlib.sha256(pd.util.hash_pandas_object(frame, index=False).to_numpy().tobytes()).hexdigest()
    return Table(frame, name, kind, fingerprint=digest)
