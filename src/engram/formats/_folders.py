"""Models that are folders: looked through before anything in them is opened, and brought to their place whole.

A folder of strangers may hold a pipe that never answers or a link that leads elsewhere; so it is walked once, and only
plain files with one name each are let through. A folder of ours is made beside its place and swapped with what stands
there in one step of the system, because a folder that holds something cannot simply be replaced by another.
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from engram.errors import FormatError, UsageError
from engram.formats import _files
from engram.records import Limits

__all__ = ["digest", "files", "place", "sums"]

_HERE = -100
_EXCHANGE = 2
_NOT_KNOWN = frozenset({errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EPERM})


def files(folder: Path, limits: Limits) -> dict[str, Path]:
    """Every file in a folder, by its name relative to it with ``/`` between the parts, in order of names.

    Raises:
        UsageError: the folder is not there or may not be read.
        FormatError: something in it is no plain file, has a second name elsewhere, or cannot be told from another on
            every system; or there are more files or deeper folders than the limits allow.
    """
    found: dict[str, Path] = {}
    for seen, (entry, name) in enumerate(_walk(folder, "", limits), start=1):
        if seen > limits.files:
            raise FormatError(f"{folder} holds more than {limits.files:,} files and folders; is it the right one?")
        if not entry.is_dir(follow_symlinks=False):
            found[name] = _plain(entry, name, folder)
    _files.folded(found)
    return dict(sorted(found.items()))


def digest(folder: Path, limits: Limits) -> str:
    r"""``sha256:…`` over the digests of all files in a folder and their names.

    Redo it, in the folder: ``find . -type f -printf '%P\0' | LC_ALL=C sort -z | xargs -0 sha256sum -- | sha256sum``.

    Raises:
        FormatError, UsageError: as ``files``.
    """
    lines = "".join(f"{found}  {name}\n" for name, found in sums(files(folder, limits)).items())
    return f"sha256:{hashlib.sha256(lines.encode()).hexdigest()}"


def sums(found: dict[str, Path]) -> dict[str, str]:
    """The SHA-256 of each file, in hexadecimal, in the order of the bytes of their names."""
    made = {}
    for name in sorted(found, key=str.encode):
        with found[name].open("rb") as file:
            made[name] = hashlib.file_digest(file, "sha256").hexdigest()
    return made


def place(made: Path, target: Path) -> None:
    """Bring a finished folder to its name; what stood there is then where the new one was made.

    Raises:
        OSError: the disk refused; what stood there stays.
    """
    mode = _files.usual_mode(made.parent)
    for folder, _, names in os.walk(made, topdown=False):
        for name in names:
            (Path(folder) / name).chmod(mode)
            _files.flush(Path(folder) / name)
        _files.flush(Path(folder))
    if target.is_dir():
        _swap(made, target)
    else:
        made.rename(target)
    _files.flush(target.parent)


def _walk(folder: Path, above: str, limits: Limits, depth: int = 0) -> Iterator[tuple[os.DirEntry[str], str]]:
    if depth > limits.nesting:
        raise FormatError(f"{folder} lies more than {limits.nesting} folders deep; is it the right one?")
    try:
        entries = os.scandir(folder)
    except OSError as refused:
        raise UsageError(f"{folder} cannot be opened: {(refused.strerror or str(refused)).lower()}") from refused
    with entries:
        for entry in entries:
            name = f"{above}{entry.name}"
            yield entry, name
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(Path(entry.path), f"{name}/", limits, depth + 1)


def _plain(entry: os.DirEntry[str], name: str, folder: Path) -> Path:
    kind = entry.stat(follow_symlinks=False)
    if not stat.S_ISREG(kind.st_mode):
        raise FormatError(f"{folder}: {name!r} in it is {_files.kind(kind.st_mode)}; a model holds plain files only")
    if kind.st_nlink > 1:
        raise FormatError(f"{folder}: {name!r} in it has a second name elsewhere (a hard link); copy the folder")
    if not name.isprintable() or "\\" in name:
        raise FormatError(f"{folder}: {name!r} in it is no name that every system can write; rename it")
    return Path(entry.path)


def _swap(made: Path, target: Path) -> None:
    """Exchange two folders in one step; where the system has none, with a moment in which none is there."""
    exchange = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if exchange is not None and not exchange(_HERE, os.fsencode(made), _HERE, os.fsencode(target), _EXCHANGE):
        return
    number = ctypes.get_errno()
    if exchange is not None and number not in _NOT_KNOWN:
        raise OSError(number, os.strerror(number), str(target))
    aside = made.with_name(f"{made.name}.before")
    target.rename(aside)
    try:
        made.rename(target)
    except OSError:
        aside.rename(target)
        raise
