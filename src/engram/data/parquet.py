"""Parquet: one file, several, or a folder of them, which may be divided into folders called ``KEY=VALUE`` as Hive does.

Types are those of the file. The keys of folders are text, as they are in the path, and looked into like any text.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

import polars as pl

from engram.data import _contents, _digest, _frame
from engram.errors import DataError
from engram.records import Dataset

__all__ = ["Options", "open", "recognizes"]

_SUFFIXES = (".parquet", ".pq")
_MARK = b"PAR1"
_NOTHING = "__HIVE_DEFAULT_PARTITION__"


@dataclass(frozen=True, slots=True)
class Options:
    """What means a gap beside the gaps of the file.

    Attributes:
        missing: words and numbers that mean a gap, such as ``-999``.
    """

    missing: tuple[str, ...] = ()


def recognizes(place: str) -> bool:
    """Whether this is a file that begins as Parquet does, or has its suffix, or a folder of such files."""
    path = Path(place)
    if not path.is_file():
        return _contents.held(path) == "parquet"
    return path.suffix.lower() in _SUFFIXES or _begins(path)


def open(places: tuple[str, ...], names: tuple[str, ...] = (), options: Options | None = None) -> Dataset:  # noqa: A001 - the contract
    """The rows of these files, one file after the other.

    Args:
        places: files with the same columns, and folders of such files.
        names: must be empty; the columns have their names.
        options: what means a gap.

    Raises:
        DataError: a file is damaged, has other columns than the first, or there is none.
        UsageError: names were given.
    """
    _frame.unnamed(names, "a Parquet file")
    found = [(file, keys) for place in places for file, keys in _files(Path(place))]
    frames = [_read(file).with_columns(pl.lit(v, pl.String).alias(k) for k, v in keys.items()) for file, keys in found]
    title = ", ".join(Path(place).name for place in places)
    origin = _frame.Origin(places, title, _digest.files(places), places, missing=(options or Options()).missing)
    return _frame.dataset(_frame.joined(frames, [file.name for file, _ in found]), origin)


def _begins(path: Path) -> bool:
    try:
        with path.open("rb") as source:
            return source.read(4) == _MARK
    except OSError:
        return False


def _files(place: Path) -> list[tuple[Path, dict[str, str | None]]]:
    """Each file with the keys of the folders between the place and it."""
    if not place.is_dir():
        return [(place, {})]
    found = _contents.files(place, _SUFFIXES)
    if not found:
        raise DataError(f"{place.name} has no file that ends in .parquet; give another folder")
    return [(file, _keys(file.relative_to(place).parts[:-1])) for file in found]


def _keys(folders: tuple[str, ...]) -> dict[str, str | None]:
    pairs = [folder.partition("=") for folder in folders if "=" in folder]
    return {unquote(key): None if value == _NOTHING else unquote(value) for key, _, value in pairs}


def _read(file: Path) -> pl.DataFrame:
    try:
        return pl.read_parquet(file, hive_partitioning=False, glob=False)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as wrong:
        said = " ".join(str(wrong).split())[:200]
        raise DataError(f"{file.name} cannot be read as Parquet ({said}); write it again") from None
