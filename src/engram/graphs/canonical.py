"""The one form in which Engram keeps a network, whatever exporter wrote it.

In a canonical graph an initializer is something learned and a Constant node is not; BatchNormalization and Dropout are
there in the form that serves, and become trainable again where the graph is trained. Nothing is optimized: what an
exporter folded stays folded, and what it did not is left alone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

import numpy as np
import onnx
from onnx import TensorProto, inliner, numpy_helper

from engram.errors import FormatError
from engram.graphs.folding import constant_of, fold
from engram.graphs.naming import distinguish, rename, subgraphs, unique, values
from engram.graphs.outline import outline
from engram.graphs.reshaping import settle
from engram.graphs.states import forget_zeros
from engram.graphs.versions import pin
from engram.graphs.weights import FIXED, is_bulky, learned, note, noted

__all__ = ["canonical"]

_SPARE_OUTPUTS = frozenset({"Dropout", "LayerNormalization", "MaxPool"})
"""Operators whose further outputs exporters name and nobody reads."""
_BIASED = {"Conv": 2, "ConvTranspose": 2, "Gemm": 2}


def canonical(model: onnx.ModelProto, names: Collection[str] | None = None) -> onnx.ModelProto:
    """The same network in canonical form: operator set 21, IR version 10, functions inlined, constants folded.

    Args:
        model: with its weights inside; it is not changed.
        names: exactly the floating initializers that are learned; None finds them by the rule of ``weights``.

    Raises:
        ConversionError: the graph cannot be brought to the pinned operator set.
        FormatError: it is not a valid graph.
    """
    whole = onnx.ModelProto()
    whole.CopyFrom(inliner.inline_local_functions(model) if model.functions else model)
    _lift_initializers(whole.graph)
    _forget_defaults(whole.graph)
    if names is None:
        _promote(whole.graph)
    whole = pin(whole)
    kept = learned(whole, noted(model)) if names is None else {*names, *_bulky(whole)}
    _to_inference(whole.graph.node)
    fold(whole, kept)
    _drop_zero_biases(whole.graph)
    forget_zeros(whole.graph)
    settle(whole.graph)
    _drop_unused(whole.graph)
    distinguish(whole.graph)
    _strip(whole)
    note(whole, kept - learned(whole))
    note(whole, noted(model, FIXED), FIXED)
    try:
        onnx.checker.check_model(outline(whole))
    except onnx.checker.ValidationError as refused:
        reason = (str(refused).strip().splitlines() or [""])[0]
        raise FormatError(f"the graph is not valid ONNX: {reason}") from refused
    return whole


def _lift_initializers(graph: onnx.GraphProto) -> None:
    """Initializers of inner graphs and sparse ones become ordinary initializers of the outermost graph."""
    taken = values(graph)
    for node in graph.node:
        for inner in subgraphs(node):
            _lift_from(inner, graph, taken)
    for sparse in graph.sparse_initializer:
        graph.initializer.append(_dense(sparse))
    del graph.sparse_initializer[:]


def _lift_from(inner: onnx.GraphProto, outermost: onnx.GraphProto, taken: set[str]) -> None:
    inner.initializer.extend(_dense(sparse) for sparse in inner.sparse_initializer)
    del inner.sparse_initializer[:]
    outer = {tensor.name for tensor in outermost.initializer}
    mapping = {t.name: unique(t.name, taken) for t in inner.initializer if t.name in outer}
    rename(inner, mapping)
    outermost.initializer.extend(inner.initializer)
    taken.update(tensor.name for tensor in inner.initializer)
    del inner.initializer[:]
    for node in inner.node:
        for below in subgraphs(node):
            _lift_from(below, outermost, taken)


def _dense(sparse: onnx.SparseTensorProto) -> TensorProto:
    numbers = numpy_helper.to_array(sparse.values)
    places = numpy_helper.to_array(sparse.indices)
    array = np.zeros(tuple(sparse.dims), dtype=numbers.dtype)
    flat = places if places.ndim == 1 else np.ravel_multi_index(tuple(places.T), array.shape)
    array.reshape(-1)[flat] = numbers
    return numpy_helper.from_array(array, sparse.values.name)


def _forget_defaults(graph: onnx.GraphProto) -> None:
    """Before IR version 4 every initializer was listed as an input, too."""
    stored = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in stored]
    copied = [onnx.ValueInfoProto.FromString(value.SerializeToString()) for value in inputs]
    del graph.input[:]
    graph.input.extend(copied)


def _promote(graph: onnx.GraphProto) -> None:
    """Some exporters write weights as Constant nodes; a large one is a weight."""
    kept = []
    for node in graph.node:
        found = constant_of(node) or {}
        if any(is_bulky(tensor) for tensor in found.values()):
            graph.initializer.extend(found.values())
        else:
            kept.append(onnx.NodeProto.FromString(node.SerializeToString()))
    del graph.node[:]
    graph.node.extend(kept)


def _bulky(model: onnx.ModelProto) -> set[str]:
    """Large tables that are not of floating type; whether a floating one is learned, the caller has said."""
    floating = {TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.FLOAT, TensorProto.DOUBLE}
    return {t.name for t in model.graph.initializer if t.data_type not in floating and is_bulky(t)}


def _to_inference(nodes: Iterable[onnx.NodeProto]) -> None:
    """Dropout and BatchNormalization as they act when serving; whoever trains the graph switches them over."""
    for node in nodes:
        if node.op_type == "Dropout" and len(node.input) > 2:
            del node.input[2:]
        if node.op_type == "BatchNormalization" and not any(node.output[1:]):
            del node.output[1:]
            kept = [attribute for attribute in node.attribute if attribute.name != "training_mode"]
            copied = [onnx.AttributeProto.FromString(attribute.SerializeToString()) for attribute in kept]
            del node.attribute[:]
            node.attribute.extend(copied)
        for inner in subgraphs(node):
            _to_inference(inner.node)


def _drop_zero_biases(graph: onnx.GraphProto) -> None:
    """A layer without a bias is exported with one of zeros that nobody learned."""
    known: dict[str, TensorProto] = {}
    for node in graph.node:
        known.update(constant_of(node) or {})
        place = _BIASED.get(node.op_type, 0)
        if place and len(node.input) == place + 1 and node.input[place] in known:
            bias = numpy_helper.to_array(known[node.input[place]])
            if not bias.any():
                del node.input[place:]


def _drop_unused(graph: onnx.GraphProto) -> None:
    """Nodes that no output hangs on, from the last to the first; weights are kept, used or not."""
    needed = {value.name for value in graph.output}
    kept: list[onnx.NodeProto] = []
    for node in reversed(graph.node):
        if any(name in needed for name in node.output):
            while node.op_type in _SPARE_OUTPUTS and len(node.output) > 1 and node.output[-1] not in needed:
                del node.output[-1]
            _need(node, needed)
            kept.append(node)
    copied = [onnx.NodeProto.FromString(node.SerializeToString()) for node in reversed(kept)]
    del graph.node[:]
    graph.node.extend(copied)


def _need(node: onnx.NodeProto, needed: set[str]) -> None:
    needed.update(node.input)
    for inner in subgraphs(node):
        needed.update(value.name for value in inner.output)
        for below in inner.node:
            _need(below, needed)


def _strip(model: onnx.ModelProto) -> None:
    """Forget what exporters say about themselves: it is long, it differs by machine, and its shapes are often wrong."""
    del model.metadata_props[:]
    del model.training_info[:]
    for field in ("doc_string", "producer_version", "domain", "model_version"):
        model.ClearField(field)
    model.producer_name = "engram"
    model.graph.name = "network"
    _strip_graph(model.graph)


def _strip_graph(graph: onnx.GraphProto) -> None:
    for field in ("value_info", "metadata_props", "doc_string", "quantization_annotation"):
        graph.ClearField(field)
    for value in [*graph.input, *graph.output]:
        value.ClearField("doc_string")
        value.ClearField("metadata_props")
    for node in graph.node:
        node.ClearField("doc_string")
        node.ClearField("metadata_props")
        node.attribute.sort(key=lambda attribute: attribute.name)
        for inner in subgraphs(node):
            _strip_graph(inner)
    for tensor in graph.initializer:
        tensor.ClearField("doc_string")
        tensor.ClearField("metadata_props")
