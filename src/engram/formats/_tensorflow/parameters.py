"""What the variables of a SavedModel are called, and where the checkpoint keeps them.

A graph knows a variable by the name of a node, a checkpoint by a path through the objects that held it
(``layer_with_weights-0/kernel``), and its owner by a name of its own (``dense/kernel``). The graph's restoring half
joins the first two, the checkpoint's object graph the last two. The own name is what the parameter is called here,
unless the owner never gave one.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from engram.errors import FormatError
from engram.formats._tensorflow.bundle import Bundle
from engram.formats._tensorflow.graph import CALLS, Body, Edge, Node, Program
from engram.formats._tensorflow.invariants import plain
from engram.formats._tensorflow.tensors import array
from engram.formats._tensorflow.wire import parsed
from engram.records import Limits

__all__ = ["OBJECTS", "Objects", "keys", "objects", "path_key"]

OBJECTS = "_CHECKPOINTABLE_OBJECT_GRAPH"
_VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"
_UNNAMED = re.compile(r"Variable(_\d+)?|<.*>|")
_HANDLES = frozenset({"VarHandleOp", "VariableV2", "Variable"})


@dataclass(frozen=True, slots=True)
class Objects:
    """The objects of a checkpoint.

    Attributes:
        names: key of the checkpoint → what the parameter is called.
        graph: the message itself; None where the checkpoint has none.
    """

    names: Mapping[str, str]
    graph: Any = None

    def path(self, key: str) -> str:
        """The path through objects that a key stands for."""
        return _path(key)


def keys(program: Program, bundle: Bundle, limits: Limits) -> dict[str, str]:
    """The variable's node → the key under which the checkpoint holds its value."""
    found = dict(_restored(program, limits))
    for node in program.main.nodes.values():
        if node.operation in _HANDLES and found.get(node.name) not in bundle.entries:
            for name in (node.text("shared_name"), node.name):
                for key in (name, name + _VALUE):
                    if name and key in bundle:
                        found.setdefault(node.name, key)
    return {name: key for name, key in found.items() if key in bundle}


def objects(bundle: Bundle, limits: Limits) -> Objects:
    """What the checkpoint says of its own tensors.

    Raises:
        FormatError: its object graph is damaged.
    """
    if OBJECTS not in bundle:
        return Objects({key: key for key in bundle.entries})
    (text,) = bundle.texts(OBJECTS) or [b""]
    graph = parsed("Trackables", text, "the object graph of the checkpoint", limits)
    given = {
        attribute.checkpoint_key: attribute.full_name.removesuffix(":0")
        for node in graph.nodes
        for attribute in node.attributes
    }
    counts = Counter(name for key, name in given.items() if key in bundle)
    names = {}
    for key in bundle.entries:
        name = given.get(key, "")
        unnamed = _UNNAMED.fullmatch(name) is not None
        names[key] = _path(key) if unnamed or (counts[name] > 1 and not _alike(given, bundle, key)) else name
    return Objects(names, graph)


def _alike(given: Mapping[str, str], bundle: Bundle, key: str) -> bool:
    """Whether all tensors of one name are copies of one variable: exporters keep some variables twice."""
    entries = [bundle.entries[other] for other, name in given.items() if name == given[key] and other in bundle]
    return len({(entry.type, entry.shape, entry.checksum) for entry in entries}) == 1


def _path(key: str) -> str:
    """A path through objects, in the words of their owner."""
    path = key.removesuffix(_VALUE)
    return re.sub(r"\.([.S])", lambda found: "/" if found[1] == "S" else ".", path)


def path_key(*path: str) -> str:
    """The key under which a checkpoint holds the variable at the end of a path through objects."""
    return "/".join(part.replace(".", "..").replace("/", ".S") for part in path) + _VALUE


def _restored(program: Program, limits: Limits) -> Iterator[tuple[str, str]]:
    """Handle and key, from the half of the graph that restores."""
    for handle, key in _assigned(program.main, limits):
        yield handle.node, key
    for node in program.main.nodes.values():
        body = program.functions.get(node.function("f")) if node.operation in CALLS else None
        if body is None or not any(inner.operation == "RestoreV2" for inner in body.nodes.values()):
            continue
        places = {name: place for place, name in enumerate(body.arguments)}
        for handle, key in _assigned(body, limits):
            place = places.get(handle.node, len(node.inputs))
            if place < len(node.inputs):
                yield node.inputs[place].node, key


def _assigned(body: Body, limits: Limits) -> Iterator[tuple[Edge, str]]:
    restored: dict[str, list[str]] = {}
    for node in body.nodes.values():
        if node.operation in {"AssignVariableOp", "Assign"} and len(node.inputs) >= 2:
            source = plain(body, node.inputs[1])
            restore = body.nodes.get(source.node)
            if restore is not None and restore.operation == "RestoreV2":
                names = restored.setdefault(restore.name, _names(body, restore, limits))
                if source.output < len(names):
                    yield plain(body, node.inputs[0]), names[source.output]


def _names(body: Body, restore: Node, limits: Limits) -> list[str]:
    source = body.nodes.get(restore.inputs[1].node) if len(restore.inputs) > 1 else None
    if source is None or source.operation != "Const" or "value" not in source.attributes:
        return []
    found = array(source.attributes["value"].tensor, source.where, limits)
    try:
        return [text.decode() for text in found.reshape(-1).tolist() if isinstance(text, bytes)]
    except UnicodeDecodeError as wrong:
        raise FormatError(f"{source.where} names a tensor that is not UTF-8; the file is damaged") from wrong
