"""JSON Lines: one record a line, and one JSON array of records, which most tools write as well.

polars reads a file of one shape in one go. A line that is no record, or a value that changes its type, is looked for
line by line, so that the message names it.
"""

from __future__ import annotations

import gzip
import io
import re
import zlib
from dataclasses import dataclass
from pathlib import Path

import orjson
import polars as pl

from engram.data import _digest, _frame, _layout, _records
from engram.errors import DataError
from engram.records import Dataset

__all__ = ["Options", "open", "recognizes"]

_RECORD = re.compile(rb'(?:\xef\xbb\xbf)?\s*(?:\[\s*)?\{\s*"')
_SUFFIXES = (".jsonl", ".ndjson", ".json", ".jsonlines")


@dataclass(frozen=True, slots=True)
class Options:
    """What means a gap beside ``null``.

    Attributes:
        missing: words and numbers that mean a gap, such as ``-999``.
    """

    missing: tuple[str, ...] = ()


def recognizes(place: str) -> bool:
    """Whether this is a file by whose suffix, or first letters, it holds records of JSON; also packed with gzip."""
    path = Path(place)
    if not path.is_file():
        return False
    if any(suffix.lower() in _SUFFIXES for suffix in path.suffixes[-2:]):
        return True
    try:
        with path.open("rb") as source:
            return _RECORD.match(source.read(64)) is not None
    except OSError:
        return False


def open(places: tuple[str, ...], names: tuple[str, ...] = (), options: Options | None = None) -> Dataset:  # noqa: A001 - the contract
    """The records of these files, one file after the other; inner records become columns named ``outer.inner``.

    Args:
        places: files of the same shape.
        names: must be empty; the columns have their names.
        options: what means a gap.

    Raises:
        DataError: a line is no record, the file is not UTF-8, or it is empty.
        UsageError: names were given.
    """
    _frame.unnamed(names, "JSON")
    frames = [_read(Path(place)) for place in places]
    titles = [Path(place).name for place in places]
    origin = _frame.Origin(
        places, ", ".join(titles), _digest.files(places), places, missing=(options or Options()).missing
    )
    return _frame.dataset(_frame.joined(frames, titles), origin)


def _read(path: Path) -> pl.DataFrame:
    try:
        with _layout.raw(path) as source:
            content = source.read().removeprefix(b"\xef\xbb\xbf")
    except (OSError, EOFError, gzip.BadGzipFile, zlib.error) as wrong:
        raise DataError(f"{path.name} cannot be read ({wrong}); check the file and its permissions") from None
    if not content.strip():
        raise DataError(f"{path.name} is empty (0 rows); give a file that has records")
    if content.lstrip()[:1] == b"[":
        return _records.table(_array(content, path.name), path.name)
    try:
        frame = pl.read_ndjson(io.BytesIO(content), infer_schema_length=None)
    except (
        pl.exceptions.PolarsError,
        pl.exceptions.PanicException,
    ):  # the careful reader says what is wrong, and where
        return _records.table(_lines(content, path.name), path.name)
    return frame


def _array(content: bytes, name: str) -> list[object]:
    _layout.decode(content, name)
    try:
        found: list[object] = orjson.loads(content)
    except orjson.JSONDecodeError as wrong:
        raise DataError(f"{name} is not JSON ({wrong}); write it again, or one record a line") from None
    return found


def _lines(content: bytes, name: str) -> list[object]:
    _layout.decode(content, name)
    records = []
    for number, line in enumerate(content.split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            records.append(orjson.loads(line))
        except orjson.JSONDecodeError as wrong:
            said = str(wrong).partition(":")[0]
            raise DataError(f"{name}: line {number} is not JSON ({said}); write one whole record a line") from None
    return records
