"""Convolutions over one, two or three axes.

Torch knows only the same padding on both sides, so anything else is padded first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

from engram.runtime._torch.call import Call, Operator, Planned
from engram.runtime._torch.padding import SAME, around, pads

__all__ = ["OPERATORS", "convolve"]

_CONVOLUTIONS: dict[int, Callable[..., Tensor]] = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_TRANSPOSED: dict[int, Callable[..., Tensor]] = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


def convolve(call: Call) -> Callable[..., Tensor]:
    """A convolution with the attributes of a node."""
    even = _even(call)
    if even is None:
        return lambda x, w, b=None: _padded(call, x, w, b)
    strides, padding, dilations, groups = even
    function = _CONVOLUTIONS[len(strides)]
    return lambda x, w, b=None: function(x, w, b, strides, padding, dilations, groups)


def _even(call: Call) -> tuple[list[int], list[int], list[int], int] | None:
    """What torch's own convolution takes, where the node alone says it and pads both sides alike."""
    known = call.get("kernel_shape") or call.get("strides") or call.get("dilations") or call.get("pads", [])[::2]
    axes = len(known)
    given = call.get("pads", [0] * 2 * axes)
    if axes not in _CONVOLUTIONS or call.get("auto_pad", "NOTSET") in SAME or given[:axes] != given[axes:]:
        return None
    padding = [0] * axes if call.get("auto_pad") == "VALID" else given[:axes]
    return call.get("strides", [1] * axes), padding, call.get("dilations", [1] * axes), call.get("group", 1)


def _padded(call: Call, x: Tensor, w: Tensor, b: Tensor | None) -> Tensor:
    axes = x.ndim - 2
    strides, dilations = call.get("strides", [1] * axes), call.get("dilations", [1] * axes)
    both = pads(call, x.shape[2:], list(w.shape[2:]), strides, dilations)
    begins, ends = both[:axes], both[axes:]
    if begins != ends:
        x, begins = around(x, begins, ends), [0] * axes
    return _over(_CONVOLUTIONS, axes, call)(x, w, b, strides, begins, dilations, call.get("group", 1))


def _transposed(call: Call, x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
    axes = x.ndim - 2
    strides, dilations = call.get("strides", [1] * axes), call.get("dilations", [1] * axes)
    extra, kernel = call.get("output_padding", [0] * axes), list(w.shape[2:])
    full = [(n - 1) * s + d * (k - 1) + 1 + e
            for n, s, d, k, e in zip(x.shape[2:], strides, dilations, kernel, extra, strict=True)]  # fmt: skip
    cut = _cut(call, full, [n * s for n, s in zip(x.shape[2:], strides, strict=True)])
    function, groups = _over(_TRANSPOSED, axes, call), call.get("group", 1)
    if cut[:axes] == cut[axes:] and min(cut) >= 0:
        return function(x, w, b, strides, cut[:axes], extra, groups, dilations)
    y = function(x, w, b, strides, [0] * axes, extra, groups, dilations)
    # negative padding cuts, and a negative cut pads
    return around(y, [-number for number in cut[:axes]], [-number for number in cut[axes:]])


def _cut(call: Call, full: Sequence[int], same: Sequence[int]) -> list[int]:
    """What a transposed convolution loses at its edges, beginnings then ends."""
    wanted = call.get("output_shape")
    mode = call.get("auto_pad", "NOTSET")
    if wanted is None and mode not in SAME:
        return list(call.get("pads", [0] * 2 * len(full))) if mode == "NOTSET" else [0] * 2 * len(full)
    lost = [f - w for f, w in zip(full, (wanted or same)[-len(full) :], strict=True)]
    small, large = [n // 2 for n in lost], [n - n // 2 for n in lost]
    return small + large if mode == "SAME_UPPER" else large + small


def _columns_to_image(call: Call, x: Tensor, shape: Tensor, block: Tensor) -> Tensor:
    """Sums of overlapping blocks, over any number of axes; torch's fold takes two."""
    size, kernel = call.numbers(1, shape) or [], call.numbers(2, block) or []
    axes = len(size)
    strides, dilations = call.get("strides", [1] * axes), call.get("dilations", [1] * axes)
    both = call.get("pads", [0] * 2 * axes)
    whole = [n + both[place] + both[place + axes] for place, n in enumerate(size)]
    counts = [
        (n - d * (k - 1) - 1) // s + 1 for n, d, k, s in zip(whole, dilations, kernel, strides, strict=True)
    ]  # fmt: skip
    channels = x.shape[1] // int(torch.tensor(kernel).prod())
    blocks = x.reshape(x.shape[0], channels, -1, *counts)
    y = x.new_zeros([x.shape[0], channels, *whole])
    for number, offsets in enumerate(torch.cartesian_prod(*map(torch.arange, kernel)).reshape(-1, axes).tolist()):
        part = [
            slice(o * d, o * d + (c - 1) * s + 1, s)
            for o, d, c, s in zip(offsets, dilations, counts, strides, strict=True)
        ]
        y[(slice(None), slice(None), *part)] += blocks[:, :, number]
    return around(y, [-n for n in both[:axes]], [-n for n in both[axes:]])


def _deformed(
    call: Call, x: Tensor, w: Tensor, offset: Tensor, b: Tensor | None = None, mask: Tensor | None = None
) -> Tensor:
    """A convolution whose samples are moved by learned offsets; each is read between pixels, zeros outside."""
    kernel, groups = list(w.shape[2:]), call.get("offset_group", 1)
    if len(kernel) != 2:
        raise call.refuse(f"it works over {len(kernel)} axes, and only two are built")
    strides, dilations = call.get("strides", [1, 1]), call.get("dilations", [1, 1])
    begins = call.get("pads", [0, 0, 0, 0])[:2]
    rows, height, width = x.shape[0], *offset.shape[2:]
    taps = kernel[0] * kernel[1]
    moved = offset.reshape(rows * groups, taps, 2, height, width)
    places = []
    for axis, (count, length) in enumerate(zip((height, width), x.shape[2:], strict=True)):
        steps = torch.arange(count, device=x.device) * strides[axis] - begins[axis]
        steps = steps.reshape([-1, 1] if axis == 0 else [1, -1])
        tap = torch.arange(taps, device=x.device)
        tap = (tap // kernel[1] if axis == 0 else tap % kernel[1]) * dilations[axis]
        place = moved[:, :, axis] + steps + tap.reshape(-1, 1, 1)
        places.append((2 * place + 1) / length - 1)  # as torch counts from -1 to 1, over the edges of pixels
    grid = torch.stack([places[1], places[0]], -1).reshape(rows * groups, taps * height, width, 2).to(x.dtype)
    parts = x.reshape(rows * groups, -1, *x.shape[2:])
    found = F.grid_sample(parts, grid, align_corners=False).reshape(rows, groups, -1, taps, height, width)
    if mask is not None:
        found = found * mask.reshape(rows, groups, 1, taps, height, width)
    sets = call.get("group", 1)
    columns = found.reshape(rows, sets, x.shape[1] // sets * taps, height * width)
    y = (w.reshape(sets, w.shape[0] // sets, -1) @ columns).reshape(rows, -1, height, width)
    return y if b is None else y + b.reshape(-1, 1, 1)


def _over(table: dict[int, Callable[..., Tensor]], axes: int, call: Call) -> Callable[..., Tensor]:
    if axes not in table:
        raise call.refuse(f"it works over {axes} axes, torch over one to three")
    return table[axes]


OPERATORS: dict[str, Operator | Planned] = {
    "Col2Im": _columns_to_image,
    "Conv": Planned(convolve),
    "ConvTranspose": _transposed,
    "DeformConv": _deformed,
}
