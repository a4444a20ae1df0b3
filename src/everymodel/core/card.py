"""The card: what is known of a model before it is run. Cards are literals, so they are read without importing.

A model file holds one assignment `CARD = {...}`. A family with a classifier and a regressor lists both under
"classes"; each becomes one Card here, sharing the family's name. See docs/adding-a-model.md.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from everymodel.core.errors import ParameterError

KINDS = (
    "classifier",
    "regressor",
    "clusterer",
    "reducer",
    "detector",
    "forecaster",
    "tagger",
    "translator",
    "segmenter",
    "locator",
    "generator",
    "agent",
)

# What a card's `needs` may say, with the default: how rows must be prepared, and where the model stops being sensible.
NEEDS: dict[str, Any] = {
    "scaling": "none",  # "none" "standard" (centred, unit variance) "range" (0 to 1) "robust" (by quartiles, clipped)
    "missing": False,  # True: takes NaN itself; False: impute first
    "categories": "onehot",  # "onehot" "codes" (target means) "native" (level codes) "none" (no column is read)
    "sparse": False,  # takes a CSR matrix
    # Or the cells of the one column of that kind: "image" (n, h, w, c), "sequence", "text"; or several of these, the
    # first that is there. "matrix" behind others: only where the model is asked for by name.
    "inputs": "matrix",
    "non_negative": False,
    "unlabelled": False,  # learns from rows without a label too; tried by itself only where there are some
    "package": None,  # import name of an optional package
    "max_rows": None,  # beyond this it is refused or fitted on a sample, and said
    "max_columns": None,
}


@dataclass(frozen=True)
class Parameter:
    """One setting of a model: declared once, read by validation, tuning and forms."""

    name: str
    type: str  # "float" "int" "choice" "bool"
    default: Any
    text: str
    low: float | None = None
    high: float | None = None
    log: bool = False
    choices: tuple[Any, ...] = ()
    tune: bool = True  # whether automatic tuning may move it

    def check(self, value: Any) -> None:
        """Raise ParameterError unless `value` is allowed (None is allowed where it is the default)."""
        if value is None and (self.default is None or None in self.choices):
            return
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if self.type == "choice":
            good, expected = value in self.choices, f"one of {list(self.choices)}"
        elif self.type == "bool":
            good, expected = isinstance(value, bool), "true or false"
        else:
            low, high = self.low, self.high
            good = number and (self.type == "float" or float(value).is_integer())
            if good and value is not None:
                good = (low is None or value >= low) and (high is None or value <= high)
            expected = f"{'a whole' if self.type == 'int' else 'a'} number from {low} to {high}"
        if not good:
            raise ParameterError(f"{self.name}={value!r} is not allowed: expected {expected}. {self.text}")


@dataclass(frozen=True)
class Card:
    name: str  # the family's word: file name = CLI word = URL = docs page
    title: str
    summary: str  # one sentence
    kind: str  # one of KINDS
    tasks: tuple[str, ...]
    class_path: str  # "package.module:Class"
    module: str  # dotted name of the model file that holds the card
    family: str  # folder under models/
    parameters: tuple[Parameter, ...] = ()
    fixed: dict[str, Any] = field(default_factory=dict)  # arguments we always pass when we build it
    needs: dict[str, Any] = field(default_factory=dict)  # see NEEDS
    gives: tuple[str, ...] = ()  # probabilities scores importances coefficients intervals
    choose: str = ""
    avoid: str = ""
    cost: dict[str, float] = field(default_factory=dict)  # seconds = scale * rows^rows_power * columns^columns_power
    references: tuple[str, ...] = ()
    tiny: tuple[dict[str, Any], ...] = ({},)  # arguments of small instances for tests
    waivers: dict[str, str] = field(default_factory=dict)  # scikit-learn check name -> reason; each must still fail
    presets: tuple[dict[str, Any], ...] = ({},)  # strong settings that the search tries, best first
    priority: int | None = None  # order in which the search tries families (low first); None: only when named
    advice: tuple[str, ...] = ()  # words the advisor matches: basic interpretable outliers sparse big_data ...

    @property
    def class_name(self) -> str:
        return self.class_path.partition(":")[2]

    @property
    def package(self) -> str | None:
        """Optional package that the model cannot run without."""
        return self.needs.get("package")

    def need(self, word: str) -> Any:
        """The card's answer to one of NEEDS."""
        return self.needs.get(word, NEEDS[word])

    @property
    def inputs(self) -> tuple[str, ...]:
        """What the model can be given, best first."""
        word = self.need("inputs")
        return (word,) if isinstance(word, str) else tuple(word)

    def reads(self, kinds: Sequence[str]) -> str | None:
        """What it is given of a table whose feature columns are of these kinds; None where nothing suits."""
        return next((word for word in self.inputs if word == "matrix" or list(kinds).count(word) == 1), None)

    def defaults(self) -> dict[str, Any]:
        return {p.name: p.default for p in self.parameters}


def read_literal(path: Path) -> dict[str, Any] | None:
    """The value of `CARD = {...}` in a Python file, without running it; None where there is none.

    A parameter that does not say its type is one that models share: what it leaves out stands in `PARAMETERS` of
    the file `_parameters.py` beside the folders of the families.
    """
    card = _assigned(path, "CARD")
    if card is None:
        return None
    for holder in (card, *card.get("classes", {}).values()):
        for name, spec in holder.get("parameters", {}).items():
            if "type" not in spec:
                spec |= {**_shared(path.parent.parent)[name], **spec}
    return card


@lru_cache(maxsize=64)
def _shared(folder: Path) -> dict[str, Any]:
    return _assigned(folder / "_parameters.py", "PARAMETERS") or {}


def _assigned(path: Path, name: str) -> Any:
    text = path.read_text(encoding="utf-8")
    if f"\n{name} = " not in text and not text.startswith(f"{name} = "):
        return None
    for node in ast.parse(text).body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == name for t in node.targets):
            return ast.literal_eval(node.value)
    return None


def cards_from(literal: dict[str, Any], module: str, family: str) -> Iterator[Card]:
    """One Card per entry of "classes"; an entry's keys win over the family's, and its parameters join the family's."""
    shared = {k: v for k, v in literal.items() if k != "classes"}
    for kind, own in literal["classes"].items():
        strange = set(own.get("needs", shared.get("needs", {}))) - set(NEEDS)
        if strange:
            raise ValueError(f"{module}: the card's needs have unknown words {sorted(strange)}")
        data = {**shared, **{k: v for k, v in own.items() if k != "class"}}
        data["parameters"] = {**shared.get("parameters", {}), **own.get("parameters", {})}
        parameters = tuple(
            Parameter(name, **{k: tuple(v) if k == "choices" else v for k, v in spec.items()})
            for name, spec in data.pop("parameters", {}).items()
        )
        listed = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
        yield Card(kind=kind, class_path=own["class"], module=module, family=family, parameters=parameters, **listed)
