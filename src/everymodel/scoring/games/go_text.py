"""Points and boards of Go as people write them."""

from __future__ import annotations

COLUMNS = "ABCDEFGHJ"  # Go leaves out the I


def point_name(action: int, size: int) -> str:
    """C3 for a point, pass for the last action; rows count from the bottom."""
    return "pass" if action == size * size else f"{COLUMNS[action % size]}{size - action // size}"


def point_of(word: str, size: int) -> int:
    """The action that people write as `word`, upper or lower case; ValueError for what is no point of the board."""
    word = word.upper()
    if word == "PASS":
        return size * size
    column = COLUMNS[:size].find(word[:1]) if word else -1
    row = int(word[1:])
    if column < 0 or not 1 <= row <= size:
        raise ValueError(word)
    return (size - row) * size + column


def board_text(colours: list[int], size: int) -> str:
    """A board drawn for a terminal: X the first player's stones (1), O the second's (2), . empty points."""
    header = "  " + " ".join(COLUMNS[:size])
    lines = [
        f"{size - r} " + " ".join(".XO"[c] for c in colours[r * size : (r + 1) * size]) + f" {size - r}"
        for r in range(size)
    ]
    return "\n".join([header, *lines, header])
