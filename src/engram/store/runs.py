"""Runs and their checkpoints: what makes a killed training go on.

A checkpoint lists its run's pipeline and lock file among its own files, so that it can be resumed wherever it is
copied. Of each run the last two and the best are held; the others are let go in the transaction that adds the new one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select, update

from engram.errors import UsageError, VersionNotFound
from engram.plugins import nearest
from engram.records import Checkpoint, Run
from engram.store import contents, documents, references, tables, writing
from engram.store.catalog import Catalog
from engram.store.files import Files
from engram.store.manifests import Manifest
from engram.store.objects import Content
from engram.store.places._contract import Place
from engram.store.writing import Draft, Record

__all__ = ["STATUSES", "Saved", "begin", "every", "finish", "run", "save", "saved"]

STATUSES = ("running", "stopped", "failed", "refused", "kept")
_LAST = 2


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
    """

    digest: str
    run: str
    epoch: int
    step: int
    saved: datetime
    best: bool = False
    metrics: Mapping[str, float] = field(default_factory=dict)
    size: int = 0


def begin(connection: Connection, run: Run) -> None:
    """Add a run.

    Raises:
        UsageError: its id or name cannot be one, its status is unknown, or its id is taken.
    """
    references.check_name(run.name)
    references.check_name(run.id, "run")
    if connection.execute(select(tables.runs.c.id).where(tables.runs.c.id == run.id)).first() is not None:
        raise UsageError(f"run {run.id!r} is already in the store; begin another, or go on with engram resume {run.id}")
    connection.execute(insert(tables.runs).values(**asdict(replace(run, status=_status(run.status)))))


def run(connection: Connection, identity: str) -> Run:
    """The run with this id.

    Raises:
        VersionNotFound: there is none; the message gives the nearest.
    """
    row = connection.execute(select(tables.runs).where(tables.runs.c.id == identity)).first()
    if row is None:
        known = connection.execute(select(tables.runs.c.id)).scalars().all()
        raise VersionNotFound(f"no run is called {identity!r}; {nearest(identity, known)}")
    return Run(**row._asdict())


def every(connection: Connection) -> list[Run]:
    """All runs, the newest first."""
    asked = select(tables.runs).order_by(tables.runs.c.started.desc(), tables.runs.c.id)
    return [Run(**row._asdict()) for row in connection.execute(asked)]


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


def saved(connection: Connection, identity: str) -> list[Saved]:
    """The checkpoints of a run that are still held, the newest first."""
    rows = tables.checkpoints
    asked = select(rows).where(rows.c.run == identity).order_by(rows.c.id.desc())
    return [_saved(row) for row in connection.execute(asked)]


def save(place: Place, catalog: Catalog, checkpoint: Checkpoint, about: tuple[Run, datetime, bool]) -> Saved:
    """Write a checkpoint and let go of those that retention no longer holds.

    Args:
        place: of the blobs.
        catalog: of the store.
        checkpoint: its arrays must not change meanwhile.
        about: the run, the moment, and whether this is the best so far.

    Raises:
        UsageError: the state holds what JSON cannot; its place is named.
        StoreError: the place or the catalog refused; the earlier checkpoints are as they were.
    """
    of_run, when, best = about
    state = checkpoint.state
    entry = Saved("", of_run.id, state.epoch, state.step, when, best, _metrics(checkpoint))
    dropped: set[str] = set()

    def register(connection: Connection, manifest: Manifest) -> Saved:
        dropped.clear()
        whole = replace(entry, digest=manifest.digest, size=sum(manifest.blobs.values()))
        dropped.update(_register(connection, whole))
        return whole

    draft = Draft(_files(checkpoint, of_run), lambda: _record(entry, of_run), register)
    made = writing.commit(place, catalog, draft)
    writing.release(place, catalog, dropped)
    return made


def read(files: Files) -> Checkpoint:
    """The checkpoint in these files, its arrays as read-only views of the store's own bytes."""
    return Checkpoint(contents.weights(files), contents.state(files))


def _files(checkpoint: Checkpoint, of_run: Run) -> dict[str, Content]:
    texts = {"pipeline.toml": of_run.pipeline.encode(), "lock.toml": of_run.lock.encode()}
    return {**contents.pack_weights(checkpoint.weights), **contents.pack_state(checkpoint.state), **texts}


def _record(entry: Saved, of_run: Run) -> Record:
    said = {
        "run": {"id": of_run.id, "name": of_run.name, "folder": of_run.folder, "started": of_run.started.isoformat()},
        "epoch": entry.epoch,
        "step": entry.step,
        "saved": entry.saved.isoformat(),
        "best": entry.best,
        "metrics": entry.metrics,
    }
    annotations = {
        "org.opencontainers.image.created": entry.saved.isoformat(),
        "org.opencontainers.image.title": of_run.name,
        "org.opencontainers.image.version": f"{of_run.id}-{entry.step}",
    }
    config = {"descriptor": {"createdAt": entry.saved.isoformat(), "name": of_run.name}, "config": {}}
    return Record("checkpoint.json", documents.encode(said, "checkpoint"), annotations, config)


def _register(connection: Connection, entry: Saved) -> set[str]:
    """Add the row, and drop what retention no longer holds; the digests that were held by what was dropped."""
    rows = tables.checkpoints
    connection.execute(delete(rows).where(rows.c.digest == entry.digest))
    if entry.best:
        connection.execute(update(rows).where(rows.c.run == entry.run).values(best=False))
    connection.execute(insert(rows).values(**asdict(entry)))
    connection.execute(update(tables.runs).where(tables.runs.c.id == entry.run).values(step=entry.step))
    dropped: set[str] = set()
    for old in saved(connection, entry.run)[_LAST:]:
        if not old.best:
            connection.execute(delete(rows).where(rows.c.digest == old.digest))
            dropped |= writing.unlink(connection, old.digest)
    return dropped


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
