"""Functions, methods and records of Python as Markdown, from their signatures and docstrings."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from making.docstrings import Docstring, parse
from making.markdown import code, prose, table

__all__ = ["described", "function", "record"]


def function(name: str, made: Callable[..., Any], *, level: int = 3) -> str:
    """A function under its own heading: signature, prose, arguments, result and errors."""
    return f"{'#' * level} {code(f'{name}()')}\n\n```python\n{_signature(name, made)}\n```\n\n{described(parse(made.__doc__))}"


def record(made: type[Any], *, level: int = 3) -> str:
    """A dataclass under its own heading, its fields as a table."""
    found = parse(made.__doc__)
    meanings = found.items.get("Attributes", {})
    rows = [[code(each.name), code(_type(each.type)), meanings.get(each.name, "")] for each in fields(made)]
    head = ["field", "type", "meaning"]
    if not any(row[2] for row in rows):
        head, rows = head[:2], [row[:2] for row in rows]
    return f"{'#' * level} {code(made.__name__)}\n\n{prose(found.prose)}\n\n{table(head, rows)}"


def described(found: Docstring) -> str:
    """The prose of a docstring and its sections as lists."""
    blocks = [prose(found.prose), _listed("Takes", found.items.get("Args", {}))]
    blocks.append(f"Returns: {prose(found.returns)}" if found.returns else "")
    blocks.append(_listed("Refuses with", found.items.get("Raises", {})))
    return "\n\n".join(block for block in blocks if block)


def _listed(title: str, items: Mapping[str, str]) -> str:
    if not items:
        return ""
    return "\n".join([f"{title}:", "", *(f"- {code(name)}: {prose(text)}" for name, text in items.items())])


def _signature(name: str, made: Callable[..., Any]) -> str:
    written = str(inspect.signature(made)).replace("self, ", "").replace("(self)", "()")
    plain = re.sub(r"<function _?(\w+)[^>]*>", "…", written).replace("'", "")
    return f"{name}{plain}" if len(name + plain) <= 100 else _broken(name, plain)


def _broken(name: str, plain: str) -> str:
    """One argument a line, split at commas that are in no bracket."""
    inside, _, result = plain[1:].rpartition(")")
    depth, parts = 0, [""]
    for character in inside:
        depth += (character in "([{") - (character in ")]}")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    lines = ",\n".join(f"    {part.strip()}" for part in parts)
    return f"{name}(\n{lines},\n){result}"


def _type(hint: Any) -> str:  # noqa: ANN401 - any annotation
    return hint if isinstance(hint, str) else getattr(hint, "__name__", str(hint))
