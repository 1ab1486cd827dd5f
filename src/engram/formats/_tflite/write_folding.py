"""What the layer before can do along with its own work: a bias, and a BatchNormalization.

A file that only serves needs no BatchNormalization of its own: its scale goes into the weights of the layer before and
the rest into the bias. The model itself is not touched; what was multiplied is remembered so that a file of ours still
gives back the weights that were trained.

Source: Jacob et al. 2018, Quantization and Training of Neural Networks, 3.2.
"""

from __future__ import annotations

import numpy as np
from numpy import ndarray

from engram.formats._tflite.draft import Scaled
from engram.formats._tflite.writing import Writing
from engram.graphs.walk import Step

__all__ = ["absorb_bias", "absorb_scale"]

_CHANNEL = {"CONV_2D": 0, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 0, "TRANSPOSE_CONV": 0}
"""The axis of the weights along which the layer's answers lie."""
_PLACES = {"CONV_2D": (1, 2), "DEPTHWISE_CONV_2D": (1, 2), "FULLY_CONNECTED": (1, 2), "TRANSPOSE_CONV": (1, 3)}
"""Where weights and bias stand among the inputs."""


def absorb_bias(node: Step, writing: Writing) -> bool:
    """Let the layer before add a constant, if it has no bias yet and the constant is one a channel."""
    for place, other in ((0, 1), (1, 0)):
        added = writing.facts.constants.get(node.inputs[other])
        if added is None or added.dtype != np.float32 or writing.dtype(node.inputs[place]) != "float32":
            continue
        found = _before(node.inputs[place], writing)
        if found is None:
            continue
        maker, layout = found
        operator = writing.draft.operators[maker]
        _, second = _PLACES[operator.kind]
        bias = operator.inputs[second] if len(operator.inputs) > second else -1
        channel, rank = layout[-1], len(layout)
        count = writing.shape(node.inputs[place])[channel]
        wide = (1,) * (rank - added.ndim) + added.shape
        if added.ndim > rank or added.size != count or wide[channel] != count or not _is_zero(bias, writing):
            continue
        flat = added.reshape(-1)
        writing.draft.change(maker, _with_bias(operator.inputs, second, _bias(flat, node, writing, other)), {})
        writing.alias(node.outputs[0], node.inputs[place])
        return True
    return False


def absorb_scale(node: Step, writing: Writing, scale: ndarray, offset: ndarray) -> bool:
    """Let the layer before multiply and add, one number a channel.

    Args:
        node: whose first input is the layer's answer, with channels as its second axis.
        writing: what is written so far.
        scale, offset: one a channel, float32.
    """
    found = _before(node.inputs[0], writing)
    if found is None or found[1][-1] != 1:
        return False
    maker, _ = found
    operator = writing.draft.operators[maker]
    first, second = _PLACES[operator.kind]
    weights = operator.inputs[first]
    source = writing.draft.sources.get(weights)
    bias = operator.inputs[second] if len(operator.inputs) > second else -1
    known = np.zeros_like(offset) if bias < 0 else _array(bias, writing)
    if not isinstance(source, ndarray) or source.dtype != np.float32 or known is None:
        return False
    along = [1] * source.ndim
    along[_CHANNEL[operator.kind]] = len(scale)
    factor = scale.reshape(along)
    name = writing.draft.tensors[weights].name
    made = writing.draft.constant(source * factor, name)
    writing.draft.sources[made] = Scaled(source, factor)
    added = writing.draft.constant((known * scale + offset).astype(np.float32), f"{node.outputs[0]}/bias")
    inputs = list(_with_bias(operator.inputs, second, added))
    inputs[first] = made
    writing.draft.change(maker, inputs, {})
    writing.alias(node.outputs[0], node.inputs[0])
    return True


def _before(name: str, writing: Writing) -> tuple[int, tuple[int, ...]] | None:
    """The layer whose answer a value is and the layout of that answer, if it may still be changed."""
    maker = writing.producer(name)
    if maker is None:
        return None
    operator = writing.draft.operators[maker]
    if operator.kind not in _CHANNEL or operator.options.get("fused_activation_function", 0):
        return None
    return maker, next(iter(writing.values[name].tensors))


def _bias(flat: ndarray, node: Step, writing: Writing, other: int) -> int:
    return writing.draft.constant(flat, node.inputs[other])


def _with_bias(inputs: tuple[int, ...], place: int, bias: int) -> tuple[int, ...]:
    filled = [*inputs, *([-1] * (place + 1 - len(inputs)))]
    filled[place] = bias
    return tuple(filled)


def _is_zero(tensor: int, writing: Writing) -> bool:
    if tensor < 0:
        return True
    found = _array(tensor, writing)
    return found is not None and writing.draft.tensors[tensor].name == "zeros" and not found.any()


def _array(tensor: int, writing: Writing) -> ndarray | None:
    source = writing.draft.sources.get(tensor)
    if isinstance(source, Scaled):
        return np.asarray(source.array * source.factor)
    return source
