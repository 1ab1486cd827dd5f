"""Which version of an operator is written.

A runtime older than an operator's version refuses the file instead of misreading it, so each is given the lowest
version that has what is used.

Source: tensorflow/compiler/mlir/lite/tools/versioning/op_version.cc.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["version_of"]

_INT8 = {
    "ADD": 2, "AVERAGE_POOL_2D": 2, "BATCH_MATMUL": 2, "CONCATENATION": 2, "CONV_2D": 3, "DEPTHWISE_CONV_2D": 3,
    "DEQUANTIZE": 2, "EQUAL": 2, "FULLY_CONNECTED": 4, "GATHER": 2, "LEAKY_RELU": 2, "LOGISTIC": 2, "LOG_SOFTMAX": 2,
    "MAXIMUM": 2, "MAX_POOL_2D": 2, "MEAN": 2, "MINIMUM": 2, "MUL": 2, "PAD": 2, "PADV2": 2, "QUANTIZE": 1, "RELU": 2,
    "RELU6": 2, "RESIZE_BILINEAR": 2, "RESIZE_NEAREST_NEIGHBOR": 2, "SLICE": 2, "SOFTMAX": 2, "SPLIT": 2,
    "STRIDED_SLICE": 2, "SUB": 2, "SUM": 2, "TANH": 2, "TRANSPOSE": 2, "TRANSPOSE_CONV": 2, "UNPACK": 2,
    "REDUCE_MAX": 2, "REDUCE_MIN": 2, "TILE": 2,
}  # fmt: skip
_ALWAYS = {"ARG_MAX": 1, "ARG_MIN": 1, "SELECT_V2": 1, "BROADCAST_TO": 2, "SPLIT_V": 1, "GELU": 1, "WHILE": 1}


def version_of(kind: str, types: Sequence[str], options: Mapping[str, Any]) -> int:
    """The lowest version of an operator that takes these tensors and options.

    Args:
        kind: of the operator.
        types: of its inputs and outputs.
        options: of the operator.
    """
    version = _ALWAYS.get(kind, 1)
    if "INT8" in types:
        version = max(version, _INT8.get(kind, 1))
    if kind == "DEQUANTIZE" and "FLOAT16" in types:
        version = 3
    if kind == "FULLY_CONNECTED" and options.get("keep_num_dims"):
        version = max(version, 5)
    if kind.startswith("RESIZE") and (options.get("half_pixel_centers") or options.get("align_corners")):
        version = 3
    if kind == "BATCH_MATMUL" and "INT8" not in types:
        version = 1
    if kind == "TRANSPOSE_CONV" and len(types) > 4:
        version = 3  # with a bias
    return version
