"""Hashing every blob again, and naming what a damaged one hurts.

What is looked for comes from the catalog and not from the folder, because a blob that is gone is damage too. A damaged
one can be brought back from any other store that has it: its digest says whether it is the right one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from sqlalchemy import Connection, select

from engram.errors import StoreError
from engram.store import tables
from engram.store.objects import digest
from engram.store.places._contract import Place

__all__ = ["Damage", "needed", "repair", "verify"]


@dataclass(frozen=True, slots=True)
class Damage:
    """Something in a store that is not what it should be.

    Attributes:
        digest: of the blob, or the name of the document.
        fault: what is wrong with it, in a few words.
        hurts: the versions (``income:7``), aliases (``income@prod``) and checkpoints that need it.
        kind: ``blob``; ``document``, of the history of an alias; ``signature``; ``unknown``, a version or checkpoint
            that is whole and not in the catalog; ``lost``, one that cannot be read, so that a catalog made anew could
            not know it.
    """

    digest: str
    fault: str
    hurts: tuple[str, ...]
    kind: str = "blob"


def verify(place: Place, wanted: Mapping[str, Iterable[str]], tell: Callable[[int, int], None]) -> list[Damage]:
    """Every damaged blob of a store, by digest.

    Args:
        place: where the blobs are.
        wanted: blob → what it hurts if it is damaged, as ``needed`` says.
        tell: called with the blobs hashed so far and in all.
    """
    damaged, blobs = [], sorted(wanted)
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for done, (blob, fault) in enumerate(zip(blobs, pool.map(lambda b: _fault(place, b), blobs), strict=True)):
            tell(done, len(blobs))
            if fault:
                damaged.append(Damage(blob, fault, tuple(sorted(wanted[blob]))))
    tell(len(blobs), len(blobs))
    return damaged


def repair(place: Place, damaged: Iterable[Damage], other: Place) -> list[Damage]:
    """Bring damaged blobs back from another place; those that it does not have whole either.

    Raises:
        StoreError: this place refuses to be written.
    """
    left = []
    for damage in damaged:
        try:
            content = other.get(damage.digest)
        except StoreError as refused:
            left.append(replace(damage, fault=f"{damage.fault}; {refused}"))
            continue
        if digest([content]) != damage.digest:
            left.append(replace(damage, fault=f"{damage.fault}; damaged in {other.url}, too"))
            continue
        place.delete(damage.digest)
        place.put(damage.digest, [memoryview(content)])
        place.settle()
    return left


def needed(connection: Connection, only: str = "") -> dict[str, set[str]]:
    """Blob → the versions, aliases and checkpoints that need it; a manifest is a blob, too.

    Args:
        connection: to the catalog.
        only: digest of the one manifest to look at; empty for all.
    """
    holders = _holders(connection)
    if only:
        holders = {only: holders.get(only, set())}
    links = tables.links
    asked = select(links.c.holder, links.c.blob)
    found: dict[str, set[str]] = {holder: set(names) for holder, names in holders.items()}
    for holder, blob in connection.execute(asked.where(links.c.holder == only) if only else asked):
        found.setdefault(blob, set()).update(holders.get(holder, set()))
    return found


def _fault(place: Place, wanted: str) -> str:
    try:
        content = place.map(wanted)
        found = digest([content])
    except StoreError as refused:
        return str(refused)
    return "" if found == wanted else f"{len(content):,} bytes with another digest"


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
