"""Arrays out of nested dictionaries and lists, by the way to each, and back.

``{"dense": {"kernel": …}}`` has the weight ``dense/kernel``, a list ``0``, ``1``, …, which is how JAX and Keras people
save theirs. Numbers and texts beside them are kept as what the file says of itself; anything else is no plain data.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from numpy import ndarray

from engram.errors import FormatError
from engram.formats._pickle import Inert, Reference, SpecialDict

__all__ = ["flat"]

_ALONE: Final = "array"
_PLAIN: Final = frozenset({type(None), bool, int, float, str})


def flat(tree: Any, where: str) -> tuple[dict[str, ndarray], dict[str, Any]]:  # noqa: ANN401 - of a stranger's file
    """The arrays of a tree and its plain values, each by the way to it.

    Args:
        tree: what an interpreted pickle left; walking through it ends.
        where: the name of the file.

    Raises:
        FormatError: it holds no arrays, something that is no plain data, or two things by one way.
    """
    arrays: dict[str, ndarray] = {}
    values: dict[str, Any] = {}
    for way, part in _parts(tree, "", where):
        name = way or _ALONE
        if name in arrays or name in values:
            raise FormatError(f"{where} has two things that would be called {name!r}")
        if isinstance(part, (ndarray, np.generic)):
            arrays[name] = np.asarray(part)
        else:
            values[name] = part if type(part) is not float or math.isfinite(part) else str(part)
    if not arrays:
        raise FormatError(f"{where} holds no arrays; it is perhaps no model")
    return arrays, values


def _parts(tree: Any, way: str, where: str) -> list[tuple[str, Any]]:  # noqa: ANN401 - of a stranger's file
    if isinstance(tree, (ndarray, np.generic)) or type(tree) in _PLAIN:
        return [(way, tree)]
    if isinstance(tree, (dict, SpecialDict)):
        items = [(str(key), part) for key, part in tree.items()]
    elif isinstance(tree, (list, tuple)):
        items = [(str(number), part) for number, part in enumerate(tree)]
    else:
        raise FormatError(f"{where} holds {_called(tree)} at {way or 'the top'!r}; arrays and plain values are read")
    return [found for key, part in items for found in _parts(part, f"{way}/{key}" if way else key, where)]


def _called(tree: object) -> str:
    if isinstance(tree, (Inert, Reference)):
        return f"{tree.module}.{tree.name}"
    return f"a {type(tree).__name__}"
