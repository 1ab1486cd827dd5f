"""A catalog made anew from what the place holds, for a store whose database is gone or damaged.

Versions and checkpoints come from their manifests, the moves of aliases from the documents that every move leaves
behind. What only a catalog knew is lost: runs that never saved a checkpoint, and how a run ended unless a version came
of it. What was swept or let go and is not yet removed comes back, which is better than the other way round. A version
that was kept and whose manifest cannot be read is written down as lost, and its number is given to no other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace

from sqlalchemy import Connection, insert, select

from engram.errors import StoreError
from engram.records import Gate, Move, Run, Version
from engram.store import described, lost, strays, tables, versions, writing
from engram.store.differences import demoted, demotion
from engram.store.lost import Lost
from engram.store.manifests import Manifest
from engram.store.moves import history
from engram.store.places._contract import Place
from engram.store.training.runs import Saved

__all__ = ["Rebuilt", "Remembered", "fill", "look", "remember"]

_NEAR = 100_000
"""A damaged manifest may state any number; one that is further away than this from the others is not believed."""


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What a catalog was made anew from.

    Attributes:
        versions: how many were found.
        checkpoints: how many were found.
        moves: of aliases, and changes of their gates.
        passed: manifests that could not be used, each with its reason.
        lost: versions that were kept and cannot be read, as people call them.
        twice: versions that state a number which an earlier one has: digest → what they say they are.
        renumbered: what those are called now.
    """

    versions: int
    checkpoints: int
    moves: int
    passed: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    twice: Mapping[str, str] = field(default_factory=dict)
    renumbered: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Remembered:
    """What the present catalog knows, as far as it can be read.

    Attributes:
        versions: by digest.
        last: name → the number given out last.
        changes: the moves and gates of every alias, in their order.
    """

    versions: Mapping[str, Lost] = field(default_factory=dict)
    last: Mapping[str, int] = field(default_factory=dict)
    changes: tuple[Move | Gate, ...] = ()


def remember(connection: Connection) -> Remembered:
    """What a catalog knows of versions and aliases before it is made anew."""
    names = tables.names
    changes = tuple(history.every(connection).values())
    known = {one.digest: Lost(one.digest, one.name, one.number) for one in versions.listed(connection)}
    return Remembered(
        known, {row.name: row.last for row in connection.execute(select(names.c.name, names.c.last))}, changes
    )


@dataclass(frozen=True, slots=True)
class Found:
    """What lies in a place, and what should.

    Attributes:
        lost: the versions that were kept, as far as anything testifies to them, and that are not among the others.
        last: name → a number that has been given out, whatever became of it.
        changes: the moves and gates of aliases that the present catalog knows.
    """

    versions: tuple[tuple[Version, Manifest], ...]
    checkpoints: tuple[tuple[Run, Saved, Manifest], ...]
    passed: tuple[str, ...]
    lost: tuple[Lost, ...]
    last: Mapping[str, int]
    changes: tuple[Move | Gate, ...] = ()


def look(place: Place, known: Remembered, tell: Callable[[int, int], None]) -> Found:
    """All versions and checkpoints whose manifests lie in a place.

    Args:
        place: that is looked through.
        known: what the present catalog knows.
        tell: called with the manifests read so far, and 0 because nobody knows how many there are.
    """
    kept, saved, passed, wanted = [], [], [], dict[str, Lost]()
    for done, (digest, manifest) in enumerate(described.every(place)):
        tell(done, 0)
        try:
            if isinstance(manifest, StoreError):
                passed.append(str(manifest))
                wanted[digest] = lost.found(place, digest)
            elif not described.is_checkpoint(manifest):
                kept.append((described.version(place, manifest), manifest))
            elif _let_go(place, manifest):
                passed.append(f"{digest} is a checkpoint that was being let go of")
            else:
                saved.append((*described.checkpoint(place, manifest), manifest))
        except StoreError as refused:
            passed.append(str(refused))
            if isinstance(manifest, Manifest) and described.damaged(place, manifest):
                wanted[digest] = lost.found(place, digest)
    kept.sort(key=lambda pair: (pair[0].name, pair[0].number, pair[0].kept, pair[0].digest))
    saved.sort(key=lambda triple: (triple[1].run, triple[1].step, triple[1].saved, triple[1].digest))
    wanted |= {one.digest: one for one in lost.every(place)} | dict(known.versions) | lost.testified(place)
    there = {version.digest for version, _ in kept} | {one.digest for _, one, _ in saved}
    gone = tuple(sorted((one for one in wanted.values() if one.digest not in there), key=lambda one: one.called))
    return Found(tuple(kept), tuple(saved), tuple(passed), gone, known.last, known.changes)


def _let_go(place: Place, manifest: Manifest) -> bool:
    """Whether some of a checkpoint is gone, plain and as a difference: whoever removed it was not done."""
    return any(not demoted.differences(place, digest) for digest in place.missing(manifest.blobs))


def fill(connection: Connection, place: Place, found: Found) -> Rebuilt:
    """Put what was found into empty tables, and write down in the place what is lost."""
    twice = dict[str, str]()
    for version, manifest in found.versions:
        taken = select(tables.versions.c.digest).where(
            tables.versions.c.name == version.name, tables.versions.c.number == version.number
        )
        if connection.execute(taken).first() is not None:
            twice[version.digest] = version.reference
            continue
        versions.register(connection, version, manifest.size)
        writing.link(connection, manifest)
    _number(connection, found)
    for one in found.lost:
        lost.note(place, one)
    for one in lost.every(place):
        if one not in found.lost:
            lost.forget(place, one.digest)
    for of_run, saved, manifest in found.checkpoints:
        _save(connection, of_run, saved)
        writing.link(connection, manifest)
    _end(connection, [version for version, _ in found.versions])
    moves = history.restore(connection, place, found.changes)
    gone = [*found.lost, *_dangling(connection, place, found)]
    demotion.restore(connection, place)
    counted = versions.counted(connection)
    called = tuple(one.called for one in gone)
    return Rebuilt(counted, len(found.checkpoints), moves, found.passed, called, twice)


def _dangling(connection: Connection, place: Place, found: Found) -> list[Lost]:
    """What aliases point at and nothing else tells of, written down in the place."""
    known = {one.digest for one in found.lost} | {version.digest for version, _ in found.versions}
    gone = [one for one in strays.pointed(connection) if one.digest not in known]
    for one in gone:
        lost.note(place, one)
    return gone


def _number(connection: Connection, found: Found) -> None:
    """Go on counting after the highest number of each name, also of what is lost; but not far after, on its word."""
    last = dict(found.last)
    for name, number in connection.execute(select(tables.versions.c.name, tables.versions.c.number)):
        last[name] = max(last.get(name, 0), number)
    for one in sorted(found.lost, key=lambda one: one.number):
        if one.name and last.get(one.name, 0) < one.number <= last.get(one.name, 0) + _NEAR:
            last[one.name] = one.number
    if last:
        connection.execute(insert(tables.names), [{"name": name, "last": number} for name, number in last.items()])


def _save(connection: Connection, of_run: Run, saved: Saved) -> None:
    rows = tables.runs
    if connection.execute(select(rows.c.id).where(rows.c.id == of_run.id)).first() is None:
        connection.execute(insert(rows).values(**asdict(of_run)))
    else:
        connection.execute(rows.update().where(rows.c.id == of_run.id).values(step=of_run.step))
    if saved.best:
        earlier = tables.checkpoints.update().where(tables.checkpoints.c.run == saved.run)
        connection.execute(earlier.values(best=False))
    connection.execute(insert(tables.checkpoints).values(**asdict(replace(saved))))


def _end(connection: Connection, kept: list[Version]) -> None:
    """Runs that a version came of are kept, as their versions say."""
    for version in kept:
        here = tables.runs.update().where(tables.runs.c.id == str(version.facts.get("run", "")))
        connection.execute(here.values(status="kept", version=version.digest))
