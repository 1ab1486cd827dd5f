"""What a model answers, computed stage by stage, as the yardstick that converted files are held against.

Preprocessing and network run in onnxruntime one after the other, and the answer is read off in numpy: a fault in
composing a graph, or in its head, would be invisible if both sides of a comparison were composed the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise

import numpy as np
import onnx
from numpy import ndarray

from engram.errors import EngramError
from engram.graphs.compose import classes
from engram.graphs.weights import attach
from engram.records import Model
from engram.runtime import onnxruntime

__all__ = ["Answers", "batch", "by_function", "by_session", "by_stages", "first_difference", "in_pieces"]

Answers = dict[str, ndarray]
_PIECES = (1, 7)


def by_stages(model: Model, inputs: Mapping[str, ndarray]) -> Answers:
    """Every output of the network, and what the model makes of the first: label and probabilities, or value.

    Args:
        model: with a graph.
        inputs: raw, all rows at once.
    """
    network = attach(model.graph, model.weights).SerializeToString()
    return by_function(model, inputs, lambda piece: onnxruntime.run(network, _tensors(model, piece)))


def by_function(
    model: Model, inputs: Mapping[str, ndarray], ask: Callable[[Mapping[str, ndarray]], Mapping[str, ndarray]]
) -> Answers:
    """The same, where the outputs of the network come from anywhere.

    Args:
        model: its signature and labels tell what is made of the outputs.
        inputs: raw, all rows at once.
        ask: raw inputs → outputs of the network by name, or answers in whatever names.
    """

    def read_off(piece: Mapping[str, ndarray]) -> Answers:
        outputs = {name: np.asarray(array) for name, array in ask(piece).items()}
        known = model.signature.outputs[0].name in outputs
        return {**outputs, **(_read_off(model, outputs) if known else {})}

    return in_pieces(read_off, model, inputs)


def by_session(model: Model, inputs: Mapping[str, ndarray]) -> Answers:
    """The same from the composed graph, in the session that serves."""
    session = onnxruntime.open(model)

    def ask(piece: Mapping[str, ndarray]) -> Answers:
        found = session.predict(piece)
        answers = {"label": found.labels, "probabilities": found.probabilities, "value": found.values}
        return {**found.outputs, **{name: array for name, array in answers.items() if array is not None}}

    return in_pieces(ask, model, inputs)


def in_pieces(
    ask: Callable[[Mapping[str, ndarray]], Mapping[str, ndarray]], model: Model, inputs: Mapping[str, ndarray]
) -> Answers:
    """Answers for all rows, asked for in pieces of 1, 7 and the rest: small and odd batches are where graphs break.

    Both sides of a comparison are asked in the same pieces, because a first axis may be time, where a piece is no part
    of the whole.

    Args:
        ask: raw inputs → answers.
        model: a fixed batch is kept; an input whose first axis is not that of the first input is never divided.
        inputs: rows first.
    """
    first, *_ = model.signature.inputs
    divided = {spec.name for spec in model.signature.inputs if spec.shape and spec.shape[:1] == first.shape[:1]}
    if not divided:
        return dict(ask(inputs))
    rows, fixed = len(inputs[first.name]), batch(model)
    bounds = list(range(0, rows, fixed)) if fixed else [0, *np.cumsum(_PIECES).tolist()]
    bounds = [*(bound for bound in bounds if bound < rows), rows]
    parts = [
        ask({name: array[start:stop] if name in divided else array for name, array in inputs.items()})
        for start, stop in pairwise(bounds)
    ]
    return {name: np.concatenate([np.atleast_1d(part[name]) for part in parts]) for name in parts[0]}


def batch(model: Model) -> int:
    """The number of rows a model takes at once; 0 for any."""
    first = model.signature.inputs[0].shape[:1]
    return first[0] if first and isinstance(first[0], int) else 0


def first_difference(original: Model, converted: Model, inputs: Mapping[str, ndarray], tolerance: float) -> str:
    """The first node, in order of computation, at which two networks part; empty where that cannot be told."""
    try:
        one, other = (_everything(model, inputs) for model in (original, converted))
    except (EngramError, onnx.checker.ValidationError):
        return ""
    for name, array in one.items():
        if array.dtype.kind != "f" or name not in other or array.shape != other[name].shape:
            continue
        if not np.allclose(other[name], array, rtol=tolerance, atol=tolerance, equal_nan=True):
            return name
    return ""


def _everything(model: Model, inputs: Mapping[str, ndarray]) -> Answers:
    """Every value inside the network, in order of computation."""
    whole = attach(model.graph, model.weights)
    names = [name for node in whole.graph.node for name in node.output if name and node.op_type != "Constant"]
    del whole.graph.output[:]
    whole.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    found = onnxruntime.run(whole.SerializeToString(), _tensors(model, inputs))
    return {name: found[name] for name in names}


def _tensors(model: Model, inputs: Mapping[str, ndarray]) -> Mapping[str, ndarray]:
    return onnxruntime.preprocess(model.preprocessing, inputs) if model.preprocessing else inputs


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
