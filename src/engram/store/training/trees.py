"""Plain values with tensors among them, as JSON and arrays, and back exactly.

Optimizers and schedulers keep numbers, texts, lists and dictionaries, now and then a tuple, a counter or a dictionary
whose keys are numbers, and tensors in between. JSON has no words for the rarer of these, so they are written as objects
with one key that begins with ``$``. What is none of these is refused when it is saved, never dropped.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from engram.errors import StoreError, UsageError

__all__ = ["grown", "pressed"]

_TENSOR, _TUPLE, _PAIRS = "$tensor", "$tuple", "$pairs"
_MAPPINGS: Mapping[str, Callable[[Any], Any]] = {
    "dict": dict,
    "Counter": lambda pairs: Counter(dict(pairs)),
    "OrderedDict": OrderedDict,
}


def pressed(value: object, where: str, tensors: dict[str, Tensor]) -> Any:  # noqa: ANN401 - any JSON value
    """A value as plain JSON.

    Args:
        value: to be kept.
        where: what it is called in an error, and the key of a tensor.
        tensors: is given the tensors that are found in it.

    Raises:
        UsageError: something in it is of a type that cannot be kept exactly; its place is named.
    """
    if value is None or type(value) in {bool, int, float, str}:
        return value
    if isinstance(value, Tensor):
        tensors[where] = value
        return {_TENSOR: where}
    if type(value) is list:
        return [pressed(item, f"{where}[{number}]", tensors) for number, item in enumerate(value)]
    if type(value) is tuple:
        return {_TUPLE: [pressed(item, f"{where}[{number}]", tensors) for number, item in enumerate(value)]}
    if type(value) in {dict, Counter, OrderedDict}:
        assert isinstance(value, dict)
        return _mapping(value, where, tensors)
    kind = f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
    raise UsageError(
        f"{where} is a {kind}, which a store cannot keep exactly; make it a number, text, list, dict or tensor"
    )


def grown(value: Any, find: Callable[[str], Tensor]) -> Any:  # noqa: ANN401 - any JSON value
    """The value that ``pressed`` made plain.

    Args:
        value: as it was read.
        find: the tensor under a key.

    Raises:
        StoreError: it is not as ``pressed`` writes it.
    """
    if isinstance(value, list):
        return [grown(item, find) for item in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {_TENSOR}:
        return find(str(value[_TENSOR]))
    if value.keys() == {_TUPLE}:
        return tuple(grown(item, find) for item in value[_TUPLE])
    if value.keys() == {_PAIRS, "of"}:
        if value["of"] not in _MAPPINGS:
            raise StoreError(f"a checkpoint holds a {value['of']!r}, of another Engram; pip install --upgrade engram")
        return _MAPPINGS[value["of"]]([(grown(key, find), grown(item, find)) for key, item in value[_PAIRS]])
    return {key: grown(item, find) for key, item in value.items()}


def _mapping(value: dict[Any, object], where: str, tensors: dict[str, Tensor]) -> dict[str, Any]:
    if type(value) is dict and all(type(key) is str and not key.startswith("$") for key in value):
        return {key: pressed(item, f"{where}.{key}", tensors) for key, item in value.items()}
    pairs = [
        [pressed(key, f"a key of {where}", tensors), pressed(item, f"{where}[{key!r}]", tensors)]
        for key, item in value.items()
    ]
    return {_PAIRS: pairs, "of": type(value).__name__}
