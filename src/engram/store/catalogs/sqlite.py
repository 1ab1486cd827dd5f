"""The catalog as a SQLite file beside the blobs: what one machine needs, and nothing to set up.

Every transaction that writes begins with ``BEGIN IMMEDIATE``: a transaction that begins as a reader and becomes a
writer fails under load whatever the time-out. A new catalog is made under another name and then linked into place, so
that nobody ever opens one without tables.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from secrets import token_hex
from typing import Any, TypeVar

from sqlalchemy import URL, Connection, Engine, create_engine, event, inspect
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool, QueuePool

from engram.errors import StoreError
from engram.store import disk
from engram.store.catalogs import _tables
from engram.store.catalogs._contract import Site, lost
from engram.store.evidence import inhabited
from engram.store.tables import HEAD, METADATA

__all__ = ["Sqlite", "open"]

T = TypeVar("T")

_PATIENCE_MS = 60_000
_WRITES = "engram_writes"


def open(site: Site) -> Sqlite:  # noqa: A001 - the word of the shelf's contract
    """The catalog in a folder; nothing is made or read yet."""
    return Sqlite(site.folder / "catalog.db", lambda: inhabited(site.place))


class Sqlite:
    """A database as a file.

    Attributes:
        url: the path of the file.
        path: the same, as a path.
    """

    def __init__(self, path: Path, needed: Callable[[], bool] = lambda: False) -> None:
        """Name the file.

        Args:
            path: of it.
            needed: whether it must be there already, because there is something that only it can know.
        """
        self.url = str(path)
        self.path = path
        self._needed = needed
        self._engine: Engine | None = None
        self._file = 0
        self._owner = 0

    def prepare(self) -> None:
        """Make the catalog where there is none yet; an empty one would forget what is kept, and a sweep free it.

        Raises:
            StoreError: the folder cannot be written, or holds versions whose catalog is gone.
        """
        if self.path.exists():
            return
        if self._needed() and not self.path.exists():  # it may have been made by whoever kept the first one just now
            raise StoreError(lost(self.url))
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

    def write(self, action: Callable[[Connection], T]) -> T:
        """What an action returns that ran in a transaction which excludes all other writers.

        Raises:
            StoreError: the database refuses; nothing was changed.
        """
        with self.writing() as connection:
            return action(connection)

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """The transaction of ``write``; it is durable when the block ends, and undone if it raises."""
        with self._sentences():  # noqa: SIM117 - the engine is made inside the first
            with self._ready().connect().execution_options(**{_WRITES: True}) as connection, self._buried(connection):
                if self._file != _file(self.path):
                    raise StoreError(f"the catalog {self.path} has just been made anew by somebody else; try again")
                yield connection

    @contextmanager
    def _buried(self, connection: Connection) -> Iterator[None]:
        """A transaction that stays undone if it cannot be made durable.

        Its pages may well be in the write-ahead log, where whoever opens the catalog after a crash would take them for
        committed; another transaction, which changes nothing, is written over them.
        """
        try:
            with connection.begin():
                yield
        except DBAPIError:
            with suppress(DBAPIError), connection.begin():
                found = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
                connection.exec_driver_sql(f"PRAGMA user_version={(found + 1) % 2**31}")
            raise

    def _ready(self) -> Engine:
        """The engine of this process: a connection that a fork inherited would damage the database."""
        if self._engine is not None and self._file != _file(self.path):
            self._forget()
        if self._engine is None or self._owner != os.getpid():
            if not self.path.is_file():
                raise StoreError(lost(self.url))
            engine = _engine(self.path) if _writable(self.path) else _looking(self.path)
            self._file = _file(self.path)
            self._bring_up(engine)
            self._engine, self._owner = engine, os.getpid()
        return self._engine

    def _bring_up(self, engine: Engine) -> None:
        with engine.connect() as connection:
            if _tables.revision(connection) == HEAD:
                return
        with engine.connect().execution_options(**{_WRITES: True}) as connection, connection.begin():
            _tables.bring_up(connection, self.url)

    def anew(self, action: Callable[[Connection], T]) -> T:
        """What an action returns that filled empty tables; the present catalog is kept beside the new one as ``….old``.

        It is the present file that is filled anew, in one transaction: its writers wait, go on in it, and lose nothing.
        Only a file that is damaged is put in the place of another, and as somebody may still have written to what is
        left of it, all is looked at a second time under the lock of the new one.

        Raises:
            StoreError: the folder cannot be written; the present catalog is as it was.
        """
        with self._sentences():
            sound = self._sound()
            if not sound:
                self._exchanged(action)
            with self.writing() as connection:
                if sound:
                    self._copy_aside()
                return self._filled(action, connection)

    def _filled(self, action: Callable[[Connection], T], connection: Connection) -> T:
        for table in reversed(METADATA.sorted_tables):
            connection.execute(table.delete())
        return action(connection)

    def _sound(self) -> bool:
        """Whether the present catalog is whole, so that it can be filled anew."""
        try:
            with self._ready().connect() as connection:
                whole = connection.exec_driver_sql("PRAGMA integrity_check(1)").scalar_one() == "ok"
                return whole and set(METADATA.tables) <= set(inspect(connection).get_table_names())
        except (DBAPIError, StoreError):
            self._forget()
            return False

    def _copy_aside(self) -> None:
        """Keep a copy of the present catalog under another name, while nobody writes to it."""
        aside = self._aside()
        half = aside.with_suffix(".half")
        try:
            with closing(_bare(self.path)) as present, closing(sqlite3.connect(half)) as copy:
                present.backup(copy)
            half.rename(aside)
            disk.flush(self.path.parent)
        finally:
            with suppress(OSError):
                half.unlink()

    def _aside(self) -> Path:
        return self.path.with_name(f"{self.path.name}-{token_hex(4)}.old")

    def _exchanged(self, action: Callable[[Connection], T]) -> None:
        """Put a new catalog, which an action filled, in the place of a damaged one."""
        with self._made(lambda connection: self._alone(action, connection)) as (waiting, _):
            self._forget()
            self._put_aside()
            waiting.rename(self.path)
            disk.flush(self.path.parent)

    def _alone(self, action: Callable[[Connection], T], connection: Connection) -> T:
        """What an action returns that ran while nobody could write to the present catalog, if that is one."""
        if not self.path.exists():
            return action(connection)
        with closing(_bare(self.path)) as present:
            with suppress(sqlite3.DatabaseError):
                present.execute("BEGIN IMMEDIATE")
            return action(connection)

    def _put_aside(self) -> None:
        """Keep the present catalog under another name, too; its own is never without a catalog, whoever is killed.

        A write-ahead log would be taken for that of the new catalog, so it is moved into the present one and then away.
        """
        aside = self._aside()
        with suppress(sqlite3.DatabaseError), closing(_bare(self.path)) as present:  # it may be damaged, or gone
            if present.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
                raise StoreError(f"somebody else is using the catalog {self.path}; stop them and try again")
        with suppress(FileNotFoundError):
            os.link(self.path, aside)
        for suffix in ("-wal", "-shm"):
            with suppress(FileNotFoundError):
                Path(f"{self.path}{suffix}").rename(f"{aside}{suffix}")
        disk.flush(self.path.parent)

    def _forget(self) -> None:
        """Let go of all connections: one that met an error of the disk may remember what is not there."""
        if self._engine is not None and self._owner == os.getpid():
            self._engine.dispose()
        self._engine = None

    def _make(self) -> None:
        with self._made(lambda _connection: None) as (waiting, _):
            with suppress(FileExistsError):  # somebody else made it meanwhile, and theirs is as good
                os.link(waiting, self.path)
            disk.flush(self.path.parent)

    @contextmanager
    def _made(self, action: Callable[[Connection], T]) -> Iterator[tuple[Path, T]]:
        """A new catalog that an action filled, under another name, which is gone when the block ends.

        The write-ahead log comes last: closing a file that has one hides what could not be written to the file itself.
        """
        waiting = self.path.with_name(f"{self.path.name}-{token_hex(8)}")
        try:
            engine = _engine(waiting, NullPool)
            with engine.connect().execution_options(**{_WRITES: True}) as connection, connection.begin():
                _tables.make(connection)
                made = action(connection)
            with closing(sqlite3.connect(waiting)) as bare:
                mode = bare.execute("PRAGMA journal_mode=WAL").fetchone()[0]  # stays with the file
            if mode != "wal":
                raise StoreError(
                    f"the catalog {self.path} cannot have a write-ahead log; choose a local disk and try again"
                )
            yield waiting, made
        finally:
            for suffix in ("", "-journal", "-wal", "-shm"):
                with suppress(OSError):
                    Path(f"{waiting}{suffix}").unlink()

    @contextmanager
    def _sentences(self) -> Iterator[None]:
        try:
            yield
        except (DBAPIError, sqlite3.Error) as refused:
            self._forget()
            reason = str(refused.orig if isinstance(refused, DBAPIError) else refused)
            sentence = f"the catalog {self.path} refuses: {reason}; nothing was changed, {_advice(reason)}"
            raise StoreError(sentence) from refused
        except OSError as refused:
            if isinstance(refused, StoreError):
                raise
            raise StoreError(f"the catalog {self.path} cannot be made: {str(refused.strerror).lower()}") from refused


def _file(path: Path) -> int:
    """Which file a path leads to; 0 if to none."""
    try:
        return path.stat().st_ino
    except OSError:
        return 0


def _advice(reason: str) -> str:
    if "full" in reason:
        return "free some space there and try again"
    if "readonly" in reason or "unable to open" in reason:
        return "ask for the right to write there, or choose another store with --store"
    if any(word in reason for word in ("malformed", "not a database", "no such table", "no such column")):
        return "so make it anew from the blobs with engram verify --rebuild"
    return "so try again"


def _engine(path: Path, pool: Any = None) -> Engine:  # noqa: ANN401 - a class of pools
    engine = create_engine(
        URL.create("sqlite", database=str(path)),
        poolclass=pool or QueuePool,
        **({} if pool else {"max_overflow": -1}),
        connect_args={"timeout": _PATIENCE_MS / 1000},
    )
    event.listen(engine, "connect", _connected)
    event.listen(engine, "begin", _begun)
    return engine


def _writable(path: Path) -> bool:
    return os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)


def _looking(path: Path) -> Engine:
    """For a catalog that may only be read: on a disk that cannot be written, or that belongs to somebody else.

    SQLite writes even to read, since readers and writers meet in a file beside the log; where there is no log, nobody
    writes just now and the file can be read as it is. So that this is still true, every transaction opens it anew.
    """

    def connect() -> sqlite3.Connection:
        log = Path(f"{path}-wal")
        still = "" if log.exists() and log.stat().st_size else "&immutable=1"
        return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro{still}", uri=True, timeout=_PATIENCE_MS / 1000)

    engine = create_engine("sqlite://", creator=connect, poolclass=NullPool)
    event.listen(engine, "connect", _connected)
    event.listen(engine, "begin", _begun)
    return engine


def _bare(path: Path) -> sqlite3.Connection:
    """A connection to a catalog that is there."""
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=_PATIENCE_MS / 1000)


def _connected(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # Python's own BEGIN would be a deferred one
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute(f"PRAGMA busy_timeout={_PATIENCE_MS}")


def _begun(connection: Connection) -> None:
    writes = connection.get_execution_options().get(_WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
