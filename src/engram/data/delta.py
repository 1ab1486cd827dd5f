"""A Delta Lake table: a folder whose log says which Parquet files it has now, or had at an earlier version.

The library that writes such tables reads their log; the rows are then those of a Parquet file. An earlier version is
said by its number, so that a run can be repeated after the table has moved on.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from engram.data import _contents, _frame
from engram.errors import DataError, MissingLibrary, UsageError
from engram.records import Dataset

__all__ = ["Options", "open", "recognizes"]


@dataclass(frozen=True, slots=True)
class Options:
    """Which rows are read.

    Attributes:
        version: of the table, from 0; left out means the newest.
        missing: words and numbers that mean a gap, such as ``-999``.
    """

    version: int | None = None
    missing: tuple[str, ...] = ()


def recognizes(place: str) -> bool:
    """Whether this is a folder with a log of Delta Lake in it."""
    return _contents.held(place) == "delta"


def open(places: tuple[str, ...], names: tuple[str, ...] = (), options: Options | None = None) -> Dataset:  # noqa: A001 - the contract
    """The rows of one table.

    Args:
        places: the one folder.
        names: must be empty; the columns have their names.
        options: which rows.

    Raises:
        DataError: the table is damaged, or has no such version.
        UsageError: more than one place, or names were given.
        MissingLibrary: deltalake is not installed.
    """
    chosen = options or Options()
    _frame.unnamed(names, "a Delta table")
    if len(places) != 1:
        wrong = f"a Delta table is read alone, and {len(places)} places were given"
        raise UsageError(wrong, place="data.from")
    try:
        from deltalake import DeltaTable
        from deltalake.exceptions import DeltaError, TableNotFoundError
    except ModuleNotFoundError:
        raise MissingLibrary(
            "data source 'delta' needs deltalake, which is not installed; pip install 'engram[delta]'"
        ) from None
    name = Path(places[0]).name
    try:
        table = DeltaTable(places[0], version=chosen.version)
        frame = pl.DataFrame(table.to_pyarrow_table())
    except TableNotFoundError:
        raise DataError(f"{name} is no Delta table; give a folder with a _delta_log") from None
    except (DeltaError, pl.exceptions.PolarsError, OSError, ValueError) as wrong:
        said = " ".join(str(wrong).split())[:200]
        raise DataError(f"{name} cannot be read as a Delta table ({said}); check its files and version") from None
    notes = (f"{name} was read at version {table.version()}",)
    return _frame.dataset(frame, _frame.Origin(places, name, notes=notes, missing=chosen.missing))
