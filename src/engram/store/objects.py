"""Blobs: bytes under the digest of what they are.

Arrays in memory are hashed before anything is written, so that a tensor which the store already has costs its hash and
not one byte of disk. Several are hashed and written at a time, because one waits for the disk while another computes.
"""

from __future__ import annotations

import hashlib
import mmap
import os
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
        tell: called once it was read.
    """

    place: Place
    blob: Blob
    tell: Callable[[Blob], None] = lambda _blob: None

    def chunks(self) -> Iterator[memoryview]:
        """Its bytes.

        Raises:
            StoreError: they are not those that the digest says; nothing must be made of them.
        """
        content = self.place.map(self.blob.digest)
        if not matches(content, self.blob):
            raise StoreError(
                f"{self.blob.digest} is damaged in {self.place.url}; run engram verify --repair there, from a copy"
            )
        yield memoryview(content)
        self.tell(self.blob)


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

    Args:
        place: where to.
        contents: they must not have changed since they were hashed.
        made: is told of each blob that was not there before, also when a later one fails.
        gently: one by one, behind everything else that this machine does.

    Raises:
        StoreError: the place refused one; those in ``made`` are there.
    """
    absent = place.missing({blob.digest: blob.size for blob in contents})

    def one(blob: Blob) -> None:
        content = contents[blob]
        place.put(blob.digest, [memoryview(content)] if isinstance(content, bytes) else content.chunks())
        made.append(blob)

    wanted = [blob for blob in contents if blob.digest in absent]
    with _hands(gently) as pool:
        for _ in pool.map(one, wanted):
            pass
    place.settle()


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
