"""The catalog: names, aliases, runs and who needs which blob, in one database beside the blobs.

Every transaction that writes begins with ``BEGIN IMMEDIATE``: a transaction that begins as a reader and becomes a
writer fails under load whatever the time-out. A new catalog is made under another name and then linked into place, so
that nobody ever opens one without tables.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from secrets import token_hex
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, insert, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from engram.errors import StoreError
from engram.store import disk
from engram.store.tables import HEAD, METADATA, revisions

__all__ = ["Catalog"]

_PATIENCE_MS = 60_000
_WRITES = "engram_writes"


class Catalog:
    """A database with the tables of ``tables``, as a file.

    Attributes:
        path: of the SQLite file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._engine: Engine | None = None
        self._owner = 0

    def prepare(self) -> None:
        """Make the catalog where there is none yet.

        Raises:
            StoreError: the folder cannot be written.
        """
        if not self.path.exists():
            with self._sentences():
                self._make()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that sees one state of the catalog and changes nothing.

        Raises:
            StoreError: there is no catalog, or the database refuses.
        """
        with self._sentences(), self._ready().connect() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that excludes all other writers; it is durable when the block ends, and undone if it raises.

        Raises:
            StoreError: the database refuses; nothing was changed.
        """
        with self._sentences():  # noqa: SIM117 - the engine is made inside the first
            with self._ready().connect().execution_options(**{_WRITES: True}) as connection, connection.begin():
                yield connection

    def _ready(self) -> Engine:
        """The engine of this process: a connection that a fork inherited would damage the database."""
        if self._engine is None or self._owner != os.getpid():
            if not self.path.is_file():
                raise StoreError(f"there is no catalog at {self.path}; choose the right folder with --store")
            engine = _engine(self.path)
            self._bring_up(engine)
            self._engine, self._owner = engine, os.getpid()
        return self._engine

    def _bring_up(self, engine: Engine) -> None:
        with engine.connect() as connection:
            found = _revision(connection)
        if found == HEAD:
            return
        from engram.store.migrate import upgrade  # imports alembic, which takes longer than all the rest

        with engine.connect().execution_options(**{_WRITES: True}) as connection, connection.begin():
            upgrade(connection, _revision(connection), str(self.path))

    def _make(self) -> None:
        waiting = self.path.with_name(f"{self.path.name}-{token_hex(8)}")
        try:
            with closing(sqlite3.connect(waiting)) as bare:
                bare.execute("PRAGMA journal_mode=WAL")  # stays with the file
            engine = _engine(waiting, NullPool)
            with engine.connect().execution_options(**{_WRITES: True}) as connection, connection.begin():
                METADATA.create_all(connection)
                revisions.create(connection)
                connection.execute(insert(revisions).values(version_num=HEAD))
            engine.dispose()
            with suppress(FileExistsError):  # somebody else made it meanwhile, and theirs is as good
                os.link(waiting, self.path)
            disk.flush(self.path.parent)
        finally:
            for suffix in ("", "-wal", "-shm"):
                with suppress(OSError):
                    Path(f"{waiting}{suffix}").unlink()

    @contextmanager
    def _sentences(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as refused:
            reason = str(refused.orig)
            sentence = f"the catalog {self.path} refuses: {reason}; nothing was changed, {_advice(reason)}"
            raise StoreError(sentence) from refused
        except OSError as refused:
            if isinstance(refused, StoreError):
                raise
            raise StoreError(f"the catalog {self.path} cannot be made: {str(refused.strerror).lower()}") from refused


def _revision(connection: Connection) -> str:
    """The revision that the catalog says it has; empty before the first step."""
    return connection.execute(select(revisions.c.version_num)).scalar_one_or_none() or ""


def _advice(reason: str) -> str:
    if "full" in reason:
        return "free some space there and try again"
    if "readonly" in reason or "unable to open" in reason:
        return "ask for the right to write there, or choose another store with --store"
    if "malformed" in reason or "not a database" in reason:
        return "so bring back a copy of it; the blobs and manifests beside it are whole"
    return "so try again"


def _engine(path: Path, pool: Any = None) -> Engine:  # noqa: ANN401 - a class of pools
    engine = create_engine(
        URL.create("sqlite", database=str(path)),
        poolclass=pool,
        connect_args={"timeout": _PATIENCE_MS / 1000},
    )
    event.listen(engine, "connect", _connected)
    event.listen(engine, "begin", _begun)
    return engine


def _connected(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # Python's own BEGIN would be a deferred one
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute(f"PRAGMA busy_timeout={_PATIENCE_MS}")


def _begun(connection: Connection) -> None:
    writes = connection.get_execution_options().get(_WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
