"""Moving versions and runs from one store to another: only what is missing, and nothing that is not whole.

A blob is moved under its digest and hashed on its way, so that a transfer which was interrupted goes on where it
stopped by being asked for again, and what arrives is what left. A version keeps its digest and its number, wherever it
goes; where another version has its number already, it can be taken in as the next one, with the original as its parent.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from engram.errors import Interrupted, StoreError
from engram.records import Progress, Watch
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
        apart: the aliases that point elsewhere in the other store, which were left alone.
    """

    versions: tuple[str, ...] = ()
    checkpoints: int = 0
    left_out: int = 0
    aliases: int = 0
    blobs: int = 0
    size: int = 0
    apart: tuple[str, ...] = ()


def move(source: Site, target: Site, choice: Choice, *, name: str = "", watch: Watch) -> Moved:
    """Bring what was chosen to another store.

    Args:
        source: where it is; it is only read, and nobody there waits.
        target: where it is to be; versions are written plain there.
        choice: as ``chosen`` says.
        name: under which versions are taken in as the next ones; empty keeps names and numbers.
        watch: told how far it has come, in bytes once it is known what is missing.

    Raises:
        UsageError: the target has another version with the number of one of these.
        StoreError: a store refuses, or a blob is damaged where it comes from.
        Interrupted: Ctrl-C was pressed; what has arrived is whole, and the same again goes on from there.
    """
    way = _Way(source, target, choice, watch)
    try:
        return way.moved(name)
    except KeyboardInterrupt:
        raise Interrupted(way.stopped()) from None


@dataclass(slots=True)
class _Way:
    """A transfer while it lasts.

    Attributes:
        versions: that have arrived, as they are called there.
        checkpoints: that the target has by now.
        left_out: those that it will not have.
    """

    source: Site
    target: Site
    choice: Choice
    watch: Watch
    versions: list[str] = field(default_factory=list)
    checkpoints: int = 0
    left_out: int = 0
    count: Count | None = None

    def moved(self, name: str) -> Moved:
        """Go all of it."""
        self.target.place.prepare()
        self.target.catalog.prepare()
        saved = [one for _, checkpoints in self.choice.runs.values() for one in checkpoints]
        for of_run, checkpoints in self.choice.runs.values():
            arriving.one_way(self.target, of_run, checkpoints)
        wanted, held = self._loads(saved)
        missing = loads.missing([*wanted, *held.values()], self.target.place, self.watch)
        self.count = count = Count(missing, self.watch)
        for version, load in zip(self.choice.versions, wanted, strict=True):
            count.begin(version.reference)
            self.versions.append(arriving.version(self.target, load, name, count))
        aliases, apart = arriving.aliases(self.source, self.target) if self.choice.aliases else (0, ())
        for of_run, _ in self.choice.runs.values():
            arriving.run(self.target, of_run)
        for one in saved:
            self._checkpoint(one, held, count)
        size = sum(count.arrived.values())
        return Moved(tuple(self.versions), self.checkpoints, self.left_out, aliases, len(count.arrived), size, apart)

    def stopped(self) -> str:
        """What has arrived, and how to go on."""
        saved = sum(len(checkpoints) for _, checkpoints in self.choice.runs.values())
        parts = [(len(self.versions), len(self.choice.versions), "versions"), (self.checkpoints, saved, "checkpoints")]
        there = " and ".join(f"{done:,} of {of:,} {what}" for done, of, what in parts if of) or "nothing"
        done, total = (self.count.done, self.count.total) if self.count else (0, 0)
        return (
            f"stopped: {self.target.place.url} has {there}, each of them whole, after {done / 1e6:,.1f} of "
            f"{total / 1e6:,.1f} MB; do the same again to go on from there"
        )

    def _loads(self, saved: list[Saved]) -> tuple[list[Load], dict[str, Load]]:
        """What every version needs, and every checkpoint that is still held."""
        place, total = self.source.place, len(self.choice.versions) + len(saved)
        wanted, held = list[Load](), dict[str, Load]()
        for version in self.choice.versions:
            wanted.append(loads.load(place, version.digest))
            self.watch(Progress("reading", len(wanted), total))
        for number, one in enumerate(saved, len(wanted) + 1):
            try:
                held[one.digest] = loads.load(place, one.digest)
            except StoreError:
                if arriving.held(self.source, one):
                    raise
            self.watch(Progress("reading", number, total))
        return wanted, held

    def _checkpoint(self, saved: Saved, held: dict[str, Load], count: Count) -> None:
        """Bring a checkpoint over, unless retention lets go of it before it is there."""
        load = held.pop(saved.digest, None)
        count.begin(f"{saved.run}@{saved.step}")
        if load is not None and arriving.checkpoint(self.source, self.target, load, saved, count):
            self.checkpoints += 1
        else:
            self.left_out += 1
            count.without(held.values())
