"""Whether a tensor holds as many bytes as it declares, before anything is allocated for it."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from onnx import SparseTensorProto, TensorProto

from engram.errors import FormatError
from engram.records import Limits

__all__ = ["check_sparse", "check_tensor"]

_Type = TensorProto.DataType
_BITS: dict[int, int] = {
    _Type.Value(name): bits
    for bits, names in {
        2: ("UINT2", "INT2"),
        4: ("UINT4", "INT4", "FLOAT4E2M1"),
        6: ("FLOAT6E2M3", "FLOAT6E3M2"),
        8: ("UINT8", "INT8", "BOOL", "FLOAT8E4M3FN", "FLOAT8E4M3FNUZ", "FLOAT8E5M2", "FLOAT8E5M2FNUZ", "FLOAT8E8M0"),
        16: ("UINT16", "INT16", "FLOAT16", "BFLOAT16"),
        32: ("FLOAT", "INT32", "UINT32"),
        64: ("DOUBLE", "INT64", "UINT64", "COMPLEX64"),
        128: ("COMPLEX128",),
    }.items()
    for name in names
    if name in _Type.keys()  # noqa: SIM118 - an enum wrapper of protobuf, not a dictionary
}
_FIELDS = {
    _Type.Value("FLOAT"): ("float_data", 1),
    _Type.Value("COMPLEX64"): ("float_data", 2),
    _Type.Value("DOUBLE"): ("double_data", 1),
    _Type.Value("COMPLEX128"): ("double_data", 2),
    _Type.Value("INT64"): ("int64_data", 1),
    _Type.Value("UINT64"): ("uint64_data", 1),
    _Type.Value("UINT32"): ("uint64_data", 1),
}
_SPARSEST = 1000
"""Zeros a stored number of a sparse tensor may stand for, on average; sparse tensors are made dense here."""


def check_tensor(tensor: TensorProto, limits: Limits, outside: Collection[str] = ()) -> None:
    """Refuse a tensor that declares other than it holds.

    Args:
        tensor: with its data inside, or outside at one of the places allowed.
        limits: of rank and axes.
        outside: values of ``location`` that are allowed.

    Raises:
        FormatError: its rank, an axis, its type, its length or its place is not as it must be.
    """
    elements = _elements(tensor, tensor.dims, limits)
    if tensor.HasField("segment"):
        raise FormatError(f"tensor {tensor.name!r} is written in segments, which nobody writes; export it again")
    if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data:
        _check_place(tensor, outside)
        return
    if tensor.data_type == TensorProto.STRING:
        held, wanted, what = len(tensor.string_data), elements, "strings"
    elif tensor.data_type not in _BITS:
        raise FormatError(f"tensor {tensor.name!r} is of type {tensor.data_type}, which ONNX does not define")
    elif tensor.HasField("raw_data"):
        held, wanted, what = len(tensor.raw_data), (elements * _BITS[tensor.data_type] + 7) // 8, "bytes"
    else:
        name, each = _FIELDS.get(tensor.data_type, ("int32_data", 1))
        bits = _BITS[tensor.data_type]
        packed = 8 // bits if bits < 8 else 1
        held, wanted, what = len(getattr(tensor, name)), -(-elements * each // packed), "numbers"
    if held != wanted:
        raise FormatError(f"tensor {tensor.name!r} {list(tensor.dims)} needs {wanted} {what}, but holds {held}")


def check_sparse(sparse: SparseTensorProto, limits: Limits) -> None:
    """Refuse a sparse tensor that is damaged or would become vast when made dense.

    Raises:
        FormatError: its parts do not fit, an index points outside, or nearly everything in it is zero.
    """
    check_tensor(sparse.values, limits)
    check_tensor(sparse.indices, limits)
    name, stored = sparse.values.name, int(np.prod(sparse.values.dims, dtype=object))
    elements = _elements(sparse.values, sparse.dims, limits)
    if elements > _SPARSEST * max(stored, 1):
        raise FormatError(f"sparse tensor {name!r} holds {stored} of {elements} numbers; store it denser")
    if sparse.indices.data_type != TensorProto.INT64 or len(sparse.values.dims) != 1:
        raise FormatError(f"sparse tensor {name!r} must have int64 indices and values of one axis")
    if list(sparse.indices.dims) not in ([stored], [stored, len(sparse.dims)]):
        raise FormatError(f"sparse tensor {name!r} has indices {list(sparse.indices.dims)} for {stored} values")


def _elements(tensor: TensorProto, dims: Collection[int], limits: Limits) -> int:
    if len(dims) > limits.rank:
        raise FormatError(f"tensor {tensor.name!r} has {len(dims)} axes, but at most {limits.rank} are accepted")
    elements = 1
    for axis in dims:
        if not 0 <= axis <= limits.dimension:
            raise FormatError(f"tensor {tensor.name!r} has an axis of {axis}; it must be from 0 to {limits.dimension}")
        elements *= axis
    return elements


def _check_place(tensor: TensorProto, outside: Collection[str]) -> None:
    entries = {entry.key: entry.value for entry in tensor.external_data}
    if len(entries) != len(tensor.external_data):
        raise FormatError(f"tensor {tensor.name!r} says twice where its data are")
    place = entries.get("location", "")
    if tensor.data_location != TensorProto.EXTERNAL or place not in outside:
        raise FormatError(
            f"tensor {tensor.name!r} has its data in {place!r}, outside the file, which is not accepted here"
        )
