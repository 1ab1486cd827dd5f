"""A TFLite file as records, everything in it checked against everything else before a number is used.

After this no index leads outside, no tensor is longer than its bytes, no value is read before it is made, and no
subgraph calls itself: what comes later, LiteRT included, need not look again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from engram.formats._tflite.calls import check_calls
from engram.formats._tflite.flat import Source, Table, root
from engram.formats._tflite.parts import Entry, File, Operator, Quantization, Subgraph, Tensor
from engram.formats._tflite.schema import OPERATORS, OPTIONS, TYPES, UNION, dtype_of
from engram.records import Limits

__all__ = ["IDENTIFIER", "parse"]

IDENTIFIER = b"TFL3"
_VERSION = 3
_ALIGNED = 16
_PACKED = {"INT4": 2, "UINT4": 2, "INT2": 4}
"""Types of which a byte holds several."""
_OLD_OPERATORS = 127


def parse(data: memoryview, name: str, limits: Limits) -> File:
    """The records of a file.

    Args:
        data: the whole file; the records look into it and copy nothing.
        name: of the file, for errors.
        limits: the largest of everything that is accepted.

    Raises:
        FormatError: it is damaged, hostile, over a limit or of another version.
    """
    model = root(data, name, IDENTIFIER)
    source = model.source
    version = model.whole(0, "I")
    if version != _VERSION:
        raise source.refused(f"is of schema version {version}, but {_VERSION} is the one that is read")
    if model.count(8, "groups of files") or model.count(9, "other files"):
        raise source.refused("keeps weights in other files, which is not read; convert it to one file")
    _within(source, model.count(4, "buffers"), limits.tensors, "buffers")
    buffers = [_buffer(table) for table in model.tables(4, "buffer")]
    kinds = [_kind(table) for table in model.tables(1, "operator code")]
    graphs = _counted(model, limits)
    reader = _Reader(source, limits, buffers, kinds)
    subgraphs = [reader.subgraph(table) for table in graphs]
    if not subgraphs:
        raise source.refused("holds no subgraph; there is no network in it")
    check_calls(subgraphs, name, limits)
    entries = [_entry(table, subgraphs) for table in model.tables(7, "signature")]
    metadata = _metadata(model, buffers)
    description = model.text(3, "the description")
    _check_end(source, buffers)
    return File(description, subgraphs, entries, metadata)


class _Reader:
    """Subgraphs of one file."""

    def __init__(
        self,
        source: Source,
        limits: Limits,
        buffers: list[memoryview | None],
        kinds: list[tuple[str, str, int]],
    ) -> None:
        self._source = source
        self._limits = limits
        self._buffers = buffers
        self._kinds = kinds

    def subgraph(self, table: Table) -> Subgraph:
        tensors = [self._tensor(each) for each in table.tables(0, f"{table.what}: tensor")]
        inputs = self._indices(table, 1, len(tensors), "inputs")
        outputs = self._indices(table, 2, len(tensors), "outputs")
        operators = [self._operator(each, len(tensors)) for each in table.tables(3, f"{table.what}: operator")]
        found = Subgraph(table.text(4, f"the name of {table.what}"), tensors, inputs, outputs, operators)
        self._check_order(found, table.what)
        return found

    def _tensor(self, table: Table) -> Tensor:
        name = table.text(3, f"the name of {table.what}")
        what = f"tensor {name!r}" if name else table.what
        code = table.whole(1, "b")
        if not 0 <= code < len(TYPES):
            raise self._source.refused(f"{what} is of type {code}, which this schema does not have")
        shape = tuple(int(axis) for axis in table.numbers(0, "<i4", f"the shape of {what}"))
        free = tuple(int(axis) for axis in table.numbers(7, "<i4", f"the free shape of {what}"))
        self._check_shape(shape, free, what)
        if table.has(6):
            raise self._source.refused(f"{what} is sparse, which is not read; convert it without sparsity")
        number = table.whole(2, "I")
        if number >= len(self._buffers):
            raise self._source.refused(f"{what} is in buffer {number:,}, but there are {len(self._buffers):,}")
        data = self._buffers[number] if number else None
        self._check_data(TYPES[code], shape, data, what)
        quantization = self._quantization(table, shape, what)
        is_variable = bool(table.number(5, "?"))
        return Tensor(name, TYPES[code], shape, free or shape, data, quantization, is_variable)

    def _check_shape(self, shape: tuple[int, ...], free: tuple[int, ...], what: str) -> None:
        limits = self._limits
        if len(shape) > limits.rank or any(axis > limits.dimension for axis in shape):
            raise self._source.refused(f"{what} has shape {list(shape)[:9]}, which is over the limits")
        if any(axis < 0 for axis in shape):
            raise self._source.refused(f"{what} has the negative length {min(shape)}; it is damaged")
        fits = not free or len(free) == len(shape)
        if not fits or any(axis < -1 for axis in free):
            raise self._source.refused(f"{what} has shape {list(shape)}, but its free shape is {list(free)[:9]}")

    def _check_data(self, kind: str, shape: tuple[int, ...], data: memoryview | None, what: str) -> None:
        dtype = dtype_of(kind)
        if data is None or dtype is None:
            return
        count = math.prod(shape)
        packed = _PACKED.get(kind, 1)
        wanted = -(-count // packed) if packed > 1 else count * dtype.itemsize
        if len(data) != wanted:
            given = f"{len(data):,} bytes"
            raise self._source.refused(
                f"{what} is {kind} {list(shape)} of {wanted:,} bytes, but its buffer has {given}"
            )

    def _quantization(self, table: Table, shape: tuple[int, ...], what: str) -> Quantization | None:
        found = table.table(4, f"the quantization of {what}")
        if found is None:
            return None
        if found.whole(4, "B"):
            raise self._source.refused(f"{what} is quantized in blocks or by a scheme of its own, which is not read")
        scale = found.numbers(2, "<f4", f"the scales of {what}")
        zero = found.numbers(3, "<i8", f"the zero points of {what}")
        if not len(scale):
            return None
        axis = found.whole(6, "i")
        along = shape[axis] if 0 <= axis < len(shape) else 1
        if len(scale) not in {1, along} or len(zero) not in {0, 1, len(scale)}:
            given = f"{len(scale):,} scales and {len(zero):,} zero points"
            raise self._source.refused(f"{what} has {given}, but {along:,} entries along axis {axis}")
        if not (np.isfinite(scale).all() and (scale >= 0).all()):
            raise self._source.refused(f"{what} has a scale that is negative or no number")
        return Quantization(scale, zero if len(zero) else np.zeros(1, np.int64), axis if len(scale) > 1 else 0)

    def _operator(self, table: Table, count: int) -> Operator:
        code = table.whole(0, "I")
        if code >= len(self._kinds):
            raise self._source.refused(f"{table.what} is of code {code:,}, but there are {len(self._kinds):,}")
        kind, custom, version = self._kinds[code]
        inputs = self._indices(table, 1, count, f"inputs of {kind}", lowest=-1)
        outputs = self._indices(table, 2, count, f"outputs of {kind}")
        if table.whole(9, "Q") or table.whole(10, "Q"):
            raise self._source.refused(f"{table.what} ({custom or kind}) keeps its options outside, which is not read")
        return Operator(kind, inputs, outputs, self._options(table, kind), version, custom)

    def _options(self, table: Table, kind: str) -> Mapping[str, Any]:
        code = table.whole(3, "B")
        if code >= len(UNION):
            raise self._source.refused(f"{table.what} ({kind}) has options {code}, which this schema does not have")
        found = table.table(4, f"the options of {kind}") if code else None
        if found is None:
            return {}
        options: dict[str, Any] = {}
        for name, field in OPTIONS[UNION[code]].items():
            where = f"{name} of {kind}"
            if field.kind == "s":
                options[name] = found.text(field.slot, where)
            elif field.kind.startswith("*"):
                options[name] = found.numbers(field.slot, f"<{field.kind[1]}4", where).tolist()
            else:
                options[name] = found.number(field.slot, field.kind, field.default)
        return options

    def _indices(self, table: Table, slot: int, count: int, what: str, lowest: int = 0) -> tuple[int, ...]:
        found = table.numbers(slot, "<i4", f"the {what} of {table.what}")
        if len(found) and (int(found.min()) < lowest or int(found.max()) >= count):
            worst = int(found.min()) if int(found.min()) < lowest else int(found.max())
            raise self._source.refused(f"the {what} of {table.what} name tensor {worst:,}, but there are {count:,}")
        return tuple(found.tolist())

    def _check_order(self, graph: Subgraph, what: str) -> None:
        """Refuse a value that is made twice, or read before it is made."""
        made = set(graph.inputs)
        for operator in graph.operators:
            for number in operator.inputs:
                tensor = graph.tensors[number]
                known = number < 0 or number in made or tensor.data is not None or tensor.is_variable
                if not known and math.prod(tensor.shape) != 0:
                    raise self._source.refused(f"{what}: {operator.kind} reads {tensor.name!r} before it is made")
            for number in operator.outputs:
                tensor = graph.tensors[number]
                if number in made or tensor.data is not None:
                    raise self._source.refused(f"{what}: {tensor.name!r} is made twice, again by {operator.kind}")
                made.add(number)
        for number in graph.outputs:
            tensor = graph.tensors[number]
            if number not in made and tensor.data is None and not tensor.is_variable:
                raise self._source.refused(f"{what}: nothing makes the output {tensor.name!r}")


def _counted(model: Table, limits: Limits) -> list[Table]:
    """The subgraphs, once everything in them is counted."""
    _within(model.source, model.count(2, "subgraphs"), limits.nodes, "subgraphs")
    graphs = model.tables(2, "subgraph")
    _within(model.source, sum(graph.count(0, "tensors") for graph in graphs), limits.tensors, "tensors")
    _within(model.source, sum(graph.count(3, "operators") for graph in graphs), limits.nodes, "operators")
    return graphs


def _within(source: Source, count: int, limit: int, what: str) -> None:
    if count > limit:
        raise source.refused(f"has {count:,} {what}, but at most {limit:,} are accepted")


def _buffer(table: Table) -> memoryview | None:
    """The bytes of a buffer; None for one that is empty."""
    source = table.source
    offset, size = table.whole(1, "Q"), table.whole(2, "Q")
    if offset > 1:
        if table.count(0, "data") or offset + size > len(source.data):
            raise source.refused(f"{table.what} is at byte {offset:,} with {size:,} bytes, outside of the file")
        return source.data[offset : offset + size] if size else None
    found = table.numbers(0, "u1", f"the data of {table.what}")
    return found.data if len(found) else None


def _kind(table: Table) -> tuple[str, str, int]:
    """Operator, its name where it is a custom one, and version."""
    old, new = table.whole(0, "b"), table.whole(3, "i")
    code = new if old == _OLD_OPERATORS or new > old else old
    if not 0 <= code < len(OPERATORS):
        raise table.source.refused(f"{table.what} is operator {code}, which this schema does not have; it is newer")
    return OPERATORS[code], table.text(1, f"the name of {table.what}"), table.whole(2, "i", 1)


def _entry(table: Table, subgraphs: list[Subgraph]) -> Entry:
    key = table.text(2, f"the key of {table.what}")
    number = table.whole(4, "I")
    if number >= len(subgraphs):
        raise table.source.refused(f"{table.what} asks subgraph {number:,}, but there are {len(subgraphs):,}")
    count = len(subgraphs[number].tensors)
    inputs, outputs = (_named(table, slot, count) for slot in (0, 1))
    return Entry(key, inputs, outputs, number)


def _named(table: Table, slot: int, count: int) -> dict[str, int]:
    found: dict[str, int] = {}
    for each in table.tables(slot, f"{table.what}: name"):
        name, number = each.text(0, each.what), each.whole(1, "I")
        if name in found or number >= count:
            raise table.source.refused(f"{table.what} names {name!r} twice, or tensor {number:,} of {count:,}")
        found[name] = number
    return found


def _metadata(model: Table, buffers: list[memoryview | None]) -> dict[str, memoryview]:
    found: dict[str, memoryview] = {}
    for table in model.tables(6, "metadata"):
        name, number = table.text(0, f"the name of {table.what}"), table.whole(1, "I")
        if number >= len(buffers):
            raise table.source.refused(f"metadata {name!r} is in buffer {number:,}, but there are {len(buffers):,}")
        if name in found:
            raise table.source.refused(f"metadata {name!r} is there twice")
        found[name] = buffers[number] or memoryview(b"")
    return found


def _check_end(source: Source, buffers: list[memoryview | None]) -> None:
    """Refuse bytes behind the last part, but for the zeros that fill up to the largest alignment."""
    end = max([source.end, *(_end_of(buffer, source) for buffer in buffers if buffer is not None)])
    rest = source.data[end:]
    if (len(source.data) % 4 and end == source.end) or len(rest) >= _ALIGNED or any(rest):
        raise source.refused(f"is not cut off at its end at byte {end:,}, or before it; a file is one thing only")


def _end_of(buffer: memoryview, source: Source) -> int:
    whole = np.frombuffer(source.data, np.uint8)
    part = np.frombuffer(buffer, np.uint8)
    return int(part.__array_interface__["data"][0] - whole.__array_interface__["data"][0]) + len(buffer)
