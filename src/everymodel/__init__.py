"""Every model in machine learning behind one interface, from raw data to a served model.

    import everymodel as em
    run = em.fit("houses.csv", target="price", budget="60s")
    run.leaderboard; run.report("report.html"); run.model.save("price.em")
    em.load("price.em").predict(new_rows)

Names are resolved on first use, so that `import everymodel` loads neither pandas, scikit-learn nor torch.
"""

from __future__ import annotations

from typing import Any

from everymodel.core.version import __version__ as __version__

# verb -> where it lives. Model classes are not listed: the catalogue knows them from their cards.
_VERBS = {
    "fit": "everymodel.workflow.run:fit",
    "load": "everymodel.workflow.model:load",
    "wrap": "everymodel.workflow.wrap:wrap",
    "look": "everymodel.workflow.run:look",
    "advise": "everymodel.workflow.run:advise",
    "read": "everymodel.workflow.read:read",
    "neuron": "everymodel.scoring.neuron:neuron",
    "landscape": "everymodel.workflow.evaluate.landscape:landscape",
    "Run": "everymodel.workflow.run:Run",
    "Model": "everymodel.workflow.model:Model",
    "Graph": "everymodel.core.graph:Graph",
    "EverymodelError": "everymodel.core.errors:EverymodelError",
}
_MODULES = ("catalog", "scoring", "testing", "core", "workflow", "preprocessing", "models", "interfaces")


def __getattr__(name: str) -> Any:
    import importlib

    if name in _VERBS:
        module, _, attribute = _VERBS[name].partition(":")
        value = getattr(importlib.import_module(module), attribute)
    elif name in _MODULES:
        value = importlib.import_module(f"everymodel.{name}")
    elif name.startswith("_"):
        raise AttributeError(name)
    else:
        from everymodel import catalog

        value = catalog.public(name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    from everymodel import catalog

    return sorted({*globals(), *_VERBS, *_MODULES, *(card.class_name for card in catalog.cards())})
