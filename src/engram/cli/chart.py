"""Curves in the terminal: dots of braille, or letters where those cannot be shown."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

__all__ = ["chart"]

_DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))  # of a braille cell: two columns of four, from the top
_BRAILLE = 0x2800


def chart(curves: Mapping[str, Sequence[float]], *, width: int, height: int, mark: int = -1, dots: bool) -> list[str]:
    """Lines that show curves over the same points; none where there are fewer than two.

    Args:
        curves: name → values; what is no number is passed over.
        width: of the drawing in characters, without the numbers and names beside it; at least 2.
        height: of the drawing in lines, at least 2.
        mark: the point to be marked below; -1 for none.
        dots: braille; otherwise each curve is drawn in a letter of its name, a later one over an earlier.
    """
    finite = [value for values in curves.values() for value in values if math.isfinite(value)]
    count = max((len(values) for values in curves.values()), default=0)
    if not finite or count < 2:
        return []
    low, high = min(finite), max(finite)
    across, down = (2 * width, 4 * height) if dots else (width, height)
    grid = [[0 if dots else 0x20] * width for _ in range(height)]
    ends: dict[int, str] = {}
    letters = _letters(list(curves))
    for name, values in curves.items():
        places = _places(values, count, (low, high), (across, down))
        for x, y in _joined(places):
            if dots:
                grid[y // 4][x // 2] |= _DOTS[x % 2][y % 4]
            else:
                grid[y][x] = ord(letters[name])
        _name(
            ends,
            name if dots or letters[name] == name[0] else f"{name} ({letters[name]})",
            places[-1][1] // (4 if dots else 1) if places else height - 1,
            height,
        )
    scale = [f"{high:.4g}", *[""] * (height - 2), f"{low:.4g}"]
    margin = max(map(len, scale))
    wall, corner, floor = ("│", "└", "─") if dots else ("|", "+", "-")
    drawn = ["".join(chr(cell + _BRAILLE * dots) for cell in cells) for cells in grid]
    lines = [f"{scale[n]:>{margin}} {wall}{line} {ends.get(n, '')}".rstrip() for n, line in enumerate(drawn)]
    lines.append(f"{'':>{margin}} {corner}{floor * width}")
    if mark >= 0:
        column = round(mark / (count - 1) * (width - 1))
        lines.append(f"{'':>{margin}}  {' ' * column}{'▲' if dots else '^'} best")
    return lines


def _letters(names: Sequence[str]) -> dict[str, str]:
    """A letter for each name, its first where no other has that."""
    taken: dict[str, str] = {}
    for name in names:
        spare = f"{name}abcdefghijklmnopqrstuvwxyz"
        taken[name] = next((one for one in spare if one.isalnum() and one not in taken.values()), "*")
    return taken


def _places(
    values: Sequence[float], count: int, bounds: tuple[float, float], size: tuple[int, int]
) -> list[tuple[int, int]]:
    """Column and row, from the top, of each value that is a number."""
    (low, high), (across, down) = bounds, size
    spread = high - low or 1.0
    return [
        (round(place / (count - 1) * (across - 1)), round((high - value) / spread * (down - 1)))
        for place, value in enumerate(values)
        if math.isfinite(value)
    ]


def _joined(places: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The places, and those on the straight lines between them."""
    made = list(places)
    for (x, y), (next_x, next_y) in pairwise(places):
        steps = max(abs(next_x - x), abs(next_y - y), 1)
        made += [(x + round(n * (next_x - x) / steps), y + round(n * (next_y - y) / steps)) for n in range(steps)]
    return made


def _name(ends: dict[int, str], name: str, row: int, height: int) -> None:
    """Write a name at the free row nearest to the end of its curve."""
    free = [place for place in range(height) if place not in ends]
    if free:
        ends[min(free, key=lambda place: abs(place - row))] = name
