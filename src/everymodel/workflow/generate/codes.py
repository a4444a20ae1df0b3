"""Every finding that a run of generators can make. A code never changes its meaning."""

from __future__ import annotations

from typing import Any

from everymodel.core.finding import Finding

# code -> severity, message with the finding's figures in it, advice, what the code means
_SAID: dict[str, tuple[str, str, str, str]] = {
    "images-smaller": (
        "warning",
        "All images were made smaller, {height} x {width} pixels, to fit into memory.",
        "Give fewer or smaller images for another size.",
        "Images were made smaller, because all of them together did not fit into memory.",
    ),
    "images-left-out": (
        "warning",
        "{count:,} of {all:,} images cannot be read and were left out; the first: {why}.",
        "Remove or repair them.",
        "Images that cannot be read were left out of what a generator learns from.",
    ),
    "images-too-small": (
        "info",
        "{count:,} of {all:,} images have a side of less than {side} pixels and were left out.",
        "Give larger ones: what small images lack is learnt from large ones.",
        "Images that are too small to show what larger ones hold were left out of a model that enlarges.",
    ),
    "images-beyond-memory": (
        "info",
        "{count:,} of {all:,} images had no room in memory; the others were drawn by chance.",
        "Nothing to do: a gigabyte of images shows most of what there is.",
        "A model that enlarges images learnt from a part of them, drawn by chance, because all had no room.",
    ),
    "images-mixed": (
        "info",
        "Images of different sizes came: all were brought to {height} x {width} pixels.",
        "Bring them to one size yourself to decide what is cut.",
        "Images of different sizes were brought to one.",
    ),
    "other-columns": (
        "info",
        "What is made is learnt from {column!r} alone: {count} other columns were left out.",
        "Name the column of classes with target= (--target).",
        "Columns beside that of images were left out.",
    ),
    "classes-left-out": (
        "warning",
        "{count:,} rows have no class, or one of fewer than {least}, and were left out.",
        "Give more rows of these classes.",
        "Rows without a class, or of very rare classes, were left out of a generator with a condition.",
    ),
    "one-class": (
        "info",
        "{name!r} has one class only, so samples cannot be asked for another.",
        "Nothing to do.",
        "The column of the condition has one class only and was not used.",
    ),
    "no-condition": (
        "warning",
        "{model} learns no classes, so samples cannot be asked for {name!r}.",
        "Name a model with a condition (everymodel models --task generate).",
        "There was a column of classes, and the model does not learn it.",
    ),
    "copies": (
        "warning",
        "{share:.0%} of samples are nearer to a training row than to one held out; 50 % is by chance.",
        "Give more data, or a shorter budget: the model gives training rows back.",
        "Samples are clearly nearer to training rows than to others, as from a model that learns by heart.",
    ),
    "samples-alike": (
        "warning",
        "Samples cover {covered:.0%} of held-out data, where real data cover {real:.0%}.",
        "Give more time (--budget): parts of the data are not made yet.",
        "Samples miss parts of the data, as after a collapse or too short a fit.",
    ),
    "no-gain": (
        "warning",
        "Enlarging reaches {reached:.2f} dB on held-out images, no more than bicubic enlargement ({plain:.2f} dB).",
        "Give more time (--budget) or more images.",
        "A model that enlarges images came no nearer to held-out ones than bicubic enlargement.",
    ),
    "too-short-for-networks": (
        "info",
        "{limit:.3g} s are too short to load a library of networks and to learn: {model}, which needs none, was taken.",
        "Give 10 s or more (--budget), or name a model.",
        "The budget was too short for networks, so a model that needs none was taken.",
    ),
    "slow-start": (
        "warning",
        "Loading the library of networks took {took:.1f} s of the {limit:.3g} s that were given.",
        "Give more time (--budget).",
        "Most of the budget went by before a network could begin to learn.",
    ),
    "few-steps": (
        "warning",
        "Only {steps:,} steps of learning fitted into {seconds:.3g} s: what is made will hardly be like the data.",
        "Give more time (--budget).",
        "A network had time for very few steps.",
    ),
    "nothing-learnt": (
        "warning",
        "Held-out text costs {reached:.3g} nats a character, no less than their frequency does ({plain:.3g}).",
        "Give more time (--budget) or more text.",
        "A model of text foretells held-out text no better than the frequency of its characters does.",
    ),
    "few-held-out": (
        "warning",
        "{count} are held out, too few to judge samples by: there are no figures.",
        "Give more data, or a larger test_size.",
        "Too little was held out to judge samples.",
    ),
    "while-fitting": ("info", "{note}", "", "Something that happened while a generator was fitted."),
}
CODES = {code: said[3] for code, said in _SAID.items()}


def say(code: str, columns: tuple[str, ...] = (), **figures: Any) -> Finding:
    """The finding of this code."""
    severity, message, advice, _ = _SAID[code]
    return Finding(code, severity, message.format(**figures), advice, columns, figures)
