"""Sheets as functions and graphs: where plain records become TensorFlow's messages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from engram.formats._tensorflow.messages import message
from engram.formats._tensorflow.sheet import Made, Operand, Ref, Sheet, attribute, type_number

__all__ = ["function", "node", "opened"]

_OUTPUTS = {
    "Abs": "y", "Acos": "y", "Acosh": "y", "AddV2": "z", "ArgMax": "output", "Asin": "y", "Asinh": "y", "Atan": "y",
    "Atanh": "y", "BroadcastArgs": "r0", "Cast": "y", "Ceil": "y", "Cos": "y", "Cosh": "y", "Cumsum": "out",
    "Elu": "activations", "Equal": "z", "Erf": "y", "Exp": "y", "Floor": "y", "FloorMod": "z", "FusedBatchNormV3": "y",
    "Greater": "z", "GreaterEqual": "z", "IsNan": "y", "LeakyRelu": "activations", "Less": "z", "LessEqual": "z",
    "Log": "y", "LogSoftmax": "logsoftmax", "LogicalAnd": "z", "LogicalNot": "y", "LogicalOr": "z", "MatMul": "product",
    "MatrixBandPart": "band", "Maximum": "z", "Minimum": "z", "Mul": "z", "Neg": "y", "NotEqual": "z", "Pow": "z",
    "ReadVariableOp": "value", "RealDiv": "z", "Reciprocal": "y", "Relu": "activations",
    "ResizeBicubic": "resized_images", "ResizeBilinear": "resized_images", "ResizeNearestNeighbor": "resized_images",
    "Round": "y", "Rsqrt": "y", "Selu": "activations", "Sigmoid": "y", "Sign": "y", "Sin": "y", "Sinh": "y",
    "Softmax": "softmax", "Softplus": "activations", "Softsign": "activations", "Sqrt": "y", "Sub": "z", "Tan": "y",
    "Tanh": "y", "TensorListFromTensor": "output_handle", "TensorListGetItem": "item", "TensorListReserve": "handle",
    "TensorListSetItem": "output_handle", "TensorListStack": "tensor", "Transpose": "y", "TruncateDiv": "z",
    "Where": "index",
}  # fmt: skip
"""What operations call their output; ``output`` where it is not here."""
_SEVERAL = {"TopKV2": ("values", "indices")}


def opened(sheet: Sheet, types: Sequence[str]) -> tuple[list[str], list[Operand]]:
    """Arguments for a function in the making: their names, and themselves."""
    names = [sheet.unique(f"arg_{place}") for place in range(len(types))]
    return names, [Operand(Ref(name), kind, None) for name, kind in zip(names, types, strict=True)]


def function(
    name: str, sheet: Sheet, arguments: tuple[Sequence[str], Sequence[str]], results: Sequence[Operand]
) -> Any:  # noqa: ANN401 - a generated class
    """A function of TensorFlow.

    Args:
        name: of the function.
        sheet: what it does.
        arguments: their names and their types.
        results: what it gives.
    """
    made = message("Function")
    made.signature.name = name
    refs = [sheet.ref(value) for value in results]
    operations = {one.name: one.operation for one in sheet.nodes}
    for argument, kind in zip(*arguments, strict=True):
        made.signature.input_arg.add(name=argument, type=type_number(kind))
        made.signature.is_stateful |= kind == "resource"
    for place, (ref, value) in enumerate(zip(refs, results, strict=True)):
        label = f"result_{place}"
        made.signature.output_arg.add(name=label, type=type_number(value.dtype))
        made.ret[label] = _edge(ref, operations)
    for one in sheet.nodes:
        made.node_def.append(node(one, operations))
    return made


def node(made: Made, operations: dict[str, str] | None = None) -> Any:  # noqa: ANN401 - a generated class
    """A node as a message: in a function if its neighbors are told, else in a graph."""
    found = message("Node", name=made.name, op=made.operation)
    for ref in made.inputs:
        if operations is not None:
            found.input.append(_edge(ref, operations))
        else:
            found.input.append(ref.node if ref.output == 0 else f"{ref.node}:{ref.output}")
    for key, value in made.attributes.items():
        found.attr[key].CopyFrom(attribute(value))
    return found


def _edge(ref: Ref, operations: dict[str, str]) -> str:
    if ref.node not in operations:
        return ref.node
    operation = operations[ref.node]
    if operation in _SEVERAL:
        return f"{ref.node}:{_SEVERAL[operation][ref.output]}:0"
    return f"{ref.node}:{_OUTPUTS.get(operation, 'output')}:{ref.output}"
