"""numpy's own file of one array: a header that says type, order and shape, and the numbers.

The header is a Python dictionary as text, and numpy evaluates it, safely but without a bound. Here it is matched, word
by word, against the only form that any writer gives it.
"""

from __future__ import annotations

import re
from typing import Any, Final

import numpy as np
from numpy import ndarray

from engram.errors import ConversionError, FormatError
from engram.formats._pickle.arrays import array

__all__ = ["MAGIC", "parse", "write"]

MAGIC: Final = b"\x93NUMPY"
_LENGTHS: Final = {1: 2, 2: 4, 3: 4}
_LONGEST: Final = 65_536
_ALIGNMENT: Final = 64
_ITEM: Final = re.compile(
    r"""\s*+(['"])(?P<key>descr|fortran_order|shape)\1\s*+:\s*+
    (?P<value>
        '[^'\\]{0,40}' | "[^"\\]{0,40}" | True | False
        | \[(?:\('[^'()\\]{0,100}',\ '[^'()\\]{1,5}'\)(?:,\ )?){1,512}\]
        | \((?:\s*+[0-9]{1,15}L?\s*+,)*\s*+(?:[0-9]{1,15}L?)?\s*+\)
    )\s*+(?:,|(?=\}))""",
    re.VERBOSE,
)
_FIELD: Final = re.compile(r"\('([^'()\\]{0,100})', '([<>|=]?(?:b1|[iu][1248]|f[248]|V[0-9]{1,3}))'\)")
_KIND: Final = re.compile(r"[<>|=](?:b1|[iu][1248]|f2|f4|f8|f16|c8|c16|c32|[SU][0-9]{1,9})", re.ASCII)


def parse(content: bytes | memoryview, where: str) -> ndarray:
    """The array in the bytes of such a file, as a view of them.

    Args:
        content: the whole file.
        where: what to call it in an error.

    Raises:
        FormatError: it is damaged, or holds what is no numbers or texts.
    """
    head = bytes(content[:12])
    width = _LENGTHS.get(head[6]) if len(head) == 12 and head.startswith(MAGIC) else None
    if width is None:
        raise FormatError(f"{where} does not begin as an array of numpy's does, in version 1, 2 or 3")
    length = int.from_bytes(head[8 : 8 + width], "little")
    start = 8 + width + length
    if length > _LONGEST or start > len(content):
        raise FormatError(f"{where} has a header of {length:,} bytes, more than there are or than {_LONGEST:,}")
    text = bytes(content[8 + width : start]).decode("utf-8" if head[6] == 3 else "latin-1", "replace")
    kind, fortran, shape = _parsed(text, where)
    numbers = np.frombuffer(content, np.uint8)[start:]
    if numbers.ctypes.data % kind.alignment:
        numbers = numbers.copy()
    try:
        return array(numbers.data, kind, shape, fortran=fortran)
    except FormatError as wrong:
        raise FormatError(f"{where}: {wrong}") from wrong


def write(values: ndarray, name: str) -> tuple[bytes, bytes | memoryview]:
    """The header and the numbers of such a file.

    Args:
        values: the array.
        name: what to call it in an error.

    Raises:
        ConversionError: numpy's files have no word for its type.
    """
    solid = np.ascontiguousarray(values)
    if not _KIND.fullmatch(values.dtype.str) or values.dtype.isbuiltin > 1:
        raise ConversionError(f"the weight {name!r} is of {values.dtype}, which numpy's files have no word for")
    said = f"{{'descr': '{values.dtype.str}', 'fortran_order': False, 'shape': {tuple(values.shape)}, }}"
    padding = -(len(MAGIC) + 4 + len(said) + 1) % _ALIGNMENT
    text = said.encode() + b" " * padding + b"\n"
    head = MAGIC + b"\1\0" + len(text).to_bytes(2, "little") + text
    return head, (solid.reshape(-1).view(np.uint8).data if solid.size else b"")


def _parsed(text: str, where: str) -> tuple[np.dtype[Any], bool, tuple[int, ...]]:
    """Type, order and shape out of the text of a header."""
    inner = text.strip()
    found: dict[str, str] = {}
    at = 1
    while item := _ITEM.match(inner, at):
        if item["key"] in found:
            raise FormatError(f"{where}: the header says {item['key']!r} twice")
        found[item["key"]] = item["value"]
        at = item.end()
    if not inner.startswith("{") or inner[at:].strip() != "}" or found.keys() != {"descr", "fortran_order", "shape"}:
        raise FormatError(f"{where}: the header {inner[:80]!r} is not as numpy writes it, of an array of one type")
    if found["descr"][0] not in "'\"[" or found["shape"][0] != "(" or found["fortran_order"] not in {"True", "False"}:
        raise FormatError(f"{where}: the header {inner[:80]!r} is not as numpy writes it")
    kind = _kind(found["descr"], where)
    shape = tuple(int(axis.strip().rstrip("L")) for axis in found["shape"][1:-1].split(",") if axis.strip())
    return kind, found["fortran_order"] == "True", shape


def _kind(said: str, where: str) -> np.dtype[Any]:
    """A type of numbers or texts, or of fields of numbers."""
    fields = _FIELD.findall(said)
    if said[0] == "[" and len(fields) == said.count("(") and (made := _fields(fields)) is not None:
        return made
    kind = said[1:-1]
    if said[0] == "[" or not _KIND.fullmatch(kind):
        objects = "Python objects, which are a pickle" if "O" in kind else f"the type {kind[:40]!r}"
        raise FormatError(f"{where} holds {objects}; arrays of numbers and texts alone are read")
    return np.dtype(kind)


def _fields(said: list[tuple[str, str]]) -> np.dtype[Any] | None:
    """Fields one behind the other; bytes without a name, which a compiler left between them, are no field."""
    ends = np.cumsum([np.dtype(kind).itemsize for _, kind in said]).tolist()
    kept = [(name, kind, end) for (name, kind), end in zip(said, ends, strict=True) if name or "V" not in kind]
    names = [name for name, _, _ in kept]
    if not all(names) or len(set(names)) != len(names) or any("V" in kind for _, kind, _ in kept):
        return None
    starts = [end - np.dtype(kind).itemsize for _, kind, end in kept]
    return np.dtype({"names": names, "formats": [kind for _, kind, _ in kept], "offsets": starts, "itemsize": ends[-1]})
