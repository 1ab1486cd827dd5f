"""Writing a version or a checkpoint so that it exists entirely or not at all.

The order is what makes it safe: a lease on all it is made of, every blob durable, the record, the config, the manifest,
and then one transaction of the catalog which links all of it and ends the lease. A process that dies in between leaves
blobs that nothing names, and no half version. A sweep keeps its hands off what a lease names or a link reaches, so that
a blob which this writer found present and did not write again cannot vanish unseen.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Generic, TypeVar

from sqlalchemy import Connection, delete, insert, select

from engram.errors import StoreError
from engram.store import leases, manifests, objects, tables
from engram.store.catalogs._contract import Catalog
from engram.store.manifests import Manifest
from engram.store.objects import Blob, Content
from engram.store.places import kind
from engram.store.places._contract import Place

__all__ = ["Draft", "Record", "Site", "adopt", "commit", "discard", "link", "take_back", "unlink"]

T = TypeVar("T")

_LOG = logging.getLogger(__name__)
_ATTEMPTS = 5
_GLANCE = 0.05  # seconds between two looks at whether somebody has finished removing


@dataclass(frozen=True, slots=True)
class Record:
    """What is said of the files as a whole.

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
        number: draws the number that the record states, inside the first transaction; 0 where there is none.
        record: of that number.
        register: adds the rows, inside the last transaction; what it returns is what ``commit`` returns. It may be
            called again.
    """

    files: Mapping[str, Content]
    number: Callable[[Connection], int]
    record: Callable[[int], Record]
    register: Callable[[Connection, Manifest], T]


@dataclass(frozen=True, slots=True)
class Site:
    """Where something is written, and by which clock.

    Attributes:
        gently: behind everything else that this machine does, because nobody waits for it.
    """

    place: Place
    catalog: Catalog
    now: Callable[[], datetime]
    gently: bool = False


def commit(site: Site, draft: Draft[T]) -> T:
    """Write a draft; it exists entirely when this returns, and not at all if it raises.

    Raises:
        StoreError: the place or the catalog refused; what was written has been taken back.
    """
    blobs = objects.hashed(list(draft.files.values()), gently=site.gently)
    files = dict(zip(draft.files, blobs, strict=True))
    contents = dict(zip(blobs, draft.files.values(), strict=True))

    def write(number: int, made: list[Blob]) -> Manifest:
        objects.put(site.place, contents, made, gently=site.gently)
        return _describe(site.place, files, draft.record(number), made)

    return _written(site, _Work({blob.digest for blob in blobs}, draft.number, write, draft.register))


def adopt(
    site: Site,
    manifest: Manifest,
    contents: Mapping[Blob, Content],
    register: Callable[[Connection, Manifest], T],
    made: list[Blob] | None = None,
    number: Callable[[Connection], int] = lambda _connection: 0,
) -> T:
    """Write what another store has under a manifest, unchanged; it exists entirely when this returns, or not at all.

    What was written of it when this raises is left, so that moving a large version can go on where it stopped; a sweep
    frees it otherwise.

    Args:
        site: where to.
        manifest: as it is there.
        contents: of every blob it lists, and of itself.
        register: as in ``Draft``.
        made: is told of each blob that was written, also when this raises.
        number: notes in the catalog, with the lease, the number that the manifest states; its result is not used.

    Raises:
        StoreError: a place or the catalog refused, or a content is damaged.
    """
    written = [] if made is None else made

    def write(_number: int, made: list[Blob]) -> Manifest:
        objects.put(site.place, contents, made)
        return manifest

    return _written(site, _Work(set(manifest.blobs), number, write, register, written, resumes=True))


@dataclass(frozen=True, slots=True)
class _Work(Generic[T]):
    """What happens between a lease and its end.

    Attributes:
        digests: that are leased.
        number: drawn with the lease.
        write: puts everything in its place; may be called again.
        register: adds the rows.
        made: the blobs that were written for it.
        resumes: whether what was written is left where the rest fails.
    """

    digests: Collection[str]
    number: Callable[[Connection], int]
    write: Callable[[int, list[Blob]], Manifest]
    register: Callable[[Connection, Manifest], T]
    made: list[Blob] = field(default_factory=list)
    resumes: bool = False


def _written(site: Site, work: _Work[T]) -> T:
    site.place.prepare()
    site.catalog.prepare()
    lease, number = _leased(site, work.digests, work.number)
    asked = False
    try:
        for _ in range(_ATTEMPTS):
            manifest = work.write(number, work.made)
            asked = True
            done = site.catalog.write(lambda connection: _finished(connection, lease, manifest, work))  # noqa: B023 - called at once
            if done is not None:
                return done[0]
            _LOG.info("a lease ended while blobs were being kept", extra={"place": site.place.url})
            lease, _ = _leased(site, set(manifest.blobs), lambda _connection: 0)
    except BaseException:
        if work.resumes:
            _give_back(site, lease)
        else:
            take_back(site, work.made, lease, known=asked)
        raise
    raise StoreError(f"blobs vanish from {site.place.url} while they are written; stop what removes them and try again")


def link(connection: Connection, manifest: Manifest) -> None:
    """Say what a manifest holds."""
    unlink(connection, manifest.digest)
    rows = [{"holder": manifest.digest, "blob": digest} for digest in manifest.blobs]
    connection.execute(insert(tables.links), rows)


def unlink(connection: Connection, holder: str) -> set[str]:
    """Say that a manifest holds nothing any more; the digests it held, for ``leases.mark``."""
    links = tables.links
    held = set(connection.execute(select(links.c.blob).where(links.c.holder == holder)).scalars())
    connection.execute(delete(links).where(links.c.holder == holder))
    return held


def discard(site: Site, marked: Collection[str]) -> dict[str, int]:
    """Remove the blobs that ``leases.mark`` or ``leases.remove`` marked; digest → bytes of those that are gone.

    A refusal is logged: what is left is not marked any more, and a sweep takes it up again.
    """
    freed, began = dict[str, int](), time.monotonic()
    try:
        for digest in marked:
            if time.monotonic() - began > leases.REMOVING:
                break
            freed[digest] = site.place.delete(digest)
    except StoreError as refused:
        _LOG.warning("blobs that nothing needs were left behind", extra={"place": site.place.url, "why": str(refused)})
    left = set(marked) - set(freed)
    try:
        if marked:
            site.catalog.write(lambda connection: leases.clear(connection, set(freed), left=left, now=site.now()))
    except StoreError as refused:
        _LOG.warning("blobs are still said to be removed", extra={"place": site.place.url, "why": str(refused)})
    return freed


def _leased(site: Site, digests: Collection[str], number: Callable[[Connection], int]) -> tuple[int, int]:
    """A lease and a number, once nobody is removing any of the digests."""
    owner, seen = leases.owner(), dict[str, float]()
    while True:
        now = time.monotonic()
        waited = [digest for digest, since in seen.items() if now - since > leases.PATIENCE]

        def action(connection: Connection) -> tuple[int, set[str], int]:
            lease, going = leases.take(connection, owner, digests, now=site.now(), waited=waited)  # noqa: B023 - called at once
            return lease, going, number(connection) if lease else 0

        lease, going, drawn = site.catalog.write(action)
        if lease:
            return lease, drawn
        seen |= {digest: now for digest in going if digest not in seen}
        time.sleep(_GLANCE)


def _finished(connection: Connection, lease: int, manifest: Manifest, work: _Work[T]) -> tuple[T] | None:
    """Link and register, unless the lease ended meanwhile, perhaps by the clock of a sweep that goes wrong."""
    if not leases.live(connection, lease) or leases.going(connection, manifest.blobs):
        leases.end(connection, lease)
        return None
    link(connection, manifest)
    leases.save(connection, manifest.blobs)
    leases.end(connection, lease)
    return (work.register(connection, manifest),)


def _give_back(site: Site, lease: int) -> None:
    """End a lease whose work is to be gone on with."""
    try:
        site.catalog.write(lambda connection: leases.end(connection, lease))
    except StoreError as refused:
        _LOG.warning("a lease is left until its process is gone", extra={"place": site.place.url, "why": str(refused)})


def take_back(site: Site, made: Collection[Blob], lease: int = 0, *, known: bool = True) -> None:
    """Remove what was written for nothing, as far as the failing place lets go of it.

    Where a full disk has no room for the catalog to say so, they are removed in a transaction that writes nothing and
    only keeps other writers away; but not where the catalog was asked to register them, because a transaction that it
    could not finish may still be in its log.

    Args:
        site: where it was written.
        made: the blobs; those that something else needs stay.
        lease: under which they were written, to be ended; 0 for none.
        known: whether the catalog was asked to register them.
    """
    digests = {blob.digest for blob in made}

    def mark(connection: Connection) -> set[str]:
        leases.end(connection, lease)
        return leases.mark(connection, digests, site.now())

    def remove(connection: Connection) -> None:
        for digest in leases.unreached(connection, digests, None, but=lease):
            site.place.delete(digest)

    try:
        discard(site, site.catalog.write(mark))
    except StoreError as refused:
        _LOG.warning("blobs that nothing needs were left behind", extra={"place": site.place.url, "why": str(refused)})
        if not known and kind(site.place.url) == "folder":
            with suppress(StoreError):
                site.catalog.write(remove)


def _describe(place: Place, files: Mapping[str, Blob], record: Record, made: list[Blob]) -> Manifest:
    """Write the record, the config and the manifest of files that are there."""
    said = objects.blob(record.content)
    layers = {**files, record.path: said}
    described = manifests.config(record.config, list(layers.values()))
    config = objects.blob(described)
    content = manifests.build(layers, config, record.annotations)
    objects.put(place, {said: record.content, config: described}, made)
    objects.put(place, {objects.blob(content): content}, made)
    return manifests.parse(content, "the manifest")
