"""Products, convolutions and pools of ONNX, as TensorFlow has them: channels last."""

from __future__ import annotations

from typing import Any

from engram.formats._tensorflow.job import Job, Writers
from engram.formats._tensorflow.sheet import Kind, Operand, Shape
from engram.formats._tensorflow.write_elementwise import binary
from engram.formats._tensorflow.write_shape import joined, lengths

__all__ = ["WRITERS", "product"]


def product(job: Job, first: Operand, second: Operand, shape: Shape = None) -> Operand:
    """The product of two matrices, or of stacks of them."""
    if first.rank == second.rank == 2:
        flips: dict[str, Any] = {"transpose_a": first.turn == (1, 0), "transpose_b": second.turn == (1, 0)}
        given = [job.sheet.stored(value) if value.turn == (1, 0) else value for value in (first, second)]
        return job.one("MatMul", *given, shape=shape, **flips)
    return job.one("BatchMatMulV2", first, second, shape=shape, adj_x=False, adj_y=False)


def _matmul(job: Job) -> tuple[Operand, ...]:
    first, second = job.get(0), job.get(1)
    if first.rank == 1 or second.rank == 1:
        one = job.reshape(first, [1, -1]) if first.rank == 1 else first
        other = job.reshape(second, [-1, 1]) if second.rank == 1 else second
        made = product(job, one, other)
        gone = [place for place, value in ((-2, first), (-1, second)) if value.rank == 1]
        return (job.one("Squeeze", made, shape=job.shapes[0], squeeze_dims=gone),)
    if second.rank == 2 and first.rank > 2 and isinstance((first.shape or ())[-1], int):
        # rows of a stack times one matrix are rows all the same
        rows = job.reshape(first, [-1, int((first.shape or ())[-1])])
        flat = product(job, rows, second, ("?", (second.shape or ("?", "?"))[-1]))
        return (_stacked(job, flat, first, (second.shape or ("?", "?"))[-1]),)
    return (product(job, first, second, job.shapes[0]),)


def _stacked(job: Job, flat: Operand, like: Operand, width: int | str) -> Operand:
    """Rows put back into the stack they came from."""
    front = list((like.shape or ())[:-1])
    free = [place for place, axis in enumerate(front) if not isinstance(axis, int)]
    if isinstance(width, int) and len(free) <= 1:
        return job.reshape(
            flat, [-1 if i in free else int(axis) for i, axis in enumerate(front)] + [width], job.shapes[0]
        )
    ahead = lengths(job, like, list(range(like.rank - 1)))
    return job.reshape(flat, joined(job, [ahead, job.sheet.constant([-1], "int64")], 0), job.shapes[0])


def _gemm(job: Job) -> tuple[Operand, ...]:
    first, second, bias = job.get(0), job.get(1), job.maybe(2)
    first = job.sheet.turned(first, (1, 0)) if job.said("transA", 0) else first
    second = job.sheet.turned(second, (1, 0)) if job.said("transB", 0) else second
    made = product(job, first, second, job.shapes[0])
    alpha, beta = float(job.said("alpha", 1.0)), float(job.said("beta", 1.0))
    if alpha != 1.0:
        made = binary(job, "Mul", made, job.number(alpha, made))
    if bias is None:
        return (made,)
    bias = binary(job, "Mul", bias, job.number(beta, bias)) if beta != 1.0 else bias
    if bias.rank == 1 and bias.shape == (job.shapes[0] or ("", ""))[-1:]:
        return (job.one("BiasAdd", made, bias, shape=job.shapes[0], data_format="NHWC"),)
    return (binary(job, "AddV2", made, bias),)


def _einsum(job: Job) -> tuple[Operand, ...]:
    values = [value for value in job.inputs if value is not None]
    equation = str(job.said("equation")).replace(" ", "")
    if "->" not in equation:
        letters = equation.replace(",", "").replace(".", "")
        equation += "->" + ("..." if "..." in equation else "")
        equation += "".join(sorted(letter for letter in set(letters) if letters.count(letter) == 1))
    return (
        job.sheet.emit(
            "Einsum", *values, shape=job.shapes[0], T=Kind(values[0].dtype), N=len(values), equation=equation
        ),
    )


WRITERS: Writers = {
    "Einsum": _einsum,
    "Gemm": _gemm,
    "MatMul": _matmul,
}
