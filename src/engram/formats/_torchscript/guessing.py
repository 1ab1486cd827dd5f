"""What a TorchScript module takes, of which its file says nothing but that it is a tensor.

The first operator that reads an input says how many axes it has and how long the last or second one is; where a script
hides it behind branches, what the first weights could read is tried. Other lengths are tried, too, and stay free where
the module takes several.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any, Final, TypeAlias

import torch
from torch import Tensor

from engram.errors import EngramError, FormatError
from engram.formats._torchscript.walk import Walk

__all__ = ["guessed"]

_Kind: TypeAlias = tuple[tuple[int, ...], torch.dtype]
_ROWS: Final = 3
_WAYS: Final = 8  # that are tried where the graph does not say what the inputs are
_TRIED: Final = (32, 28, 64, 224, 8, 16, *range(2, 64), 96, 112, 128, 160, 192, 256, 299, 384, 512)
_CONVOLUTIONS: Final = {"aten::_convolution", "aten::conv1d", "aten::conv2d", "aten::conv3d", "aten::convolution"}
_RECURRENT: Final = {"aten::gru", "aten::lstm", "aten::rnn_relu", "aten::rnn_tanh"}
_FAULTS = (RuntimeError, ValueError, TypeError, IndexError, EngramError)


def guessed(walk: Walk, told: Sequence[Any]) -> tuple[tuple[Tensor, ...], tuple[dict[int, Any], ...]]:
    """Rows that the module takes, and which of their axes are free.

    Args:
        walk: of the module.
        told: shape and type of each input where the file says them; empty where it does not.

    Raises:
        FormatError: nothing says what an input is, or no lengths are found that the module takes.
    """
    if len(told) == len(walk.inputs):
        kinds = [(tuple(shape), getattr(torch, dtype)) for shape, dtype in told]
        return _framed(walk, kinds, 1, free=False)
    reason = ""
    for kinds in map(list, _combined(walk)):
        wanted = any(0 in shape[1:] for shape, _ in kinds)
        for length in _TRIED if wanted else _TRIED[:1]:
            refused = _refusal(walk, _rows(kinds, length))
            if not refused:
                free = wanted and not any(_refusal(walk, _rows(kinds, other)) for other in (length + 2, 2 * length))
                return _framed(walk, kinds, length, free=free)
            reason = reason or refused
    raise FormatError(f"no lengths of its inputs up to {max(_TRIED)} are found that it takes: {reason}")


def _combined(walk: Walk) -> Iterator[tuple[_Kind, ...]]:
    """What its inputs may be together, the likeliest first; at least one way, and not too many.

    Raises:
        FormatError: nothing says what an input is.
    """
    told = [_kind(walk, place) for place in range(len(walk.inputs))]
    likely = None if all(told) else _likely(walk)
    if likely == []:
        unknown = walk.inputs[told.index(None)]
        raise FormatError(f"nothing in its graph says what the input {unknown!r} is; export it with torch.export")
    ways = [[known] if known else likely or [] for known in told]
    yield from itertools.islice(itertools.product(*ways), _WAYS)


def _likely(walk: Walk) -> list[_Kind]:
    """What the first weights could read: a sequence before a row, since layers of sequences take a single one, too."""
    found: dict[_Kind, None] = {}
    for value in walk.state_dict().values():
        if value.ndim > 2:
            found[(0, value.shape[1], *itertools.repeat(0, value.ndim - 2)), value.dtype] = None
        elif value.ndim == 2:
            found |= dict.fromkeys([((0, 0, value.shape[1]), value.dtype), ((0, value.shape[1]), value.dtype)])
    return list(found)[:_WAYS]


def _framed(
    walk: Walk, kinds: Sequence[_Kind], length: int, *, free: bool
) -> tuple[tuple[Tensor, ...], tuple[dict[int, Any], ...]]:
    """Rows of the kinds, with the first axis free where any number of rows is taken."""
    rows = _rows(kinds, length)
    batch, auto = torch.export.Dim("batch"), torch.export.Dim.AUTO
    many = not _refusal(walk, _rows(kinds, length, _ROWS + 2))
    shapes = []
    for shape, _ in kinds:
        places = {place: auto for place, axis in enumerate(shape) if place and axis == 0 and free}
        shapes.append({0: batch} | places if many and shape else places)
    return rows, tuple(shapes)


def _rows(kinds: Sequence[_Kind], length: int, count: int = _ROWS) -> tuple[Tensor, ...]:
    shapes = [([count, *(axis or length for axis in shape[1:])] if shape else [], dtype) for shape, dtype in kinds]
    return tuple(torch.zeros(shape, dtype=dtype) for shape, dtype in shapes)


def _refusal(walk: Walk, rows: tuple[Tensor, ...]) -> str:
    """Why rows are not taken; empty where they are."""
    try:
        walk(*rows)
    except FormatError:
        raise
    except _FAULTS as refused:
        return (str(refused).strip().splitlines() or [type(refused).__name__])[-1][:200]
    return ""


def _kind(walk: Walk, place: int) -> _Kind | None:
    """Shape and type of an input, by the first operator with a weight that reads it; None if none is found."""
    name = walk.inputs[place]
    known = {name}
    attributes: dict[str, str] = {walk.itself: ""}
    for node in _every(walk.graph):
        inputs = [value.debugName() for value in node.inputs()]
        outputs = [value.debugName() for value in node.outputs()]
        if node.kind() == "prim::GetAttr" and inputs[0] in attributes:
            attributes[outputs[0]] = f"{attributes[inputs[0]]}.{node.s('name')}".lstrip(".")
        if not known & set(inputs):
            continue
        found = _told(walk, node, attributes)
        if found is not None:
            return found
        if node.kind() in _PASSING:
            known.update(outputs)
    return None


_PASSING: Final = frozenset({
    "aten::dropout", "aten::gelu", "aten::relu", "aten::sigmoid", "aten::silu", "aten::tanh", "aten::contiguous",
    "aten::to", "aten::detach", "aten::mul", "aten::div", "aten::sub", "aten::add",
})  # fmt: skip


def _every(block: Any) -> Iterator[Any]:  # noqa: ANN401 - torch tells no type
    """All nodes, also those of branches."""
    for node in block.nodes():
        yield node
        for inner in node.blocks():
            yield from _every(inner)


def _told(walk: Walk, node: Any, attributes: dict[str, str]) -> _Kind | None:  # noqa: ANN401 - torch tells no type
    ways = [attributes[value] for value in _flat(node) if value in attributes]
    weight = next((found for way in ways if (found := walk.stored(way)) is not None), None)
    kind = node.kind()
    if weight is None:
        return None
    if kind in _CONVOLUTIONS:
        return (0, weight.shape[1] * _groups(node), *itertools.repeat(0, weight.ndim - 2)), weight.dtype
    if kind in {"aten::linear", "aten::matmul", "aten::addmm"}:
        return (0, weight.shape[-1]), weight.dtype
    if kind in _RECURRENT:
        return (0, 0, weight.shape[1]), weight.dtype
    if kind == "aten::embedding":
        return (0, 0), torch.int64
    return ((0, *weight.shape), weight.dtype) if kind in {"aten::batch_norm", "aten::layer_norm"} else None


def _flat(node: Any) -> Iterator[str]:  # noqa: ANN401
    """What a node reads, one by one where it reads a list."""
    for value in node.inputs():
        maker = value.node()
        yield from (
            (one.debugName() for one in maker.inputs())
            if maker.kind() == "prim::ListConstruct"
            else (value.debugName(),)
        )


def _groups(node: Any) -> int:  # noqa: ANN401
    """Into how many groups a convolution parts its channels."""
    listed = str(node.schema()).partition("(")[2].split(",")
    names = [argument.strip().split(" ")[-1].partition("=")[0] for argument in listed]
    for value, said in zip(node.inputs(), names, strict=False):
        if said == "groups" and isinstance(value.toIValue(), int):
            return int(value.toIValue())
    return 1
