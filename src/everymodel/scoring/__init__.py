"""The answer machine: opens a .em file and answers, with numpy and the standard library alone.

from everymodel import scoring
model = scoring.load("price.em")
model.predict({"rooms": 3, "city": "Bonn"})
"""

from __future__ import annotations

from everymodel.scoring import steps
from everymodel.scoring.container import inspect
from everymodel.scoring.model import Model, load

__all__ = ["Model", "inspect", "load", "steps"]
