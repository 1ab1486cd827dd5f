"""Reading the files of one manifest.

Documents and graphs are read whole and always verified. Tensors are mapped and verified on request, because hashing
them would cost a hundred times what opening them does.
"""

from __future__ import annotations

from typing import Any

from numpy import ndarray

from engram.errors import StoreError, VersionNotFound
from engram.store import documents, objects, tensors
from engram.store.manifests import Manifest
from engram.store.objects import Blob
from engram.store.places._contract import Place

__all__ = ["Files"]

_MAPS = 256
"""Blobs mapped for one reader at the most: each costs a file number, of which a process often has 1,024."""


class Files:
    """The files of one version or checkpoint.

    Attributes:
        name: what the user calls it, for errors.
        verify: whether tensors are hashed before they are handed out.
    """

    def __init__(self, place: Place, manifest: Manifest, name: str, *, verify: bool = False) -> None:
        self.name = name
        self.verify = verify
        self._place = place
        self._manifest = manifest
        self._mapped = 0

    def __contains__(self, path: str) -> bool:
        return path in self._manifest.files

    def content(self, path: str) -> bytes:
        """All bytes of a file, verified.

        Raises:
            VersionNotFound: it has no such file; the message says what it has.
            StoreError: the blob is gone or damaged.
        """
        return objects.read(self._place, self._blob(path), f"{path} of {self.name}")

    def document(self, path: str) -> Any:  # noqa: ANN401 - any JSON value
        """The value of a JSON file, verified."""
        return documents.decode(self.content(path), f"{path} of {self.name}")

    def arrays(self, path: str) -> dict[str, ndarray]:
        """The arrays of a safetensors file, as read-only views of its mapped bytes."""
        blob, where = self._blob(path), f"{path} of {self.name}"
        self._mapped += 1
        content = self._place.map(blob.digest) if self._mapped <= _MAPS else self._place.get(blob.digest)
        if len(content) != blob.size or (self.verify and not objects.matches(content, blob)):
            raise StoreError(f"{where} ({blob.digest}) is damaged in {self._place.url}; run engram verify")
        return tensors.read(content, where)

    def group(self, stem: str) -> dict[str, ndarray]:
        """The arrays of all safetensors files whose paths begin alike."""
        paths = [path for path in self._manifest.files if path.startswith(stem)]
        return {name: array for path in paths for name, array in self.arrays(path).items()}

    def _blob(self, path: str) -> Blob:
        if path not in self._manifest.files:
            there = ", ".join(sorted(name for name in self._manifest.files if not name.endswith(".safetensors")))
            raise VersionNotFound(f"{self.name} was kept without {path}; it has {there}")
        return self._manifest.files[path]
