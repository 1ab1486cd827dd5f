"""Which parameter each number in an optimizer's state means.

An optimizer of torch knows its parameters by their order alone: that of the module in each group, and of the groups as
they were given. Shapes of the slots say which orders fit. Where more than one does, the likeliest is taken and said to
be a guess; the numbers keep their order, so that the way back to torch is exact whether the guess is right or not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, Final

import numpy as np
from numpy import ndarray

from engram.errors import FormatError
from engram.formats._pytorch.tensors import Tensor

__all__ = ["Hint", "Matched", "hint", "named"]

Hint = frozenset[tuple[int, ...]] | None
"""The shapes that a parameter may have by its slots; None where no slot tells."""
_COUNTS: Final = frozenset({"step", "mu_product", "eta", "mu"})
_BUFFERS: Final = frozenset({"running_mean", "running_var", "num_batches_tracked"})
_WORK: Final = 1_000_000
_Taken = tuple[int, ...]
_Way = tuple[Any, int | None] | None
"""A choice as a chain from its last step to its first: the group that the next parameter is given to, None for none."""


@dataclass(frozen=True, slots=True)
class Matched:
    """The names of an optimizer's parameters.

    Attributes:
        names: of each group's.
        guess: why another naming would fit as well; empty where none does.
    """

    names: list[list[str]]
    guess: str = ""


def hint(slots: Mapping[str, Any]) -> Hint:
    """The shapes that a parameter may have by what an optimizer keeps of it.

    A slot has the shape of its parameter, but for counts; what Adafactor keeps by row and by column has it together.
    """
    kept = {slot: value for slot, value in slots.items() if isinstance(value, (Tensor, ndarray))}
    shapes = {tuple(value.shape) for slot, value in kept.items() if value.shape or slot not in _COUNTS}
    if not shapes:
        return None
    try:
        return frozenset({*shapes, tuple(np.broadcast_shapes(*shapes))})
    except ValueError:
        return frozenset(shapes)


def named(
    groups: Sequence[Mapping[str, Any]], hints: Mapping[int, Hint], weights: Mapping[str, Tensor | ndarray]
) -> Matched:
    """The names of each group's parameters.

    Args:
        groups: as in the file; each with ``params``, their numbers, and since torch 2.6 perhaps ``param_names``.
        hints: by number.
        weights: of the network, in their order.

    Raises:
        FormatError: the bare reason why they cannot be told.
    """
    told = [group.get("param_names") for group in groups]
    if all(isinstance(names, list) for names in told):
        return Matched(_told(told, groups, weights))
    known = {name: tuple(tensor.shape) for name, tensor in _parameters(weights).items()}
    wanted = [[hints.get(number) for number in group["params"]] for group in groups]
    flat = [shape for group in wanted for shape in group]
    found, ways = _first_way(wanted, known)
    have = f"it has state for {len(flat):,} parameters, and the weights hold {len(known):,}"
    if not ways:
        raise FormatError(f"{have}, of which none fit by their shapes")
    if ways == 1:
        return Matched(found)
    last = dict(list(known.items())[len(known) - len(flat) :])
    likely = _in_order(flat, known) or _by_rank(wanted, known) or _in_order(flat, last)
    names = iter(likely)
    guessed = [[next(names) for _ in group] for group in wanted] if likely else found
    if not any(guessed):
        raise FormatError(f"{have}; too many to try which are meant")
    return Matched(guessed, f"{have}, of which more than one choice fits by their shapes")


def _told(
    told: Sequence[Any], groups: Sequence[Mapping[str, Any]], weights: Mapping[str, Tensor | ndarray]
) -> list[list[str]]:
    flat = list(chain.from_iterable(told))
    lengths = all(len(names) == len(group["params"]) for names, group in zip(told, groups, strict=True))
    for name in flat:
        if type(name) is not str or name not in weights:
            raise FormatError(f"it names the parameter {str(name)[:60]!r}, which is none of the weights")
    if not lengths or len(set(flat)) != len(flat):
        raise FormatError("it does not name each of its parameters once")
    return [list(names) for names in told]


def _parameters(weights: Mapping[str, Tensor | ndarray]) -> dict[str, Tensor | ndarray]:
    """What may be a parameter, each tied one under its first name."""
    marked = any(isinstance(tensor, Tensor) and tensor.parameter for tensor in weights.values())
    found: dict[Any, tuple[str, Tensor | ndarray]] = {}
    for name, tensor in weights.items():
        kind = tensor.kind if isinstance(tensor, Tensor) else tensor.dtype
        if kind.kind in "iub" or name.rpartition(".")[2] in _BUFFERS:
            continue
        if marked and not (isinstance(tensor, Tensor) and tensor.parameter):
            continue
        found.setdefault(_place(tensor), (name, tensor))
    return dict(found.values())


def _place(tensor: Tensor | ndarray) -> object:
    return replace(tensor, parameter=False, notes=()) if isinstance(tensor, Tensor) else id(tensor)


def _in_order(wanted: Sequence[Hint], known: Mapping[str, tuple[int, ...]]) -> list[str]:
    """All parameters, one after the other; empty where they do not fit."""
    if len(wanted) != len(known) or not all(map(_fits, wanted, known.values())):
        return []
    return list(known)


def _by_rank(wanted: Sequence[Sequence[Hint]], known: Mapping[str, tuple[int, ...]]) -> list[str]:
    """Two groups, of the matrices and of the vectors, in either order; empty where they do not fit."""
    matrices = {name: shape for name, shape in known.items() if len(shape) > 1}
    vectors = {name: shape for name, shape in known.items() if len(shape) <= 1}
    for first, second in ((matrices, vectors), (vectors, matrices)):
        if len(wanted) == 2 and _in_order(wanted[0], first) and _in_order(wanted[1], second):
            return [*first, *second]
    return []


def _first_way(wanted: Sequence[Sequence[Hint]], known: Mapping[str, tuple[int, ...]]) -> tuple[list[list[str]], int]:
    """The parameters given to the groups, each group in the module's order, and in how many ways that can be done.

    2 stands for more, also where there are too many to try; then the groups are empty.
    """
    lengths = tuple(len(group) for group in wanted)
    spare = len(known) - sum(lengths)
    ways: dict[_Taken, tuple[int, _Way]] = {(0,) * len(wanted): (1, None)}
    spent = 0
    for seen, shape in enumerate(known.values()):
        after: dict[_Taken, tuple[int, _Way]] = {}
        for taken, (count, way) in ways.items():
            for state, given in _steps(taken, wanted, shape, idle=seen - sum(taken) < spare):
                before, first = after.get(state, (0, (way, given)))
                after[state] = (min(before + count, 2), first)
        ways = after
        spent += len(ways) * len(lengths)
        if spent > _WORK:
            return [[] for _ in wanted], 2
    count, way = ways.get(lengths, (0, None))
    return _followed(way, list(known), len(wanted)), count


def _steps(
    taken: _Taken, wanted: Sequence[Sequence[Hint]], shape: tuple[int, ...], *, idle: bool
) -> Iterator[tuple[_Taken, int | None]]:
    """To which group the next parameter may go: how many each has then, and to which; to none where one may be idle."""
    if idle:
        yield taken, None
    for place, group in enumerate(wanted):
        at = taken[place]
        if at < len(group) and _fits(group[at], shape):
            yield (*taken[:place], at + 1, *taken[place + 1 :]), place


def _followed(way: _Way, names: list[str], groups: int) -> list[list[str]]:
    found: list[list[str]] = [[] for _ in range(groups)]
    while way is not None:
        way, given = way
        name = names.pop()
        if given is not None:
            found[given].insert(0, name)
    return found


def _fits(wanted: Hint, shape: tuple[int, ...]) -> bool:
    return wanted is None or shape in wanted
