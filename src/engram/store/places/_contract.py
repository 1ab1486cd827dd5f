"""What every kind of place can do for a store."""

from __future__ import annotations

import builtins
import mmap
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol

from engram.errors import StoreError

__all__ = ["MARKS", "Place", "check_digest", "check_document", "check_size"]

MARKS = (
    ("index.json", b'{"manifests":[],"mediaType":"application/vnd.oci.image.index.v1+json","schemaVersion":2}'),
    ("oci-layout", b'{"imageLayoutVersion":"1.0.0"}'),
)  # the documents that make a place an OCI image layout, as they are when nothing was kept yet

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_DOCUMENT = re.compile(r"[a-z0-9][a-z0-9._-]*(/[a-z0-9][a-z0-9._-]*)*")


class Place(Protocol):
    """Bytes under digests, plus named documents.

    A digest is ``sha256:`` and 64 hexadecimal digits. The name of a document is parts of a-z, 0-9, '.', '_' and '-',
    divided by slashes. Every method raises ``StoreError``, a sentence that names the place, where the disk or the
    server refuses.
    """

    url: str

    def exists(self) -> bool:
        """Whether a store was ever made here; looking makes none."""
        ...

    def prepare(self) -> None:
        """Make the place ready for writing; harmless when it is."""
        ...

    def missing(self, blobs: Mapping[str, int]) -> set[str]:
        """The digests among these (digest → size) whose blob is not there, whole as far as its size tells."""
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

    def pieces(self, digest: str) -> Iterator[memoryview]:
        """The bytes of a blob in their order, some megabytes at a time, so that a large one need not be held whole."""
        ...

    def list(self) -> Iterator[tuple[str, int]]:
        """The digests of all blobs with their sizes in bytes, in no order."""
        ...

    def delete(self, digest: str) -> int:
        """Remove a blob and return the bytes that were freed; 0 if it was not there."""
        ...

    def documents(self, stem: str) -> builtins.list[str]:
        """The names of all documents that begin with ``stem`` (``history/``), sorted."""
        ...

    def document(self, name: str, *, most: int = sys.maxsize) -> bytes:
        """The content of a document, which is refused before it is read where it has more than ``most`` bytes."""
        ...

    def write(self, name: str, content: bytes) -> None:
        """Make or replace a document, whole or not at all, durable on return."""
        ...

    def create(self, name: str, content: bytes) -> bool:
        """Make a document, durable on return, unless there is one of this name: then ``False``."""
        ...

    def remove(self, name: str) -> None:
        """Remove a document; harmless if there is none."""
        ...


def check_digest(digest: str) -> str:
    """The hexadecimal digits of a digest.

    Raises:
        StoreError: it is not one.
    """
    if not _DIGEST.fullmatch(digest):
        raise StoreError(f"{digest!r} is not a digest (sha256: and 64 hexadecimal digits); run engram verify")
    return digest.removeprefix("sha256:")


def check_document(name: str) -> str:
    """The name itself, if it can be one of a document.

    Raises:
        StoreError: it cannot.
    """
    if not _DOCUMENT.fullmatch(name):
        raise StoreError(f"{name!r} cannot be the name of a document (parts of a-z, 0-9, '.', '_', '-'); rename it")
    return name


def check_size(where: str, size: int, most: int) -> int:
    """The size itself, if it is not too large.

    Raises:
        StoreError: it is; nothing was read.
    """
    if size > most:
        raise StoreError(f"{where} has {size:,} bytes, more than the {most:,} that are read; see who wrote it there")
    return size
