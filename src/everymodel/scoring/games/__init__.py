"""Board games for two: their rules on many positions at once (numpy alone), players to measure against, and GTP."""

from __future__ import annotations

from typing import Any

from everymodel.core.errors import ParameterError
from everymodel.scoring.games.base import Positions, Rules, Single, choose, square_symmetries

__all__ = ["Positions", "Rules", "Single", "WORDS", "build", "choose", "square_symmetries"]

WORDS = ("tic_tac_toe", "connect_four", "go")


def build(word: str, **settings: Any) -> Rules:
    """The rules called `word`: "tic_tac_toe", "connect_four" (rows, columns) or "go" (size, komi)."""
    from everymodel.scoring.games.connect_four import ConnectFour
    from everymodel.scoring.games.go import Go
    from everymodel.scoring.games.tic_tac_toe import TicTacToe

    kinds: dict[str, type[Rules]] = {"tic_tac_toe": TicTacToe, "connect_four": ConnectFour, "go": Go}
    if not isinstance(word, str) or word not in kinds:
        raise ParameterError(f"game {word!r} came; expected one of {', '.join(WORDS)}")
    try:
        return kinds[word](**settings)
    except TypeError:
        raise ParameterError(f"{word} came with the settings {', '.join(settings) or 'none'}; it has others") from None
