"""Stage 2: what the columns are, what the task is, and what is wrong with the data."""

from __future__ import annotations

from everymodel.workflow.understand.codes import CODES
from everymodel.workflow.understand.notes import cell_findings, shared_rows
from everymodel.workflow.understand.table import understand

__all__ = ["CODES", "cell_findings", "shared_rows", "understand"]
