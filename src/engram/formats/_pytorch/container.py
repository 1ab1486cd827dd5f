"""The two files that ``torch.save`` has written over the years: a zip, and before 1.6 a row of pickles with the numbers
behind them.

Both give the same tree of plain values and tensors. In the row of pickles the numbers come last, so tensors are only
looked at once everything is read; in the zip a storage that no tensor needs is never looked at.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from engram.errors import FormatError
from engram.formats import _archive, _carried, _files
from engram.formats._archive import Archive
from engram.formats._pickle import Reference, interpret, leading
from engram.formats._pytorch import types
from engram.formats._pytorch.names import ALLOWED
from engram.formats._pytorch.tensors import Memory, Storage
from engram.records import Limits

__all__ = ["LEGACY", "NOTES", "PICKLE", "Container", "opened", "storage_of"]

LEGACY: Final = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""How the old form begins: a pickle of its magic number."""
PICKLE: Final = "data.pkl"
NOTES: Final = _carried.MEMBER
_VERSION = 1001
_COUNT = struct.Struct("<q")
_ORDERS = {b"little": True, b"big": False}


@dataclass(frozen=True, slots=True)
class Container:
    """What is in a file.

    Attributes:
        tree: plain values, with ``Tensor`` where tensors were.
        memory: where their numbers are.
        notes: what Engram wrote of the model beside it; empty if nothing.
        form: ``zip`` or ``legacy``.
    """

    tree: Any
    memory: Memory
    notes: bytes
    form: str


@contextmanager
def opened(path: Path, limits: Limits) -> Iterator[Container]:
    """A file of either form; storages are looked up inside of the block, and what was looked up stays good.

    Raises:
        FormatError: it is damaged, hostile, over a limit or holds what is no data.
    """
    with path.open("rb") as file:
        if file.read(len(LEGACY)) == LEGACY:
            yield _legacy(file.fileno(), path.name, limits)
            return
    with _archive.opened(path, limits) as archive:
        yield _zip(archive, path, limits)


def _zip(archive: Archive, path: Path, limits: Limits) -> Container:
    root = _root(archive, path)
    order = archive.read(f"{root}/byteorder", 16) if f"{root}/byteorder" in archive else b"little"
    if order not in _ORDERS:
        raise FormatError(f"{path.name} says that its bytes are in the order {order[:16]!r}, which is none")
    memory = Memory(path.name, lambda storage: archive.copy(f"{root}/data/{storage.key}"), little=_ORDERS[order])
    where = f"{path.name}/{PICKLE}"
    content = archive.read(f"{root}/{PICKLE}", limits.pickle_bytes)
    tree = interpret(content, where, ALLOWED, limits, storage_of)
    notes = archive.read(f"{root}/{NOTES}") if f"{root}/{NOTES}" in archive else b""
    return Container(tree, memory, notes, "zip")


def _root(archive: Archive, path: Path) -> str:
    """The one folder that everything in the zip is in."""
    roots = {name.partition("/")[0] for name in archive.names}
    if len(roots) != 1:
        raise FormatError(f"{path.name} should hold one folder with everything in it, but holds {len(roots)}")
    return roots.pop()


def _legacy(number: int, name: str, limits: Limits) -> Container:
    content = memoryview(mmap.mmap(number, 0, access=mmap.ACCESS_READ))
    seen: dict[str, Storage] = {}

    def storage(found: Any) -> Storage:  # noqa: ANN401 - of a stranger's file
        made = storage_of(found)
        if seen.setdefault(made.key, made) != made:
            raise FormatError(f"the storage {made.key!r} is named with two types or counts")
        return made

    at, values = len(LEGACY), []
    for allowed in ({}, {}, ALLOWED, {}):
        value, at = leading(content, name, allowed, limits, storage if allowed else None, begin=at)
        values.append(value)
    version, system, tree, keys = values
    if version != _VERSION or not isinstance(system, dict):
        raise FormatError(f"{name} is of version {str(version)[:20]}, but {_VERSION} is the only one that is read")
    if not isinstance(keys, list) or not all(type(key) is str for key in keys) or sorted(seen) != sorted(keys):
        raise FormatError(f"{name} should list each of its storages once, and does not")
    places = _behind(content, at, [seen[key] for key in keys], name)
    memory = Memory(name, lambda one: _files.portion(number, *places[one.key]))
    return Container(tree, memory, b"", "legacy")


def _behind(content: memoryview, at: int, storages: list[Storage], where: str) -> dict[str, tuple[int, int]]:
    """Where the storages lie behind the pickles, and their bytes: of each a count, then the numbers, and no more."""
    found = {}
    for storage in storages:
        start = at + _COUNT.size
        end = start + storage.count * storage.kind.itemsize
        if end > len(content):
            raise FormatError(f"{where} is cut off: the storage {storage.key!r} should end at byte {end:,}")
        if _COUNT.unpack_from(content, at)[0] != storage.count:
            raise FormatError(f"{where}: the storage {storage.key!r} says two numbers of its numbers")
        found[storage.key] = (start, end - start)
        at = end
    if at != len(content):
        raise FormatError(f"{where} has {len(content) - at:,} bytes behind its last storage, which belong to nothing")
    return found


def storage_of(found: Any) -> Storage:  # noqa: ANN401 - of a stranger's file
    """What a persistent id names: (``storage``, its type, key, device, how many numbers), perhaps a view of another."""
    if type(found) is not tuple or len(found) not in {5, 6} or found[0] != "storage":
        raise FormatError("what lies outside of the pickle is a storage, and this is none")
    _, kind, key, device, count = found[:5]
    if len(found) == 6 and found[5] is not None:
        raise FormatError("a storage that is a part of another is not read; save it again with torch 1.6 or newer")
    if not isinstance(kind, Reference) or kind.name not in types.STORAGES:
        raise FormatError(f"a storage of the type {kind} is not known")
    if type(key) is not str or type(device) is not str or type(count) is not int or count < 0:
        raise FormatError("a storage has a key, a device and a count")
    if device == "meta":
        raise FormatError("a tensor without numbers was saved, from the device 'meta'")
    return Storage(key, types.STORAGES[kind.name], count)
