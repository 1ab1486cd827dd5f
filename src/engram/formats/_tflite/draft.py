"""A TFLite graph in the making, in which a value may lie in several layouts.

TFLite's convolutions want channels last, ONNX has them first. So a value is held as tensors by *layout*: that of
``(0, 2, 3, 1)`` says that the tensor's last axis is the value's second. An operator takes a value in whichever layout
is there, and a TRANSPOSE is only written when one is asked for that is not. An ONNX Transpose alone writes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy import ndarray
from numpy.lib.stride_tricks import as_strided

from engram.errors import ConversionError
from engram.formats._tflite.parts import Operator, Quantization, Subgraph, Tensor
from engram.formats._tflite.schema import type_of
from engram.formats._tflite.versions import version_of

__all__ = ["Draft", "Held", "Layout", "natural", "turned"]

Layout = tuple[int, ...]


def natural(rank: int) -> Layout:
    """The layout of a value as it is."""
    return tuple(range(rank))


def turned(shape: Sequence[int], layout: Layout) -> tuple[int, ...]:
    """The shape a value has in a layout."""
    return tuple(shape[axis] for axis in layout)


@dataclass(slots=True)
class Held:
    """A value and the tensors that hold it.

    Attributes:
        shape: of the value, -1 where the batch is.
        dtype: numpy's name.
        tensors: by layout.
        array: the numbers, where they never change.
        name: of the tensor, for a constant.
    """

    shape: tuple[int, ...]
    dtype: str
    tensors: dict[Layout, int] = field(default_factory=dict)
    array: ndarray | None = None
    name: str = ""

    @property
    def rank(self) -> int:
        """How many axes it has."""
        return len(self.shape)


@dataclass(slots=True)
class Scaled:
    """Where the numbers of a constant come from, when they were multiplied on the way: ``array × factor``."""

    array: ndarray
    factor: ndarray


class Draft:
    """A subgraph in the making.

    Attributes:
        tensors, operators: so far.
        sources: for constants taken from somewhere, the array as it was before it was laid out.
        makers: tensor → operator that makes it.
        meanings: numbers, the integers that stand for them, and in which steps.
    """

    def __init__(self, name: str = "main") -> None:
        self.name = name
        self.tensors: list[Tensor] = []
        self.operators: list[Operator] = []
        self.sources: dict[int, ndarray | Scaled] = {}
        self.makers: dict[int, int] = {}
        self.meanings: list[tuple[ndarray, ndarray, Quantization | None]] = []
        self._constants: dict[Any, int] = {}
        self._names: set[str] = set()

    def tensor(self, name: str, dtype: str, shape: Sequence[int], quantization: Quantization | None = None) -> int:
        """A place for numbers that are computed; -1 is the batch."""
        try:
            kind = type_of(dtype)
        except (ValueError, TypeError) as wrong:
            raise ConversionError(f"{name!r} is of type {dtype}, which TFLite does not have") from wrong
        free = tuple(int(axis) for axis in shape)
        fixed = tuple(1 if axis < 0 else axis for axis in free)
        self.tensors.append(Tensor(self._unique(name), kind, fixed, free, None, quantization))
        return len(self.tensors) - 1

    def constant(self, array: ndarray, name: str = "constant", quantization: Quantization | None = None) -> int:
        """Numbers that never change; the same numbers in one layout are held once.

        Args:
            array: a view is remembered as where the numbers come from.
            name: of the tensor.
            quantization: where the numbers stand for others.
        """
        key = self._key(array, quantization)
        found = self._constants.get(key)
        if found is None and quantization is None:
            found = self._meant(array, name)
        if found is not None:
            self._constants[key] = found
            return found
        laid = np.ascontiguousarray(array).reshape(array.shape)
        little = laid.astype(laid.dtype.newbyteorder("<"), copy=False)
        shape = tuple(int(axis) for axis in array.shape)
        number = self.tensor(name, array.dtype.name, shape, quantization)
        data = little.reshape(-1).view(np.uint8).data if little.size else None
        self.tensors[number] = replace(self.tensors[number], data=data)
        self.sources[number] = array
        self._constants[key] = number
        return number

    def integers(self, numbers: Sequence[int], name: str = "constant") -> int:
        """Whole numbers as operators want them: axes, shapes."""
        return self.constant(np.array(numbers, dtype=np.int32), name)

    def emit(
        self,
        kind: str,
        inputs: Sequence[int],
        shape: Sequence[int],
        like: str,
        *,
        name: str = "",
        **options: Any,  # noqa: ANN401 - of an operator
    ) -> int:
        """Add an operator with one output and return its tensor.

        Args:
            kind: of the operator.
            inputs: tensors; -1 for one left out.
            shape: of the output, -1 for the batch.
            like: numpy's name of the output's type.
            name: of the output.
            options: of the operator.
        """
        made = self.tensor(name or kind.lower(), like, shape)
        self.put(kind, inputs, [made], options)
        return made

    def put(self, kind: str, inputs: Sequence[int], outputs: Sequence[int], options: Mapping[str, Any]) -> None:
        """Add an operator whose outputs are there already."""
        types = [self.tensors[number].type for number in [*inputs, *outputs] if number >= 0]
        version = version_of(kind, types, options)
        self.makers.update(dict.fromkeys(outputs, len(self.operators)))
        self.operators.append(Operator(kind, tuple(inputs), tuple(outputs), dict(options), version))

    def maker(self, number: int) -> int | None:
        """The number of the operator that makes a tensor, seen through the RESHAPEs behind it."""
        found = self.makers.get(number)
        while found is not None and self.operators[found].kind == "RESHAPE":
            before = self.operators[found].inputs[0]
            same = self.shape(before)[-1:] == self.shape(number)[-1:] and self.shape(number)
            read = sum(before in operator.inputs for operator in self.operators)
            if not same or read != 1:
                return None
            number, found = before, self.makers.get(before)
        return found

    def change(self, place: int, inputs: Sequence[int], options: Mapping[str, Any]) -> None:
        """Give an operator that is there already other inputs and some other options."""
        operator = self.operators[place]
        self.operators[place] = replace(operator, inputs=tuple(inputs), options={**operator.options, **options})

    def shape(self, number: int) -> tuple[int, ...]:
        """The shape of a tensor, -1 for the batch."""
        return self.tensors[number].free

    def dtype(self, number: int) -> str:
        """Numpy's name of a tensor's type."""
        return self.tensors[number].type.lower()

    def reshape(self, number: int, shape: Sequence[int], name: str = "") -> int:
        """The same numbers in another shape; nothing is added where it is the same."""
        if tuple(shape) == self.shape(number):
            return number
        if sum(axis < 0 for axis in shape) > 1:
            raise ConversionError(f"{self.tensors[number].name!r} would need two free axes, which RESHAPE cannot make")
        made = self.tensor(name or "reshape", self.dtype(number), shape, self.tensors[number].quantization)
        wanted = [int(axis) for axis in shape]
        self.put("RESHAPE", [number, self.integers(wanted)], [made], {"new_shape": wanted})
        return made

    def transpose(self, number: int, order: Sequence[int], name: str = "") -> int:
        """The axes of a tensor in another order, by a RESHAPE where only axes of length one move."""
        shape = self.shape(number)
        if tuple(order) == natural(len(order)):
            return number
        target = [shape[axis] for axis in order]
        moved = [axis for axis in order if shape[axis] != 1]
        if moved == sorted(moved):
            return self.reshape(number, target, name)
        if len(order) > 6:
            raise ConversionError(f"{self.tensors[number].name!r} has {len(order)} axes; TFLite can turn at most 6")
        made = self.tensor(name or "transpose", self.dtype(number), target, _turned(self.tensors[number], order))
        self.put("TRANSPOSE", [number, self.integers(list(order))], [made], {})
        return made

    def get(self, held: Held, layout: Layout | None = None) -> int:
        """The tensor that holds a value in a layout; it is made where there is none yet."""
        wanted = natural(held.rank) if layout is None else layout
        found = held.tensors.get(wanted)
        if found is not None:
            return found
        if held.array is not None:
            made = self.constant(held.array.transpose(wanted), held.name or "constant")
        else:
            have = next(iter(held.tensors))
            order = [have.index(axis) for axis in wanted]
            made = self.transpose(held.tensors[have], order)
        held.tensors[wanted] = made
        return made

    def batch(self, number: int) -> int:
        """The length of a tensor's first axis as a tensor of one number."""
        shape = self.emit("SHAPE", [number], [len(self.shape(number))], "int32", out_type=2)
        bounds = [self.integers([0]), self.integers([1]), self.integers([1])]
        return self.emit("STRIDED_SLICE", [shape, *bounds], [1], "int32")

    def mean(self, number: int, quantization: Quantization) -> None:
        """Say what the integers of a tensor mean."""
        self.tensors[number] = replace(self.tensors[number], quantization=quantization)

    def replace(self, operators: Sequence[Operator]) -> None:
        """Take other operators in the place of all there are."""
        self.operators = list(operators)
        self.makers = {number: place for place, one in enumerate(operators) for number in one.outputs}

    def rename(self, number: int, name: str) -> None:
        """Call a tensor by a name, and whatever is called so already by another."""
        for other, tensor in enumerate(self.tensors):
            if tensor.name == name and other != number:
                self.tensors[other] = replace(tensor, name=self._unique(name))
        self.tensors[number] = replace(self.tensors[number], name=name)

    def finish(self, inputs: Sequence[int], outputs: Sequence[int]) -> tuple[Subgraph, list[int]]:
        """The subgraph without what nothing hangs on, and for each of its tensors the number it had here."""
        needed, kept = set(outputs), []
        for operator in reversed(self.operators):
            if needed & set(operator.outputs):
                needed.update(number for number in operator.inputs if number >= 0)
                needed.update(operator.outputs)
                kept.append(operator)
        numbers = sorted({*needed, *inputs})
        new = {-1: -1} | {number: place for place, number in enumerate(numbers)}
        operators = tuple(
            replace(
                operator,
                inputs=tuple(new[number] for number in operator.inputs),
                outputs=tuple(new[number] for number in operator.outputs),
            )
            for operator in reversed(kept)
        )
        first, last = (tuple(new[number] for number in end) for end in (inputs, outputs))
        tensors = tuple(self.tensors[number] for number in numbers)
        return Subgraph(self.name, tensors, first, last, operators), numbers

    def _meant(self, array: ndarray, name: str) -> int | None:
        """The tensor of numbers that stand as integers in the network; None where they do not."""
        start = array.__array_interface__["data"][0]
        for meant, integers, told in self.meanings:
            inside = (start - meant.__array_interface__["data"][0]) // meant.itemsize
            if array.dtype != meant.dtype or not 0 <= inside < meant.size or array.size != meant.size:
                continue
            steps = [stride // meant.itemsize for stride in array.strides]
            axis = _axis_of(array.shape, steps, meant, told)
            if inside or axis is None or any(step < 0 for step in steps):
                continue
            flat = integers.reshape(-1)
            wide = [step * flat.itemsize for step in steps]
            view = as_strided(flat, array.shape, wide)
            held = self.constant(view, name, None if told is None else replace(told, axis=axis))
            made = self.tensor(f"{name}/meant", array.dtype.name, array.shape)
            self.put("DEQUANTIZE", [held], [made], {})
            return made
        return None

    def _key(self, array: ndarray, quantization: Quantization | None) -> tuple[Any, ...]:
        about: tuple[Any, ...] = (array.dtype.name, array.shape)
        if quantization is not None:
            about += (quantization.scale.tobytes(), quantization.zero_point.tobytes(), quantization.axis)
        if array.size <= 64:
            return (*about, array.tobytes())
        return (*about, array.__array_interface__["data"][0], array.strides)

    def _unique(self, name: str) -> str:
        made, count = name, 1
        while made in self._names:
            count += 1
            made = f"{name}_{count}"
        self._names.add(made)
        return made


def _axis_of(shape: Sequence[int], steps: Sequence[int], meant: ndarray, told: Quantization | None) -> int | None:
    """Where the axis along which integers have steps of their own is in a view; None where it is in none."""
    if told is None or len(told.scale) == 1:
        return 0
    step, size = meant.strides[told.axis] // meant.itemsize, meant.shape[told.axis]
    found = [axis for axis, (one, count) in enumerate(zip(steps, shape, strict=True)) if (one, count) == (step, size)]
    return found[0] if found else None


def _turned(tensor: Tensor, order: Sequence[int]) -> Quantization | None:
    found = tensor.quantization
    if found is None or len(found.scale) == 1:
        return found
    return replace(found, axis=list(order).index(found.axis))


def length(shape: Sequence[int]) -> int:
    """How many numbers one row of a shape has; the batch counts as one."""
    return math.prod(1 if axis < 0 else axis for axis in shape)
