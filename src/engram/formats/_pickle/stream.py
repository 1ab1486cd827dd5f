"""The bytes of a pickle, taken from front to back, none of them twice and none before it was seen to be there."""

from __future__ import annotations

import mmap
from struct import Struct

from engram.errors import FormatError

__all__ = ["Stream"]

_LINE = 256
_RAW = 65_536


class Stream:
    """Bytes and a place in them.

    Attributes:
        where: the name of the file.
        content: all bytes.
        begin: of its first byte.
        at: of the next byte.
    """

    __slots__ = ("_bound", "_mapped", "_raw", "at", "begin", "content", "where")

    def __init__(self, content: memoryview, where: str, bound: int, begin: int = 0) -> None:
        """Begin at the first byte.

        Args:
            content: all bytes, of which the stream may be a part.
            where: the name of the file.
            bound: the most bytes that are taken, those of large blocks aside, which stay where they are.
            begin: of its first byte.
        """
        self.where = where
        self.content = content
        self.begin = self.at = begin
        self._bound = bound
        self._raw = 0
        self._mapped = isinstance(content.obj, mmap.mmap)

    def number(self, form: Struct) -> int:
        """The next number of a fixed width.

        Raises:
            FormatError: the stream ends before.
        """
        start, end = self.at, self.at + form.size
        if end > len(self.content):
            self.take(form.size)
        self.at = end
        found: int = form.unpack_from(self.content, start)[0]
        return found

    def take(self, count: int) -> memoryview:
        """The next bytes, in place.

        Raises:
            FormatError: the stream ends before, or is too long.
        """
        start, end = self.at, self.at + count
        if count < 0 or end > len(self.content):
            left = len(self.content) - start
            raise FormatError(f"{self.where} is cut off: {count:,} bytes should follow byte {start:,}, and {left:,} do")
        self.at = end
        if count >= _RAW:
            self._raw += count
        self.check()
        return self.content[start:end]

    def block(self, count: int) -> bytes | memoryview:
        """The next bytes: a copy of few or from a mapped file, which may yet change, and a read-only view of many."""
        found = self.take(count)
        return found.toreadonly() if count >= _RAW and not self._mapped else bytes(found)

    def line(self) -> bytes:
        """The bytes up to the next line feed, without it.

        Raises:
            FormatError: there is none, or the stream is too long.
        """
        start, width, found = self.at, _LINE, -1
        while found < 0:
            piece = bytes(self.content[start : start + width])
            found = piece.find(b"\n")
            if found < 0 and (len(piece) < width or width > self._bound):
                raise FormatError(f"{self.where} is cut off or damaged: the line at byte {start:,} has no end")
            width *= 4
        self.at = start + found + 1
        self.check()
        return piece[:found]

    def check(self) -> None:
        """Refuse what is longer than a stream may be.

        Raises:
            FormatError: it is.
        """
        if self.at - self.begin - self._raw > self._bound:
            raise FormatError(f"{self.where} has a pickle stream over the limit of {self._bound:,} bytes")
