"""Taking the learned numbers out of a graph, and putting them back.

Law: ``attach(*detach(model))`` computes what ``model`` computes, with the same names and the same bits.

What counts as learned is decided here and nowhere else: an initializer of floating type with at least one axis, and any
initializer that is named so on purpose (a buffer such as a scale of shape ()). ``canonical`` turns the floating
constants that no training moves (the scales of a Resize) into Constant nodes first, so that they stay with the graph.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping

import numpy as np
import onnx
from numpy import ndarray
from onnx import TensorProto, helper, numpy_helper

from engram.errors import FormatError

__all__ = [
    "FIXED",
    "LEARNED",
    "LOCATION",
    "attach",
    "check_fit",
    "detach",
    "is_bulky",
    "learned",
    "names",
    "note",
    "noted",
    "outside",
]

LOCATION = "weights"
LEARNED = "engram.learned"
FIXED = "engram.fixed"
_FLOATING = {TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.FLOAT, TensorProto.DOUBLE}
_BULK = 1024
"""Numbers of any other type beyond which they are kept beside the graph, too (quantized weights, tables)."""
_SETTINGS = {("Resize", 1), ("Resize", 2), ("Upsample", 1), ("OneHot", 2), ("Dropout", 1), ("Clip", 1), ("Clip", 2)}
"""Inputs of operators, by place, that no training moves."""


def learned(model: onnx.ModelProto, names: Collection[str] = ()) -> set[str]:
    """The initializers that hold what was learned.

    Args:
        model: any graph.
        names: further ones that are learned although they look like constants.
    """
    wanted = {*names, *noted(model)}
    settings = _settings(model.graph)
    return {
        tensor.name
        for tensor in model.graph.initializer
        if tensor.name in wanted or (_looks_learned(tensor) and tensor.name not in settings)
    }


def detach(model: onnx.ModelProto, names: Collection[str] = ()) -> tuple[bytes, dict[str, ndarray]]:
    """Graph and weights apart.

    Args:
        model: the network with its weights, or with some of them outside already; it is not changed.
        names: initializers that are learned although they look like constants.

    Returns:
        The graph as serialized ModelProto whose learned initializers say ``location: weights`` and hold no data, and
        the weights that were inside, by name, in their own type and layout.
    """
    taken = learned(model, names)
    bare = onnx.ModelProto()
    bare.CopyFrom(model)
    weights = {}
    for tensor in bare.graph.initializer:
        if tensor.name in taken and not _is_outside(tensor):
            weights[tensor.name] = np.array(numpy_helper.to_array(tensor))
            tensor.CopyFrom(outside(tensor.name, tensor.data_type, tensor.dims))
    _drop_note(bare)
    return bytes(bare.SerializeToString(deterministic=True)), weights


def attach(graph: bytes, weights: Mapping[str, ndarray]) -> onnx.ModelProto:
    """Graph and weights together again, as one ModelProto that any runtime of ONNX opens.

    Raises:
        FormatError: a weight is missing, or its type or shape is not the graph's.
    """
    model = onnx.ModelProto()
    model.ParseFromString(graph)
    outside = [tensor for tensor in model.graph.initializer if _is_outside(tensor)]
    for tensor in outside:
        _fill(tensor, weights)
    note(model, {tensor.name for tensor in outside} - learned(model))
    return model


def check_fit(graph: bytes, weights: Mapping[str, ndarray]) -> None:
    """Whether ``attach`` would put graph and weights together, without moving a number.

    Raises:
        FormatError: a weight is missing, or its type or shape is not the graph's.
    """
    model = onnx.ModelProto()
    model.ParseFromString(graph)
    for tensor in model.graph.initializer:
        if _is_outside(tensor):
            _fitting(tensor, weights)


def note(model: onnx.ModelProto, names: Collection[str], about: str = LEARNED) -> None:
    """Write names into the model, in place.

    Args:
        model: anything.
        names: of initializers; none leaves the model as it is.
        about: ``LEARNED`` for those that look like constants and are learned, ``FIXED`` for those that look learned and
            that no training moves (torch's buffers).
    """
    if names:
        helper.set_model_props(model, {**_properties(model), about: json.dumps(sorted(names))})


def noted(model: onnx.ModelProto, about: str = LEARNED) -> set[str]:
    """What ``note`` wrote down; a stranger's file may say anything there, so only names of initializers are taken."""
    try:
        found = json.loads(_properties(model).get(about, "[]"))
    except json.JSONDecodeError:
        return set()
    given = {name for name in found if isinstance(name, str)} if isinstance(found, list) else set()
    return given & {tensor.name for tensor in model.graph.initializer}


def outside(name: str, data_type: int, shape: Iterable[int]) -> TensorProto:
    """A weight as a graph has it whose numbers are beside it: its name, type and shape."""
    bare = TensorProto(name=name, data_type=data_type, dims=shape, data_location=TensorProto.EXTERNAL)
    bare.external_data.add(key="location", value=LOCATION)
    return bare


def is_bulky(tensor: TensorProto) -> bool:
    """Whether a tensor of numbers is too large to be kept inside a graph."""
    numbers = tensor.data_type not in {TensorProto.STRING, TensorProto.BOOL}
    return numbers and int(np.prod(tensor.dims, dtype=np.int64)) > _BULK


def names(graph: bytes) -> set[str]:
    """The weights that a detached graph asks for."""
    model = onnx.ModelProto()
    model.ParseFromString(graph)
    return {tensor.name for tensor in model.graph.initializer if _is_outside(tensor)}


def _looks_learned(tensor: TensorProto) -> bool:
    if tensor.data_type in _FLOATING:
        return len(tensor.dims) > 0
    return is_bulky(tensor)


def _settings(graph: onnx.GraphProto) -> set[str]:
    """Values that are read at places where nothing learned stands, and nowhere else."""
    readings = [(node.op_type, place, name) for node in graph.node for place, name in enumerate(node.input)]
    elsewhere = {name for kind, place, name in readings if (kind, place) not in _SETTINGS}
    return {name for kind, place, name in readings if (kind, place) in _SETTINGS} - elsewhere


def _is_outside(tensor: TensorProto) -> bool:
    return bool(tensor.data_location == TensorProto.EXTERNAL)


def _fill(tensor: TensorProto, weights: Mapping[str, ndarray]) -> None:
    array = _fitting(tensor, weights)
    tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(array).reshape(np.shape(array)), tensor.name))


def _fitting(tensor: TensorProto, weights: Mapping[str, ndarray]) -> ndarray:
    if tensor.name not in weights:
        raise FormatError(f"the weights have no {tensor.name!r}, which the graph needs; it is damaged or not its own")
    array = weights[tensor.name]
    kind = numpy_helper.from_array(np.ascontiguousarray(np.ravel(array)[:1])).data_type
    if kind != tensor.data_type or list(np.shape(array)) != list(tensor.dims):
        wanted = f"{TensorProto.DataType.Name(tensor.data_type).lower()} {list(tensor.dims)}"
        raise FormatError(f"weight {tensor.name!r} is {array.dtype} {list(array.shape)}, but the graph needs {wanted}")
    return array


def _properties(model: onnx.ModelProto) -> dict[str, str]:
    return {entry.key: entry.value for entry in model.metadata_props}


def _drop_note(model: onnx.ModelProto) -> None:
    kept = {key: value for key, value in _properties(model).items() if key != LEARNED}
    del model.metadata_props[:]
    helper.set_model_props(model, kept)
