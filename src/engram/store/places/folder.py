"""A folder on this machine as an OCI image layout: ``oci-layout``, ``index.json`` and ``blobs/sha256/…``.

A blob is written under another name, flushed, and only then renamed, so that a name in ``blobs`` always means a whole
blob. Unfinished ones lie in ``incoming`` and not among the blobs, where other tools would take them for damage; what a
killed process left there is removed a day later by whoever writes next.
"""

from __future__ import annotations

import errno
import mmap
import os
import re
import secrets
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from engram.errors import StoreError
from engram.store import disk

__all__ = ["Folder", "open"]

_LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'
_EMPTY_INDEX = b'{"manifests":[],"mediaType":"application/vnd.oci.image.index.v1+json","schemaVersion":2}'
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_DAY = 86_400


def open(url: str) -> Folder:  # noqa: A001 - the word of the shelf's contract
    """The place that a path names; nothing is made or read yet."""
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
            for name, content in (("index.json", _EMPTY_INDEX), ("oci-layout", _LAYOUT)):
                if not (self.root / name).exists():
                    self._write(self.root / name, [memoryview(content)])
            disk.flush(self.root)
            self._clear()
        self._prepared = True

    def has(self, digest: str, size: int) -> bool:
        """Whether the blob is there with this many bytes."""
        try:
            return self._path(digest).stat().st_size == size
        except FileNotFoundError:
            return False
        except OSError as refused:
            raise _refusal("read", self._path(digest), refused) from refused

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
        with _sentences("read", self._path(digest)):
            return self._path(digest).read_bytes()

    def range(self, digest: str, start: int, stop: int) -> bytes:
        """The bytes of a blob from ``start`` up to ``stop``."""
        with _sentences("read", self._path(digest)), self._path(digest).open("rb") as file:
            file.seek(start)
            return file.read(max(stop - start, 0))

    def map(self, digest: str) -> bytes | mmap.mmap:
        """A blob mapped into memory; read where the process has no file numbers left for a mapping."""
        path = self._path(digest)
        with _sentences("read", path), path.open("rb") as file:
            try:
                return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            except (OSError, ValueError) as refused:  # ValueError: an empty file cannot be mapped
                if isinstance(refused, OSError) and refused.errno not in {errno.EMFILE, errno.ENFILE, errno.ENODEV}:
                    raise
                return file.read()

    def list(self) -> Iterator[str]:
        """The digests of all blobs."""
        with _sentences("list", self._blobs):
            names = [path.name for path in self._blobs.iterdir()] if self.exists() else []
        return (digest for digest in (f"sha256:{name}" for name in names) if _DIGEST.fullmatch(digest))

    def delete(self, digest: str) -> int:
        """Remove a blob; the bytes that were freed."""
        path = self._path(digest)
        with _sentences("remove", path):
            try:
                size = path.stat().st_size
                path.unlink()
            except FileNotFoundError:
                return 0
            return size

    def document(self, name: str, content: bytes) -> None:
        """Replace a document at the top of the layout."""
        with _sentences("write", self.root / name):
            self._write(self.root / name, [memoryview(content)])
            disk.flush(self.root)

    def _path(self, digest: str) -> Path:
        if not _DIGEST.fullmatch(digest):
            raise StoreError(f"{digest!r} is not a digest (sha256: and 64 hexadecimal digits); run engram verify")
        return self._blobs / digest.removeprefix("sha256:")

    def _write(self, path: Path, chunks: Iterable[memoryview]) -> None:
        """A failed flush ends the attempt for good: what the kernel said it lost cannot be flushed again."""
        waiting = self._incoming / f"{path.name[:16]}-{secrets.token_hex(8)}"
        try:
            number = os.open(waiting, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o644)
            try:
                for chunk in chunks:
                    _all(number, chunk)
                os.fsync(number)
            finally:
                os.close(number)
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


def _all(number: int, chunk: memoryview) -> None:
    rest = chunk.cast("B")
    while rest:
        rest = rest[os.write(number, rest) :]


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
