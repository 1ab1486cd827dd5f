"""Arrays checked against a signature, and divided into pieces that a runtime can take at once.

A piece is a list of row numbers and not a slice, because images of several sizes are run one size at a time and
because a network of fixed batch is filled up with repeated rows; the answers are put back in order here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy import ndarray

from engram.errors import ShapeError
from engram.plugins import nearest
from engram.records import TensorSpec

__all__ = ["check", "empty", "gather", "pieces", "take"]


def check(inputs: Mapping[str, ndarray], specs: Sequence[TensorSpec]) -> dict[str, ndarray]:
    """The inputs in the types of the specs, each with the same number of rows.

    Raises:
        ShapeError: a column is missing or unknown, or has the wrong type or shape.
    """
    known = [spec.name for spec in specs]
    for name in inputs:
        if name not in known:
            raise ShapeError(f"the model has no input {name!r}; {nearest(name, known)}")
    checked: dict[str, ndarray] = {}
    axes: dict[str, tuple[int, str]] = {}
    for spec in specs:
        if spec.name not in inputs:
            raise ShapeError(f"input {spec.name!r} ({spec.dtype} {_axes(spec)}) is missing; add it")
        checked[spec.name] = _typed(np.asarray(inputs[spec.name]), spec)
        _fits(checked[spec.name], spec, axes)
    return checked


def pieces(inputs: Mapping[str, ndarray], size: int) -> Iterator[ndarray]:
    """Row numbers of each piece, int64, at most ``size`` of them; images of one size only in one piece."""
    ragged = [array for array in inputs.values() if _is_ragged(array)]
    many = [array for array in inputs.values() if array.ndim]
    rows = len(many[0]) if many else min(len(inputs), 1)  # inputs without axes are asked once
    keys = [tuple(np.shape(array[row]) for array in ragged) for row in range(rows)] if ragged else []
    groups: dict[tuple[tuple[int, ...], ...], list[int]] = {}
    for row, key in enumerate(keys):
        groups.setdefault(key, []).append(row)
    for group in groups.values() if ragged else [range(rows)]:
        numbers = np.asarray(group, dtype=np.int64)
        for start in range(0, len(numbers), size):
            yield numbers[start : start + size]


def take(inputs: Mapping[str, ndarray], rows: ndarray) -> dict[str, ndarray]:
    """These rows of every input; images of one size become one array."""
    run = len(rows) > 0 and bool((np.diff(rows) == 1).all())
    place = slice(int(rows[0]), int(rows[0]) + len(rows)) if run else rows
    chosen = {name: array[place] if array.ndim else array for name, array in inputs.items()}
    return {name: np.stack(list(array)) if _is_ragged(array) else array for name, array in chosen.items()}


def gather(parts: Sequence[tuple[ndarray, Mapping[str, ndarray]]]) -> dict[str, ndarray]:
    """The answers of all pieces in the order of the rows.

    Args:
        parts: row numbers and outputs of each piece; at least one.
    """
    if len(parts) == 1:
        return dict(parts[0][1])
    order = np.concatenate([rows for rows, _ in parts])
    back = np.argsort(order, kind="stable")
    sorted_already = bool((back[1:] > back[:-1]).all())
    joined = {name: np.concatenate([np.atleast_1d(outputs[name]) for _, outputs in parts]) for name in parts[0][1]}
    return joined if sorted_already else {name: array[back] for name, array in joined.items()}


def empty(specs: Sequence[TensorSpec]) -> dict[str, ndarray]:
    """The answer to no rows: arrays of the right type and shape with nothing in them."""
    return {
        spec.name: np.empty(
            tuple(0 if place == 0 or isinstance(axis, str) else axis for place, axis in enumerate(spec.shape)),
            dtype=object if spec.dtype == "string" else spec.dtype,
        )
        for spec in specs
    }


def _typed(array: ndarray, spec: TensorSpec) -> ndarray:
    if spec.dtype == "string":
        if array.dtype.kind not in "OU":
            raise ShapeError(f"input {spec.name!r} must hold text, but holds {array.dtype}; give strings")
        return array.astype(object)
    if array.dtype == object and spec.kind == "image":
        return _images(array, spec)
    wanted = np.dtype(spec.dtype)
    if array.dtype == object or not np.can_cast(array.dtype, wanted, "same_kind"):
        raise ShapeError(f"input {spec.name!r} must be {spec.dtype}, but is {array.dtype}; convert it first")
    return np.ascontiguousarray(array, dtype=wanted).reshape(array.shape)


def _images(array: ndarray, spec: TensorSpec) -> ndarray:
    for row, picture in enumerate(array, start=1):
        if not isinstance(picture, ndarray) or picture.dtype != np.uint8 or picture.ndim != 3:
            raise ShapeError(f"row {row}, input {spec.name!r} must be a uint8 array (height, width, channels)")
        channels = spec.shape[-1]
        if isinstance(channels, int) and picture.shape[-1] != channels:
            given = picture.shape[-1]
            raise ShapeError(f"row {row}, input {spec.name!r} must have {channels} channels, but has {given}")
    return array


def _fits(array: ndarray, spec: TensorSpec, axes: dict[str, tuple[int, str]]) -> None:
    if _is_ragged(array):
        given: tuple[int | str, ...] = (len(array), *spec.shape[1:])
    else:
        given = array.shape
    wrong = len(given) != len(spec.shape)
    for place, (length, axis) in enumerate(zip(given, spec.shape, strict=False)):
        if isinstance(axis, int):
            wrong = wrong or (length != axis and place > 0)
        elif isinstance(length, int):
            first, where = axes.setdefault(axis, (length, spec.name))
            if first != length and not wrong:
                raise ShapeError(f"input {spec.name!r} has {length} of {axis}, but {where!r} has {first}")
    if wrong:
        raise ShapeError(f"input {spec.name!r} must have shape {_axes(spec)}, but has {list(array.shape)}")


def _is_ragged(array: ndarray) -> bool:
    return array.dtype == object and array.size > 0 and array.ndim > 0 and isinstance(array[0], ndarray)


def _axes(spec: TensorSpec) -> str:
    return f"[{', '.join(str(axis) for axis in spec.shape)}]"
