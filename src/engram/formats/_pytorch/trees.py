"""Plain values with tensors among them, as JSON and arrays, and back: the words of ``engram.store.training.trees``.

That module says how a loop's own optimizer is kept; this one says the same of an optimizer that lies in a file, so that
what was read can be kept and resumed like what was trained here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy import ndarray

from engram.errors import ConversionError, FormatError
from engram.formats._pickle import SpecialDict
from engram.formats._pytorch.tensors import Tensor

__all__ = ["grown", "pressed"]

_TENSOR: Final = "$tensor"
_TUPLE: Final = "$tuple"
_PAIRS: Final = "$pairs"
_KINDS: Final = frozenset({"dict", "Counter", "OrderedDict"})
_PLAIN: Final = frozenset({type(None), bool, int, float, str})


def pressed(value: Any, where: str, keep: Callable[[str, Tensor | ndarray], None]) -> Any:  # noqa: ANN401 - any value
    """A value as plain JSON.

    Args:
        value: from a file.
        where: what it is called in an error, and the key of a tensor.
        keep: is given each tensor that is found in it, under its key.

    Raises:
        FormatError: something in it has no such form; its place is named.
    """
    if type(value) in _PLAIN:
        return value
    if isinstance(value, (Tensor, ndarray)):
        keep(where, value)
        return {_TENSOR: where}
    if isinstance(value, np.generic):
        return pressed(value.item(), where, keep)
    if type(value) in {list, tuple}:
        items = [pressed(item, f"{where}[{number}]", keep) for number, item in enumerate(value)]
        return items if type(value) is list else {_TUPLE: items}
    if isinstance(value, dict):
        return _mapping(value, where, keep)
    raise FormatError(f"{where} is a {type(value).__name__}, which is none of numbers, texts, lists and tensors")


def _mapping(value: dict[Any, Any], where: str, keep: Callable[[str, Tensor | ndarray], None]) -> dict[str, Any]:
    if type(value) is dict and all(type(key) is str and not key.startswith("$") for key in value):
        return {key: pressed(item, f"{where}.{key}", keep) for key, item in value.items()}
    pairs = [
        [pressed(key, f"a key of {where}", keep), pressed(item, f"{where}[{key!r}]", keep)]
        for key, item in value.items()
    ]
    kind = value.kind if isinstance(value, SpecialDict) else "dict"
    return {_PAIRS: pairs, "of": kind if kind in _KINDS else "dict"}


def grown(value: Any, find: Callable[[str], ndarray]) -> Any:  # noqa: ANN401 - any JSON value
    """The value that was made plain, with arrays where tensors were.

    Args:
        value: plain JSON.
        find: the array under a key.

    Raises:
        ConversionError: it is not as it is written.
    """
    if isinstance(value, (list, tuple)):
        return [grown(item, find) for item in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {_TENSOR}:
        return find(str(value[_TENSOR]))
    if value.keys() == {_TUPLE}:
        return tuple(grown(item, find) for item in value[_TUPLE])
    if value.keys() == {_PAIRS, "of"}:
        if value["of"] not in _KINDS:
            raise ConversionError(f"the training state holds a {value['of']!r}, which this Engram does not know")
        items = {grown(key, find): grown(item, find) for key, item in value[_PAIRS]}
        return items if value["of"] == "dict" else SpecialDict(value["of"], items)
    return {key: grown(item, find) for key, item in value.items()}
