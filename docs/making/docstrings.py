"""A docstring taken apart: prose, and the sections of the Google style that the house uses."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["Docstring", "first_sentence", "parse"]

_HEADER = re.compile(r"(Args|Attributes|Returns|Raises|Yields):")
_ITEM = re.compile(r"    ([*\w][*\w., ]*): (.*)")


@dataclass(frozen=True, slots=True)
class Docstring:
    """What a docstring says.

    Attributes:
        prose: everything outside of the sections.
        items: section → name → meaning, for ``Args``, ``Attributes`` and ``Raises``.
        returns: the text of ``Returns``.
    """

    prose: str
    items: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    returns: str = ""


def parse(text: str | None) -> Docstring:
    """The docstring in its parts; names that share a line (``mean, std: …``) are told apart."""
    prose: list[str] = []
    sections: dict[str, list[str]] = {}
    into = prose
    for line in inspect.cleandoc(text or "").splitlines():
        if header := _HEADER.fullmatch(line):
            into = sections.setdefault(header[1], [])
        else:
            if line and not line.startswith(" "):
                into = prose
            into.append(line)
    items = {name: _items(lines) for name, lines in sections.items() if name not in {"Returns", "Yields"}}
    returned = " ".join(line.strip() for line in sections.get("Returns", [])).strip()
    return Docstring("\n".join(prose).strip(), items, returned)


def first_sentence(text: str | None) -> str:
    """The first paragraph up to its first full stop or semicolon-free end, on one line."""
    paragraph = " ".join(inspect.cleandoc(text or "").split("\n\n")[0].split())
    found = re.match(r"(.+?[.!?])(\s|$)", paragraph)
    return found[1] if found else paragraph


def _items(lines: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    current: list[str] = []
    for line in lines:
        if item := _ITEM.fullmatch(line):
            current = [name.strip().lstrip("*") for name in item[1].split(",")]
            found |= dict.fromkeys(current, item[2].strip())
        elif line.strip():
            for name in current:
                found[name] = f"{found[name]} {line.strip()}"
    return found
