"""Changing how a blob is stored, under the eyes of writers, readers, sweeps and others who would change it, too.

First the new form is written, durable, and read back. Then one transaction writes down that it counts, and marks the
blob as being removed, which is true of its other forms: a writer who needs the blob waits, a sweep keeps off, and who
would change it as well lets it be. Only then do the other forms go, and a second transaction takes the mark away. Who
is killed in between leaves a blob that is there more than once. What a difference stands on is held from the first
transaction on, for as long as the row of the difference is there.

That transaction lets go of what the blob stood on before. So where it stood on something, the new form must still lie
there while nobody else can be removing it, which is within that transaction: whoever tidies up beside takes what is
written and does not count for a leftover.
"""

from __future__ import annotations

import mmap
import secrets
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, delete, exists, insert, select, update

from engram.store import leases, tables, writing
from engram.store.differences.demoted import Demoted, Difference, differences, over
from engram.store.writing import Site

__all__ = ["LONGEST", "Swap", "released", "room", "swap"]

LONGEST = 8
"""Blobs that must be put together, one after the other, to read the last of a chain."""


@dataclass(frozen=True, slots=True)
class Swap:
    """A change of how a blob is stored.

    Attributes:
        digest: of the blob.
        before: what its row says that it stands on; None where it has no row.
        after: the difference that counts from now on; None where the blob is to be plain.
        content: of that difference, or of the blob itself, in case it went meanwhile.
    """

    digest: str
    before: str | None
    after: Difference | None
    content: bytes | mmap.mmap


def swap(site: Site, changes: Sequence[Swap]) -> list[Swap]:
    """Let other forms of blobs count, which are durable already, and remove the rest; those where that was possible.

    All of them share two transactions, so they should not be more than can be removed in ``leases.REMOVING``.

    Raises:
        StoreError: the place or the catalog refuses; the blobs are there as before, or more than once.
    """
    if not changes:
        return []
    place, token = over(site.place), -secrets.randbits(62) - 1

    def seize(connection: Connection) -> list[Swap]:
        return _seize(connection, [change for change in changes if _safe(place, change)], token, site.now())

    seized = site.catalog.write(seize)
    done, began = list[Swap](), time.monotonic()
    try:
        for change in seized:
            _drop(place, change, began)
            done.append(change)
    finally:
        if seized:
            loose = site.catalog.write(lambda connection: _release(connection, done, token, site.now()))
            writing.discard(Site(place, site.catalog, site.now), loose)
    return done


def _safe(place: Demoted, change: Swap) -> bool:
    """Whether the blob reads when it may no longer stand on what it stood on: as a difference that lies there."""
    moves = change.before is not None and change.after is not None
    return not moves or change.after in differences(place.plain, change.digest)


def room(connection: Connection, digest: str, base: str) -> bool:
    """Whether a blob can stand on another without a circle, and without a chain that is too long.

    The base may be made small itself, later: it counts as if it were.
    """
    chain, depth = _chain(connection, base) if base else ([], 0)
    above = max((further for _, further in _above(connection, digest)), default=0)
    return digest not in chain and max(depth, 1 if base else 0) + 1 + above <= LONGEST


def _deepen(connection: Connection, digest: str, depth: int) -> None:
    """Write down how deep those stand that stand on a blob."""
    for one, further in list(_above(connection, digest)):
        connection.execute(update(tables.deltas).where(tables.deltas.c.digest == one).values(depth=depth + further))


def released(connection: Connection, digest: str) -> bool:
    """Whether a version holds a blob."""
    links, versions = tables.links, tables.versions
    held = select(links.c.blob).join(versions, versions.c.digest == links.c.holder).where(links.c.blob == digest)
    return connection.execute(held.limit(1)).first() is not None


def _seize(connection: Connection, changes: Sequence[Swap], token: int, now: datetime) -> list[Swap]:
    """Write down what counts from now on, and that all else is being removed, except where somebody is in the way."""
    busy = leases.leased(connection, now)
    done = [change for change in changes if change.digest not in busy and _changed(connection, change)]
    about = {"mark": token, "since": now, "deleting": True, "owner": leases.owner()}
    rows = [{"digest": change.digest, **about} for change in done]
    if rows:
        leases.save(connection, [change.digest for change in done])
        connection.execute(insert(tables.condemned), rows)
    return done


def _changed(connection: Connection, change: Swap) -> bool:
    """Change the row of a blob, if it says what it should and the blob is not being removed."""
    rows, after = tables.deltas, change.after
    base = after.base if after else ""
    if leases.going(connection, {change.digest, base}) or not _linked(connection, change.digest):
        return False
    row = connection.execute(select(rows.c.base).where(rows.c.digest == change.digest)).scalar()
    if row != change.before or (after is not None and not _may(connection, change, after)):
        return False
    if after is not None:  # otherwise what it stands on is needed until it is surely plain
        connection.execute(delete(rows).where(rows.c.digest == change.digest))
        depth = _chain(connection, base)[1] + 1 if base else 1
        values = {"digest": change.digest, "base": base, "depth": depth, "size": after.size}
        connection.execute(insert(rows).values(**values))
        _deepen(connection, change.digest, depth)
    return True


def _may(connection: Connection, change: Swap, after: Difference) -> bool:
    """Whether a blob may be stored as this difference: no version holds it, and what it stands on will stay."""
    if released(connection, change.digest):
        return False
    if after.base == change.before:
        return True
    return (not after.base or _linked(connection, after.base)) and room(connection, change.digest, after.base)


def _drop(place: Demoted, change: Swap, began: float) -> None:
    """Remove every form but the one that counts, as long as others wait for it.

    Whether that one is there is looked at again: before the mark was set, somebody else could have removed it.
    """
    after = change.after
    there = differences(place.plain, change.digest)
    if after is None:
        if place.plain.missing({change.digest: len(change.content)}):
            place.put(change.digest, [memoryview(change.content)])
            place.settle()
    elif after not in there:
        place.write(after.name, bytes(change.content))
    if after is not None and time.monotonic() - began < leases.REMOVING:
        place.plain.delete(change.digest)
    for other in there:
        if other != after and time.monotonic() - began < leases.REMOVING:
            place.remove(other.name)


def _release(connection: Connection, done: Sequence[Swap], token: int, now: datetime) -> set[str]:
    """Take the marks away, and mark what the blobs stood on until now if nobody needs it any more."""
    connection.execute(delete(tables.condemned).where(tables.condemned.c.mark == token))
    for change in done:
        if change.after is None:
            connection.execute(delete(tables.deltas).where(tables.deltas.c.digest == change.digest))
            _deepen(connection, change.digest, 0)
    stood = {change.before for change in done if change.before}
    return leases.mark(connection, stood, now) if stood else set()


def _linked(connection: Connection, digest: str) -> bool:
    return bool(connection.execute(select(exists().where(tables.links.c.blob == digest))).scalar())


def _chain(connection: Connection, digest: str) -> tuple[list[str], int]:
    """A blob, what it stands on, and so on; and how many of these must be put together before it can be read."""
    rows, chain, depth = tables.deltas, list[str](), 0
    while digest and digest not in chain:
        chain.append(digest)
        base = connection.execute(select(rows.c.base).where(rows.c.digest == digest)).scalar()
        depth += base is not None
        digest = base or ""
    return chain, depth


def _above(connection: Connection, digest: str) -> Iterator[tuple[str, int]]:
    """The blobs that stand on this one, and how far above it."""
    rows, level, seen = tables.deltas, {digest}, {digest}
    for depth in range(1, 2 * LONGEST):
        found = connection.execute(select(rows.c.digest).where(rows.c.base.in_(sorted(level)))).scalars()
        level = set(found) - seen
        seen |= level
        yield from ((one, depth) for one in sorted(level))
        if not level:
            return
