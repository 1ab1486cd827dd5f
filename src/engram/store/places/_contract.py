"""What every kind of place can do for a store."""

from __future__ import annotations

import mmap
from collections.abc import Iterable, Iterator
from typing import Protocol

__all__ = ["Place"]


class Place(Protocol):
    """Bytes under digests, plus the few named documents of an OCI image layout.

    A digest is ``sha256:`` and 64 hexadecimal digits. Every method raises ``StoreError``, a sentence that names the
    place, where the disk or the server refuses.
    """

    url: str

    def exists(self) -> bool:
        """Whether a store was ever made here; looking makes none."""
        ...

    def prepare(self) -> None:
        """Make the place ready for writing; harmless when it is."""
        ...

    def has(self, digest: str, size: int) -> bool:
        """Whether the blob is there, whole as far as its size tells."""
        ...

    def put(self, digest: str, chunks: Iterable[memoryview]) -> None:
        """Write a blob: all of it or none, its bytes durable on return, its name durable after ``settle``."""
        ...

    def settle(self) -> None:
        """Make the names of all blobs put so far durable, those that others put among them."""
        ...

    def get(self, digest: str) -> bytes:
        """All bytes of a blob."""
        ...

    def range(self, digest: str, start: int, stop: int) -> bytes:
        """The bytes of a blob from ``start`` up to ``stop``, without the rest."""
        ...

    def map(self, digest: str) -> bytes | mmap.mmap:
        """A blob to look into, in place where the place allows it."""
        ...

    def list(self) -> Iterator[str]:
        """The digests of all blobs, in no order."""
        ...

    def delete(self, digest: str) -> int:
        """Remove a blob and return the bytes that were freed; 0 if it was not there."""
        ...

    def document(self, name: str, content: bytes) -> None:
        """Replace a named document (``index.json``), whole or not at all."""
        ...
