"""Agents: from an environment, or the rules of a game, to a chosen, trained, evaluated agent.

`story.py` tells it all for environments and `board.py` for board games; `model.py` is what users hold.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from everymodel import environments
from everymodel.scoring import games


def is_game(data: Any) -> bool:
    """Whether it is the word of a board game: "tic_tac_toe", "connect_four", "go", "go:5"."""
    word, colon, size = str(data).partition(":") if isinstance(data, str) else ("", "", "")
    good = word in games.WORDS and (not colon or (word == "go" and size.isdigit()))
    return good and not Path(str(data)).exists()


def rules_of(word: str) -> games.Rules:
    """The rules of a game called "go:5", "tic_tac_toe" and so on; ParameterError for sizes that there are not."""
    name, _, size = word.partition(":")
    return games.build(name, **({"size": int(size)} if size else {}))


def acts_in(data: Any) -> bool:
    """Whether an agent could learn there, without loading anything."""
    return is_game(data) or (not hasattr(data, "columns") and environments.is_environment(data))
