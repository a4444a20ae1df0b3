"""New data like those that came: images, rows, tables, texts, music, levels.

    generate(data, target, ...) -> Run

`material.py` finds out what the data are; `choice.py` which model suits them; `story.py` tells it all: a part is held
out before anything is fitted, and samples are judged by it once; `model.py` is what users hold.
"""

from __future__ import annotations
