"""Blobs: bytes under the digest of what they are.

Arrays in memory are hashed before anything is written, so that a tensor which the store already has costs its hash and
not one byte of disk. Several are hashed and written at a time, because one waits for the disk while another computes.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from engram.errors import StoreError
from engram.store.places._contract import Place
from engram.store.training import priority
from engram.store.weights.tensors import Shard

__all__ = ["Blob", "Borrowed", "Content", "blob", "digest", "hashed", "matches", "put", "read"]

_WRITERS = 4


@dataclass(frozen=True, slots=True)
class Blob:
    """A blob by its digest and its size in bytes."""

    digest: str
    size: int


@dataclass(frozen=True, slots=True)
class Borrowed:
    """A blob of another place as content; what is read there is hashed on its way.

    Attributes:
        place: where it is.
        blob: what it should be.
        tell: called with the bytes of it that were read so far, each time some more were taken.
    """

    place: Place
    blob: Blob
    tell: Callable[[Blob, int], None] = lambda _blob, _read: None

    def chunks(self) -> Iterator[memoryview]:
        """Its bytes.

        Raises:
            StoreError: at the end, they were not those that the digest says; nothing must be made of them.
        """
        seen, read = hashlib.sha256(), 0
        for piece in self.place.pieces(self.blob.digest):
            seen.update(piece)
            if read:
                self.tell(self.blob, read)
            yield piece
            read += len(piece)
        if (f"sha256:{seen.hexdigest()}", read) != (self.blob.digest, self.blob.size):
            raise StoreError(
                f"{self.blob.digest} is damaged in {self.place.url}; run engram verify --repair there, from a copy"
            )
        self.tell(self.blob, read)


Content = bytes | Shard | Borrowed


def digest(chunks: Iterable[bytes | memoryview | mmap.mmap]) -> str:
    """``sha256:…`` of bytes that come in pieces."""
    seen = hashlib.sha256()
    for chunk in chunks:
        seen.update(chunk)
    return f"sha256:{seen.hexdigest()}"


def matches(content: bytes | mmap.mmap, blob: Blob) -> bool:
    """Whether bytes are those that a blob should have."""
    return len(content) == blob.size and digest([content]) == blob.digest


def blob(content: Content) -> Blob:
    """The blob that a content becomes."""
    if isinstance(content, Borrowed):
        return content.blob
    if isinstance(content, bytes):
        return Blob(digest([content]), len(content))
    return Blob(digest(content.chunks()), content.size)


def hashed(contents: Sequence[Content], *, gently: bool = False) -> list[Blob]:
    """The blob that each content becomes, several hashed at a time, or one by one behind everything else."""
    with _hands(gently) as pool:
        return list(pool.map(blob, contents))


def put(place: Place, contents: Mapping[Blob, Content], made: list[Blob], *, gently: bool = False) -> None:
    """Write the contents that the place does not have yet; all of them are durable when this returns.

    Where one is refused, or the caller is interrupted, those that are being written end with their next piece.

    Args:
        place: where to.
        contents: they must not have changed since they were hashed.
        made: is told of each blob that was not there before, also when a later one fails.
        gently: one by one, behind everything else that this machine does.

    Raises:
        StoreError: the place refused one; those in ``made`` are there.
    """
    absent, over = place.missing({blob.digest: blob.size for blob in contents}), threading.Event()

    def one(blob: Blob) -> None:
        content = contents[blob]
        chunks = [memoryview(content)] if isinstance(content, bytes) else content.chunks()
        place.put(blob.digest, _until(over, chunks))
        made.append(blob)

    wanted = [blob for blob in contents if blob.digest in absent]
    with _hands(gently) as pool:
        try:
            for _ in pool.map(one, wanted):
                pass
        except BaseException:
            over.set()
            raise
    place.settle()


def _until(over: threading.Event, chunks: Iterable[memoryview]) -> Iterator[memoryview]:
    for chunk in chunks:
        if over.is_set():
            raise StoreError("a blob was not written to its end, because what it belongs to was given up; try again")
        yield chunk


def _hands(gently: bool) -> ThreadPoolExecutor:
    if gently:
        return ThreadPoolExecutor(1, initializer=priority.give_way)
    return ThreadPoolExecutor(min(_WRITERS, os.cpu_count() or 1))


def read(place: Place, blob: Blob, where: str) -> bytes:
    """All bytes of a blob, verified.

    Raises:
        StoreError: they are not those that the digest says, or the place refused.
    """
    content = place.get(blob.digest)
    if not matches(content, blob):
        raise StoreError(f"{where} ({blob.digest}) is damaged in {place.url}; run engram verify")
    return content
