"""Where in a TOML text a key stands; the standard library's parser does not say."""

from __future__ import annotations

import re

__all__ = ["line_of"]

_HEADER = re.compile(r"^\s*\[\[?\s*([^\]]+?)\s*\]\]?")
_KEY = re.compile(r"""^\s*("[^"]*"|'[^']*'|[A-Za-z0-9_.\-]+)\s*=""")


def line_of(text: str, place: str) -> int:
    """The line, counted from 1, of a key or section such as ``train.epochs``; 0 if it is not written there.

    What stands inside an inline table (``train.optimizer.lr``) is on the line of that table.
    """
    exact, header = _found(text, place)
    outer = place.rpartition(".")[0]
    return exact or (line_of(text, outer) if "." in outer else header)


def _found(text: str, place: str) -> tuple[int, int]:
    """The line of the key itself, and that of its section; 0 for what is not written."""
    section, _, key = place.partition(".")
    current, header = "", 0
    for number, line in enumerate(text.splitlines(), start=1):
        if found := _HEADER.match(line):
            current = found[1].strip("\"'")
            header = number if current == section else header
            if current == place:
                return number, header
        elif (found := _KEY.match(line)) and _same(current, found[1], section, key):
            return number, header
    return 0, header


def _same(current: str, written: str, section: str, key: str) -> bool:
    name = written.strip("\"'")
    return (current == section and name == key) or (not current and name in {section, f"{section}.{key}"})
