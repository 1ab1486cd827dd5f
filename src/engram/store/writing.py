"""How a version or checkpoint comes into the store, in an order that a crash at any moment cannot spoil.

First its blobs, then its manifest, each durable before the next begins; then one catalog transaction, from whose end on
it exists. Who removes blobs does it inside a transaction of its own, and a writer looks once more inside its last one
whether all its blobs are there: the two exclude each other, so that a blob which this writer found present and did not
write again cannot vanish unseen.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from sqlalchemy import Connection, delete, insert, select

from engram.errors import StoreError
from engram.store import manifests, objects, tables
from engram.store.catalog import Catalog
from engram.store.manifests import Manifest
from engram.store.objects import Blob, Content
from engram.store.places._contract import Place

__all__ = ["Draft", "Record", "commit", "release", "unlink"]

T = TypeVar("T")

_LOG = logging.getLogger(__name__)
_ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class Record:
    """What is said of the files as a whole, once they are written.

    Attributes:
        path: of the document that says it all (``version.json``).
        content: of that document.
        annotations: of the manifest.
        config: of the ModelPack, without its layers.
    """

    path: str
    content: bytes
    annotations: Mapping[str, str]
    config: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Draft(Generic[T]):
    """What is to be written.

    Attributes:
        files: path → content.
        record: called once all files are written.
        register: adds the rows, inside the last transaction; what it returns is what ``commit`` returns.
    """

    files: Mapping[str, Content]
    record: Callable[[], Record]
    register: Callable[[Connection, Manifest], T]


def commit(place: Place, catalog: Catalog, draft: Draft[T]) -> T:
    """Write a draft; it exists entirely when this returns, and not at all if it raises.

    Raises:
        StoreError: the place or the catalog refused; what was written has been taken back.
    """
    place.prepare()
    catalog.prepare()
    made: list[Blob] = []
    try:
        files, record = _written(place, draft.files, made), draft.record()
        for _ in range(_ATTEMPTS):
            manifest = _describe(place, files, record, made)
            with catalog.writing() as connection:
                if all(place.has(digest, size) for digest, size in manifest.blobs.items()):
                    _link(connection, manifest)
                    return draft.register(connection, manifest)
            _LOG.info("blobs were removed while they were being kept", extra={"place": place.url})
            files = _written(place, draft.files, made)
    except BaseException:
        release(place, catalog, [blob.digest for blob in made])
        raise
    raise StoreError(f"blobs vanish from {place.url} while they are written; stop what removes them and try again")


def unlink(connection: Connection, holder: str) -> set[str]:
    """Say that a manifest holds nothing any more; the digests it held, for ``release`` after the transaction."""
    links = tables.links
    held = set(connection.execute(select(links.c.blob).where(links.c.holder == holder)).scalars())
    connection.execute(delete(links).where(links.c.holder == holder))
    return held


def release(place: Place, catalog: Catalog, digests: Collection[str]) -> None:
    """Remove the blobs among these that nothing holds; a refusal is logged, and a sweep will find them again."""
    if not digests:
        return
    links = tables.links
    try:
        with catalog.writing() as connection:
            for digest in digests:
                if connection.execute(select(links.c.blob).where(links.c.blob == digest).limit(1)).first() is None:
                    place.delete(digest)
    except StoreError as refused:
        _LOG.warning("blobs that nothing needs were left behind", extra={"place": place.url, "why": str(refused)})


def _written(place: Place, files: Mapping[str, Content], made: list[Blob]) -> dict[str, Blob]:
    return dict(zip(files, objects.put(place, list(files.values()), made), strict=True))


def _describe(place: Place, files: Mapping[str, Blob], record: Record, made: list[Blob]) -> Manifest:
    """Write the record, the config and the manifest of files that are there."""
    said = Blob(objects.digest([record.content]), len(record.content))
    layers = {**files, record.path: said}
    described = manifests.config(record.config, list(layers.values()))
    _, config = objects.put(place, [record.content, described], made)
    content = manifests.build(layers, config, record.annotations)
    objects.put(place, [content], made)
    return manifests.parse(content, "the manifest")


def _link(connection: Connection, manifest: Manifest) -> None:
    unlink(connection, manifest.digest)
    rows = [{"holder": manifest.digest, "blob": digest} for digest in manifest.blobs]
    connection.execute(insert(tables.links), rows)
