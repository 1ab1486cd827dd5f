"""What one manifest needs, where it is; and the bytes of all that is on its way, counted.

A blob that several versions share is missing once, so the count is over blobs and not over what needs them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from engram.store import manifests
from engram.store.manifests import Manifest
from engram.store.objects import Blob, Borrowed
from engram.store.places._contract import Place

__all__ = ["Count", "Load", "load"]


@dataclass(frozen=True, slots=True)
class Load:
    """What one manifest needs, and the place that has it."""

    place: Place
    manifest: Manifest

    def contents(self, count: Count) -> dict[Blob, Borrowed]:
        """Every blob as content for another place; each is counted when it was read."""
        blobs = (Blob(digest, size) for digest, size in self.manifest.blobs.items())
        return {blob: Borrowed(self.place, blob, count.add) for blob in blobs}


def load(place: Place, digest: str) -> Load:
    """What a manifest needs.

    Raises:
        StoreError: it is not there, or damaged.
    """
    return Load(place, manifests.read(place, digest))


@dataclass(slots=True)
class Count:
    """Bytes on their way; several threads add to them.

    Attributes:
        absent: digest → size of what the target lacks and has not got yet.
        tell: called with the bytes that arrived so far and those in all.
        done: bytes that arrived.
        blobs: how many did.
    """

    absent: dict[str, int]
    tell: Callable[[int, int], None]
    done: int = 0
    blobs: int = 0
    _turn: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def of(cls, loads: Iterable[Load], target: Place, tell: Callable[[int, int], None]) -> Count:
        """What these need and a place lacks."""
        needed = {digest: size for one in loads for digest, size in one.manifest.blobs.items()}
        return cls({digest: needed[digest] for digest in target.missing(needed)}, tell)

    def add(self, blob: Blob) -> None:
        """A blob was read."""
        with self._turn:
            self.absent.pop(blob.digest, None)
            self.done += blob.size
            self.blobs += 1
            self.tell(self.done, self.done + sum(self.absent.values()))

    def only(self, coming: Iterable[Load]) -> None:
        """Expect no more than what these need: something else was left out."""
        needed = {digest for one in coming for digest in one.manifest.blobs}
        with self._turn:
            self.absent = {digest: size for digest, size in self.absent.items() if digest in needed}
