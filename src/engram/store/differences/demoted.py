"""A place whose old blobs are partly stored as differences, and which reads as if they were not.

A difference is a document, ``deltas/DIG/DIGEST-BASE-SIZE``: what it becomes, what it stands on (``none``: nothing) and
how many bytes it has, in a folder named after the first three digits. Its name says it all, so that whoever lists the
documents knows every chain without opening one, and so that two who write the same difference write the same document.
To look for one blob is to list one of 4,096 folders, however many differences there are. A blob may be there plain and
as a difference at the same time, or as two differences, while it passes from one to the other; any that can be read
will do, because what comes out is hashed.
"""

from __future__ import annotations

import builtins
import mmap
import re
import sys
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

from engram.errors import StoreError
from engram.store.differences import deltas
from engram.store.places._contract import Place, check_digest

__all__ = ["Demoted", "Difference", "differences", "over"]

T = TypeVar("T")
Known = Callable[[Collection[str]], Collection[str]]

_NAME = re.compile(r"deltas/([0-9a-f]{3})/(\1[0-9a-f]{61})-([0-9a-f]{64}|none)-([0-9]{1,18})")
_DEEPEST = 16
"""Differences read on top of each other; twice as many as are ever written, so that more of them are a circle."""

_REMEMBERED = 2**28
"""Bytes of a blob that is remembered between two looks into parts of it."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A document that holds a blob as its difference from another.

    Attributes:
        digest: of the blob.
        base: digest of what it is the difference from; empty where it is only compressed.
        size: bytes of the document.
    """

    digest: str
    base: str
    size: int

    @property
    def name(self) -> str:
        """Of the document."""
        base = check_digest(self.base) if self.base else "none"
        return f"{_stem(self.digest)}{base}-{self.size}"


def over(place: Place, known: Known | None = None) -> Demoted:
    """A place with its differences in view; itself if it has them already.

    Args:
        place: where they lie.
        known: which of some digests are said to be differences, by whoever can tell without asking the place; None
            asks the place about each.
    """
    return place if isinstance(place, Demoted) else Demoted(place, known)


def differences(place: Place, digest: str = "") -> list[Difference]:
    """The differences of a blob that a place has, or all of them, by name.

    Raises:
        StoreError: the place refuses to list them.
    """
    found = []
    for name in place.documents(_stem(digest) if digest else "deltas/"):
        if match := _NAME.fullmatch(name):
            _, plain, base, size = match.groups()
            found.append(Difference(f"sha256:{plain}", "" if base == "none" else f"sha256:{base}", int(size)))
    return found


def _stem(digest: str) -> str:
    """What the names of all differences of a blob begin with."""
    digits = check_digest(digest)
    return f"deltas/{digits[:3]}/{digits}-"


class Demoted:
    """A place over another one: what is not there plain is put together from its difference.

    Attributes:
        url: of the place.
        plain: the place itself, where a blob is only what it is stored as.
    """

    def __init__(self, plain: Place, known: Known | None = None) -> None:
        self.url = plain.url
        self.plain = plain
        self._known = known
        self._turn = threading.Lock()
        self._last = ("", b"")

    def exists(self) -> bool:
        """Whether a store was ever made here."""
        return self.plain.exists()

    def prepare(self) -> None:
        """Make the place ready for writing."""
        self.plain.prepare()

    def missing(self, blobs: Mapping[str, int]) -> set[str]:
        """The digests among these that are there neither plain nor as a difference."""
        absent = self.plain.missing(blobs)
        asked = absent if self._known is None or not absent else self._known(absent)
        return absent - {digest for digest in asked if differences(self.plain, digest)}

    def put(self, digest: str, chunks: Iterable[memoryview]) -> None:
        """Write a blob, plain."""
        self.plain.put(digest, chunks)

    def settle(self) -> None:
        """Make the names of all blobs put so far durable."""
        self.plain.settle()

    def get(self, digest: str) -> bytes:
        """All bytes of a blob."""
        return self._read(digest, self.plain.get)

    def range(self, digest: str, start: int, stop: int) -> bytes:
        """The bytes of a blob from ``start`` up to ``stop``."""
        try:
            return self.plain.range(digest, start, stop)
        except StoreError:
            with self._turn:  # who wants many parts at once should not put the whole together many times
                if self._last[0] != digest:
                    whole = self.get(digest)
                    self._last = (digest, whole) if len(whole) <= _REMEMBERED else ("", b"")
                    return whole[start:stop]
                return self._last[1][start:stop]

    def map(self, digest: str) -> bytes | mmap.mmap:
        """A blob to look into, in place where it is there plain."""
        return self._read(digest, self.plain.map)

    def pieces(self, digest: str) -> Iterator[memoryview]:
        """The bytes of a blob in their order, some megabytes at a time where it is there plain."""
        read = 0
        try:
            for piece in self.plain.pieces(digest):
                yield piece
                read += len(piece)
        except StoreError:
            yield memoryview(self.get(digest))[read:]

    def list(self) -> Iterator[tuple[str, int]]:
        """The digests of all blobs, with the bytes that each takes as it is stored."""
        seen = set()
        for digest, size in self.plain.list():
            seen.add(digest)
            yield digest, size
        yield from {one.digest: one.size for one in differences(self.plain) if one.digest not in seen}.items()

    def delete(self, digest: str) -> int:
        """Remove a blob however it is stored; the bytes that were freed."""
        freed = self.plain.delete(digest)
        for found in differences(self.plain, digest):
            self.plain.remove(found.name)
            freed += found.size
        if self._last[0] == digest:
            self._last = ("", b"")
        return freed

    def documents(self, stem: str) -> builtins.list[str]:
        """The names of all documents that begin with ``stem``."""
        return self.plain.documents(stem)

    def document(self, name: str, *, most: int = sys.maxsize) -> bytes:
        """The content of a document of at most so many bytes."""
        return self.plain.document(name, most=most)

    def write(self, name: str, content: bytes) -> None:
        """Make or replace a document."""
        self.plain.write(name, content)

    def create(self, name: str, content: bytes) -> bool:
        """Make a document unless it is there."""
        return self.plain.create(name, content)

    def remove(self, name: str) -> None:
        """Remove a document."""
        self.plain.remove(name)

    def together(self, found: Difference) -> bytes:
        """The blob that a difference holds.

        Raises:
            StoreError: the difference, or what it stands on, is gone or damaged.
        """
        return self._decoded(found, set(), 0)

    def _read(self, digest: str, read: Callable[[str], T]) -> T | bytes:
        """Read a blob plain, or else as a difference; twice, because it may pass from one to the other meanwhile."""
        refused: StoreError | None = None
        for _ in range(2):
            try:
                return read(digest)
            except StoreError as wrong:
                refused = refused or wrong
            try:
                if (whole := self._first(digest, set(), 0)) is not None:
                    return whole
            except StoreError as wrong:
                refused = wrong
        assert refused is not None
        raise refused

    def _first(self, digest: str, failed: set[str], depth: int) -> bytes | None:
        """A blob from the first of its differences that can be read; None if it has none.

        Args:
            digest: of the blob.
            failed: digests of which all differences were tried for nothing, so that none is tried twice.
            depth: how many blobs wait for this one.
        """
        refused: StoreError | None = None
        for found in differences(self.plain, digest):
            try:
                return self._decoded(found, failed, depth)
            except StoreError as wrong:
                refused = wrong
                failed.add(digest)
        if refused is not None:
            raise refused
        return None

    def _decoded(self, found: Difference, failed: set[str], depth: int) -> bytes:
        where = f"{found.name} in {self.url}"
        if depth >= _DEEPEST or found.base in failed:
            raise StoreError(f"{where} stands on what cannot be read, or on itself; run engram verify")
        base = (found.base, self._base(found.base, failed, depth + 1)) if found.base else None
        return deltas.decode(found.digest, self.plain.document(found.name), base, where)

    def _base(self, digest: str, failed: set[str], depth: int) -> bytes | mmap.mmap:
        try:
            return self.plain.map(digest)
        except StoreError:
            whole = self._first(digest, failed, depth)
            if whole is None:
                raise
            return whole
