"""A folder on this machine as an OCI image layout: ``oci-layout``, ``index.json`` and ``blobs/sha256/…``.

A blob is written under another name, flushed, and only then renamed, so that a name in ``blobs`` always means a whole
blob. Unfinished ones lie in ``incoming`` and not among the blobs, where other tools would take them for damage; what a
killed process left there is removed a day later by whoever writes next.
"""

from __future__ import annotations

import builtins
import errno
import mmap
import os
import secrets
import shutil
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from engram.errors import StoreError, UsageError
from engram.store import disk
from engram.store.places._contract import MARKS, check_digest, check_document, check_size

__all__ = ["Folder", "open"]

_HEX = frozenset("0123456789abcdef")
_DAY = 86_400
_AT_ONCE = 2**24
_READING = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
"""A pipe that stands where a blob should be is an empty blob, and nobody waits for it."""
_PIECE = 2**22
_PARTS = 1_024  # that one call takes


def open(url: str) -> Folder:  # noqa: A001 - the word of the shelf's contract
    """The place that a path names; nothing is made or read yet.

    Raises:
        UsageError: no folder can have this name.
    """
    if "\0" in url:
        raise UsageError(f"{url!r} has a NUL character, which no folder can have; choose another with --store")
    return Folder(Path(url))


class Folder:
    """Blobs as files of a folder.

    Attributes:
        url: the folder as the user named it.
        root: the same as a path.
    """

    def __init__(self, root: Path) -> None:
        self.url = str(root)
        self.root = root
        self._blobs = root / "blobs" / "sha256"
        self._incoming = root / "incoming"
        self._start = f"{self._blobs}{os.sep}"
        self._prepared = False

    def exists(self) -> bool:
        """Whether a store was ever made here."""
        with _sentences("read", self.root):
            return self._blobs.is_dir()

    def prepare(self) -> None:
        """Make the folders and the marks of an OCI image layout, and clear what killed writers left a day ago."""
        if self._prepared:
            return
        with _sentences("make", self.root):
            for folder in (self._blobs, self._incoming):
                _make(folder)
            for name, content in MARKS:
                if not (self.root / name).exists():
                    self._write(self.root / name, [memoryview(content)])
            disk.flush(self.root)
            self._clear()
        self._prepared = True

    def missing(self, blobs: Mapping[str, int]) -> set[str]:
        """The digests whose blob is not there with so many bytes."""
        return {digest for digest, size in blobs.items() if self._size(digest) != size}

    def put(self, digest: str, chunks: Iterable[memoryview]) -> None:
        """Write a blob; its bytes are on the disk when this returns."""
        path = self._path(digest)
        with _sentences("write", path):
            self._write(path, chunks)

    def settle(self) -> None:
        """Flush the folder of blobs, which makes renames durable."""
        with _sentences("flush", self._blobs):
            disk.flush(self._blobs)

    def get(self, digest: str) -> bytes:
        """All bytes of a blob."""
        path = f"{self._start}{check_digest(digest)}"
        try:
            number = os.open(path, _READING)
            with os.fdopen(number, "rb", buffering=0) as file:
                return file.read()
        except OSError as refused:
            raise _refusal("read", Path(path), refused) from refused

    def range(self, digest: str, start: int, stop: int) -> bytes:
        """The bytes of a blob from ``start`` up to ``stop``."""
        path = self._path(digest)
        with _sentences("read", path), os.fdopen(os.open(path, _READING), "rb") as file:
            file.seek(start)
            return file.read(max(stop - start, 0))

    def map(self, digest: str) -> bytes | mmap.mmap:
        """A blob mapped into memory; read where the process has no file numbers left for a mapping."""
        path = f"{self._start}{check_digest(digest)}"
        try:
            number = os.open(path, _READING)
            try:
                return _mapped(number)
            finally:
                os.close(number)
        except OSError as refused:
            raise _refusal("read", Path(path), refused) from refused

    def pieces(self, digest: str) -> Iterator[memoryview]:
        """The bytes of a blob in their order, some megabytes at a time."""
        whole = memoryview(self.map(digest))
        for start in range(0, len(whole), _PIECE):
            yield whole[start : start + _PIECE]

    def list(self) -> Iterator[tuple[str, int]]:
        """The digests of all blobs with their sizes."""
        with _sentences("list", self._blobs):
            entries = list(os.scandir(self._blobs)) if self.exists() else []
        for entry in entries:
            if len(entry.name) == 64 and set(entry.name) <= _HEX:
                with _sentences("read", self._blobs / entry.name), suppress(FileNotFoundError):
                    yield f"sha256:{entry.name}", entry.stat(follow_symlinks=False).st_size

    def delete(self, digest: str) -> int:
        """Remove a blob; the bytes that were freed."""
        path = self._path(digest)
        with _sentences("remove", path):
            try:
                size = path.stat().st_size
                path.unlink()
            except FileNotFoundError:
                return 0
            except IsADirectoryError:  # whoever put it there; no blob can stand in its place else
                shutil.rmtree(path)
            return size

    def documents(self, stem: str) -> builtins.list[str]:
        """The names of all documents that begin with ``stem``."""
        folder, divided, beginning = stem.rpartition("/")
        with _sentences("list", self.root / folder):
            return sorted(_files(self.root / folder, f"{folder}{divided}", beginning))

    def document(self, name: str, *, most: int = sys.maxsize) -> bytes:
        """The content of a document of at most so many bytes."""
        path = self._named(name)
        with _sentences("read", path), path.open("rb") as file:
            check_size(str(path), os.fstat(file.fileno()).st_size, most)
            return file.read()

    def write(self, name: str, content: bytes) -> None:
        """Make or replace a document."""
        path = self._named(name)
        with _sentences("write", path):
            _make(path.parent)
            self._write(path, [memoryview(content)])
            disk.flush(path.parent)

    def create(self, name: str, content: bytes) -> bool:
        """Make a document unless it is there."""
        path = self._named(name)
        with _sentences("write", path):
            _make(path.parent)
            try:
                self._write(path, [memoryview(content)], anew=True)
            except FileExistsError:
                return False
            disk.flush(path.parent)
        return True

    def remove(self, name: str) -> None:
        """Remove a document."""
        path = self._named(name)
        with _sentences("remove", path), suppress(FileNotFoundError):
            path.unlink()

    def _size(self, digest: str) -> int:
        path = self._path(digest)
        with _sentences("read", path):
            try:
                return path.stat().st_size
            except FileNotFoundError:
                return -1

    def _path(self, digest: str) -> Path:
        return self._blobs / check_digest(digest)

    def _named(self, name: str) -> Path:
        return self.root / check_document(name)

    def _write(self, path: Path, chunks: Iterable[memoryview], *, anew: bool = False) -> None:
        """A failed flush ends the attempt for good: what the kernel said it lost cannot be flushed again."""
        waiting = self._incoming / f"{path.name[:16]}-{secrets.token_hex(8)}"
        try:
            number = os.open(waiting, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o644)
            try:
                _all(number, chunks)
                os.fsync(number)
            finally:
                os.close(number)
            if anew:
                os.link(waiting, path)  # fails where rename would replace
                waiting.unlink()
            else:
                waiting.rename(path)
        except BaseException:
            with suppress(OSError):
                waiting.unlink()
            raise

    def _clear(self) -> None:
        for path in self._incoming.iterdir():
            with suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime > _DAY:
                    path.unlink()


def _files(folder: Path, stem: str, beginning: str = "") -> Iterator[str]:
    """The names of files below a folder, without asking the disk about each; a folder that is not there has none."""
    with suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(beginning):
                if entry.is_dir(follow_symlinks=False):
                    yield from _files(folder / entry.name, f"{stem}{entry.name}/")
                elif entry.is_file(follow_symlinks=False):
                    yield f"{stem}{entry.name}"


def _all(number: int, chunks: Iterable[memoryview]) -> None:
    """Write in as few calls as possible: the kernel caches what comes at once in large pages, which map much faster."""
    waiting: builtins.list[memoryview] = []
    size = 0
    for chunk in chunks:
        waiting.append(chunk.cast("B"))
        size += chunk.nbytes
        if size >= _AT_ONCE or len(waiting) == _PARTS:
            _together(number, waiting)
            waiting, size = [], 0
    _together(number, waiting)


def _together(number: int, parts: builtins.list[memoryview]) -> None:
    rest = [part for part in parts if part]
    while rest:
        written = os.writev(number, rest)
        whole = 0
        while whole < len(rest) and written >= len(rest[whole]):
            written -= len(rest[whole])
            whole += 1
        rest = rest[whole:]
        if written:
            rest[0] = rest[0][written:]


def _mapped(number: int) -> bytes | mmap.mmap:
    """A file in memory; in large pages if it is yet to be read, for each page that is touched costs time."""
    try:
        found = mmap.mmap(number, 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as refused:  # ValueError: an empty file cannot be mapped
        if isinstance(refused, OSError) and refused.errno not in {errno.EMFILE, errno.ENFILE, errno.ENODEV}:
            raise
        with os.fdopen(number, "rb", closefd=False) as file:
            return file.read()
    if _cold(number):
        with suppress(OSError, AttributeError):  # a kernel that does not know the word
            found.madvise(mmap.MADV_HUGEPAGE)
    return found


def _cold(number: int) -> bool:
    """Whether a file is yet to be read from the disk, so that how it will lie in memory can still be asked for."""
    try:
        os.preadv(number, [bytearray(1)], 0, os.RWF_NOWAIT)
    except BlockingIOError:
        return True
    except (OSError, AttributeError):  # a file system, or a kernel, that cannot say
        return False
    return False


def _make(folder: Path) -> None:
    """Make a folder and those above it, each durable in the one that holds it."""
    missing = [p for p in (folder, *folder.parents) if not p.exists()]
    for path in reversed(missing):
        path.mkdir(exist_ok=True)
        disk.flush(path.parent)


@contextmanager
def _sentences(verb: str, path: Path) -> Iterator[None]:
    try:
        yield
    except StoreError:
        raise
    except OSError as refused:
        raise _refusal(verb, path, refused) from refused


_ADVICE = {
    errno.ENOSPC: "free some space there, or choose another store with --store",
    errno.EDQUOT: "free some space there, or choose another store with --store",
    errno.EFBIG: "raise the limit on file sizes (ulimit -f), or choose another store with --store",
    errno.EACCES: "ask for the right to do so, or choose another store with --store",
    errno.EPERM: "ask for the right to do so, or choose another store with --store",
    errno.EROFS: "choose a store that can be written with --store",
    errno.ENOENT: "run engram verify",
    errno.ENOTDIR: "choose a folder with --store",
    errno.EEXIST: "choose a folder with --store",
    errno.EIO: "the disk is failing; copy what is there and run engram verify on the copy",
}


def _refusal(verb: str, path: Path, refused: OSError) -> StoreError:
    reason = (refused.strerror or str(refused)).lower()
    advice = _ADVICE.get(refused.errno or 0, "nothing was changed, so the same can be tried again")
    return StoreError(f"the store cannot {verb} {path}: {reason}; {advice}")
