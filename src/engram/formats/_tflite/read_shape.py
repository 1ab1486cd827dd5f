"""Operators that move numbers and compute none: shapes, cuts, joins, choices.

What TFLite says in bit masks and as 32-bit lengths, ONNX says in lists of axes and as 64-bit ones. A length that is
computed is cast; one that is fixed becomes a constant, so that shapes stay known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy import ndarray

from engram.formats._tflite.parts import Operator
from engram.formats._tflite.reading import Read, Reading, code_of

__all__ = ["TABLE"]

_FAR = 2**62


def _reshape(operator: Operator, reading: Reading) -> None:
    if len(operator.inputs) > 1 and operator.inputs[1] >= 0:
        shape = reading.wide(operator.inputs[1])
    else:
        shape = reading.constant(list(operator.options.get("new_shape", [])))
    reading.put("Reshape", operator, reading.get(operator.inputs[0]), shape, allowzero=1)


def _squeeze(operator: Operator, reading: Reading) -> None:
    x = operator.inputs[0]
    rank, shape = reading.rank(x), reading.shape(x)
    axes = [int(axis) % max(rank, 1) for axis in operator.options.get("squeeze_dims", [])]
    axes = axes or [axis for axis, size in enumerate(shape) if size == 1]
    reading.put("Squeeze", operator, reading.get(x), reading.constant(axes))


def _expand_dims(operator: Operator, reading: Reading) -> None:
    axis = reading.fixed(operator.inputs[1], "the axis of EXPAND_DIMS").reshape(-1)
    reading.put("Unsqueeze", operator, reading.get(operator.inputs[0]), reading.constant(axis))


def _transpose(operator: Operator, reading: Reading) -> None:
    """No node: the same value in another layout."""
    x, answer = operator.inputs[0], operator.outputs[0]
    order = [int(axis) for axis in reading.fixed(operator.inputs[1], "the order of TRANSPOSE").reshape(-1)]
    if sorted(order) != list(range(reading.rank(x))):
        raise reading.refused(f"TRANSPOSE has the order {order}, but its input {reading.rank(x)} axes")
    layout = next(iter(reading.layouts(x)), tuple(range(len(order))))
    reading.give(answer, reading.get(x, layout), tuple(order.index(axis) for axis in layout))


def _concatenation(operator: Operator, reading: Reading) -> None:
    axis = int(operator.options.get("axis", 0))
    values = [reading.get(number) for number in operator.inputs]
    reading.put("Concat", operator, *values, axis=axis)


def _split(operator: Operator, reading: Reading) -> None:
    where, x = operator.inputs if operator.kind == "SPLIT" else (operator.inputs[2], operator.inputs[0])
    axis = int(reading.fixed(where, "the axis of SPLIT").reshape(-1)[0])
    names = [reading.shared.unique("part") for _ in operator.outputs]
    if operator.kind == "SPLIT":
        reading.many("Split", reading.get(x), names=names, axis=axis, num_outputs=len(names))
    else:
        sizes = _sizes(operator, reading, x, axis)
        reading.many("Split", reading.get(x), reading.constant(sizes), names=names, axis=axis)
    for number, name in zip(operator.outputs, names, strict=True):
        reading.give(number, name)


def _sizes(operator: Operator, reading: Reading, x: int, axis: int) -> list[int]:
    sizes = [int(size) for size in reading.fixed(operator.inputs[1], "the sizes of SPLIT_V")]
    if sizes.count(-1) == 1:
        sizes[sizes.index(-1)] = reading.shape(x)[axis] - sum(size for size in sizes if size >= 0)
    if min(sizes, default=0) < 0 or len(sizes) != len(operator.outputs):
        raise reading.refused(f"SPLIT_V has the sizes {sizes} for {len(operator.outputs)} outputs")
    return sizes


def _slice(operator: Operator, reading: Reading) -> None:
    x, begin, size = operator.inputs
    axes = reading.constant(list(range(reading.rank(x))))
    starts, sizes = reading.array(begin), reading.array(size)
    if starts is not None and sizes is not None:
        ends = np.where(sizes < 0, _FAR, starts.astype(np.int64) + sizes)
        bounds = [reading.constant(starts), reading.constant(ends)]
    else:
        first, length = reading.wide(begin), reading.wide(size)
        total = reading.node("Add", first, length)
        open_end = reading.node("Less", length, reading.constant(0))
        bounds = [first, reading.node("Where", open_end, reading.constant(_FAR), total)]
    reading.put("Slice", operator, reading.get(x), *bounds, axes)


def _strided_slice(operator: Operator, reading: Reading) -> None:
    """Begin, end and step of each axis, with TFLite's bits for axes that are taken whole, dropped or added."""
    x, _begin, _end, step = operator.inputs
    masks = {
        name: int(operator.options.get(f"{name}_mask", 0))
        for name in ("begin", "end", "ellipsis", "new_axis", "shrink_axis")
    }
    steps = reading.fixed(step, "the steps of STRIDED_SLICE").reshape(-1)
    if operator.options.get("offset") or masks["ellipsis"] & (masks["ellipsis"] - 1):
        raise reading.refused("STRIDED_SLICE has ends as offsets or two ellipses, which is not read")
    plan = _plan(masks, len(steps), reading.rank(x))
    value = reading.get(x)
    cut = [(place, axis) for place, kind, axis in plan if kind in {"cut", "drop"}]
    if cut:
        places, axes = [place for place, _ in cut], [axis for _, axis in cut]
        starts, ends = _ends(operator, reading, places, masks, steps)
        value = reading.node("Slice", value, starts, ends, reading.constant(axes), reading.constant(steps[places]))
    dropped = [axis for _, kind, axis in plan if kind == "drop"]
    if dropped:
        value = reading.node("Squeeze", value, reading.constant(dropped))
    added = _added(plan)
    if added:
        value = reading.node("Unsqueeze", value, reading.constant(added))
    reading.finish(operator, value)


def _plan(masks: Mapping[str, int], count: int, rank: int) -> list[tuple[int, str, int]]:
    """For each entry of the bounds: its place, what it does, and the axis of the input it does it to."""
    found, axis = [], 0
    consumed = sum(not (masks["new_axis"] | masks["ellipsis"]) >> place & 1 for place in range(count))
    for place in range(count):
        if masks["ellipsis"] >> place & 1:
            for _ in range(max(rank - consumed, 0)):
                found.append((place, "keep", axis))
                axis += 1
        elif masks["new_axis"] >> place & 1:
            found.append((place, "add", axis))
        else:
            found.append((place, "drop" if masks["shrink_axis"] >> place & 1 else "cut", axis))
            axis += 1
    return found


def _added(plan: Sequence[tuple[int, str, int]]) -> list[int]:
    """Where the new axes stand in the answer."""
    found, place = [], 0
    for _, kind, _ in plan:
        if kind == "add":
            found.append(place)
        place += kind != "drop"
    return found


def _ends(
    operator: Operator, reading: Reading, places: list[int], masks: Mapping[str, int], steps: ndarray
) -> tuple[str, str]:
    """Begin and end of the axes that are cut."""
    _, begin, end, _ = operator.inputs
    shrunk = np.array([bool(masks["shrink_axis"] >> place & 1) for place in places])
    open_start = np.array([bool(masks["begin"] >> place & 1) for place in places]) & ~shrunk
    open_end = np.array([bool(masks["end"] >> place & 1) for place in places]) & ~shrunk
    back = steps[places] < 0
    first, last = np.where(back, _FAR, 0), np.where(back, -_FAR, _FAR)
    starts, ends = reading.array(begin), reading.array(end)
    if starts is not None and ends is not None:
        low = starts.reshape(-1)[places].astype(np.int64)
        high = np.where(shrunk, np.where(low == -1, _FAR, low + 1), ends.reshape(-1)[places])
        return reading.constant(np.where(open_start, first, low)), reading.constant(np.where(open_end, last, high))
    chosen = reading.constant(places)
    low_value = reading.node("Gather", reading.wide(begin), chosen, axis=0)
    high_value = reading.node("Gather", reading.wide(end), chosen, axis=0)
    after = reading.node("Add", low_value, reading.constant(1))
    high_value = reading.node("Where", reading.constant(shrunk, "bool"), after, high_value)
    low_value = reading.node("Where", reading.constant(open_start, "bool"), reading.constant(first), low_value)
    high_value = reading.node("Where", reading.constant(open_end, "bool"), reading.constant(last), high_value)
    return low_value, high_value


def _gather(operator: Operator, reading: Reading) -> None:
    data, places = operator.inputs
    rank = max(reading.rank(data), 1)
    axis, batch = int(operator.options.get("axis", 0)) % rank, int(operator.options.get("batch_dims", 0))
    if not batch:
        reading.put("Gather", operator, reading.get(data), reading.get(places), axis=axis)
        return
    if axis != batch:
        raise reading.refused(f"GATHER along axis {axis} with {batch} batch axes is not read")
    last = reading.constant([-1])
    wide = reading.node("Unsqueeze", reading.wide(places), last)
    reading.put("GatherND", operator, reading.get(data), wide, batch_dims=batch)


def _gather_nd(operator: Operator, reading: Reading) -> None:
    data, places = operator.inputs
    reading.put("GatherND", operator, reading.get(data), reading.wide(places))


def _pack(operator: Operator, reading: Reading) -> None:
    axis = int(operator.options.get("axis", 0))
    where = reading.constant([axis])
    parts = [reading.node("Unsqueeze", reading.get(number), where) for number in operator.inputs]
    reading.put("Concat", operator, *parts, axis=axis)


def _unpack(operator: Operator, reading: Reading) -> None:
    axis = int(operator.options.get("axis", 0))
    names = [reading.shared.unique("part") for _ in operator.outputs]
    where = reading.constant([axis])
    x = reading.get(operator.inputs[0])
    if len(names) > 1:
        reading.many("Split", x, names=names, axis=axis, num_outputs=len(names))
    for number, name in zip(operator.outputs, names if len(names) > 1 else [x], strict=True):
        reading.give(number, reading.node("Squeeze", name, where))


def _pad(operator: Operator, reading: Reading) -> None:
    around = reading.fixed(operator.inputs[1], "the width of PAD")
    if around.shape != (reading.rank(operator.inputs[0]), 2):
        raise reading.refused(f"PAD has widths of shape {list(around.shape)}")
    filled = [reading.get(operator.inputs[2])] if len(operator.inputs) > 2 else []
    reading.put("Pad", operator, reading.get(operator.inputs[0]), reading.constant(around.T.reshape(-1)), *filled)


def _mirror_pad(operator: Operator, reading: Reading) -> None:
    around = reading.fixed(operator.inputs[1], "the width of MIRROR_PAD")
    x = operator.inputs[0]
    if operator.options.get("mode", 0) == 0:
        reading.put("Pad", operator, reading.get(x), reading.constant(around.T.reshape(-1)), mode="reflect")
        return
    value = reading.get(x)
    for axis, (before, after) in enumerate(around.tolist()):
        if before or after:
            size = reading.shape(x)[axis]
            if size < max(before, after):
                raise reading.refused(f"MIRROR_PAD adds {max(before, after)} to an axis of {size}")
            places = [*range(before - 1, -1, -1), *range(size), *range(size - 1, size - 1 - after, -1)]
            value = reading.node("Gather", value, reading.constant(places), axis=axis)
    reading.finish(operator, value)


def _tile(operator: Operator, reading: Reading) -> None:
    reading.put("Tile", operator, reading.get(operator.inputs[0]), reading.wide(operator.inputs[1]))


def _broadcast_to(operator: Operator, reading: Reading) -> None:
    reading.put("Expand", operator, reading.get(operator.inputs[0]), reading.wide(operator.inputs[1]))


def _fill(operator: Operator, reading: Reading) -> None:
    lengths, value = operator.inputs
    reading.put("Expand", operator, reading.get(value), reading.wide(lengths))


def _shape(operator: Operator, reading: Reading) -> None:
    value = reading.node("Shape", reading.get(operator.inputs[0]))
    kind = reading.tensor(operator.outputs[0]).type
    reading.finish(operator, value if kind == "INT64" else reading.node("Cast", value, to=code_of(kind)))


def _rank(operator: Operator, reading: Reading) -> None:
    reading.finish(operator, reading.constant(reading.rank(operator.inputs[0]), "int32"))


def _range(operator: Operator, reading: Reading) -> None:
    reading.put("Range", operator, *(reading.get(number) for number in operator.inputs))


def _one_hot(operator: Operator, reading: Reading) -> None:
    places, depth, on, off = operator.inputs
    last = reading.constant([0])
    values = reading.node("Concat", *(reading.node("Unsqueeze", reading.get(one), last) for one in (off, on)), axis=0)
    axis = int(operator.options.get("axis", -1))
    reading.put("OneHot", operator, reading.wide(places), reading.wide(depth), values, axis=axis)


def _reverse(operator: Operator, reading: Reading) -> None:
    x = operator.inputs[0]
    axes = [int(axis) for axis in reading.fixed(operator.inputs[1], "the axes of REVERSE_V2").reshape(-1)]
    bounds = [reading.constant([bound] * len(axes)) for bound in (-1, -_FAR)]
    steps = reading.constant([-1] * len(axes))
    reading.put("Slice", operator, reading.get(x), *bounds, reading.constant(axes), steps)


def _where(operator: Operator, reading: Reading) -> None:
    found = reading.node("NonZero", reading.get(operator.inputs[0]))
    reading.put("Transpose", operator, found, perm=[1, 0])


def _scatter(operator: Operator, reading: Reading) -> None:
    places, updates, lengths = operator.inputs
    kind = reading.tensor(updates).type.lower()
    empty = reading.node("Expand", reading.constant(0, kind), reading.wide(lengths))
    inputs = [empty, reading.wide(places), reading.get(updates)]
    reading.put("ScatterND", operator, *inputs, reduction="add")


def _update_slice(operator: Operator, reading: Reading) -> None:
    """A part put over another along the one axis in which they differ."""
    whole, part, start = operator.inputs
    shapes = zip(reading.shape(whole), reading.shape(part), strict=True)
    axes = [axis for axis, (one, other) in enumerate(shapes) if one != other]
    if not axes:
        reading.finish(operator, reading.get(part))
        return
    if len(axes) > 1 or reading.shape(whole)[axes[0]] < 1 or reading.shape(part)[axes[0]] < 1:
        raise reading.refused("DYNAMIC_UPDATE_SLICE over several or free axes is not read")
    (axis,) = axes
    length, size = reading.shape(part)[axis], reading.shape(whole)[axis]
    first = reading.node("Gather", reading.wide(start), reading.constant([axis]), axis=0)
    low, high = reading.constant([0]), reading.constant([size - length])
    first = reading.node("Max", low, reading.node("Min", first, high))
    value, where = reading.get(whole), reading.constant([axis])
    head = reading.node("Slice", value, low, first, where)
    tail = reading.node(
        "Slice", value, reading.node("Add", first, reading.constant([length])), reading.constant([_FAR]), where
    )
    reading.put("Concat", operator, head, reading.get(part), tail, axis=axis)


def _spread_batch(operator: Operator, reading: Reading) -> None:
    """SPACE_TO_BATCH_ND: every n-th row and column become a picture of their own.

    Source: TensorFlow, tf.space_to_batch_nd.
    """
    x, block, pads = operator.inputs
    blocks = [int(size) for size in reading.fixed(block, "the blocks of SPACE_TO_BATCH_ND")]
    around = reading.fixed(pads, "the pads of SPACE_TO_BATCH_ND")
    shape = reading.shape(x)
    count, tail = len(blocks), shape[1 + len(blocks) :]
    if min(shape[1:], default=1) < 1:
        raise reading.refused("SPACE_TO_BATCH_ND over free lengths is not read")
    full = np.concatenate([[[0, 0]], around, [[0, 0]] * len(tail)]).T.reshape(-1)
    value = reading.node("Pad", reading.get(x), reading.constant(full))
    split = [-1]
    for size, (before, after), step in zip(shape[1:], around.tolist(), blocks, strict=False):
        split += [(size + before + after) // step, step]
    value = reading.node("Reshape", value, reading.constant([*split, *tail]))
    steps, rows = [2 + 2 * k for k in range(count)], [1 + 2 * k for k in range(count)]
    order = [*steps, 0, *rows, *range(1 + 2 * count, 1 + 2 * count + len(tail))]
    value = reading.node("Transpose", value, perm=order)
    reading.put("Reshape", operator, value, reading.constant([-1, *split[1::2], *tail]))


def _gather_batch(operator: Operator, reading: Reading) -> None:
    """BATCH_TO_SPACE_ND, the way back."""
    x, block, crops = operator.inputs
    blocks = [int(size) for size in reading.fixed(block, "the blocks of BATCH_TO_SPACE_ND")]
    cut = reading.fixed(crops, "the crops of BATCH_TO_SPACE_ND")
    shape, count = reading.shape(x), len(blocks)
    tail = shape[1 + count :]
    if min(shape[1:], default=1) < 1:
        raise reading.refused("BATCH_TO_SPACE_ND over free lengths is not read")
    value = reading.node("Reshape", reading.get(x), reading.constant([*blocks, -1, *shape[1:]]))
    order = [count]
    for k in range(count):
        order += [count + 1 + k, k]
    order += range(2 * count + 1, 2 * count + 1 + len(tail))
    value = reading.node("Transpose", value, perm=order)
    joined = [size * step for size, step in zip(shape[1:], blocks, strict=False)]
    value = reading.node("Reshape", value, reading.constant([-1, *joined, *tail]))
    ends = [size - after for size, (_, after) in zip(joined, cut.tolist(), strict=True)]
    axes = reading.constant(list(range(1, 1 + count)))
    reading.put("Slice", operator, value, reading.constant(cut[:, 0]), reading.constant(ends), axes)


TABLE: Mapping[str, Read] = {
    "RESHAPE": _reshape,
    "SQUEEZE": _squeeze,
    "EXPAND_DIMS": _expand_dims,
    "TRANSPOSE": _transpose,
    "CONCATENATION": _concatenation,
    "SPLIT": _split,
    "SPLIT_V": _split,
    "SLICE": _slice,
    "STRIDED_SLICE": _strided_slice,
    "GATHER": _gather,
    "GATHER_ND": _gather_nd,
    "PACK": _pack,
    "UNPACK": _unpack,
    "PAD": _pad,
    "PADV2": _pad,
    "MIRROR_PAD": _mirror_pad,
    "TILE": _tile,
    "BROADCAST_TO": _broadcast_to,
    "FILL": _fill,
    "SHAPE": _shape,
    "RANK": _rank,
    "RANGE": _range,
    "ONE_HOT": _one_hot,
    "REVERSE_V2": _reverse,
    "WHERE": _where,
    "SCATTER_ND": _scatter,
    "DYNAMIC_UPDATE_SLICE": _update_slice,
    "SPACE_TO_BATCH_ND": _spread_batch,
    "BATCH_TO_SPACE_ND": _gather_batch,
}
