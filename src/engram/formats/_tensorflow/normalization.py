"""Seeing a batch normalization in the eight operations that TensorFlow spells it out in.

``tf.nn.batch_normalization`` writes ``x · m + (β − μ · m)`` with ``m = γ / √(σ² + ε)``. In the new graph it stays one
node, because a graph that is trained again must know its running mean and variance for what they are.
"""

from __future__ import annotations

import numpy as np

from engram.formats._tensorflow.call import Call
from engram.formats._tensorflow.values import Tensor, Value

__all__ = ["channels_second", "normalized", "recognized"]


def recognized(call: Call) -> Tensor | None:
    """The normalization that this addition completes; None where it is an addition like any other."""
    if call.node.operation not in {"Add", "AddV2", "Sub"}:
        return None
    product, offset = call.tensor(0), call.tensor(1)
    found = _made(product, "Mul")
    if found is None:
        return None
    value, factor = found
    scaled = _factor(factor)
    shifted = _offset(offset, factor, negative=call.node.operation == "Sub")
    if scaled is None or shifted is None or not isinstance(value, Tensor) or value.rank < 2:
        return None
    variance, epsilon, gamma = scaled
    mean, beta = shifted
    vectors = [part for part in (variance, gamma, mean, beta) if part is not None]
    count = value.shape[-1] if value.shape else None
    if any(_flat(part) != count for part in vectors) or not isinstance(count, int):
        return None
    ready = [None if part is None else _vector(call, part) for part in (gamma, beta, mean, variance)]
    return normalized(call, value, ready, epsilon, count)


def normalized(call: Call, value: Tensor, vectors: list[Tensor | None], epsilon: float, count: int) -> Tensor:
    """The node; a missing scale is ones and a missing offset zeros.

    Args:
        call: of the operation.
        value: channels last.
        vectors: scale, offset, mean and variance.
        epsilon: what is added to the variance.
        count: of channels.
    """
    neutral = (1, 0, 0, 1)
    filled = [
        call.nodes.name(part) if part is not None else call.nodes.constant(np.full(count, neutral[i], value.dtype)).name
        for i, part in enumerate(vectors)
    ]
    stored, turn = channels_second(call, value)
    made = call.nodes.emit("BatchNormalization", stored.name, *filled, epsilon=epsilon, momentum=0.99)
    return call.nodes.turned(made, turn) if turn else made


def channels_second(call: Call, value: Tensor) -> tuple[Tensor, tuple[int, ...]]:
    """A value with channels last as it lies with channels second, and the transposition then owed."""
    rank = value.rank
    if rank < 3:
        return call.nodes.settled(value), ()
    wanted = (0, *range(2, rank), 1)
    if value.turn == wanted:
        return call.nodes.stored(value), wanted
    back = (0, rank - 1, *range(1, rank - 1))
    settled = call.nodes.settled(value)
    return call.nodes.emit("Transpose", settled.name, perm=list(back)), wanted


def _made(value: Value, operation: str) -> tuple[Value, Value] | None:
    """What went into the operation that made a value, if it was this one."""
    if not isinstance(value, Tensor) or value.origin is None:
        return None
    made, inputs, _ = value.origin
    return (inputs[0], inputs[1]) if made == operation and len(inputs) == 2 else None


def _factor(factor: Value) -> tuple[Tensor, float, Tensor | None] | None:
    """Variance, epsilon and scale."""
    found = _made(factor, "Mul")
    gamma: Value | None = None
    root: Value = factor
    if found is not None:
        root, gamma = found
    if not isinstance(root, Tensor) or root.origin is None or root.origin[0] != "Rsqrt":
        return None
    added = _made(root.origin[1][0], "AddV2") or _made(root.origin[1][0], "Add")
    if added is None or (gamma is not None and not isinstance(gamma, Tensor)):
        return None
    variance, epsilon = added
    if not isinstance(variance, Tensor) or not isinstance(epsilon, Tensor) or epsilon.constant is None:
        return None
    if epsilon.constant.size != 1:
        return None
    return variance, float(f"{float(epsilon.constant.reshape(-1)[0]):.7g}"), gamma


def _offset(offset: Tensor, factor: Value, *, negative: bool) -> tuple[Tensor, Tensor | None] | None:
    """Mean and offset; an addition of ``-μ·m`` is written as a negation, or as a subtraction of ``μ·m``."""
    beta: Value | None = None
    product: Value = offset
    if not negative:
        if offset.origin is None:
            return None
        kind, inputs, _ = offset.origin
        if kind == "Sub":
            beta, product = inputs[0], inputs[1]
        elif kind == "Neg":
            product = inputs[0]
        else:
            return None
    found = _made(product, "Mul")
    if found is None or found[1] is not factor or not isinstance(found[0], Tensor):
        return None
    return (found[0], beta) if beta is None or isinstance(beta, Tensor) else None


def _flat(value: Tensor) -> int | None:
    """The length of a vector that lies along the last axis."""
    if not value.shape or any(axis != 1 for axis in value.shape[:-1]) or not isinstance(value.shape[-1], int):
        return None
    return value.shape[-1]


def _vector(call: Call, value: Tensor) -> Tensor:
    if value.rank == 1:
        return value
    return call.nodes.emit("Reshape", call.nodes.name(value), call.nodes.constant([-1], "int64").name)
