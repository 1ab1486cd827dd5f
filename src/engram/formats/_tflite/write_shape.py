"""Operators that move numbers and compute none.

They are written in whatever layout their input has, axes renamed; a Reshape is, too, wherever the axes that it joins or
divides lie beside each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from engram.errors import ConversionError
from engram.formats._tflite.draft import Held, Layout, turned
from engram.formats._tflite.write_convolution import pad
from engram.formats._tflite.writing import LAST, Write, Writing
from engram.graphs.walk import Step

__all__ = ["TABLE"]


def _same(node: Step, writing: Writing) -> None:
    writing.alias(node.outputs[0], node.inputs[0])


def _transpose(node: Step, writing: Writing) -> None:
    """No operator: the same tensors hold the turned value in another layout."""
    held = writing.held(node.inputs[0])
    order = list(node.attributes.get("perm", range(held.rank - 1, -1, -1)))
    tensors = {tuple(order.index(axis) for axis in layout): number for layout, number in held.tensors.items()}
    shape = tuple(held.shape[axis] for axis in order)
    array = None if held.array is None else held.array.transpose(order)
    writing.values[node.outputs[0]] = Held(shape, held.dtype, tensors, array, held.name)


def _reshape(node: Step, writing: Writing) -> None:
    name, target = node.inputs[0], writing.shape(node.outputs[0])
    layout: Layout | None = writing.any_layout(name)
    assert layout is not None
    kept = _through(writing.facts.sizes(name), writing.facts.sizes(node.outputs[0]), layout)
    if kept is None or sum(axis < 0 for axis in target) > 1:
        layout = kept = None
    x = writing.get(name, layout)
    if sum(axis < 0 for axis in target) > 1:
        _reshape_freely(node, writing, x)
        return
    made = writing.draft.reshape(x, target if kept is None else turned(target, kept), node.outputs[0])
    writing.give(node.outputs[0], made, kept)


def _reshape_freely(node: Step, writing: Writing, x: int) -> None:
    """A shape with the batch in two places is computed."""
    lengths = writing.facts.counted.get(node.inputs[1]) if len(node.inputs) > 1 else None
    if lengths is None or any(-1 in one for one in lengths):
        raise ConversionError(f"{node.outputs[0]!r} has two free axes that TFLite cannot tell apart")
    made = writing.draft.tensor(node.outputs[0], writing.dtype(node.inputs[0]), writing.shape(node.outputs[0]))
    writing.draft.put("RESHAPE", [x, writing.sized(lengths)], [made], {})
    writing.give(node.outputs[0], made)


def _through(sizes: Sequence[int], target: Sequence[int], layout: Layout) -> Layout | None:
    """The layout of a reshaped value where its tensor can be reshaped as it lies; None where it must be turned before.

    Axes that are joined or divided must lie beside each other, in order.
    """
    groups = _groups(sizes, target)
    if groups is None:
        return None
    long = [axis for axis in layout if sizes[axis] != 1]
    placed: list[tuple[int, list[int]]] = []
    for before, after in groups:
        own = [axis for axis in before if sizes[axis] != 1]
        if not own and placed:
            placed[-1][1].extend(after)
            continue
        start = long.index(own[0]) if own else -1
        if own and long[start : start + len(own)] != own:
            return None
        placed.append((start, after))
    return tuple(axis for _, axes in sorted(placed) for axis in axes)


def _groups(sizes: Sequence[int], target: Sequence[int]) -> list[tuple[list[int], list[int]]] | None:
    """The axes before and after that a Reshape makes of each other, in the smallest groups of equal length."""
    if 0 in sizes or int(np.prod(sizes, dtype=object)) != int(np.prod(target, dtype=object)):
        return None
    found: list[tuple[list[int], list[int]]] = []
    i = j = 0
    while i < len(sizes) or j < len(target):
        before, after = [], []
        left = right = 1
        if i < len(sizes):
            left, i = left * sizes[i], i + 1
            before.append(i - 1)
        else:
            right, j = right * target[j], j + 1
            after.append(j - 1)
        while left != right:
            if left < right:
                left, i = left * sizes[i], i + 1
                before.append(i - 1)
            else:
                right, j = right * target[j], j + 1
                after.append(j - 1)
        found.append((before, after))
    return found


def _concat(node: Step, writing: Writing) -> None:
    rank = len(writing.shape(node.outputs[0]))
    axis = node.attributes["axis"] % rank
    names = [name for name in node.inputs if 0 not in writing.shape(name)]
    if len(names) == 1:
        writing.alias(node.outputs[0], names[0])
        return
    layout = writing.layout_for(names, rank)
    tensors = [writing.get(name, layout) for name in names]
    writing.emit("CONCATENATION", tensors, node, layout, axis=layout.index(axis), fused_activation_function=0)


def _split(node: Step, writing: Writing) -> None:
    rank = len(writing.shape(node.inputs[0]))
    axis = node.attributes.get("axis", 0) % rank
    layout = writing.any_layout(node.inputs[0])
    sizes = [writing.shape(name)[axis] for name in node.outputs]
    if min(sizes) < 0:
        raise ConversionError(f"Split {node.name!r} divides the batch, whose size is free")
    draft, x = writing.draft, writing.get(node.inputs[0], layout)
    where = draft.integers([layout.index(axis)])
    made = [draft.tensor(name, writing.dtype(name), turned(writing.shape(name), layout)) for name in node.outputs]
    inputs = [x, draft.integers(sizes), where]
    draft.put("SPLIT_V", inputs, made, {"num_splits": len(made)})
    for name, tensor in zip(node.outputs, made, strict=True):
        writing.give(name, tensor, layout)


def _slice(node: Step, writing: Writing) -> None:
    shape = writing.shape(node.inputs[0])
    starts, ends = (writing.fixed(node.inputs[place], f"the bounds of Slice {node.name!r}") for place in (1, 2))
    axes = writing.option(node, 3, "the axes")
    steps = writing.option(node, 4, "the steps")
    count = len(starts)
    moved = [int(axis) % len(shape) for axis in (range(count) if axes is None else axes)]
    strides = [1] * count if steps is None else [int(step) for step in steps]
    cuts = {axis: (int(starts[k]), int(ends[k]), strides[k]) for k, axis in enumerate(moved)}
    layout = writing.any_layout(node.inputs[0])
    x = writing.get(node.inputs[0], layout)
    bounds = [_bounds(shape[axis], cuts.get(axis)) for axis in layout]
    made = _strided(writing, x, bounds, turned(writing.shape(node.outputs[0]), layout), node.outputs[0])
    writing.give(node.outputs[0], made, layout)


Bounds = tuple[int | None, int | None, int]


def _bounds(size: int, cut: tuple[int, int, int] | None) -> Bounds:
    """Where a cut through an axis begins and ends; None for as far as it goes."""
    if cut is None:
        return None, None, 1
    start, end, step = cut
    if size < 0:
        whole = start in {0, -1} or abs(start) > 2**30
        return (None if whole and (step < 0 or start == 0) else start), (None if abs(end) > 2**30 else end), step
    first, last, step = slice(start, end if abs(end) < 2**62 else None, step).indices(size)
    return first, (None if last < 0 else last), step


def _strided(
    writing: Writing, x: int, bounds: Sequence[Bounds], shape: Sequence[int], name: str, shrink: int = 0
) -> int:
    """A STRIDED_SLICE; an axis of the batch goes as far as it goes."""
    draft = writing.draft
    if all(bound == (None, None, 1) for bound in bounds) or (
        not shrink and tuple(shape) == draft.shape(x) and _full(bounds)
    ):
        return x
    begin = draft.integers([first or 0 for first, _, _ in bounds])
    end = draft.integers([last or 0 for _, last, _ in bounds])
    steps = draft.integers([step for _, _, step in bounds])
    first_mask = sum(1 << axis for axis, (first, _, _) in enumerate(bounds) if first is None)
    last_mask = sum(1 << axis for axis, (_, last, _) in enumerate(bounds) if last is None)
    options = {"begin_mask": first_mask, "end_mask": last_mask, "shrink_axis_mask": shrink}
    return draft.emit("STRIDED_SLICE", [x, begin, end, steps], shape, draft.dtype(x), name=name, **options)


def _full(bounds: Sequence[Bounds]) -> bool:
    return all(step == 1 and not first for first, _, step in bounds)


def _gather(node: Step, writing: Writing) -> None:
    data, places = writing.held(node.inputs[0]), writing.held(node.inputs[1])
    axis = node.attributes.get("axis", 0) % data.rank
    if places.array is not None and places.rank == 0 and data.array is None:
        _one_place(node, writing, axis, int(places.array))
        return
    if places.array is not None and data.shape[axis] > 0:
        array = places.array
        indices = writing.draft.constant(np.where(array < 0, array + data.shape[axis], array).astype(np.int32))
    else:
        indices = writing.get(node.inputs[1])
    tensors = [writing.get(node.inputs[0]), indices]
    writing.emit("GATHER", tensors, node, axis=axis, batch_dims=0)


def _one_place(node: Step, writing: Writing, axis: int, place: int) -> None:
    """One entry of an axis, which is then gone."""
    layout = writing.any_layout(node.inputs[0])
    x, inside = writing.get(node.inputs[0], layout), layout.index(axis)
    bounds: list[Bounds] = [(None, None, 1)] * len(layout)
    bounds[inside] = (place, None if place == -1 else place + 1, 1)
    left = tuple(one - (one > axis) for one in layout if one != axis)
    shape = turned(writing.shape(node.outputs[0]), left)
    made = _strided(writing, x, bounds, shape, node.outputs[0], 1 << inside)
    writing.give(node.outputs[0], made, left)


def _gather_nd(node: Step, writing: Writing) -> None:
    if node.attributes.get("batch_dims", 0):
        raise ConversionError(f"GatherND {node.name!r} has batch_dims, which TFLite has not")
    writing.emit("GATHER_ND", [writing.get(name) for name in node.inputs], node)


def _expand(node: Step, writing: Writing) -> None:
    name, target = node.outputs[0], writing.shape(node.outputs[0])
    if writing.shape(node.inputs[0]) == target:
        writing.alias(name, node.inputs[0])
        return
    x = writing.get(node.inputs[0])
    if -1 not in target:
        lengths = writing.draft.integers(target)
    elif node.inputs[1] in writing.facts.counted:
        lengths = _expanded(node, writing)
    else:
        raise ConversionError(f"Expand {node.name!r} has a shape that is computed from the input")
    writing.emit("BROADCAST_TO", [x, lengths], node)


def _expanded(node: Step, writing: Writing) -> int:
    """The whole shape of the answer: where the node's says one, the input's own length holds."""
    two, three = writing.facts.counted[node.inputs[1]]
    shape, target = writing.shape(node.inputs[0]), writing.shape(node.outputs[0])
    own = (1,) * (len(target) - len(shape)) + shape
    lead = len(target) - len(two)
    rows = [np.array(own) for _ in (2, 3)]
    for row, asked in zip(rows, (two, three), strict=True):
        for place, size in enumerate(asked):
            row[lead + place] = max(int(size), int(row[lead + place]))
    if any((row < 0).any() for row in rows):
        raise ConversionError(f"Expand {node.name!r} keeps a free axis and makes another; TFLite cannot say this")
    return writing.sized((rows[0], rows[1]))


def _tile(node: Step, writing: Writing) -> None:
    layout = writing.any_layout(node.inputs[0])
    times = writing.fixed(node.inputs[1], f"the repeats of Tile {node.name!r}")
    tensors = [writing.get(node.inputs[0], layout), writing.draft.integers([int(times[axis]) for axis in layout])]
    writing.emit("TILE", tensors, node, layout)


def _pad(node: Step, writing: Writing) -> None:
    rank = len(writing.shape(node.inputs[0]))
    pads = writing.fixed(node.inputs[1], f"the pads of Pad {node.name!r}").tolist()
    value, axes = writing.option(node, 2, "the value"), writing.option(node, 3, "the axes")
    chosen = [int(axis) % rank for axis in (range(rank) if axes is None else axes)]
    before, after = [0] * rank, [0] * rank
    for place, axis in enumerate(chosen):
        before[axis], after[axis] = pads[place], pads[place + len(chosen)]
    mode = node.attributes.get("mode", "constant")
    layout = writing.any_layout(node.inputs[0])
    x = writing.get(node.inputs[0], layout)
    low, high = ([one[axis] for axis in layout] for one in (before, after))
    x, low, high = _cropped(writing, x, low, high)
    if mode == "constant":
        filled = 0.0 if value is None else float(value.reshape(-1)[0])
        writing.give(node.outputs[0], pad(writing, x, low, high, filled), layout)
    elif mode == "reflect":
        around = writing.draft.constant(np.array(list(zip(low, high, strict=True)), dtype=np.int32))
        writing.emit("MIRROR_PAD", [x, around], node, layout, mode=0)
    else:
        raise ConversionError(f"Pad {node.name!r} repeats the {mode}, which TFLite has not")


def _cropped(writing: Writing, x: int, low: list[int], high: list[int]) -> tuple[int, list[int], list[int]]:
    """A negative pad is a cut, done before the rest."""
    if min([*low, *high], default=0) >= 0:
        return x, low, high
    shape = writing.draft.shape(x)
    bounds = [_cut(size, min(b, 0), min(a, 0)) for size, b, a in zip(shape, low, high, strict=True)]
    cut = [size if size < 0 else size + min(b, 0) + min(a, 0) for size, b, a in zip(shape, low, high, strict=True)]
    made = _strided(writing, x, bounds, cut, "crop")
    return made, [max(one, 0) for one in low], [max(one, 0) for one in high]


def _cut(size: int, before: int, after: int) -> Bounds:
    if not before and not after:
        return None, None, 1
    return -before, (None if not after else size + after), 1


def _blocks(kind: str, inverse: bool) -> Write:
    """DepthToSpace and SpaceToDepth; only the order of TFLite's blocks (depth, column, row) is there."""

    def write(node: Step, writing: Writing) -> None:
        if not inverse and node.attributes.get("mode", "DCR") != "DCR":
            _shuffled(node, writing)
            return
        layout = LAST[4]
        writing.emit(kind, [writing.get(node.inputs[0], layout)], node, layout, block_size=node.attributes["blocksize"])

    return write


def _shuffled(node: Step, writing: Writing) -> None:
    """DepthToSpace with blocks in the order column, row, depth: the channels are put into TFLite's order before."""
    size = node.attributes["blocksize"]
    shape = writing.shape(node.inputs[0])
    depth = shape[1] // size**2
    order = np.arange(shape[1]).reshape(depth, size * size).T.reshape(-1).astype(np.int32)
    x, draft = writing.get(node.inputs[0], LAST[4]), writing.draft
    turned_x = draft.emit("GATHER", [x, draft.constant(order)], draft.shape(x), "float32", axis=3, batch_dims=0)
    writing.emit("DEPTH_TO_SPACE", [turned_x], node, LAST[4], block_size=size)


def _one_hot(node: Step, writing: Writing) -> None:
    depth = writing.fixed(node.inputs[1], f"the depth of OneHot {node.name!r}").reshape(-1)
    off, on = writing.fixed(node.inputs[2], f"the values of OneHot {node.name!r}")
    like, draft = writing.dtype(node.outputs[0]), writing.draft
    rank = len(writing.shape(node.outputs[0]))
    axis = node.attributes.get("axis", -1) % rank
    tensors = [writing.get(node.inputs[0]), draft.constant(depth.astype(np.int32).reshape(()))]
    tensors += [draft.constant(np.array(value, dtype=like)) for value in (on, off)]
    writing.emit("ONE_HOT", tensors, node, axis=-1 if axis == rank - 1 else axis)


def _trilu(node: Step, writing: Writing) -> None:
    shape = writing.shape(node.outputs[0])
    shift = writing.option(node, 1, "the diagonal")
    offset = 0 if shift is None else int(shift)
    full = np.ones(shape[-2:], dtype=bool)
    kept = np.triu(full, offset) if node.attributes.get("upper", 1) else np.tril(full, offset)
    nothing = writing.scalar(0, writing.dtype(node.outputs[0]))
    writing.emit("SELECT_V2", [writing.draft.constant(kept), writing.get(node.inputs[0]), nothing], node)


TABLE: Mapping[str, Write] = {
    "Identity": _same,
    "Dropout": _same,
    "Transpose": _transpose,
    "Reshape": _reshape,
    "Flatten": _reshape,
    "Squeeze": _reshape,
    "Unsqueeze": _reshape,
    "Concat": _concat,
    "Split": _split,
    "Slice": _slice,
    "Gather": _gather,
    "GatherND": _gather_nd,
    "Expand": _expand,
    "Tile": _tile,
    "Pad": _pad,
    "DepthToSpace": _blocks("DEPTH_TO_SPACE", inverse=False),
    "SpaceToDepth": _blocks("SPACE_TO_DEPTH", inverse=True),
    "OneHot": _one_hot,
    "Trilu": _trilu,
}
