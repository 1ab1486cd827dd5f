"""Sums of products: matrices, convolutions, and tables of vectors, where most of the learned numbers are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from engram.formats._aten.call import Call, Operand, Rule, Sheet

__all__ = ["TABLE"]


def _linear(sheet: Sheet, call: Call) -> str:
    value, weight, bias = call.tensor("input"), call.tensor("weight"), call.maybe("bias")
    if value.rank == 2:
        return sheet.node("Gemm", value.name, weight.name, bias.name if bias else "", transB=1)
    made = sheet.node("MatMul", value.name, sheet.node("Transpose", weight.name, perm=[1, 0]))
    return sheet.node("Add", made, bias.name) if bias else made


def _matmul(sheet: Sheet, call: Call) -> str:
    return sheet.node("MatMul", call.tensor("self").name, call.tensor("other", "mat2", "tensor", "vec").name)


def _addmm(sheet: Sheet, call: Call) -> str:
    factors = {name: float(call.number(word, 1)) for name, word in (("beta", "beta"), ("alpha", "alpha"))}
    said = {name: factor for name, factor in factors.items() if factor != 1}
    parts = (call.tensor(name).name for name in ("mat1", "mat2", "self"))
    return sheet.node("Gemm", *parts, **said)


def _baddbmm(sheet: Sheet, call: Call) -> str:
    dtype = call.result.dtype
    made = sheet.node("MatMul", call.tensor("batch1").name, call.tensor("batch2").name)
    if call.number("alpha", 1) != 1:
        made = sheet.node("Mul", made, sheet.scalar(call.number("alpha", 1), dtype))
    added = call.tensor("self").name
    if call.number("beta", 1) != 1:
        added = sheet.node("Mul", added, sheet.scalar(call.number("beta", 1), dtype))
    return sheet.node("Add", made, added)


def _einsum(sheet: Sheet, call: Call) -> str:
    return sheet.node("Einsum", *(one.name for one in call.tensors("tensors")), equation=call.text("equation", ""))


def _embedding(sheet: Sheet, call: Call) -> str:
    return sheet.node("Gather", call.tensor("weight").name, call.tensor("indices").name)


def spread(call: Call, name: str, default: int, rank: int) -> list[int]:
    """As many whole numbers as there are spatial axes; one alone stands for all.

    Raises:
        FormatError: they are of another number.
    """
    found = call.wholes(name, [default])
    found = found * rank if len(found) == 1 else found
    if len(found) != rank:
        raise call.refused(f"has {len(found)} numbers as {name} for {rank} axes")
    return found


def _kernel(call: Call, weight: Operand, rank: int) -> list[int]:
    found = [length for length in weight.shape[2:] if length is not None]
    if len(found) != rank or len(weight.shape) != rank + 2:
        raise call.refused(f"has a kernel {list(weight.shape)} for {rank} axes")
    return found


def _convolved(sheet: Sheet, call: Call) -> str:
    value, weight = call.tensor("input"), call.tensor("weight")
    rank = weight.rank - 2
    transposed = call.flag("transposed") or call.operator.startswith("conv_transpose")
    if value.rank != rank + 2:
        raise call.refused("convolves rows without a first axis, which is not read")
    said: dict[str, Any] = {
        "kernel_shape": _kernel(call, weight, rank),
        "strides": spread(call, "stride", 1, rank),
        "dilations": spread(call, "dilation", 1, rank),
        "group": call.whole("groups", 1),
        "pads": _pads(call, _kernel(call, weight, rank)),
    }
    if transposed:
        said["output_padding"] = spread(call, "output_padding", 0, rank)
    bias = call.maybe("bias")
    kind = "ConvTranspose" if transposed else "Conv"
    return sheet.node(kind, value.name, weight.name, bias.name if bias else "", **_usual(said))


def _pads(call: Call, kernel: Sequence[int]) -> list[int]:
    given = call.arguments.get("padding")
    if not isinstance(given, str):
        return spread(call, "padding", 0, len(kernel)) * 2
    if given not in {"same", "valid"}:
        raise call.refused(f"pads by {given!r}, which is not known")
    steps = spread(call, "dilation", 1, len(kernel))
    whole = [step * (length - 1) if given == "same" else 0 for step, length in zip(steps, kernel, strict=True)]
    return [*(number // 2 for number in whole), *(number - number // 2 for number in whole)]


def _usual(said: Mapping[str, Any]) -> dict[str, Any]:
    """Without what ONNX takes for granted."""
    usual = {"strides": 1, "dilations": 1, "pads": 0, "output_padding": 0}
    kept = {}
    for name, value in said.items():
        if name in usual and isinstance(value, Sequence) and all(one == usual[name] for one in value):
            continue
        if name == "group" and value == 1:
            continue
        kept[name] = value
    return kept


def _bilinear(sheet: Sheet, call: Call) -> str:
    sides = [call.tensor(name).name for name in ("input1", "weight", "input2")]
    product = sheet.node("Einsum", *sides, equation="...n,anm,...m->...a")
    bias = call.maybe("bias")
    return sheet.node("Add", product, bias.name) if bias else product


TABLE: Mapping[str, Rule] = {
    "bilinear": _bilinear,
    **dict.fromkeys(("_convolution", "conv1d", "conv2d", "conv3d", "convolution", "conv_transpose1d",
                     "conv_transpose2d", "conv_transpose3d"), _convolved),
    **dict.fromkeys(("bmm", "dot", "matmul", "mm", "mv"), _matmul),
    "addmm": _addmm,
    "baddbmm": _baddbmm,
    "einsum": _einsum,
    "embedding": _embedding,
    "linear": _linear,
}  # fmt: skip
