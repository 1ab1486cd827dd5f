"""Which blobs of a run's checkpoints are to become differences, which are some, and which other blob they stand on.

A blob stands on the one of the same path in the next newer checkpoint; one whose base nothing else holds any more is
moved to that of the next older one, because a checkpoint that outlived its neighbors will not be let go soon. What is
asked of the catalog here is asked after every save, so no question looks at more than the run itself.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, exists, select

from engram.errors import StoreError
from engram.store import manifests, tables
from engram.store.catalogs._contract import Catalog
from engram.store.objects import Blob
from engram.store.places._contract import Place

__all__ = ["Series", "Wanted", "files", "known", "look", "wanted"]

_LOG = logging.getLogger(__name__)
_AT_ONCE = 500  # digests that a statement can name
_SMALLEST = 4_096  # bytes of a blob from which it is worth a document of its own
_NUMBERS = ".safetensors"
_CHANCE = "training/random-"  # states of generators, which nothing predicts

Files = Mapping[str, Blob]


@dataclass(frozen=True, slots=True)
class Wanted:
    """A blob that is to be a difference.

    Attributes:
        blob: which.
        base: from what; empty to compress it only.
        before: what it stands on now; None where it is plain.
        number: of the checkpoint, counted from the newest.
    """

    blob: Blob
    base: str
    before: str | None
    number: int


@dataclass(frozen=True, slots=True)
class Series:
    """A run's checkpoints as the catalog has them.

    Attributes:
        held: digests of their manifests, the newest first.
        looked: positions of those that are looked at, the oldest first.
        loose: blob → what it stands on, where that is held for nothing else.
        settled: blobs that stay as they are.
    """

    held: tuple[str, ...]
    looked: tuple[int, ...]
    loose: Mapping[str, str]
    settled: frozenset[str]


def known(catalog: Catalog) -> Callable[[Collection[str]], set[str]]:
    """A question to a catalog: which of some digests are those of blobs that are stored as differences."""
    rows = tables.deltas

    def found(digests: Collection[str]) -> set[str]:
        ordered, made = sorted(digests), set[str]()
        with catalog.reading() as connection:
            for start in range(0, len(ordered), _AT_ONCE):
                part = ordered[start : start + _AT_ONCE]
                made |= set(connection.execute(select(rows.c.digest).where(rows.c.digest.in_(part))).scalars())
        return made

    return found


def look(connection: Connection, run: str, last: int) -> Series:
    """What the catalog knows of a run's checkpoints; of the last so many before the newest, or of all (0)."""
    rows, links, stood = tables.checkpoints, tables.links, tables.deltas
    held = tuple(
        connection.execute(select(rows.c.digest).where(rows.c.run == run).order_by(rows.c.id.desc())).scalars()
    )
    of_run = select(links.c.blob).where(links.c.holder.in_(held[1:]))
    base = links.alias()
    alone = (stood.c.base != "") & ~exists().where(base.c.blob == stood.c.base)
    standing = connection.execute(select(stood).where(stood.c.digest.in_(of_run), alone))
    loose = {row.digest: row.base for row in standing}
    settled = set(connection.execute(of_run.where(_fixed(links.c.blob))).scalars())
    settled |= set(connection.execute(select(stood.c.digest).where(stood.c.digest.in_(of_run))).scalars())
    moved = set(connection.execute(select(links.c.holder).where(links.c.blob.in_(loose))).scalars()) if loose else set()
    looked = [n for n in range(len(held) - 1, 0, -1) if not last or n <= last or held[n] in moved]
    return Series(held, tuple(looked), loose, frozenset(settled - loose.keys()))


def _fixed(blob: ColumnElement[str]) -> ColumnElement[bool]:
    """Whether a version, or the newest checkpoint of some run, holds a blob."""
    rows, versions, of_blob = tables.checkpoints, tables.versions, tables.links.alias()
    later = rows.alias()
    newest = ~exists().where(later.c.run == rows.c.run, later.c.id > rows.c.id)
    in_version = exists().where(of_blob.c.blob == blob, versions.c.digest == of_blob.c.holder)
    in_newest = exists().where(of_blob.c.blob == blob, rows.c.digest == of_blob.c.holder, newest)
    return in_version | in_newest


def wanted(of_run: Series, load: Callable[[str], Files]) -> Iterator[Wanted]:
    """What is to be changed, the oldest first, so that what a blob is to stand on is still plain."""
    seen = set(of_run.settled)
    for number in of_run.looked:
        for path, blob in load(of_run.held[number]).items():
            if blob.digest in seen or blob.size < _SMALLEST:
                continue
            seen.add(blob.digest)
            before = of_run.loose.get(blob.digest)
            near = of_run.held[number - 1 :: -1] if before is None else of_run.held[number + 1 :]
            yield Wanted(blob, _neighbor(map(load, near), path, blob), before, number)


def _neighbor(checkpoints: Iterable[Files], path: str, blob: Blob) -> str:
    """The blob that is nearest under the same path and not the same; empty if there is none that could serve."""
    for held in checkpoints:
        there = held.get(path)
        if there is None or there.size != blob.size:
            return ""
        if there.digest != blob.digest:
            return there.digest
    return ""


def files(place: Place, digest: str) -> Files:
    """The files of a checkpoint that hold what changes little; none where its manifest is damaged."""
    try:
        found = manifests.read(place, digest).files
    except StoreError as refused:
        _LOG.warning("a checkpoint is not made small", extra={"place": place.url, "why": str(refused)})
        return {}
    return {path: blob for path, blob in found.items() if path.endswith(_NUMBERS) and not path.startswith(_CHANCE)}
