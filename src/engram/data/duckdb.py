"""A query of DuckDB over files and other sources, for joins and sums that should not need a database.

``kind = "duckdb"`` and every place is a table, called by its name without suffix: ``from = ["orders.parquet",
"people.csv"]`` makes ``orders`` and ``people``. Text tables, Parquet and JSON are read by DuckDB itself, which needs no
room for what a query does not ask for; any other source is read whole, by its own kind.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import polars as pl

from engram.data import _frame, _source
from engram.errors import DataError, MissingLibrary, UsageError
from engram.records import Dataset

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

__all__ = ["BY_NAME", "Options", "open", "recognizes"]

BY_NAME = True  # its places are those of other kinds
_READERS = {"csv": "read_csv", "jsonl": "read_json", "parquet": "read_parquet"}


@dataclass(frozen=True, slots=True)
class Options:
    """What is asked.

    Attributes:
        query: a statement of SQL that gives rows; with ``ORDER BY``, so that the same rows come in one order.
        tables: the names of the tables, one a place; empty means those of the files.
        missing: words and numbers that mean a gap beside NULL.
    """

    query: str = ""
    tables: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()


def recognizes(place: str) -> bool:  # noqa: ARG001 - the contract
    """Never: ``kind = "duckdb"`` says it."""
    return False


def open(places: tuple[str, ...], names: tuple[str, ...] = (), options: Options | None = None) -> Dataset:  # noqa: A001 - the contract
    """The rows that a query gives.

    Args:
        places: of the tables.
        names: must be empty; the query names the columns.
        options: the query.

    Raises:
        DataError: the query is refused, or a place cannot be read.
        UsageError: there is no query, or tables and places do not fit each other.
        MissingLibrary: duckdb is not installed.
    """
    chosen = options or Options()
    _frame.unnamed(names, "a query")
    if not chosen.query:
        raise UsageError(
            f"duckdb needs a query; say query in [data] over {', '.join(_called(places))}", place="data.query"
        )
    try:
        import duckdb
    except ModuleNotFoundError:
        raise MissingLibrary(
            "data source 'duckdb' needs duckdb, which is not installed; pip install 'engram[duckdb]'"
        ) from None
    tables = chosen.tables or _called(places)
    if len(tables) != len(places) or len(set(tables)) != len(tables):
        raise UsageError(
            f"[data] tables must name each of {len(places)} places once; it is {', '.join(tables)}", place="data.tables"
        )
    connection = duckdb.connect(config={"autoinstall_known_extensions": "false", "threads": "2"})
    try:
        for table, place in zip(tables, places, strict=True):
            _make(connection, table, place)
        found = connection.sql(chosen.query)
        frame = pl.DataFrame(found.to_arrow_table() if found is not None else {})
    except duckdb.Error as wrong:
        said = " ".join(str(wrong).split())[:300]
        raise DataError(f"the query is refused ({said}); the tables are {', '.join(tables)}") from None
    finally:
        connection.close()
    return _frame.dataset(frame, _frame.Origin(places, "the query", missing=chosen.missing))


def _called(places: tuple[str, ...]) -> tuple[str, ...]:
    """What tables are called by their places: ``orders`` for ``/data/orders-2024.csv.gz`` would be ``orders_2024``."""
    pieces = (place.partition("#")[2] or Path(urlsplit(place).path).name.partition(".")[0] for place in places)
    return tuple(re.sub(r"\W", "_", piece) or "rows" for piece in pieces)


def _make(connection: DuckDBPyConnection, table: str, place: str) -> None:
    """A view of the files of a place, or a table of its rows."""
    kind = _source.plug_in((place,)).__name__.rpartition(".")[2]
    name = '"' + table.replace('"', '""') + '"'
    if kind in _READERS:
        path = Path(place)
        files = sorted(str(file) for file in path.rglob("*.parquet")) if path.is_dir() else [str(path)]
        listed = ", ".join("'" + file.replace("'", "''") + "'" for file in files)
        hive = ", hive_partitioning = true" if path.is_dir() else ""
        connection.execute(f"CREATE VIEW {name} AS SELECT * FROM {_READERS[kind]}([{listed}]{hive})")  # noqa: S608 - quoted
        return
    rows = _frame.typed(_source.read((place,), ()))
    connection.register("read", rows.to_arrow())
    connection.execute(f"CREATE TABLE {name} AS SELECT * FROM read")  # noqa: S608 - quoted
    connection.unregister("read")
