"""Whole numbers in place of real ones, and back.

Rounding has no gradient. Where a value is quantized and read back at once, which is how a graph says that it shall be
trained for fewer bits, the gradient goes straight through the rounding and stops where the value was cut off.

Source: Bengio, Léonard and Courville 2013, Estimating or Propagating Gradients Through Stochastic Neurons; Esser et al.
2020, Learned Step Size Quantization, for the gradient of the scale.
"""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

import torch
from torch import Tensor

from engram.runtime._torch.call import Call, Operator, Planned, dtype
from engram.runtime._torch.convolution import convolve

__all__ = ["OPERATORS"]


def _kind(call: Call, zero: Tensor | None) -> torch.dtype:
    if zero is not None:
        return zero.dtype
    return dtype(call.get("output_dtype"), call) if call.get("output_dtype") else torch.uint8


def _quantize(call: Call, x: Tensor, scale: Tensor, zero: Tensor | None = None) -> Tensor:
    kind = _kind(call, zero)
    steps = x / _laid(call, scale, x)
    if kind.is_floating_point:
        limit = torch.finfo(kind).max
        return (steps.clamp(-limit, limit) if call.get("saturate", 1) else steps).to(kind)
    return _whole(steps, None if zero is None else _laid(call, zero, x), kind)


def _whole(steps: Tensor, zero: Tensor | None, kind: torch.dtype) -> Tensor:
    """Rounded to even, moved and cut to what a type holds."""
    moved = torch.round(steps.double()) + (0 if zero is None else zero.double())
    limits = torch.iinfo(kind)
    return moved.clamp(limits.min, limits.max).to(torch.int64).to(kind)


def _dequantize(call: Call, x: Tensor, scale: Tensor, zero: Tensor | None = None) -> Tensor:
    wide = x.to(scale.dtype) if x.is_floating_point() else x.to(torch.int32)
    if zero is not None:
        wide = wide - _laid(call, zero, x).to(wide.dtype)
    kind = dtype(call.get("output_dtype"), call) if call.get("output_dtype") else scale.dtype
    return (wide.to(scale.dtype) * _laid(call, scale, x)).to(kind)


def _rounded(call: Call, x: Tensor, scale: Tensor, zero: Tensor | None = None) -> Tensor:
    """Quantized and read back at once, with a gradient."""
    limits = torch.iinfo(_kind(call, zero))
    step = _laid(call, scale, x)
    origin = 0 if zero is None else _laid(call, zero, x).to(step.dtype)
    steps = x / step
    whole = steps + (torch.round(steps) - steps).detach()
    return (torch.clamp(whole + origin, limits.min, limits.max) - origin) * step


def _laid(call: Call, factor: Tensor, x: Tensor) -> Tensor:
    """A scale or zero point laid along the axis, or the blocks, that it is for."""
    if factor.numel() == 1:
        return factor.reshape(())
    axis, block = call.get("axis", 1) % x.ndim, call.get("block_size", 0)
    if block:
        return factor.repeat_interleave(block, axis).narrow(axis, 0, x.shape[axis])
    return factor.reshape([-1 if place == axis else 1 for place in range(x.ndim)])


def _dynamic(_call: Call, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    low, high = x.amin().clamp(max=0), x.amax().clamp(min=0)
    scale = torch.where(high == low, torch.ones_like(low), high - low) / 255
    zero = torch.round((-low / scale).clamp(0, 255))
    y = (torch.round(x / scale) + zero).clamp(0, 255)
    return y.to(torch.uint8), scale, zero.to(torch.uint8)


def _shifted(x: Tensor, zero: Tensor | None, axis: int) -> Tensor:
    """A whole-numbered tensor less its zero point, in a type that holds sums of products exactly."""
    wide = x.to(torch.float64)
    if zero is None or zero.numel() == 1:
        return wide if zero is None else wide - zero.reshape(()).double()
    if zero.ndim > 1:
        return wide - zero.double()
    shape = [1] * x.ndim
    shape[axis] = -1
    return wide - zero.double().reshape(shape)


def _integer_product(
    _call: Call, a: Tensor, b: Tensor, a_zero: Tensor | None = None, b_zero: Tensor | None = None
) -> Tensor:
    return (_shifted(a, a_zero, -2) @ _shifted(b, b_zero, -1)).to(torch.int32)


def _integer_convolution(
    call: Call, x: Tensor, w: Tensor, x_zero: Tensor | None = None, w_zero: Tensor | None = None
) -> Tensor:
    return convolve(_attributed(call))(_shifted(x, x_zero, 1), _shifted(w, w_zero, 0)).to(torch.int32)


def _attributed(call: Call) -> Call:
    """The node with its attributes alone: its inputs are not those of a plain convolution."""
    step = replace(call.step, inputs=call.step.inputs[:2], attributes=MappingProxyType(dict(call.step.attributes)))
    return Call(step, ())


def _linear_product(_call: Call, *given: Tensor) -> Tensor:
    a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero = given
    found = _shifted(a, a_zero, -2) @ _shifted(b, b_zero, -1)
    rows = a_scale.unsqueeze(-1) if a_scale.ndim == 1 and a_scale.numel() > 1 else a_scale
    factor = (rows * b_scale / y_scale).double()
    return _whole(found * factor, y_zero, y_zero.dtype)


def _linear_convolution(call: Call, *given: Tensor) -> Tensor:
    x, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero, *bias = given
    found = convolve(_attributed(call))(_shifted(x, x_zero, 1), _shifted(w, w_zero, 0))
    wide = [1, -1, *[1] * (x.ndim - 2)]
    if bias and bias[0] is not None:
        found = found + bias[0].double().reshape(wide)
    factor = (x_scale * w_scale / y_scale).double()
    return _whole(found * (factor.reshape(wide) if factor.numel() > 1 else factor), y_zero, y_zero.dtype)


OPERATORS: dict[str, Operator | Planned] = {
    "ConvInteger": _integer_convolution,
    "DequantizeLinear": _dequantize,
    "DynamicQuantizeLinear": _dynamic,
    "MatMulInteger": _integer_product,
    "QLinearConv": _linear_convolution,
    "QLinearMatMul": _linear_product,
    "QuantizeLinear": _quantize,
    "engram.torch.Rounded": _rounded,
}
