"""Operators that make pictures larger or smaller, apart because ONNX has so many ways to place a pixel.

Torch's own function where it means the same; otherwise each axis in turn is multiplied with a table that says which
pixels, and how much of each, make a new one.

Source: onnx.ai/onnx/operators/onnx__Resize.html; Mitchell and Netravali 1988 for the cubic.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy import ndarray
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

from engram.runtime._torch.call import Call, Operator

__all__ = ["OPERATORS"]

_LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}
_HALVES = {"half_pixel", "pytorch_half_pixel"}


@dataclass(frozen=True, slots=True)
class _Axis:
    """How one axis changes.

    Attributes:
        axis: its number.
        had, wanted: lengths.
        scale: new to old, which need not be the quotient of the lengths.
        region: the part of it that is cut out, from 0 to 1.
    """

    axis: int
    had: int
    wanted: int
    scale: float
    region: tuple[float, float] = (0.0, 1.0)


def _resize(
    call: Call, x: Tensor, roi: Tensor | None = None, scales: Tensor | None = None, sizes: Tensor | None = None
) -> Tensor:
    axes = _axes(call, x, call.numbers(1, roi), call.numbers(2, scales), call.numbers(3, sizes))
    return _resized(call, x, axes)


def _upsample(call: Call, x: Tensor, scales: Tensor | None = None) -> Tensor:
    factors = call.numbers(1, scales) or call.get("scales")
    axes = [_Axis(place, n, math.floor(n * f), f) for place, (n, f) in enumerate(zip(x.shape, factors, strict=True))]
    if call.get("mode", "nearest") == "nearest":
        return _nearest(x, axes, "asymmetric", "floor")
    return _weighted(call, x, axes, "asymmetric")


def _resized(call: Call, x: Tensor, axes: list[_Axis]) -> Tensor:
    mode, grid = call.get("mode", "nearest"), call.get("coordinate_transformation_mode", "half_pixel")
    target = [one.wanted for one in axes]
    if _is_torchs(call, x, axes, mode, grid):
        name = "nearest" if mode == "nearest" else _LINEAR[x.ndim - 2] if mode == "linear" else "bicubic"
        corners = None if mode == "nearest" else grid == "align_corners"
        return F.interpolate(x, target[2:], mode=name, align_corners=corners)
    if mode == "nearest" and grid != "tf_crop_and_resize":
        return _nearest(x, axes, grid, call.get("nearest_mode", "round_prefer_floor"))
    return _weighted(call, x, axes, grid)


def _axes(
    call: Call, x: Tensor, roi: list[float] | None, factors: list[float] | None, sizes: list[int] | None
) -> list[_Axis]:
    chosen = [axis % x.ndim for axis in call.get("axes") or range(x.ndim)]
    kept = call.get("keep_aspect_ratio_policy", "stretch")
    found = [_Axis(axis, n, n, 1.0) for axis, n in enumerate(x.shape)]
    shared = None
    if sizes and kept != "stretch":
        choose = min if kept == "not_larger" else max
        shared = choose(size / x.shape[axis] for size, axis in zip(sizes, chosen, strict=True))
    for place, axis in enumerate(chosen):
        n = x.shape[axis]
        if shared is not None:
            wanted, scale = int(shared * n + 0.5), shared
        elif sizes:
            wanted, scale = int(sizes[place]), sizes[place] / max(n, 1)
        else:
            scale = float((factors or [])[place])
            wanted = math.floor(n * scale)
        cut = (roi[place], roi[place + len(chosen)]) if roi and len(roi) == 2 * len(chosen) else (0.0, 1.0)
        found[axis] = _Axis(axis, n, wanted, scale, cut)
    return found


def _is_torchs(call: Call, x: Tensor, axes: list[_Axis], mode: str, grid: str) -> bool:
    """Whether torch's function places and weighs pixels in the same way."""
    outer = any(one.had != one.wanted for one in axes[:2])
    exact = all(math.isclose(one.scale, one.wanted / max(one.had, 1), rel_tol=1e-6) for one in axes)
    if outer or not exact or x.ndim - 2 not in _LINEAR or not x.is_floating_point():
        return False
    if mode == "nearest":
        rounding = call.get("nearest_mode", "round_prefer_floor")
        whole = all(one.had and one.wanted % one.had == 0 for one in axes)
        return (grid == "asymmetric" and rounding == "floor") or (
            whole and grid in _HALVES and rounding.startswith("round")
        )
    known = grid in {"half_pixel", "align_corners"} or (
        grid == "pytorch_half_pixel" and all(a.wanted > 1 for a in axes[2:])
    )
    plain = mode == "linear" or (mode == "cubic" and x.ndim == 4 and call.get("cubic_coeff_a", -0.75) == -0.75)
    return known and plain and not call.get("antialias", 0) and not call.get("exclude_outside", 0)


def _nearest(x: Tensor, axes: list[_Axis], grid: str, rounding: str) -> Tensor:
    for one in axes:
        if one.had == one.wanted and one.scale == 1.0:
            continue
        places = _places(one, grid)
        if rounding == "floor":
            chosen = np.floor(places)
        elif rounding == "ceil":
            chosen = np.ceil(places)
        else:
            chosen = np.ceil(places - 0.5) if rounding == "round_prefer_floor" else np.floor(places + 0.5)
        numbers = torch.from_numpy(chosen.clip(0, one.had - 1).astype(np.int64))
        x = x.index_select(one.axis, numbers.to(x.device))
    return x


def _weighted(call: Call, x: Tensor, axes: list[_Axis], grid: str) -> Tensor:
    """Each axis multiplied with its table; what lies outside a cut becomes one value."""
    kind = x.dtype
    y = x if kind in {torch.float32, torch.float64} else x.float()
    outside = None
    for one in axes:
        if one.had == one.wanted and math.isclose(one.scale, 1.0) and one.region == (0.0, 1.0):
            continue
        places = _places(one, grid)
        table = torch.from_numpy(_table(call, one, places)).to(device=y.device, dtype=y.dtype)
        y = torch.tensordot(y, table, ([one.axis], [1])).movedim(-1, one.axis)
        if grid == "tf_crop_and_resize":
            shape = [-1 if axis == one.axis else 1 for axis in range(x.ndim)]
            beyond = torch.from_numpy((places < 0) | (places > one.had - 1)).reshape(shape).to(y.device)
            outside = beyond if outside is None else outside | beyond
    if outside is not None:
        y = torch.where(outside, y.new_tensor(call.get("extrapolation_value", 0.0)), y)
    if not kind.is_floating_point:
        limits = torch.iinfo(kind)
        y = y.clamp(limits.min, limits.max)
    return y.to(kind)


def _places(one: _Axis, grid: str) -> ndarray:
    """Where each new pixel lies among the old ones."""
    numbers = np.arange(one.wanted, dtype=np.float64)
    length = one.scale * one.had
    if grid == "align_corners":
        return numbers * (one.had - 1) / (length - 1) if length != 1 else np.zeros(one.wanted)
    if grid == "asymmetric":
        return numbers / one.scale
    if grid == "tf_crop_and_resize":
        first, last = one.region
        if length == 1:
            return np.full(one.wanted, (first + last) * (one.had - 1) / 2)
        return numbers * (last - first) * (one.had - 1) / (length - 1) + first * (one.had - 1)
    if grid == "pytorch_half_pixel" and length == 1:
        return np.full(one.wanted, -0.5)
    shift = one.had / 2 * (1 - one.wanted / length) if grid == "half_pixel_symmetric" else 0.0
    return shift + (numbers + 0.5) / one.scale - 0.5


def _table(call: Call, one: _Axis, places: ndarray) -> ndarray:
    """How much of each old pixel is in each new one, (new, old)."""
    cubic = call.get("mode", "nearest") == "cubic"
    if call.get("mode", "nearest") == "nearest":
        weigh: Callable[[ndarray], ndarray] = _box
        reach = 0.5
    elif cubic:
        factor = call.get("cubic_coeff_a", -0.75)
        weigh, reach = (lambda distance: _cubic(distance, factor)), 2.0
    else:
        weigh, reach = _triangle, 1.0
    wide = min(one.scale, 1.0) if call.get("antialias", 0) else 1.0
    span = math.ceil(reach / wide) + 1
    taps = np.arange(-span, span + 1)
    numbers = np.floor(places)[:, None] + taps
    weights = weigh((numbers - places[:, None]) * wide)
    if call.get("exclude_outside", 0):
        weights = np.where((numbers < 0) | (numbers >= one.had), 0.0, weights)
    total = weights.sum(1, keepdims=True)
    weights = weights / np.where(total == 0, 1.0, total)
    table = np.zeros((one.wanted, one.had))
    rows = np.broadcast_to(np.arange(one.wanted)[:, None], numbers.shape)
    np.add.at(table, (rows, numbers.clip(0, one.had - 1).astype(np.int64)), weights)
    return table


def _box(distance: ndarray) -> ndarray:
    return ((distance > -0.5) & (distance <= 0.5)).astype(np.float64)


def _triangle(distance: ndarray) -> ndarray:
    return np.maximum(1.0 - np.abs(distance), 0.0)  # type: ignore[no-any-return]


def _cubic(distance: ndarray, a: float) -> ndarray:
    d = np.abs(distance)
    near = (a + 2) * d**3 - (a + 3) * d**2 + 1
    far = a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a
    return np.where(d <= 1, near, np.where(d < 2, far, 0.0))


OPERATORS: dict[str, Operator] = {"Resize": _resize, "Upsample": _upsample}
