"""Operators that make pictures larger or smaller, apart because ONNX has so many ways to place a pixel."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

from engram.runtime._torch_call import Call, Operator

__all__ = ["OPERATORS"]

_LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}
_HALVES = {"half_pixel", "pytorch_half_pixel"}


def _depth_to_space(call: Call, x: Tensor) -> Tensor:
    n, c, h, w = x.shape
    b = call.get("blocksize")
    if call.get("mode", "DCR") == "CRD":
        return F.pixel_shuffle(x, b)
    return x.reshape(n, b, b, c // b**2, h, w).permute(0, 3, 4, 1, 5, 2).reshape(n, c // b**2, h * b, w * b)


def _space_to_depth(call: Call, x: Tensor) -> Tensor:
    n, c, h, w = x.shape
    b = call.get("blocksize")
    if call.get("mode", "DCR") == "CRD":
        return F.pixel_unshuffle(x, b)
    return x.reshape(n, c, h // b, b, w // b, b).permute(0, 3, 5, 1, 2, 4).reshape(n, c * b**2, h // b, w // b)


def _resize(
    call: Call, x: Tensor, _roi: Tensor | None = None, scales: Tensor | None = None, sizes: Tensor | None = None
) -> Tensor:
    target = _target(call, x, call.numbers(2, scales), call.numbers(3, sizes))
    mode = call.get("mode", "nearest")
    if mode == "nearest" and _repeats(call, x, target):
        return F.interpolate(x, target[2:], mode="nearest")
    grid = call.get("coordinate_transformation_mode", "half_pixel")
    known = grid in {"half_pixel", "align_corners"} or (grid == "pytorch_half_pixel" and 1 not in target[2:])
    plain = mode == "linear" or (mode == "cubic" and x.ndim == 4 and call.get("cubic_coeff_a", -0.75) == -0.75)
    if not known or not plain or call.get("antialias", 0) or call.get("exclude_outside", 0):
        raise call.refuse(f"mode {mode!r} on the grid {grid!r}")
    name = _LINEAR[x.ndim - 2] if mode == "linear" else "bicubic"
    return F.interpolate(x, target[2:], mode=name, align_corners=grid == "align_corners")


def _target(call: Call, x: Tensor, factors: list[float] | None, sizes: list[int] | None) -> list[int]:
    """The shape to reach; a factor that leaves part of a pixel over is refused, as torch would shift the grid."""
    axes = [axis % x.ndim for axis in call.get("axes") or range(x.ndim)]
    target = list(x.shape)
    for place, axis in enumerate(axes):
        wanted = sizes[place] if sizes else x.shape[axis] * (factors or [])[place]
        if wanted != int(wanted):
            raise call.refuse(f"axis {axis} of {x.shape[axis]} would have {wanted:g}")
        target[axis] = int(wanted)
    if target[:2] != list(x.shape[:2]) or call.get("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise call.refuse("more is resized than height and width, or the aspect ratio is kept")
    return target


def _repeats(call: Call, x: Tensor, target: list[int]) -> bool:
    """Whether each pixel becomes a whole number of pixels, or the grid is the one of torch's own nearest mode."""
    grid, rounding = (
        call.get("coordinate_transformation_mode", "half_pixel"),
        call.get("nearest_mode", "round_prefer_floor"),
    )
    if grid == "asymmetric" and rounding == "floor":
        return True
    whole = all(wanted % had == 0 for wanted, had in zip(target, x.shape, strict=True))
    return whole and grid in _HALVES and rounding.startswith("round")


OPERATORS: dict[str, Operator] = {
    "DepthToSpace": _depth_to_space,
    "Resize": _resize,
    "SpaceToDepth": _space_to_depth,
}
