"""Which parameter each number in an optimizer's state means.

An optimizer of torch knows its parameters by their order alone. The order is that of the module's parameters, as the
state_dict has them with buffers in between, or of groups, of which the usual ones are the matrices first and then the
vectors. Shapes of the slots say whether an order fits; where none fits, or more than one would, nothing is guessed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any, Final

from numpy import ndarray

from engram.errors import FormatError
from engram.formats._pytorch.tensors import Tensor

__all__ = ["named"]

Shape = tuple[int, ...] | None
_BUFFERS: Final = frozenset({"running_mean", "running_var", "num_batches_tracked"})
_WORK: Final = 4_000_000


def named(
    groups: Sequence[Mapping[str, Any]], shapes: Mapping[int, Shape], weights: Mapping[str, Tensor | ndarray]
) -> list[list[str]]:
    """The names of each group's parameters.

    Args:
        groups: as in the file; each with ``params``, their numbers, and since torch 2.6 perhaps ``param_names``.
        shapes: by number; None where no slot tells.
        weights: of the network, in their order.

    Raises:
        FormatError: the bare reason why they cannot be told.
    """
    told = [group.get("param_names") for group in groups]
    if all(isinstance(names, list) for names in told):
        return _told(told, groups, weights)
    known = {name: tuple(tensor.shape) for name, tensor in _parameters(weights).items()}
    wanted = [[shapes.get(number) for number in group["params"]] for group in groups]
    flat = [shape for group in wanted for shape in group]
    found = _in_order(flat, known) or _by_rank(wanted, known) or _only_way(flat, known)
    names = iter(found)
    return [[next(names) for _ in group["params"]] for group in groups]


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
    if isinstance(tensor, Tensor):
        return replace(tensor, parameter=False, notes=())
    return id(tensor)


def _in_order(wanted: Sequence[Shape], known: Mapping[str, tuple[int, ...]]) -> list[str]:
    """All parameters, one after the other; empty where they do not fit."""
    if len(wanted) != len(known) or not all(map(_fits, wanted, known.values())):
        return []
    return list(known)


def _by_rank(wanted: Sequence[Sequence[Shape]], known: Mapping[str, tuple[int, ...]]) -> list[str]:
    """Two groups, of the matrices and of the vectors, in either order; empty where they do not fit."""
    matrices = {name: shape for name, shape in known.items() if len(shape) > 1}
    vectors = {name: shape for name, shape in known.items() if len(shape) <= 1}
    for first, second in ((matrices, vectors), (vectors, matrices)):
        if len(wanted) == 2 and _in_order(wanted[0], first) and _in_order(wanted[1], second):
            return [*first, *second]
    return []


def _only_way(wanted: Sequence[Shape], known: Mapping[str, tuple[int, ...]]) -> list[str]:
    """Some of the parameters in their order, where only one choice of them fits.

    Raises:
        FormatError: none does, or several do.
    """
    names, shapes = list(known), list(known.values())
    have = f"it has state for {len(wanted):,} parameters, and the weights hold {len(names):,}"
    if len(wanted) * len(names) > _WORK:
        raise FormatError(f"{have}; too many to try which are meant")
    ways = _ways(wanted, shapes)
    if ways != 1:
        raise FormatError(f"{have}, of which {'none fit' if not ways else 'more than one choice fits'} by their shapes")
    found, at = [], 0
    for shape in wanted:
        while not _fits(shape, shapes[at]):
            at += 1
        found.append(names[at])
        at += 1
    return found


def _ways(wanted: Sequence[Shape], shapes: Sequence[tuple[int, ...]]) -> int:
    """In how many ways some of the shapes are the wanted ones, in order; 2 stands for more."""
    ways = [1] + [0] * len(wanted)
    for shape in shapes:
        for place in range(len(wanted), 0, -1):
            if _fits(wanted[place - 1], shape):
                ways[place] = min(ways[place] + ways[place - 1], 2)
    return ways[-1] if wanted else 1


def _fits(wanted: Shape, shape: tuple[int, ...]) -> bool:
    return wanted is None or wanted == shape
