"""The format of skops: a zip with a tree of nodes as JSON, and arrays as files beside it.

It was made to be looked at before anything is built, and here nothing is built: a node of a class that the table knows
becomes a record, as in a pickle.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from engram.errors import FormatError
from engram.formats import _document
from engram.formats._archive import Archive, opened
from engram.formats._npy import parse
from engram.formats._pickle import Inert, Reference
from engram.formats._sklearn.unpickled import ALLOWED
from engram.records import Limits

__all__ = ["SCHEMA", "read"]

SCHEMA: Final = "schema.json"
_DEEPEST = 100
_IGNORED: Final = frozenset({"LossNode", "MaskedArrayNode", "MethodNode", "RandomGeneratorNode", "RandomStateNode"})
"""Nodes of what only training asks."""


def read(path: Path, limits: Limits) -> Any:  # noqa: ANN401 - any value
    """The value in a file, its objects as inert records.

    Raises:
        FormatError: it is damaged, or holds what is not allowed.
    """
    with opened(path, limits) as archive:
        tree = _document.parse(archive.read(SCHEMA), f"{SCHEMA} of {path.name}", depth=limits.config_depth)
        return _Reader(archive, limits).value(tree, 0)


class _Reader:
    """One file being read; a node that was met before stands for the same value."""

    def __init__(self, archive: Archive, limits: Limits) -> None:
        self._archive, self._limits = archive, limits
        self._where = archive.path.name
        self._known: dict[int, Any] = {}
        self._nodes = 0

    def value(self, node: Any, depth: int) -> Any:  # noqa: ANN401 - any JSON value
        """What a node stands for."""
        self._nodes += 1
        if not isinstance(node, dict) or depth > _DEEPEST or self._nodes > self._limits.pickle_opcodes:
            raise FormatError(f"{self._where}: {SCHEMA} is no tree of nodes, or over the limit of {_DEEPEST} levels")
        loader, number = node.get("__loader__"), node.get("__id__")
        if loader == "CachedNode" and number in self._known:
            return self._known[number]
        if loader in _IGNORED:
            return Inert(str(node.get("__module__")), str(loader))
        known = _LOADERS.get(str(loader))
        if known is None:
            raise FormatError(f"{self._where}: a node {str(loader)[:40]!r} is none that is read; nothing was built")
        made = known(self, node, depth + 1)
        if isinstance(number, int):
            self._known[number] = made
        return made

    def _json(self, node: Mapping[str, Any], depth: int) -> Any:  # noqa: ANN401, ARG002 - a plain value
        written = node.get("content")
        if not isinstance(written, str):
            raise FormatError(f"{self._where}: a JSON node without a text")
        found = json.loads(written) if written in {"NaN", "Infinity", "-Infinity"} else None
        return found if found is not None else _document.parse(written.encode(), self._where, depth=8)

    def _list(self, node: Mapping[str, Any], depth: int) -> list[Any]:
        found = node.get("content")
        if not isinstance(found, list):
            raise FormatError(f"{self._where}: a node of a list without one")
        return [self.value(one, depth) for one in found]

    def _tuple(self, node: Mapping[str, Any], depth: int) -> tuple[Any, ...]:
        return tuple(self._list(node, depth))

    def _dict(self, node: Mapping[str, Any], depth: int) -> dict[Any, Any]:
        found = node.get("content")
        if not isinstance(found, dict):
            raise FormatError(f"{self._where}: a node of a dictionary without one")
        return {name: self.value(one, depth) for name, one in found.items()}

    def _array(self, node: Mapping[str, Any], depth: int) -> Any:  # noqa: ANN401 - an array or one of numpy's numbers
        if node.get("type") == "json":
            values, shape = self._list(node, depth), self.value(node.get("shape"), depth)
            if not isinstance(shape, tuple) or not all(type(axis) is int and axis >= 0 for axis in shape):
                raise FormatError(f"{self._where}: an array without a shape")
            return self._of_objects(values, shape)
        name = str(node.get("file"))
        array = parse(self._archive.read(name, self._archive.size(name)), f"{name} of {self._where}")
        return array[()] if node.get("__class__") != "ndarray" and array.ndim == 0 else array

    def _of_objects(self, values: list[Any], shape: tuple[int, ...]) -> Any:  # noqa: ANN401 - an array
        flat: list[Any] = values
        for _ in shape[1:]:
            flat = [inner for one in flat for inner in (one if isinstance(one, list) else [one])]
        if len(flat) != np.prod(shape, dtype=object):
            raise FormatError(f"{self._where}: an array does not hold as many as its shape says")
        made = np.empty(len(flat), object)
        made[:] = flat
        return made.reshape(shape)

    def _object(self, node: Mapping[str, Any], depth: int) -> Inert:
        module, name = str(node.get("__module__")), str(node.get("__class__"))
        if ALLOWED.get((module, name)) is None:
            said = f"{module[:60]}.{name[:60]}"
            raise FormatError(f"{self._where}: a node of {said}, which is not read; nothing was built")
        content = node.get("content")
        return Inert(module, name, (), None if content is None else self.value(content, depth))

    def _type(self, node: Mapping[str, Any], depth: int) -> Reference:  # noqa: ARG002 - as the others
        return Reference(str(node.get("__module__")), str(node.get("__class__")))

    def _dtype(self, node: Mapping[str, Any], depth: int) -> np.dtype[Any]:
        """A type, which is kept as an empty array of it."""
        found = self.value(node.get("content"), depth)
        if not isinstance(found, np.ndarray):
            raise FormatError(f"{self._where}: a type without an array of it")
        kind: np.dtype[Any] = found.dtype
        return kind

    def _slice(self, node: Mapping[str, Any], depth: int) -> slice:
        found = node.get("content")
        parts = found if isinstance(found, dict) else {}
        edges = [parts.get(name) for name in ("start", "stop", "step")]
        plain = [self.value(one, depth) if isinstance(one, dict) else one for one in edges]
        if not all(one is None or type(one) in {int, str} for one in plain):
            raise FormatError(f"{self._where}: a range is made of numbers or names")
        return slice(*plain)


_LOADERS: Final[Mapping[str, Callable[[_Reader, Mapping[str, Any], int], Any]]] = {
    "DTypeNode": _Reader._dtype,  # noqa: SLF001
    "DictNode": _Reader._dict,  # noqa: SLF001 - its own methods, by the names of the file
    "FunctionNode": _Reader._type,  # noqa: SLF001 - a name, which is never called
    "JsonNode": _Reader._json,  # noqa: SLF001
    "ListNode": _Reader._list,  # noqa: SLF001
    "NdArrayNode": _Reader._array,  # noqa: SLF001
    "ObjectNode": _Reader._object,  # noqa: SLF001
    "SliceNode": _Reader._slice,  # noqa: SLF001
    "TreeNode": _Reader._object,  # noqa: SLF001
    "TupleNode": _Reader._tuple,  # noqa: SLF001
    "TypeNode": _Reader._type,  # noqa: SLF001
}
