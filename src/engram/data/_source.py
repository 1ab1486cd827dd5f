"""Which plug-in reads a place, and the data as it gives them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from types import ModuleType
from typing import Any

from engram.data import SHELF, _places
from engram.errors import DataError, UnknownName
from engram.plugins import options
from engram.records import Dataset

__all__ = ["known", "plug_in", "read"]


def plug_in(places: Sequence[str], kind: str = "") -> ModuleType:
    """The plug-in of this name, or the first that recognizes the place.

    Raises:
        UnknownName: no plug-in has this name.
        DataError: none recognizes the place.
    """
    if kind:
        try:
            return SHELF.take(kind)
        except UnknownName as unknown:
            raise UnknownName(str(unknown), place="data.kind") from None
    for name in SHELF.names():
        module = SHELF.take(name)
        if module.recognizes(places[0]):
            return module
    raise DataError(
        f"{places[0]} is nothing that can be read; give a text table, a folder or zip of images, or sklearn:NAME"
        f" (kinds: {', '.join(SHELF.names())})"
    )


def known(places: Sequence[str], kind: str = "") -> frozenset[str]:
    """The options of the plug-in that reads these places."""
    return frozenset(field.name for field in fields(plug_in(places, kind).Options))


def read(
    source: Sequence[str],
    folders: Sequence[Path],
    *,
    kind: str = "",
    names: tuple[str, ...] = (),
    given: Mapping[str, Any] | None = None,
) -> Dataset:
    """The data of these places, looked for in these folders, as their plug-in gives them.

    Raises:
        DataError: nothing is there, or it cannot be used.
        UsageError: an option does not exist or has a wrong value.
    """
    places = _places.resolve(source, folders)
    module = plug_in(places, kind)
    dataset: Dataset = module.open(places, names, options(module.Options, given or {}, "data"))
    return dataset
