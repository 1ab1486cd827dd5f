"""New tensors: zeros, rows of numbers, other types of the same."""

from __future__ import annotations

from collections.abc import Mapping

from engram.formats._aten.call import Call, Rule, Sheet, Size

__all__ = ["TABLE"]


def _filled(fill: float | None) -> Rule:
    """A shape full of one number; that of ``full`` is told."""

    def rule(sheet: Sheet, call: Call) -> str:
        dtype = call.result.dtype
        number = fill if fill is not None else call.arguments.get("fill_value")
        if isinstance(number, Size) or hasattr(number, "shape"):
            return sheet.node("Expand", sheet.scalar(number, dtype), sheet.lengths(call.sizes("size")))
        if not isinstance(number, (bool, int, float)):
            raise call.refused("is full of what is no number")
        return _spread(sheet, sheet.lengths(call.sizes("size")), number, dtype)

    return rule


def _like(fill: float | None) -> Rule:
    def rule(sheet: Sheet, call: Call) -> str:
        number = fill if fill is not None else call.number("fill_value")
        return _spread(sheet, sheet.node("Shape", call.tensor("self").name), number, call.result.dtype)

    return rule


def _spread(sheet: Sheet, shape: str, number: float, dtype: str) -> str:
    from onnx import numpy_helper

    return sheet.node("ConstantOfShape", shape, value=numpy_helper.from_array(sheet.fitting(number, dtype).reshape(1)))


def _alone(sheet: Sheet, call: Call) -> str:
    given = call.arguments.get("s", call.arguments.get("fill_value"))
    return sheet.scalar(given, call.result.dtype)


def _arange(sheet: Sheet, call: Call) -> str:
    dtype = call.result.dtype
    ends = [call.arguments.get(name, default) for name, default in (("start", 0), ("end", None), ("step", 1))]
    return sheet.node("Range", *(sheet.scalar(one, dtype) for one in ends))


def _cast(sheet: Sheet, call: Call) -> str:
    return sheet.cast(call.tensor("self", "input"), call.result.dtype)


def _nothing(_sheet: Sheet, _call: Call) -> tuple[str, ...]:
    """What only checks, when the network is asked."""
    return ()


TABLE: Mapping[str, Rule] = {
    **dict.fromkeys(("_to_copy", "float", "to", "type_as"), _cast),
    **dict.fromkeys(("_assert_async", "_assert_scalar", "_assert_tensor_metadata", "sym_constrain_range",
                     "sym_constrain_range_for_size"), _nothing),
    "arange": _arange,
    "empty": _filled(0),
    "empty_like": _like(0),
    "full": _filled(None),
    "full_like": _like(None),
    "new_full": _filled(None),
    "new_ones": _filled(1),
    "new_zeros": _filled(0),
    "ones": _filled(1),
    "ones_like": _like(1),
    "scalar_tensor": _alone,
    "zeros": _filled(0),
    "zeros_like": _like(0),
}  # fmt: skip
