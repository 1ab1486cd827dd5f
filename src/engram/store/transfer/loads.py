"""What one manifest needs, where it is; and the bytes of all that is on its way, counted.

A blob that several versions share is missing once, so the count is over blobs and not over what needs them.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass, field

from engram.records import Progress, Watch
from engram.store import manifests
from engram.store.manifests import Manifest
from engram.store.objects import Blob, Borrowed
from engram.store.places._contract import Place

__all__ = ["Count", "Load", "load", "missing"]

_AT_ONCE = 1_000  # digests that are looked for between two looks of whoever watches


@dataclass(frozen=True, slots=True)
class Load:
    """What one manifest needs, and the place that has it."""

    place: Place
    manifest: Manifest

    def contents(self, count: Count) -> dict[Blob, Borrowed]:
        """Every blob as content for another place, counted on its way."""
        blobs = (Blob(digest, size) for digest, size in self.manifest.blobs.items())
        return {blob: Borrowed(self.place, blob, count.read) for blob in blobs}


def load(place: Place, digest: str) -> Load:
    """What a manifest needs.

    Raises:
        StoreError: it is not there, or damaged.
    """
    return Load(place, manifests.read(place, digest))


def missing(loads: Iterable[Load], target: Place, watch: Watch) -> dict[str, int]:
    """Digest → size of what these need and a place lacks."""
    needed = {digest: size for one in loads for digest, size in one.manifest.blobs.items()}
    ordered, found = list(needed), dict[str, int]()
    for start in range(0, len(ordered), _AT_ONCE):
        part = ordered[start : start + _AT_ONCE]
        found |= {digest: needed[digest] for digest in target.missing({digest: needed[digest] for digest in part})}
        watch(Progress("comparing", min(start + _AT_ONCE, len(ordered)), len(ordered)))
    return found


@dataclass(slots=True)
class Count:
    """Bytes on their way; several threads add to them.

    Attributes:
        expected: digest → size of what the target lacked at first.
        watch: told of every piece.
        done: bytes that were moved, those of unfinished blobs among them.
        total: bytes that are moved in all.
        arrived: digest → size of the blobs that came over.
    """

    expected: dict[str, int]
    watch: Watch
    done: int = 0
    total: int = 0
    arrived: dict[str, int] = field(default_factory=dict)
    _moving: dict[str, int] = field(default_factory=dict)
    _what: str = ""
    _lately: set[str] = field(default_factory=set)
    _turn: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.total = sum(self.expected.values())

    def begin(self, what: str) -> None:
        """The next one is on its way, and what it is called."""
        with self._turn:
            self._what, self._lately = what, set()

    def read(self, blob: Blob, size: int) -> None:
        """So many bytes of a blob were read by now, and handed on."""
        with self._turn:
            if blob.digest not in self.expected:  # it went meanwhile where it was there before
                self.expected[blob.digest] = blob.size
                self.total += blob.size
            self.done += size - self._moving.pop(blob.digest, 0) - self.arrived.pop(blob.digest, 0)
            if size == blob.size:
                self.arrived[blob.digest] = size
                self._lately.add(blob.digest)
            else:
                self._moving[blob.digest] = size
            self._say()

    def without(self, coming: Iterable[Load]) -> None:
        """The one on its way is left out: forget what was moved for it in vain, and what only it would need."""
        needed = {digest for one in coming for digest in one.manifest.blobs}
        with self._turn:
            for digest in self._lately:
                self.arrived.pop(digest, None)
            self._moving.clear()
            self.expected = {one: size for one, size in self.expected.items() if one in needed or one in self.arrived}
            self.done, self.total = sum(self.arrived.values()), sum(self.expected.values())
            self._say()

    def _say(self) -> None:
        blobs = f"{len(self.arrived):,}/{len(self.expected):,} blobs"
        self.watch(Progress("moving", self.done, self.total, note=f"{self._what}  {blobs}", unit="B"))
