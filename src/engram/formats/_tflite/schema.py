"""What the published TFLite schema (version 3) says, as short tables: operators, their options, types of tensors.

The schema is a list that only grows, so a number beyond its end is an operator of a later version and is refused by
its number. The tables are our own because the generated classes trust every offset in a file.

Source: tensorflow/compiler/mlir/lite/schema/schema.fbs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import ml_dtypes
import numpy as np

__all__ = ["ACTIVATIONS", "OPERATORS", "OPTIONS", "TYPES", "Field", "dtype_of", "options_of", "type_code", "type_of"]


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a table of options.

    Attributes:
        slot: its place.
        kind: as in ``struct`` (``b``, ``i``, ``f``, ``?`` …), ``*`` before it for a list, ``s`` for a text.
        default: where it is left out.
    """

    slot: int
    kind: str
    default: int = 0


OPERATORS = (
    "ADD", "AVERAGE_POOL_2D", "CONCATENATION", "CONV_2D", "DEPTHWISE_CONV_2D", "DEPTH_TO_SPACE", "DEQUANTIZE",
    "EMBEDDING_LOOKUP", "FLOOR", "FULLY_CONNECTED", "HASHTABLE_LOOKUP", "L2_NORMALIZATION", "L2_POOL_2D",
    "LOCAL_RESPONSE_NORMALIZATION", "LOGISTIC", "LSH_PROJECTION", "LSTM", "MAX_POOL_2D", "MUL", "RELU",
    "RELU_N1_TO_1", "RELU6", "RESHAPE", "RESIZE_BILINEAR", "RNN", "SOFTMAX", "SPACE_TO_DEPTH", "SVDF", "TANH",
    "CONCAT_EMBEDDINGS", "SKIP_GRAM", "CALL", "CUSTOM", "EMBEDDING_LOOKUP_SPARSE", "PAD",
    "UNIDIRECTIONAL_SEQUENCE_RNN", "GATHER", "BATCH_TO_SPACE_ND", "SPACE_TO_BATCH_ND", "TRANSPOSE", "MEAN", "SUB",
    "DIV", "SQUEEZE", "UNIDIRECTIONAL_SEQUENCE_LSTM", "STRIDED_SLICE", "BIDIRECTIONAL_SEQUENCE_RNN", "EXP",
    "TOPK_V2", "SPLIT", "LOG_SOFTMAX", "DELEGATE", "BIDIRECTIONAL_SEQUENCE_LSTM", "CAST", "PRELU", "MAXIMUM",
    "ARG_MAX", "MINIMUM", "LESS", "NEG", "PADV2", "GREATER", "GREATER_EQUAL", "LESS_EQUAL", "SELECT", "SLICE",
    "SIN", "TRANSPOSE_CONV", "SPARSE_TO_DENSE", "TILE", "EXPAND_DIMS", "EQUAL", "NOT_EQUAL", "LOG", "SUM", "SQRT",
    "RSQRT", "SHAPE", "POW", "ARG_MIN", "FAKE_QUANT", "REDUCE_PROD", "REDUCE_MAX", "PACK", "LOGICAL_OR", "ONE_HOT",
    "LOGICAL_AND", "LOGICAL_NOT", "UNPACK", "REDUCE_MIN", "FLOOR_DIV", "REDUCE_ANY", "SQUARE", "ZEROS_LIKE", "FILL",
    "FLOOR_MOD", "RANGE", "RESIZE_NEAREST_NEIGHBOR", "LEAKY_RELU", "SQUARED_DIFFERENCE", "MIRROR_PAD", "ABS",
    "SPLIT_V", "UNIQUE", "CEIL", "REVERSE_V2", "ADD_N", "GATHER_ND", "COS", "WHERE", "RANK", "ELU",
    "REVERSE_SEQUENCE", "MATRIX_DIAG", "QUANTIZE", "MATRIX_SET_DIAG", "ROUND", "HARD_SWISH", "IF", "WHILE",
    "NON_MAX_SUPPRESSION_V4", "NON_MAX_SUPPRESSION_V5", "SCATTER_ND", "SELECT_V2", "DENSIFY", "SEGMENT_SUM",
    "BATCH_MATMUL", "PLACEHOLDER_FOR_GREATER_OP_CODES", "CUMSUM", "CALL_ONCE", "BROADCAST_TO", "RFFT2D", "CONV_3D",
    "IMAG", "REAL", "COMPLEX_ABS", "HASHTABLE", "HASHTABLE_FIND", "HASHTABLE_IMPORT", "HASHTABLE_SIZE",
    "REDUCE_ALL", "CONV_3D_TRANSPOSE", "VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE", "BROADCAST_ARGS",
    "RANDOM_STANDARD_NORMAL", "BUCKETIZE", "RANDOM_UNIFORM", "MULTINOMIAL", "GELU", "DYNAMIC_UPDATE_SLICE",
    "RELU_0_TO_1", "UNSORTED_SEGMENT_PROD", "UNSORTED_SEGMENT_MAX", "UNSORTED_SEGMENT_SUM", "ATAN2",
    "UNSORTED_SEGMENT_MIN", "SIGN", "BITCAST", "BITWISE_XOR", "RIGHT_SHIFT", "STABLEHLO_LOGISTIC", "STABLEHLO_ADD",
    "STABLEHLO_DIVIDE", "STABLEHLO_MULTIPLY", "STABLEHLO_MAXIMUM", "STABLEHLO_RESHAPE", "STABLEHLO_CLAMP",
    "STABLEHLO_CONCATENATE", "STABLEHLO_BROADCAST_IN_DIM", "STABLEHLO_CONVOLUTION", "STABLEHLO_SLICE",
    "STABLEHLO_CUSTOM_CALL", "STABLEHLO_REDUCE", "STABLEHLO_ABS", "STABLEHLO_AND", "STABLEHLO_COSINE",
    "STABLEHLO_EXPONENTIAL", "STABLEHLO_FLOOR", "STABLEHLO_LOG", "STABLEHLO_MINIMUM", "STABLEHLO_NEGATE",
    "STABLEHLO_OR", "STABLEHLO_POWER", "STABLEHLO_REMAINDER", "STABLEHLO_RSQRT", "STABLEHLO_SELECT",
    "STABLEHLO_SUBTRACT", "STABLEHLO_TANH", "STABLEHLO_SCATTER", "STABLEHLO_COMPARE", "STABLEHLO_CONVERT",
    "STABLEHLO_DYNAMIC_SLICE", "STABLEHLO_DYNAMIC_UPDATE_SLICE", "STABLEHLO_PAD", "STABLEHLO_IOTA",
    "STABLEHLO_DOT_GENERAL", "STABLEHLO_REDUCE_WINDOW", "STABLEHLO_SORT", "STABLEHLO_WHILE", "STABLEHLO_GATHER",
    "STABLEHLO_TRANSPOSE", "DILATE", "STABLEHLO_RNG_BIT_GENERATOR", "REDUCE_WINDOW", "STABLEHLO_COMPOSITE",
    "STABLEHLO_SHIFT_LEFT", "STABLEHLO_CBRT", "STABLEHLO_CASE",
)  # fmt: skip
"""By code."""

UNION = (
    "NONE", "Conv2D", "DepthwiseConv2D", "ConcatEmbeddings", "LSHProjection", "Pool2D", "SVDF", "RNN",
    "FullyConnected", "Softmax", "Concatenation", "Add", "L2Norm", "LocalResponseNormalization", "LSTM",
    "ResizeBilinear", "Call", "Reshape", "SkipGram", "SpaceToDepth", "EmbeddingLookupSparse", "Mul", "Pad",
    "Gather", "BatchToSpaceND", "SpaceToBatchND", "Transpose", "Reducer", "Sub", "Div", "Squeeze", "SequenceRNN",
    "StridedSlice", "Exp", "TopKV2", "Split", "LogSoftmax", "Cast", "Dequantize", "MaximumMinimum", "ArgMax",
    "Less", "Neg", "PadV2", "Greater", "GreaterEqual", "LessEqual", "Select", "Slice", "TransposeConv",
    "SparseToDense", "Tile", "ExpandDims", "Equal", "NotEqual", "Shape", "Pow", "ArgMin", "FakeQuant", "Pack",
    "LogicalOr", "OneHot", "LogicalAnd", "LogicalNot", "Unpack", "FloorDiv", "Square", "ZerosLike", "Fill",
    "BidirectionalSequenceLSTM", "BidirectionalSequenceRNN", "UnidirectionalSequenceLSTM", "FloorMod", "Range",
    "ResizeNearestNeighbor", "LeakyRelu", "SquaredDifference", "MirrorPad", "Abs", "SplitV", "Unique", "ReverseV2",
    "AddN", "GatherNd", "Cos", "Where", "Rank", "ReverseSequence", "MatrixDiag", "Quantize", "MatrixSetDiag",
    "HardSwish", "If", "While", "DepthToSpace", "NonMaxSuppressionV4", "NonMaxSuppressionV5", "ScatterNd",
    "SelectV2", "Densify", "SegmentSum", "BatchMatMul", "Cumsum", "CallOnce", "BroadcastTo", "Rfft2d", "Conv3D",
    "Hashtable", "HashtableFind", "HashtableImport", "HashtableSize", "VarHandle", "ReadVariable", "AssignVariable",
    "Random", "Bucketize", "Gelu", "DynamicUpdateSlice", "UnsortedSegmentProd", "UnsortedSegmentMax",
    "UnsortedSegmentMin", "UnsortedSegmentSum", "ATan2", "Sign", "Bitcast", "BitwiseXor", "RightShift",
)  # fmt: skip
"""The kinds of options, by code; each name goes on with ``Options``."""

_FIELDS: Mapping[str, str] = {
    "Conv2D": (
        "padding:b stride_w:i stride_h:i fused_activation_function:b dilation_w_factor:i=1 dilation_h_factor:i=1 "
        "quantized_bias_type:b"
    ),
    "DepthwiseConv2D": (
        "padding:b stride_w:i stride_h:i depth_multiplier:i fused_activation_function:b dilation_w_factor:i=1 "
        "dilation_h_factor:i=1"
    ),
    "ConcatEmbeddings": "num_channels:i num_columns_per_channel:*i embedding_dim_per_channel:*i",
    "LSHProjection": "type:b",
    "Pool2D": "padding:b stride_w:i stride_h:i filter_width:i filter_height:i fused_activation_function:b",
    "SVDF": "rank:i fused_activation_function:b asymmetric_quantize_inputs:?",
    "RNN": "fused_activation_function:b asymmetric_quantize_inputs:?",
    "FullyConnected": (
        "fused_activation_function:b weights_format:b keep_num_dims:? asymmetric_quantize_inputs:? "
        "quantized_bias_type:b"
    ),
    "Softmax": "beta:f",
    "Concatenation": "axis:i fused_activation_function:b",
    "Add": "fused_activation_function:b pot_scale_int16:?=1",
    "L2Norm": "fused_activation_function:b",
    "LocalResponseNormalization": "radius:i bias:f alpha:f beta:f",
    "LSTM": "fused_activation_function:b cell_clip:f proj_clip:f kernel_type:b asymmetric_quantize_inputs:?",
    "ResizeBilinear": "- - align_corners:? half_pixel_centers:?",
    "Call": "subgraph:I",
    "Reshape": "new_shape:*i",
    "SkipGram": "ngram_size:i max_skip_size:i include_all_ngrams:?",
    "SpaceToDepth": "block_size:i",
    "EmbeddingLookupSparse": "combiner:b",
    "Mul": "fused_activation_function:b",
    "Gather": "axis:i batch_dims:i",
    "Reducer": "keep_dims:?",
    "Sub": "fused_activation_function:b pot_scale_int16:?=1",
    "Div": "fused_activation_function:b",
    "Squeeze": "squeeze_dims:*i",
    "SequenceRNN": "time_major:? fused_activation_function:b asymmetric_quantize_inputs:?",
    "StridedSlice": "begin_mask:i end_mask:i ellipsis_mask:i new_axis_mask:i shrink_axis_mask:i offset:?",
    "Split": "num_splits:i",
    "Cast": "in_data_type:b out_data_type:b",
    "ArgMax": "output_type:b",
    "TransposeConv": "padding:b stride_w:i stride_h:i fused_activation_function:b quantized_bias_type:b",
    "SparseToDense": "validate_indices:?",
    "Shape": "out_type:b",
    "ArgMin": "output_type:b",
    "FakeQuant": "min:f max:f num_bits:i narrow_range:?",
    "Pack": "values_count:i axis:i",
    "OneHot": "axis:i",
    "Unpack": "num:i axis:i",
    "BidirectionalSequenceLSTM": (
        "fused_activation_function:b cell_clip:f proj_clip:f merge_outputs:? time_major:?=1 "
        "asymmetric_quantize_inputs:?"
    ),
    "BidirectionalSequenceRNN": "time_major:? fused_activation_function:b merge_outputs:? asymmetric_quantize_inputs:?",
    "UnidirectionalSequenceLSTM": (
        "fused_activation_function:b cell_clip:f proj_clip:f time_major:? asymmetric_quantize_inputs:? "
        "diagonal_recurrent_tensors:?"
    ),
    "ResizeNearestNeighbor": "align_corners:? half_pixel_centers:?",
    "LeakyRelu": "alpha:f",
    "MirrorPad": "mode:b",
    "SplitV": "num_splits:i",
    "Unique": "idx_out_type:b=2",
    "ReverseSequence": "seq_dim:i batch_dim:i",
    "If": "then_subgraph_index:i else_subgraph_index:i",
    "While": "cond_subgraph_index:i body_subgraph_index:i",
    "DepthToSpace": "block_size:i",
    "BatchMatMul": "adj_x:? adj_y:? asymmetric_quantize_inputs:?",
    "Cumsum": "exclusive:? reverse:?",
    "CallOnce": "init_subgraph_index:i",
    "Conv3D": (
        "padding:b stride_d:i stride_w:i stride_h:i fused_activation_function:b dilation_d_factor:i=1 "
        "dilation_w_factor:i=1 dilation_h_factor:i=1"
    ),
    "Hashtable": "table_id:i key_dtype:b value_dtype:b",
    "VarHandle": "container:s shared_name:s",
    "Random": "seed:q seed2:q",
    "Bucketize": "boundaries:*f",
    "Gelu": "approximate:?",
}


def _fields(text: str) -> Mapping[str, Field]:
    found = {}
    for slot, entry in enumerate(text.split()):
        if entry != "-":
            name, _, kind = entry.partition(":")
            kind, _, default = kind.partition("=")
            found[name] = Field(slot, kind, int(default or 0))
    return found


OPTIONS: Mapping[str, Mapping[str, Field]] = {name: _fields(_FIELDS.get(name, "")) for name in UNION}
"""The fields of each kind of options."""

_SHARED: Mapping[str, str] = {
    "AVERAGE_POOL_2D": "Pool2D",
    "MAX_POOL_2D": "Pool2D",
    "L2_POOL_2D": "Pool2D",
    "L2_NORMALIZATION": "L2Norm",
    "MAXIMUM": "MaximumMinimum",
    "MINIMUM": "MaximumMinimum",
    "MEAN": "Reducer",
    "SUM": "Reducer",
    "REDUCE_PROD": "Reducer",
    "REDUCE_MAX": "Reducer",
    "REDUCE_MIN": "Reducer",
    "REDUCE_ANY": "Reducer",
    "REDUCE_ALL": "Reducer",
    "RANDOM_STANDARD_NORMAL": "Random",
    "RANDOM_UNIFORM": "Random",
    "MULTINOMIAL": "Random",
    "UNIDIRECTIONAL_SEQUENCE_RNN": "SequenceRNN",
    "CONV_3D_TRANSPOSE": "Conv3D",
}
_FOLDED = {name.casefold(): name for name in UNION}


def options_of(operator: str) -> str:
    """The kind of options an operator has; ``NONE`` for one that has none."""
    return _SHARED.get(operator) or _FOLDED.get(operator.replace("_", "").casefold(), "NONE")


ACTIVATIONS = ("NONE", "RELU", "RELU_N1_TO_1", "RELU6", "TANH", "SIGN_BIT")
"""What an operator may apply to its answer, by code."""

TYPES = (
    "FLOAT32", "FLOAT16", "INT32", "UINT8", "INT64", "STRING", "BOOL", "INT16", "COMPLEX64", "INT8", "FLOAT64",
    "COMPLEX128", "UINT64", "RESOURCE", "VARIANT", "UINT32", "UINT16", "INT4", "BFLOAT16", "INT2", "UINT4",
    "FLOAT8_E4M3FN", "FLOAT8_E5M2",
)  # fmt: skip
"""Types of tensors, by code."""

_NUMPY = {name: name.lower() for name in TYPES if name not in {"STRING", "RESOURCE", "VARIANT"}}


def dtype_of(type_name: str) -> np.dtype[np.generic] | None:
    """How a type's numbers are held here, one an element; None for those that are no numbers."""
    name = _NUMPY.get(type_name)
    if name is None:
        return None
    return np.dtype(getattr(ml_dtypes, name) if hasattr(ml_dtypes, name) else name)


def type_of(dtype: np.dtype[np.generic] | str) -> str:
    """The type of numpy's numbers.

    Raises:
        ValueError: TFLite has none like it.
    """
    name = np.dtype(dtype).name.upper()
    if name not in _NUMPY:
        raise ValueError(f"TFLite has no tensors of {np.dtype(dtype).name}")
    return name


def type_code(dtype: np.dtype[np.generic] | str) -> int:
    """The number of the type of numpy's numbers."""
    return TYPES.index(type_of(dtype))
