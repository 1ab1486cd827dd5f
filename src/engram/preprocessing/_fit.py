"""Plans fitted on the training part, as one graph from raw columns to tensors.

Only the part ``train`` is read, so that nothing of validation and test leaks into what the network sees. The graph is
the truth; ``transform`` says the same in numpy, to check it by.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy import ndarray

from engram.errors import DataError
from engram.graphs.build import Builder
from engram.preprocessing import image
from engram.preprocessing._blocks import Block, apply, arrange, emit, finished, learn, with_gaps
from engram.preprocessing._columns import ColumnPlan
from engram.preprocessing._gather import pictures, together
from engram.preprocessing._statistics import of_images, of_numbers, of_words
from engram.records import Dataset, Part, TensorSpec

__all__ = ["Preprocessing", "fit", "transform"]

_SECONDS = "seconds since 1970-01-01T00:00Z"


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """What was learned from the training rows about raw columns.

    Attributes:
        graph: canonical ONNX from raw columns to the network's inputs (serialized ModelProto).
        inputs: one a raw column that is looked at, in the order of the data.
        outputs: ``features`` (batch, width) where there are numbers, words or dates, and ``image`` (batch, channels,
            height, width) for each column of pictures; ``network_`` stands in front where a raw column has the name.
        statistics: per raw input, what training saw (plain JSON values).
        plans: of all columns, also of those ignored.
        features: the name of each column of ``features``.
        blocks: the fitted steps.
    """

    graph: bytes
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    statistics: Mapping[str, Any]
    plans: tuple[ColumnPlan, ...]
    features: tuple[str, ...] = ()
    blocks: tuple[Block, ...] = ()


def fit(dataset: Dataset, plans: Sequence[ColumnPlan]) -> Preprocessing:
    """The plans, fitted on the part ``train`` in pieces; same rows, same bytes.

    Raises:
        DataError: every column is ignored, or there are no training rows.
    """
    part, used = dataset.parts["train"], [plan for plan in plans if plan.steps]
    if not used or not len(part):
        lacking = "every column is ignored" if not used else "there are no training rows"
        raise DataError(f"{dataset.origin or 'the data'}: {lacking}, so there is nothing to learn from; see [columns]")
    tables, images = _fit_table(part, used), _fit_pictures(part, used)
    blocks = (*(with_gaps(block, dataset.gaps) for block in tables[0]), *images[0])
    statistics = tables[1] | images[1]
    channels = {name: statistics[name]["channels"] for name in images[1]}
    inputs = tuple(_raw(plan, channels.get(plan.name, 0)) for plan in used)
    outputs = _outputs(blocks, {spec.name for spec in inputs})
    ordered = {spec.name: statistics[spec.name] for spec in inputs}
    features = tuple(name for block in tables[0] for name in block.names)
    return Preprocessing(_graph(inputs, outputs, blocks), inputs, outputs, ordered, tuple(plans), features, blocks)


def transform(preprocessing: Preprocessing, columns: Mapping[str, ndarray]) -> dict[str, ndarray]:
    """What the graph makes of raw columns, in numpy: output → float32 (rows, …)."""
    made = {}
    for spec, blocks in _shares(preprocessing.outputs, preprocessing.blocks):
        parts = [apply(block, columns) for block in blocks]
        made[spec.name] = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)
    return made


def _fit_table(part: Part, plans: Sequence[ColumnPlan]) -> tuple[list[Block], dict[str, Any]]:
    used = [plan for plan in plans if plan.kind != "image"]
    columns = together(part, [plan.name for plan in used]) if used else {}
    statistics = {plan.name: _statistics(plan.kind, columns[plan.name]) for plan in used}
    return [learn(group, columns) for group in arrange(used)], statistics


def _fit_pictures(part: Part, plans: Sequence[ColumnPlan]) -> tuple[list[Block], dict[str, Any]]:
    used = [plan for plan in plans if plan.kind == "image"]
    if not used:
        return [], {}
    moments = {plan.name: image.Moments() for plan in used}
    shapes: dict[str, Counter[tuple[int, ...]]] = {plan.name: Counter() for plan in used}
    for chunk in pictures(part, [plan.name for plan in used]):
        for plan in used:
            values = chunk[plan.name]
            moments[plan.name] += image.measure(values, plan.steps[0].options)
            shapes[plan.name].update(picture.shape for picture in values)
    blocks = []
    for plan in used:
        fitted = image.settle(moments[plan.name], plan.steps[0].options)
        blocks.append(finished([plan], [("image", fitted)]))
    return blocks, {plan.name: of_images(shapes[plan.name], moments[plan.name]) for plan in used}


def _statistics(kind: str, values: ndarray) -> dict[str, Any]:
    return of_words(kind, values) if kind in {"category", "text"} else of_numbers(kind, values)


def _raw(plan: ColumnPlan, channels: int) -> TensorSpec:
    if plan.kind == "image":
        return TensorSpec(plan.name, "uint8", ("batch", "height", "width", channels), kind="image")
    if plan.kind in {"category", "text"}:
        return TensorSpec(plan.name, "string", ("batch",), kind=plan.kind)
    return TensorSpec(plan.name, "float64", ("batch",), _SECONDS if plan.kind == "date" else "", plan.kind)


def _outputs(blocks: Sequence[Block], taken: set[str]) -> tuple[TensorSpec, ...]:
    """The tensors that are made; ONNX forbids that one is named as a raw column is."""
    width = sum(len(block.names) for block in blocks if block.kind != "image")
    wanted: list[tuple[str, tuple[int, ...]]] = [("features", (width,))] if width else []
    wanted += [("image", block.steps[0][1].shape) for block in blocks if block.kind == "image"]
    made: list[TensorSpec] = []
    for base, shape in wanted:
        name = base
        while name in taken:
            name = f"network_{name}"
        taken = taken | {name}
        kind = "image" if base == "image" else "tensor"
        made.append(TensorSpec(name, "float32", ("batch", *shape), kind=kind))
    return tuple(made)


def _shares(outputs: Sequence[TensorSpec], blocks: Sequence[Block]) -> list[tuple[TensorSpec, list[Block]]]:
    """Each output with the blocks that make it: all of the table, or one column of pictures."""
    table = [block for block in blocks if block.kind != "image"]
    shares = [table] if table else []
    shares += [[block] for block in blocks if block.kind == "image"]
    return list(zip(outputs, shares, strict=True))


def _graph(inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], blocks: Sequence[Block]) -> bytes:
    builder = Builder(inputs, name="preprocessing")
    for spec, share in _shares(outputs, blocks):
        made = [emit(block, builder) for block in share]
        if len(made) == 1:
            builder.node("Identity", made[0], name=spec.name)
        else:
            builder.node("Concat", *made, axis=1, name=spec.name)
    return builder.finish(outputs)
