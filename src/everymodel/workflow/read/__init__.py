"""Stage 1: a table from whatever holds one."""

from __future__ import annotations

from everymodel.workflow.read.codes import CODES
from everymodel.workflow.read.sources import OPTIONS, read

__all__ = ["CODES", "OPTIONS", "read"]
