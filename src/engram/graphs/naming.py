"""The names of the values in a graph, and changing them without changing what is computed.

A graph within a node (the branch of an If) sees the names around it, so names are gathered and changed at every depth
alike: one name means one value in the whole model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import onnx
from onnx import AttributeProto

__all__ = ["distinguish", "named", "rename", "subgraphs", "unique", "values"]


def subgraphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """The graphs that are attributes of a node, in order."""
    for attribute in node.attribute:
        if attribute.type == AttributeProto.GRAPH:
            yield attribute.g
        elif attribute.type == AttributeProto.GRAPHS:
            yield from attribute.graphs


def named(node: onnx.NodeProto) -> str:
    """What to call a node in an error: its name, or the first thing that it makes where an exporter gave none."""
    return str(node.name) or next((str(name) for name in node.output if name), "")


def values(graph: onnx.GraphProto) -> set[str]:
    """Every value the graph defines, at any depth: inputs, initializers and what nodes make."""
    found = {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer}
    found |= {tensor.values.name for tensor in graph.sparse_initializer}
    for node in graph.node:
        found.update(node.output)
        for inner in subgraphs(node):
            found |= values(inner)
    return found - {""}


def rename(graph: onnx.GraphProto, mapping: Mapping[str, str]) -> None:
    """Give values other names, in place and at every depth; names that are not in the mapping stay."""
    for declared in (graph.input, graph.output, graph.value_info):
        for value in declared:
            value.name = mapping.get(value.name, value.name)
    for tensor in graph.initializer:
        tensor.name = mapping.get(tensor.name, tensor.name)
    for sparse in graph.sparse_initializer:
        sparse.values.name = mapping.get(sparse.values.name, sparse.values.name)
    for node in graph.node:
        node.input[:] = [mapping.get(name, name) for name in node.input]
        node.output[:] = [mapping.get(name, name) for name in node.output]
        for inner in subgraphs(node):
            rename(inner, mapping)


def distinguish(graph: onnx.GraphProto) -> None:
    """Give nodes of the same name different ones, in place; onnxruntime refuses two that are called alike."""
    taken: set[str] = set()
    for node in graph.node:
        if node.name:
            node.name = unique(node.name, taken)
        for inner in subgraphs(node):
            distinguish(inner)


def unique(name: str, taken: set[str]) -> str:
    """The name itself, or the first of ``name_2``, ``name_3`` … that is free; it is then taken."""
    made, count = name, 1
    while made in taken:
        count += 1
        made = f"{name}_{count}"
    taken.add(made)
    return made
