"""Records as the bytes of a TFLite file.

Buffers are written first, which puts them at the end of the file, aligned to 16 bytes as the schema asks; equal bytes
are written once. Same records, same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import flatbuffers
import numpy as np

from engram.errors import ConversionError
from engram.formats._tflite.parse import IDENTIFIER
from engram.formats._tflite.parts import Entry, File, Operator, Subgraph, Tensor
from engram.formats._tflite.schema import OPERATORS, OPTIONS, TYPES, UNION, options_of

__all__ = ["serialize"]

_VERSION = 3
_LARGEST = 2**31 - 2**24
_ALIGNED = 16
_SMALL = 65_536
"""Bytes up to which buffers are compared by content; a larger one is shared where it is the very same memory."""
_OLD_OPERATORS = 127
_PREPEND: Mapping[str, str] = {"b": "Int8", "B": "Uint8", "?": "Bool", "i": "Int32", "I": "Uint32", "f": "Float32"}


def serialize(file: File) -> bytes:
    """The bytes of a file; ``parse(serialize(file)) == file``.

    Raises:
        ConversionError: it would be larger than the 2 GiB that a flatbuffer can hold.
    """
    return _Writer(file).finish()


class _Writer:
    """One flatbuffer in the making, from its end to its beginning."""

    def __init__(self, file: File) -> None:
        self._file = file
        self._numbers: dict[bytes | tuple[int, int], int] = {}
        self._datas: list[memoryview] = []
        for data in reversed(list(file.metadata.values())):
            self._number(data)
        for graph in file.subgraphs:
            for tensor in graph.tensors:
                if tensor.data is not None:
                    self._number(tensor.data)
        total = sum(len(data) for data in self._datas)
        if total > _LARGEST:
            raise ConversionError(f"the weights take {total:,} bytes, but a TFLite file holds at most {_LARGEST:,}")
        self._builder: Any = flatbuffers.Builder(total + 65_536)
        self._codes: list[tuple[str, int, str]] = []

    def finish(self) -> bytes:
        builder = self._builder
        buffers = self._buffers()
        metadata = self._vector([self._metadata(name, data) for name, data in self._file.metadata.items()])
        entries = self._vector([self._entry(entry) for entry in self._file.entries])
        subgraphs = self._vector([self._subgraph(graph) for graph in self._file.subgraphs])
        codes = self._vector([self._code(*code) for code in self._codes])
        description = builder.CreateString(self._file.description)
        builder.StartObject(8)
        builder.PrependUint32Slot(0, _VERSION, 0)
        for slot, offset in ((1, codes), (2, subgraphs), (3, description), (4, buffers), (6, metadata), (7, entries)):
            builder.PrependUOffsetTRelativeSlot(slot, offset, 0)
        builder.Finish(builder.EndObject(), file_identifier=IDENTIFIER)
        return bytes(builder.Output())

    def _number(self, data: memoryview) -> int:
        """The number of the buffer that holds these bytes."""
        place = np.frombuffer(data, np.uint8).__array_interface__["data"][0]
        key = bytes(data) if len(data) <= _SMALL else (place, len(data))
        found = self._numbers.get(key)
        if found is not None:
            return found
        self._datas.append(data)
        self._numbers[key] = len(self._datas)
        return len(self._datas)

    def _buffers(self) -> int:
        builder, places = self._builder, [0]
        for data in self._datas:
            builder.StartVector(1, len(data), _ALIGNED)
            builder.head = builder.head - len(data)
            builder.Bytes[builder.head : builder.head + len(data)] = data
            places.append(builder.EndVector())
        tables = []
        for place in places:
            builder.StartObject(1)
            builder.PrependUOffsetTRelativeSlot(0, place, 0)
            tables.append(builder.EndObject())
        return self._vector(tables)

    def _metadata(self, name: str, data: memoryview) -> int:
        text = self._builder.CreateString(name)
        self._builder.StartObject(2)
        self._builder.PrependUOffsetTRelativeSlot(0, text, 0)
        self._builder.PrependUint32Slot(1, self._number(data), 0)
        return int(self._builder.EndObject())

    def _entry(self, entry: Entry) -> int:
        builder = self._builder
        inputs = self._vector([self._name(*item) for item in entry.inputs.items()])
        outputs = self._vector([self._name(*item) for item in entry.outputs.items()])
        key = builder.CreateString(entry.key)
        builder.StartObject(5)
        for slot, offset in enumerate((inputs, outputs, key)):
            builder.PrependUOffsetTRelativeSlot(slot, offset, 0)
        builder.PrependUint32Slot(4, entry.subgraph, 0)
        return int(builder.EndObject())

    def _name(self, name: str, tensor: int) -> int:
        text = self._builder.CreateString(name)
        self._builder.StartObject(2)
        self._builder.PrependUOffsetTRelativeSlot(0, text, 0)
        self._builder.PrependUint32Slot(1, tensor, 0)
        return int(self._builder.EndObject())

    def _subgraph(self, graph: Subgraph) -> int:
        builder = self._builder
        tensors = self._vector([self._tensor(tensor) for tensor in graph.tensors])
        operators = self._vector([self._operator(operator) for operator in graph.operators])
        inputs, outputs = (self._integers(numbers) for numbers in (graph.inputs, graph.outputs))
        name = builder.CreateString(graph.name)
        builder.StartObject(5)
        for slot, offset in enumerate((tensors, inputs, outputs, operators, name)):
            builder.PrependUOffsetTRelativeSlot(slot, offset, 0)
        return int(builder.EndObject())

    def _tensor(self, tensor: Tensor) -> int:
        builder = self._builder
        name = builder.CreateString(tensor.name)
        shape = self._integers(tensor.shape)
        free = self._integers(tensor.free) if tensor.free != tensor.shape else 0
        quantization = self._quantization(tensor)
        builder.StartObject(9)
        for slot, offset in ((0, shape), (3, name), (4, quantization), (7, free)):
            builder.PrependUOffsetTRelativeSlot(slot, offset, 0)
        builder.PrependUint32Slot(2, 0 if tensor.data is None else self._number(tensor.data), 0)
        builder.PrependInt8Slot(1, TYPES.index(tensor.type), 0)
        builder.PrependBoolSlot(5, tensor.is_variable, 0)
        builder.PrependBoolSlot(8, True, 0)
        return int(builder.EndObject())

    def _quantization(self, tensor: Tensor) -> int:
        found, builder = tensor.quantization, self._builder
        if found is None:
            return 0
        scale = builder.CreateNumpyVector(np.ascontiguousarray(found.scale, np.float32))
        zero = builder.CreateNumpyVector(np.ascontiguousarray(found.zero_point, np.int64))
        builder.StartObject(7)
        builder.PrependUOffsetTRelativeSlot(2, scale, 0)
        builder.PrependUOffsetTRelativeSlot(3, zero, 0)
        builder.PrependInt32Slot(6, found.axis, 0)
        return int(builder.EndObject())

    def _operator(self, operator: Operator) -> int:
        builder = self._builder
        code = (operator.kind, operator.version, operator.custom)
        if code not in self._codes:
            self._codes.append(code)
        inputs, outputs = self._integers(operator.inputs), self._integers(operator.outputs)
        union = options_of(operator.kind)
        options = self._options(operator, union) if union != "NONE" else 0
        builder.StartObject(5)
        builder.PrependUint32Slot(0, self._codes.index(code), 0)
        builder.PrependUOffsetTRelativeSlot(1, inputs, 0)
        builder.PrependUOffsetTRelativeSlot(2, outputs, 0)
        builder.PrependUint8Slot(3, UNION.index(union), 0)
        builder.PrependUOffsetTRelativeSlot(4, options, 0)
        return int(builder.EndObject())

    def _options(self, operator: Operator, union: str) -> int:
        builder, fields = self._builder, OPTIONS[union]
        lists = {
            name: self._integers(operator.options[name])
            for name, field in fields.items()
            if field.kind == "*i" and name in operator.options
        }
        builder.StartObject(max((field.slot for field in fields.values()), default=-1) + 1)
        for name, field in fields.items():
            if name in lists:
                builder.PrependUOffsetTRelativeSlot(field.slot, lists[name], 0)
            elif name in operator.options:
                prepend: Callable[[int, Any, Any], None] = getattr(builder, f"Prepend{_PREPEND[field.kind]}Slot")
                prepend(field.slot, operator.options[name], field.default)
        return int(builder.EndObject())

    def _code(self, kind: str, version: int, custom: str) -> int:
        builder, code = self._builder, OPERATORS.index(kind)
        name = builder.CreateString(custom) if custom else 0
        builder.StartObject(4)
        builder.PrependInt8Slot(0, min(code, _OLD_OPERATORS), 0)
        builder.PrependUOffsetTRelativeSlot(1, name, 0)
        builder.PrependInt32Slot(2, version, 1)
        builder.PrependInt32Slot(3, code, 0)
        return int(builder.EndObject())

    def _integers(self, numbers: Sequence[int]) -> int:
        return int(self._builder.CreateNumpyVector(np.array(numbers, np.int32)))

    def _vector(self, offsets: Sequence[int]) -> int:
        self._builder.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            self._builder.PrependUOffsetTRelative(offset)
        return int(self._builder.EndVector())
