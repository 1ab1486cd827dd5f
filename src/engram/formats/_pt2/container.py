"""The two layouts of a ``.pt2`` file: of torch 2.8 and later, where numbers lie as they are or in one file of
``torch.save`` each, and that before it, with the JSON and two such files at the top.

``torch.export.load`` unpickles the example inputs without any guard when the guarded way fails. Here they are never
looked at.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy import ndarray

from engram.errors import FormatError
from engram.formats import _archive, _carried, _document
from engram.formats._archive import Archive
from engram.formats._pickle import SpecialDict
from engram.formats._pt2.kinds import kind_of
from engram.formats._pytorch import container, recognition
from engram.formats._pytorch.tensors import Memory, Storage, Tensor, window
from engram.records import Limits

__all__ = ["Contents", "opened", "recognizes"]

PROGRAM: Final = "serialized_exported_program.json"
_MODEL: Final = re.compile(r"models/([^/]+)\.json")
_ENDLESS: Final = re.compile(rb'"(?:[^"\\]|\\.)*+"|-?\bInfinity\b', re.DOTALL)
_BYTES = np.dtype("u1")


@dataclass(frozen=True, slots=True)
class Contents:
    """What is in a file.

    Attributes:
        program: the JSON document of the graph.
        weights: what was learned, by name, in the order of the file.
        constants: other tensors, by name.
        notes: what Engram wrote of the model beside it; empty if nothing.
    """

    program: Mapping[str, Any]
    weights: Mapping[str, ndarray]
    constants: Mapping[str, ndarray]
    notes: bytes


def recognizes(head: bytes, path: Path) -> bool:
    """Whether a file is a zip with a program of ``torch.export`` in it."""
    names = recognition.members(head, path)
    return PROGRAM in names or any(_MODEL.fullmatch(name.partition("/")[2]) for name in names)


def opened(path: Path, limits: Limits, *, learned: bool = True) -> Contents:
    """The parts of a file.

    Args:
        path: of it.
        limits: the largest of everything.
        learned: whether the numbers of the weights are wanted; a file that was made without any has none.

    Raises:
        FormatError: it is damaged, hostile, over a limit, or holds several programs.
    """
    with _archive.opened(path, limits) as archive:
        if PROGRAM in archive:
            return _old(archive, limits)
        return _new(archive, limits, learned=learned)


def _new(archive: Archive, limits: Limits, *, learned: bool) -> Contents:
    where = archive.path.name
    found = [(name, match[1]) for name in archive.names if (match := _MODEL.fullmatch(name.partition("/")[2]))]
    roots = {name.partition("/")[0] for name in archive.names}
    if len(found) != 1 or len(roots) != 1:
        raise FormatError(f"{where} holds {len(found)} programs in {len(roots)} folders; one is read")
    (member, model), root = found[0], roots.pop()
    if f"{root}/byteorder" in archive and archive.read(f"{root}/byteorder", 16) != b"little":
        raise FormatError(f"{where} has its numbers with their highest byte first, which is not read")
    notes = f"{root}/extra/{_carried.MEMBER}"
    return Contents(
        _program(archive, member, limits),
        _payload(archive, f"{root}/data/weights", f"{model}_weights_config.json", limits) if learned else {},
        _payload(archive, f"{root}/data/constants", f"{model}_constants_config.json", limits),
        archive.read(notes) if notes in archive else b"",
    )


def _old(archive: Archive, limits: Limits) -> Contents:
    notes = f"extra_files/{_carried.MEMBER}"
    return Contents(
        _program(archive, PROGRAM, limits),
        _serialized(archive, "state_dict", limits),
        _serialized(archive, "constants", limits),
        archive.read(notes) if notes in archive else b"",
    )


def _serialized(archive: Archive, what: str, limits: Limits) -> dict[str, ndarray]:
    """Tensors by name from the top of the zip; before 2.4 their files ended in ``.json`` and were none."""
    names = [f"serialized_{what}.{ending}" for ending in ("pt", "json")]
    name = next((name for name in names if name in archive), None)
    return _saved(archive, name, limits) if name else {}


def _program(archive: Archive, member: str, limits: Limits) -> Mapping[str, Any]:
    """The graph; releases before 2.6 wrote ``Infinity`` for a length without an end, which is not JSON."""
    written = archive.read(member, limits.config_bytes)
    written = _ENDLESS.sub(lambda match: match[0] if match[0][:1] == b'"' else b"null", written)
    found = _document.parse(written, f"{archive.path.name}/{member}", depth=limits.config_depth)
    if not isinstance(found, dict):
        raise FormatError(f"{archive.path.name}/{member} is no program")
    return found


def _payload(archive: Archive, folder: str, config: str, limits: Limits) -> dict[str, ndarray]:
    """Tensors by name, as a document beside them says where their numbers are."""
    whole = f"{folder}/{config.rpartition('_')[0].rpartition('_')[0]}.pt"
    if whole in archive:
        return _saved(archive, whole, limits)
    said = _document.parse(archive.read(f"{folder}/{config}"), config, depth=limits.config_depth)
    entries = said.get("config") if isinstance(said, dict) else None
    if not isinstance(entries, dict) or len(entries) > limits.tensors:
        raise FormatError(f"{archive.path.name}/{config} lists no tensors, or more than {limits.tensors:,}")
    memory = Memory(archive.path.name, lambda storage: archive.copy(storage.key))
    found = {}
    for name, entry in entries.items():
        member = f"{folder}/{entry['path_name']}"
        if not str(entry["path_name"]).startswith(("weight_", "tensor_")):
            continue  # an object of a class of somebody's own; whoever reads it is refused
        if entry.get("use_pickle"):
            found[name] = _alone(archive, member, limits)
        else:
            found[name] = memory.array(_window(archive, member, entry["tensor_meta"]), name)
    return found


def _window(archive: Archive, member: str, said: Mapping[str, Any]) -> Tensor:
    storage = Storage(member, _BYTES, archive.size(member))
    shape, strides = (tuple(one["as_int"] for one in said[key]) for key in ("sizes", "strides"))
    return window(storage, kind_of(said["dtype"]), (said["storage_offset"]["as_int"], shape, strides))


@contextmanager
def _inner(archive: Archive, member: str, limits: Limits) -> Iterator[container.Container]:
    """A file of ``torch.save`` that lies inside; as a file of its own, because that is what is read."""
    with tempfile.TemporaryDirectory(prefix="engram-") as place:
        path = Path(place, member.rpartition("/")[2])
        path.write_bytes(archive.plain(member).data)
        with container.opened(path, limits) as found:
            yield found


def _saved(archive: Archive, member: str, limits: Limits) -> dict[str, ndarray]:
    with _inner(archive, member, limits) as found:
        if not isinstance(found.tree, (dict, SpecialDict)) or len(found.tree) > limits.tensors:
            raise FormatError(f"{archive.path.name}/{member} holds no tensors by name")
        tensors = {str(key): value for key, value in found.tree.items() if isinstance(value, Tensor)}
        return {name: found.memory.array(value, name) for name, value in tensors.items()}


def _alone(archive: Archive, member: str, limits: Limits) -> ndarray:
    with _inner(archive, member, limits) as found:
        if not isinstance(found.tree, Tensor):
            raise FormatError(f"{archive.path.name}/{member} is a tensor of a class of its own, which is not read")
        return found.memory.array(found.tree, member)
