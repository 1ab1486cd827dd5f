"""A frozen dataclass as a table of keys: its name, type, default and meaning, in the words of a pipeline file."""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields
from typing import Any

from making.docstrings import parse
from making.markdown import code, prose, table

__all__ = ["default", "keys", "toml", "type_words"]

_SCALARS = {str: "text", int: "whole number", float: "number", bool: "true or false"}
_MANY = {
    "text": "texts",
    "whole number": "whole numbers",
    "number": "numbers",
    "table": "tables",
    "true or false": "true or false",
}


def keys(
    record: type[Any],
    *,
    rename: Mapping[str, str] | None = None,
    skip: tuple[str, ...] = (),
    types_as: Mapping[str, str] | None = None,
) -> str:
    """The table of a record's fields.

    Args:
        record: a dataclass.
        rename: field → key, where a file writes it otherwise.
        skip: fields that are no key.
        types_as: field → its type in words, where a file may write it otherwise.
    """
    meanings = parse(record.__doc__).items.get("Attributes", {})
    hints = typing.get_type_hints(record)
    rows = []
    for each in fields(record):
        if each.name in skip:
            continue
        found = default(each)
        words = (types_as or {}).get(each.name) or type_words(hints[each.name])
        row = [code((rename or {}).get(each.name, each.name)), words, _shown(found)]
        rows.append([*row, _meaning(meanings[each.name])] if meanings else row)
    head = ["key", "type", "default", "meaning"] if meanings else ["key", "type", "default"]
    return table(head, rows)


def default(each: Field[Any]) -> Any:  # noqa: ANN401 - any default
    """The default of a field; MISSING where it has none."""
    if each.default is not MISSING:
        return each.default
    return each.default_factory() if each.default_factory is not MISSING else MISSING


def _meaning(text: str) -> str:
    """A meaning for whoever writes TOML, which has no None."""
    plain = re.sub(r"^``\w+`` in the file: ", "", text)
    return plain.replace("None means", "left out means").removesuffix(".")


def type_words(hint: Any) -> str:  # noqa: ANN401 - any annotation
    """A type as whoever writes a pipeline file thinks of it."""
    if hint in _SCALARS:
        return _SCALARS[hint]
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return ", ".join(code(str(value)) for value in inner)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(type_words(one) for one in inner if one is not type(None))
    if origin is tuple:
        return _tuple_words(inner)
    return "table"


def _tuple_words(inner: tuple[Any, ...]) -> str:
    if inner[-1] is Ellipsis:
        word = type_words(inner[0])
        return f"list of {_MANY.get(word, word)}"
    counted = {2: "two", 3: "three"}.get(len(inner), str(len(inner)))
    return f"{counted} {_MANY[type_words(inner[0])]}"


def toml(value: Any) -> str:  # noqa: ANN401 - any default
    """A value as TOML writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key} = {toml(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(toml(inner) for inner in value) + "]"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _shown(value: Any) -> str:  # noqa: ANN401 - any default
    if value is MISSING:
        return "must be given"
    if value is None or value == "":
        return "–"
    return prose(code(toml(value))) if value or value in (0, False) else "–"
