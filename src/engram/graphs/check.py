"""Refusing a stranger's graph before any native code sees it.

Everything is counted, then parsed, then compared with what it declares; onnx's own checker and shape inference come
last, because they trust sizes. What passes here may still be slow to run: that is what the worker with limits is for.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

import onnx
from google.protobuf.message import DecodeError
from onnx import AttributeProto, defs

from engram.errors import FormatError
from engram.graphs.build import DOMAIN_ML
from engram.graphs.extent import check_sparse, check_tensor
from engram.graphs.naming import named, subgraphs
from engram.graphs.outline import outline
from engram.graphs.weights import LOCATION
from engram.graphs.wire import count
from engram.records import Limits

__all__ = ["check", "check_functions", "check_parsed"]

_DOMAINS = frozenset({"", "ai.onnx", DOMAIN_ML, "com.microsoft"})
_DEFAULT = Limits()
_REFUSED = (
    onnx.checker.ValidationError,
    onnx.shape_inference.InferenceError,
    RuntimeError,
    ValueError,
)


def check(graph: bytes, limits: Limits = _DEFAULT, *, outside: Collection[str] = (LOCATION,)) -> onnx.ModelProto:
    """The graph, parsed, if it is sound.

    Args:
        graph: a serialized ModelProto, from anywhere.
        limits: how much of everything is accepted.
        outside: places (``location``) where data of initializers may be; the weights beside a canonical graph by
            default. Data of any other tensor must be inside.

    Raises:
        FormatError: it is damaged, too large, not ONNX, of an operator set or with an operator that is not known, or
            tensors hold other than they declare.
    """
    if len(graph) > limits.protobuf_bytes:
        raise FormatError(f"the graph has {len(graph):,} bytes, but at most {limits.protobuf_bytes:,} are accepted")
    count(graph, limits)
    try:
        model: onnx.ModelProto = onnx.ModelProto.FromString(graph)
    except DecodeError as refused:
        raise FormatError(f"the graph is no ONNX file, or a damaged one ({refused})") from None
    check_parsed(model, limits, outside=outside)
    return model


def check_parsed(model: onnx.ModelProto, limits: Limits = _DEFAULT, *, outside: Collection[str] = (LOCATION,)) -> None:
    """The same of a graph whose bytes were counted before they were parsed.

    Raises:
        FormatError: as ``check``.
    """
    _check_text(model)
    _check_versions(model)
    check_functions(model, limits)
    own = {(function.domain, function.name) for function in model.functions}
    for node in _all_nodes(model):
        if (node.domain, node.op_type) not in own:
            _check_operator(node)
        _check_attributes(node, limits)
    _check_initializers(model, limits, outside)
    _check_meaning(model)


def _check_text(model: onnx.ModelProto) -> None:
    """Refuse names that are not UTF-8; protobuf hands them out as bytes, and every comparison goes wrong."""
    names = [model.graph.name]
    names += [value.name for value in [*model.graph.input, *model.graph.output, *model.graph.initializer]]
    names += [text for function in model.functions for text in (function.name, function.domain)]
    names += [entry.domain for entry in model.opset_import]
    for node in _all_nodes(model):
        names += [node.op_type, node.domain, node.name, *node.input, *node.output]
        names += [attribute.name for attribute in node.attribute]
    for name in names:
        if not isinstance(name, str):
            raise FormatError(f"the name {name!r} is not UTF-8 text; the file is damaged")


def _check_versions(model: onnx.ModelProto) -> None:
    if not model.graph.output:
        raise FormatError("the file holds no graph with an output; it is no ONNX model or an empty one")
    newest = defs.onnx_opset_version()
    for entry in model.opset_import:
        if entry.domain in {"", "ai.onnx"} and not 1 <= entry.version <= newest:
            raise FormatError(f"operator set {entry.version} is not known (1 to {newest}); export the model to 21")
    if not model.opset_import:
        raise FormatError("the graph does not say which operator set it is written in; export it again")


def check_functions(model: onnx.ModelProto, limits: Limits = _DEFAULT) -> None:
    """Nodes with all functions inlined, counted without inlining; functions that call each other in a ring refused.

    Raises:
        FormatError: inlining would not end, or would end with too many nodes.
    """
    functions = {(f.domain, f.name): f for f in model.functions}
    if len(functions) != len(model.functions):
        raise FormatError("two functions have the same name; export the model again")
    totals: dict[tuple[str, str], int] = {}
    depths: dict[tuple[str, str], int] = {}
    for key in _callees_first(functions):
        calls = [(n.domain, n.op_type) for n in _nodes(functions[key].node)]
        totals[key] = sum(totals.get(call, 1) for call in calls)
        depths[key] = 1 + max((depths.get(call, 0) for call in calls), default=0)
    total = sum(totals.get((n.domain, n.op_type), 1) for n in _nodes(model.graph.node))
    if total > limits.nodes:
        raise FormatError(f"the graph has {total:,} nodes once inlined, but at most {limits.nodes:,} are accepted")
    if max(depths.values(), default=0) > limits.nesting:
        raise FormatError(f"functions call each other more than {limits.nesting} deep; flatten the model")


def _callees_first(functions: Mapping[tuple[str, str], onnx.FunctionProto]) -> list[tuple[str, str]]:
    waiting = {
        key: {(n.domain, n.op_type) for n in _nodes(function.node)} & functions.keys()
        for key, function in functions.items()
    }
    callers: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for key, callees in waiting.items():
        for callee in callees:
            callers.setdefault(callee, []).append(key)
    ready = [key for key, callees in waiting.items() if not callees]
    order = []
    while ready:
        key = ready.pop()
        order.append(key)
        for caller in callers.get(key, []):
            waiting[caller].discard(key)
            if not waiting[caller]:
                ready.append(caller)
    if len(order) < len(functions):
        ring = min(name for domain, name in functions.keys() - set(order))
        raise FormatError(f"function {ring!r} calls itself by way of others; no honest exporter writes this")
    return order


def _check_operator(node: onnx.NodeProto) -> None:
    if node.domain == "com.microsoft":
        return  # onnx has no schemas for these; onnxruntime refuses what it does not have
    if node.domain not in _DOMAINS:
        raise FormatError(f"node {named(node)!r} is {node.domain}.{node.op_type}, an operator that is not known")
    domain = "" if node.domain == "ai.onnx" else node.domain
    if not defs.has(node.op_type, domain):
        raise FormatError(
            f"node {named(node)!r} is a {node.op_type!r}, which ONNX does not have; export the model again"
        )


def _check_attributes(node: onnx.NodeProto, limits: Limits) -> None:
    for attribute in node.attribute:
        tensors = [attribute.t] if attribute.type == AttributeProto.TENSOR else []
        for tensor in [*tensors, *attribute.tensors]:
            check_tensor(tensor, limits)
        sparse = [attribute.sparse_tensor] if attribute.type == AttributeProto.SPARSE_TENSOR else []
        for each in [*sparse, *attribute.sparse_tensors]:
            check_sparse(each, limits)
    for inner in subgraphs(node):
        for tensor in inner.initializer:
            check_tensor(tensor, limits)
        for each in inner.sparse_initializer:
            check_sparse(each, limits)


def _check_initializers(model: onnx.ModelProto, limits: Limits, outside: Collection[str]) -> None:
    for tensor in model.graph.initializer:
        check_tensor(tensor, limits, outside)
    for sparse in model.graph.sparse_initializer:
        check_sparse(sparse, limits)


def _check_meaning(model: onnx.ModelProto) -> None:
    """Ask onnx's own checker and shape inference; large tensors were compared with what they declare before."""
    bare = outline(model)
    try:
        onnx.checker.check_model(bare)
        onnx.shape_inference.infer_shapes(bare, check_type=True, strict_mode=True)
    except _REFUSED as refused:
        reason = (str(refused).strip().splitlines() or [""])[0]
        raise FormatError(f"the graph is not valid ONNX: {reason}") from None


def _all_nodes(model: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    yield from _nodes(model.graph.node)
    for function in model.functions:
        yield from _nodes(function.node)


def _nodes(nodes: Collection[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    for node in nodes:
        yield node
        for inner in subgraphs(node):
            yield from _nodes(inner.node)
