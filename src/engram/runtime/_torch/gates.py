"""How torch orders the gates of its recurrent layers and ONNX orders its own: what every way between them needs.

It needs no torch, so that a reader of files that torch wrote does not, either.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["GRU", "LSTM", "RELU", "TANH", "Kind"]


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of layer.

    Attributes:
        operator: ONNX's name.
        order: per gate of ONNX, its place among torch's.
        attributes: what the node says beyond its size and direction.
    """

    operator: str
    order: tuple[int, ...]
    attributes: Mapping[str, Any]


# torch orders the gates of an LSTM input, forget, cell, output, and ONNX input, output, forget, cell; those of a GRU
# are reset, update, new and update, reset, hidden (https://onnx.ai/onnx/operators/onnx__LSTM.html and __GRU.html)
LSTM = Kind("LSTM", (0, 3, 1, 2), {})
GRU = Kind("GRU", (1, 0, 2), {"linear_before_reset": 1})
TANH = Kind("RNN", (0,), {"activations": ["Tanh"]})
RELU = Kind("RNN", (0,), {"activations": ["Relu"]})
