"""The weights of a TorchScript file, and whether it is one.

``data.pkl`` is a pickle of the module's objects, each of a class that the code beside it tells of. The objects are kept
as records; a weight is called by the way to it, as in ``state_dict``. Of the code one thing is asked: that no class
says how it is given its state, because torch would run that as soon as the file is opened.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from numpy import ndarray

from engram.errors import FormatError
from engram.formats import _archive, _carried
from engram.formats._archive import Archive
from engram.formats._pickle import KEPT, Allowed, Inert, interpret
from engram.formats._pytorch import recognition
from engram.formats._pytorch.container import storage_of
from engram.formats._pytorch.names import ALLOWED
from engram.formats._pytorch.tensors import Memory, Tensor
from engram.records import Limits

__all__ = ["Contents", "opened", "recognizes"]

_OWN: Final = "__torch__"
_RUN_ON_OPENING: Final = b"__setstate__"
"""The method that torch calls while it opens a file; its compiler knows no other way to write the name."""
_JIT: Final = "torch.jit._pickle"
_LISTS: Final = frozenset(
    {"build_boollist", "build_doublelist", "build_intlist", "build_tensorlist", "restore_type_tag"}
)
"""Functions that say of what type the list or dictionary is that they are given."""


@dataclass(frozen=True, slots=True)
class Contents:
    """What is in a file.

    Attributes:
        weights: by name, in the order of the file.
        notes: what Engram wrote of the model beside it; empty if nothing.
        inputs: shape and type of those with which it was traced; empty where it was not, or by a torch before 2.5.
    """

    weights: Mapping[str, ndarray]
    notes: bytes
    inputs: tuple[tuple[tuple[int, ...], str], ...]


def recognizes(head: bytes, path: Path) -> bool:
    """Whether a file is a zip with code and a module in it."""
    below = {name.partition("/")[2] for name in recognition.members(head, path)}
    return {"data.pkl", "constants.pkl"} <= below and any(name.startswith("code/") for name in below)


def opened(path: Path, limits: Limits) -> Contents:
    """The weights and what Engram wrote beside them.

    Raises:
        FormatError: the file is damaged, hostile, over a limit, or its module is not one of torch's.
    """
    with _archive.opened(path, limits) as archive:
        root = _root(archive)
        if f"{root}/byteorder" in archive and archive.read(f"{root}/byteorder", 16) != b"little":
            raise FormatError(f"{path.name} has its numbers with their highest byte first, which is not read")
        _demand_no_code_on_opening(archive)
        memory = Memory(path.name, lambda storage: archive.copy(f"{root}/data/{storage.key}"))
        content = archive.read(f"{root}/data.pkl", limits.pickle_bytes)
        module = interpret(content, f"{path.name}/data.pkl", _Names(), limits, storage_of)
        tensors = dict(_tensors(module, ""))
        if not isinstance(module, Inert) or len(tensors) > limits.tensors:
            raise FormatError(f"{path.name} holds no module, or one of over {limits.tensors:,} tensors")
        weights = {name: memory.array(tensor, name) for name, tensor in tensors.items()}
        notes = f"{root}/extra/{_carried.MEMBER}"
        told = archive.read(notes) if notes in archive else b""
        return Contents(weights, told, () if told else _inputs(archive, root, limits))


def _demand_no_code_on_opening(archive: Archive) -> None:
    for name in archive.names:
        if name.partition("/")[2].startswith("code/") and _RUN_ON_OPENING in archive.read(name):
            where = f"{archive.path.name}: the class in {name!r}"
            raise FormatError(f"{where} has a __setstate__, which torch runs on opening; nothing was run")


def _inputs(archive: Archive, root: str, limits: Limits) -> tuple[tuple[tuple[int, ...], str], ...]:
    name = f"{root}/traced_inputs.pkl"
    if name not in archive:
        return ()
    content = archive.read(name, limits.pickle_bytes)
    found = interpret(content, f"{archive.path.name}/traced_inputs.pkl", _Names(), limits, storage_of)
    given = found.get("forward") if isinstance(found, dict) else None
    if not isinstance(given, list) or not all(isinstance(one, Tensor) for one in given):
        return ()
    return tuple((one.shape, one.kind.name) for one in given)


class _Names(Mapping[tuple[str, str], Allowed]):
    """What torch's files may name, and classes of the file's own, whose objects are kept as records."""

    def __getitem__(self, key: tuple[str, str]) -> Allowed:
        if key[0] == _JIT and key[1] in _LISTS:
            return _first
        return KEPT if key[0] == _OWN or key[0].startswith(f"{_OWN}.") else ALLOWED[key]

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(ALLOWED)

    def __len__(self) -> int:
        return len(ALLOWED)


def _first(value: object, *_kind: object) -> object:
    return value


def _root(archive: Archive) -> str:
    """The one folder that everything in the zip is in."""
    roots = {name.partition("/")[0] for name in archive.names}
    if len(roots) != 1:
        raise FormatError(f"{archive.path.name} should hold one folder with everything in it, but holds {len(roots)}")
    return roots.pop()


def _tensors(value: Any, way: str) -> Iterator[tuple[str, Tensor]]:  # noqa: ANN401 - of a stranger's file
    if isinstance(value, Tensor):
        yield way, value
    elif isinstance(value, Inert) and isinstance(value.state, dict):
        for key, part in value.state.items():
            yield from _tensors(part, f"{way}.{key}" if way else str(key))
