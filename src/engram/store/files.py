"""Reading the files of one manifest.

Documents and graphs are read whole and always verified. Tensors are mapped and verified on request, because hashing
them would cost a hundred times what opening them does; where a place is far away, only the bytes of those asked for
come over the wire.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Any

from numpy import ndarray

from engram.errors import StoreError, VersionNotFound
from engram.store import documents, objects, places
from engram.store.manifests import Manifest
from engram.store.objects import Blob
from engram.store.places._contract import Place
from engram.store.weights import ranges, tensors
from engram.store.weights.encodings import Entry
from engram.store.weights.ranges import Wanted

__all__ = ["Files"]

_MAPS = 256
"""Blobs mapped for one reader at the most: each costs a file number, of which a process often has 1,024."""
_SMALL = 262_144


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

    def sizes(self) -> dict[str, int]:
        """Path → bytes of every file, in the order of the manifest."""
        return {path: blob.size for path, blob in self._manifest.files.items()}

    def content(self, path: str) -> bytes:
        """All bytes of a file, verified; a small one that was read lately is not read again.

        Raises:
            VersionNotFound: it has no such file; the message says what it has.
            StoreError: the blob is gone or damaged.
        """
        blob, where = self._blob(path), f"{path} of {self.name}"
        if self.verify or blob.size > _SMALL:
            return objects.read(self._place, blob, where)
        place: Any = self._place  # every object can be a key; only the type of the contract does not say so
        return _remembered(place, blob, where)

    def document(self, path: str) -> Any:  # noqa: ANN401 - any JSON value
        """The value of a JSON file, verified."""
        return documents.decode(self.content(path), f"{path} of {self.name}")

    def arrays(self, wanted: Mapping[str, Collection[str] | None]) -> dict[str, ndarray]:
        """Arrays of safetensors files, read-only; where the place is a folder, as views of the mapped files.

        Args:
            wanted: path → names of the arrays, or None for all that the file has.

        Raises:
            StoreError: a blob is gone or damaged.
        """
        if self._near:
            found: dict[str, ndarray] = {}
            for path, names in wanted.items():
                found |= self._local(path, names)
            return found
        asked = [Wanted(self._blob(path), f"{path} of {self.name}", names) for path, names in wanted.items()]
        return ranges.arrays(self._place, asked, verify=self.verify)

    def entries(self, paths: Collection[str]) -> dict[str, Entry]:
        """Type and shape of the arrays of safetensors files, without their numbers.

        Raises:
            StoreError: a blob is gone or damaged.
        """
        asked = [Wanted(self._blob(path), f"{path} of {self.name}") for path in paths]
        return ranges.headers(self._place, asked)

    def group(self, stem: str) -> dict[str, ndarray]:
        """The arrays of all safetensors files whose paths begin alike."""
        return self.arrays({path: None for path in self._manifest.files if path.startswith(stem)})

    @property
    def _near(self) -> bool:
        return places.kind(self._place.url) == "folder"

    def _local(self, path: str, names: Collection[str] | None) -> dict[str, ndarray]:
        blob, where = self._blob(path), f"{path} of {self.name}"
        self._mapped += 1
        content = self._place.map(blob.digest) if self._mapped <= _MAPS else self._place.get(blob.digest)
        if len(content) != blob.size or (self.verify and not objects.matches(content, blob)):
            raise StoreError(f"{where} ({blob.digest}) is damaged in {self._place.url}; run engram verify")
        return tensors.read(content, where, names)

    def _blob(self, path: str) -> Blob:
        if path not in self._manifest.files:
            there = ", ".join(sorted(name for name in self._manifest.files if not name.endswith(".safetensors")))
            raise VersionNotFound(f"{self.name} was kept without {path}; it has {there}")
        return self._manifest.files[path]


@lru_cache(maxsize=128)
def _remembered(place: Place, blob: Blob, where: str) -> bytes:
    """A small blob; its digest says what it is, so that it cannot have changed since it was read."""
    return objects.read(place, blob, where)
