"""Runs and their checkpoints: what makes a killed training go on.

A checkpoint lists its run's pipeline and lock file among its own files, so that it can be resumed wherever it is
copied. Which of a run's checkpoints are held is said in the words of ``retention``; the others are let go in the
transaction that adds the new one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, select, update

from engram.errors import UsageError, VersionNotFound
from engram.plugins import nearest
from engram.records import Checkpoint, Run
from engram.store import documents, given, leases, references, tables, writing
from engram.store.files import Files
from engram.store.manifests import Manifest
from engram.store.objects import Content
from engram.store.training import retention
from engram.store.weights import contents
from engram.store.writing import Draft, Record, Site

__all__ = [
    "STATUSES",
    "Packed",
    "Saved",
    "begin",
    "differences",
    "every",
    "finish",
    "lately",
    "pack",
    "run",
    "saved",
    "take",
    "write",
]

STATUSES = ("running", "stopped", "failed", "refused", "kept")


@dataclass(frozen=True, slots=True)
class Saved:
    """A checkpoint that the store holds.

    Attributes:
        digest: of its manifest, ``sha256:…``.
        run: the run it belongs to.
        epoch, step: completed when it was saved.
        saved: when.
        best: whether it is the best of its run so far.
        metrics: the figures of its last finished epoch.
        size: bytes of all its blobs, shared ones among them.
        number: counts the checkpoints of the run from 1, those that were let go among them; 0 where nobody counted.
    """

    digest: str
    run: str
    epoch: int
    step: int
    saved: datetime
    best: bool = False
    metrics: Mapping[str, float] = field(default_factory=dict)
    size: int = 0
    number: int = 0


@dataclass(frozen=True, slots=True)
class Packed:
    """A checkpoint taken apart, so that nothing in it can be refused any more but by a place or a catalog.

    Attributes:
        entry: what is known of it before it is written.
        of_run: the run it belongs to.
        files: what it is made of; arrays among them must not change before it is written.
    """

    entry: Saved
    of_run: Run
    files: Mapping[str, Content]


def begin(connection: Connection, run: Run) -> None:
    """Add a run.

    Raises:
        UsageError: its id or name cannot be one, its status or retention is unknown, or its id is taken.
    """
    references.check_name(run.name)
    retention.parse(run.hold)
    references.check_name(run.id, "run")
    if connection.execute(select(tables.runs.c.id).where(tables.runs.c.id == run.id)).first() is not None:
        raise UsageError(
            f"run {run.id!r} is already in the store; take another id, or go on with it (engram resume, store.restore)"
        )
    connection.execute(insert(tables.runs).values(**asdict(replace(run, status=_status(run.status)))))


def run(connection: Connection, identity: str) -> Run:
    """The run with this id.

    Raises:
        VersionNotFound: there is none; the message gives the nearest.
    """
    given.text(identity, "run", "income-20260503-120000-1a2b")
    row = connection.execute(select(tables.runs).where(tables.runs.c.id == identity)).first()
    if row is None:
        known = connection.execute(select(tables.runs.c.id)).scalars().all()
        raise VersionNotFound(f"no run is called {identity!r}; {nearest(identity, known)}")
    return Run(**row._asdict())


def every(connection: Connection, name: str = "", most: int = 0) -> list[Run]:
    """The runs of a network, the one with this id, or all, the newest first.

    Args:
        connection: to the catalog.
        name: of the network, or id of the run, which then comes first; empty for all.
        most: how many; 0 for all.
    """
    given.text(name, "name", "income")
    given.number(most, "most")
    rows = tables.runs
    asked = select(rows).order_by(rows.c.started.desc(), rows.c.id)
    if name:
        asked = select(rows).where((rows.c.name == name) | (rows.c.id == name))
        asked = asked.order_by(rows.c.id != name, rows.c.started.desc(), rows.c.id)
    return [Run(**row._asdict()) for row in connection.execute(asked.limit(most) if most else asked)]


def finish(connection: Connection, identity: str, status: str, version: str) -> Run:
    """Write down how a run ended, and what it became.

    Raises:
        VersionNotFound: there is no such run.
        UsageError: the status is none of ``STATUSES``.
    """
    ended = replace(run(connection, identity), status=_status(status), version=version)
    here = update(tables.runs).where(tables.runs.c.id == identity)
    connection.execute(here.values(status=ended.status, version=ended.version))
    return ended


def lately(connection: Connection, name: str) -> list[str]:
    """The runs of a name that have checkpoints, that with the newest first, whatever their clocks said."""
    rows = tables.checkpoints
    asked = select(rows.c.run).join(tables.runs, tables.runs.c.id == rows.c.run).where(tables.runs.c.name == name)
    return list(connection.execute(asked.group_by(rows.c.run).order_by(func.max(rows.c.id).desc())).scalars())


def saved(connection: Connection, identity: str) -> list[Saved]:
    """The checkpoints of a run that are still held, the newest first."""
    rows = tables.checkpoints
    asked = select(rows).where(rows.c.run == identity)
    asked = asked.order_by(rows.c.number.desc(), rows.c.step.desc(), rows.c.id.desc())
    return [_saved(row) for row in connection.execute(asked)]


def differences(connection: Connection, identity: str) -> set[str]:
    """The digests of those checkpoints of a run of which a part is stored as its difference from another."""
    given.text(identity, "run", "income-20260503-120000-1a2b")
    rows, links, deltas = tables.checkpoints, tables.links, tables.deltas
    asked = select(rows.c.digest).join(links, links.c.holder == rows.c.digest)
    asked = asked.join(deltas, deltas.c.digest == links.c.blob).where(rows.c.run == identity).distinct()
    return set(connection.execute(asked).scalars())


def pack(checkpoint: Checkpoint, of_run: Run, moment: datetime, *, best: bool = False) -> Packed:
    """Take a checkpoint apart; its arrays are not copied.

    Args:
        checkpoint: to be written.
        of_run: the run it belongs to.
        moment: at which it was made.
        best: whether this is the best so far.

    Raises:
        UsageError: the state holds what JSON cannot, or an array is of a type that cannot be kept; it is named.
    """
    retention.parse(of_run.hold)
    state = checkpoint.state
    entry = Saved("", of_run.id, state.epoch, state.step, moment, best, _metrics(checkpoint))
    return Packed(entry, of_run, _files(checkpoint, of_run))


def write(site: Site, packed: Packed) -> Saved:
    """Write a checkpoint and let go of those that retention no longer holds.

    Raises:
        StoreError: the place or the catalog refused; the earlier checkpoints are as they were.
    """
    entry, of_run, drawn, dropped = packed.entry, packed.of_run, 0, set[str]()

    def number(connection: Connection) -> int:
        nonlocal drawn
        drawn = _next(connection, of_run.id)
        return drawn

    def register(connection: Connection, manifest: Manifest) -> Saved:
        whole = replace(entry, digest=manifest.digest, size=sum(manifest.blobs.values()), number=drawn)
        loose = _register(connection, whole, of_run)
        dropped.clear()
        dropped.update(leases.mark(connection, loose, site.now()))
        return whole

    record = Draft(packed.files, number, lambda counted: _record(replace(entry, number=counted), of_run), register)
    made = writing.commit(site, record)
    writing.discard(site, dropped)
    return made


def read(files: Files) -> Checkpoint:
    """The checkpoint in these files, its arrays as read-only views of the store's own bytes."""
    return Checkpoint(contents.weights(files), contents.state(files))


def _files(checkpoint: Checkpoint, of_run: Run) -> dict[str, Content]:
    texts = {"pipeline.toml": of_run.pipeline.encode(), "lock.toml": of_run.lock.encode()}
    return {**contents.pack_weights(checkpoint.weights), **contents.pack_state(checkpoint.state), **texts}


def _record(entry: Saved, of_run: Run) -> Record:
    said = {
        "run": {
            "id": of_run.id,
            "name": of_run.name,
            "folder": of_run.folder,
            "started": of_run.started.isoformat(),
            "origin": of_run.origin,
            "hold": of_run.hold,
        },
        "epoch": entry.epoch,
        "step": entry.step,
        "saved": entry.saved.isoformat(),
        "best": entry.best,
        "metrics": entry.metrics,
        "number": entry.number,
    }
    annotations = {
        "org.opencontainers.image.created": entry.saved.isoformat(),
        "org.opencontainers.image.title": of_run.name,
        "org.opencontainers.image.version": f"{of_run.id}-{entry.step}",
    }
    config = {"descriptor": {"createdAt": entry.saved.isoformat(), "name": of_run.name}, "config": {}}
    return Record("checkpoint.json", documents.encode(said, "checkpoint"), annotations, config)


def _next(connection: Connection, identity: str) -> int:
    """The number of a run's next checkpoint; the newest is always held, so none is given out twice."""
    rows = tables.checkpoints
    last: int | None = connection.execute(select(func.max(rows.c.number)).where(rows.c.run == identity)).scalar()
    return (last or 0) + 1


def _register(connection: Connection, entry: Saved, of_run: Run) -> set[str]:
    """Add the row, and drop what retention no longer holds; the digests that were held by what was dropped."""
    rows = tables.checkpoints
    connection.execute(delete(rows).where(rows.c.digest == entry.digest))
    older = (rows.c.run == entry.run) & (rows.c.number < entry.number)
    if entry.best:
        connection.execute(update(rows).where(older).values(best=False))
    later = select(rows.c.id).where(rows.c.run == entry.run, rows.c.number > entry.number, rows.c.best).limit(1)
    best = entry.best and connection.execute(later).first() is None
    connection.execute(insert(rows).values(**asdict(replace(entry, best=best))))
    here = update(tables.runs).where(tables.runs.c.id == entry.run)
    connection.execute(here.values(step=entry.step, hold=of_run.hold))
    there, dropped = saved(connection, entry.run), set[str]()
    for old, held in zip(there, retention.parse(of_run.hold).held(there), strict=True):
        if not held:
            connection.execute(delete(rows).where(rows.c.digest == old.digest))
            dropped |= writing.unlink(connection, old.digest)
    return dropped


def take(connection: Connection, entry: Saved) -> Saved:
    """Add a checkpoint that came from another store; nothing is let go of for it."""
    rows = tables.checkpoints
    if entry.best:
        connection.execute(update(rows).where(rows.c.run == entry.run).values(best=False))
    connection.execute(insert(rows).values(**asdict(entry)))
    here = update(tables.runs).where(tables.runs.c.id == entry.run, tables.runs.c.step < entry.step)
    connection.execute(here.values(step=entry.step))
    return entry


def _metrics(checkpoint: Checkpoint) -> dict[str, float]:
    """The numbers of the last epoch, by name."""
    last = checkpoint.state.history[-1] if checkpoint.state.history else {}
    return {name: value for name, value in last.items() if isinstance(value, (int, float))}


def _saved(row: Row[Any]) -> Saved:
    found = row._asdict()
    del found["id"]
    return Saved(**found)


def _status(status: str) -> str:
    if status not in STATUSES:
        raise UsageError(f"a run cannot be {status!r}; it is one of {', '.join(STATUSES)}")
    return status
