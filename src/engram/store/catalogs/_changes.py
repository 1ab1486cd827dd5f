"""Changes of a catalog's rows: noted where they are made, and made again where they are read.

A change is ``["put", TABLE, ROW]`` or ``["drop", TABLE, KEY]``. SQLite writes the rows as JSON itself, one after the
other, so that a catalog of any size passes through a memory that holds a few of them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from sqlalchemy import Connection, Table, TextClause, text

from engram.errors import StoreError
from engram.store.tables import METADATA

__all__ = ["Change", "clear", "every", "made", "note", "put_in"]

_READ_AT_ONCE = 16
_WRITTEN_AT_ONCE = 500
_CHARACTERS = 1_000_000  # of what is written at once, because one row may be as large as thousands of others


class Change(NamedTuple):
    """What became of one row.

    Attributes:
        kind: ``put`` or ``drop``.
        table: by its name.
        row: column → value; where it is dropped only the columns of the key.
    """

    kind: str
    table: str
    row: dict[str, Any]


def note(connection: Connection) -> None:
    """Let triggers of this connection note every row that is changed from now on."""
    connection.execute(text("CREATE TEMP TABLE IF NOT EXISTS changes (kind TEXT, name TEXT, row TEXT)"))
    connection.execute(text("DELETE FROM changes"))
    for table in METADATA.sorted_tables:
        for kind, verb, row in (("put", "INSERT", "NEW."), ("put", "UPDATE", "NEW."), ("drop", "DELETE", "OLD.")):
            connection.execute(text(
                f"CREATE TEMP TRIGGER IF NOT EXISTS note_{table.name}_{verb} AFTER {verb} ON main.{table.name} "  # noqa: S608 - names of our own tables
                f"BEGIN INSERT INTO changes VALUES ('{kind}', '{table.name}', {_object(kind, table, row)}); END"
            ))  # fmt: skip


def made(connection: Connection) -> Iterator[str]:
    """The changes since ``note``, each as JSON."""
    rows = connection.execute(text("SELECT kind, name, row FROM changes ORDER BY rowid"))
    return (f'["{kind}","{name}",{row}]' for kind, name, row in rows.yield_per(_READ_AT_ONCE))


def every(connection: Connection) -> Iterator[str]:
    """Changes that make all rows there are, each as JSON."""
    for table in METADATA.sorted_tables:
        rows = connection.execute(text(f'SELECT {_object("put", table)} FROM main."{table.name}"'))  # noqa: S608 - names of our own tables
        for (row,) in rows.yield_per(_READ_AT_ONCE):
            yield f'["put","{table.name}",{row}]'


def clear(connection: Connection) -> None:
    """Remove all rows there are."""
    for table in METADATA.sorted_tables:
        connection.execute(text(f'DELETE FROM main."{table.name}"'))  # noqa: S608 - names of our own tables


def put_in(connection: Connection, changes: Iterable[Change]) -> None:
    """Make changes, in their order.

    Raises:
        StoreError: one is of a table, a column or a value that a catalog does not have.
    """
    for (kind, name, columns), alike in itertools.groupby(changes, lambda one: (one.kind, one.table, tuple(one.row))):
        table = METADATA.tables.get(name)
        if table is None or not set(columns) <= set(table.columns.keys()):
            raise StoreError(f"a journal changes {name!r} with {sorted(columns)[:5]}, which this Engram does not know")
        statement = _statement(kind, table, columns)
        for rows in _together(alike):
            try:
                connection.execute(statement, rows)
            except (OverflowError, UnicodeEncodeError) as wrong:
                raise StoreError(f"a journal changes {name!r} to what no row can hold: {wrong}") from wrong


def _together(changes: Iterable[Change]) -> Iterator[list[dict[str, Any]]]:
    """Rows in portions."""
    rows, size = list[dict[str, Any]](), 0
    for one in changes:
        rows.append(one.row)
        size += sum(len(value) for value in one.row.values() if isinstance(value, str))
        if size > _CHARACTERS or len(rows) == _WRITTEN_AT_ONCE:
            yield rows
            rows, size = [], 0
    if rows:
        yield rows


def _object(kind: str, table: Table, row: str = "") -> str:
    columns = table.columns if kind == "put" else table.primary_key.columns
    values = ", ".join(f"'{column.name}', {row}\"{column.name}\"" for column in columns)
    return f"json_object({values})"


def _statement(kind: str, table: Table, columns: tuple[str, ...]) -> TextClause:
    if kind == "drop":
        where = " AND ".join(f'"{column.name}" = :{column.name}' for column in table.primary_key.columns)
        return text(f'DELETE FROM main."{table.name}" WHERE {where}')  # noqa: S608 - names of our own tables
    names, values = ", ".join(f'"{name}"' for name in columns), ", ".join(f":{name}" for name in columns)
    return text(f'INSERT OR REPLACE INTO main."{table.name}" ({names}) VALUES ({values})')  # noqa: S608 - likewise
