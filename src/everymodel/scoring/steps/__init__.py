"""Importing this package registers every step, so that files which use them can be opened."""

from __future__ import annotations

import importlib

# An explicit list: nothing in a file, and nothing installed, can add to it.
MODULES = (
    "combine",
    "trees",
    "prepare",
    "linear",
    "neighbors",
    "bayes",
    "kernel",
    "gaussian_process",
    "discriminant",
    "dense",
    "constant",
    "groups",
    "components",
    "detect",
)

for _name in MODULES:
    importlib.import_module(f"{__name__}.{_name}")
