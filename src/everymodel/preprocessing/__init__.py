"""Clean, fill, encode and scale: one file per transformer, joined by `Preparation` as a model's card asks.

Each learner emits a frozen step of `everymodel.scoring.steps.prepare` and transforms by running it, so that a model
is served by the very code that it was trained with. Names are resolved on first use: importing this package loads
neither scikit-learn nor SciPy.
"""

from __future__ import annotations

from typing import Any

_HOMES = {
    "Preparation": "preparation",
    "Imputer": "impute",
    "ColumnScaler": "scale",
    "Unskewer": "skew",
    "DateParts": "dates",
    "DateSpans": "dates",
    "LevelColumns": "categories",
    "TargetMeans": "categories",
    "TextVocabulary": "text",
    "TextTopics": "text",
    "TextScores": "text",
    "TextProfile": "text",
    "TargetTransform": "target",
}


def __getattr__(name: str) -> Any:
    import importlib

    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(_HOMES)
