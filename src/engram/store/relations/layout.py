"""Where the parts of a lineage stand in a picture: columns by generation, rows so that few lines cross.

The usual way of drawing what flows in one direction (Sugiyama, Tagawa and Toda 1981): columns by the longest path,
what has no past as late as it can, places kept free in every column that a long line passes, and then each column put
in the order of the middle of its neighbors, again and again from left to right and back.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

__all__ = ["Spot", "place"]

_SWEEPS = 6
_GAP = 20.0
_LINE = 12.0  # height that a passing line takes


@dataclass(frozen=True, slots=True)
class Spot:
    """Where something stands.

    Attributes:
        column: from 0, left to right.
        middle: distance of its middle from the top.
    """

    column: int
    middle: float


def place(
    heights: Mapping[str, float], edges: Sequence[tuple[str, str]], early: Callable[[str], bool]
) -> tuple[dict[str, Spot], dict[tuple[str, str], list[Spot]]]:
    """Where everything stands.

    Args:
        heights: id → height, of everything, in the order that breaks ties.
        edges: from what was first to what came of it.
        early: whether something stands as far left as it can; others stand close to what came of them.

    Returns:
        The spot of each, and for each edge the spots that it passes in the columns between.
    """
    columns = _columns(list(heights), edges, early)
    chains = {edge: _chain(edge, columns) for edge in edges if columns[edge[0]] < columns[edge[1]]}
    tall = dict(heights)
    for chain in chains.values():
        for via, column in chain:
            tall[via], columns[via] = _LINE, column
    links = [pair for edge, chain in chains.items() for pair in _pairs(edge, [via for via, _ in chain])]
    middles = _rows(tall, columns, links)
    spots = {name: Spot(column, middles[name]) for name, column in columns.items()}
    passed = {edge: [spots[via] for via, _ in chains.get(edge, ())] for edge in edges}
    return {name: spots[name] for name in heights}, passed


def _columns(names: Sequence[str], edges: Sequence[tuple[str, str]], early: Callable[[str], bool]) -> dict[str, int]:
    above, below = _neighbors(edges)
    order = _ordered(names, above, below)
    columns = dict.fromkeys(names, 0)
    for name in order:
        columns[name] = max((columns[other] + 1 for other in above.get(name, ())), default=0)
    last = max(columns.values(), default=0)
    for name in set(names) - set(order):  # a circle, which only a forged catalog has
        columns[name] = last + 1
    for name in reversed(order):
        if not early(name):
            columns[name] = max(min((columns[other] - 1 for other in below.get(name, ())), default=0), columns[name])
    return columns


def _neighbors(edges: Sequence[tuple[str, str]]) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    above: dict[str, list[str]] = {}
    below: dict[str, list[str]] = {}
    for source, target in edges:
        above.setdefault(target, []).append(source)
        below.setdefault(source, []).append(target)
    return above, below


def _ordered(
    names: Sequence[str], above: Mapping[str, Collection[str]], below: Mapping[str, Collection[str]]
) -> list[str]:
    """Everything after all that went into it; without what stands in a circle."""
    waiting = {name: len(above.get(name, ())) for name in names}
    ready = [name for name in names if not waiting[name]]
    order = []
    while ready:
        name = ready.pop()
        order.append(name)
        for other in below.get(name, ()):
            waiting[other] -= 1
            if not waiting[other]:
                ready.append(other)
    return order


def _chain(edge: tuple[str, str], columns: Mapping[str, int]) -> list[tuple[str, int]]:
    """A place, with its column, in every column that an edge passes."""
    source, target = edge
    return [(f"{source} {target} {column}", column) for column in range(columns[source] + 1, columns[target])]


def _pairs(edge: tuple[str, str], via: Sequence[str]) -> list[tuple[str, str]]:
    chain = [edge[0], *via, edge[1]]
    return list(pairwise(chain))


def _rows(tall: Mapping[str, float], columns: Mapping[str, int], links: Sequence[tuple[str, str]]) -> dict[str, float]:
    """The middle of everything, counted from the top of what stands highest."""
    stacks: list[list[str]] = [[] for _ in range(max(columns.values(), default=0) + 1)]
    for name in tall:
        stacks[columns[name]].append(name)
    above, below = _neighbors(links)
    stacks = _untangled(stacks, above, below)
    middles: dict[str, float] = {}
    for stack in stacks:
        _stack(stack, tall, dict.fromkeys(stack, 0.0), middles)
    for sides in _SWEEPS * ((above,), (below,)) + _SWEEPS * ((above, below),):
        for stack in reversed(stacks) if sides == (below,) else stacks:
            _stack(stack, tall, {name: _wanted(name, sides, middles) for name in stack}, middles)
    top = min((middles[name] - tall[name] / 2 for name in tall), default=0.0)
    return {name: middle - top for name, middle in middles.items()}


def _untangled(
    stacks: list[list[str]], above: Mapping[str, Sequence[str]], below: Mapping[str, Sequence[str]]
) -> list[list[str]]:
    """The columns, each in an order in which few lines cross."""
    best, fewest = [list(stack) for stack in stacks], _crossings(stacks, above)
    for side in _SWEEPS * (above, below):
        turned = stacks if side is above else stacks[::-1]
        places = {name: float(index) for stack in stacks for index, name in enumerate(stack)}
        for stack in turned:
            stack.sort(key={name: _wanted(name, (side,), places) for name in stack}.__getitem__)
            places |= {name: float(index) for index, name in enumerate(stack)}
        crossings = _crossings(stacks, above)
        if crossings < fewest:
            best, fewest = [list(stack) for stack in stacks], crossings
    return best


def _crossings(stacks: Sequence[Sequence[str]], above: Mapping[str, Sequence[str]]) -> int:
    """How often two lines cross: pairs whose ends lie in another order on the right than on the left."""
    places = {name: index for stack in stacks for index, name in enumerate(stack)}
    crossed = 0
    for stack in stacks:
        seen: list[int] = []
        for name in stack:
            begins = sorted(places[other] for other in above.get(name, ()))
            crossed += sum(len(seen) - bisect_right(seen, begin) for begin in begins)
            for begin in begins:
                insort(seen, begin)
    return crossed


def _wanted(name: str, sides: Sequence[Mapping[str, Sequence[str]]], places: Mapping[str, float]) -> float:
    """Where something would stand best: in the middle of its neighbors, or where it is if it has none."""
    around = [places[other] for side in sides for other in side.get(name, ())]
    return sum(around) / len(around) if around else places[name]


def _stack(
    stack: Sequence[str], tall: Mapping[str, float], wanted: Mapping[str, float], middles: dict[str, float]
) -> None:
    """Put a column where its parts want to be, in their order and without overlap: what touches moves together."""
    blocks: list[tuple[float, list[str]]] = []  # where the first of a block wants to begin on average, and the block
    for name in stack:
        begin, block = wanted[name] - tall[name] / 2, [name]
        while blocks and blocks[-1][0] + _height(blocks[-1][1], tall) > begin:
            earlier, names = blocks.pop()
            shift = _height(names, tall)
            begin = (earlier * len(names) + (begin - shift) * len(block)) / (len(names) + len(block))
            block = [*names, *block]
        blocks.append((begin, block))
    for begin, block in blocks:
        top = begin
        for name in block:
            middles[name] = top + tall[name] / 2
            top += tall[name] + _GAP


def _height(block: Sequence[str], tall: Mapping[str, float]) -> float:
    return sum(tall[name] + _GAP for name in block)
