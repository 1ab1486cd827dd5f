"""Hashing every blob again, and naming what a damaged one hurts.

What is looked for comes from the catalog and not from the folder, because a blob that is gone is damage too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Connection, select

from engram.errors import StoreError
from engram.store import tables
from engram.store.objects import digest
from engram.store.places._contract import Place

__all__ = ["Damage", "verify"]


@dataclass(frozen=True, slots=True)
class Damage:
    """A blob that is not what it should be.

    Attributes:
        digest: of the blob.
        fault: what is wrong with it, in a few words.
        hurts: the versions (``income:7``), aliases (``income@prod``) and checkpoints that need it.
    """

    digest: str
    fault: str
    hurts: tuple[str, ...]


def verify(place: Place, connection: Connection, tell: Callable[[int, int], None]) -> list[Damage]:
    """Every damaged blob of a store, by digest.

    Args:
        place: where the blobs are.
        connection: to the catalog.
        tell: called with the blobs hashed so far and in all.
    """
    needed = _needed(connection)
    damaged = []
    for done, wanted in enumerate(sorted(needed)):
        tell(done, len(needed))
        if fault := _fault(place, wanted):
            damaged.append(Damage(wanted, fault, tuple(sorted(needed[wanted]))))
    tell(len(needed), len(needed))
    return damaged


def _fault(place: Place, wanted: str) -> str:
    try:
        content = place.map(wanted)
    except StoreError as refused:
        return str(refused)
    return "" if digest([content]) == wanted else f"{len(content):,} bytes with another digest"


def _needed(connection: Connection) -> dict[str, set[str]]:
    """Blob → the versions, aliases and checkpoints that need it; a manifest is a blob, too."""
    needed = {holder: set(names) for holder, names in _holders(connection).items()}
    for holder, blob in connection.execute(select(tables.links.c.holder, tables.links.c.blob)):
        needed.setdefault(blob, set()).update(needed.get(holder, set()))
    return needed


def _holders(connection: Connection) -> dict[str, set[str]]:
    """Manifest → what stands on it."""
    versions, moves, checkpoints = tables.versions, tables.moves, tables.checkpoints
    holders: dict[str, set[str]] = {}
    for manifest, name, number in connection.execute(select(versions.c.digest, versions.c.name, versions.c.number)):
        holders[manifest] = {f"{name}:{number}"}
    for manifest, run, step in connection.execute(select(checkpoints.c.digest, checkpoints.c.run, checkpoints.c.step)):
        holders[manifest] = {f"step {step} of run {run}"}
    moved = select(moves.c.name, moves.c.alias, moves.c.target).order_by(moves.c.id)
    current = {f"{name}@{alias}": target for name, alias, target in connection.execute(moved)}
    for alias, target in current.items():
        holders.setdefault(target, set()).add(alias)
    return holders
