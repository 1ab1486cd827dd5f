"""The manifest of a version or checkpoint: an OCI image manifest with the CNCF ModelPack's types.

It lists files (``model-00001-of-00004.safetensors``, ``graph.onnx``, ``lock.toml`` …), each by digest and size; its
own digest is the id of what it describes. What the ModelPack has no place for is a file like any other, so that a tool
which knows nothing of Engram still copies all of it, and a catalog can be made anew from the manifests alone.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from engram.errors import StoreError
from engram.store import documents, objects
from engram.store.objects import Blob
from engram.store.places._contract import Place

__all__ = ["ARTIFACT", "MANIFEST", "Manifest", "build", "called", "config", "index", "parse", "read", "uncalled"]

_INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
ARTIFACT = "application/vnd.cncf.model.manifest.v1+json"
_CONFIG = "application/vnd.cncf.model.config.v1+json"
_PATH = "org.cncf.model.filepath"
_REFERENCE = re.compile(r"[a-z0-9]+(?:[-._][a-z0-9]+)*")
_TYPES = {
    "weights": "application/vnd.cncf.model.weight.v1.raw",
    "model": "application/vnd.cncf.model.weight.config.v1.raw",
    "report": "application/vnd.cncf.model.doc.v1.raw",
    "certificate": "application/vnd.cncf.model.doc.v1.raw",
    "pipeline": "application/vnd.cncf.model.code.v1.raw",
    "training": "application/vnd.engram.training.v1.raw",
    "record": "application/vnd.engram.record.v1.raw",
}


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a version or checkpoint consists of.

    Attributes:
        digest: of the manifest itself.
        size: of the manifest itself, in bytes.
        config: the ModelPack's config.
        files: path → blob, in the order of the layers.
    """

    digest: str
    size: int
    config: Blob
    files: Mapping[str, Blob]

    @property
    def blobs(self) -> dict[str, int]:
        """Digest → size of all it needs, itself among them."""
        parts = [Blob(self.digest, self.size), self.config, *self.files.values()]
        return {blob.digest: blob.size for blob in parts}


def build(files: Mapping[str, Blob], config: Blob, annotations: Mapping[str, str]) -> bytes:
    """The bytes of a manifest.

    Args:
        files: path → blob; the top folder of a path, or its own name, decides the media type.
        config: of the ModelPack, already written.
        annotations: of the whole.
    """
    layers = [_descriptor(blob, _media(path), {_PATH: path}) for path, blob in files.items()]
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": ARTIFACT,
        "config": _descriptor(config, _CONFIG),
        "layers": layers,
        "annotations": dict(annotations),
    }
    return documents.encode(manifest, "manifest")


def config(facts: Mapping[str, Any], layers: Sequence[Blob]) -> bytes:
    """The ModelPack's config: who and when (``descriptor``), what kind (``config``), and the layers in order."""
    filesystem = {"type": "layers", "diffIds": [blob.digest for blob in layers]}
    return documents.encode({**facts, "modelfs": filesystem}, "config")


def index(named: Sequence[tuple[str, Blob]]) -> bytes:
    """The ``index.json`` of an OCI image layout.

    Args:
        named: references, made of names as ``called`` writes them, and the manifests they mean.
    """
    listed = [
        {
            "annotations": {"org.opencontainers.image.ref.name": name},
            "artifactType": ARTIFACT,
            "digest": blob.digest,
            "mediaType": MANIFEST,
            "size": blob.size,
        }
        for name, blob in named
    ]
    whole = {"manifests": listed, "mediaType": _INDEX, "schemaVersion": 2}  # in the order of their names
    return json.dumps(whole, separators=(",", ":")).encode()


def called(name: str) -> str:
    """A name as a reference of an image layout may hold it, where signs stand alone and between letters or digits.

    Where they do not, each is written as ``+`` and its code, which no name has: ``a..b`` becomes ``a+2e+2eb``.
    """
    return name if _REFERENCE.fullmatch(name) else re.sub(r"[-._]", lambda sign: f"+{ord(sign[0]):02x}", name)


def uncalled(reference: str) -> str:
    """What ``called`` was given."""
    first, *rest = reference.split("+")
    return first + "".join(chr(int(part[:2], 16)) + part[2:] for part in rest)


@lru_cache(maxsize=16)
def parse(content: bytes, where: str) -> Manifest:
    """The manifest in these bytes; that of a version which is loaded again and again is parsed once.

    Raises:
        StoreError: they are not a manifest of a model, or name a file twice or outside its folder.
    """
    found = documents.decode(content, where)
    try:
        if found["mediaType"] != MANIFEST or found["artifactType"] != ARTIFACT:
            raise StoreError(f"{where} is not the manifest of a model, but {found['mediaType']}")
        files: dict[str, Blob] = {}
        for layer in found["layers"]:
            path = layer["annotations"][_PATH]
            if path in files or not _inside(path):
                raise StoreError(f"{where} names the file {path!r}, which is there twice or leads outside")
            files[path] = _blob(layer)
        config = _blob(found["config"])
    except (KeyError, TypeError, AttributeError) as wrong:
        raise StoreError(f"{where} is not the manifest of a model: {wrong!r} is missing or of another type") from wrong
    return Manifest(objects.digest([content]), len(content), config, files)


def read(place: Place, digest: str) -> Manifest:
    """The manifest with this digest, verified.

    Raises:
        StoreError: it is not there, or not what the digest says.
    """
    content = place.get(digest)
    if objects.digest([content]) != digest:
        raise StoreError(f"the manifest {digest} is damaged in {place.url}; run engram verify")
    return parse(content, f"the manifest {digest}")


def _descriptor(blob: Blob, media: str, annotations: Mapping[str, str] | None = None) -> dict[str, Any]:
    made: dict[str, Any] = {"mediaType": media, "digest": blob.digest, "size": blob.size}
    return {**made, "annotations": dict(annotations)} if annotations else made


def _blob(descriptor: Mapping[str, Any]) -> Blob:
    digest, size = descriptor["digest"], descriptor["size"]
    if not isinstance(digest, str) or type(size) is not int or size < 0:
        raise TypeError(descriptor)
    return Blob(digest, size)


def _inside(path: object) -> bool:
    if not isinstance(path, str) or not path or path.startswith("/") or "\\" in path:
        return False
    return posixpath.normpath(path) == path and path.split("/")[0] != ".."


def _media(path: str) -> str:
    folder, _, name = path.rpartition("/")
    kind = folder or name.partition(".")[0]
    if kind in {"pipeline", "lock"}:
        return _TYPES["pipeline"]
    if path.startswith("model-") and path.endswith(".safetensors"):
        return _TYPES["weights"]
    if kind in {"version", "checkpoint"}:
        return _TYPES["record"]
    return _TYPES.get(kind, _TYPES["model"])
