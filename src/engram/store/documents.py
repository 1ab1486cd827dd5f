"""JSON documents of the store: the same content is always the same bytes, and every float comes back bit for bit.

Keys are sorted, nothing is padded, text is UTF-8. JSON has no word for NaN and the infinities, which a history of
training may well hold, so each is written as ``{"$float": "nan"}``; a text ``"nan"`` stays a text. What JSON would
quietly change (a numpy scalar, a key that is a number) is refused while it can still be mended: when it is saved.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from engram.errors import StoreError, UsageError
from engram.records import Limits

__all__ = ["decode", "encode", "relaxed"]

_TAG = "$float"
_WORDS = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}
_DEPTH = 200
_LARGEST = Limits().config_bytes


def encode(value: object, where: str) -> bytes:
    """A value of plain JSON types as canonical bytes; ``decode(encode(v)) == v``, where a tuple comes back as a list.

    Args:
        value: None, bool, int, float, str, and lists, tuples and mappings with text keys of these.
        where: what to call the value in an error (``training state``).

    Raises:
        UsageError: something in it is of another type, or it is too large to be read back; the place is named.
    """
    plain = _plain(value, where, 0)
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    try:
        content = text.encode("utf-8")
    except UnicodeEncodeError as wrong:
        raise UsageError(f"{where} holds text that is not Unicode (a lone surrogate); replace it") from wrong
    if len(content) > _LARGEST:
        raise UsageError(f"{where} has {len(content):,} bytes as JSON, more than the {_LARGEST:,} that are read back")
    return content


def decode(content: bytes | str, where: str) -> Any:  # noqa: ANN401 - any JSON value
    """The value that ``encode`` wrote.

    Raises:
        StoreError: it is not JSON as this module writes it, or larger than any document of a store.
    """
    if len(content) > _LARGEST:
        raise StoreError(f"{where} has {len(content):,} bytes, more than the {_LARGEST:,} that a document may have")
    try:
        return json.loads(content, object_pairs_hook=_mapping, parse_constant=_refused)
    except (ValueError, RecursionError) as wrong:
        raise StoreError(f"{where} is not a JSON document of a store: {wrong}; run engram verify") from wrong


def relaxed(value: object) -> object:
    """The value with numpy's scalars made Python's own: for figures that are shown, not for state that is resumed."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        return {key: relaxed(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [relaxed(item) for item in value]
    return value


def _plain(value: object, where: str, depth: int) -> object:
    if depth > _DEPTH:
        raise UsageError(f"{where} is nested deeper than {_DEPTH} levels; flatten it")
    if value is None or type(value) in {bool, int, str}:
        return value
    if type(value) is float:
        return value if math.isfinite(value) else {_TAG: str(value)}
    if isinstance(value, Mapping):
        return _plain_mapping(value, where, depth)
    if type(value) in {list, tuple} and isinstance(value, Sequence):
        return [_plain(item, f"{where}[{number}]", depth + 1) for number, item in enumerate(value)]
    kind = f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
    raise UsageError(f"{where} is a {kind}, which JSON cannot hold exactly; save a plain number, text, list or dict")


def _plain_mapping(value: Mapping[Any, object], where: str, depth: int) -> dict[str, object]:
    for key in value:
        if type(key) is not str:
            raise UsageError(f"{where} has the key {key!r}, which is not text; JSON would change it")
    if _TAG in value:
        raise UsageError(f"{where} has the key {_TAG!r}, by which a store writes NaN; call it something else")
    return {key: _plain(item, f"{where}.{key}", depth + 1) for key, item in value.items()}


def _mapping(pairs: list[tuple[str, Any]]) -> Any:  # noqa: ANN401 - a dictionary or a float
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a key stands twice in one object")
    if made.keys() == {_TAG}:
        return _WORDS[made[_TAG]] if made[_TAG] in _WORDS else _refused(str(made[_TAG]))
    return made


def _refused(word: str) -> None:
    raise ValueError(f"{word[:40]} is no number")
