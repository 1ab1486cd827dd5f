"""Chains of nodes that torch computes in one kernel, found before a graph is planned.

ONNX writes a dense layer over steps as Transpose, MatMul and Add; attention as two products with a Softmax between; a
Swish in two nodes; an LSTM of torch behind Split and Concat of its parameters. In one kernel each they are as fast as
the network that was exported, and round as it does. What a chain makes on the way must be read by the chain alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from engram.graphs.walk import Step, Steps
from engram.runtime._torch.recurrent import ORDERS

__all__ = ["fused"]

_DOMAIN = "engram.torch"


@dataclass(frozen=True, slots=True)
class _Graph:
    """A graph as its chains are looked for.

    Attributes:
        makers: value → the node that makes it.
        readers: value → how many inputs and outputs it is.
        known: the graph itself.
    """

    makers: Mapping[str, Step]
    readers: Mapping[str, int]
    known: Steps

    def maker(self, name: str, kind: str) -> Step | None:
        """The node of this kind that makes a value which nobody else reads."""
        step = self.makers.get(name)
        return step if step and step.operator == kind and not step.domain and self.readers[name] == 1 else None

    def source(self, name: str, kind: str) -> Step | None:
        """The same, whoever else reads the value."""
        step = self.makers.get(name)
        return step if step and step.operator == kind and not step.domain else None


def fused(known: Steps) -> Steps:
    """The same graph with such chains as single nodes of the domain ``engram.torch``."""
    for find in (_dense, _attention, _swish, _rounded, _recurrent):
        known = _replaced(known, find)
    return known


def _replaced(known: Steps, find: Callable[[Step, _Graph], Step | None]) -> Steps:
    makers = {name: step for step in known.nodes for name in step.outputs if name}
    graph = _Graph(makers, Counter(_reads(known)), known)
    nodes = [_inside(_found(step, graph, find) or step, find) for step in known.nodes]
    if all(new is old for new, old in zip(nodes, known.nodes, strict=True)):
        return known
    wanted, kept = set(known.outputs), []
    for step in reversed(nodes):
        if any(name in wanted for name in step.outputs if name) or not any(step.outputs):
            wanted.update(step.inputs)
            wanted.update(name for inner in _graphs(step) for name in _reads(inner))
            kept.append(step)
    return replace(known, nodes=tuple(reversed(kept)))


def _found(step: Step, graph: _Graph, find: Callable[[Step, _Graph], Step | None]) -> Step | None:
    try:
        return find(step, graph)
    except (IndexError, ValueError):
        return None  # a node of too few inputs is refused when it is planned


def _inside(step: Step, find: Callable[[Step, _Graph], Step | None]) -> Step:
    if not any(True for _ in _graphs(step)):
        return step
    inner = {name: _replaced(v, find) if isinstance(v, Steps) else v for name, v in step.attributes.items()}
    return replace(step, attributes=inner)


def _graphs(step: Step) -> Iterator[Steps]:
    return (value for value in step.attributes.values() if isinstance(value, Steps))


def _reads(known: Steps) -> Iterator[str]:
    """Every reading of a value, also from graphs within."""
    yield from known.outputs
    for step in known.nodes:
        yield from step.inputs
        for inner in _graphs(step):
            yield from _reads(inner)


def _dense(step: Step, graph: _Graph) -> Step | None:
    """X @ transposed weight + bias."""
    if step.operator != "Add" or step.domain:
        return None
    for product, bias in (step.inputs, step.inputs[::-1]):
        found = graph.maker(product, "MatMul")
        turned = graph.source(found.inputs[1], "Transpose") if found else None
        if not found or not turned or turned.attributes.get("perm") != [1, 0]:
            continue
        if {turned.inputs[0], bias} <= set(graph.known.weights):
            return Step("Linear", step.name, (found.inputs[0], turned.inputs[0], bias), step.outputs, {}, _DOMAIN)
    return None


def _attention(step: Step, graph: _Graph) -> Step | None:
    """Softmax(scaled query @ turned key), dropped out or not, @ value."""
    if step.operator != "MatMul" or step.domain:
        return None
    drop = graph.maker(step.inputs[0], "Dropout")
    soft = graph.maker(drop.inputs[0] if drop else step.inputs[0], "Softmax")
    scores = graph.maker(soft.inputs[0], "MatMul") if soft and soft.attributes.get("axis", -1) in {-1, 3} else None
    scaled = graph.maker(scores.inputs[0], "Mul") if scores else None
    turned = graph.maker(scores.inputs[1], "Transpose") if scores else None
    if scaled is None or turned is None or turned.attributes.get("perm") != [0, 1, 3, 2]:
        return None
    factor = graph.known.constants.get(scaled.inputs[1])
    if factor is None or factor.size != 1 or (drop and any(drop.outputs[1:])):
        return None
    ratio = drop.inputs[1:2] if drop else ()
    if drop and not ratio:
        return None
    inputs = (scaled.inputs[0], turned.inputs[0], step.inputs[1], *ratio)
    return Step("Attention", step.name, inputs, step.outputs, {"scale": float(factor.reshape(()))}, _DOMAIN)


def _swish(step: Step, graph: _Graph) -> Step | None:
    """X · sigmoid(x)."""
    if step.operator != "Mul" or step.domain:
        return None
    for x, other in (step.inputs, step.inputs[::-1]):
        gate = graph.maker(other, "Sigmoid")
        if gate and gate.inputs[0] == x:
            return Step("Swish", step.name, (x,), step.outputs)
    return None


def _rounded(step: Step, graph: _Graph) -> Step | None:
    """A value that is quantized and read back at once."""
    if step.operator != "DequantizeLinear" or step.domain:
        return None
    whole = graph.source(step.inputs[0], "QuantizeLinear")
    if whole is None or whole.inputs[1:] != step.inputs[1:] or whole.attributes != step.attributes:
        return None
    return Step("Rounded", step.name, whole.inputs, step.outputs, whole.attributes, _DOMAIN)


def _recurrent(step: Step, graph: _Graph) -> Step | None:
    """A layer whose parameters are torch's with their gates in another order."""
    if step.operator not in ORDERS or step.domain or not _is_plain(step):
        return None
    count = 2 if step.attributes.get("direction", "forward") == "bidirectional" else 1
    inputs = [*step.inputs, *[""] * (7 - len(step.inputs))]
    sides = [_sides(name, count, graph) for name in inputs[1:4]]
    weights = [[_ordered(side, step.operator, graph) for side in group] for group in sides[:2]]
    biases = [_biases(side, step.operator, graph) for side in sides[2]] if inputs[3] else []
    params: list[str | None] = []
    for place in range(count):
        params += [group[place] if len(group) == count else None for group in weights]
        params += biases[place] if biases else ()
    if not all(params) or (biases and len(biases) != count):
        return None
    states = inputs[5:7] if step.operator == "LSTM" else inputs[5:6]
    named = tuple(name for name in params if name)
    return Step(
        step.operator, step.name, (inputs[0], inputs[4], *states, *named), step.outputs, step.attributes, _DOMAIN
    )


def _is_plain(step: Step) -> bool:
    """Whether torch has a kernel for it; rows of no steps at all, which torch refuses, are told by lengths."""
    attributes = step.attributes
    usual = not attributes.get("activations") or step.operator == "RNN"
    reset = step.operator != "GRU" or bool(attributes.get("linear_before_reset", 0))
    told = any(step.inputs[place : place + 1] != ("",) and len(step.inputs) > place for place in (4, 7))
    names = {name.lower() for name in attributes.get("activations", ["tanh"])}
    known = step.operator != "RNN" or names in ({"tanh"}, {"relu"})
    return usual and reset and known and not told and not attributes.get("clip") and not attributes.get("input_forget")


def _sides(name: str, count: int, graph: _Graph) -> list[str]:
    """What is put together for the directions of a layer, with an axis for them; the names without that axis."""
    joined = graph.source(name, "Concat")
    parts = joined.inputs if joined and joined.attributes.get("axis") == 0 and count == 2 else (name,)
    found = []
    for part in parts:
        wide = graph.source(part, "Unsqueeze")
        axes = graph.known.constants.get(wide.inputs[1]) if wide and len(wide.inputs) > 1 else None
        if wide is None or axes is None or axes.reshape(-1).tolist() != [0]:
            return [""] * count
        found.append(wide.inputs[0])
    return found if len(found) == count else [""] * count


def _ordered(name: str, kind: str, graph: _Graph) -> str | None:
    """The parameter of torch behind a value whose gates are in ONNX's order."""
    order = ORDERS[kind]
    if len(order) == 1:
        return name or None
    joined = graph.source(name, "Concat")
    split = graph.source(joined.inputs[0], "Split") if joined and joined.attributes.get("axis") == 0 else None
    if joined is None or split is None or split.attributes.get("axis", 0) != 0 or len(split.outputs) != len(order):
        return None
    if len(split.inputs) > 1 and split.inputs[1]:
        return None
    wanted = [split.outputs[order.index(place)] for place in range(len(order))]
    return split.inputs[0] if list(joined.inputs) == wanted else None


def _biases(name: str, kind: str, graph: _Graph) -> list[str | None]:
    joined = graph.source(name, "Concat")
    if joined is None or joined.attributes.get("axis") != 0 or len(joined.inputs) != 2:
        return [None, None]
    return [_ordered(part, kind, graph) for part in joined.inputs]
