"""A catalog made anew from what the place holds, for a store whose database is gone or damaged.

Versions and checkpoints come from their manifests, the moves of aliases from the documents that every move leaves
behind. What only a catalog knew is lost: runs that never saved a checkpoint, and how a run ended unless a version came
of it. What was swept or let go and is not yet removed comes back, which is better than the other way round.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

from sqlalchemy import Connection, insert, select

from engram.errors import StoreError
from engram.records import Run, Version
from engram.store import described, tables, versions, writing
from engram.store.differences import demoted, demotion
from engram.store.manifests import Manifest
from engram.store.moves import history
from engram.store.places._contract import Place
from engram.store.training.runs import Saved

__all__ = ["Rebuilt", "fill", "look"]


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What a catalog was made anew from.

    Attributes:
        versions: how many were found.
        checkpoints: how many were found.
        moves: of aliases, and changes of their gates.
        passed: manifests that could not be used, each with its reason.
    """

    versions: int
    checkpoints: int
    moves: int
    passed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Found:
    """What lies in a place."""

    versions: tuple[tuple[Version, Manifest], ...]
    checkpoints: tuple[tuple[Run, Saved, Manifest], ...]
    passed: tuple[str, ...]


def look(place: Place, tell: Callable[[int, int], None]) -> Found:
    """All versions and checkpoints whose manifests lie in a place."""
    kept, saved, passed = [], [], []
    for done, manifest in enumerate(described.every(place)):
        tell(done, 0)
        try:
            if described.is_checkpoint(manifest) and _let_go(place, manifest):
                passed.append(f"{manifest.digest} is a checkpoint that was being let go of")
            elif described.is_checkpoint(manifest):
                saved.append((*described.checkpoint(place, manifest), manifest))
            else:
                kept.append((described.version(place, manifest), manifest))
        except StoreError as refused:
            passed.append(str(refused))
    kept.sort(key=lambda pair: (pair[0].name, pair[0].number, pair[0].kept, pair[0].digest))
    saved.sort(key=lambda triple: (triple[1].run, triple[1].step, triple[1].saved, triple[1].digest))
    return Found(tuple(kept), tuple(saved), tuple(passed))


def _let_go(place: Place, manifest: Manifest) -> bool:
    """Whether some of a checkpoint is gone, plain and as a difference: whoever removed it was not done."""
    return any(not demoted.differences(place, digest) for digest in place.missing(manifest.blobs))


def fill(connection: Connection, place: Place, found: Found) -> Rebuilt:
    """Put what was found into empty tables."""
    passed = list(found.passed)
    for version, manifest in found.versions:
        taken = select(tables.versions.c.digest).where(
            tables.versions.c.name == version.name, tables.versions.c.number == version.number
        )
        if connection.execute(taken).first() is not None:
            passed.append(f"{version.digest} says that it is {version.reference}, which another is already")
            continue
        versions.register(connection, version, manifest.size)
        writing.link(connection, manifest)
    _number(connection)
    for of_run, saved, manifest in found.checkpoints:
        _save(connection, of_run, saved)
        writing.link(connection, manifest)
    _end(connection, [version for version, _ in found.versions])
    moves = history.restore(connection, place)
    demotion.restore(connection, place)
    counted = versions.counted(connection)
    return Rebuilt(counted, len(found.checkpoints), moves, tuple(passed))


def _number(connection: Connection) -> None:
    last: dict[str, int] = {}
    for name, number in connection.execute(select(tables.versions.c.name, tables.versions.c.number)):
        last[name] = max(last.get(name, 0), number)
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
