"""Preprocessing as part of the network, where it is numbers from end to end.

A device that is handed raw numbers needs no code of ours beside the file. TFLite computes in 32 bits and preprocessing
in 64, so it is tried first: on the model's own probe rows, both must make the same of every column. Where they do not
(dates, large amounts), or where words or free picture sizes come in, the preprocessing stays outside.
"""

from __future__ import annotations

import numpy as np
import onnx
from numpy import ndarray
from onnx import TensorProto, helper, numpy_helper

from engram.errors import ConversionError, EngramError
from engram.formats import _onnxruntime
from engram.formats._probes import probes
from engram.formats._tflite.write import Written, write_network
from engram.graphs.compose import join
from engram.graphs.weights import attach, detach
from engram.records import Model, Signature

__all__ = ["written"]

_ROWS = 64
_SAME = 1e-6


def written(model: Model) -> tuple[Written, bool]:
    """The network of a model as TFLite, and whether its preprocessing is in it.

    Raises:
        ConversionError: the network itself cannot be written.
    """
    whole = _whole(model)
    if whole is not None:
        try:
            return write_network(whole), True
        except ConversionError:
            pass  # something in the preprocessing; the network alone says so if it is to blame
    return write_network(model), False


def _whole(model: Model) -> Model | None:
    """Preprocessing and network as one network; None where they cannot be."""
    raw = model.signature.inputs
    if not model.preprocessing or any(spec.dtype == "string" or spec.kind == "date" for spec in raw):
        return None
    before = _single(onnx.ModelProto.FromString(model.preprocessing))
    if any(entry.domain not in {"", "ai.onnx"} for entry in before.opset_import) or not _alike(model, before):
        return None
    network = attach(model.graph, model.weights)
    outputs = [onnx.ValueInfoProto.FromString(value.SerializeToString()) for value in network.graph.output]
    wanted = [value.name for value in network.graph.input]
    if not set(wanted) <= {value.name for value in before.graph.output}:
        return None
    whole, names = join(before, network, {name: name for name in wanted}, prefix="network")
    if names != [value.name for value in outputs]:
        return None
    del whole.graph.output[:]
    whole.graph.output.extend(outputs)
    del whole.graph.value_info[:]
    graph, weights = detach(whole)
    return Model(graph, weights, Signature(raw, model.signature.outputs))


def _single(model: onnx.ModelProto) -> onnx.ModelProto:
    """A graph that computes in 32 bits what it computed in 64; its inputs keep their type."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    casts = []
    for value in made.graph.input:
        if value.type.tensor_type.elem_type == TensorProto.DOUBLE:
            name = f"{value.name}/single"
            casts.append(helper.make_node("Cast", [value.name], [name], name=name, to=TensorProto.FLOAT))
            for node in made.graph.node:
                node.input[:] = [name if one == value.name else one for one in node.input]
    for tensor in made.graph.initializer:
        _shorten(tensor)
    for node in made.graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.TENSOR:
                _shorten(attribute.t)
            elif node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.DOUBLE:
                attribute.i = TensorProto.FLOAT
    nodes = [*casts, *(onnx.NodeProto.FromString(node.SerializeToString()) for node in made.graph.node)]
    del made.graph.node[:]
    del made.graph.value_info[:]
    made.graph.node.extend(nodes)
    return made


def _shorten(tensor: TensorProto) -> None:
    if tensor.data_type == TensorProto.DOUBLE:
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name))


def _alike(model: Model, single: onnx.ModelProto) -> bool:
    """Whether 32 bits are enough, on the rows with which the file will be proven and on others."""
    for seed in (0, 1):
        rows = probes(model, _ROWS, seed)
        try:
            wanted = _onnxruntime.prepare(model, [rows])[0]
            found = _onnxruntime.run(single.SerializeToString(), [rows])[0]
        except EngramError:
            return False
        if any(not _close(found.get(name), array) for name, array in wanted.items()):
            return False
    return True


def _close(found: ndarray | None, wanted: ndarray) -> bool:
    if found is None or found.shape != wanted.shape or found.dtype != wanted.dtype:
        return False
    return bool(np.allclose(found, wanted, rtol=_SAME, atol=_SAME, equal_nan=True))
