"""A table or a query of a database that SQLAlchemy can reach: ``from = "postgresql://user@host/shop"``.

Rows come through a cursor on the server, some thousands at a time, in a transaction that may not write. A password is
never part of a pipeline file, because that is kept with every version: it stands in the environment.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from engram import settings
from engram.data import _frame, _records
from engram.errors import DataError, MissingLibrary, UnknownName, UsageError
from engram.plugins import nearest
from engram.records import Dataset

if TYPE_CHECKING:
    from sqlalchemy import URL, Connection, Select, TextClause

__all__ = ["Options", "open", "recognizes"]

_DIALECTS = frozenset({"mariadb", "mssql", "mysql", "oracle", "postgres", "postgresql", "sqlite"})
_EXTRAS = {"psycopg": "'engram[postgresql]'", "psycopg2": "psycopg2-binary", "MySQLdb": "mysqlclient"}
_CHUNK = 20_000


@dataclass(frozen=True, slots=True)
class Options:
    """What is read.

    Attributes:
        table: its name, ``SCHEMA.NAME`` where it is not in the usual schema; its rows come in the order of its key. A
            name behind the URL (``sqlite:///shop.db#orders``) goes before this and before `query`.
        query: a statement that gives rows, in place of `table`; with ``ORDER BY``, so that the same rows come in the
            same order again.
        password: the name of the environment variable that holds the password, where the server wants one.
        missing: words and numbers that mean a gap beside NULL.
    """

    table: str = ""
    query: str = ""
    password: str = "ENGRAM_DATA_PASSWORD"  # noqa: S105 - where it is, not what it is
    missing: tuple[str, ...] = ()


def recognizes(place: str) -> bool:
    """Whether this is a URL whose scheme is a dialect that SQLAlchemy knows, or was told of."""
    scheme, divided, _ = place.partition("://")
    dialect = scheme.partition("+")[0].lower()
    if not divided:
        return False
    return dialect in _DIALECTS or dialect in {entry.name for entry in entry_points(group="sqlalchemy.dialects")}


def open(places: tuple[str, ...], names: tuple[str, ...] = (), options: Options | None = None) -> Dataset:  # noqa: A001 - the contract
    """The rows of one table or query.

    Args:
        places: the one URL, without a password.
        names: must be empty; the columns have their names.
        options: which rows.

    Raises:
        DataError: the server cannot be reached or refuses, there is no such table, or the statement is refused.
        UsageError: the URL holds a password, or neither or both of table and query are said.
        MissingLibrary: the driver of the database is not installed.
    """
    chosen = options or Options()
    _frame.unnamed(names, "a database")
    if len(places) != 1:
        raise UsageError("a database is read by one URL at a time; join tables in query", place="data.from")
    address, _, behind = places[0].partition("#")
    table, query = (behind, "") if behind else (chosen.table, chosen.query)
    url = _url(address, chosen.password)
    shown = url.render_as_string(hide_password=True)
    with _connected(url, shown) as connection:
        if bool(table) == bool(query):
            raise UsageError(_which(connection, table), place="data.query" if table else "data.from")
        frame = _rows(connection, _statement(connection, table, query, shown))
    title = f"table {table!r}" if table else "the query"
    return _frame.dataset(frame, _frame.Origin((shown,), title, missing=chosen.missing))


def _url(address: str, variable: str) -> URL:
    """The URL with the password of the environment in it."""
    from sqlalchemy.engine import make_url  # 0.2 s that only a database needs
    from sqlalchemy.exc import ArgumentError

    try:
        url = make_url(address)
    except ArgumentError:
        raise UsageError(
            "[data] from is no URL of a database; write DIALECT://USER@HOST:PORT/DATABASE", place="data.from"
        ) from None
    if url.password is not None or "password" in {key.lower() for key in url.query}:
        raise UsageError(
            "[data] from holds a password, which would be kept with every version; leave it out of the URL and set"
            f" {variable} in the environment",
            place="data.from",
        )
    if url.drivername in {"postgresql", "postgres"}:
        url = url.set(drivername="postgresql+psycopg")
    secret = settings.secret(variable, "data.password")
    if secret and url.get_backend_name() != "sqlite":
        url = url.set(password=secret)
    return url


@contextmanager
def _connected(url: URL, shown: str) -> Iterator[Connection]:
    """A connection that only reads; what the server says against it, or against a statement, in a sentence."""
    from sqlalchemy import create_engine, exc
    from sqlalchemy.pool import NullPool

    if url.get_backend_name() == "sqlite" and not Path(url.database or "").is_file():
        raise DataError(f"{shown}: there is no such file; check the path")
    try:
        engine = create_engine(url, poolclass=NullPool)
    except exc.NoSuchModuleError:
        raise UnknownName(f"{url.drivername} is no kind of database that is installed", place="data.from") from None
    except ModuleNotFoundError as missing:
        driver = missing.name or ""
        what = _EXTRAS.get(driver, driver)
        wrong = f"{url.get_backend_name()} needs {driver}, which is not installed; pip install {what}"
        raise MissingLibrary(wrong) from None
    try:
        with engine.connect() as connection:
            yield _reading(connection)
    except (exc.SQLAlchemyError, UnicodeDecodeError) as refused:
        raise DataError(f"{shown}: {_reason(refused)}") from None
    finally:
        engine.dispose()


def _reading(connection: Connection) -> Connection:
    """The connection in a transaction that may not write, where the database has such."""
    dialect = connection.dialect.name
    if dialect == "postgresql":
        return connection.execution_options(postgresql_readonly=True)
    if dialect == "sqlite":
        connection.exec_driver_sql("PRAGMA query_only = ON")
    elif dialect in {"mysql", "mariadb"}:
        connection.exec_driver_sql("SET SESSION TRANSACTION READ ONLY")
        connection.rollback()
    return connection


def _statement(connection: Connection, table: str, query: str, shown: str) -> Select[Any] | TextClause:
    from sqlalchemy import MetaData, Table, exc, select, text

    if query:
        return text(re.sub(r"(?<![:\w\\]):(?=\w)", r"\\:", query))  # no colon of it asks for a value
    schema, _, name = table.rpartition(".")
    try:
        found = Table(name, MetaData(), autoload_with=connection, schema=schema or None)
    except exc.NoSuchTableError:
        raise DataError(f"{shown} has no table {table!r}; {nearest(table, _tables(connection))}") from None
    return select(found).order_by(*found.primary_key.columns)


def _rows(connection: Connection, statement: Select[Any] | TextClause) -> pl.DataFrame:
    """All rows, through a cursor that stays on the server."""
    result = connection.execution_options(stream_results=True, yield_per=_CHUNK).execute(statement)
    if not result.returns_rows:
        raise DataError("the query gives no rows; write one that selects")
    names = [str(name) for name in result.keys()]  # noqa: SIM118 - no mapping
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise DataError(f"the query gives two columns called {twice[0]!r}; rename one with AS")
    frames = [
        pl.DataFrame(
            [_records.column(name, list(values)) for name, values in zip(names, zip(*rows, strict=True), strict=True)]
        )
        for rows in result.partitions(_CHUNK)
    ]
    empty = pl.DataFrame(schema=dict.fromkeys(names, pl.String))
    return _frame.joined(frames, ["the rows"] * len(frames)) if frames else empty


def _which(connection: Connection, table: str) -> str:
    if table:
        return "[data] says both table and query; leave one out"
    return f"[data] says neither table nor query; say table = …; {nearest('', _tables(connection))}"


def _tables(connection: Connection) -> list[str]:
    from sqlalchemy import inspect

    looked = inspect(connection)
    return [*looked.get_table_names(), *looked.get_view_names()]


_SENTENCES = (
    (r"password|authenticat|Access denied|role .* does not exist|login failed", "the login is refused"),
    (r"database .* does not exist|unknown database", "there is no such database"),
    (r"refused|could not translate|resolve|timed? ?out|unreachable|Can't connect", "the server cannot be reached"),
    (r"no such table|relation .* does not exist|doesn't exist", "there is no such table"),
    (r"read-?only|query_only", "the query would write, and rows are only read"),
    (r"file is not a database|malformed", "the file is damaged, or no database"),
)


def _reason(refused: Exception) -> str:
    said = " ".join(str(getattr(refused, "orig", None) or refused).split())
    what = next((reason for pattern, reason in _SENTENCES if re.search(pattern, said, re.IGNORECASE)), "")
    advice = {
        "the login is refused": "check the user in from, and the environment variable that holds the password",
        "the server cannot be reached": "check host and port, and the network",
        "there is no such table": "check the names in the query",
    }.get(what, "check from, table and query in [data]")
    return f"{what} ({said[:200]}); {advice}" if what else f"it is refused ({said[:200]}); {advice}"
