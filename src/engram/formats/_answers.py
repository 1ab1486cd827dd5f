"""What a model answers, computed stage by stage, as the yardstick that converted files are held against.

Preprocessing and network run in onnxruntime one after the other, and the answer is read off in numpy: a fault in
composing a graph, or in its head, would be invisible if both sides of a comparison were composed the same way.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

import numpy as np
from numpy import ndarray

from engram.formats import _onnxruntime
from engram.graphs.compose import classes
from engram.records import Model

__all__ = [
    "Answers", "Piece", "batch", "by_session", "by_stages", "joined", "pieces", "session", "stages", "tensors", "told",
]  # fmt: skip

Answers = dict[str, ndarray]
Piece = Mapping[str, ndarray]
_PIECES = (1, 7)


def by_stages(model: Model, inputs: Piece) -> Answers:
    """Every output of the network, and what the model makes of the first: label and probabilities, or value.

    Args:
        model: with a graph.
        inputs: raw, all rows at once; asked for in pieces.
    """
    return joined(told(model, each) for each in stages(model, pieces(model, inputs, batch(model))))


def by_session(model: Model, inputs: Piece) -> Answers:
    """The same from the composed graph, in the session that serves."""
    return joined(session(model, pieces(model, inputs, batch(model))))


def stages(model: Model, asked: Sequence[Piece]) -> list[Answers]:
    """Every output of the network for each piece of raw rows, computed stage by stage."""
    return _onnxruntime.stages(model, asked)


def session(model: Model, asked: Sequence[Piece]) -> list[Answers]:
    """The same from the composed graph, and what it makes of the first output."""
    return _onnxruntime.predict(model, asked)


def pieces(model: Model, inputs: Piece, fixed: int = 0) -> list[Piece]:
    """All rows in pieces of 1, 7 and the rest: small and odd batches are where graphs break.

    Both sides of a comparison are asked in the same pieces, because a first axis may be time, where a piece is no part
    of the whole.

    Args:
        model: an input whose first axis is not that of the first input is never divided.
        inputs: rows first.
        fixed: the rows that one of the two takes at once; 0 for any.
    """
    first, *_ = model.signature.inputs
    divided = {spec.name for spec in model.signature.inputs if spec.shape and spec.shape[:1] == first.shape[:1]}
    if not divided:
        return [inputs]
    rows = len(inputs[first.name])
    bounds = list(range(0, rows, fixed)) if fixed else [0, *np.cumsum(_PIECES).tolist()]
    bounds = [*(bound for bound in bounds if bound < rows), rows]
    return [
        {name: array[start:stop] if name in divided else array for name, array in inputs.items()}
        for start, stop in pairwise(bounds)
    ]


def joined(parts: Iterable[Answers]) -> Answers:
    """The answers for all rows, from those for the pieces.

    An output is joined along the axis in which its pieces differ, which need not be the first: a recurrent network may
    answer with time first.
    """
    known = list(parts)
    return {name: _one([np.atleast_1d(part[name]) for part in known]) for name in known[0]}


def _one(arrays: Sequence[ndarray]) -> ndarray:
    shapes = [array.shape for array in arrays]
    if len({len(shape) for shape in shapes}) == 1:
        differing = [axis for axis, lengths in enumerate(zip(*shapes, strict=True)) if len(set(lengths)) > 1]
        if len(differing) < 2:
            return np.concatenate(arrays, axis=(*differing, 0)[0])
    # rows against rows, say: every number in order, each piece behind its lengths so that another shape still shows
    flat = [(np.array(array.shape).astype(array.dtype), array.ravel()) for array in arrays]
    return np.concatenate([piece for pair in flat for piece in pair])


def told(model: Model, outputs: Answers) -> Answers:
    """Outputs of a network with what the model makes of the first: label and probabilities, or value.

    Args:
        model: its signature and labels tell what is made.
        outputs: by the names of the network; where the first is not among them, nothing is added. What the other
            program says of label and probabilities itself stays: it is what the file is held against.
    """
    found = {name: np.asarray(array) for name, array in outputs.items()}
    if model.signature.outputs[0].name not in found:
        return found
    own = {spec.name for spec in model.signature.outputs}
    return {**found, **_read_off(model, found), **{name: one for name, one in found.items() if name not in own}}


def tensors(model: Model, inputs: Piece) -> Piece:
    """What the network of a model takes, from raw inputs."""
    return _onnxruntime.prepare(model, [inputs])[0]


def batch(model: Model) -> int:
    """The number of rows a model takes at once; 0 for any."""
    first = model.signature.inputs[0].shape[:1]
    return first[0] if first and isinstance(first[0], int) else 0


def _read_off(model: Model, outputs: Answers) -> Answers:
    spec = model.signature.outputs[0]
    first, labels = outputs[spec.name], classes(model)
    if labels:
        chances = _chances(first.astype(np.float64), spec.kind)
        ranked = first if spec.kind in {"logits", "probabilities"} else chances
        names = np.array(labels, dtype=object)
        return {"label": names[ranked.argmax(axis=-1)], "probabilities": chances.astype(np.float32)}
    if spec.kind == "value":
        single = len(spec.shape) == 2 and spec.shape[1] == 1
        return {"value": (first[:, 0] if single else first).astype(np.float32)}
    return {}


def _chances(first: ndarray, kind: str) -> ndarray:
    """Probabilities, (rows, classes), from the network's first output.

    Source: Bishop 2006, Pattern Recognition and Machine Learning, 4.2.
    """
    if kind == "logits":
        raised = np.exp(first - first.max(axis=-1, keepdims=True))
        return np.asarray(raised / raised.sum(axis=-1, keepdims=True))
    if kind == "probabilities":
        return first
    column = first.reshape(-1, 1)
    second = 1 / (1 + np.exp(-column.clip(-700, 700))) if kind == "logit" else column
    return np.concatenate([1 - second, second], axis=1)
