"""An ONNX file on disk: the graph in one file, and very large tensors in a second one beside it.

External data are looked for where they are declared, and that is a stranger's word: every name goes through
``safe_join``, and what is declared is compared with what is there before a byte of it is read.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message
from numpy import ndarray
from onnx import TensorProto, helper, numpy_helper

from engram.errors import ConversionError, FormatError
from engram.formats._files import folded, read, safe_join
from engram.graphs.check import check_parsed
from engram.graphs.wire import count
from engram.records import Limits

__all__ = ["array", "bring_in", "fields", "has_external", "load", "names_are_text", "save"]

_LARGEST_FILE = 2**31 - 2**20
_PAGE = 4096
_GRAPH_FIELD, _INITIALIZER_FIELD, _RAW_FIELD = 7, 5, 9
_PACKED = {"int2", "uint2", "int4", "uint4", "float4_e2m1fn"}
"""Types of which ONNX has several numbers in a byte, and numpy one."""


def load(path: Path, limits: Limits) -> onnx.ModelProto:
    """The graph in a file, parsed and found to be sound; external data stay where they are, but are known to be there.

    Raises:
        FormatError: the file is damaged, over a limit, or declares more than it holds.
    """
    data = read(path, limits.protobuf_bytes)
    if sum(number == _GRAPH_FIELD for number, _ in fields(data)) != 1:
        raise FormatError(f"{path.name} must hold exactly one graph; it is cut off or two files in one")
    count(data, limits)
    try:
        model: onnx.ModelProto = onnx.ModelProto.FromString(data)
        names_are_text(model)
        check_parsed(model, limits, outside=_places(model))
    except (DecodeError, RecursionError, TypeError, UnicodeError) as wrong:
        raise FormatError(f"{path.name} is damaged: {wrong}") from wrong
    _declared(model, path.parent, limits)
    return model


def names_are_text(message: Message) -> None:
    """Refuse names that are not UTF-8: protobuf hands them over as bytes, which no code behind this expects.

    Raises:
        FormatError: there is one, at any depth.
    """
    waiting = [message]
    while waiting:
        found = waiting.pop()
        if isinstance(found, TensorProto):
            # a list of its fields would copy its data
            texts: list[object] = [found.name, found.doc_string]
            waiting.extend(found.external_data)
        else:
            texts = []
            for field, value in found.ListFields():
                values = value if field.is_repeated else [value]
                if field.message_type is not None:
                    waiting.extend(values)
                elif field.type == FieldDescriptor.TYPE_STRING:
                    texts.extend(values)
        if not all(isinstance(text, str) for text in texts):
            raise FormatError(f"the graph holds a name that is not UTF-8: {texts!r:.80}; it is damaged")


def fields(data: bytes) -> Iterator[tuple[int, int]]:
    """Number and wire type of each field of a serialized message, as far as the bytes reach and make sense."""
    at = 0
    while 0 <= at < len(data):
        tag, at = _varint(data, at)
        kind = tag & 7
        if at < 0:
            return
        yield tag >> 3, kind
        length, at = _varint(data, at)
        if at < 0 or kind not in {0, 2}:
            return
        at += length if kind else 0


def save(model: onnx.ModelProto, weights: Mapping[str, ndarray], path: Path, largest: int = _LARGEST_FILE) -> None:
    """Write a graph and its weights: one file, or, where protobuf cannot hold it, a second for the weights.

    The second file is called after its content, so that an older graph of the same name keeps its own.

    Args:
        model: the graph without these weights; it is used up.
        weights: by their names in the graph.
        path: of the graph.
        largest: bytes of one file.
    """
    total = model.ByteSize() + sum(weight.nbytes + 1024 for weight in weights.values())
    within = [_piece(name, weight) for name, weight in weights.items()] if total <= largest else []
    if total > largest:
        model.graph.initializer.extend(_beside(weights, path))
    notes = onnx.ModelProto(metadata_props=model.metadata_props)
    graph = model.graph.SerializeToString(deterministic=True)
    model.ClearField("metadata_props")
    model.ClearField("graph")
    with path.open("wb") as file:
        # in this order a file that was cut off never looks whole: what every reader needs comes last
        file.write(notes.SerializeToString(deterministic=True))
        file.write(_head(_GRAPH_FIELD, len(graph) + sum(len(head) + len(data) for head, data in within)))
        file.write(graph)
        for head, data in within:  # not through one message, which would hold and copy all weights thrice
            file.write(head)
            file.write(data)
        file.write(model.SerializeToString(deterministic=True))


def _piece(name: str, weight: ndarray) -> tuple[bytes, memoryview]:
    """An initializer as it stands in a graph: everything before its numbers, and these as they lie in memory."""
    tensor = _tensor(name, np.ravel(weight)[:0])
    if tensor.data_type == TensorProto.STRING or weight.dtype.name in _PACKED:
        whole = _tensor(name, weight).SerializeToString(deterministic=True)
        return _head(_INITIALIZER_FIELD, len(whole)), memoryview(whole)
    del tensor.dims[:]
    tensor.dims.extend(weight.shape)
    tensor.ClearField("raw_data")
    data = np.ascontiguousarray(weight).reshape(-1).view(np.uint8).data
    head = tensor.SerializeToString(deterministic=True) + _head(_RAW_FIELD, len(data))
    return _head(_INITIALIZER_FIELD, len(head) + len(data)) + head, data


def _head(field: int, length: int) -> bytes:
    """Number and length of a field of bytes, as protobuf writes them."""
    made, rest = bytearray([field << 3 | 2]), length
    while rest > 0x7F:
        made.append(rest & 0x7F | 0x80)
        rest >>= 7
    return bytes([*made, rest])


def has_external(model: onnx.ModelProto) -> bool:
    """Whether any weight lies in another file."""
    return bool(_places(model))


def array(tensor: TensorProto, folder: Path) -> ndarray:
    """The numbers of a tensor, wherever they lie.

    Raises:
        FormatError: they are of a type that no array has.
    """
    if tensor.data_location == TensorProto.EXTERNAL:
        tensor = _filled(tensor, folder)
    try:
        return np.asarray(numpy_helper.to_array(tensor))
    except (ValueError, TypeError, KeyError) as wrong:
        raise FormatError(f"tensor {tensor.name!r} is damaged: {wrong}") from wrong


def bring_in(model: onnx.ModelProto, folder: Path) -> None:
    """Put all external data into the graph, in place."""
    for tensor in model.graph.initializer:
        if tensor.data_location == TensorProto.EXTERNAL:
            tensor.CopyFrom(_filled(tensor, folder))


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number of variable length and the place behind it, which is -1 where the number does not end."""
    value = shift = 0
    while at < len(data) and shift < 64:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    return 0, -1


def _places(model: onnx.ModelProto) -> set[str]:
    outside = [tensor for tensor in model.graph.initializer if tensor.data_location == TensorProto.EXTERNAL]
    return {entry.value for tensor in outside for entry in tensor.external_data if entry.key == "location"}


def _declared(model: onnx.ModelProto, folder: Path, limits: Limits) -> None:
    """All external data together fit into the files that are there."""
    names = folded(_places(model))
    if len(names) > limits.files:
        raise FormatError(f"the model is spread over {len(names):,} files, but at most {limits.files:,} are read")
    sizes = {name: safe_join(folder, name).stat().st_size for name in names.values()}
    total = 0
    for tensor in model.graph.initializer:
        if tensor.data_location != TensorProto.EXTERNAL:
            continue
        name, offset, length = _entry(tensor)
        wanted = _bytes(tensor)
        if length not in {wanted, None} or offset + wanted > sizes[name]:
            there = f"{sizes[name]:,} bytes are in {name!r}"
            raise FormatError(f"tensor {tensor.name!r} needs {wanted:,} bytes at {offset:,}, but {there}")
        total += wanted
    if total > sum(sizes.values()):
        raise FormatError("tensors share bytes of their external file; write each one by itself")


def _entry(tensor: TensorProto) -> tuple[str, int, int | None]:
    """Location, offset and length as declared."""
    said = {entry.key: entry.value for entry in tensor.external_data}
    offset, length = said.get("offset", "0"), said.get("length")
    for number in (offset, length or "0"):
        if not (number.isascii() and number.isdigit() and len(number) < 20):
            raise FormatError(f"tensor {tensor.name!r} says that its data lie at {number[:24]!r}, which is no number")
    return said["location"], int(offset), None if length is None else int(length)


def _bytes(tensor: TensorProto) -> int:
    """How long the data of a tensor are, by its type and shape."""
    try:
        bits = 8 * int(helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize)
    except KeyError:
        raise FormatError(f"tensor {tensor.name!r} has the unknown type {tensor.data_type}") from None
    name = TensorProto.DataType.Name(tensor.data_type)
    if name == "STRING":
        raise FormatError(f"tensor {tensor.name!r} holds text, which cannot lie in another file")
    small = {"INT4": 4, "UINT4": 4, "FLOAT4E2M1": 4, "INT2": 2, "UINT2": 2}
    return -int(-math.prod(tensor.dims) * small.get(name, bits) // 8)


def _filled(tensor: TensorProto, folder: Path) -> TensorProto:
    name, offset, _ = _entry(tensor)
    with safe_join(folder, name).open("rb") as file:
        file.seek(offset)
        data = file.read(_bytes(tensor))
    return TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims, raw_data=data)


def _tensor(name: str, weight: ndarray) -> TensorProto:
    try:
        return numpy_helper.from_array(np.ascontiguousarray(weight).reshape(weight.shape), name)
    except (ValueError, KeyError, TypeError) as refused:
        raise ConversionError(f"weight {name!r} is {weight.dtype}, which ONNX does not have") from refused


def _beside(weights: Mapping[str, ndarray], path: Path) -> list[TensorProto]:
    """The weights in a file of their own, each at the beginning of a page, and what refers to them."""
    made, digest = [], hashlib.sha256()
    unnamed = path.with_name(f"{path.name}.data")
    with unnamed.open("wb") as file:
        for name, weight in weights.items():
            data = _tensor(name, weight).raw_data
            filler = b"\0" * (-file.tell() % _PAGE)
            file.write(filler)
            reference = TensorProto(
                name=name, data_type=helper.np_dtype_to_tensor_dtype(weight.dtype), dims=weight.shape
            )
            reference.data_location = TensorProto.EXTERNAL
            reference.external_data.add(key="offset", value=str(file.tell()))
            reference.external_data.add(key="length", value=str(len(data)))
            file.write(data)
            digest.update(filler + data)
            made.append(reference)
    named = unnamed.with_name(f"{path.name}.{digest.hexdigest()[:12]}.data")
    unnamed.replace(named)
    for reference in made:
        reference.external_data.add(key="location", value=named.name)
    return made
