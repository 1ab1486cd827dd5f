"""A symbol: the graph of an MXNet network, as its JSON tells of it.

Old releases call the settings of a node ``param`` and ``attr``, and have inputs of two numbers; both are read alike.
Nodes stand in an order in which each is behind its inputs, and a file that breaks it is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engram.errors import FormatError
from engram.formats import _document, _files
from engram.records import Limits

__all__ = ["VARIABLE", "Edge", "Node", "Symbol", "read"]

VARIABLE = "null"
"""The operator of a node that is an input or a parameter."""

Edge = tuple[int, int]
"""Number of a node, and which of its outputs."""


@dataclass(frozen=True, slots=True)
class Node:
    """One node.

    Attributes:
        operator: as MXNet calls it.
        name: its own.
        settings: texts, as they were given to the operator.
        inputs: where they come from.
    """

    operator: str
    name: str
    settings: Mapping[str, str]
    inputs: tuple[Edge, ...]


@dataclass(frozen=True, slots=True)
class Symbol:
    """A whole graph.

    Attributes:
        nodes: each behind its inputs.
        heads: what comes out.
        version: of MXNet, as a number (10901); 0 where it is not said.
    """

    nodes: Sequence[Node]
    heads: Sequence[Edge]
    version: int = 0


def read(path: Path, limits: Limits) -> Symbol:
    """The symbol in a file.

    Raises:
        FormatError: it is not strict JSON, is over a limit, or is not whole.
    """
    found = _document.parse(_files.read(path, limits.config_bytes), path.name, depth=limits.config_depth)
    nodes = found.get("nodes") if isinstance(found, dict) else None
    heads = found.get("heads") if isinstance(found, dict) else None
    if not isinstance(nodes, list) or not isinstance(heads, list) or not nodes or not heads:
        raise FormatError(f"{path.name} is no symbol of MXNet: it needs lists of nodes and heads")
    if len(nodes) > limits.nodes or len(heads) > limits.nodes:
        raise FormatError(f"{path.name} has {len(nodes):,} nodes, over the limit of {limits.nodes:,}")
    read_nodes = [_node(node, place, path.name) for place, node in enumerate(nodes)]
    return Symbol(read_nodes, [_edge(head, len(nodes), f"{path.name}: a head") for head in heads], _version(found))


def _node(found: Any, place: int, file: str) -> Node:  # noqa: ANN401 - of a stranger's file
    where = f"{file}: node {place}"
    if not isinstance(found, dict):
        raise FormatError(f"{where} must be an object")
    operator, name, inputs = found.get("op"), found.get("name"), found.get("inputs")
    if not isinstance(operator, str) or not isinstance(name, str) or not name or not isinstance(inputs, list):
        raise FormatError(f"{where} must have op, name and inputs")
    if found.get("subgraphs"):
        raise FormatError(f"{where}: {operator} {name!r} holds graphs of its own, which are not read")
    return Node(operator, name, _settings(found, where), tuple(_edge(one, place, where) for one in inputs))


def _settings(found: Mapping[str, Any], where: str) -> dict[str, str]:
    made: dict[str, str] = {}
    for key in ("attr", "param", "attrs"):
        settings = found.get(key, {})
        if not isinstance(settings, dict) or not all(isinstance(value, str) for value in settings.values()):
            raise FormatError(f"{where}: {key} must be an object of texts")
        made |= settings
    return made


def _edge(found: Any, before: int, where: str) -> Edge:  # noqa: ANN401 - of a stranger's file
    numbers = isinstance(found, list) and len(found) in {2, 3} and all(type(one) is int for one in found)
    if not numbers or not 0 <= found[0] < before or found[1] < 0:
        raise FormatError(f"{where} names {str(found)[:40]}, which is no output of a node before it")
    return found[0], found[1]


def _version(found: Mapping[str, Any]) -> int:
    attributes = found.get("attrs")
    said = attributes.get("mxnet_version") if isinstance(attributes, dict) else None
    return said[1] if isinstance(said, list) and len(said) == 2 and type(said[1]) is int else 0
