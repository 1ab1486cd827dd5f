"""Bringing a graph to the operator set that Engram writes.

Most nodes mean the same in both versions, and then the number alone is changed: onnx's converter rebuilds the graph and
loses names on the way, so it is the second choice and what it did is checked.
"""

from __future__ import annotations

from collections.abc import Iterator

import onnx
from onnx import defs, helper, inliner, version_converter

from engram.errors import ConversionError
from engram.graphs import older
from engram.graphs.build import DOMAIN_ML, IR_VERSION, OPSET, OPSET_ML
from engram.graphs.naming import subgraphs

__all__ = ["pin"]

_WRONG_BEFORE = {"Scan": 9, "GroupNormalization": 21}
_PINNED = {"": OPSET, DOMAIN_ML: OPSET_ML}


def pin(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same network in operator set 21 (``ai.onnx.ml`` 5) and IR version 10.

    Raises:
        ConversionError: it uses an operator that these versions do not have, or that onnx cannot convert.
    """
    versions = {"" if entry.domain == "ai.onnx" else entry.domain: entry.version for entry in model.opset_import}
    versions.setdefault("", OPSET)
    if all(_means_the_same(node, versions) for node in _nodes(model.graph)):
        pinned = onnx.ModelProto()
        pinned.CopyFrom(model)
    else:
        pinned = _converted(model, versions[""])
    del pinned.opset_import[:]
    used = {"", *(_domain(node) for node in _nodes(pinned.graph))}
    numbers = {**versions, **_PINNED}
    pinned.opset_import.extend(helper.make_opsetid(domain, numbers.get(domain, 1)) for domain in sorted(used))
    pinned.ir_version = IR_VERSION
    return pinned


def _means_the_same(node: onnx.NodeProto, versions: dict[str, int]) -> bool:
    domain = _domain(node)
    if domain not in _PINNED or versions.get(domain, 0) == _PINNED[domain]:
        return True
    try:
        now = defs.get_schema(node.op_type, versions.get(domain, 1), domain)
        then = defs.get_schema(node.op_type, _PINNED[domain], domain)
    except defs.SchemaError:
        return False
    return bool(now.since_version == then.since_version)


def _converted(model: onnx.ModelProto, version: int) -> onnx.ModelProto:
    before = {tensor.name for tensor in model.graph.initializer}
    modern = _without_newer(model, version)
    modern.ir_version = IR_VERSION  # below 4 the converter looks for every initializer among the inputs
    _refuse_old_broadcasting(modern, version)
    _refuse_wrongly_converted(modern, version)
    older.flatten_hardmax(modern.graph, version)
    resized = older.resizes(modern.graph, version)
    try:
        converted = version_converter.convert_version(modern, OPSET)
    except (RuntimeError, version_converter.ConvertError, onnx.checker.ValidationError) as refused:
        if version > OPSET and _is_also_older(modern):
            return modern
        raise ConversionError(
            f"the graph is in operator set {version} and onnx cannot bring it to {OPSET}; "
            f"export it again with opset {OPSET}"
        ) from refused
    older.settle_resizes(converted.graph, resized)
    lost = before - {tensor.name for tensor in converted.graph.initializer}
    if lost:
        raise ConversionError(
            f"bringing the graph from operator set {version} to {OPSET} lost {min(lost)!r}; "
            f"export it again with opset {OPSET}"
        )
    return converted


def _without_newer(model: onnx.ModelProto, version: int) -> onnx.ModelProto:
    """A copy in which operators that came later are written out in those there were, where onnx knows how."""
    newer = {node.op_type for node in _nodes(model.graph) if not _domain(node) and not _exists(node.op_type)}
    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    if not newer or version <= OPSET:
        return copied
    inputs = len(copied.graph.input)
    # the inliner wants the type of every value, and looks for it everywhere but among the initializers
    copied.graph.input.extend(
        helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims) for tensor in copied.graph.initializer
    )
    try:
        typed = onnx.shape_inference.infer_shapes(copied)
        written = inliner.inline_selected_functions(typed, [("", name) for name in newer], inline_schema_functions=True)
        del written.graph.input[inputs:]
        left = {node.op_type for node in _nodes(written.graph) if not _domain(node) and not _exists(node.op_type)}
    except (RuntimeError, onnx.shape_inference.InferenceError):
        left = newer
    if left:
        raise ConversionError(
            f"operator {min(left)!r} of operator set {version} is not in {OPSET}; export it again with opset {OPSET}"
        )
    return written


def _exists(name: str) -> bool:
    try:
        defs.get_schema(name, OPSET, "")
    except defs.SchemaError:
        return False
    return True


def _refuse_old_broadcasting(model: onnx.ModelProto, version: int) -> None:
    """Refuse a PRelu from before operator set 7: its slopes lay along the channels, and the converter forgets that."""
    slopes = {tensor.name: list(tensor.dims) for tensor in model.graph.initializer}
    for node in model.graph.node:
        if version < 7 and node.op_type == "PRelu" and slopes.get(node.input[1], [1]) != [1]:
            raise ConversionError(
                f"node {node.name or node.output[0]!r} is a PRelu of operator set {version}; "
                f"export it again with opset {OPSET}"
            )


def _refuse_wrongly_converted(model: onnx.ModelProto, version: int) -> None:
    """Refuse what the converter turns into something that answers differently, or does not convert."""
    for node in _nodes(model.graph):
        if not _domain(node) and version < _WRONG_BEFORE.get(node.op_type, 0):
            raise ConversionError(
                f"node {node.name or node.output[0]!r} is a {node.op_type} of operator set {version}, which means "
                f"something else in {OPSET}; export it again with opset {OPSET}"
            )
        if node.op_type == "BatchNormalization" and any(a.name == "spatial" and not a.i for a in node.attribute):
            raise ConversionError(
                f"node {node.name or node.output[0]!r} is a BatchNormalization with spatial = 0, which {OPSET} has "
                f"no more; export it again with opset {OPSET}"
            )


def _is_also_older(model: onnx.ModelProto) -> bool:
    """Whether every node would be valid in the pinned set: same attributes, and types that were already allowed."""
    for node in _nodes(model.graph):
        if not _domain(node):
            schema = defs.get_schema(node.op_type, OPSET, "")
            if any(attribute.name not in schema.attributes for attribute in node.attribute):
                return False
    older = onnx.ModelProto()
    older.CopyFrom(model)
    for entry in older.opset_import:
        if entry.domain in {"", "ai.onnx"}:
            entry.version = OPSET
    try:
        onnx.checker.check_model(older)
        onnx.shape_inference.infer_shapes(older, check_type=True, strict_mode=True)
    except (RuntimeError, onnx.checker.ValidationError, onnx.shape_inference.InferenceError):
        return False
    return True


def _domain(node: onnx.NodeProto) -> str:
    return "" if node.domain == "ai.onnx" else str(node.domain)


def _nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    for node in graph.node:
        yield node
        for inner in subgraphs(node):
            yield from _nodes(inner)
