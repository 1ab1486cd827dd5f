"""Reading a document of changes from its front, one change after the other.

Neither a bomb nor an honest document of a gigabyte is ever in memory as a whole, and what a row may take is bounded: a
parser that is handed all of it at once makes a hundred times as much of some texts.
"""

from __future__ import annotations

import codecs
import json
import re
import zlib
from collections.abc import Iterator
from typing import Any

from engram.errors import StoreError
from engram.store.catalogs._changes import Change
from engram.store.tables import HEAD

__all__ = ["ROW", "decode", "known"]

ROW = 16_000_000
"""Characters that one change may have."""

_UNPACKED = 1_000_000_000
_PIECE = 1 << 20
_MARK = 200  # characters of anything but a change
_BEGINNING = re.compile(r'\{"revision":"([^"]{1,32})","changes":\[')
_FIRST = re.compile(r"(?=\[)|\]")
_NEXT = re.compile(r"[,\]]")
_END = re.compile(r'(,"token":"[0-9a-f]{1,64}")?\}')


def decode(content: bytes, where: str, most: int = _UNPACKED) -> Iterator[Change]:
    """The changes that a document has in itself.

    Args:
        content: of the document.
        where: it is, for errors.
        most: bytes that may be packed into it.

    Raises:
        StoreError: it is none, or of a newer Engram.
    """
    try:
        yield from _scanned(_Front(_texts(content, most)), where)
    except (ValueError, TypeError, RecursionError, zlib.error) as wrong:
        raise StoreError(f"{where} is not part of a journal: {wrong}; bring back a copy of it") from wrong


class _Front:
    """Text that comes in pieces and is read from its front."""

    def __init__(self, texts: Iterator[str]) -> None:
        self._texts = texts
        self._text = ""
        self._at = 0

    def take(self, pattern: re.Pattern[str]) -> re.Match[str]:
        """What a pattern matches, which is left behind."""
        found = pattern.match(self._text, self._at)
        while found is None and len(self._text) - self._at < _MARK and self._more():
            found = pattern.match(self._text, self._at)
        if found is None:
            raise ValueError(f"it has {self._text[self._at : self._at + 40]!r} where that cannot be")
        self._at = found.end()
        return found

    def value(self) -> Any:  # noqa: ANN401 - any JSON value
        """The array that begins here, which is left behind."""
        while True:
            try:
                found, self._at = _DECODER.raw_decode(self._text, self._at)
            except ValueError:
                if len(self._text) - self._at > ROW + 100 or not self._more():
                    raise
            else:
                return found

    def over(self) -> bool:
        """Whether nothing follows."""
        return self._at == len(self._text) and not self._more()

    def _more(self) -> bool:
        """Let as much follow as is there already, or a piece; False where nothing does."""
        rest = self._text[self._at :]
        gained = [rest]
        for piece in self._texts:
            gained.append(piece)
            if sum(map(len, gained)) > 2 * len(rest):
                break
        self._text, self._at = "".join(gained), 0
        return len(self._text) > len(rest)


def _scanned(front: _Front, where: str) -> Iterator[Change]:
    known(front.take(_BEGINNING)[1], where)
    mark = front.take(_FIRST)[0]
    while mark != "]":
        yield _change(front.value())
        mark = front.take(_NEXT)[0]
    front.take(_END)
    if not front.over():
        raise ValueError("something follows upon its end")


def _change(found: object) -> Change:
    if not isinstance(found, list) or len(found) != 3:
        raise ValueError("its changes are not a kind, a table and a row each")
    kind, table, row = found
    if kind not in {"put", "drop"} or not isinstance(table, str) or not isinstance(row, dict):
        raise ValueError("its changes are neither put nor drop")
    if any(isinstance(value, (dict, list)) for value in row.values()):
        raise ValueError(f"a row of {table!r} has a value that is no text and no number")
    return Change(kind, table, row)


def known(revision: object, where: str) -> None:
    """Refuse what a newer Engram wrote.

    Raises:
        StoreError: it did.
    """
    if not isinstance(revision, str):
        raise TypeError("its revision is no text")
    if revision > HEAD:
        raise StoreError(
            f"{where} has revision {revision}, newer than {HEAD}, which this Engram knows; pip install --upgrade engram"
        )


def _texts(content: bytes, most: int) -> Iterator[str]:
    """A document as text, in pieces."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    for piece in _unpacked(content, most):
        yield decoder.decode(piece)
    decoder.decode(b"", final=True)


def _unpacked(content: bytes, most: int) -> Iterator[bytes]:
    """A document, packed or not, in pieces."""
    pieces = (content[start : start + _PIECE] for start in range(0, len(content), _PIECE))
    if content[:2] != b"\x1f\x8b":
        yield from pieces
        return
    unpacking, size = zlib.decompressobj(wbits=31), 0
    for piece in pieces:
        rest = piece
        while rest and not unpacking.eof:
            made = unpacking.decompress(rest, _PIECE)
            rest = unpacking.unconsumed_tail
            size += len(made)
            if size > most:
                raise ValueError(f"more than {most:,} bytes are packed into it")
            yield made
        if unpacking.unused_data or rest:
            raise ValueError("something follows upon what is packed")
    if not unpacking.eof:
        raise ValueError("the end of what is packed is missing")


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a column stands twice in one row")
    return made


def _refused(word: str) -> None:
    raise ValueError(f"{word} is no number")


_DECODER = json.JSONDecoder(object_pairs_hook=_distinct, parse_constant=_refused)
