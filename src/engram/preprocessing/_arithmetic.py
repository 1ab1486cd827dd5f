"""Whole-number formulas that are written once and run twice: on arrays, and as nodes of a graph.

A ``Wire`` answers to ``+ - * // %`` as an int64 array does, and adds a node for each. ``//`` of ONNX cuts off towards
zero where numpy goes down, so both sides of a division must not be negative.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from engram.graphs.build import Builder

__all__ = ["Wire"]


@dataclass(frozen=True, slots=True)
class Wire:
    """A value of a graph in the making that can be calculated with."""

    builder: Builder
    name: str

    def __add__(self, other: Wire | int) -> Wire:
        return self._with("Add", other)

    def __sub__(self, other: Wire | int) -> Wire:
        return self._with("Sub", other)

    def __mul__(self, other: Wire | int) -> Wire:
        return self._with("Mul", other)

    def __floordiv__(self, other: Wire | int) -> Wire:
        return self._with("Div", other)

    def __mod__(self, other: Wire | int) -> Wire:
        return self._with("Mod", other)

    def _with(self, kind: str, other: Wire | int) -> Wire:
        right = other.name if isinstance(other, Wire) else self.builder.constant(np.int64(other))
        return Wire(self.builder, self.builder.node(kind, self.name, right))
