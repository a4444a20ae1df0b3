"""Learning without a target: groups, oddities, few columns for many, and maps.

    discover(table, "cluster", clock=Clock(60)) -> Run

One file per task (`cluster`, `anomaly`, `reduce`, `embed`), each with `discover(material, ...) -> Outcome`; `discovery`
tells the story around them. Figures of merit are in `measures`, words about groups in `profile`.
"""

from __future__ import annotations
