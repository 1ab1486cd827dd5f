"""Nodes of older operator sets that onnx's converter brings to today's wrongly, and how they are brought instead.

Found by asking onnxruntime both: a ``Resize`` from before operator set 11, and every ``Upsample``, took its grid from
the corner of a pixel and rounded outward, and a ``Hardmax`` from before 13 looked over all axes from its own on. The
converter changes the number of these nodes and not what they say; so what they meant is written into them.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
from numpy import ndarray
from onnx import helper, numpy_helper

from engram.errors import ConversionError
from engram.graphs.naming import subgraphs, unique, values

__all__ = ["flatten_hardmax", "resizes", "settle_resizes"]

_HARDMAX = 13
_RESIZE = 11


def flatten_hardmax(graph: onnx.GraphProto, version: int, taken: set[str] | None = None) -> None:
    """Let each old Hardmax look over the last axis of a matrix, where old and new mean the same; in place."""
    taken = values(graph) if taken is None else taken
    made: list[onnx.NodeProto] = []
    for node in graph.node:
        for inner in subgraphs(node):
            flatten_hardmax(inner, version, taken)
        if node.op_type != "Hardmax" or node.domain or version >= _HARDMAX:
            made.append(node)
            continue
        axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 1)
        shape, flat, one = (unique(f"{node.output[0]}_{part}", taken) for part in ("shape", "flat", "hardmax"))
        made += [
            helper.make_node("Shape", [node.input[0]], [shape]),
            helper.make_node("Flatten", [node.input[0]], [flat], axis=axis),
            helper.make_node("Hardmax", [flat], [one], name=node.name, axis=1),
            helper.make_node("Reshape", [one, shape], [node.output[0]]),
        ]
    _replace(graph, made)


def resizes(graph: onnx.GraphProto, version: int) -> set[str]:
    """The outputs of nodes that resize by the old rule, at any depth."""
    found = set()
    for node in graph.node:
        if node.op_type in {"Upsample", "Resize"} and not node.domain and version < _RESIZE:
            found.add(node.output[0])
        for inner in subgraphs(node):
            found |= resizes(inner, version)
    return found


def settle_resizes(graph: onnx.GraphProto, old: set[str]) -> None:
    """Write the old rule into the nodes that the converter made of old ones, in place.

    Raises:
        ConversionError: one of them is not there any more.
    """
    left = old - _settled(graph, old, _constants(graph), values(graph))
    if left:
        raise ConversionError(f"the node that makes {min(left)!r} resizes by an old rule and was lost; export it again")


def _settled(graph: onnx.GraphProto, old: set[str], known: dict[str, ndarray], taken: set[str]) -> set[str]:
    found: set[str] = set()
    made: list[onnx.NodeProto] = []
    for node in graph.node:
        for inner in subgraphs(node):
            found |= _settled(inner, old, {**known, **_constants(inner)}, taken)
        if node.op_type != "Resize" or node.output[0] not in old:
            made.append(node)
            continue
        found.add(node.output[0])
        mode = next((attribute.s for attribute in node.attribute if attribute.name == "mode"), b"nearest").decode()
        scales = known.get(node.input[2])
        if mode == "nearest" and (scales is None or scales.min() < 1 < scales.max()):
            made += _both_ways(node, taken)
        else:
            rounded = "ceil" if scales is not None and scales.min() < 1 else "floor"
            made.append(_resize(node, list(node.input), node.output[0], mode, rounded))
    _replace(graph, made)
    return found


def _both_ways(node: onnx.NodeProto, taken: set[str]) -> Iterator[onnx.NodeProto]:
    """The nearest pixel, which is rounded down where an axis grows and up where it shrinks: one after the other."""
    one, up, down, grown = (unique(f"{node.output[0]}_{part}", taken) for part in ("one", "up", "down", "grown"))
    image, region, scales = node.input[0], *list(node.input)[1:3]
    yield helper.make_node("Constant", [], [one], value=numpy_helper.from_array(np.ones(1, np.float32)))
    yield helper.make_node("Max", [scales, one], [up])
    yield helper.make_node("Min", [scales, one], [down])
    yield _resize(node, [image, region, up], grown, "nearest", "floor")
    yield _resize(node, [grown, region, down], node.output[0], "nearest", "ceil")


def _resize(node: onnx.NodeProto, inputs: list[str], output: str, mode: str, rounded: str) -> onnx.NodeProto:
    name = node.name if output == node.output[0] else ""
    rule = {"coordinate_transformation_mode": "asymmetric"}
    if mode == "nearest":
        rule["nearest_mode"] = rounded
    return helper.make_node("Resize", inputs, [output], name=name, mode=mode, **rule)


def _constants(graph: onnx.GraphProto) -> dict[str, ndarray]:
    found = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer if len(tensor.dims) == 1}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            found[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
        if node.op_type == "Constant" and node.attribute[0].name == "value_floats":
            found[node.output[0]] = np.array(node.attribute[0].floats, np.float32)
    return found


def _replace(graph: onnx.GraphProto, nodes: list[onnx.NodeProto]) -> None:
    copied = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(copied)
