"""What a manifest says of itself: enough to know a version or a checkpoint where no catalog does.

A version's record is ``version.json`` among its files and a checkpoint's is ``checkpoint.json``, so that a store which
is copied, pulled or has lost its catalog is known again from its blobs alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

from engram.errors import StoreError
from engram.records import Run, Version
from engram.store import manifests, objects, references
from engram.store.files import Files
from engram.store.manifests import Manifest
from engram.store.places._contract import Place
from engram.store.training.runs import Saved

__all__ = ["LARGEST", "among", "checkpoint", "damaged", "every", "is_checkpoint", "version"]

_VERSION = "version.json"
_CHECKPOINT = "checkpoint.json"
LARGEST = 100_000_000
"""Bytes of a manifest, at the most."""

_BEGINNING = b'{"annotations":'
_READERS = 8


def version(place: Place, manifest: Manifest) -> Version:
    """The version that a manifest describes.

    Raises:
        StoreError: it describes none, or something in its record is gone or wrong.
    """
    said = _said(place, manifest, _VERSION)
    try:
        return Version(
            digest=manifest.digest,
            name=references.check_name(said["name"]),
            number=int(said["number"]),
            kept=datetime.fromisoformat(said["kept"]),
            holds=tuple(map(str, said["holds"])),
            metrics={str(name): float(value) for name, value in said["metrics"].items()},
            data=str(said["data"]),
            parents=tuple(map(str, said["parents"])),
            size=sum(manifest.blobs.values()),
            facts=dict(said["facts"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as wrong:
        raise StoreError(
            f"the record of {manifest.digest} in {place.url} is not one of a version: {wrong!r}"
        ) from wrong


def checkpoint(place: Place, manifest: Manifest) -> tuple[Run, Saved]:
    """The checkpoint that a manifest describes, and its run, which was stopped as far as anybody can tell.

    Raises:
        StoreError: it describes none, or something in its record is gone or wrong.
    """
    said = _said(place, manifest, _CHECKPOINT)
    files = Files(place, manifest, f"checkpoint {manifest.digest}")
    try:
        about: dict[str, Any] = said["run"]
        of_run = Run(
            id=references.check_name(about["id"], "run"),
            name=references.check_name(about["name"]),
            started=datetime.fromisoformat(about["started"]),
            status="stopped",
            pipeline=files.content("pipeline.toml").decode(),
            lock=files.content("lock.toml").decode(),
            folder=str(about["folder"]),
            step=int(said["step"]),
            origin=str(about.get("origin", "")),
            hold=str(about.get("hold", "")),
        )
        saved = Saved(
            digest=manifest.digest,
            run=of_run.id,
            epoch=int(said["epoch"]),
            step=int(said["step"]),
            saved=datetime.fromisoformat(said["saved"]),
            best=bool(said["best"]),
            metrics={str(name): float(value) for name, value in said["metrics"].items()},
            size=sum(manifest.blobs.values()),
            number=int(said.get("number", 0)),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as wrong:
        raise StoreError(
            f"the record of {manifest.digest} in {place.url} is not one of a checkpoint: {wrong!r}"
        ) from wrong
    return of_run, saved


def is_checkpoint(manifest: Manifest) -> bool:
    """Whether a manifest is one of a checkpoint and not of a version."""
    return _CHECKPOINT in manifest.files


def damaged(place: Place, manifest: Manifest) -> bool:
    """Whether the record of a version or checkpoint is there and not what was written.

    One that is gone was removed on purpose, by somebody who was not done; one that is whole and says nothing is none.
    """
    record = manifest.files[_CHECKPOINT if is_checkpoint(manifest) else _VERSION]
    try:
        return not objects.matches(place.map(record.digest), record)
    except StoreError:
        return False


def every(place: Place) -> Iterator[tuple[str, Manifest | StoreError]]:
    """Every version and checkpoint among the blobs of a place, as ``among`` finds them."""
    return among(place, [digest for digest, size in place.list() if size <= LARGEST])


def among(place: Place, digests: Sequence[str]) -> Iterator[tuple[str, Manifest | StoreError]]:
    """The manifests of versions and checkpoints among blobs, each by its digest; or what is wrong with it.

    A blob that begins like a manifest and is not what its digest says was one. What does not begin so is passed over.
    """
    with ThreadPoolExecutor(_READERS) as pool:
        for digest, found in zip(digests, pool.map(lambda one: _looked(place, one), digests), strict=True):
            if found is not None:
                yield digest, found


def _looked(place: Place, digest: str) -> Manifest | StoreError | None:
    try:
        found = manifests.read(place, digest) if _begins(place, digest) else None
    except StoreError as refused:
        return refused if _begins(place, digest) else None  # it may have been removed meanwhile
    if found is None:
        return None
    return found if {_VERSION, _CHECKPOINT} & set(found.files) else None


def _begins(place: Place, digest: str) -> bool:
    try:
        return place.range(digest, 0, len(_BEGINNING)) == _BEGINNING
    except StoreError:
        return False


def _said(place: Place, manifest: Manifest, path: str) -> dict[str, Any]:
    found = Files(place, manifest, manifest.digest).document(path)
    if not isinstance(found, dict):
        raise StoreError(f"{path} of {manifest.digest} in {place.url} is not an object; run engram verify")
    return found
