"""Windows over pictures and series: the largest, the mean, other sizes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from engram.formats._aten.call import Call, Operand, Rule, Sheet, Size
from engram.formats._aten.matrix import spread

__all__ = ["TABLE"]


def _window(call: Call, rank: int) -> dict[str, Any]:
    kernel = spread(call, "kernel_size", 1, rank)
    stride = call.wholes("stride") or kernel
    stride = stride * rank if len(stride) == 1 else stride
    pads = spread(call, "padding", 0, rank)
    said: dict[str, Any] = {"kernel_shape": kernel, "strides": stride}
    if any(pads):
        said["pads"] = pads * 2
    if call.flag("ceil_mode"):
        said["ceil_mode"] = 1
    return said


def _rank(call: Call) -> int:
    digits = [int(letter) for letter in call.operator if letter in "123"]
    rank = digits[-1] if digits else 0
    if call.tensor("self").rank != rank + 2:
        raise call.refused("reads rows without a first axis, which is not read")
    return rank


def _max_pool(sheet: Sheet, call: Call) -> tuple[str, ...] | str:
    rank = _rank(call)
    said, dilations = _window(call, rank), spread(call, "dilation", 1, rank)
    if any(one != 1 for one in dilations):
        said["dilations"] = dilations
    return sheet.node("MaxPool", call.tensor("self").name, **said)


def _mean_pool(sheet: Sheet, call: Call) -> str:
    said = _window(call, _rank(call))
    if call.arguments.get("divisor_override") is not None:
        raise call.refused("divides by a number of its own, which no node of ONNX does")
    if "pads" in said and call.flag("count_include_pad", default=True):
        said["count_include_pad"] = 1
    return sheet.node("AveragePool", call.tensor("self").name, **said)


def _adaptive(kind: str) -> Rule:
    def rule(sheet: Sheet, call: Call) -> str:
        value, rank = call.tensor("self"), _rank(call)
        wanted = spread(call, "output_size", 1, rank)
        if all(one == 1 for one in wanted):
            return sheet.node(f"Global{kind}", value.name)
        lengths = value.shape[2:]
        if any(have is None or want < 1 for have, want in zip(lengths, wanted, strict=True)):
            raise call.refused(f"pools {list(lengths)} to {wanted}, and every length must be known")
        known = [(have, want) for have, want in zip(lengths, wanted, strict=True) if have]
        if any(have % want for have, want in known):
            return _uneven(sheet, kind, value, known)
        sizes = [have // want for have, want in known]
        return sheet.node(kind, value.name, kernel_shape=sizes, strides=sizes)

    return rule


def _uneven(sheet: Sheet, kind: str, value: Operand, lengths: Sequence[tuple[int, int]]) -> str:
    """Windows of several sizes, one axis after the other; a mean of means, as each window is a product of its sides."""
    reduce = {"AveragePool": "ReduceMean", "MaxPool": "ReduceMax"}[kind]
    made: str = value.name
    for axis, (have, want) in enumerate(lengths, start=2):
        parts = []
        for place in range(want):
            start, stop = place * have // want, -(-(place + 1) * have // want)
            window = sheet.node("Slice", made, sheet.wholes(start), sheet.wholes(stop), sheet.wholes(axis))
            parts.append(sheet.node(reduce, window, sheet.wholes(axis), keepdims=1))
        made = sheet.node("Concat", *parts, axis=axis)
    return made


def _resized(mode: str) -> Rule:
    def rule(sheet: Sheet, call: Call) -> str:
        value = call.tensor("self", "input")
        rank = value.rank - 2
        corners = call.flag("align_corners")
        way = "asymmetric" if mode == "nearest" else "align_corners" if corners else "half_pixel"
        if mode == "linear" and not corners:
            way = "pytorch_half_pixel"
        said: dict[str, Any] = {"mode": mode, "coordinate_transformation_mode": way}
        if mode == "nearest":
            said["nearest_mode"] = "floor"
        if mode == "cubic":
            said["cubic_coeff_a"] = -0.75
        scales = _scales(call)
        if scales:
            factors = sheet.constant([1.0, 1.0, *scales], "float32")
            return sheet.node("Resize", value.name, "", factors, **said)
        wanted = call.sizes("output_size" if "output_size" in call.arguments else "size")
        if len(wanted) != rank:
            raise call.refused(f"makes {len(wanted)} lengths of {rank}")
        sizes = sheet.lengths([*(sheet.length(value, axis) for axis in (0, 1)), *wanted])
        return sheet.node("Resize", value.name, "", "", sizes, **said)

    return rule


def _scales(call: Call) -> list[float]:
    """The factors that were given instead of sizes."""
    found = call.arguments.get("scale_factors")
    if isinstance(found, list) and all(isinstance(one, (int, float)) for one in found):
        return [float(one) for one in found]
    if any(isinstance(one, Size) for one in call.sizes("output_size", [])):
        raise call.refused("resizes to a size that hangs on its input without saying the factor")
    return []


def _pad(mode: str) -> Rule:
    def rule(sheet: Sheet, call: Call) -> str:
        value = call.tensor("self", "input")
        pads = call.wholes("padding" if "padding" in call.arguments else "pad")
        kind = call.text("mode", mode) if call.operator == "pad" else mode
        kind = {"replicate": "edge", "circular": "wrap"}.get(kind, kind)
        pairs = len(pads) // 2
        if len(pads) % 2 or pairs > value.rank or kind not in {"constant", "reflect", "edge", "wrap"}:
            raise call.refused(f"pads {value.rank} axes by {pads[:8]} ({kind})")
        begins, ends = [0] * value.rank, [0] * value.rank
        for place in range(pairs):
            begins[value.rank - 1 - place], ends[value.rank - 1 - place] = pads[2 * place : 2 * place + 2]
        if max(map(abs, pads), default=0) > 2**30:
            raise call.refused("pads by more than any tensor is long")
        fill = call.arguments.get("value")
        number = sheet.scalar(0 if fill is None else fill, value.dtype) if kind == "constant" else ""
        return sheet.node("Pad", value.name, sheet.wholes(*begins, *ends), number, mode=kind)

    return rule


def _shuffle(sheet: Sheet, call: Call) -> str:
    value, factor = call.tensor("self"), call.whole("upscale_factor")
    if value.rank != 4 or factor < 1 or factor > math.isqrt(value.shape[1] or 2**30):
        raise call.refused("shuffles what has no four axes or too few channels")
    return sheet.node("DepthToSpace", value.name, blocksize=factor, mode="CRD")


TABLE: Mapping[str, Rule] = {
    **{f"{word}avg_pool{n}d": _mean_pool for n in (1, 2, 3) for word in ("",)},
    **{f"max_pool{n}d{word}": _max_pool for n in (1, 2, 3) for word in ("", "_with_indices")},
    **{f"{word}adaptive_avg_pool{n}d": _adaptive("AveragePool") for n in (1, 2, 3) for word in ("", "_")},
    **{f"adaptive_max_pool{n}d": _adaptive("MaxPool") for n in (1, 2, 3)},
    **{f"upsample_nearest{n}d": _resized("nearest") for n in (1, 2, 3)},
    **{f"reflection_pad{n}d": _pad("reflect") for n in (1, 2, 3)},
    **{f"replication_pad{n}d": _pad("edge") for n in (1, 2, 3)},
    "constant_pad_nd": _pad("constant"),
    "pad": _pad("constant"),
    "pixel_shuffle": _shuffle,
    "upsample_bicubic2d": _resized("cubic"),
    "upsample_bilinear2d": _resized("linear"),
    "upsample_linear1d": _resized("linear"),
    "upsample_trilinear3d": _resized("linear"),
}
