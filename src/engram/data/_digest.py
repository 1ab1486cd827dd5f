"""The digest of data: what a version says it was trained on.

``sha256sum`` of one file gives the same; of several files it is the digest of their bytes one after the other, in
order of their names, so that it can be done again without Engram: ``cat a.csv b.csv | sha256sum``. A folder is all
its files, each preceded by its path inside the folder, because there the path is the label. Rows that are in no file
(of a database, of an API) are what they would be as a CSV file with a header in which every text is quoted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import polars as pl

__all__ = ["files", "parts", "rows"]

_CHUNK = 1 << 20
_ROWS = 100_000


class _Hash(Protocol):
    def update(self, data: bytes, /) -> None: ...


def files(places: Sequence[str | Path]) -> str:
    """``sha256:…`` over the bytes of these files and folders, in order of their names, read in chunks."""
    total = hashlib.sha256()
    for path in sorted((Path(place) for place in places), key=lambda p: (p.name, str(p))):
        if path.is_dir():
            for inner in sorted(p for p in path.rglob("*") if p.is_file()):
                total.update(inner.relative_to(path).as_posix().encode())
                _feed(total, inner)
        else:
            _feed(total, path)
    return f"sha256:{total.hexdigest()}"


def parts(pieces: Sequence[bytes]) -> str:
    """``sha256:…`` over these bytes one after the other."""
    total = hashlib.sha256()
    for piece in pieces:
        total.update(piece)
    return f"sha256:{total.hexdigest()}"


def rows(table: pl.DataFrame) -> str:
    """``sha256:…`` over the rows of a table, in their order, with the names and the order of its columns."""
    total = hashlib.sha256()
    for start in range(0, max(table.height, 1), _ROWS):
        piece = table[start : start + _ROWS]
        total.update(piece.write_csv(include_header=not start, quote_style="non_numeric").encode())
    return f"sha256:{total.hexdigest()}"


def _feed(total: _Hash, path: Path) -> None:
    with path.open("rb") as source:
        while chunk := source.read(_CHUNK):
            total.update(chunk)
