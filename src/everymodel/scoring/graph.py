"""A pack: steps joined into a graph. The node "table" is the Batch that the schema has read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from everymodel.core.errors import ModelFileError
from everymodel.scoring import steps
from everymodel.scoring.steps.base import Batch, Step

TABLE = "table"
MAX_NODES = 10_000


@dataclass(frozen=True)
class Node:
    """One step with the names of the nodes that feed it."""

    name: str
    step: Step
    inputs: tuple[str, ...] = (TABLE,)


class Pack:
    """Nodes in an order in which inputs come first; the last node is the answer unless `answer` names another."""

    def __init__(self, nodes: Iterable[Node], answer: str | None = None):
        self.nodes = tuple(nodes)
        places = {TABLE: 0}
        self._plan: list[tuple[Step, tuple[int, ...]]] = []
        for i, node in enumerate(self.nodes, start=1):
            if node.name in places or not set(node.inputs) <= set(places):
                raise ModelFileError(f"The step graph is broken at node {node.name!r}: repeated or unknown input.")
            self._plan.append((node.step, tuple(places[name] for name in node.inputs)))
            places[node.name] = i
        self.answer = answer or self.nodes[-1].name
        if self.answer not in places or self.answer == TABLE:
            raise ModelFileError(f"The step graph has no node {self.answer!r}.")
        self._answer = places[self.answer]

    @property
    def output(self) -> str:
        """What the answer is: "value", "probabilities", "scores" or "matrix"."""
        return self._plan[self._answer - 1][0].output

    @property
    def tolerance(self) -> float:
        """How far answers may differ from machine to machine, relative to their size: the loosest of the steps'."""
        return max(node.step.tolerance for node in self.nodes)

    def __call__(self, batch: Batch) -> np.ndarray:
        values: list[Any] = [batch]
        for step, places in self._plan[: self._answer]:
            values.append(step(*[values[i] for i in places]))
        return values[self._answer]

    def spec(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """(JSON, arrays named "<node>.<field>")."""
        described, arrays = [], {}
        for node in self.nodes:
            settings, own = node.step.spec()
            described.append(
                {"name": node.name, "step": node.step.word, "inputs": list(node.inputs), "settings": settings}
            )
            arrays.update({f"{node.name}.{key}": value for key, value in own.items()})
        return {"nodes": described, "answer": self.answer}, arrays

    @classmethod
    def build(cls, spec: dict[str, Any], arrays: dict[str, np.ndarray]) -> Pack:
        """The inverse of `spec`; every step validates its arrays."""
        try:
            if len(spec["nodes"]) > MAX_NODES or not spec["nodes"]:
                raise ModelFileError(f"The step graph has {len(spec['nodes'])} nodes; expected 1 to {MAX_NODES}.")
            fields: dict[str, dict[str, np.ndarray]] = {}
            for key, value in arrays.items():
                name, _, field = key.rpartition(".")  # names of nodes may hold dots, names of fields do not
                fields.setdefault(name, {})[field] = value
            nodes = []
            for item in spec["nodes"]:
                kind = steps.find(item["step"])
                if kind is None:
                    raise ModelFileError(f"The file uses a step {item['step']!r} that this version does not know.")
                own = fields.pop(item["name"], {})
                nodes.append(Node(item["name"], kind.build(item["settings"], own), tuple(item["inputs"])))
            if fields:
                raise ModelFileError(f"The file has arrays of unknown nodes: {sorted(fields)[:3]}.")
            return cls(nodes, spec["answer"])
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            if isinstance(error, ModelFileError):
                raise
            raise ModelFileError(f"The file's step graph cannot be read: {error!r}.") from error
