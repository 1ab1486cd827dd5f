"""Tensors as a file tells of them, and the arrays that they are.

A tensor is a window on a storage: a place, lengths and strides. All four come from the file, so the last number that
the window shows is computed and compared with what is there before numpy is asked. Windows on one storage stay windows
on one memory, and two equal ones are one array: that is how tied weights are known.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy import ndarray

from engram.errors import FormatError
from engram.records import Limits

__all__ = ["Memory", "Storage", "Tensor", "window"]

_WRITTEN_OUT = 2**26
"""Bytes that windows which show a number more than once may take together, written out."""


@dataclass(frozen=True, slots=True)
class Storage:
    """Numbers of one type, somewhere in the file.

    Attributes:
        key: its name in the file.
        kind: of its numbers.
        count: of its numbers.
    """

    key: str
    kind: np.dtype[Any]
    count: int


@dataclass(frozen=True, slots=True)
class Tensor:
    """A window on a storage.

    Attributes:
        storage: on which.
        kind: of its numbers; that of the storage, unless it has only bytes.
        offset: its first number.
        shape: lengths of its axes.
        strides: from one number to the next along each axis, in numbers.
        parameter: whether it was a parameter of a module when it was saved.
        negative: whether it is the window with the other sign, as torch keeps ``x.conj().imag``.
        conjugate: whether it is the complex conjugate of the window, as torch keeps ``x.conj()``.
        notes: names of what a program had set on it beside its numbers.
    """

    storage: Storage
    kind: np.dtype[Any]
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    parameter: bool = False
    negative: bool = False
    conjugate: bool = False
    notes: tuple[str, ...] = ()


class Memory:
    """The storages of a file, each looked up once."""

    def __init__(self, where: str, find: Callable[[Storage], ndarray], *, little: bool = True) -> None:
        """Begin with nothing looked up.

        Args:
            where: the name of the file.
            find: the bytes of a storage, (size,) uint8.
            little: whether numbers lie with their lowest byte first.
        """
        self._where = where
        self._find = find
        self._little = little
        self._bytes: dict[str, ndarray] = {}
        self._flat: dict[tuple[str, str], ndarray] = {}
        self._arrays: dict[Tensor, ndarray] = {}
        self._written_out = 0

    def array(self, tensor: Tensor, name: str) -> ndarray:
        """The numbers of a tensor; the same array for an equal one.

        Args:
            tensor: of this file.
            name: what to call it in an error.

        Raises:
            FormatError: its storage is not there or damaged, or too much of it is shown more than once.
        """
        key = replace(tensor, parameter=False, notes=())
        if key not in self._arrays:
            try:
                self._arrays[key] = _turned(self._windowed(tensor), tensor)
            except FormatError as wrong:
                raise FormatError(f"{self._where}: tensor {name!r}: {wrong}") from wrong
        return self._arrays[key]

    def _windowed(self, tensor: Tensor) -> ndarray:
        flat = self._numbers(tensor.storage, tensor.kind)
        if not math.prod(tensor.shape):
            return np.empty(tensor.shape, tensor.kind)
        strides = tuple(stride * flat.itemsize for stride in tensor.strides)
        found: ndarray = np.ndarray(
            tensor.shape, tensor.kind, flat.view(np.uint8).data, tensor.offset * flat.itemsize, strides
        )
        if not _overlapping(tensor.shape, tensor.strides):
            return found
        self._written_out += math.prod(tensor.shape) * flat.itemsize
        if self._written_out > _WRITTEN_OUT:
            raise FormatError(
                f"its numbers overlap, and written out such tensors take over the limit of {_WRITTEN_OUT:,} bytes; "
                "save tensor.contiguous()"
            )
        return np.array(found, order="C")

    def _numbers(self, storage: Storage, kind: np.dtype[Any]) -> ndarray:
        known = self._flat.get((storage.key, kind.name))
        if known is not None:
            return known
        if storage.key not in self._bytes:
            self._bytes[storage.key] = self._find(storage)
        content = self._bytes[storage.key]
        if len(content) != storage.count * storage.kind.itemsize or len(content) % kind.itemsize:
            raise FormatError(
                f"its storage {storage.key!r} should have {storage.count:,} numbers of {storage.kind}, and has "
                f"{len(content):,} bytes"
            )
        flat = content.view(kind)
        if not self._little:
            flat = flat.view(f"u{kind.itemsize}").byteswap().view(kind) if kind.kind != "c" else flat.byteswap()
        self._flat[storage.key, kind.name] = flat
        return flat


def _turned(array: ndarray, tensor: Tensor) -> ndarray:
    """The numbers that a tensor means by its window, which torch turns only when they are used."""
    array = np.conjugate(array) if tensor.conjugate else array
    return np.negative(array) if tensor.negative else array


def window(storage: Storage, kind: np.dtype[Any], place: tuple[Any, Any, Any], *, parameter: bool = False) -> Tensor:
    """A tensor, once it is seen to lie in its storage.

    Args:
        storage: on which it is a window.
        kind: of its numbers.
        place: (offset, shape, strides) as a stranger's file gives them.
        parameter: whether it was a parameter of a module.

    Raises:
        FormatError: it shows what is outside, backwards, or is over a limit.
    """
    offset, shape, strides = place
    limits = Limits()
    numbers = (shape, strides)
    if not all(type(axes) is tuple and all(type(axis) is int for axis in axes) for axes in numbers):
        raise FormatError("shape and strides of a tensor are whole numbers")
    if type(offset) is not int or len(shape) != len(strides) or len(shape) > limits.rank:
        raise FormatError(f"a tensor of {len(shape)} lengths and {len(strides)} strides is none")
    if offset < 0 or min((*shape, *strides), default=0) < 0 or max(shape, default=0) > limits.dimension:
        raise FormatError(f"offset {offset}, lengths {_few(shape)} or strides {_few(strides)} are out of bounds")
    last = offset + sum((length - 1) * stride for length, stride in zip(shape, strides, strict=True))
    there = storage.count * storage.kind.itemsize // kind.itemsize
    if math.prod(shape) and last >= there:
        raise FormatError(
            f"a tensor {_few(shape)} of strides {_few(strides)} from number {offset:,} on reaches beyond the {there:,} "
            "numbers of its storage"
        )
    return Tensor(storage, kind, offset, shape, strides, parameter)


def _few(numbers: tuple[int, ...]) -> str:
    return str(list(numbers[:8]))[:100]


def _overlapping(shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    """Whether a window may show one number twice; each axis must step over all that the finer ones reach."""
    reach = 0
    for stride, length in sorted((s, n) for s, n in zip(strides, shape, strict=True) if n > 1):
        if stride <= reach:
            return True
        reach += (length - 1) * stride
    return False
