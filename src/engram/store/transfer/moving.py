"""Moving versions and runs from one store to another: only what is missing, and nothing that is not whole.

A blob is moved under its digest and hashed on its way, so that a transfer which was interrupted goes on where it
stopped by being asked for again, and what arrives is what left. A version keeps its digest and its number, wherever it
goes; where another version has its number already, it can be taken in as the next one, with the original as its parent.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from engram.errors import StoreError
from engram.store import versions
from engram.store.training.runs import Saved
from engram.store.transfer import arriving, loads
from engram.store.transfer.choosing import Choice
from engram.store.transfer.loads import Count, Load
from engram.store.writing import Site

__all__ = ["Moved", "move"]


@dataclass(frozen=True, slots=True)
class Moved:
    """What a transfer did.

    Attributes:
        versions: that the other store has now, as they are called there.
        checkpoints: how many of those that were meant it has now.
        left_out: how many it has not, because retention let go of them meanwhile where they were.
        aliases: how many histories of aliases came over.
        blobs: how many were missing and came over.
        size: bytes of those.
    """

    versions: tuple[str, ...] = ()
    checkpoints: int = 0
    left_out: int = 0
    aliases: int = 0
    blobs: int = 0
    size: int = 0


def move(source: Site, target: Site, choice: Choice, *, name: str = "", tell: Callable[[int, int], None]) -> Moved:
    """Bring what was chosen to another store.

    Args:
        source: where it is; it is only read, and nobody there waits.
        target: where it is to be; versions are written plain there.
        choice: as ``chosen`` says.
        name: under which versions are taken in as the next ones; empty keeps names and numbers.
        tell: called with the bytes moved so far and in all.

    Raises:
        UsageError: the target has another version with the number of one of these.
        StoreError: a store refuses, or a blob is damaged where it comes from.
    """
    target.place.prepare()
    target.catalog.prepare()
    wanted = [loads.load(source.place, version.digest) for version in choice.versions]
    saved = [one for _, checkpoints in choice.runs.values() for one in checkpoints]
    held = {one.digest: load for one in saved if (load := _load(source, one)) is not None}
    count = Count.of([*wanted, *held.values()], target.place, tell)
    names = tuple(arriving.version(target, load, name, count) for load in wanted)
    aliases = arriving.aliases(source, target) if choice.aliases else 0
    for of_run, _ in choice.runs.values():
        arriving.run(target, of_run)
    arrived = 0
    for one in saved:
        load = held.pop(one.digest, None)
        if load is not None and arriving.checkpoint(source, target, load, one, count):
            arrived += 1
        else:
            count.only(held.values())
    versions.publish(target)
    return Moved(names, arrived, len(saved) - arrived, aliases, count.blobs, count.done)


def _load(source: Site, saved: Saved) -> Load | None:
    """What a checkpoint needs; None if retention has let go of it."""
    try:
        return loads.load(source.place, saved.digest)
    except StoreError:
        if arriving.held(source, saved):
            raise
        return None
