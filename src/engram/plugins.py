"""The Shelf: a folder is a register, and a module in it is a plug-in.

There is no table to edit: writing ``formats/onnx.py`` is what makes ``--to onnx`` work. Names are listed without
importing anything, so a shelf costs nothing until something is taken from it. A leading underscore marks machinery.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import json
import pkgutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from importlib.metadata import entry_points
from types import ModuleType
from typing import Any

from engram.errors import MissingLibrary, UnknownName, UsageError

__all__ = ["Shelf", "nearest", "options"]


@dataclass(frozen=True, slots=True)
class Shelf:
    """The plug-ins of one kind.

    Attributes:
        package: the folder, as a package (``engram.formats``); also the group of entry points for plug-ins that other
            distributions bring.
        noun: what one of them is called in a sentence (``format``).
        contract: names every plug-in must define.
    """

    package: str
    noun: str
    contract: tuple[str, ...] = ()

    def names(self) -> list[str]:
        """Every plug-in on the shelf, sorted, without importing any."""
        return sorted({*_modules(self.package), *_entries(self.package)})

    def take(self, name: str) -> ModuleType:
        """The plug-in of this name, imported on first use.

        Raises:
            UnknownName: there is none; the message gives the nearest.
            MissingLibrary: a library it needs is not installed; the message gives the command.
            UsageError: the module does not keep the contract of its shelf.
        """
        names = self.names()
        if name not in names:
            raise UnknownName(f"{self.noun} {name!r} does not exist; {nearest(name, names)}")
        path = f"{self.package}.{name}" if name in _modules(self.package) else _entries(self.package)[name]
        try:
            module = importlib.import_module(path)
        except ModuleNotFoundError as missing:
            if (missing.name or "").startswith("engram"):
                raise
            raise MissingLibrary(
                f"{self.noun} {name!r} needs {missing.name}, which is not installed; pip install 'engram[{name}]'"
            ) from missing
        absent = [wanted for wanted in self.contract if not hasattr(module, wanted)]
        if absent:
            raise UsageError(f"{self.noun} {name!r} ({path}) does not define {', '.join(absent)}")
        return module


@cache
def _modules(package: str) -> tuple[str, ...]:
    spec = importlib.util.find_spec(package)
    places = spec.submodule_search_locations if spec else None
    return tuple(m.name for m in pkgutil.iter_modules(places or []) if not m.name.startswith("_") and not m.ispkg)


@cache
def _entries(package: str) -> Mapping[str, str]:
    return {entry.name: entry.value for entry in entry_points(group=package)}


def nearest(name: str, names: Iterable[str]) -> str:
    """The end of a sentence that helps with a wrong name: the nearest right one, or all of them."""
    known = sorted(names)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"there are {', '.join(known)}" if known else "there are none"


def options(record: type[Any], given: Mapping[str, Any], where: str) -> Any:  # noqa: ANN401 - an instance of `record`
    """The options of a plug-in, checked: its ``Options`` record made from what the user wrote.

    Types are checked as JSON's are: a list is welcome where a tuple is meant and a whole number where any number is,
    but the text ``"30"`` is no number.

    Args:
        record: a frozen dataclass; its annotations are the types that are accepted.
        given: key → value as written.
        where: the section, to be named in an error (``model``).

    Raises:
        UnknownName: a key that the record does not have, with the nearest one it has.
        UsageError: a value of the wrong type, with the value given.
    """
    from pydantic import TypeAdapter, ValidationError  # 0.15 s that only a pipeline needs

    assert is_dataclass(record)
    known = [f.name for f in fields(record)]
    for key in given:
        if key not in known:
            raise UnknownName(f"[{where}] has no key {key!r}; {nearest(key, known)}", place=f"{where}.{key}")
    adapter: TypeAdapter[Any] = TypeAdapter(record)
    try:
        return adapter.validate_json(json.dumps(dict(given), default=str), strict=True)
    except ValidationError as refused:
        first = refused.errors()[0]
        key = str(first["loc"][0]) if first["loc"] else ""
        wrong = f"[{where}] {key} = {given.get(key)!r} is refused: {_sentence(first['msg'])}"
        raise UsageError(wrong, place=f"{where}.{key}") from None


def _sentence(message: str) -> str:
    return message[0].lower() + message[1:]
