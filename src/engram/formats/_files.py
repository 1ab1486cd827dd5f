"""Files of strangers, opened with care, and files of ours, written whole or not at all.

A path that the user typed may lead anywhere; a name that stands *inside* a file is data and may only lead to a plain
file in the same folder. The two are different functions here so that they cannot be mixed up.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy import ndarray

from engram.errors import ConversionError, FormatError, UsageError

__all__ = [
    "Span",
    "beginning",
    "flush",
    "folded",
    "joined",
    "kind",
    "place",
    "portion",
    "read",
    "safe_join",
    "spanned",
    "usual_mode",
    "workplace",
]

_HEAD = 4096
_PIECE = 2**20
"""Bytes at a time: what a second look still finds near the processor."""
_BLOCK = 2**16
"""Bytes that are read along with a few that are asked for, because more of them will be."""


class Span:
    """Bytes of an open file, of which only those are read that are asked for; a file larger than memory is no matter.

    Args:
        number: of the file, which stays open as long as bytes are asked for.
        begin: of the first byte.
        size: how many; the file is seen to have them.

    Raises:
        FormatError: the file ends before.
    """

    def __init__(self, number: int, begin: int, size: int) -> None:
        if begin + size > os.fstat(number).st_size:
            raise FormatError(f"the file ends before byte {begin + size:,}; it is cut off")
        self._number, self._begin, self._size = number, begin, size
        self._block: tuple[int, memoryview] = (0, memoryview(b""))

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, span: slice) -> memoryview:
        """The bytes from a place to another; those of a large span are in memory of their own and may be kept."""
        start, stop, _ = span.indices(self._size)
        if stop - start > _HEAD:
            return portion(self._number, self._begin + start, stop - start).data
        at, block = self._block
        if not at <= start <= stop <= at + len(block):
            at, end = start, min(start + _BLOCK, self._size)
            block = portion(self._number, self._begin + start, end - start).data.toreadonly()
            self._block = at, block
        return block[start - at : stop - at]

    def pieces(self) -> Iterator[memoryview]:
        """All bytes, one piece after the other, none of which is kept."""
        for at in range(0, self._size, _PIECE):
            yield portion(self._number, self._begin + at, min(_PIECE, self._size - at)).data


def read(path: Path, largest: int) -> bytes:
    """All bytes of a regular file.

    Args:
        path: as the user typed it.
        largest: the most bytes that are accepted, checked before anything is read.

    Raises:
        UsageError: there is no such file, or it may not be read.
        FormatError: it is no regular file, or larger.
    """
    with _opened(path) as (number, size):
        if size > largest:
            raise FormatError(f"{path} has {size:,} bytes, but at most {largest:,} are read; is it the right file?")
        with os.fdopen(number, "rb", closefd=False) as file:
            return file.read(size)


@contextmanager
def spanned(path: Path) -> Iterator[Span]:
    """All bytes of a regular file, read as they are asked for.

    Raises:
        UsageError: there is no such file, or it may not be read.
        FormatError: it is no regular file.
    """
    with _opened(path) as (number, size):
        yield Span(number, 0, size)


def portion(number: int, begin: int, size: int, each: Callable[[memoryview], None] | None = None) -> ndarray:
    """Bytes of an open file, (size,) uint8, in memory of their own.

    Args:
        number: of the file.
        begin: of the first byte.
        size: of the portion; the file is seen to have so many before anything is taken.
        each: is given one piece after the other, while it is at hand.

    Raises:
        FormatError: the file ends before.
    """
    if begin + size > os.fstat(number).st_size:
        raise FormatError(f"the file ends before byte {begin + size:,}; it is cut off")
    made = np.empty(size, np.uint8)
    whole, at = made.data, 0
    while at < size:
        piece = whole[at : at + _PIECE]
        count = os.preadv(number, [piece], begin + at)
        if not count:
            raise FormatError("the file became shorter while it was read; read it again")
        if each is not None:
            each(piece[:count])
        at += count
    return made


def joined(paths: Sequence[Path], largest: int) -> ndarray:
    """The bytes of regular files one after the other, (size,) uint8, in memory of their own.

    Args:
        paths: of the files.
        largest: the most bytes that are accepted of all of them, checked before anything is read.

    Raises:
        UsageError: there is no such file, or it may not be read.
        FormatError: one is no regular file, or they are larger together.
    """
    sizes = []
    for path in paths:
        with _opened(path) as (_, size):
            sizes.append(size)
    if sum(sizes) > largest:
        raise FormatError(f"{len(sizes):,} files have {sum(sizes):,} bytes, but at most {largest:,} are read")
    made, at = np.empty(sum(sizes), np.uint8), 0
    for path, size in zip(paths, sizes, strict=True):
        with _opened(path) as (number, _), os.fdopen(number, "rb", buffering=0, closefd=False) as file:
            end = at + size
            while at < end and (count := file.readinto(made.data[at:end])):
                at += count
        if at < end:
            raise FormatError(f"{path} became shorter while it was read; read it again")
    return made


def beginning(path: Path) -> bytes:
    """The first 4,096 bytes of a regular file, by which formats recognize their own.

    Raises:
        UsageError: there is no such file, or it may not be read.
        FormatError: it is no regular file.
    """
    with _opened(path) as (number, _):
        return os.read(number, _HEAD)


def safe_join(folder: Path, name: str) -> Path:
    """The file that a name inside a model means, if it lies in the model's own folder and is a plain file.

    Args:
        folder: where the model lies; how the user reached it does not matter.
        name: relative, with ``/`` between its parts; ``weights..v2.bin`` is as good as any.

    Raises:
        FormatError: the name leads outside, is not there, or a part of it is a link, a device or a pipe.
    """
    parts = name.split("/")
    wrong = "\\" in name or "\x00" in name or ":" in name or any(part in {"", ".", ".."} for part in parts)
    if wrong:
        raise FormatError(f"the model names the file {name!r}, which is not a plain name inside its folder {folder}")
    path = folder
    for number, part in enumerate(parts, start=1):
        path = path / part
        _plain(path, name, last=number == len(parts))
    return path


def folded(names: Iterable[str]) -> dict[str, str]:
    """Names by what a file system may take them for; two that some systems hold to be the same are refused.

    Raises:
        FormatError: two names are equal once composed (NFC) and case-folded.
    """
    seen: dict[str, str] = {}
    for name in names:
        key = unicodedata.normalize("NFC", name).casefold()
        if seen.setdefault(key, name) != name:
            raise FormatError(f"the files {seen[key]!r} and {name!r} of one model differ only in case or accents")
    return seen


@contextmanager
def workplace(path: Path) -> Iterator[Path]:
    """A hidden folder beside the target, on the same disk, that is gone afterwards whatever happens.

    Raises:
        ConversionError: the folder of the target is not there or cannot be written.
    """
    try:
        folder = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    except OSError as refused:
        raise ConversionError(f"{path} cannot be written: {_reason(refused)}; choose another folder") from refused
    try:
        yield folder
    except OSError as refused:
        raise ConversionError(f"{path} cannot be written: {_reason(refused)}") from refused
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def place(made: Iterable[Path], folder: Path) -> None:
    """Bring finished files into a folder under their own names, in this order, so that none is ever seen half-written.

    Raises:
        OSError: the disk refused; files already placed stay.
    """
    files = list(made)
    for file in files:
        file.chmod(usual_mode(file.parent))
        flush(file)
    for file in files:
        file.replace(folder / file.name)
    flush(folder)


def usual_mode(folder: Path) -> int:
    """The mode a new file gets here by the umask: some libraries write theirs for the owner alone."""
    probe = folder / ".mode"
    probe.touch()
    mode = stat.S_IMODE(probe.stat().st_mode)
    probe.unlink()
    return mode


def flush(path: Path) -> None:
    """Have the system write a file, or the names in a folder, to the disk."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[int, int]]:
    """File number and size; a pipe is opened without waiting for its writer, then refused."""
    try:
        number = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as refused:
        raise UsageError(f"{path} cannot be opened: {_reason(refused)}") from refused
    try:
        found = os.fstat(number)
        if not stat.S_ISREG(found.st_mode):
            raise FormatError(f"{path} is {kind(found.st_mode)}, not a file")
        yield number, found.st_size
    finally:
        os.close(number)


def _plain(path: Path, name: str, *, last: bool) -> None:
    try:
        found = os.lstat(path)
    except (OSError, ValueError) as refused:  # a name that is no text has no bytes
        raise FormatError(f"the model needs the file {name!r} beside it: {_reason(refused)}") from refused
    wanted = stat.S_ISREG(found.st_mode) if last else stat.S_ISDIR(found.st_mode)
    if not wanted:
        raise FormatError(f"the model names the file {name!r}, but {path.name!r} is {kind(found.st_mode)}")
    if last and found.st_nlink > 1:
        raise FormatError(
            f"the model names the file {name!r}, which has a second name elsewhere (a hard link); copy it"
        )


def kind(mode: int) -> str:
    """What a mode says that something is, as a noun with its article."""
    kinds = {
        stat.S_IFDIR: "a folder",
        stat.S_IFLNK: "a symbolic link",
        stat.S_IFIFO: "a pipe",
        stat.S_IFSOCK: "a socket",
        stat.S_IFREG: "a file",
    }
    return kinds.get(stat.S_IFMT(mode), "a device")


def _reason(refused: Exception) -> str:
    return str(getattr(refused, "strerror", None) or refused).lower()
