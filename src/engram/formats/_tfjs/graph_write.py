"""A network as a graph model of TensorFlow.js.

The nodes are those of a SavedModel, but what would be variables are constants, and all constants lie beside the graph.
TensorFlow.js has neither float64 nor int64: numbers of the latter lie there as int32, as its own converter has it, and
only the graph says what they were. Lengths and places are nearly all that ONNX wants int64 for, and where a place says
"to the end" the largest int32 says so, too.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from google.protobuf import json_format
from numpy import ndarray

from engram.errors import ConversionError
from engram.formats._tensorflow.functions import node
from engram.formats._tensorflow.lowering import Lowering
from engram.formats._tensorflow.messages import message
from engram.formats._tensorflow.sheet import Kind, Made, Operand, Ref, Sheet, type_number
from engram.formats._tensorflow.tensors import array, shape_message
from engram.formats._tfjs.operations import OPERATIONS
from engram.graphs.signature import signature as declared
from engram.records import Limits, Model, TensorSpec

__all__ = ["Drawn", "drawn", "labels"]

_PRODUCER = 1087
_TYPES = frozenset({"float32", "int32", "int64", "bool"})


@dataclass(frozen=True, slots=True)
class Drawn:
    """A graph model.

    Attributes:
        topology, signature: as ``model.json`` has them.
        constants: what lies beside the graph, by the names of nodes.
    """

    topology: Mapping[str, Any]
    signature: Mapping[str, Any]
    constants: Mapping[str, ndarray]


def drawn(model: Model) -> Drawn:
    """The network of a model as TensorFlow.js has it.

    Raises:
        ConversionError: it holds a node, a weight or an input that TensorFlow.js cannot hold.
    """
    names = labels(list(model.weights))
    known, sheet = declared(model.graph), Sheet(taken=set(names))
    given = {spec.name: _input(spec, sheet) for spec in known.inputs}
    places = {name: label for label, name in names.items()}
    used: dict[str, ndarray] = {}

    def weight(name: str) -> Operand:
        numbers = model.weights[name]
        _fitting(numbers, f"the weight {name!r}")
        used[places[name]] = numbers
        return Operand(Ref(places[name]), numbers.dtype.name, numbers.shape)

    made = Lowering(sheet, weight).graph(model.graph, given)
    outputs = [sheet.emit("Identity", value, dtype=value.dtype, shape=value.shape, T=Kind(value.dtype))
               for value in (sheet.plain(one) for one in made.values())]  # fmt: skip
    graph = message("Graph", versions=message("Versions", producer=_PRODUCER))
    graph.node.extend(_weight(name, numbers) for name, numbers in used.items())
    graph.node.extend(node(one) for one in sheet.nodes)
    graph.library.function.extend(sheet.functions[name] for name in sorted(sheet.functions))
    constants = _beside(graph, used)
    more = {label: _fitting(model.weights[name], f"the weight {name!r}") for label, name in names.items()}
    ends = {
        "inputs": {spec.name: _end(given[spec.name], spec.dtype, spec.shape) for spec in known.inputs},
        "outputs": {name: _end(one, one.dtype, one.shape or ()) for name, one in zip(made, outputs, strict=True)},
    }
    return Drawn(_in_order(json_format.MessageToDict(graph)), ends, {**more, **constants})


def _weight(name: str, numbers: ndarray) -> Any:  # noqa: ANN401 - a generated class
    """The node of a weight, whose numbers lie beside the graph from the beginning."""
    made = node(Made(name, "Const", (), {"dtype": Kind(numbers.dtype.name)}))
    value = made.attr["value"].tensor
    value.dtype = made.attr["dtype"].type
    value.tensor_shape.CopyFrom(shape_message(numbers.shape))
    return made


def _in_order(found: Any) -> Any:  # noqa: ANN401 - nested values of JSON
    """The same with the keys of objects in order: maps of protobuf have none."""
    if isinstance(found, Mapping):
        return {key: _in_order(found[key]) for key in sorted(found)}
    return [_in_order(one) for one in found] if isinstance(found, list) else found


def labels(names: Sequence[str]) -> dict[str, str]:
    """Name of a node → the weight that it holds, for weights in their order."""
    sheet = Sheet()
    return {_called(name, sheet): name for name in names}


def _input(spec: TensorSpec, sheet: Sheet) -> Operand:
    if spec.dtype not in _TYPES:
        raise ConversionError(f"the input {spec.name!r} is {spec.dtype}, which TensorFlow.js does not have; write onnx")
    label = _called(spec.name, sheet)
    sheet.nodes.append(Made(label, "Placeholder", (), {"dtype": Kind(spec.dtype), "shape": tuple(spec.shape)}))
    return Operand(Ref(label), spec.dtype, spec.shape)


def _called(name: str, sheet: Sheet) -> str:
    """A name for a node, of characters that TensorFlow allows."""
    label = re.sub(r"[^A-Za-z0-9_./-]", "_", name)
    return sheet.unique(label if re.match(r"[A-Za-z0-9.]", label) else f"node{label}")


def _end(value: Operand, dtype: str, shape: tuple[int | str, ...]) -> dict[str, Any]:
    """An input or output, as the signature has it."""
    assert value.ref is not None
    info = message(
        "TensorInfo", name=f"{value.ref.node}:0", dtype=type_number(dtype), tensor_shape=shape_message(shape)
    )
    made: dict[str, Any] = json_format.MessageToDict(info)
    return made


def _fitting(given: ndarray, what: str) -> ndarray:
    """Numbers in a type that TensorFlow.js has.

    Raises:
        ConversionError: they do not fit into any.
    """
    if given.dtype.name == "int64":
        least, most = np.iinfo(np.int32).min, np.iinfo(np.int32).max
        return given.clip(least, most).astype(np.int32)
    if given.dtype.name in {"float32", "int32", "bool"}:
        return given
    kind = "text" if given.dtype.kind in "OUS" else given.dtype.name
    raise ConversionError(f"{what} is {kind}, which TensorFlow.js does not have; write onnx")


def _beside(graph: Any, weights: Collection[str]) -> dict[str, ndarray]:  # noqa: ANN401 - a generated class
    """Take the numbers of constants out of a graph, and see that TensorFlow.js has every operation.

    Args:
        graph: changed in place.
        weights: nodes whose numbers lie beside it already.

    Raises:
        ConversionError: it does not have one.
    """
    made: dict[str, ndarray] = {}
    limits = Limits()
    for function in (None, *graph.library.function):
        renamed: dict[str, str] = {}
        nodes = graph.node if function is None else function.node_def
        for one in nodes:
            if one.op not in OPERATIONS:
                raise ConversionError(
                    f"the network needs the operation {one.op}, which TensorFlow.js lacks; write onnx"
                )
            if one.op == "Const" and (function is not None or one.name not in weights):
                numbers = _fitting(array(one.attr["value"].tensor, one.name, limits), f"a constant ({one.name})")
                if function is not None:
                    renamed[one.name] = f"{function.signature.name}/{one.name}"
                    one.name = renamed[one.name]
                made[one.name] = numbers
                value = one.attr["value"].tensor
                value.Clear()
                value.dtype = one.attr["dtype"].type
                value.tensor_shape.CopyFrom(shape_message(numbers.shape))
        if function is not None:
            _follow(function, renamed)
    return made


def _follow(function: Any, renamed: Mapping[str, str]) -> None:  # noqa: ANN401 - a generated class
    """Edges of a function once nodes of it have other names: the numbers beside the graph are found by name alone."""
    for one in function.node_def:
        for place, text in enumerate(one.input):
            head, colon, rest = text.partition(":")
            one.input[place] = f"{renamed.get(head, head)}{colon}{rest}"
    for key in function.ret:
        head, colon, rest = function.ret[key].partition(":")
        function.ret[key] = f"{renamed.get(head, head)}{colon}{rest}"
