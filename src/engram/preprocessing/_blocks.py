"""Columns that go the same way go together: one chain of steps for a whole group of numbers.

A table of a thousand numbers with the same steps becomes a graph of five nodes on one wide array and not of five
thousand on narrow ones, which is what makes one row fast to answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy import ndarray

from engram.graphs.build import Builder, element_type
from engram.preprocessing import SHELF
from engram.preprocessing._columns import ColumnPlan

__all__ = ["Block", "apply", "arrange", "emit", "learn"]

_LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True, slots=True)
class Block:
    """A fitted chain of steps.

    Attributes:
        kind: of its columns.
        columns: raw columns that go in, side by side.
        steps: name of the plug-in and what it learned, in order.
        names: of the features that come out; empty for images.
    """

    kind: str
    columns: tuple[str, ...]
    steps: tuple[tuple[str, Any], ...]
    names: tuple[str, ...] = ()


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
    for name, fitted in block.steps:
        value = SHELF.take(name).nodes(fitted, builder, value)
    if wide or _ordinal(block):
        edges = builder.constant(np.float64(-_LARGEST)), builder.constant(np.float64(_LARGEST))
        value = builder.node("Cast", builder.node("Clip", value, *edges), to=element_type("float32"))
    return value


def _stacked(kind: str, columns: Sequence[ndarray]) -> ndarray:
    return np.stack(columns, axis=1) if _wide(kind) else columns[0]


def _wide(kind: str) -> bool:
    """Whether the steps of this kind take (rows, columns)."""
    return kind in {"number", "boolean", "date"}


def _ordinal(block: Block) -> bool:
    return block.kind in {"category", "text"} and block.steps[0][1].method == "ordinal"
