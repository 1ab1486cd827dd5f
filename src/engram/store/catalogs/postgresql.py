"""The catalog in PostgreSQL: for a team that keeps networks from many machines.

Writers take turns by an advisory lock, so that every action sees the last state, as with SQLite. A connection that
breaks *while* a transaction is committed leaves open whether it was: the server is asked by the transaction's number
when it is there again, so that nothing is done twice and nothing acknowledged that was not done.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar

from sqlalchemy import Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError
from sqlalchemy.pool import NullPool

from engram.errors import StoreError, UsageError
from engram.store.catalogs import _tables
from engram.store.catalogs import _urls as urls
from engram.store.catalogs._contract import Site, lost
from engram.store.evidence import inhabited
from engram.store.tables import HEAD, METADATA, revisions

__all__ = ["Postgresql", "open"]

T = TypeVar("T")

_LOG = logging.getLogger(__name__)
_PATIENCE = 60.0
_PAUSE = 0.2
_LOCK = 0x656E6772616D
_CONNECTING = {
    "connect_timeout": 10,
    "application_name": "engram",
    # a writer that is stopped or cut off in the middle of a transaction must not keep all others out for ever
    "options": "-c idle_in_transaction_session_timeout=60000 -c lock_timeout=60000",
    "tcp_user_timeout": 30_000,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
}


def open(site: Site) -> Postgresql:  # noqa: A001 - the word of the shelf's contract
    """The catalog in a database; nothing is asked of it yet."""
    return Postgresql(site)


class Postgresql:
    """A schema of a PostgreSQL database.

    Attributes:
        url: of the database, without a password.
    """

    def __init__(self, site: Site, patience: float = _PATIENCE) -> None:
        """Prepare to connect.

        Args:
            site: its URL is ``postgresql://USER@HOST:PORT/DATABASE``; passwords are best left to libpq.
            patience: seconds to wait for a server that is not there.

        Raises:
            UsageError: the URL is none.
        """
        try:
            self._url = make_url(site.url).set(drivername="postgresql+psycopg")
        except (ArgumentError, ValueError) as wrong:  # the latter for a port that is no number
            raise UsageError(
                f"{urls.bare(site.url)!r} is not the URL of a database; write postgresql://USER@HOST/DATABASE"
            ) from wrong
        self.url = urls.bare(self._url.set(drivername="postgresql").render_as_string(hide_password=False))
        self._schema = ""
        self._choose = site.schema
        self._needed: Callable[[], bool] = lambda: inhabited(site.place)
        self._note = f" ({site.note})" if site.note else ""
        self._patience = patience
        self._engine: Engine | None = None
        self._owner = 0
        self._prepared = False

    def prepare(self) -> None:
        """Make the tables where there are none yet.

        Raises:
            StoreError: the database refuses, or the place holds versions whose tables are gone.
        """
        if not self._prepared:
            self._tried(self._reached)  # before it is written down for ever that the catalog is there
            if not self._there() and self._needed() and not self._there():  # somebody may just have made them
                raise StoreError(f"{lost(self.url)}{self._note}")
            self._made()

    def _there(self) -> bool:
        """Whether the place has tables here."""
        self._schema = self._schema or self._choose(False)
        return bool(self._schema) and self._tried(self._tabled)

    def _tabled(self) -> bool:
        with self._ready().connect() as connection:
            return inspect(connection).has_table(revisions.name, schema=self._schema)

    def _made(self) -> None:
        self._schema = self._choose(True)
        self._tried(self._make)
        self._prepared = True

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that sees one state of the catalog.

        Raises:
            StoreError: the database is not there, or refuses.
        """
        connection = self._tried(self._connected)
        try:
            with self._sentences():
                yield connection
        finally:
            with suppress(DBAPIError):
                connection.close()

    def write(self, action: Callable[[Connection], T]) -> T:
        """What an action returns that ran in a transaction which excludes all other writers.

        Raises:
            StoreError: the database refuses, or is away for longer than is waited; nothing was changed.
        """
        return self._tried(lambda: self._written(action))

    def anew(self, action: Callable[[Connection], T]) -> T:
        """What an action returns that filled the tables anew, in one transaction; before it, they are emptied.

        Raises:
            StoreError: the database refuses; the present catalog is as it was.
        """

        def filled(connection: Connection) -> T:
            for table in reversed(METADATA.sorted_tables):
                connection.execute(table.delete())
            return action(connection)

        self._tried(self._reached)
        self._made()
        return self.write(filled)

    def _written(self, action: Callable[[Connection], T]) -> T:
        with self._ready().connect() as connection, connection.begin() as transaction:
            connection.execute(text("SELECT pg_advisory_xact_lock(:key, hashtext(:schema))").bindparams(
                key=_LOCK & 0x7FFFFFFF, schema=self._schema
            ))  # fmt: skip
            made = action(connection)
            number = connection.execute(text("SELECT pg_current_xact_id()::text")).scalar_one()
            try:
                transaction.commit()
            except OperationalError as broken:
                if not self._committed(str(number)):
                    raise
                _LOG.info("a commit whose answer was lost was done", extra={"catalog": self.url, "why": str(broken)})
            return made

    def _committed(self, number: str) -> bool:
        """Whether a transaction was committed whose connection broke before it was said."""

        def ask() -> str | None:
            with self._ready().connect() as connection:
                asked = text("SELECT pg_xact_status(CAST(:number AS xid8))").bindparams(number=number)
                found = connection.execute(asked).scalar_one()
                return None if found is None else str(found)

        deadline = time.monotonic() + self._patience
        while (status := self._tried(ask)) == "in progress" and time.monotonic() < deadline:
            time.sleep(_PAUSE)
        return status == "committed"

    def _connected(self) -> Connection:
        connection = self._ready().connect().execution_options(isolation_level="REPEATABLE READ")
        connection.begin()
        return connection

    def _ready(self) -> Engine:
        """The engine of this process: a connection must not be shared with a fork."""
        self._schema = self._schema or self._choose(False)
        if not self._schema:
            raise StoreError(f"there is no catalog in {self.url} for this store yet; keep something first")
        if self._engine is None or self._owner != os.getpid():
            engine = create_engine(
                self._url,
                pool_pre_ping=True,
                isolation_level="READ COMMITTED",
                max_overflow=-1,
                connect_args=_CONNECTING,
                execution_options={"schema_translate_map": {None: self._schema}},
            )
            event.listen(engine, "connect", self._enter)
            self._engine, self._owner = engine, os.getpid()
        return self._engine

    def _enter(self, connection: object, _record: object) -> None:
        with connection.cursor() as cursor:  # type: ignore[attr-defined]
            cursor.execute(f'SET search_path TO "{self._schema}"')
        connection.commit()  # type: ignore[attr-defined]

    def _reached(self) -> None:
        create_engine(self._url, poolclass=NullPool, connect_args=_CONNECTING).connect().close()

    def _make(self) -> None:
        with self._ready().connect() as connection, connection.begin():
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)").bindparams(key=_LOCK))
            connection.execute(text(f'CREATE SCHEMA IF NOT EXISTS "{self._schema}"'))
            if not inspect(connection).has_table(revisions.name, schema=self._schema):
                _tables.make(connection)
            elif _tables.revision(connection) != HEAD:
                _tables.bring_up(connection, self.url)

    def _tried(self, what: Callable[[], T]) -> T:
        """The outcome, tried again while the server is away."""
        deadline = time.monotonic() + self._patience
        while True:
            try:
                with self._sentences(away=time.monotonic() > deadline):
                    return what()
            except OperationalError as away:
                _LOG.info("the database is away", extra={"catalog": self.url, "why": str(away.orig)})
                time.sleep(_PAUSE)

    @contextmanager
    def _sentences(self, *, away: bool = True) -> Iterator[None]:
        """Errors of the database as sentences; that it is away is passed on where that is waited for."""
        try:
            yield
        except OperationalError as refused:
            if not away and _passing(refused):
                raise
            raise StoreError(self._sentence(refused)) from refused
        except DBAPIError as refused:
            raise StoreError(self._sentence(refused)) from refused

    def _sentence(self, refused: DBAPIError) -> str:
        reason = (str(refused.orig).strip().splitlines() or ["no reason given"])[0]
        if "UndefinedTable" in type(refused.orig).__name__ or "InvalidSchema" in type(refused.orig).__name__:
            return (
                f"there is no catalog at {self.url} for this store; bring back a copy of the database, or make it anew "
                f"from the blobs with engram verify --rebuild{self._note}"
            )
        return (
            f"the catalog {self.url} refuses: {reason}; nothing was changed, see that the server runs and lets you in, "
            f"and try again{self._note}"
        )


_FINAL = ("authentication", "password", "does not exist", "no pg_hba", "role ", "could not translate host name")


def _passing(refused: OperationalError) -> bool:
    """Whether the server may be there again in a moment."""
    reason = str(refused.orig)
    return not any(word in reason for word in _FINAL)
