"""Which subgraphs call which, and that no call comes back to itself.

LiteRT follows such a ring until its stack ends; and two calls in each of forty subgraphs are a trillion. So rings are
refused, and operators are counted as if every call were written out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from engram.errors import FormatError
from engram.formats._tflite.parts import Operator, Subgraph
from engram.records import Limits

__all__ = ["called", "check_calls"]

_CALLS: Mapping[str, tuple[str, ...]] = {
    "CALL": ("subgraph",),
    "CALL_ONCE": ("init_subgraph_index",),
    "IF": ("then_subgraph_index", "else_subgraph_index"),
    "WHILE": ("cond_subgraph_index", "body_subgraph_index"),
}


def called(operator: Operator) -> tuple[int, ...]:
    """The numbers of the subgraphs an operator calls."""
    return tuple(int(operator.options.get(name, 0)) for name in _CALLS.get(operator.kind, ()))


def check_calls(subgraphs: Sequence[Subgraph], name: str, limits: Limits) -> None:
    """Refuse rings, depth and sheer number.

    Raises:
        FormatError: a call leads outside, back to itself, or too deep.
    """
    totals: dict[int, int] = {}
    depths: dict[int, int] = {}
    for number in _callees_first(subgraphs, name):
        calls = [(operator, called(operator)) for operator in subgraphs[number].operators]
        totals[number] = sum(1 + sum(totals[callee] for callee in callees) for _, callees in calls)
        depths[number] = 1 + max((depths[callee] for _, callees in calls for callee in callees), default=0)
    total, depth = max(totals.values(), default=0), max(depths.values(), default=0)
    if total > limits.nodes:
        raise FormatError(
            f"{name}: has {total:,} operators once written out, but at most {limits.nodes:,} are accepted"
        )
    if depth > limits.nesting:
        raise FormatError(f"{name}: subgraphs call each other {depth} deep, but at most {limits.nesting} are accepted")


def _callees_first(subgraphs: Sequence[Subgraph], name: str) -> list[int]:
    waiting: list[set[int]] = []
    callers: dict[int, list[int]] = {}
    for number, graph in enumerate(subgraphs):
        callees = {callee for operator in graph.operators for callee in called(operator)}
        outside = [callee for callee in callees if not 0 <= callee < len(subgraphs)]
        if outside:
            raise FormatError(f"{name}: subgraph {number} calls subgraph {outside[0]}, but there are {len(subgraphs)}")
        waiting.append(callees)
        for callee in callees:
            callers.setdefault(callee, []).append(number)
    ready = [number for number, callees in enumerate(waiting) if not callees]
    order = []
    while ready:
        number = ready.pop()
        order.append(number)
        for caller in callers.get(number, []):
            waiting[caller].discard(number)
            if not waiting[caller]:
                ready.append(caller)
    if len(order) < len(subgraphs):
        raise FormatError(f"{name}: subgraph {min(set(range(len(subgraphs))) - set(order))} calls itself")
    return order
