"""Operators between DEQUANTIZE and QUANTIZE as operators on integers.

Two passes over a draft. First a DEQUANTIZE moves behind whatever only moves numbers, so that it stands before what
computes. Then an operator whose inputs all come out of a DEQUANTIZE, and whose answer goes into a QUANTIZE alone, is
replaced by the one for integers; a bias becomes a 32-bit integer in steps of input times weight. Where one of TFLite's
conditions is not met, the operator stays as it is: it answers the same, and not as fast.

Source: the TFLite 8-bit quantization specification.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from engram.formats._tflite.draft import Draft
from engram.formats._tflite.parts import Operator, Quantization, Tensor
from engram.formats._tflite.versions import version_of

__all__ = ["narrow"]

_MOVING = {"TRANSPOSE", "RESHAPE", "PAD", "STRIDED_SLICE", "MAX_POOL_2D", "GATHER", "SPLIT_V", "TILE"}
_LAYERS = {
    "CONV_2D": (0, 1, 2),
    "DEPTHWISE_CONV_2D": (0, 1, 2),
    "FULLY_CONNECTED": (0, 1, 2),
    "TRANSPOSE_CONV": (2, 1, 3),
}
"""Where input, weights and bias stand."""
_PLAIN = {"ADD", "SUB", "MUL", "RELU", "RELU6", "LEAKY_RELU", "MEAN", "HARD_SWISH", "AVERAGE_POOL_2D", "CONCATENATION"}
_ALIKE = {"AVERAGE_POOL_2D", "CONCATENATION"}
"""Operators whose inputs and answer must be in the same steps."""
_SETTLED = {"SOFTMAX": (1 / 256, -128), "LOGISTIC": (1 / 256, -128), "TANH": (1 / 128, 0)}
"""Operators whose answer has the steps that their range suggests, and no others."""


def narrow(draft: Draft, outputs: list[int]) -> None:
    """Let a draft compute with integers wherever TFLite can."""
    if any(operator.kind == "DEQUANTIZE" for operator in draft.operators):
        draft.replace(_moved(draft))
        draft.replace(_fused(draft, outputs))


def _moved(draft: Draft) -> list[Operator]:
    made: list[Operator] = []
    meant: dict[int, int] = {}
    for operator in draft.operators:
        if operator.kind == "DEQUANTIZE" and draft.tensors[operator.inputs[0]].data is None:
            meant[operator.outputs[0]] = operator.inputs[0]
        place = 0
        source = meant.get(operator.inputs[place]) if operator.inputs else None
        plain = not operator.options.get("fused_activation_function", 0)
        if operator.kind not in _MOVING or source is None or not plain:
            made.append(operator)
            continue
        found = draft.tensors[source]
        narrow_outputs = []
        for number in operator.outputs:
            like = draft.tensors[number]
            held = draft.tensor(f"{like.name}/steps", found.type.lower(), like.free, found.quantization)
            narrow_outputs.append(held)
        inputs = (source, *operator.inputs[1:])
        made.append(_versioned(draft, replace(operator, inputs=inputs, outputs=tuple(narrow_outputs))))
        for held, number in zip(narrow_outputs, operator.outputs, strict=True):
            made.append(_versioned(draft, Operator("DEQUANTIZE", (held,), (number,))))
            meant[number] = held
    return made


def _fused(draft: Draft, outputs: list[int]) -> list[Operator]:
    meant = {one.outputs[0]: one.inputs[0] for one in draft.operators if one.kind == "DEQUANTIZE"}
    readers: dict[int, list[Operator]] = {}
    for operator in draft.operators:
        for number in operator.inputs:
            readers.setdefault(number, []).append(operator)
    made: list[Operator] = []
    gone: set[int] = set()
    for operator in draft.operators:
        if operator.kind == "QUANTIZE" and operator.outputs[0] in gone:
            continue
        (answer, *rest) = operator.outputs
        after = readers.get(answer, [])
        single = not rest and len(after) == 1 and after[0].kind == "QUANTIZE" and answer not in outputs
        found = _integer(draft, operator, meant, after[0].outputs[0]) if single else None
        if found is None:
            made.append(operator)
        else:
            gone.add(after[0].outputs[0])
            made.append(found)
    return made


def _integer(draft: Draft, operator: Operator, meant: dict[int, int], answer: int) -> Operator | None:
    """The operator on integers; None where TFLite has none for these."""
    into = draft.tensors[answer].quantization
    if into is None or draft.tensors[answer].type != "INT8":
        return None
    if operator.kind in _LAYERS:
        inputs = _layer(draft, operator, meant)
    elif operator.kind in _PLAIN or operator.kind in _SETTLED:
        inputs = _plain(draft, operator, meant, into)
    else:
        return None
    return None if inputs is None else _versioned(draft, replace(operator, inputs=tuple(inputs), outputs=(answer,)))


def _plain(draft: Draft, operator: Operator, meant: dict[int, int], into: Quantization) -> list[int] | None:
    values = operator.inputs if operator.kind in {"ADD", "SUB", "MUL", "CONCATENATION"} else operator.inputs[:1]
    narrowed = [meant.get(number) for number in values]
    if any(number is None or draft.tensors[number].type != "INT8" for number in narrowed):
        return None
    sources = [draft.tensors[number] for number in narrowed if number is not None]
    if operator.kind in _ALIKE and any(not _same(source.quantization, into) for source in sources):
        return None
    wanted = _SETTLED.get(operator.kind)
    if wanted is not None and (not np.isclose(into.scale[0], wanted[0], rtol=1e-5) or into.zero_point[0] != wanted[1]):
        return None
    if any(source.quantization is None or len(source.quantization.scale) != 1 for source in sources):
        return None
    return [*(number for number in narrowed if number is not None), *operator.inputs[len(values) :]]


def _same(one: Quantization | None, other: Quantization) -> bool:
    return one is not None and bool((one.scale == other.scale).all() and (one.zero_point == other.zero_point).all())


def _layer(draft: Draft, operator: Operator, meant: dict[int, int]) -> list[int] | None:
    x, weights, bias = _LAYERS[operator.kind]
    inputs = list(operator.inputs)
    narrow_x, narrow_weights = meant.get(inputs[x]), meant.get(inputs[weights])
    if narrow_x is None or narrow_weights is None:
        return None
    given, kernel = draft.tensors[narrow_x], draft.tensors[narrow_weights]
    fits = given.type == kernel.type == "INT8" and kernel.data is not None
    if not fits or given.quantization is None or kernel.quantization is None or kernel.quantization.zero_point.any():
        return None
    inputs[x], inputs[weights] = narrow_x, narrow_weights
    if len(inputs) > bias and inputs[bias] >= 0:
        made = _bias(draft, draft.tensors[inputs[bias]], inputs[bias], given.quantization, kernel.quantization)
        if made is None:
            return None
        inputs[bias] = made
    return inputs


def _bias(draft: Draft, tensor: Tensor, number: int, given: Quantization, kernel: Quantization) -> int | None:
    if tensor.data is None or tensor.type != "FLOAT32":
        return None
    numbers = np.frombuffer(tensor.data, np.float32).astype(np.float64)
    scale = given.scale.astype(np.float64) * kernel.scale
    steps = np.round(numbers / scale)
    if not (abs(steps) < 2**31).all():
        return None
    told = Quantization(scale.astype(np.float32), np.zeros(len(scale), np.int64), 0)
    return draft.constant(steps.astype(np.int32), f"{draft.tensors[number].name}/steps", told)


def _versioned(draft: Draft, operator: Operator) -> Operator:
    types = [draft.tensors[number].type for number in [*operator.inputs, *operator.outputs] if number >= 0]
    return replace(operator, version=version_of(operator.kind, types, operator.options))
