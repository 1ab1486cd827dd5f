"""Arrays in numpy's own file form: a header that is a dictionary in Python's spelling, then plain bytes.

numpy's reader evaluates the header and, where the type says objects, opens a pickle. Here the three facts are taken out
of the header by their spelling, as numpy writes it, and an array of objects is refused.
"""

from __future__ import annotations

import re
import struct

import numpy as np
from numpy import ndarray

from engram.errors import FormatError
from engram.formats._pickle.arrays import array

__all__ = ["MAGIC", "parse"]

MAGIC = b"\x93NUMPY"
_LARGEST = 65_536
_SHAPE = re.compile(r"'shape': \(((?:\d{1,19},? ?)*)\)")
_ORDER = re.compile(r"'fortran_order': (True|False)")
_PLAIN = re.compile(r"'descr': '([<>|=]?(?:b1|[iu][1248]|f2|f4|f8|f16|c8|c16|c32|[SU]\d{1,9}))'")
_FIELDS = re.compile(r"'descr': \[((?:\('[^'()\\]{1,100}', '[<>|=]?(?:b1|[iu][1248]|f[248])'\)(?:, )?){1,512})\]")
_FIELD = re.compile(r"\('([^']+)', '([^']+)'\)")


def parse(content: bytes | memoryview, where: str) -> ndarray:
    """The array in a file; large ones are views of its bytes, read-only.

    Args:
        content: the whole file.
        where: what to call it in an error.

    Raises:
        FormatError: it is damaged, or holds objects.
    """
    head, body = _parts(memoryview(content), where)
    shape, order = _SHAPE.search(head), _ORDER.search(head)
    kind = _kind(head)
    if shape is None or order is None or kind is None or head.count("'descr'") != 1:
        raise FormatError(f"{where} has a header that is not as numpy writes it for numbers or texts: {head[:80]!r}")
    lengths = tuple(int(length) for length in re.findall(r"\d+", shape[1]))
    try:
        return array(body, kind, lengths, fortran=order[1] == "True")
    except FormatError as wrong:
        raise FormatError(f"{where}: {wrong}") from wrong


def _parts(content: memoryview, where: str) -> tuple[str, memoryview]:
    version = bytes(content[6:8])
    form = {b"\1\0": "<H", b"\2\0": "<I", b"\3\0": "<I"}.get(version)
    if bytes(content[:6]) != MAGIC or form is None:
        raise FormatError(f"{where} does not begin as an array of numpy's does")
    start = 8 + struct.calcsize(form)
    if len(content) < start:
        raise FormatError(f"{where} is cut off in its header")
    (length,) = struct.unpack_from(form, content, 8)
    if length > min(_LARGEST, len(content) - start):
        raise FormatError(f"{where} has a header of {length:,} bytes, over the limit of {_LARGEST:,} or cut off")
    head = bytes(content[start : start + length]).decode("utf-8" if version == b"\3\0" else "latin-1", "replace")
    return head, content[start + length :]


def _kind(head: str) -> np.dtype[np.generic] | None:
    plain = _PLAIN.search(head)
    if plain is not None:
        return np.dtype(plain[1])
    fields = _FIELDS.search(head)
    if fields is None:
        return None
    found = _FIELD.findall(fields[1])
    if len({name for name, _ in found}) != len(found):
        return None
    return np.dtype(found)
