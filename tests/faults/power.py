"""A power cut: what a disk may hold of a series of calls when it stops in the middle.

The shim has written down every call that changed a store. A disk has for sure what was flushed; of the rest it may
have anything that its file system permits:

- *ordered*: a journal, as ext4 has it in its default mode. Names change in the order in which they were changed, and
  any flush makes all earlier ones durable; new content reaches a file from its beginning, content that was overwritten
  in any order of sectors.
- *weak*: what POSIX promises and no more. Every name changes by itself, and only a flush of its folder makes it
  durable; every sector is written by itself, and a file that grew may have zeros or rubbish where nothing was written.
  Only a rename stays whole: there is never neither of the two names.
"""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["MODELS", "Call", "Disk", "after", "marks", "read", "whole"]

MODELS = ("ordered", "weak")
_HEAD = struct.Struct("<cQqIII")
_SECTOR, _BLOCK = 512, 4096
_SHARES = (0.0, 0.1, 0.5, 0.9, 1.0)
_NAMING = frozenset("CRLUD")
_REBUILT = ("-shm",)
"""What SQLite makes anew after a crash, whatever is there."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call that changed the store, or a mark.

    Attributes:
        what: ``C`` create, ``W`` write, ``T`` set the length, ``S`` flush, ``R`` rename, ``L`` link, ``U`` unlink,
            ``D`` make a folder, ``M`` a mark.
        file: number of the file; numbers are used again after a file is gone.
        offset: of what is written, or the length; 1 for the flush of a folder.
        path: relative to the store; the text of a mark.
        other: the new path.
        content: that was written.
    """

    what: str
    file: int
    offset: int
    path: str
    other: str = ""
    content: bytes = b""


def read(log: Path, root: Path) -> list[Call]:
    """The calls in a log, in the order in which they happened."""
    content, place, calls = log.read_bytes(), 0, []
    while place < len(content):
        what, file, offset, *lengths = _HEAD.unpack_from(content, place)
        place += _HEAD.size
        parts = []
        for length in lengths:
            parts.append(content[place : place + length])
            place += length
        path, other = (part.decode() for part in parts[:2])
        if what != b"M":
            path, other = _below(path, root), _below(other, root)
        calls.append(Call(what.decode(), file, offset, path, other, parts[2]))
    return calls


def _below(path: str, root: Path) -> str:
    return path and Path(path).relative_to(root).as_posix()


def marks(calls: Iterable[Call]) -> list[list[Any]]:
    """What was told, and so acknowledged, among these calls."""
    return [json.loads(call.path) for call in calls if call.what == "M"]


@dataclass(slots=True)
class Disk:
    """Names and what they mean: content by number of file, number by path; a folder is a path that ends in a slash."""

    names: dict[str, int] = field(default_factory=dict)
    files: dict[int, bytearray] = field(default_factory=dict)

    @classmethod
    def of(cls, folder: Path) -> Disk:
        """The disk as it is now, everything on it flushed."""
        disk = cls({"./": 0})
        for path in sorted(folder.rglob("*")):
            name, number = path.relative_to(folder).as_posix(), path.stat().st_ino
            if path.is_dir():
                disk.names[f"{name}/"] = 0
            else:
                disk.names[name] = number
                disk.files[number] = bytearray(path.read_bytes())
        return disk

    def lay(self, folder: Path) -> None:
        """Write it into an empty folder."""
        for name in sorted(name for name in self.names if name.endswith("/")):
            (folder / name).mkdir(parents=True, exist_ok=True)
        for name, number in self.names.items():
            if not name.endswith(("/", *_REBUILT)):
                (folder / name).write_bytes(self.files[number])

    def copy(self) -> Disk:
        """Another one of the same content."""
        return Disk(dict(self.names), {number: bytearray(content) for number, content in self.files.items()})


def after(start: Disk, calls: Sequence[Call], model: str, chance: random.Random) -> Disk:
    """One of the states that a disk may be in when the power is cut after these calls.

    Args:
        start: the disk before them.
        calls: of which the last was just made.
        model: one of ``MODELS``.
        chance: decides among what is possible; how much is lost at all is drawn once for the whole disk.
    """
    calls = _numbered(start, calls)
    names = _names_in_order(calls, chance) if model == "ordered" else _names_by_themselves(calls, chance)
    return _replayed(start, calls, names, _Torn(model, chance.choice(_SHARES), chance))


def whole(start: Disk, calls: Sequence[Call]) -> Disk:
    """The disk if all of these calls reached it."""
    calls = _numbered(start, calls)
    names = {place: True for place, call in enumerate(calls) if call.what in _NAMING}
    return _replayed(start, calls, names, _Torn("ordered", 0.0, random.Random(0)))


def _replayed(start: Disk, calls: Sequence[Call], names: dict[int, bool], torn: _Torn) -> Disk:
    """The disk after those changes of names, and those of contents that were flushed or are not torn."""
    disk, flushed = start.copy(), _flushed(calls)
    for place, call in enumerate(calls):
        if call.what in {"W", "T"}:
            _write(disk, call, whole=flushed.get(call.file, -1) > place, torn=torn)
        elif place in names:
            _rename(disk, call, names[place])
        elif call.what == "C":
            disk.files[call.file] = bytearray()
    return _without_orphans(disk)


def _numbered(start: Disk, calls: Sequence[Call]) -> list[Call]:
    """The calls with a number for each file that is never used again."""
    fresh = max([0, *start.files, *(call.file for call in calls)])
    now: dict[int, int] = {}
    numbered = []
    for call in calls:
        if call.what == "C":
            fresh += 1
            now[call.file] = fresh
        numbered.append(
            Call(call.what, now.get(call.file, call.file), call.offset, call.path, call.other, call.content)
        )
    return numbered


def _flushed(calls: Sequence[Call]) -> dict[int, int]:
    """File → place of its last flush."""
    return {call.file: place for place, call in enumerate(calls) if call.what == "S" and not call.offset}


def _names_in_order(calls: Sequence[Call], chance: random.Random) -> dict[int, bool]:
    """Changes of names up to a moment not before the last flush; all of them whole."""
    last = max((place for place, call in enumerate(calls) if call.what == "S"), default=-1)
    stop = chance.choice((last, len(calls), chance.randint(last, len(calls))))
    return {place: True for place, call in enumerate(calls) if call.what in _NAMING and place <= stop}


def _names_by_themselves(calls: Sequence[Call], chance: random.Random) -> dict[int, bool]:
    """Changes of names that were made durable, and any of the others; False: of a rename, both names are there."""
    flushed = {call.path: place for place, call in enumerate(calls) if call.what == "S" and call.offset}
    share = chance.choice(_SHARES)
    kept = {}
    for place, call in enumerate(calls):
        if call.what not in _NAMING:
            continue
        old, new = (flushed.get(_folder(path), -1) > place for path in (call.path, call.other or call.path))
        if old or new or chance.random() < share:
            kept[place] = old or call.what != "R" or chance.random() < share
    return kept


def _folder(path: str) -> str:
    return path.rpartition("/")[0] or "."


def _rename(disk: Disk, call: Call, whole: bool) -> None:
    """Change a name, where the folder it stands in is there and what it meant is known."""
    new = call.other or call.path
    if f"{_folder(new)}/" not in disk.names:
        return
    if call.what == "D":
        disk.names[f"{new}/"] = 0
    elif call.what == "C":
        disk.files[call.file] = bytearray()
        disk.names[new] = call.file
    elif call.what == "U":
        disk.names.pop(new, None)
        disk.names.pop(f"{new}/", None)
    elif call.file in disk.files:
        disk.names[new] = call.file
        if call.what == "R" and whole and disk.names.get(call.path) == call.file:
            del disk.names[call.path]


@dataclass(frozen=True, slots=True)
class _Torn:
    """How much of what was not flushed is lost, and how it looks."""

    model: str
    share: float
    chance: random.Random

    def pieces(self, begin: int, end: int, size: int) -> Iterator[tuple[int, int]]:
        """The spans of a write that reached the disk, in a file of so many bytes."""
        if self.share == 0 or self.chance.random() >= self.share:
            yield begin, end
            return
        cuts = [*range(begin - begin % _SECTOR + _SECTOR, end, _SECTOR), end]
        if self.model == "ordered" and begin >= size:
            yield begin, self.chance.choice((begin, *(cut for cut in cuts if cut % _BLOCK == 0)))
            return
        lost = self.chance.choice((0.5, 1.0))
        for left, right in zip([begin, *cuts], cuts, strict=False):
            if self.chance.random() >= lost:
                yield left, right


def _write(disk: Disk, call: Call, *, whole: bool, torn: _Torn) -> None:
    """Change a content: all of it where it was flushed later, else what happened to reach the disk."""
    content = disk.files.setdefault(call.file, bytearray())
    if call.what == "T":
        if whole or torn.chance.random() >= torn.share:
            del content[call.offset :]
            content.extend(bytes(call.offset - len(content)))
        return
    end = call.offset + len(call.content)
    for left, right in [(call.offset, end)] if whole else torn.pieces(call.offset, end, len(content)):
        if left < right:
            gap = left - len(content)
            content.extend(torn.chance.randbytes(max(gap, 0)) if torn.model == "weak" else bytes(max(gap, 0)))
            content[left:right] = call.content[left - call.offset : right - call.offset]


def _without_orphans(disk: Disk) -> Disk:
    """Without names in folders that are not there."""
    there = {name: number for name, number in disk.names.items() if _parent(name) in disk.names or name == "./"}
    return disk if len(there) == len(disk.names) else _without_orphans(Disk(there, disk.files))


def _parent(name: str) -> str:
    return f"{_folder(name.rstrip('/'))}/"
