"""Who is writing what, so that nothing is swept from under a writer, on whichever machine.

A writer takes a lease on every digest it is about to need *before* it looks whether the blob is there. From then on no
sweep condemns that blob, and one that was condemned is saved; only a blob that is being removed at this very moment
cannot be, and the writer waits until it is gone. What a lease does not name (a record that states its version's number,
which is drawn with the lease) is protected by order: a condemned blob is removed only once every lease is over that
was given out before it was condemned.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from types import MappingProxyType

from sqlalchemy import Connection, delete, func, insert, or_, select, update

from engram.store import tables

__all__ = [
    "PATIENCE",
    "REMOVING",
    "bury",
    "clear",
    "condemn",
    "dead",
    "end",
    "going",
    "leased",
    "live",
    "mark",
    "orphaned",
    "owner",
    "remove",
    "save",
    "stuck",
    "take",
    "unreached",
]

_LASTS = timedelta(days=1)
"""A killed writer's lease is forgotten after this; one who writes longer looks again at the end."""

REMOVING = 10.0
"""Seconds after which whoever removes what was marked stops by his own clock, however much is left."""

PATIENCE = 100.0
"""Seconds that a writer waits, by its own clock, before it takes another machine's removal for dead: longer than the
last request of one that stopped in time may still be on its way to a server."""

_NEVER = 2**62  # a lease with so high a number will never be given
_FEW = 2_000  # digests that are asked for one by one; of more, all that is held is read
_FORGOTTEN = timedelta(hours=1)
"""A removal that began so long before is taken up again by the next sweep, if nobody is seen to go on with it."""


def take(
    connection: Connection, owner: str, digests: Collection[str], *, now: datetime, waited: Collection[str] = ()
) -> tuple[int, set[str]]:
    """A lease on digests.

    Args:
        connection: of a transaction that writes.
        owner: who writes, for those who look.
        digests: that must not be swept from now on.
        now: the present moment.
        waited: digests whose removal the caller has waited for with ``PATIENCE``.

    Returns:
        The lease, and those of the digests that are being removed right now; where there are any, no lease is given
        (0): wait until they are gone.
    """
    if leaving := going(connection, set(digests) - set(waited)):
        return 0, leaving
    save(connection, digests)
    values = {"owner": owner, "until": now + _LASTS, "digests": sorted(digests)}
    made = connection.execute(insert(tables.leases).values(**values)).inserted_primary_key
    assert made is not None
    return int(made[0]), set()


def going(connection: Connection, digests: Collection[str]) -> set[str]:
    """Those that somebody is removing right now, as far as that one is known to be alive."""
    condemned, found = tables.condemned, set[str]()
    for part in _parts(sorted(digests)):
        asked = select(condemned.c.digest, condemned.c.owner).where(condemned.c.digest.in_(part), condemned.c.deleting)
        found |= {row.digest for row in connection.execute(asked) if not _gone(row.owner)}
    return found


def save(connection: Connection, digests: Collection[str]) -> None:
    """Take off the list of those to be removed what is held from now on."""
    for part in _parts(sorted(digests)):
        connection.execute(delete(tables.condemned).where(tables.condemned.c.digest.in_(part)))


def live(connection: Connection, lease: int) -> bool:
    """Whether a lease still stands."""
    return connection.execute(select(tables.leases.c.id).where(tables.leases.c.id == lease)).first() is not None


def end(connection: Connection, lease: int) -> None:
    """Give a lease back."""
    connection.execute(delete(tables.leases).where(tables.leases.c.id == lease))


def condemn(connection: Connection, digests: Collection[str], now: datetime) -> set[str]:
    """Put on the list of those to be removed what nobody holds, leases or stands on; all of these on the list now."""
    free = unreached(connection, digests, now)
    known = set(connection.execute(select(tables.condemned.c.digest)).scalars())
    last = connection.execute(select(func.max(tables.leases.c.id))).scalar() or 0
    about = {"mark": last, "since": now, "deleting": False, "owner": ""}
    rows = [{"digest": digest, **about} for digest in sorted(free - known)]
    if rows:
        connection.execute(insert(tables.condemned), rows)
    return free


def unreached(connection: Connection, digests: Collection[str], now: datetime | None, *, but: int = 0) -> set[str]:
    """Those that no manifest lists, no delta stands on and no lease names.

    Args:
        connection: to the catalog.
        digests: that are asked for.
        now: the present moment, at which a lease may be over; None for all leases, whatever a clock says.
        but: a lease that does not count.
    """
    links, deltas = tables.links, tables.deltas
    if len(digests) <= _FEW:
        free = {digest for part in _parts(sorted(digests)) for digest in _free(connection, part)}
    else:
        held = set(connection.execute(select(links.c.blob).distinct()).scalars())
        free = set(digests) - held - set(connection.execute(select(deltas.c.base)).scalars())
    return free - leased(connection, now, but=but)


def mark(connection: Connection, digests: Collection[str], now: datetime) -> set[str]:
    """Mark as being removed at once those that were held until now and that nobody holds, leases or stands on.

    The caller removes the blobs once the transaction is over, within ``REMOVING``, and then calls ``clear``.
    """
    condemned = tables.condemned
    free = unreached(connection, digests, now)
    for part in _parts(sorted(free)):
        connection.execute(delete(condemned).where(condemned.c.digest.in_(part)))
        about = {"mark": 0, "since": now, "deleting": True, "owner": owner()}
        rows = [{"digest": digest, **about} for digest in part]
        connection.execute(insert(condemned), rows)
    return free


def orphaned(connection: Connection) -> dict[str, datetime]:
    """What a process of this machine was removing that is gone, and when that began."""
    rows = connection.execute(select(tables.condemned).where(tables.condemned.c.deleting))
    return {row.digest: row.since for row in rows if _gone(row.owner)}


def stuck(connection: Connection, now: datetime) -> dict[str, datetime]:
    """What seems to have been given up while it was removed, and when that began; by the clock, which may go wrong."""
    condemned = tables.condemned
    dead = or_(condemned.c.since <= now - _FORGOTTEN, condemned.c.since > now + _FORGOTTEN)
    asked = select(condemned.c.digest, condemned.c.since).where(condemned.c.deleting, dead)
    return {row.digest: row.since for row in connection.execute(asked)}


def remove(
    connection: Connection,
    before: datetime,
    now: datetime,
    *,
    given_up: Mapping[str, datetime] = MappingProxyType({}),
    most: int = 500,
) -> set[str]:
    """Mark as being removed what was condemned before a moment and that nobody has needed since; those digests.

    The caller removes the blobs once the transaction is over, within ``REMOVING``, and then calls ``clear``.

    Args:
        connection: of a transaction that writes.
        before: what was condemned later stays.
        now: the present moment.
        given_up: what is ``orphaned``, or was ``stuck`` and still so after ``PATIENCE``, and since when; what somebody
            else has taken up since is left to him.
        most: how many at a time, so that removing them fits into ``REMOVING``.
    """
    condemned = tables.condemned
    # a clock that was set back must not keep what is condemned "in the future" for ever
    due = or_(condemned.c.since <= before, condemned.c.since > now + _FORGOTTEN)
    over = condemned.c.mark < min(_standing(connection, now), default=_NEVER)
    asked = select(condemned.c.digest).where(~condemned.c.deleting, due, over).limit(most)
    ready = [*connection.execute(asked).scalars(), *_still(connection, given_up)]
    free = unreached(connection, ready, now)
    save(connection, set(ready) - free)
    for part in _parts(sorted(free)):
        marked = update(condemned).where(condemned.c.digest.in_(part))
        connection.execute(marked.values(deleting=True, since=now, owner=owner()))
    return free


def _still(connection: Connection, given_up: Mapping[str, datetime]) -> set[str]:
    """Those that are marked as they were."""
    condemned, found = tables.condemned, set[str]()
    for part in _parts(sorted(given_up)):
        asked = select(condemned.c.digest, condemned.c.since).where(condemned.c.digest.in_(part), condemned.c.deleting)
        found |= {row.digest for row in connection.execute(asked) if row.since == given_up[row.digest]}
    return found


def clear(connection: Connection, digests: Collection[str], *, left: Collection[str], now: datetime) -> None:
    """Take off the list what has been removed, give back what was marked and left, and forget leases that are over."""
    save(connection, digests)
    for part in _parts(sorted(digests)):
        connection.execute(delete(tables.deltas).where(tables.deltas.c.digest.in_(part)))
    for part in _parts(sorted(left)):
        here = update(tables.condemned).where(tables.condemned.c.digest.in_(part))
        connection.execute(here.values(deleting=False))
    stands = _standing(connection, now)
    for number in set(connection.execute(select(tables.leases.c.id)).scalars()) - set(stands):
        end(connection, number)


def owner() -> str:
    """This process and the age of its machine, for others on it who want to know whether it still runs, and since when.

    The machine counts its own age, whatever its clock is set to meanwhile.
    """
    return f"{_machine()}/{os.getpid()}/{_born(os.getpid())}/{time.monotonic():.0f}"


def bury(connection: Connection) -> int:
    """Forget the leases of processes of this machine that are gone; how many.

    One that is taken for gone and is not notices at the end that its lease is over, and looks again whether everything
    is there.
    """
    rows = connection.execute(select(tables.leases.c.id, tables.leases.c.owner)).all()
    gone = [row.id for row in rows if _gone(row.owner)]
    for number in gone:
        end(connection, number)
    return len(gone)


def dead(connection: Connection) -> set[str]:
    """All digests that the leases of processes of this machine name which are gone."""
    rows = connection.execute(select(tables.leases.c.owner, tables.leases.c.digests)).all()
    return {digest for row in rows if _gone(row.owner) for digest in row.digests}


def _gone(said: str) -> bool:
    machine, number, born, _ = _taken_apart(said)
    return machine == _machine() and number.isdigit() and _born(int(number)) != born


def _taken_apart(said: str) -> tuple[str, str, str, float]:
    """Machine, process, its beginning, and the age of the machine when it took a lease."""
    machine, number, born, age, *_ = [*said.split("/"), "", "", "", ""]
    return machine, number, born, float(age) if age.isdigit() else 0.0


@cache
def _machine() -> str:
    """This machine since it was started; a container counts for one, because it does not see who runs in another."""
    try:
        started = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{started}:{Path('/proc/self/ns/pid').readlink().name}"
    except OSError:
        return socket.gethostname()


def _born(process: int) -> str:
    """When a process began, in ticks of its machine; empty if there is none."""
    try:
        return (
            Path(f"/proc/{process}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()[19]
        )
    except OSError:
        return ""


def _standing(connection: Connection, now: datetime | None) -> dict[int, list[str]]:
    """The leases that are not over, and what they name; all of them if no moment is given."""
    rows = connection.execute(select(tables.leases)).all()
    return {row.id: row.digests for row in rows if now is None or _stands(row.owner, row.until, now)}


def _stands(said: str, until: datetime, now: datetime) -> bool:
    """Whether a lease is not over: by the age of its machine where this is the one, which no clock changes.

    Elsewhere by the clock; one that ends later than any lease was given by a clock that has been set back since.
    """
    machine, _, _, age = _taken_apart(said)
    if machine == _machine() and age:
        return time.monotonic() - age < _LASTS.total_seconds()
    return now < until <= now + 2 * _LASTS


def leased(connection: Connection, now: datetime | None, *, but: int = 0) -> set[str]:
    """All digests that a lease names, as ``unreached`` counts them."""
    stands = _standing(connection, now)
    return {digest for number, digests in stands.items() if number != but for digest in digests}


def _free(connection: Connection, digests: list[str]) -> set[str]:
    """Those that no manifest lists and no delta stands on."""
    links, deltas = tables.links, tables.deltas
    held = set(connection.execute(select(links.c.blob).where(links.c.blob.in_(digests))).scalars())
    held |= set(connection.execute(select(deltas.c.base).where(deltas.c.base.in_(digests))).scalars())
    return set(digests) - held


def _parts(digests: list[str]) -> list[list[str]]:
    """In portions that a statement can name."""
    return [digests[start : start + 500] for start in range(0, len(digests), 500)]
