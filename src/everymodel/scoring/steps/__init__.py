"""The steps, each loaded when a file or a converter asks for it: most models need a few of them."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from everymodel.scoring.steps.base import Step

# The only way from a word in a file to code. An explicit list: nothing in a file, and nothing installed, can add to it.
MODULES: dict[str, tuple[str, ...]] = {
    "acting": ("table_policy", "network_policy"),
    "searching": ("search_policy",),
    "bayes": ("gaussian_bayes", "bernoulli_bayes", "categorical_bayes"),
    "cells": ("cells", "image_features", "sequence_features"),
    "combine": ("blend", "mean", "calibrate", "transform", "clip", "columns", "stack", "place", "bands"),
    "composing": ("music_generator",),
    "components": ("components", "kernel_components", "nonnegative_parts"),
    "constant": ("constant", "constant_probabilities"),
    "dense": ("dense",),
    "density": ("nearest_group", "reachability"),
    "detect": ("residual", "mahalanobis", "one_class", "neighbor_distance", "local_outlier_factor", "excess"),
    "discriminant": ("quadratic_discriminant",),
    "generating": ("latent_generator", "pyramid_generator"),
    "variational": ("variational",),
    "enhancing": ("enhancer",),
    "made_tables": ("masked_table", "copula_table", "neighbor_table", "latent_table"),
    "forecast": ("last_season", "smoothing", "autoregressive", "lagged", "past"),
    "gaussian_process": ("gaussian_process", "gaussian_process_probabilities"),
    "graph_nodes": ("node_answers", "graph_nodes"),
    "graph_sets": ("graph_set_network", "graph_set_table"),
    "groups": ("centers", "linkage"),
    "kernel": ("support_vectors", "support_vector_scores"),
    "levels": ("level_generator",),
    "linear": ("linear", "linear_log", "linear_scores", "linear_probabilities", "polynomial"),
    "maps": ("map_neighbors", "map_geodesic", "map_barycenter", "map_average", "map_distances"),
    "mixture": ("mixture", "mixture_density"),
    "neighbors": ("neighbors",),
    "network": ("network",),
    "pixelwise": ("pixelwise",),
    "prepare": (
        *("numbers", "blank", "sparse_numbers", "dates", "spans", "lookup", "onehot", "impute", "power", "scale"),
        *("join", "text_terms", "project", "text_stats"),
    ),
    "propagation": ("propagation",),
    "series": ("series",),
    "tagging": ("tagging",),
    "spectrogram": ("sound_features",),
    "translating": ("translating",),
    "writing": ("text_generator",),
    "trees": ("trees", "oblivious"),
}
_PLACES = {word: module for module, words in MODULES.items() for word in words}


def find(word: object) -> type[Step] | None:
    """The step that a file calls by this word; None where there is none."""
    from everymodel.scoring.steps.base import STEPS

    if isinstance(word, str) and word in _PLACES and word not in STEPS:
        importlib.import_module(f"{__name__}.{_PLACES[word]}")
    return STEPS.get(word) if isinstance(word, str) else None


def load_all() -> dict[str, type[Step]]:
    """Every step by its word."""
    from everymodel.scoring.steps.base import STEPS

    for module in MODULES:
        importlib.import_module(f"{__name__}.{module}")
    return STEPS
