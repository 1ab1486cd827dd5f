"""Pickles as joblib writes them: the bytes of an array lie in the stream, behind a record that tells of it.

The whole may be compressed by one of the standard library's methods, which are told by the first bytes. An array of
objects lies there as a pickle of its own; it goes through the same interpreter, with the same table.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from pickletools import genops
from typing import Any

import numpy as np

from engram.errors import FormatError
from engram.formats import _files
from engram.formats._pickle import Allowed, Stream, Unfinished, interpret, leading
from engram.formats._pickle.arrays import array
from engram.records import Limits

__all__ = ["leading_name", "unpickled"]

_WRAPPER = ("joblib.numpy_pickle", "NumpyArrayWrapper")
_HEAD = 65_536
_DEEPEST = 8
_RATIO = 1_100
"""The most that deflate can make of a byte; what claims more is no such stream."""

_METHODS: Mapping[bytes, Callable[[], Any]] = {
    b"x\x01": zlib.decompressobj,
    b"x\x9c": zlib.decompressobj,
    b"x\xda": zlib.decompressobj,
    b"x^": zlib.decompressobj,
    b"\x1f\x8b": lambda: zlib.decompressobj(zlib.MAX_WBITS | 16),
    b"BZ": bz2.BZ2Decompressor,
    b"\xfd7": lzma.LZMADecompressor,
    b"]\x00": lambda: lzma.LZMADecompressor(lzma.FORMAT_ALONE, memlimit=256 << 20),
}


def leading_name(head: bytes, path: Path) -> str:
    """The module and name of the first class that a pickle mentions; empty where it is none, or mentions none.

    Args:
        head: the first bytes of the file.
        path: of the file, of which more is read where the head is compressed.
    """
    method = _METHODS.get(head[:2])
    if method is not None:
        try:
            head = method().decompress(path.read_bytes()[:_HEAD], _HEAD)
        except (zlib.error, OSError, lzma.LZMAError, EOFError, ValueError):
            return ""
    texts: list[str] = []
    try:
        for code, argument, _ in genops(head):
            if code.name in {"GLOBAL", "INST"}:
                return str(argument).replace(" ", ".")
            if code.name == "STACK_GLOBAL":
                return ".".join(texts[-2:])
            if isinstance(argument, str):
                texts.append(argument)
    except (ValueError, IndexError, OverflowError, MemoryError):
        return ""
    return ""


def unpickled(path: Path, allowed: Mapping[tuple[str, str], Allowed], limits: Limits) -> Any:  # noqa: ANN401 - any value
    """The value in a file that pickle or joblib wrote; see ``_pickle.interpret``.

    Args:
        path: of the file.
        allowed: what each name in it may mean.
        limits: of the pickle; a compressed file may unpack to ``zip_ratio`` times its size, and to 16 MB always.

    Raises:
        FormatError: it is damaged, over a limit, or names what is not allowed.
    """
    content = _files.read(path, limits.protobuf_bytes)
    method = _METHODS.get(content[:2])
    plain = content if method is None else _unpacked(content, method(), path.name, limits)
    return interpret(plain, path.name, _Table(allowed, limits), limits)


class _Table(dict[tuple[str, str], Allowed]):
    """A caller's table, and joblib's record of an array beside it."""

    def __init__(self, inner: Mapping[tuple[str, str], Allowed], limits: Limits, depth: int = 0) -> None:
        super().__init__()
        self._inner, self._limits, self._depth = inner, limits, depth

    def __missing__(self, key: tuple[str, str]) -> Allowed:
        return self._record if key == _WRAPPER else self._inner[key]

    def get(self, key: tuple[str, str], default: Any = None) -> Any:  # noqa: ANN401 - as of a dictionary
        """The entry of a name; the default where it is not allowed."""
        return self._record if key == _WRAPPER else self._inner.get(key, default)

    def _record(self) -> Unfinished:
        return Unfinished(self._array)

    def _array(self, state: Any, stream: Stream) -> Any:  # noqa: ANN401 - of a stranger's file
        """The array behind a record."""
        if not isinstance(state, dict) or not isinstance(state.get("dtype"), np.dtype):
            raise FormatError("a record of joblib's without a type")
        kind, shape, order = state["dtype"], state.get("shape"), state.get("order")
        lengths = shape if type(shape) is tuple else (None,)
        if not all(type(axis) is int and axis >= 0 for axis in lengths) or order not in {"C", "F"}:
            raise FormatError("a record of joblib's without a shape or an order")
        if kind.hasobject:
            return self._objects(stream)
        if state.get("numpy_array_alignment_bytes") is not None:
            stream.take(stream.take(1)[0])
        count = int(np.prod(lengths, dtype=object))
        return array(stream.block(count * kind.itemsize), kind, lengths, fortran=order == "F")

    def _objects(self, stream: Stream) -> Any:  # noqa: ANN401 - any value
        """An array of objects, which is a pickle within the pickle."""
        if self._depth >= _DEEPEST:
            raise FormatError(f"arrays of objects within each other, more than {_DEEPEST} deep")
        table = _Table(self._inner, self._limits, self._depth + 1)
        found, end = leading(stream.content[stream.at :], stream.where, table, self._limits)
        stream.at += end
        return found


def _unpacked(content: bytes, machine: Any, where: str, limits: Limits) -> bytes:  # noqa: ANN401 - of three libraries
    largest = max(16 << 20, min(limits.zip_ratio, _RATIO) * len(content))
    try:
        plain = machine.decompress(content, largest + 1)
    except (zlib.error, OSError, lzma.LZMAError, EOFError, ValueError) as wrong:
        raise FormatError(f"{where} cannot be unpacked: {wrong}") from wrong
    if len(plain) > largest:
        raise FormatError(f"{where} would unpack to more than {limits.zip_ratio} times its {len(content):,} bytes")
    if not machine.eof or machine.unused_data:
        raise FormatError(f"{where} is cut off, or has bytes behind its end")
    return bytes(plain)
