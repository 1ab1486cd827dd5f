"""Other shapes of the same numbers, and parts of them."""

from __future__ import annotations

from collections.abc import Mapping

from engram.formats._aten.call import Call, Extent, Rule, Sheet, Size

__all__ = ["TABLE"]

_END = 2**63 - 1


def _view(sheet: Sheet, call: Call) -> str:
    return sheet.reshaped(call.tensor("self").name, call.sizes("shape" if "shape" in call.arguments else "size"))


def _view_as(sheet: Sheet, call: Call) -> str:
    return sheet.node("Reshape", call.tensor("self").name, sheet.node("Shape", call.tensor("other").name))


def _flatten(sheet: Sheet, call: Call) -> str:
    value = call.tensor("self")
    first, last = call.axis(value.rank, "start_dim", 0), call.axis(value.rank, "end_dim", -1)
    if last < first:
        raise call.refused("flattens from a later axis to an earlier one")
    if not value.rank:
        return sheet.node("Reshape", value.name, sheet.wholes(1))
    middle, count = value.shape[first : last + 1], 1
    for length in middle:
        count = -1 if length is None or count == -1 else count * length
    around = [sheet.length(value, axis) for axis in (*range(first), *range(last + 1, value.rank))]
    sizes = [*around[:first], count, *around[first:]]
    if count == -1 and any(isinstance(one, Size) for one in sizes):
        sizes = [0 if axis < first and isinstance(one, Size) else one for axis, one in enumerate(sizes)]
        return sheet.node("Reshape", value.name, sheet.lengths(sizes))
    return sheet.reshaped(value.name, sizes)


def _unflatten(sheet: Sheet, call: Call) -> str:
    value = call.tensor("self")
    axis = call.axis(value.rank)
    lengths = [sheet.length(value, place) for place in range(value.rank)]
    sizes: list[Extent] = [*lengths[:axis], *call.sizes("sizes"), *lengths[axis + 1 :]]
    return sheet.reshaped(value.name, sizes)


def _permute(sheet: Sheet, call: Call) -> str:
    value = call.tensor("self")
    order = call.axes(value.rank, "dims")
    if len(order) != value.rank:
        raise call.refused(f"orders {len(order)} of {value.rank} axes")
    return sheet.node("Transpose", value.name, perm=order)


def _transpose(sheet: Sheet, call: Call) -> str:
    value = call.tensor("self")
    order = list(range(value.rank))
    if call.operator == "t":
        return sheet.node("Transpose", value.name, perm=order[::-1]) if value.rank > 1 else value.name
    one, other = call.axis(value.rank, "dim0"), call.axis(value.rank, "dim1")
    order[one], order[other] = order[other], order[one]
    return sheet.node("Transpose", value.name, perm=order)


def _turned(sheet: Sheet, call: Call) -> str:
    """The last two axes in the other order."""
    value = call.tensor("self")
    if value.rank < 2:
        raise call.refused("turns what has fewer than two axes")
    return sheet.node("Transpose", value.name, perm=[*range(value.rank - 2), value.rank - 1, value.rank - 2])


def _squeeze(sheet: Sheet, call: Call) -> str:
    value = call.tensor("self")
    axes = call.axes(value.rank)
    axes = [axis for axis in axes if value.shape[axis] == 1]
    return sheet.node("Squeeze", value.name, sheet.wholes(*axes)) if axes else value.name


def _unsqueeze(sheet: Sheet, call: Call) -> str:
    value = call.tensor("self")
    return sheet.node("Unsqueeze", value.name, sheet.wholes(call.axis(value.rank + 1)))


def _expand(sheet: Sheet, call: Call) -> str:
    value = call.tensor("self")
    sizes = call.sizes("size")
    if len(sizes) < value.rank:
        raise call.refused(f"expands {value.rank} axes to {len(sizes)}")
    return sheet.node("Expand", value.name, sheet.lengths([1 if one == -1 else one for one in sizes]))


def _expand_as(sheet: Sheet, call: Call) -> str:
    return sheet.node("Expand", call.tensor("self").name, sheet.node("Shape", call.tensor("other").name))


def _repeat(sheet: Sheet, call: Call) -> str:
    value, times = call.tensor("self"), call.sizes("repeats" if "repeats" in call.arguments else "dims")
    if len(times) < value.rank:
        times = [*[1] * (value.rank - len(times)), *times]
    name = value.name
    if len(times) > value.rank:
        name = sheet.node("Unsqueeze", name, sheet.wholes(*range(len(times) - value.rank)))
    return sheet.node("Tile", name, sheet.lengths(times))


def _cat(sheet: Sheet, call: Call) -> str:
    parts = [one for one in call.tensors("tensors") if one.shape != (0,)]
    if not parts:
        raise call.refused("joins nothing")
    names = [sheet.cast(one, call.result.dtype) for one in parts]
    return sheet.node("Concat", *names, axis=call.axis(parts[0].rank, default=0))


def _stack(sheet: Sheet, call: Call) -> str:
    parts = call.tensors("tensors")
    axis = call.axis(parts[0].rank + 1, default=0)
    raised = [sheet.node("Unsqueeze", sheet.cast(one, call.result.dtype), sheet.wholes(axis)) for one in parts]
    return sheet.node("Concat", *raised, axis=axis)


def _split(sheet: Sheet, call: Call) -> tuple[str, ...]:
    """Parts of one length, of lengths that are told, or so many; how many there are, the file says."""
    value = call.tensor("self")
    axis = call.axis(value.rank, default=0)
    lengths = [part.shape[axis] if axis < part.rank else None for part in call.results]
    if any(length is None for length in lengths) or not lengths:
        raise call.refused("splits into lengths that are not known")
    sizes = [length for length in lengths if length is not None]
    if len(sizes) == 1:
        return (value.name,)
    return sheet.nodes("Split", value.name, sheet.wholes(*sizes), outputs=len(sizes), axis=axis)


def _unbind(sheet: Sheet, call: Call) -> tuple[str, ...]:
    value = call.tensor("self")
    axis, count = call.axis(value.rank, default=0), len(call.results)
    if value.shape[axis] != count:
        raise call.refused("takes apart a length that is not known")
    parts = (
        sheet.nodes("Split", value.name, outputs=count, axis=axis, num_outputs=count) if count > 1 else (value.name,)
    )
    return tuple(sheet.node("Squeeze", part, sheet.wholes(axis)) for part in parts)


def _select(sheet: Sheet, call: Call) -> str:
    value = call.tensor("self")
    axis, index = call.axis(value.rank), call.sizes("index")[0]
    if isinstance(index, Size):
        return sheet.node("Squeeze", sheet.node("Gather", value.name, index.name, axis=axis), sheet.wholes(axis))
    return sheet.node("Gather", value.name, sheet.constant(index, "int64"), axis=axis)


def _slice(sheet: Sheet, call: Call) -> str:
    value = call.tensor("self")
    axis = call.axis(value.rank, default=0)
    start, end, step = (call.sizes(name, [default])[0] for name, default in (("start", 0), ("end", _END), ("step", 1)))
    if start == 0 and end == _END and step == 1:
        return value.name
    ends = [sheet.lengths([one]) for one in (start, end)]
    return sheet.node("Slice", value.name, *ends, sheet.wholes(axis), sheet.lengths([step]))


def _narrow(sheet: Sheet, call: Call) -> str:
    value = call.tensor("self")
    axis, start, length = call.axis(value.rank), call.whole("start"), call.whole("length")
    bounds = (sheet.wholes(start), sheet.wholes(start + length))
    return sheet.node("Slice", value.name, *bounds, sheet.wholes(axis))


def _gather(sheet: Sheet, call: Call) -> str:
    value = call.tensor("self")
    return sheet.node("GatherElements", value.name, call.tensor("index").name, axis=call.axis(value.rank))


def _index_select(sheet: Sheet, call: Call) -> str:
    value = call.tensor("self")
    return sheet.node("Gather", value.name, call.tensor("index").name, axis=call.axis(value.rank))


def _flip(sheet: Sheet, call: Call) -> str:
    value = call.tensor("self")
    axes = call.axes(value.rank, "dims")
    back = [sheet.wholes(*[number] * len(axes)) for number in (-1, -_END, -1)]
    return sheet.node("Slice", value.name, back[0], back[1], sheet.wholes(*axes), back[2])


def _triangle(sheet: Sheet, call: Call) -> str:
    diagonal = sheet.constant(call.whole("diagonal", 0), "int64")
    return sheet.node("Trilu", call.tensor("self").name, diagonal, upper=int(call.operator == "triu"))


def _roll(sheet: Sheet, call: Call) -> str:
    value = call.tensor("self")
    shifts, axes, name = call.wholes("shifts"), call.wholes("dims"), value.name
    if not axes or len(axes) != len(shifts) or not all(-value.rank <= axis < value.rank for axis in axes):
        raise call.refused("rolls all numbers as one row, which is not read")
    for shift, axis in zip(shifts, axes, strict=True):
        cut, place = sheet.wholes(-shift), sheet.wholes(axis % value.rank)
        late = sheet.node("Slice", name, cut, sheet.wholes(_END), place)
        soon = sheet.node("Slice", name, sheet.wholes(0), cut, place)
        name = sheet.node("Concat", late, soon, axis=axis % value.rank) if shift else name
    return name


TABLE: Mapping[str, Rule] = {
    **dict.fromkeys(("_reshape_alias", "_unsafe_view", "reshape", "view", "view_copy"), _view),
    **dict.fromkeys(("chunk", "split", "split_with_sizes", "split_with_sizes_copy", "unsafe_chunk",
                     "unsafe_split"), _split),
    **dict.fromkeys(("cat", "concat", "concatenate"), _cat),
    **dict.fromkeys(("expand", "expand_copy"), _expand),
    **dict.fromkeys(("permute", "permute_copy"), _permute),
    **dict.fromkeys(("repeat", "tile"), _repeat),
    **dict.fromkeys(("reshape_as", "view_as"), _view_as),
    **dict.fromkeys(("select", "select_copy"), _select),
    **dict.fromkeys(("slice", "slice_copy"), _slice),
    **dict.fromkeys(("squeeze", "squeeze_copy"), _squeeze),
    **dict.fromkeys(("t", "transpose", "transpose_copy"), _transpose),
    **dict.fromkeys(("mT", "mH", "adjoint"), _turned),
    **dict.fromkeys(("tril", "triu"), _triangle),
    **dict.fromkeys(("unsqueeze", "unsqueeze_copy"), _unsqueeze),
    "expand_as": _expand_as,
    "flatten": _flatten,
    "flip": _flip,
    "gather": _gather,
    "index_select": _index_select,
    "narrow": _narrow,
    "roll": _roll,
    "stack": _stack,
    "unbind": _unbind,
    "unflatten": _unflatten,
}  # fmt: skip
