"""Operators that read a picture between its pixels, as ONNX defines where a pixel lies."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

from engram.runtime._torch.call import Call, Operator

__all__ = ["OPERATORS"]

# names before and since operator set 20
_MODES = {"bilinear": "bilinear", "linear": "bilinear", "nearest": "nearest", "bicubic": "bicubic", "cubic": "bicubic"}


def _grid_sample(call: Call, x: Tensor, grid: Tensor) -> Tensor:
    mode, padding = _MODES[call.get("mode", "linear")], call.get("padding_mode", "zeros")
    if x.ndim not in {4, 5} or (x.ndim == 5 and mode == "bicubic"):
        raise call.refuse(f"mode {mode!r} over {x.ndim - 2} axes")
    return F.grid_sample(x, grid, mode, padding, bool(call.get("align_corners", 0)))


def _affine_grid(call: Call, theta: Tensor, size: Tensor) -> Tensor:
    return F.affine_grid(theta, call.numbers(1, size) or [], bool(call.get("align_corners", 0)))


def _align(call: Call, x: Tensor, regions: Tensor, rows: Tensor) -> Tensor:
    """Regions of pictures as small pictures of one size."""
    shift = 0.5 if call.get("coordinate_transformation_mode", "half_pixel") == "half_pixel" else 0.0
    size = call.get("output_height", 1), call.get("output_width", 1)
    made = []
    for region, row in zip(regions, rows.tolist(), strict=True):
        left, top, right, bottom = (region * call.get("spatial_scale", 1.0) - shift).unbind()
        lengths = [bottom - top, right - left]
        if not shift:
            lengths = [length.clamp(min=1.0) for length in lengths]
        places = [
            _points(first, length, count, int(call.get("sampling_ratio", 0)))
            for first, length, count in zip((top, left), lengths, size, strict=True)
        ]
        made.append(_pooled(_parts(x[row], *places), size, call.get("mode", "avg")))
    return torch.stack(made) if made else x.new_zeros([0, x.shape[1], *size])


def _points(first: Tensor, length: Tensor, count: int, ratio: int) -> Tensor:
    """Where samples lie along one axis, (count × samples a cell)."""
    each = ratio if ratio > 0 else max(math.ceil(float(length) / count), 1)
    steps = (torch.arange(count * each, device=first.device) + 0.5) / each
    return first + steps * (length / count)


def _parts(picture: Tensor, down: Tensor, across: Tensor) -> Tensor:
    """What each of the four pixels around a sample gives to it: (4, channels, samples down, samples across)."""
    height, width = picture.shape[1:]
    rows, columns = _neighbors(down, height), _neighbors(across, width)
    parts = [
        picture[:, row][:, :, column] * (much[:, None] * more)
        for row, much in rows
        for column, more in columns
    ]  # fmt: skip
    return torch.stack(parts)


def _neighbors(places: Tensor, length: int) -> list[tuple[Tensor, Tensor]]:
    """The two pixels around each place and their shares; nothing outside by more than one pixel."""
    inside = ((places >= -1) & (places <= length)).to(places.dtype)
    clamped = places.clamp(0, length - 1)
    low = clamped.detach().floor().long().clamp(max=length - 1)
    high = (low + 1).clamp(max=length - 1)
    share = clamped - low
    return [(low, (1 - share) * inside), (high, share * inside)]


def _pooled(parts: Tensor, size: tuple[int, int], mode: str) -> Tensor:
    cells = [count // wanted for count, wanted in zip(parts.shape[2:], size, strict=True)]
    grouped = parts.reshape(4, parts.shape[1], size[0], cells[0], size[1], cells[1])
    if mode == "avg":
        return grouped.sum(0).mean((2, 4))
    return grouped.amax((0, 3, 5))


OPERATORS: dict[str, Operator] = {
    "AffineGrid": _affine_grid,
    "GridSample": _grid_sample,
    "RoiAlign": _align,
}
