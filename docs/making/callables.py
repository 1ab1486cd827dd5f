"""Functions, methods and records of Python as Markdown, from their signatures and docstrings."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from making.docstrings import Docstring, parse
from making.markdown import code, prose, table

__all__ = ["described", "function", "record"]

_LONGEST = 100


def function(name: str, made: Callable[..., Any], *, level: int = 3) -> str:
    """A function under its own heading: signature, prose, arguments, result and errors."""
    heading, said = f"{'#' * level} {code(f'{name}()')}", described(parse(made.__doc__))
    return f"{heading}\n\n```python\n{_signature(name, made)}\n```\n\n{said}"


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
    """As it stands in the source, without ``self``; one argument a line where one line is too long."""
    written = ast.parse(textwrap.dedent(inspect.getsource(made))).body[0]
    assert isinstance(written, ast.FunctionDef)
    written.args.args = [each for each in written.args.args if each.arg != "self"]
    parts = _arguments(written.args)
    result = f" -> {ast.unparse(written.returns)}" if written.returns else ""
    line = f"{name}({', '.join(parts)}){result}"
    broken = "".join(f"    {part},\n" for part in parts)
    return (line if len(line) <= _LONGEST else f"{name}(\n{broken}){result}").replace("'", '"')


def _arguments(found: ast.arguments) -> list[str]:
    """Each argument as it is written; private defaults are nobody's business."""
    both: list[tuple[ast.arg, ast.expr | None]] = []
    both += zip(found.args, [None] * (len(found.args) - len(found.defaults)) + list(found.defaults), strict=True)
    star = [f"*{ast.unparse(found.vararg)}"] if found.vararg else ["*"] if found.kwonlyargs else []
    named = zip(found.kwonlyargs, found.kw_defaults, strict=True)
    return [*(_argument(*one) for one in both), *star, *(_argument(*one) for one in named)]


def _argument(argument: ast.arg, default: ast.expr | None) -> str:
    if default is None:
        return ast.unparse(argument)
    said = ast.unparse(default)
    return f"{ast.unparse(argument)} = {'…' if said.startswith('_') else said}"


def _type(hint: Any) -> str:  # noqa: ANN401 - any annotation
    return hint if isinstance(hint, str) else getattr(hint, "__name__", str(hint))
