"""Columns that go the same way go together: one chain of steps for a whole group of numbers.

A table of a thousand numbers with the same steps becomes a graph of five nodes on one wide array and not of five
thousand on narrow ones, which is what makes one row fast to answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy import ndarray

from engram.graphs.build import DOMAIN_ML, Builder, element_type
from engram.preprocessing import SHELF
from engram.preprocessing._columns import ColumnPlan

__all__ = ["Block", "apply", "arrange", "emit", "learn", "with_gaps"]

_LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True, slots=True)
class Block:
    """A fitted chain of steps.

    Attributes:
        kind: of its columns.
        columns: raw columns that go in, side by side.
        steps: name of the plug-in and what it learned, in order.
        names: of the features that come out; empty for images.
        gaps: raw values that mean a gap beside NaN and the empty word; the graph knows them, so that a row means the
            same wherever it is read.
    """

    kind: str
    columns: tuple[str, ...]
    steps: tuple[tuple[str, Any], ...]
    names: tuple[str, ...] = ()
    gaps: tuple[str, ...] | tuple[float, ...] = ()


def arrange(plans: Sequence[ColumnPlan]) -> list[tuple[ColumnPlan, ...]]:
    """Plans that share a chain: numbers with equal options together, every other column by itself.

    In the order of the first column of each.
    """
    grouped: dict[Any, list[ColumnPlan]] = {}
    for plan in plans:
        together = plan.kind in {"number", "boolean"}
        key = tuple((step.name, step.options) for step in plan.steps) if together else plan.name
        grouped.setdefault((together, key), []).append(plan)
    return [tuple(group) for group in grouped.values()]


def learn(plans: Sequence[ColumnPlan], columns: Mapping[str, ndarray]) -> Block:
    """The block of these plans, fitted on these training rows step by step."""
    values = _stacked(plans[0].kind, [columns[plan.name] for plan in plans])
    steps = []
    for step in plans[0].steps:
        module = SHELF.take(step.name)
        fitted = module.fit(values, step.options)
        values = module.transform(values, fitted)
        steps.append((step.name, fitted))
    return finished(plans, steps)


def finished(plans: Sequence[ColumnPlan], steps: Sequence[tuple[str, Any]]) -> Block:
    """The block of these plans with fitted steps and the names of its features."""
    names = [plan.name for plan in plans]
    for name, fitted in steps:
        names = SHELF.take(name).names(fitted, names)
    return Block(plans[0].kind, tuple(plan.name for plan in plans), tuple(steps), tuple(names))


def apply(block: Block, columns: Mapping[str, ndarray]) -> ndarray:
    """What the block makes of raw columns: float32 (rows, features), or (rows, channels, height, width)."""
    values = _stacked(block.kind, [columns[name] for name in block.columns])
    if block.gaps:
        values = np.where(np.isin(values, block.gaps), np.nan if _wide(block.kind) else "", values)
    for name, fitted in block.steps:
        values = SHELF.take(name).transform(values, fitted)
    return values if values.dtype == np.float32 else np.clip(values, -_LARGEST, _LARGEST).astype(np.float32)


def emit(block: Block, builder: Builder) -> str:
    """The block as nodes; the name of its float32 output.

    Numbers are cut at the largest float32 before they are cast: an absurd value that is served stays a number.
    """
    rest = len(block.columns) - 1
    builder.scope = f"{block.columns[0]}+{rest}" if rest else block.columns[0]
    value, wide = block.columns[0], _wide(block.kind)
    if wide:
        axis = builder.constant(np.array([1]))
        columns = [builder.node("Unsqueeze", name, axis) for name in block.columns]
        value = builder.node("Concat", *columns, axis=1) if rest else columns[0]
    if block.gaps:
        value = _emptied(block, builder, value)
    for name, fitted in block.steps:
        value = SHELF.take(name).nodes(fitted, builder, value)
    if wide or _ordinal(block):
        edges = builder.constant(np.float64(-_LARGEST)), builder.constant(np.float64(_LARGEST))
        value = builder.node("Cast", builder.node("Clip", value, *edges), to=element_type("float32"))
    return value


def with_gaps(block: Block, words: Sequence[str]) -> Block:
    """The block, which also takes these words for gaps; of a column of numbers those that are numbers."""
    if block.kind in {"category", "text"}:
        return replace(block, gaps=tuple(word for word in words if word))
    if block.kind == "number":
        return replace(block, gaps=tuple(number for word in words if (number := _number(word)) is not None))
    return block


def _number(word: str) -> float | None:
    try:
        number = float(word)
    except ValueError:
        return None
    return number if np.isfinite(number) else None


def _emptied(block: Block, builder: Builder, value: str) -> str:
    """The raw value with its words for a gap made into the gap itself."""
    if _wide(block.kind):
        found = [builder.node("Equal", value, builder.constant(np.float64(number))) for number in block.gaps]
        gap = found[0]
        for other in found[1:]:
            gap = builder.node("Or", gap, other)
        return builder.node("Where", gap, builder.constant(np.float64("nan")), value)
    ones = [1] * len(block.gaps)
    marked = builder.node(
        "LabelEncoder", value, domain=DOMAIN_ML, keys_strings=list(block.gaps), values_int64s=ones, default_int64=0
    )
    gap = builder.node("Cast", marked, to=element_type("bool"))
    return builder.node("Where", gap, builder.constant([""]), value)


def _stacked(kind: str, columns: Sequence[ndarray]) -> ndarray:
    return np.stack(columns, axis=1) if _wide(kind) else columns[0]


def _wide(kind: str) -> bool:
    """Whether the steps of this kind take (rows, columns)."""
    return kind in {"number", "boolean", "date"}


def _ordinal(block: Block) -> bool:
    return block.kind in {"category", "text"} and block.steps[0][1].method == "ordinal"
