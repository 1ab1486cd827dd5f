"""Products of matrices: FULLY_CONNECTED where one side never changes, else BATCH_MATMUL."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy import ndarray

from engram.errors import ConversionError
from engram.formats._tflite.draft import Layout, natural, turned
from engram.formats._tflite.writing import Write, Writing
from engram.graphs.walk import Step

__all__ = ["TABLE"]


def _gemm(node: Step, writing: Writing) -> None:
    """``alpha × A B + beta × C``."""
    alpha, beta = node.attributes.get("alpha", 1.0), node.attributes.get("beta", 1.0)
    weights = writing.held(node.inputs[1])
    swapped = bool(node.attributes.get("transA", 0))
    if weights.array is not None and weights.array.dtype == np.float32:
        laid = weights.array if node.attributes.get("transB", 0) else weights.array.T
        x = writing.get(node.inputs[0], (1, 0) if swapped else (0, 1))
        scaled = laid if alpha == 1 else laid * np.float32(alpha)
        tensors = [x, writing.draft.constant(scaled, node.inputs[1])]
        bias = _bias(node, writing, laid.shape[0], beta)
        tensors += [-1 if bias is None else writing.draft.constant(bias, node.inputs[2])]
        shape = writing.shape(node.outputs[0])
        made = writing.draft.emit(
            "FULLY_CONNECTED", tensors, shape, "float32", name=node.outputs[0], fused_activation_function=0
        )
        done = bias is not None
    else:
        made = _batch(node, writing, swapped, bool(node.attributes.get("transB", 0)))
        made = made if alpha == 1 else _times(writing, made, alpha)
        done = False
    if len(node.inputs) > 2 and node.inputs[2] and not done:
        other = writing.get(node.inputs[2])
        other = other if beta == 1 else _times(writing, other, beta)
        shape = writing.shape(node.outputs[0])
        made = writing.draft.emit("ADD", [made, other], shape, "float32", fused_activation_function=0)
    writing.give(node.outputs[0], made)


def _times(writing: Writing, tensor: int, factor: float) -> int:
    draft = writing.draft
    inputs = [tensor, writing.scalar(factor)]
    return draft.emit("MUL", inputs, draft.shape(tensor), "float32", fused_activation_function=0)


def _bias(node: Step, writing: Writing, count: int, beta: float) -> ndarray | None:
    """What is added, one number a unit; None where it is not of that kind."""
    array = writing.facts.constants.get(node.inputs[2]) if len(node.inputs) > 2 and node.inputs[2] else None
    if array is None or array.dtype != np.float32 or array.size not in {1, count} or array.shape[:-1] not in {(), (1,)}:
        return None
    flat = array.reshape(-1) if array.size == count else np.broadcast_to(array.reshape(-1), (count,))
    return flat if beta == 1 else flat * np.float32(beta)


def _batch(node: Step, writing: Writing, adj_x: bool, adj_y: bool) -> int:
    tensors = [writing.get(node.inputs[0]), writing.get(node.inputs[1])]
    options = {"adj_x": adj_x, "adj_y": adj_y}
    shape = writing.shape(node.outputs[0])
    return writing.draft.emit("BATCH_MATMUL", tensors, shape, "float32", name=node.outputs[0], **options)


def _product(node: Step, writing: Writing) -> None:
    left, right = (writing.held(name) for name in node.inputs[:2])
    if writing.dtype(node.outputs[0]) != "float32":
        raise ConversionError(f"MatMul {node.name!r} is in {writing.dtype(node.outputs[0])}; TFLite's is in float32")
    fixed = right.array is not None and right.rank == 2 and left.rank >= 2 and left.array is None
    if fixed:
        _layer(node, writing)
        return
    if left.rank < 2 or right.rank < 2:
        _vectors(node, writing)
        return
    tensors, flags = [], []
    for held in (left, right):
        layout = _last_two(held.tensors, held.rank) if held.array is None else natural(held.rank)
        tensors.append(writing.draft.get(held, layout))
        flags.append(layout != natural(held.rank))
    writing.emit("BATCH_MATMUL", tensors, node, adj_x=flags[0], adj_y=flags[1])


def _last_two(tensors: Mapping[Layout, int], rank: int) -> Layout:
    """The layout as it is, or with the last two axes swapped where that is what there is."""
    swapped = (*range(rank - 2), rank - 1, rank - 2)
    return swapped if swapped in tensors and natural(rank) not in tensors else natural(rank)


def _layer(node: Step, writing: Writing) -> None:
    """A product with a fixed matrix, in any layout that has the summed axis last."""
    rank = len(writing.shape(node.inputs[0]))
    layout = writing.layout_for(node.inputs[:1], rank, lambda one: one[-1] == rank - 1)
    array = writing.held(node.inputs[1]).array
    assert array is not None
    tensors = [
        writing.get(node.inputs[0], layout),
        writing.draft.constant(array.T, writing.held(node.inputs[1]).name),
        -1,
    ]
    options = {"fused_activation_function": 0, "keep_num_dims": rank > 2}
    writing.emit("FULLY_CONNECTED", tensors, node, layout, **options)


def _vectors(node: Step, writing: Writing) -> None:
    """A product in which a side is a vector: it becomes a matrix and the answer loses the axis again."""
    draft, shapes, tensors = writing.draft, [], []
    for place, name in enumerate(node.inputs[:2]):
        shape = writing.shape(name)
        whole = shape if len(shape) > 1 else ((1, *shape) if place == 0 else (*shape, 1))
        tensors.append(draft.reshape(writing.get(name), whole))
        shapes.append(whole)
    rows, columns = shapes[0][-2], shapes[1][-1]
    lead = shapes[0][:-2] if len(shapes[0]) >= len(shapes[1]) else shapes[1][:-2]
    made = draft.emit("BATCH_MATMUL", tensors, (*lead, rows, columns), "float32", adj_x=False, adj_y=False)
    writing.give(node.outputs[0], draft.reshape(made, writing.shape(node.outputs[0])))


def _einsum(node: Step, writing: Writing) -> None:
    """An Einsum of two values that is one product: batch axes, rows, columns, and what is summed."""
    equation = node.attributes["equation"].replace(" ", "")
    terms, _, answer = equation.partition("->")
    parts = terms.split(",")
    unclear = "..." in equation or len(parts) != 2 or any(len(set(part)) != len(part) for part in [*parts, answer])
    if unclear or not answer:
        raise ConversionError(f"Einsum {node.name!r} ({equation}) is no product of two matrices, which TFLite has not")
    left, right = parts
    batch = [axis for axis in answer if axis in left and axis in right]
    rows = [axis for axis in left if axis not in right]
    columns = [axis for axis in right if axis not in left]
    summed = [axis for axis in left if axis in right and axis not in answer]
    if any(axis not in answer for axis in [*rows, *columns]):
        raise ConversionError(f"Einsum {node.name!r} ({equation}) sums over one side alone, which is not written yet")
    lengths = {
        axis: size
        for term, name in zip(parts, node.inputs, strict=True)
        for axis, size in zip(term, writing.shape(name), strict=True)
    }
    tensors = []
    for term, name, order in ((left, node.inputs[0], [rows, summed]), (right, node.inputs[1], [summed, columns])):
        wanted = [*batch, *order[0], *order[1]]
        tensor = writing.get(name, tuple(term.index(axis) for axis in wanted))
        shape = [*(lengths[axis] for axis in batch), *(_joined(lengths, axes) for axes in order)]
        tensors.append(writing.draft.reshape(tensor, shape))
    shape = [*(lengths[axis] for axis in batch), _joined(lengths, rows), _joined(lengths, columns)]
    made = writing.draft.emit("BATCH_MATMUL", tensors, shape, "float32", adj_x=False, adj_y=False)
    order = [*batch, *rows, *columns]
    made = writing.draft.reshape(made, [lengths[axis] for axis in order])
    writing.give(node.outputs[0], made, tuple(answer.index(axis) for axis in order))


def _joined(lengths: Mapping[str, int], axes: list[str]) -> int:
    sizes = [lengths[axis] for axis in axes]
    return -1 if min(sizes, default=1) < 0 else int(np.prod(sizes, dtype=np.int64))


TABLE: Mapping[str, Write] = {"Gemm": _gemm, "MatMul": _product, "Einsum": _einsum}
_ = turned
