"""Versions and checkpoints that lie in a place and that its catalog does not know, although they were acknowledged.

A catalog may be one that came back from a backup, older than what has been kept since. By its lights all of that is
waste, and a sweep would free it. A manifest alone proves nothing, since a keep that was killed leaves one, too; but
every number is drawn from the catalog before a manifest states it. One with a number that the catalog has not given out
yet, or that it knows as another version's, was therefore written by the leave of a later catalog.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from engram.errors import StoreError
from engram.store import described, leases, lost, tables
from engram.store.differences import demoted
from engram.store.manifests import Manifest
from engram.store.moves import history
from engram.store.places._contract import Place

__all__ = ["Stray", "demand_none", "look", "pointed"]

_SHOWN = 5
_UNKNOWN = "is whole and not in the catalog, which is older; take it in with engram verify --rebuild"


@dataclass(frozen=True, slots=True)
class Stray:
    """A version or checkpoint that the catalog does not know.

    Attributes:
        digest: of its manifest.
        called: ``income:8``, or ``step 40 of run income-1``; its digest where nothing tells more.
        fault: what is wrong, and what can be done.
        lost: whether it cannot be read either.
    """

    digest: str
    called: str
    fault: str
    lost: bool = False


def look(place: Place, connection: Connection) -> list[Stray]:
    """What lies in a place unknown to its catalog, and what was kept there and cannot be read.

    Raises:
        StoreError: the place or the catalog refuses.
    """
    plain = demoted.over(place).plain
    loose = _loose(connection, {digest for digest, size in plain.list() if size <= described.LARGEST})
    found = [_stray(plain, connection, digest, said) for digest, said in described.among(plain, sorted(loose))]
    gone = [one for one in lost.every(plain) if not _known(connection, one.digest)]
    gone += pointed(connection)
    seen = {one.digest: one for one in found if one is not None}
    return sorted([*({one.digest: _gone(one) for one in gone} | seen).values()], key=lambda one: one.called)


def pointed(connection: Connection) -> list[lost.Lost]:
    """The versions that aliases point at now and that the catalog does not know."""
    return [
        lost.Lost(target, alias.partition("@")[0])
        for alias, target in history.current(connection).items()
        if not _known(connection, target)
    ]


def demand_none(place: Place, connection: Connection) -> None:
    """See that the catalog knows all there is, before anything is removed by what it says.

    Raises:
        StoreError: it does not; the message says what to do.
    """
    found = look(place, connection)
    if not found:
        return
    more = f" and {len(found) - _SHOWN:,} more" if len(found) > _SHOWN else ""
    named = ", ".join(one.called for one in found[:_SHOWN]) + more
    if all(one.lost for one in found):
        raise StoreError(
            f"{named} cannot be read in {place.url}, and what it needs would be freed; bring it back with engram "
            "verify --repair OTHER-STORE, or give it up with engram verify --forget"
        )
    raise StoreError(
        f"{named} lie in {place.url} and are not in its catalog, which is older; nothing is freed until engram verify "
        "--rebuild has taken them in"
    )


def _gone(one: lost.Lost) -> Stray:
    fault = f"the manifest of {one.called} is damaged or gone; bring it back with --repair, or give it up with --forget"
    return Stray(one.digest, one.called, fault, lost=True)


def _stray(place: Place, connection: Connection, digest: str, found: Manifest | StoreError) -> Stray | None:
    """What is proven of a manifest that nothing in the catalog holds."""
    if isinstance(found, StoreError):
        return _gone(lost.found(place, digest))
    try:
        called = (_checkpoint if described.is_checkpoint(found) else _version)(place, connection, found)
    except StoreError as refused:
        return Stray(digest, digest, str(refused), lost=True) if described.damaged(place, found) else None
    return Stray(digest, called, f"{called} {_UNKNOWN}") if called else None


def _version(place: Place, connection: Connection, manifest: Manifest) -> str:
    """What a version is called that a later catalog gave its number to; empty for one that was never finished."""
    said = described.version(place, manifest)
    names, rows = tables.names, tables.versions
    last = connection.execute(select(names.c.last).where(names.c.name == said.name)).scalar() or 0
    same = (rows.c.name == said.name) & (rows.c.number == said.number)
    taken = connection.execute(select(rows.c.digest).where(same)).first() is not None
    return said.reference if said.number > last or taken else ""


def _checkpoint(place: Place, connection: Connection, manifest: Manifest) -> str:
    """The same of a checkpoint, whose numbers nobody writes down as given out; but whoever saves one has a lease."""
    of_run, saved = described.checkpoint(place, manifest)
    known = connection.execute(select(tables.runs.c.id).where(tables.runs.c.id == saved.run)).first() is not None
    rows = tables.checkpoints
    last = connection.execute(select(func.max(rows.c.number)).where(rows.c.run == saved.run)).scalar() or 0
    saving = not leases.leased(connection, None).isdisjoint(manifest.blobs)
    return "" if saving or (known and saved.number <= last) else f"step {saved.step} of run {of_run.id}"


def _known(connection: Connection, digest: str) -> bool:
    rows = tables.versions
    return connection.execute(select(rows.c.digest).where(rows.c.digest == digest)).first() is not None


def _loose(connection: Connection, digests: set[str]) -> set[str]:
    """Those that no manifest lists, that no writer is at, and that the catalog has not given up itself."""
    held = set(connection.execute(select(tables.links.c.blob).distinct()).scalars())
    given_up = set(connection.execute(select(tables.condemned.c.digest)).scalars())
    return digests - held - given_up - leases.leased(connection, None)
