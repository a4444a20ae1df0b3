"""Layers of networks in numpy: what a trained network needs to answer, and nothing of what trained it.

    feed.py          weighted sums, activations, embeddings of numbers and levels, sequences and sums of layers
    convolution.py   convolutions, pooling, normalisation, resizing
    tokens.py        texts, lists of words and series as vectors
    recurrence.py    vanilla, LSTM and GRU cells, one- and bidirectional
    graph.py         message passing
    attention.py     attention, decoders, conditional random fields
    transformer.py   what comes next in a text: blocks of causal attention, with a memory
    alphabet.py      texts as ids of characters, bytes or pairs of bytes, and back

Each layer has a counterpart in `everymodel.training.blocks`, which writes itself down as one of these.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from everymodel.scoring.layers.base import Layer

# The only way from a word in a file to code: an explicit list.
MODULES: dict[str, tuple[str, ...]] = {
    "feed": ("dense", "activation", "affine", "normalize", "sequential", "residual", "concat", "columns", "members"),
    "convolution": (
        *("convolution", "transposed_convolution", "pool", "global_pool", "grid_pool", "upsample", "shuffle"),
        *("flatten", "unflatten", "pixels", "views", "padded", "group_normalize"),
    ),
    "spectrogram": ("spectrogram", "signals"),
    "embeddings": ("tabular", "levels", "periodic", "piecewise", "clip"),
    "tokens": ("tokens", "token_vectors", "token_sums", "steps"),
    "recurrence": ("ragged", "recurrent", "side_by_side", "each_step", "pool_steps", "crf"),
    "attention": ("window_steps", "writer"),
    "transformer": ("rms_normalize", "transformer_block", "recurrent_block", "language_model"),
    "alphabet": ("characters", "byte_pairs"),
    "graph": (
        *("graph_convolution", "graph_sage", "graph_attention", "graph_pool", "graph_network", "row_share", "fill"),
    ),
}
_PLACES = {word: module for module, words in MODULES.items() for word in words}


def find(word: object) -> type[Layer] | None:
    """The layer that a file calls by this word; None where there is none."""
    from everymodel.scoring.layers.base import LAYERS

    if isinstance(word, str) and word in _PLACES and word not in LAYERS:
        importlib.import_module(f"{__name__}.{_PLACES[word]}")
    return LAYERS.get(word) if isinstance(word, str) else None


def load_all() -> dict[str, type[Layer]]:
    """Every layer by its word."""
    from everymodel.scoring.layers.base import LAYERS

    for module in MODULES:
        importlib.import_module(f"{__name__}.{module}")
    return LAYERS
