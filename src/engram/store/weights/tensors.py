"""Arrays as safetensors blobs, written and read without a copy.

Written here and not by the safetensors library, because the library's order of tensors within a file is its own affair,
and a store lives on the same arrays giving the same bytes; and because its numpy reader copies. One blob holds one
large array, or small ones together up to 128 KiB, cut by name and size alone, so that training one layer leaves the
blobs of the others as they were: with a limit of a megabyte, adapters beside a frozen network cost a third more. A
header is checked whole before an array is made: a file of which two programs could make two things is damaged.
"""

from __future__ import annotations

import json
import mmap
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
from numpy import ndarray

from engram.errors import StoreError, UsageError
from engram.records import Limits
from engram.store.weights import encodings
from engram.store.weights.encodings import Entry, Stored

__all__ = ["Shard", "entries", "length", "plan", "read"]

_ALONE = 131_072
_PAD = 8
_FIRST = 8
_METADATA = "__metadata__"
_TYPES = "engram.types"
_LIMITS = Limits()
_FIELDS = {"dtype", "shape", "data_offsets"}


@dataclass(frozen=True, slots=True)
class Shard:
    """Arrays that become one blob; they must not change before it is written.

    Attributes:
        names: of the tensors, in their order in the blob.
        arrays: their bytes in the same order, contiguous and little-endian.
        header: the safetensors header with its length, padded to eight bytes.
    """

    names: tuple[str, ...]
    arrays: tuple[ndarray, ...]
    header: bytes

    @property
    def size(self) -> int:
        """Bytes of the blob."""
        return len(self.header) + sum(array.nbytes for array in self.arrays)

    def chunks(self) -> Iterator[memoryview]:
        """The bytes of the blob, piece by piece, as views of the arrays."""
        yield memoryview(self.header)
        for array in self.arrays:
            if array.nbytes:
                yield array.reshape(-1).view(np.uint8).data


def plan(arrays: Mapping[str, ndarray], where: str, alone: int = _ALONE) -> list[Shard]:
    """How arrays are divided into blobs.

    Args:
        arrays: name → array of any shape and layout; what is not contiguous is copied.
        where: what to call them in an error.
        alone: bytes from which an array has a blob to itself, and up to which small ones share one.

    Raises:
        UsageError: an array is of a type that safetensors cannot hold.
    """
    ready = {name: _ready(name, arrays[name], f"{where} {name!r}") for name in sorted(arrays)}
    shards, small, held = [], dict[str, Stored](), 0
    for name, stored in ready.items():
        size = stored.data.nbytes
        if size >= alone:
            shards.append(_shard({name: stored}))
            continue
        if small and held + size > alone:
            shards.append(_shard(small))
            small, held = {}, 0
        small[name] = stored
        held += size
    return [*shards, _shard(small)] if small else shards


def read(content: bytes | mmap.mmap, where: str, names: Collection[str] | None = None) -> dict[str, ndarray]:
    """The arrays of a blob, read-only, as views of its bytes wherever their type can be looked at in place.

    Args:
        content: the whole blob.
        where: what to call it in an error.
        names: of the arrays that are wanted; None for all.

    Raises:
        StoreError: it is not a safetensors file without holes, overlaps and trailing bytes.
    """
    found = entries(content, len(content), where)
    wanted = found if names is None else [name for name in found if name in names]
    return {name: encodings.array(found[name], content) for name in wanted}


def length(first: bytes | mmap.mmap, size: int, where: str) -> int:
    """Bytes from the beginning of a blob to its first tensor.

    Args:
        first: at least the first eight bytes of the blob.
        size: of the whole blob.
        where: what to call it in an error.

    Raises:
        StoreError: the blob is too short for what it announces.
    """
    announced = int.from_bytes(first[:_FIRST], "little")
    if len(first) < _FIRST or announced > min(size - _FIRST, _LIMITS.header_bytes):
        raise _damaged(where, "it is cut short")
    return _FIRST + announced


def entries(head: bytes | mmap.mmap, size: int, where: str) -> dict[str, Entry]:
    """The tensors of a blob as its header tells of them, in their order in the blob, with every byte accounted for.

    Args:
        head: the blob from its beginning, at least as far as its first tensor.
        size: of the whole blob.
        where: what to call it in an error.

    Raises:
        StoreError: it is not the header of a safetensors file without holes, overlaps and trailing bytes.
    """
    start = length(head, size, where)
    try:
        found = _parsed(head[_FIRST:start])
        notes = _notes(found.pop(_METADATA, None))
    except (ValueError, TypeError, RecursionError, AttributeError) as wrong:
        raise _damaged(where, "its header is not a JSON object of tensors") from wrong
    made = {}
    for name, given in found.items():
        try:
            made[name] = _entry(given, start, notes.pop(name, None))
        except ValueError as wrong:
            raise _damaged(where, f"of {name!r} {wrong}") from wrong
    if notes:
        raise _damaged(where, "its header has notes of tensors that are not there")
    if len(made) > 1:
        made = dict(sorted(made.items(), key=lambda item: (item[1].begin, item[1].end, item[0])))
    place = start
    for name, entry in made.items():
        if entry.begin != place:
            raise _damaged(where, f"the bytes of {name!r} are not where they belong")
        place = entry.end
    if place != size:
        raise _damaged(where, "its tensors do not end where it ends")
    return made


def _ready(name: str, array: ndarray, where: str) -> Stored:
    given = np.asarray(array)
    if name == _METADATA:
        raise UsageError(f"{where} has the one name that safetensors keeps for itself; call it something else")
    if not name.isprintable() and any("\ud800" <= letter <= "\udfff" for letter in name):
        raise UsageError(f"{where} has a name that is not Unicode (a lone surrogate); call it something else")
    stored = encodings.store(given, where)
    if len(stored.shape) > _LIMITS.rank:
        raise UsageError(f"{where} has {given.ndim} axes, more than the {_LIMITS.rank} that are read back; reshape it")
    return stored


def _shard(arrays: Mapping[str, Stored]) -> Shard:
    """Wide types come first, so that every array starts at a multiple of its item's size."""
    names = tuple(sorted(arrays, key=lambda name: (-arrays[name].data.itemsize, name)))
    notes = {name: arrays[name].note for name in names if arrays[name].note}
    header: dict[str, Any] = {_METADATA: {_TYPES: _text(notes)}} if notes else {}
    place = 0
    for name in names:
        stored = arrays[name]
        span = [place, place + stored.data.nbytes]
        header[name] = {"dtype": stored.code, "shape": list(stored.shape), "data_offsets": span}
        place = span[1]
    text = _text(header).encode()
    text += b" " * (-len(text) % _PAD)
    return Shard(names, tuple(arrays[name].data for name in names), len(text).to_bytes(_FIRST, "little") + text)


def _text(value: Mapping[str, Any]) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _notes(metadata: object) -> dict[str, Any]:
    """What the metadata say of types that the header has no word for; other metadata are not looked at."""
    if metadata is None:
        return {}
    if not isinstance(metadata, dict) or not all(type(value) is str for value in metadata.values()):
        raise ValueError("the metadata are not texts")
    found = _DECODER.decode(metadata.get(_TYPES, "{}"))
    if not isinstance(found, dict):
        raise ValueError("the notes are not an object")  # noqa: TRY004 - of a file, and answered like all else in it
    return found


def _entry(given: Any, start: int, note: Any) -> Entry:  # noqa: ANN401 - of a file
    """An entry that has a known type, a shape of lengths, and as many bytes as they say.

    Raises:
        ValueError: it has not; the words follow the name of the tensor.
    """
    if type(given) is not dict or given.keys() != _FIELDS:
        raise ValueError("there is more or less than dtype, shape and data_offsets")
    code, shape, span = given["dtype"], given["shape"], given["data_offsets"]
    if not (_lengths(shape) and _lengths(span) and len(span) == 2 and type(code) is str):
        raise ValueError("the shape or the place is none")
    if note is not None and not _sound(note):
        raise ValueError("the note of its type is none")
    return encodings.entry(code, tuple(shape), (start + span[0], start + span[1]), note)


def _sound(note: object) -> bool:
    if not isinstance(note, dict) or note.keys() != {"dtype", "shape"}:
        return False
    return type(note["dtype"]) is str and _lengths(note["shape"])


def _lengths(given: object) -> bool:
    """Whether this is a list of lengths, and of no more axes than an array may have."""
    if type(given) is not list or len(given) > _LIMITS.rank:
        return False
    for number in given:  # noqa: SIM110 - all() takes twice the time, and every tensor of every load comes by
        if type(number) is not int or not 0 <= number <= _LIMITS.dimension:
            return False
    return True


def _parsed(text: bytes) -> Any:  # noqa: ANN401 - any JSON value
    """A header as a value, without a key that stands twice in it.

    What is the same when it is written again has no such key; that is quickly seen, and true of all that ``_shard``
    wrote. Other headers are looked at key by key.

    Raises:
        ValueError: it is not JSON, or a key stands twice.
    """
    with suppress(ValueError):
        found = orjson.loads(text)
        if orjson.dumps(found) == text.rstrip(b" "):
            return found
    return _DECODER.decode(str(text, "utf-8"))


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return made


_DECODER = json.JSONDecoder(object_pairs_hook=_unique)
"""One for all headers: to make one takes longer than to read a header."""


def _damaged(where: str, why: str) -> StoreError:
    return StoreError(f"{where} is damaged: {why}; run engram verify")
