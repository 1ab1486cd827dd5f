"""Calls, branches and loops.

A loop is first held against the cells that networks are made of; what is none of them becomes a loop of ONNX. Shapes
that change from round to round are found by walking the body until they no longer surprise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from onnx import helper

from engram.formats._tensorflow import recurrent
from engram.formats._tensorflow.call import Call, Readers
from engram.formats._tensorflow.graph import Body
from engram.formats._tensorflow.invariants import unchanged
from engram.formats._tensorflow.nodes import Scope
from engram.formats._tensorflow.read_lists import filled
from engram.formats._tensorflow.values import Axis, Items, Listing, Tensor, Value

__all__ = ["READERS"]

_ROUNDS = 4


def _call(call: Call) -> Items:
    return call.trace.call(call.trace.program.called(call.node.function("f"), call.node), call.inputs)


def _if(call: Call) -> Items:
    condition, inputs = call.tensor(0), call.inputs[1:]
    branches = [call.trace.program.called(call.node.function(key), call.node) for key in ("then_branch", "else_branch")]
    if condition.constant is not None:
        return call.trace.call(branches[0 if bool(condition.constant) else 1], inputs)
    truth = condition if condition.dtype == "bool" else call.cast(condition, "bool")
    graphs, results = [], []
    for body in branches:
        with call.nodes.scope() as scope:
            made = _own(call, _tensors(call, call.trace.call(body, inputs)), scope)
            infos = [call.nodes.value_info(value) for value in made]
            graphs.append(helper.make_graph(scope.nodes, body.name or "branch", [], infos))
            results.append(made)
    outputs = [call.nodes.unique("if") for _ in results[0]]
    types = {
        name: (one.dtype, _common(one.shape, other.shape)) for name, one, other in zip(outputs, *results, strict=True)
    }
    name = call.nodes.name(truth)
    node = helper.make_node("If", [name], outputs, name=outputs[0], then_branch=graphs[0], else_branch=graphs[1])
    return call.nodes.inner(node, types)


def _while(call: Call) -> Items:
    condition, body = (call.trace.program.called(call.node.function(key), call.node) for key in ("cond", "body"))
    found = recurrent.recognized(call, condition, body)
    return found if found is not None else _loop(call, condition, body)


@dataclass(frozen=True, slots=True)
class _Round:
    """A body that was walked once.

    Attributes:
        graph: the body.
        results: what it hands to the next round.
    """

    graph: object
    results: tuple[Tensor, ...]


def _loop(call: Call, condition: Body, body: Body) -> Items:
    fixed = unchanged(body)
    carried = [place for place in range(len(call.inputs)) if place not in fixed]
    start = _started(call, body, carried)
    first = call.trace.call(condition, call.inputs)[0]
    shapes: list[tuple[Axis | None, ...] | None] = [value.shape for value in start]
    for _ in range(_ROUNDS):
        walked = _walked(call, (condition, body), carried, start, shapes)
        settled = [_common(shape, value.shape) for shape, value in zip(shapes, walked.results, strict=True)]
        if settled == shapes:
            break
        shapes = settled
    outputs = [call.nodes.unique("loop") for _ in carried]
    types = {name: (value.dtype, shape) for name, value, shape in zip(outputs, start, shapes, strict=True)}
    assert isinstance(first, Tensor)
    given = ["", call.nodes.name(first), *(call.nodes.name(value) for value in start)]
    node = helper.make_node("Loop", given, outputs, name=outputs[0], body=walked.graph)
    made = call.nodes.inner(node, types)
    results: list[Value] = list(call.inputs)
    for place, value in zip(carried, made, strict=True):
        before = call.inputs[place]
        if isinstance(before, Listing):
            results[place] = replace(before, items=value, shape=value.shape[1:] if value.shape else None)
        else:
            results[place] = value
    return tuple(results)


def _started(call: Call, body: Body, carried: Sequence[int]) -> list[Tensor]:
    """What a loop starts with; lists that are empty take the shape of what the first round puts in."""
    empty = [place for place in carried if isinstance(found := call.inputs[place], Listing) and found.items is None]
    shapes: dict[int, tuple[Axis, ...]] = {}
    if empty:
        with call.nodes.scope():
            tried = call.trace.call(body, call.inputs)
        for place in empty:
            made = tried[place]
            if not isinstance(made, Listing) or made.shape is None:
                raise call.refused("fills a list with what has no known shape")
            shapes[place] = made.shape
    start = []
    for place in carried:
        value = call.inputs[place]
        if isinstance(value, Listing):
            value = filled(call, value, shapes.get(place, ()))
        if not isinstance(value, Tensor):
            raise call.refused("carries a handle from round to round")
        start.append(call.nodes.settled(value))
    return start


def _walked(
    call: Call,
    bodies: tuple[Body, Body],
    carried: Sequence[int],
    start: Sequence[Tensor],
    shapes: Sequence[tuple[Axis | None, ...] | None],
) -> _Round:
    """The body walked with values of these types."""
    condition, body = bodies
    with call.nodes.scope() as scope:
        count = call.nodes.input("iteration", "int64", ())
        going = call.nodes.input("going", "bool", ())
        given = [call.nodes.input("carried", value.dtype, shape) for value, shape in zip(start, shapes, strict=True)]
        arguments: list[Value] = list(call.inputs)
        for place, value in zip(carried, given, strict=True):
            before = call.inputs[place]
            arguments[place] = replace(before, items=value) if isinstance(before, Listing) else value
        after = call.trace.call(body, arguments)
        for place in carried:
            arguments[place] = after[place]
        more = call.trace.call(condition, arguments)[0]
        results = _own(call, _tensors(call, [more, *(after[place] for place in carried)]), scope)
        infos = [call.nodes.value_info(value) for value in (count, going, *given)]
        graph = helper.make_graph(scope.nodes, body.name or "body", infos, [call.nodes.value_info(v) for v in results])
    return _Round(graph, tuple(results[1:]))


def _tensors(call: Call, values: Sequence[Value]) -> list[Tensor]:
    made = []
    for value in values:
        found = value.items if isinstance(value, Listing) else value
        if not isinstance(found, Tensor):
            raise call.refused("hands on what is no tensor")
        made.append(call.nodes.settled(found))
    return made


def _own(call: Call, values: Sequence[Tensor], scope: Scope) -> list[Tensor]:
    """The values as results of an inner graph, which must be made by a node of that graph and stand once."""
    inside = {name for node in scope.nodes for name in node.output}
    seen: set[str] = set()
    made = []
    for value in values:
        if value.name not in inside or value.name in seen:
            value = replace(value, name=call.nodes.named(value, value.name))  # noqa: PLW2901 - the same value, renamed
        seen.add(value.name)
        made.append(value)
    return made


def _common(
    one: tuple[Axis | None, ...] | None, other: tuple[Axis | None, ...] | None
) -> tuple[Axis | None, ...] | None:
    """The shape that both have; None for an axis in which they differ."""
    if one is None or other is None or len(one) != len(other):
        return None
    return tuple(a if a == b else None for a, b in zip(one, other, strict=True))


def _no_op(_: Call) -> Items:
    return ()


READERS: Readers = {
    "If": _if,
    "NoOp": _no_op,
    "PartitionedCall": _call,
    "StatefulPartitionedCall": _call,
    "StatelessIf": _if,
    "StatelessWhile": _while,
    "While": _while,
}
