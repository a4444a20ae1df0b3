"""Series instead of rows: what comes next.

    forecast(source, known, horizon=12, clock=Clock(60), ...) -> Run

`known.py` finds the series in a table, their even steps and what must be repaired; `backtest.py` tries models from
origins that roll through the past; `choice.py` decides among them; `story.py` tells it all; `model.py` is what
users hold. The last horizon of every series is set aside before anything is tried, and read once.
"""

from __future__ import annotations
