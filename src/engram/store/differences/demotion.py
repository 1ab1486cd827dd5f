"""Making old checkpoints small: which of their blobs become differences, from what, and when.

A checkpoint that is no longer the newest of its run stands on the next newer one, so that the newest is always plain
and opens at once, and the oldest, which is let go first, carries nobody. Where a checkpoint stays while its neighbors
go (every tenth, the best), what it stood on is let go as well: it is moved once to the next older one that is held, or
to nothing, because those stay. Chains end after ``swaps.LONGEST`` blobs with one that is only compressed. A blob that a
version holds stays plain, and so does one that would not become a tenth smaller.
"""

from __future__ import annotations

import logging
import mmap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache

from sqlalchemy import Connection, insert, select

from engram.errors import StoreError
from engram.store import leases, objects, tables
from engram.store.differences import deltas, series, swaps
from engram.store.differences.demoted import Demoted, Difference, differences, over
from engram.store.differences.series import Wanted
from engram.store.differences.swaps import Swap
from engram.store.objects import Blob
from engram.store.places._contract import Place
from engram.store.writing import Site

__all__ = ["Demotion", "demote", "held_bases", "over", "restore", "tidy"]

_LOG = logging.getLogger(__name__)
_SMALLER = 0.9  # part of itself that a blob must at least shrink to
_AT_ONCE = 2**27  # bytes of blobs that change together


@dataclass(frozen=True, slots=True)
class Demotion:
    """What making a run's old checkpoints small came to.

    Attributes:
        blobs: how many are differences now that were not, or stand on something else.
        plain: bytes of those.
        stored: bytes that they take now.
    """

    blobs: int = 0
    plain: int = 0
    stored: int = 0


def demote(site: Site, run: str, *, last: int = 0) -> Demotion:
    """Make the blobs of a run's older checkpoints small where that is worth it; they read as before.

    It may be killed at any moment, and run beside writers, readers, sweeps and itself.

    Args:
        site: the store.
        run: its id.
        last: how many of the checkpoints before the newest are looked at; 0 for all. After every save the last two
            will do, because the older ones were looked at before.

    Raises:
        StoreError: the place or the catalog refuses; all blobs can be read as before.
    """
    place = over(site.place)
    with site.catalog.reading() as connection:
        found = series.look(connection, run, last)
    jobs = list(series.wanted(found, cache(lambda digest: series.files(place, digest))))
    done: list[Swap] = []
    for portion in _portions(jobs):
        changes = [_change(place, wanted) for wanted in _allowed(site, portion)]
        done += swaps.swap(site, [change for change in changes if change])
    sizes = {wanted.blob.digest: wanted.blob.size for wanted in jobs}
    made = [(sizes[change.digest], change.after.size) for change in done if change.after]
    return Demotion(len(made), sum(plain for plain, _ in made), sum(stored for _, stored in made))


def tidy(site: Site) -> int:
    """Finish what demotions that were killed left half done, and make plain what a version holds; blobs changed.

    Raises:
        StoreError: the place or the catalog refuses; all blobs can be read as before.
    """
    place = over(site.place)
    found: dict[str, list[Difference]] = {}
    for one in differences(place.plain):
        found.setdefault(one.digest, []).append(one)
    with site.catalog.reading() as connection:
        rows = {row.digest: row.base for row in connection.execute(select(tables.deltas))}
        kept = {digest for digest in found.keys() | rows.keys() if swaps.released(connection, digest)}
    plain = {digest for digest, _ in place.plain.list()} if found or rows else set()
    changed = 0
    for digest in sorted(found.keys() | rows.keys()):
        single = [one.base for one in found.get(digest, [])] == [rows.get(digest)]
        if not single or digest in plain or digest in kept:
            change = _straightened(place, digest, rows.get(digest), kept=digest in kept)
            changed += len(swaps.swap(site, [change] if change else []))
    return changed


def held_bases(connection: Connection) -> set[str]:
    """The blobs that something stands on: none of them may be removed, whether or not anything else needs it."""
    asked = select(tables.deltas.c.base).where(tables.deltas.c.base != "").distinct()
    return set(connection.execute(asked).scalars())


def restore(connection: Connection, place: Place) -> None:
    """Fill the empty table of differences from the documents of a place.

    Raises:
        StoreError: the place refuses.
    """
    plain = over(place).plain
    there = {digest for digest, _ in plain.list()}
    depths = dict.fromkeys(there, 0)
    waiting = [one for one in differences(plain) if one.digest not in there]
    while waiting:
        ready = [one for one in waiting if not one.base or one.base in depths]
        for one in ready:
            if one.digest not in depths:
                depths[one.digest] = depths.get(one.base, 0) + 1
                values = {"digest": one.digest, "base": one.base, "depth": depths[one.digest], "size": one.size}
                connection.execute(insert(tables.deltas).values(**values))
        if not ready:
            return
        waiting = [one for one in waiting if one.digest not in depths]


def _portions(jobs: Sequence[Wanted]) -> Iterator[list[Wanted]]:
    """Blobs of one checkpoint, so that none stands on another of them, and not too many bytes at a time."""
    portion: list[Wanted] = []
    for wanted in jobs:
        size = sum(one.blob.size for one in portion)
        if portion and (wanted.number != portion[0].number or size + wanted.blob.size > _AT_ONCE):
            yield portion
            portion = []
        portion.append(wanted)
    if portion:
        yield portion


def _allowed(site: Site, portion: Sequence[Wanted]) -> list[Wanted]:
    """Those that nobody is writing just now, on their base only where the chain does not become too long."""
    with site.catalog.reading() as connection:
        busy = leases.leased(connection, site.now())
        return [
            wanted if swaps.room(connection, wanted.blob.digest, wanted.base) else replace(wanted, base="")
            for wanted in portion
            if wanted.blob.digest not in busy
        ]


def _change(place: Demoted, wanted: Wanted) -> Swap | None:
    """Write a blob as a difference and read it back; None where that is not worth it, or something is damaged."""
    blob, base = wanted.blob, wanted.base
    plain, under = _intact(place, blob), _intact(place, Blob(base, blob.size)) if base else None
    if plain is None:
        return None
    container = deltas.encode(blob.digest, plain, None if under is None else (base, under))
    if len(container) > _SMALLER * blob.size:
        return None if wanted.before is None else _plain(place, wanted, plain)
    after = Difference(blob.digest, deltas.header(container, blob.digest).base, len(container))
    place.write(after.name, container)
    return Swap(blob.digest, wanted.before, after, container) if _comes_back(place, after) else None


def _comes_back(place: Demoted, after: Difference) -> bool:
    """Whether a difference that was just written gives its blob; it does not if what it stands on was just let go."""
    try:
        place.together(after)
    except StoreError as refused:
        _LOG.warning("a blob is not made small", extra={"place": place.url, "why": str(refused)})
        return False
    return True


def _plain(place: Demoted, wanted: Wanted, content: bytes | mmap.mmap) -> Swap:
    """Write a blob plain again, whose difference from anything that stays would be too large."""
    place.put(wanted.blob.digest, [memoryview(content)])
    place.settle()
    return Swap(wanted.blob.digest, wanted.before, None, content)


def _straightened(place: Demoted, digest: str, before: str | None, *, kept: bool) -> Swap | None:
    """What brings a blob into one form that is stored more than once, or otherwise than its row says."""
    plain = _hashed(place.plain, digest)
    if plain is not None and (kept or before is None):
        return Swap(digest, before, None, plain)
    good = _readable(place, digest, before)
    if good is None:
        return None if plain is None else Swap(digest, before, None, plain)
    after, container, whole = good
    if kept:
        place.put(digest, [memoryview(whole)])
        place.settle()
        return Swap(digest, before, None, whole)
    return Swap(digest, before, after, container)


def _readable(place: Demoted, digest: str, before: str | None) -> tuple[Difference, bytes, bytes] | None:
    """A difference that gives the blob, its content, and the blob; the one that counts is tried first."""
    for found in sorted(differences(place.plain, digest), key=lambda one: one.base != before):
        try:
            return found, place.document(found.name), place.together(found)
        except StoreError as refused:
            _LOG.warning("a difference cannot be read", extra={"place": place.url, "why": str(refused)})
    return None


def _intact(place: Place, blob: Blob) -> bytes | mmap.mmap | None:
    """A blob, if it is what it should be: nothing must be made of damage, or stand on it."""
    content = _hashed(place, blob.digest)
    return content if content is not None and len(content) == blob.size else None


def _hashed(place: Place, digest: str) -> bytes | mmap.mmap | None:
    try:
        content = place.map(digest)
    except StoreError:
        return None
    return content if objects.digest([content]) == digest else None
