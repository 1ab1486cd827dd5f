"""Which values may be keys of a dictionary or members of a set.

Only those that are hashed in constant time and cannot be made to collide: nested tuples that share their parts take
exponential time to hash, very large integers can all be given one hash, and a class may do anything.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from engram.errors import FormatError

__all__ = ["plain"]

_PLAIN: Final = frozenset({str, int, float, bool, type(None), bytes})
_LARGEST: Final = 2**63
_LONGEST: Final = 16


def plain(value: Any) -> Any:  # noqa: ANN401 - any value
    """The value as a key: a text, a number of at most 64 bits, bytes, None, or a tuple of a few texts.

    A number of numpy's becomes Python's own, which is equal to it.

    Raises:
        FormatError: it is none of these.
    """
    kind = type(value)
    if kind is str or (kind in _PLAIN and kind is not int):
        return value
    if kind is int:
        if -_LARGEST < value < _LARGEST:
            return value
        raise FormatError("a number beyond 64 bits as a key")
    if kind is tuple:
        if len(value) <= _LONGEST and all(type(part) is str for part in value):
            return value
        raise FormatError("a tuple of something else than a few texts as a key")
    if isinstance(value, np.generic):
        return plain(value.item())
    raise FormatError(f"a {kind.__name__} as a key")
