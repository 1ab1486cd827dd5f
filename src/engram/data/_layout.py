"""How a text table is written: its separator, its header and its width, found from its first megabyte.

A guess that is wrong here makes every later message misleading, so what cannot be a table (an empty file, another
encoding, a binary file) is refused here, before anything is read whole.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from engram.errors import DataError

__all__ = ["SEPARATORS", "Layout", "find", "raw", "records"]

SEPARATORS = ("\t", ";", "|", ",")  # a comma last: it is also a decimal mark and part of prose
_HEAD = 1 << 20
_NUMBER = re.compile(r"\s*[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?\s*")
_DATE = re.compile(r"\d{4}[-/]\d{2}[-/]\d{2}.*|\d{2}\.\d{2}\.\d{4}.*")


@dataclass(frozen=True, slots=True)
class Layout:
    """How a text table is written.

    Attributes:
        separator: between fields.
        header: whether the first row names the columns.
        names: of the columns, in order.
        quoted: whether quotes follow spaces (``1, "a, b"``), which only the slow reader understands.
        note: what was assumed, one sentence, or empty.
    """

    separator: str
    header: bool
    names: tuple[str, ...]
    quoted: bool = False
    note: str = ""


def find(path: Path, *, names: tuple[str, ...], separator: str = "", header: bool | None = None) -> Layout:
    """The layout of the table in this file.

    Args:
        path: a text file, or one packed with gzip.
        names: of the columns, where the file has no header; empty to find them.
        separator: empty to find it.
        header: None to find it.

    Raises:
        DataError: the file is empty, not UTF-8 text, or its header repeats a name or has another width than `names`.
    """
    sample = _sample(path)
    mark = separator or _separator(sample)
    rows = records(sample, mark, 200)
    width = Counter(map(len, rows)).most_common(1)[0][0]
    headed = _headed(rows, names) if header is None else header
    found, note = _names(path.name, rows[0] if headed else [], width, names)
    quoted = re.search(f'{re.escape(mark)} +"', sample) is not None
    return Layout(mark, headed, found, quoted, note)


def raw(path: Path) -> IO[bytes]:
    """The bytes of the file, unpacked where it is packed with gzip."""
    with path.open("rb") as probe:
        packed = probe.read(2) == b"\x1f\x8b"
    return gzip.open(path, "rb") if packed else path.open("rb")  # type: ignore[return-value]


def records(text: str, separator: str, most: int) -> list[list[str]]:
    """The first rows of a text, without blank ones; what csv cannot read ends them."""
    rows: list[list[str]] = []
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True)
    try:
        for row in reader:
            if row:
                rows.append([field.strip() for field in row])
            if len(rows) == most:
                break
    except csv.Error:
        pass
    return rows


def _sample(path: Path) -> str:
    try:
        with raw(path) as source:
            head = source.read(_HEAD)
    except (OSError, EOFError) as wrong:
        raise DataError(f"{path.name} cannot be read ({wrong}); check the file and its permissions") from None
    if not head.strip(b" \t\r\n\xef\xbb\xbf"):
        raise DataError(f"{path.name} is empty (0 rows); give a file that has a header or rows")
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise DataError(f"{path.name} is UTF-16 text; save it as UTF-8")
    if b"\0" in head:
        raise DataError(f"{path.name} is not a text table (it has zero bytes); give a CSV file")
    text = decode(head, path.name, final=len(head) < _HEAD).removeprefix("\ufeff")
    cut = max(text.rfind("\n"), text.rfind("\r")) if len(head) == _HEAD else -1
    return text[:cut] if cut > 0 else text


def decode(content: bytes, name: str, *, final: bool = True) -> str:
    """The bytes as text; DataError with the line where they are not UTF-8."""
    try:
        return codecs.getincrementaldecoder("utf-8")().decode(content, final=final)
    except UnicodeDecodeError as wrong:
        line = content.count(b"\n", 0, wrong.start) + 1
        byte = content[wrong.start]
        raise DataError(f"{name}: line {line} is not UTF-8 text (byte 0x{byte:02x}); save the file as UTF-8") from None


def _separator(sample: str) -> str:
    """The separator that gives most rows the same number of fields."""
    best, score = ",", 0.0
    for mark in SEPARATORS:
        rows = records(sample, mark, 200)
        width, often = Counter(map(len, rows)).most_common(1)[0] if rows else (1, 0)
        share = often / max(len(rows), 1)
        if width > 1 and share > score + 0.05:
            best, score = mark, share
    return best


def _headed(rows: list[list[str]], names: tuple[str, ...]) -> bool:
    """Whether the first row is a header: no field of it is a number or a date, or it repeats the names given."""
    first = rows[0]
    if names:
        known = {name.casefold() for name in names}
        return sum(field.casefold() in known for field in first) > len(names) / 2
    counted = [str(i) for i in range(len(first))]
    if first == counted or first[1:] == counted[:-1] != []:
        return True  # written by pandas from columns without names
    if sum(not field for field in first) > len(first) / 2:
        return False
    return not any(_NUMBER.fullmatch(f) or _DATE.fullmatch(f) or f in {"?", "NA", "NaN"} for f in first)


def _names(file: str, first: list[str], width: int, given: tuple[str, ...]) -> tuple[tuple[str, ...], str]:
    note = ""
    if first:
        names = tuple(field or f"column_{i}" for i, field in enumerate(first, start=1))
        width = len(names)
    else:
        names = tuple(f"column_{i}" for i in range(1, width + 1))
        note = f"{file} has no header: its columns are called column_1 to column_{width}; say names = […] to name them"
    if given and len(given) != width:
        raise DataError(f"{file} has {width} columns and names = […] lists {len(given)}; list one name a column")
    if given:
        note = ""
        names = names if set(names) == set(given) else given  # a header with the same names keeps its order
    twice = [name for name, often in Counter(names).items() if often > 1]
    if twice:
        places = ", ".join(str(i) for i, name in enumerate(names, start=1) if name == twice[0])
        raise DataError(
            f"{file}: column {twice[0]!r} is there {names.count(twice[0])} times (columns {places}); rename all but one"
        )
    return names, note
