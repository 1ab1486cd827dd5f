"""What is odd about a model, found by looking at its graph and its numbers.

None of it is forbidden: a hostile file is refused by its reader. These are the things that an engineer who is handed
a stranger's network would like to be told before trusting it.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy import ndarray

from engram.graphs.walk import RANDOM, Steps, steps
from engram.records import Model

__all__ = ["suspicions"]

_LARGE = 1e6
_FEW = 0.01
"""The share of denormal numbers that half precision has by chance stays below this."""
_SHOWN = 5
_STARTS_AT_ZERO = ("bias", "beta", "running_mean", "moving_mean", "num_batches_tracked")
_BRANCHING = frozenset({"If", "Loop", "Scan"})


def suspicions(model: Model) -> tuple[str, ...]:
    """One sentence for each thing that is odd; none for a model as they should be."""
    return (*_of_weights(model), *_alike(model), *_of_graph(model))


def _of_weights(model: Model) -> Iterator[str]:
    for name, array in model.weights.items():
        if array.dtype.kind in "OSU" or not array.size:
            continue
        plain = _floating(array)
        if plain is None:
            continue
        broken = int(np.count_nonzero(~np.isfinite(plain)))
        if broken:
            yield f"weight {name!r} holds {broken:,} numbers that are NaN or infinite"
        elif not plain.any():
            if array.ndim > 1 and not name.endswith(_STARTS_AT_ZERO):
                yield f"weight {name!r} {list(array.shape)} is zero throughout"
        elif (largest := float(np.abs(plain).max())) > _LARGE:
            yield f"weight {name!r} reaches {largest:.3g}, far outside of what training leaves"
        elif (small := _denormal(plain)) > plain.size * _FEW:
            yield f"weight {name!r} holds {small:,} numbers too small for all their digits (denormal)"
        elif array.ndim > 1 and (dead := _dead(plain)):
            yield f"weight {name!r} has {dead:,} of {len(plain):,} rows that are zero throughout: pruned, or dead"


def _floating(array: ndarray) -> ndarray | None:
    """Numbers that arithmetic of numpy knows; None for whole numbers."""
    if array.dtype.kind == "f":
        return array
    return array.astype(np.float32) if "float" in array.dtype.name else None


def _denormal(array: ndarray) -> int:
    return int(np.count_nonzero((array != 0) & (np.abs(array) < np.finfo(array.dtype).tiny)))


def _dead(array: ndarray) -> int:
    return int(np.count_nonzero(~array.reshape(len(array), -1).any(axis=1)))


def _alike(model: Model) -> Iterator[str]:
    """Large weights with the same bits: shared on purpose, or copied by mistake."""
    seen: dict[tuple[object, ...], str] = {}
    for name, array in model.weights.items():
        if array.ndim < 2 or array.dtype.kind == "O" or not array.any():
            continue
        key = (array.shape, array.dtype.name, hash(np.ascontiguousarray(array).tobytes()))
        other = seen.setdefault(key, name)
        if other != name:
            yield f"weights {other!r} and {name!r} are the same numbers"


def _of_graph(model: Model) -> Iterator[str]:
    if not model.graph:
        yield "it holds weights without a graph, so it cannot answer; give it the graph of a version with --graph"
        return
    known = steps(model.graph)
    nodes = list(_nodes(known))
    idle = [name for name in model.weights if name not in set(known.weights) and "num_batches" not in name]
    if idle:
        yield f"{len(idle):,} weights are read by nothing in the graph: {_some(idle)}"
    foreign = sorted({f"{domain}.{operator}" for operator, domain in nodes if domain not in {"", "ai.onnx.ml"}})
    if foreign:
        yield f"operators outside of the standard, which other runtimes may not have: {_some(foreign)}"
    kinds = {operator for operator, _ in nodes}
    if drawn := sorted(kinds & RANDOM):
        yield f"it draws numbers when asked ({', '.join(drawn)}), so that no two answers need to be alike"
    if branches := sorted(kinds & _BRANCHING):
        yield f"how long it computes depends on what it is asked ({', '.join(branches)}); its cost is not all counted"
    yield from _of_variances(model, known)
    yield from _of_labels(model)


def _of_variances(model: Model, known: Steps) -> Iterator[str]:
    for step in known.nodes:
        if step.operator == "BatchNormalization" and len(step.inputs) > 4:
            variance = model.weights.get(step.inputs[4])
            if variance is not None and bool((variance < 0).any()):
                yield f"the running variance {step.inputs[4]!r} is below zero in places, which no training leaves"


def _of_labels(model: Model) -> Iterator[str]:
    columns = {spec.shape[-1] for spec in model.signature.outputs if spec.shape and spec.kind != "logit"}
    count = len(model.labels)
    if count and len(model.signature.outputs) == 1 and columns and columns.isdisjoint({count, "?"}):
        (width,) = columns
        if isinstance(width, int):
            yield f"it has {count:,} labels, but its answer has {width:,} columns"


def _nodes(known: Steps) -> Iterator[tuple[str, str]]:
    for step in known.nodes:
        yield step.operator, step.domain
        for value in step.attributes.values():
            if isinstance(value, Steps):
                yield from _nodes(value)


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
