"""JSON as RFC 8259 means it, and nothing that two readers could read differently.

Python's own parser does the work, because it can be told to refuse what it would accept by default: duplicate keys,
NaN and Infinity, numbers that overflow to infinity. Depth is measured on the bytes before anything is built, so that
a thousand brackets cost no recursion.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, NoReturn

from engram.errors import FormatError
from engram.serving.limits import RequestLimits

__all__ = ["parse"]

_LARGEST = 2**63
_DIGITS = len(str(_LARGEST))
# possessive, and content with an end that is missing, so that no input makes it look twice at a byte
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_HALF_PAIR = re.compile(rb"\\u[dD][89a-fA-F]")
_SQUARE = bytes.maketrans(b"{}", b"[]")
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


def parse(body: bytes, limits: RequestLimits | None = None) -> Any:  # noqa: ANN401 - any JSON value
    """The value that a request's body holds.

    Args:
        body: one JSON document in UTF-8 without a byte order mark.
        limits: the default ones if not given.

    Raises:
        FormatError: the body is not UTF-8 or not JSON, has a duplicate or overlong key, NaN, Infinity, a number
            outside ±2^63 (whole) or of double precision, half a surrogate pair, or is nested too deep.
    """
    allowed = limits or RequestLimits()
    if not body.strip():
        raise FormatError("the body is empty; send JSON")
    _check_nesting(body, allowed)
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as broken:
        raise FormatError(f"the body is not UTF-8 (byte {broken.start}); send JSON in UTF-8") from None
    try:
        value = _decoder(allowed.key).decode(text)
    except json.JSONDecodeError as broken:
        place = f"line {broken.lineno}, column {broken.colno}"
        raise FormatError(f"the body is not JSON: {broken.msg[0].lower()}{broken.msg[1:]} at {place}") from None
    except RecursionError:
        raise FormatError(_too_deep(allowed)) from None
    if _HALF_PAIR.search(body):
        _check_characters(value)
    return value


def _decoder(longest: int) -> json.JSONDecoder:
    def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(found)
        if len(made) != len(found):
            seen: set[str] = set()
            twice = next(key for key, _ in found if key in seen or seen.add(key))  # type: ignore[func-returns-value]
            raise FormatError(f"the key {twice[:80]!r} stands twice in one object; send it once")
        if any(len(key) > longest for key in made):
            raise FormatError(f"a key is longer than {longest:,} characters; shorten it")
        return made

    return json.JSONDecoder(
        object_pairs_hook=pairs, parse_constant=_refuse_constant, parse_float=_number, parse_int=_whole
    )


def _refuse_constant(name: str) -> NoReturn:
    raise FormatError(f"{name} is not JSON; send null for a value that is missing")


def _number(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise FormatError(f"the number {digits[:40]} is too large for double precision; send null or a smaller one")
    return number


def _whole(digits: str) -> int:
    if len(digits) > _DIGITS + 1 or abs(number := int(digits)) > _LARGEST:
        raise FormatError(f"the whole number {digits[:40]} is beyond 2^63; send it as a decimal or as text")
    return number


def _check_nesting(body: bytes, limits: RequestLimits) -> None:
    opened = body.count(b"[") + body.count(b"{")
    if opened <= min(limits.depth, limits.containers):
        return
    brackets = _STRING.sub(b"", body).translate(_SQUARE, _NOT_BRACKETS)
    opened = brackets.count(b"[")
    if opened > limits.containers:
        raise FormatError(
            f"the body has {opened:,} lists and objects, and {limits.containers:,} are allowed; send less"
        )
    for _ in range(limits.depth):  # each pass takes the innermost level away
        brackets = brackets.replace(b"[]", b"")
    if b"[]" in brackets:
        raise FormatError(_too_deep(limits))


def _too_deep(limits: RequestLimits) -> str:
    return f"the body is nested deeper than {limits.depth} levels; flatten it"


def _check_characters(value: Any) -> None:  # noqa: ANN401 - any JSON value
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise FormatError("the body has half of a surrogate pair (\\ud800 … \\udfff), which is no character") from None
