"""Blobs: bytes under the digest of what they are.

Arrays in memory are hashed before anything is written, so that a tensor which the store already has costs its hash and
not one byte of disk. Several blobs are written at a time, because one waits for the disk while another is hashed.
"""

from __future__ import annotations

import hashlib
import mmap
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from engram.errors import StoreError
from engram.store.places._contract import Place
from engram.store.tensors import Shard

__all__ = ["Blob", "Content", "digest", "matches", "put", "read"]

Content = bytes | Shard
_WRITERS = 4


@dataclass(frozen=True, slots=True)
class Blob:
    """A blob by its digest and its size in bytes."""

    digest: str
    size: int


def digest(chunks: Iterable[bytes | memoryview | mmap.mmap]) -> str:
    """``sha256:…`` of bytes that come in pieces."""
    seen = hashlib.sha256()
    for chunk in chunks:
        seen.update(chunk)
    return f"sha256:{seen.hexdigest()}"


def matches(content: bytes | mmap.mmap, blob: Blob) -> bool:
    """Whether bytes are those that a blob should have."""
    return len(content) == blob.size and digest([content]) == blob.digest


def put(place: Place, contents: Sequence[Content], made: list[Blob]) -> list[Blob]:
    """Write contents that the place does not have yet; all of them are durable when this returns.

    Args:
        place: where to.
        contents: they must not change meanwhile.
        made: is told of each blob that was not there before, also when a later one fails.

    Returns:
        The blob of each content, in order.

    Raises:
        StoreError: the place refused one; those in ``made`` are there.
    """

    def one(content: Content) -> Blob:
        pieces = [memoryview(content)] if isinstance(content, bytes) else list(content.chunks())
        size = len(content) if isinstance(content, bytes) else content.size
        blob = Blob(digest(pieces), size)
        if not place.has(blob.digest, blob.size):
            place.put(blob.digest, pieces)
            made.append(blob)
        return blob

    with ThreadPoolExecutor(min(_WRITERS, os.cpu_count() or 1)) as pool:
        blobs = list(pool.map(one, contents))
    place.settle()
    return blobs


def read(place: Place, blob: Blob, where: str) -> bytes:
    """All bytes of a blob, verified.

    Raises:
        StoreError: they are not those that the digest says, or the place refused.
    """
    content = place.get(blob.digest)
    if not matches(content, blob):
        raise StoreError(f"{where} ({blob.digest}) is damaged in {place.url}; run engram verify")
    return content
