"""A place that is a bucket, whoever's it is: blobs and documents as objects.

An object appears whole or not at all, so nothing is written under another name first. The bytes of a blob are hashed on
their way out, and a write that would not be what its digest says ends before the object appears.
"""

from __future__ import annotations

import builtins
import hashlib
import itertools
import sys
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from secrets import token_hex

from engram.errors import StoreError, UsageError
from engram.store.places._bucket import PART, Bucket
from engram.store.places._contract import MARKS, check_digest, check_document

__all__ = ["Objects", "address"]

_LOOKS_AT_ONCE = 32
_BLOBS = "blobs/sha256"


def address(url: str) -> tuple[str, str]:
    """The bucket and the prefix that a URL names (``s3://bucket/prefix``); the prefix may be empty.

    Raises:
        UsageError: it names no bucket, or has parts that mean nothing here.
    """
    scheme, _, rest = url.partition("://")
    bucket, _, prefix = rest.partition("/")
    parts = prefix.rstrip("/").split("/") if prefix.rstrip("/") else []
    if not bucket or {"", ".", ".."} & {*parts} or not set("?#@:\\ ").isdisjoint(rest):
        raise UsageError(f"{url!r} is not the address of a store; write {scheme}://BUCKET or {scheme}://BUCKET/FOLDER")
    return bucket, "/".join(parts)


class Objects:
    """Blobs and documents in a bucket.

    Attributes:
        url: of the bucket and what all names in it begin with.
    """

    def __init__(self, bucket: Bucket) -> None:
        self.url = bucket.url
        self._bucket = bucket
        self._prepared = False
        self._conditional = False

    def exists(self) -> bool:
        """Whether a store was ever made here."""
        return self._bucket.size("oci-layout") >= 0

    def prepare(self) -> None:
        """Put down the marks of an OCI image layout."""
        if self._prepared:
            return
        for name, content in MARKS:
            if self._bucket.size(name) < 0:
                self._bucket.write(name, content)
        self._prepared = True

    def missing(self, blobs: Mapping[str, int]) -> set[str]:
        """The digests whose blob is not there with so many bytes; many are looked for at a time."""
        names = [_name(digest) for digest in blobs]
        with ThreadPoolExecutor(_LOOKS_AT_ONCE) as pool:
            sizes = list(pool.map(self._bucket.size, names))
        return {digest for (digest, size), found in zip(blobs.items(), sizes, strict=True) if size != found}

    def put(self, digest: str, chunks: Iterable[memoryview]) -> None:
        """Write a blob, a large one in parts.

        Raises:
            StoreError: the server refuses, or the bytes are not those of the digest; there is no such blob then, or
                still the one that was there.
        """
        name, pieces, beginning, size = _name(digest), _checked(digest, chunks), [], 0
        for piece in pieces:
            beginning.append(piece)
            size += len(piece)
            if size > PART:
                return self._bucket.upload(name, itertools.chain(beginning, pieces))
        return self._bucket.write(name, b"".join(beginning))

    def settle(self) -> None:
        """Nothing to do: a server answers when both the bytes and the name of an object are durable."""

    def get(self, digest: str) -> bytes:
        """All bytes of a blob."""
        return self._bucket.read(_name(digest))

    def range(self, digest: str, start: int, stop: int) -> bytes:
        """The bytes of a blob from ``start`` up to ``stop``."""
        return self._bucket.read(_name(digest), start, stop)

    def map(self, digest: str) -> bytes:
        """All bytes of a blob: there is nothing to map."""
        return self.get(digest)

    def pieces(self, digest: str) -> Iterator[memoryview]:
        """The bytes of a blob in their order, a part at a time; those that come next are on their way meanwhile."""
        for part in self._bucket.parts(_name(digest)):
            yield memoryview(part)

    def list(self) -> Iterator[tuple[str, int]]:
        """The digests of all blobs with their sizes."""
        for name, size in self._bucket.list(_BLOBS):
            digest = f"sha256:{name.removeprefix(f'{_BLOBS}/')}"
            with suppress(StoreError):  # something else that somebody put there
                check_digest(digest)
                yield digest, size

    def delete(self, digest: str) -> int:
        """Remove a blob; the bytes that were freed."""
        size = self._bucket.size(_name(digest))
        if size >= 0:
            self._bucket.delete(_name(digest))
        return max(size, 0)

    def documents(self, stem: str) -> builtins.list[str]:
        """The names of all documents that begin with ``stem``, without a look at those before it."""
        folder, divided, _ = stem.rpartition("/")
        if divided:
            return sorted(name for name, _ in self._bucket.list(folder, stem[:-1]) if name.startswith(stem))
        names, folders = self._bucket.top()
        within = [self.documents(f"{folder}/") for folder in folders if folder.startswith(stem) and folder != "blobs"]
        return sorted([*(name for name in names if name.startswith(stem)), *itertools.chain.from_iterable(within)])

    def document(self, name: str, *, most: int = sys.maxsize) -> bytes:
        """The content of a document of at most so many bytes."""
        return self._bucket.whole(check_document(name), most)

    def write(self, name: str, content: bytes) -> None:
        """Make or replace a document."""
        self._bucket.write(check_document(name), content)

    def create(self, name: str, content: bytes) -> bool:
        """Make a document unless it is there; only on a server that was seen to keep to that."""
        check_document(name)
        self.conditional()
        return self._bucket.create(name, content)

    def conditional(self) -> None:
        """See once whether the server leaves an object alone when it is told to make one only where there is none.

        Raises:
            StoreError: it replaces it, or refuses to be told.
        """
        if self._conditional:
            return
        probe = f"probes/{token_hex(16)}"
        try:
            honored = self._bucket.create(probe, b"first") and not self._bucket.create(probe, b"second")
        finally:
            with suppress(StoreError):  # it hurts nobody, and what went wrong before is to be told
                self._bucket.delete(probe)
        if not honored:
            raise StoreError(
                f"the server of {self.url} ignores If-None-Match, so two writers could undo each other's work there; "
                f"keep the catalog in PostgreSQL: ENGRAM_CATALOG=postgresql://…"
            )
        self._conditional = True

    def remove(self, name: str) -> None:
        """Remove a document."""
        self._bucket.delete(check_document(name))


def _name(digest: str) -> str:
    return f"{_BLOBS}/{check_digest(digest)}"


def _checked(digest: str, chunks: Iterable[memoryview]) -> Iterator[memoryview]:
    """The same bytes in pieces of at most a part; the end raises if they are not those of the digest."""
    seen = hashlib.sha256()
    for chunk in chunks:
        flat = chunk.cast("B")
        for start in range(0, len(flat), PART):
            piece = flat[start : start + PART]
            seen.update(piece)
            yield piece
    if seen.hexdigest() != check_digest(digest):
        raise StoreError(f"{digest} changed while it was written, and was not kept; keep it when nothing changes it")
