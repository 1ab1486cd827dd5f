"""Pieces cut out of tensors: the one operation of TensorFlow that says with bits what it means."""

from __future__ import annotations

from dataclasses import dataclass, field

from engram.formats._tensorflow.call import Call, Readers
from engram.formats._tensorflow.values import Axis, Items, Tensor

__all__ = ["READERS"]

_FAR = 2**31 - 1
_MASKS = ("begin", "end", "shrink_axis", "ellipsis", "new_axis")


@dataclass(slots=True)
class _Cut:
    """What a StridedSlice does.

    Attributes:
        starts, ends, steps: by axis, of those that are cut.
        taken: axes of which one place is taken, and which: its name in the new graph.
        added: axes that are new.
    """

    starts: dict[int, int] = field(default_factory=dict)
    ends: dict[int, int] = field(default_factory=dict)
    steps: dict[int, int] = field(default_factory=dict)
    taken: dict[int, str] = field(default_factory=dict)
    added: list[int] = field(default_factory=list)


def _strided_slice(call: Call) -> Items:
    value = call.tensor(0)
    found = _of_parts(call, value)
    if found is not None:
        return (found,)
    cut = _cut(call)
    name = call.nodes.name(value)
    axes = sorted(cut.starts)
    if axes:
        columns = ([part[axis] for axis in axes] for part in (cut.starts, cut.ends))
        numbers = (*columns, axes, [cut.steps[axis] for axis in axes])
        name = call.nodes.emit("Slice", name, *(call.nodes.constant(part, "int64").name for part in numbers)).name
    for axis, index in sorted(cut.taken.items(), reverse=True):
        name = call.nodes.emit("Gather", name, index, axis=axis).name
    if cut.added:
        name = call.nodes.emit("Unsqueeze", name, call.nodes.constant(cut.added, "int64").name).name
    if not axes and not cut.taken and not cut.added:
        return (value,)
    return (call.nodes.known(name),)


def _of_parts(call: Call, value: Tensor) -> Tensor | None:
    """A piece of a vector of lengths."""
    begin, end, step = (call.tensor(place).constant for place in (1, 2, 3))
    masks = [call.node.integer(f"{word}_mask") for word in _MASKS]
    if value.parts is None or value.rank != 1 or masks[3] or masks[4]:
        return None
    if begin is None or end is None or step is None or begin.size != 1 or end.size != 1 or step.size != 1:
        return None
    first, last, pace = (int(part.reshape(-1)[0]) for part in (begin, end, step))
    if masks[2]:
        if not -len(value.parts) <= first < len(value.parts):
            raise call.refused(f"takes length {first} of {len(value.parts)}")
        return call.nodes.lengths([value.parts[first]], value.dtype, scalar=True)
    if pace == 0:
        raise call.refused("takes steps of zero")
    kept = value.parts[slice(None if masks[0] else first, None if masks[1] else last, pace)]
    return call.nodes.lengths(kept, value.dtype) if kept else call.nodes.constant([], value.dtype)


def _cut(call: Call) -> _Cut:
    steps = call.whole(3)
    begins, ends = (call.nodes.parts(call.tensor(place)) for place in (1, 2))
    if begins is None or ends is None or not len(begins) == len(ends) == len(steps):
        raise call.refused("cuts at places that hang on data")
    shrink, ellipsis, new = (call.node.integer(f"{word}_mask") for word in _MASKS[2:])
    rank = len(call.shape())
    used = sum(1 for place in range(len(steps)) if not (new | ellipsis) >> place & 1)
    cut, axis, made = _Cut(), 0, 0
    for place, step in enumerate(steps):
        if ellipsis >> place & 1:
            axis, made = axis + rank - used, made + rank - used
        elif new >> place & 1:
            cut.added.append(made)
            made += 1
        else:
            if axis >= rank or step == 0:
                raise call.refused(f"cuts axis {axis} of {rank} in steps of {step}")
            if shrink >> place & 1:
                cut.taken[axis] = call.nodes.name(call.nodes.lengths([begins[place]], "int64", scalar=True))
            else:
                _range(call, cut, (axis, place), (begins[place], ends[place], step))
                made += 1
            axis += 1
    return cut


def _range(call: Call, cut: _Cut, where: tuple[int, int], ends: tuple[Axis, Axis, int]) -> None:
    """The piece of one axis, unless that is all of it."""
    (axis, place), (first, last, step) = where, ends
    from_start, to_end = (call.node.integer(f"{word}_mask") >> place & 1 for word in _MASKS[:2])
    if from_start and to_end and step == 1:
        return
    if (not from_start and not isinstance(first, int)) or (not to_end and not isinstance(last, int)):
        raise call.refused("cuts at places that hang on data")
    cut.starts[axis] = (0 if step > 0 else _FAR) if from_start else int(first)
    cut.ends[axis] = (_FAR if step > 0 else -_FAR) if to_end else int(last)
    cut.steps[axis] = step


def _slice(call: Call) -> Items:
    value = call.tensor(0)
    begins, sizes = call.whole(1), call.whole(2)
    if value.parts is not None and value.rank == 1 and len(begins) == 1:
        end = None if sizes[0] == -1 else begins[0] + sizes[0]
        return (call.nodes.lengths(value.parts[begins[0] : end], value.dtype),)
    ends = [_FAR if size == -1 else begin + size for begin, size in zip(begins, sizes, strict=True)]
    numbers = (begins, ends, list(range(len(begins))))
    given = [call.nodes.constant(part, "int64").name for part in numbers]
    return (call.nodes.emit("Slice", call.nodes.name(value), *given),)


READERS: Readers = {"Slice": _slice, "StridedSlice": _strided_slice}
