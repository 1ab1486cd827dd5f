"""The variables of a SavedModel or a checkpoint: an index, and shards of plain bytes.

The index tells of each tensor its type, shape, shard, place, length and checksum. Every one of these is a stranger's
word, so places are compared with the shards that are there before anything is read, and no two tensors may share bytes.

Source: tensorflow/core/util/tensor_bundle/tensor_bundle.{h,cc}.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy import ndarray

from engram.errors import ConversionError, FormatError
from engram.formats import _files
from engram.formats._tensorflow import sstable
from engram.formats._tensorflow.crc32c import checksum, masked
from engram.formats._tensorflow.messages import message
from engram.formats._tensorflow.tensors import dtype_of, number_of, shape_message
from engram.formats._tensorflow.wire import parsed
from engram.records import Limits

__all__ = ["Bundle", "Entry", "opened", "write"]

_MASK = 0xA282EAD8
_FULL = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Entry:
    """A tensor as the index tells of it.

    Attributes:
        type: TensorFlow's number of its type.
        shape: its axes.
        shard: number of the file.
        offset, size: where its bytes lie.
        checksum: masked CRC-32C of them.
    """

    type: int
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    checksum: int


class Bundle:
    """The tensors of a checkpoint by key.

    Attributes:
        entries: what the index tells, by key.
    """

    def __init__(self, entries: Mapping[str, Entry], shards: list[Path]) -> None:
        self.entries = entries
        self._shards = shards

    def __contains__(self, key: str) -> bool:
        return key in self.entries

    def array(self, key: str) -> ndarray:
        """The numbers of a tensor.

        Raises:
            FormatError: there is no such tensor, it is no array of numbers, or its bytes are damaged.
        """
        entry = self._entry(key)
        kind = dtype_of(entry.type)
        if kind is None:
            raise FormatError(f"tensor {key!r} is of type {entry.type}, which no array here has")
        data = np.fromfile(self._shards[entry.shard], np.uint8, entry.size, offset=entry.offset)
        if len(data) != entry.size or masked(data.data) != entry.checksum:
            raise self._damaged(key)
        return data.view(kind).reshape(entry.shape) if entry.size else np.zeros(entry.shape, kind)

    def texts(self, key: str) -> list[bytes]:
        """The texts of a tensor of texts.

        Raises:
            FormatError: there is no such tensor, or it is damaged.
        """
        entry = self._entry(key)
        with self._shards[entry.shard].open("rb") as file:
            file.seek(entry.offset)
            data = file.read(entry.size)
        count = math.prod(entry.shape)
        if entry.type != message("Tensor").DESCRIPTOR.fields_by_name["dtype"].enum_type.values_by_name[
            "DT_STRING"
        ].number or count > len(data):
            raise FormatError(f"tensor {key!r} holds no texts, or not as many as it says")
        lengths, at = [], 0
        for _ in range(count):
            value = shift = 0
            while at < len(data) and shift < 64:
                value |= (data[at] & 127) << shift
                shift, at = shift + 7, at + 1
                if data[at - 1] < 128:
                    break
            lengths.append(value)
        at += 4
        if at + sum(lengths) != len(data) or self._texts_checksum(lengths, data, at) != entry.checksum:
            raise self._damaged(key)
        found = []
        for length in lengths:
            found.append(data[at : at + length])
            at += length
        return found

    def _texts_checksum(self, lengths: list[int], data: bytes, at: int) -> int:
        plain = b"".join(length.to_bytes(4 if length < 2**32 else 8, "little") for length in lengths)
        return masked(plain + data[at - 4 :])

    def _entry(self, key: str) -> Entry:
        found = self.entries.get(key)
        if found is None:
            raise FormatError(f"the checkpoint holds no {key!r}; it is not whole")
        return found

    def _damaged(self, key: str) -> FormatError:
        return FormatError(f"tensor {key!r} is damaged: its bytes are not those of its checksum")


def opened(prefix: Path, limits: Limits) -> Bundle:
    """The checkpoint whose files begin with this path (``…/variables/variables``).

    Raises:
        FormatError: the index is damaged, over a limit, or tells of more than the shards hold.
    """
    index = _files.read(prefix.with_name(f"{prefix.name}.index"), limits.header_bytes)
    where = f"{prefix.name}.index"
    found = sstable.entries(index, where)
    if b"" not in found:
        raise FormatError(f"{where} has no header; it is no index of variables")
    header = parsed("BundleHeader", found.pop(b""), f"header of {where}", limits)
    if header.endianness != 0:
        raise FormatError(f"{where} was written on a big-endian machine; write it again on a usual one")
    if len(found) > limits.tensors or not 1 <= header.num_shards <= limits.files:
        raise FormatError(f"{where} tells of {len(found):,} tensors in {header.num_shards:,} files, over the limits")
    count = header.num_shards
    names = [f"{prefix.name}.data-{number:05d}-of-{count:05d}" for number in range(count)]
    shards = [_files.safe_join(prefix.parent, name) for name in names]
    entries = dict(_entries(found, limits))
    _within(entries, [shard.stat().st_size for shard in shards], names)
    return Bundle(entries, shards)


def write(tensors: Mapping[str, ndarray | bytes], prefix: Path) -> None:
    """Write a checkpoint of one shard; ``bytes`` become a tensor that holds one text.

    Raises:
        ConversionError: a tensor is of a type that TensorFlow does not have.
    """
    content = {b"": _header()}
    at = 0
    with prefix.with_name(f"{prefix.name}.data-00000-of-00001").open("wb") as file:
        for key in sorted(tensors):
            value = tensors[key]
            entry = message("BundleEntry", offset=at)
            pieces = _pieces(value, entry, key)
            entry.size = sum(len(piece) for piece in pieces)
            content[key.encode()] = entry.SerializeToString(deterministic=True)
            for piece in pieces:
                file.write(piece)
            at += entry.size
    prefix.with_name(f"{prefix.name}.index").write_bytes(sstable.table(content))


def _entries(found: Mapping[bytes, bytes], limits: Limits) -> Iterator[tuple[str, Entry]]:
    for key, value in found.items():
        try:
            name = key.decode()
        except UnicodeDecodeError:
            raise FormatError(f"the checkpoint has the key {key!r:.80}, which is not UTF-8; it is damaged") from None
        entry = parsed("BundleEntry", value, f"tensor {name!r}", limits)
        if entry.slices:
            raise FormatError(f"tensor {name!r} is written in slices; save the variables without partitioning")
        shape = tuple(axis.size for axis in entry.shape.dim)
        if len(shape) > limits.rank or any(not 0 <= axis <= limits.dimension for axis in shape):
            raise FormatError(f"tensor {name!r}: the shape {list(shape)[:8]} is over the limits")
        kind = dtype_of(entry.dtype)
        if kind is not None and math.prod(shape) * kind.itemsize != entry.size:
            raise FormatError(f"tensor {name!r}: {kind.name} {list(shape)} does not take {entry.size:,} bytes")
        yield name, Entry(entry.dtype, shape, entry.shard_id, entry.offset, entry.size, entry.crc32c)


def _within(entries: Mapping[str, Entry], sizes: list[int], names: list[str]) -> None:
    """Every tensor lies inside its shard, and none on another."""
    ends = [0] * len(sizes)
    for name, entry in sorted(entries.items(), key=lambda item: (item[1].shard, item[1].offset)):
        if not 0 <= entry.shard < len(sizes) or entry.offset < 0 or entry.size < 0:
            raise FormatError(f"tensor {name!r} should lie in file {entry.shard} at {entry.offset}, which is not there")
        if entry.offset + entry.size > sizes[entry.shard]:
            there = f"{names[entry.shard]!r} has {sizes[entry.shard]:,}"
            raise FormatError(f"tensor {name!r} ends at byte {entry.offset + entry.size:,}, but {there}; it is cut off")
        if entry.size and entry.offset < ends[entry.shard]:
            raise FormatError(f"tensor {name!r} shares bytes with another; the index is damaged")
        ends[entry.shard] = max(ends[entry.shard], entry.offset + entry.size)


def _header() -> bytes:
    header = message("BundleHeader", num_shards=1, version=message("Versions", producer=1))
    return bytes(header.SerializeToString(deterministic=True))


def _pieces(value: ndarray | bytes, entry: Any, key: str) -> list[bytes | memoryview]:  # noqa: ANN401 - generated
    """The bytes of a tensor, its type, shape and checksum filled in."""
    if isinstance(value, bytes):
        return _text(value, entry)
    number = number_of(value.dtype)
    if number is None:
        raise ConversionError(f"weight {key!r} is {value.dtype}, which TensorFlow does not have")
    entry.dtype = number
    entry.shape.CopyFrom(shape_message(value.shape))
    solid = np.ascontiguousarray(value, dtype=value.dtype.newbyteorder("<"))
    data = solid.reshape(-1).view(np.uint8).data
    entry.crc32c = masked(data)
    return [data]


def _text(value: bytes, entry: Any) -> list[bytes | memoryview]:  # noqa: ANN401 - generated
    entry.dtype = 7
    entry.shape.SetInParent()
    length, rest = bytearray(), len(value)
    while rest > 127:
        length.append(rest & 127 | 128)
        rest >>= 7
    length.append(rest)
    plain = len(value).to_bytes(4 if len(value) < 2**32 else 8, "little")
    found = checksum(plain)
    guard = ((((found >> 15) | (found << 17)) + _MASK) & _FULL).to_bytes(4, "little")
    entry.crc32c = masked(plain + guard + value)
    return [bytes(length), guard, value]
