"""Bounds on what a stranger's graph may take while it runs in this process.

A graph of a hundred bytes may ask for 2^60 rounds of a loop. Nodes are counted, and what a node is about to make is
reckoned before it is computed, because torch either takes the memory or ends the process.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from engram.errors import FormatError
from engram.graphs.walk import Step
from engram.runtime._torch.call import Call, Value
from engram.runtime._torch.reckoning import reckoned, size

__all__ = ["Bounds", "Meter"]


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a run may take.

    Attributes:
        nodes: computed, rounds of loops counted each.
        memory: bytes of all values that are alive at one time, weights aside.
    """

    nodes: int = 10_000_000
    memory: int = 2**32


class Meter:
    """What one run has taken so far."""

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds
        self.nodes = 0
        self.alive = 0

    def before(self, call: Call, read: list[Value]) -> None:
        """Count a node, and refuse it where what it makes would not fit.

        Raises:
            FormatError: a bound is passed; the node and the bound are named.
        """
        self.nodes += 1
        if self.nodes > self.bounds.nodes:
            raise FormatError(
                f"node {call.step.title!r} ({call.step.operator}) is the one after {self.bounds.nodes:,} computed "
                "nodes, the bound of this run; raise Bounds(nodes=…) if the graph is trusted"
            )
        self._room(call.step, reckoned(call, read))

    def after(self, call: Call, writes: Sequence[int], frees: Sequence[int], values: Sequence[Value]) -> None:
        """Count what a node made, and forget what nobody reads any more.

        Args:
            call: the node.
            writes, frees: places of what it made, and of what is let go after it.
            values: by place.

        Raises:
            FormatError: the values that are alive take more than the bound.
        """
        self.keep(call, [values[place] for place in writes if place >= 0])
        self.alive -= sum(size(values[place]) for place in frees)

    def keep(self, call: Call, value: Value) -> None:
        """Count a value that stays.

        Raises:
            FormatError: the values that are alive take more than the bound.
        """
        taken = size(value)
        self._room(call.step, taken)
        self.alive += taken

    def _room(self, step: Step, more: float) -> None:
        if self.alive + more > self.bounds.memory:
            raise FormatError(
                f"node {step.title!r} ({step.operator}) would take the values of this graph to "
                f"{self.alive + more:,.0f} bytes, but the bound is {self.bounds.memory:,}; ask fewer rows at a time, "
                "or raise Bounds(memory=…) if the graph is trusted"
            )
