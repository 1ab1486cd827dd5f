"""Quantized networks: ONNX's pairs of QuantizeLinear and DequantizeLinear as quantized tensors.

Each pair is first written as it stands, as QUANTIZE and DEQUANTIZE, which is right wherever they are. Then operators
that TFLite has for integers take the place of those between such pairs, the way TensorFlow's converter does it.
Integers of eight bits without a sign are moved by 128 to those with one, which is what TFLite's kernels take; nothing
is rounded.

Source: Jacob et al. 2018, Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy import ndarray

from engram.errors import ConversionError
from engram.formats._tflite.draft import Draft, natural, turned
from engram.formats._tflite.facts import Facts
from engram.formats._tflite.parts import Quantization
from engram.formats._tflite.writing import Write, Writing
from engram.graphs.walk import Step

__all__ = ["TABLE", "hand_over"]

_MIDDLE = 128
_WIDENED = ("float16", "float32")


def hand_over(facts: Facts, draft: Draft) -> None:
    """Tell a draft which fixed numbers stand as integers or halves in the network, to be written as those."""
    for node in facts.nodes:
        if node.operator == "Cast":
            halves, meant = facts.constants.get(node.inputs[0]), facts.constants.get(node.outputs[0])
            if halves is not None and meant is not None and (halves.dtype.name, meant.dtype.name) == _WIDENED:
                draft.meanings.append((meant, halves, None))
        if node.operator != "DequantizeLinear" or node.attributes.get("block_size", 0):
            continue
        integers, scale = (facts.constants.get(name) for name in node.inputs[:2])
        meant = facts.constants.get(node.outputs[0])
        if integers is None or scale is None or meant is None or integers.dtype not in (np.int8, np.uint8):
            continue
        if meant.dtype == np.float32 and integers.size > 1:
            axis = node.attributes.get("axis", 1) % max(integers.ndim, 1)
            zero = facts.constants.get(node.inputs[2]) if len(node.inputs) > 2 else None
            signed, middle = _signed(integers)
            found = Quantization(scale.reshape(-1), _zeros(zero, scale, middle), axis if scale.size > 1 else 0)
            draft.meanings.append((meant, signed, found))


def _signed(integers: ndarray) -> tuple[ndarray, int]:
    if integers.dtype == np.int8:
        return integers, 0
    return (integers.astype(np.int16) - _MIDDLE).astype(np.int8), _MIDDLE


def _zeros(zero: ndarray | None, scale: ndarray, middle: int) -> ndarray:
    given = np.zeros(scale.size, np.int64) if zero is None else zero.reshape(-1).astype(np.int64)
    return given - middle


def _told(node: Step, writing: Writing) -> tuple[Quantization, int]:
    """The steps of a node, and by how much its integers are moved."""
    what = f"{node.operator} {node.name!r}"
    scale = writing.fixed(node.inputs[1], f"the scale of {what}")
    zero = writing.option(node, 2, "the zero point")
    kind = "uint8" if zero is None and node.operator == "QuantizeLinear" else ""
    kind = kind or (zero.dtype.name if zero is not None else writing.dtype(node.inputs[0]))
    if scale.size != 1 or kind not in {"int8", "uint8"}:
        raise ConversionError(f"{what} is {kind} with {scale.size} scales; TFLite computes with one, of eight bits")
    middle = _MIDDLE if kind == "uint8" else 0
    return Quantization(scale.reshape(-1).astype(np.float32), _zeros(zero, scale, middle)), middle


def _quantize(node: Step, writing: Writing) -> None:
    found, _ = _told(node, writing)
    layout = writing.any_layout(node.inputs[0])
    x, draft = writing.get(node.inputs[0], layout), writing.draft
    made = draft.tensor(node.outputs[0], "int8", draft.shape(x), found)
    draft.put("QUANTIZE", [x], [made], {})
    writing.integers[node.outputs[0]] = (made, layout)


def _dequantize(node: Step, writing: Writing) -> None:
    name = node.inputs[0]
    if name not in writing.integers:
        _take_input(node, writing)
    tensor, layout = writing.integers[name]
    writing.emit("DEQUANTIZE", [tensor], node, layout)


def _take_input(node: Step, writing: Writing) -> None:
    """An input that is quantized already; TFLite wants to know what its integers mean."""
    name = node.inputs[0]
    if name not in writing.facts.inputs:
        raise ConversionError(f"{node.operator} {node.name!r} reads integers that something else made than a quantizer")
    found, middle = _told(node, writing)
    draft, layout = writing.draft, natural(len(writing.shape(name)))
    tensor = writing.get(name)
    draft.mean(tensor, Quantization(found.scale, found.zero_point + middle))
    if middle:
        moved = draft.tensor(f"{name}/signed", "int8", turned(writing.shape(name), layout), found)
        draft.put("QUANTIZE", [tensor], [moved], {})
        tensor = moved
    writing.integers[name] = (tensor, layout)


TABLE: Mapping[str, Write] = {"QuantizeLinear": _quantize, "DequantizeLinear": _dequantize}
