"""Freeing what no version, alias, run or lease reaches, beside writers on any machine.

A blob that nothing reaches is first condemned: written down, and left alone for a while in which a writer can still
save it. Only when that is over, and every writer that was at work when it was condemned has finished, is it marked,
removed and forgotten. ``leases`` has the rules; this file walks through them and counts.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, select

from engram.store import leases, tables, writing
from engram.store.writing import Site

__all__ = ["Swept", "plan", "sweep"]

_GLANCE = 0.1  # seconds between two looks at whether somebody goes on removing


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep did, or would do.

    Attributes:
        freed: digest → bytes of the blobs that were removed.
        waiting: digest → bytes of those that nothing reaches and that wait for their time, or for a writer to finish.
        until: when the last of those may go; None where none waits.
        held: bytes of all that stays.
    """

    freed: Mapping[str, int]
    waiting: Mapping[str, int]
    until: datetime | None
    held: int


def plan(site: Site, connection: Connection, grace: timedelta) -> Swept:
    """What a sweep would free now and later; nothing is changed."""
    there = dict(site.place.list())
    loose = leases.unreached(connection, there, site.now())
    known = select(tables.condemned.c.digest, tables.condemned.c.since)
    since = {digest: moment for digest, moment in connection.execute(known)}  # noqa: C416 - rows are not pairs to a type checker
    due = {digest for digest in loose if not grace or (digest in since and since[digest] <= site.now() - grace)}
    waiting = {digest: there[digest] for digest in loose - due}
    until = max((since.get(digest, site.now()) + grace for digest in waiting), default=None)
    held = sum(size for digest, size in there.items() if digest not in loose)
    return Swept({digest: there[digest] for digest in sorted(due)}, waiting, until, held)


def sweep(site: Site, grace: timedelta, tell: Callable[[int, int], None]) -> Swept:
    """Free what nobody reaches and what was condemned at least ``grace`` ago.

    Args:
        site: what is swept.
        grace: how long a condemned blob is left alone; none removes at once what no writer at work may need.
        tell: called with the blobs removed so far and in all.

    Raises:
        StoreError: the place or the catalog refuses; what was not removed is still there.
    """
    site.catalog.write(leases.bury)
    there = dict(site.place.list())
    loose = _condemned(site, set(there))
    freed: dict[str, int] = {}
    given_up = _given_up(site)

    def mark(connection: Connection) -> set[str]:
        return leases.remove(connection, site.now() - grace, site.now(), given_up=given_up)

    while marked := site.catalog.write(mark):
        removed = writing.discard(site, marked)
        freed |= removed
        given_up = {digest: since for digest, since in given_up.items() if digest not in marked}
        tell(len(freed), len(loose))
        if not removed:
            break
        loose |= _condemned(site, set(there) - set(freed))  # what only the removed ones stood on is loose from now on
    waiting = {digest: there[digest] for digest in loose - set(freed)}
    until = _until(site, grace) if waiting else None
    held = sum(size for digest, size in there.items() if digest not in loose and digest not in freed)
    return Swept(freed, waiting, until, held)


def _condemned(site: Site, digests: set[str]) -> set[str]:
    return site.catalog.write(lambda connection: leases.condemn(connection, digests, site.now()))


def _given_up(site: Site) -> dict[str, datetime]:
    """What somebody began to remove and does not go on with: it is watched, because clocks of machines differ."""
    with site.catalog.reading() as connection:
        dead = leases.orphaned(connection)
    began, seen = time.monotonic(), {digest: since for digest, since in _stuck(site).items() if digest not in dead}
    while seen and time.monotonic() - began < leases.PATIENCE:
        time.sleep(_GLANCE)
        now = _stuck(site)
        seen = {digest: since for digest, since in seen.items() if now.get(digest) == since}
    return dead | seen


def _stuck(site: Site) -> dict[str, datetime]:
    with site.catalog.reading() as connection:
        return leases.stuck(connection, site.now())


def _until(site: Site, grace: timedelta) -> datetime | None:
    with site.catalog.reading() as connection:
        last = connection.execute(select(tables.condemned.c.since).order_by(tables.condemned.c.since.desc())).scalar()
    return None if last is None else last + grace
