"""The pages about everything at once: errors, settings, the Python facade, and the list of all pages."""

from __future__ import annotations

import inspect
import textwrap
from typing import Any

import engram
from engram import errors, settings
from engram.store.store import Store
from making.callables import function, record
from making.docstrings import first_sentence, parse
from making.markdown import code, fragment, page, prose, table
from making.shelves import SHELVES

__all__ = ["write"]


def write() -> dict[str, str]:
    """``errors.md``, ``settings.md``, ``python.md`` and ``index.md``."""
    return {"errors.md": _errors(), "settings.md": _settings(), "python.md": _python(), "index.md": _index()}


def _errors() -> str:
    said = inspect.cleandoc(errors.__doc__ or "")
    first, drawn, last = said.split("\n\n")
    tree = f"```text\n{textwrap.dedent(drawn)}\n```"
    sections = []
    for name in errors.__all__:
        made = getattr(errors, name)
        parents = " and ".join(code(parent.__name__) for parent in made.__bases__)
        found = parse(made.__doc__)
        fields = [[code(field), meaning] for field, meaning in found.items.get("Attributes", {}).items()]
        blocks = [f"## {name}", prose(found.prose), f"Also: {parents}.", table(["attribute", "meaning"], fields)]
        blocks.append(fragment("errors", f"{name}.md").strip("\n"))
        sections.append("\n\n".join(block for block in blocks if block))
    return page("Errors", prose(first), tree, prose(last), fragment("errors", "_before.md"), *sections)


def _settings() -> str:
    rows = [[code(name), meaning] for name, meaning in settings.VARIABLES.items()]
    said = prose(inspect.cleandoc(settings.__doc__ or "").partition("\n\n")[2])
    return page("Settings", said, table(["variable", "meaning"], rows), fragment("settings.md"))


def _python() -> str:
    shown = [(name, getattr(engram, name)) for name in engram.__all__]
    functions = [function(f"engram.{name}", made) for name, made in shown if inspect.isfunction(made)]
    records = [record(made) for _, made in shown if inspect.isclass(made)]
    methods = [
        function(f"store.{name}", made)
        for part in Store.__mro__
        for name, made in vars(part).items()
        if inspect.isfunction(made) and not name.startswith("_")
    ]
    said = [prose(inspect.cleandoc(engram.__doc__ or "")), fragment("python.md")]
    store = ["## The store", prose(inspect.cleandoc(Store.__doc__ or "").split("\n\n")[0]), *methods]
    return page("Python", *said, "## Functions", *functions, *store, "## Records", *records, _errors_line())


def _errors_line() -> str:
    return "## Errors\n\n`engram.errors` has every error that is raised on purpose; see [Errors](errors.md)."


def _index() -> str:
    blocks = [fragment("index.md")]
    for kind in SHELVES:
        rows = [_entry(kind.folder, name, kind.shelf.take(name)) for name in kind.shelf.names()]
        where = f"{kind.where[0].upper()}{kind.where[1:]}."
        blocks.append(f"## {kind.heading}\n\n{where}\n\n{table([kind.shelf.noun, 'what it is'], rows)}")
    return page("Documentation", *blocks)


def _entry(folder: str, name: str, module: Any) -> list[str]:  # noqa: ANN401 - a module
    return [f"[`{name}`]({folder}/{name}.md)", first_sentence(module.__doc__)]
