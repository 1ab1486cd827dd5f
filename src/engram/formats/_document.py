"""JSON as it is defined, and nothing that parsers let pass beside it.

Python's own parser takes duplicate keys, NaN, numbers that overflow and any amount of nesting. Depth and number of
values are counted over the bytes before parsing, because a megabyte of brackets becomes a hundred of objects.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from typing import Any

import orjson

from engram.errors import ConversionError, FormatError

__all__ = ["parse", "text"]

_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)|[\[\]{}]', re.DOTALL)
_VALUES = 8_000_000
_LARGEST_INTEGER = 2**64


def parse(
    data: bytes,
    where: str,
    *,
    depth: int,
    entries: int = 2_000_000,
    pairs: Callable[[dict[str, Any]], Any] | None = None,
) -> Any:  # noqa: ANN401 - any JSON value
    """The value of a JSON document.

    Args:
        data: UTF-8 without a byte order mark.
        where: what to call the document in an error.
        depth: the deepest nesting that is accepted.
        entries: the most strings, lists and objects together that are accepted.
        pairs: what to make of each object, to keep many small ones small.

    Raises:
        FormatError: it is not JSON, is nested too deep, or holds too much.
    """
    _measure(data, where, depth, entries)

    def unique(found: list[tuple[str, Any]]) -> Any:  # noqa: ANN401 - whatever `pairs` makes
        made = dict(found)
        if len(made) != len(found):
            twice = next(key for key, _ in found if sum(other == key for other, _ in found) > 1)
            raise FormatError(f"{where}: the key {twice!r} is there twice")
        return pairs(made) if pairs else made

    def refuse(word: str) -> None:
        raise FormatError(f"{where}: {word} is not JSON; write it as text")

    def finite(word: str) -> float:
        value = float(word)
        if math.isinf(value):
            raise FormatError(f"{where}: the number {word[:40]} is too large")
        return value

    def whole(word: str) -> int:
        value = int(word) if len(word) < len(str(_LARGEST_INTEGER)) + 2 else _LARGEST_INTEGER
        if abs(value) >= _LARGEST_INTEGER:
            raise FormatError(f"{where}: the number {word[:40]} is too large")
        return value

    try:
        return json.loads(
            data.decode("utf-8"),
            object_pairs_hook=unique,
            parse_constant=refuse,
            parse_float=finite,
            parse_int=whole,
        )
    except UnicodeDecodeError as wrong:
        raise FormatError(f"{where}: byte {wrong.start:,} is not UTF-8") from wrong
    except json.JSONDecodeError as wrong:
        raise FormatError(f"{where}: not JSON at line {wrong.lineno}, column {wrong.colno}: {wrong.msg}") from wrong
    except RecursionError as wrong:
        raise FormatError(f"{where}: nested deeper than the parser can follow") from wrong


def text(value: object, where: str) -> bytes:
    """A value as JSON: the same value gives the same bytes, and arrays of numpy the shortest digits that come back.

    Raises:
        ConversionError: it holds something that JSON cannot say.
    """
    try:
        return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)
    except (TypeError, orjson.JSONEncodeError) as refused:
        raise ConversionError(f"{where} cannot be written as JSON: {refused}") from refused


def _measure(data: bytes, where: str, depth: int, entries: int) -> None:
    if data.count(b",") > _VALUES:
        raise FormatError(f"{where}: holds more than {_VALUES:,} values; JSON is for small models")
    level = 0
    for count, token in enumerate(_TOKEN.finditer(data), start=1):
        first = data[token.start()]
        level += (first in b"[{") - (first in b"]}")
        if level > depth:
            raise FormatError(f"{where}: nested deeper than {depth} levels")
        if count > 2 * entries:
            raise FormatError(f"{where}: holds more than {entries:,} texts, lists and objects")
