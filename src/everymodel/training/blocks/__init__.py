"""Layers of networks in torch; each can be written down as one of `everymodel.scoring.layers`, which answer in numpy.

`written(module)` does that for our blocks (through their `layer` method) and for the plain torch modules listed in
`written.py`, so that a network is put together from either.
"""

from __future__ import annotations

from everymodel.training.blocks.written import written

__all__ = ["written"]
