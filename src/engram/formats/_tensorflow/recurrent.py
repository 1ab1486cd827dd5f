"""A loop over a sequence that is a recurrent layer becomes that layer again.

Keras writes LSTM and GRU as loops over lists of tensors. As one node they can be trained, quantized and written to
every other format; as a loop they are opaque. What is recognized is the arithmetic: a loop that differs in anything
stays a loop.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from engram.formats._tensorflow.call import Call
from engram.formats._tensorflow.cells import Cell, Gate, cell
from engram.formats._tensorflow.formulas import Formula, Formulas, Term
from engram.formats._tensorflow.graph import Body
from engram.formats._tensorflow.invariants import unchanged
from engram.formats._tensorflow.values import Items, Listing, Tensor, Value, Variable

__all__ = ["recognized"]


@dataclass(frozen=True, slots=True)
class _Loop:
    """What was found out about a loop.

    Attributes:
        cell: what it computes at each step.
        results: formula of what each argument becomes.
        clock: place of the argument that counts the steps.
        sequence: place of the list that is read.
    """

    cell: Cell
    results: list[Formula]
    clock: int
    sequence: int


def recognized(call: Call, condition: Body, body: Body) -> Items | None:
    """The results of a loop as those of one recurrent node; None where it is none."""
    fixed = unchanged(body)
    found = Formulas(body, fixed, call.inputs, {})
    results = [found.of(edge) for edge in body.results]
    steps = [formula for formula in found.made.values() if formula[0] == "item"]
    if len(set(steps)) != 1 or steps[0][1][0] != "outer" or steps[0][2][0] != "state":
        return None
    step = steps[0]
    clock, sequence = step[2][1], step[1][1]
    states = [
        place
        for place in range(len(results))
        if place not in fixed
        and place != clock
        and isinstance(call.inputs[place], Tensor)
        and not _counts(results, place)
    ]
    made = cell(found, results, states, step)
    if made is None or set(states) != {made.hidden, *([made.memory] if made.memory >= 0 else [])}:
        return None
    loop = _Loop(made, results, clock, sequence)
    listing = call.inputs[sequence]
    if not isinstance(listing, Listing) or listing.items is None or not _whole(call, loop, condition, listing):
        return None
    return _written(call, loop, listing) if _puts(call, loop, fixed, listing) else None


def _counts(results: list[Formula], place: int) -> bool:
    return ("number", 1.0) in results[place] and results[place][0] == "add" and ("state", place) in results[place]


def _whole(call: Call, loop: _Loop, condition: Body, listing: Listing) -> bool:
    """Whether the loop takes every step of the sequence, once and in order."""
    start = call.inputs[loop.clock]
    if not isinstance(start, Tensor) or start.parts != (0,) or not _counts(loop.results, loop.clock):
        return False
    test = Formulas(condition, set(), call.inputs, {})
    waiting = [test.of(condition.results[0])]
    found = False
    while waiting:
        part = waiting.pop()
        if part[0] == "and":
            waiting.extend(part[1:])
            continue
        if part[0] != "less" or part[1][0] != "state" or not _counts(loop.results, part[1][1]):
            return False
        begun = call.inputs[part[1][1]]
        if not isinstance(begun, Tensor) or begun.parts != (0,) or _bound(call, part[2]) != listing.length:
            return False
        found = found or part[1][1] == loop.clock
    return found


def _bound(call: Call, formula: Formula) -> object:
    if formula[0] == "number":
        return int(formula[1])
    value = call.inputs[formula[1]] if formula[0] == "state" else None
    return value.parts[0] if isinstance(value, Tensor) and value.parts else None


def _puts(call: Call, loop: _Loop, fixed: set[int], listing: Listing) -> bool:
    """Whether every other argument is a counter, or a list into which each answer is put."""
    for place, result in enumerate(loop.results):
        if place in fixed or place in {loop.cell.hidden, loop.cell.memory, loop.clock} or _counts(loop.results, place):
            continue
        given = call.inputs[place]
        if not isinstance(given, Listing) or result[0] != "put" or result[1] != ("state", place):
            return False
        if result[3] != loop.results[loop.cell.hidden]:
            return False
        each = result[2] == ("state", loop.clock) and given.length == listing.length
        last = result[2] == ("number", 0.0) and given.length == 1
        if not each and not last:
            return False
    return True


def _written(call: Call, loop: _Loop, listing: Listing) -> Items | None:
    """The node, and what each argument of the loop becomes."""
    assert listing.items is not None
    made, nodes = loop.cell, call.nodes
    units = made.gates[0].kernel.last - made.gates[0].kernel.first
    hidden = call.inputs[made.hidden]
    assert isinstance(hidden, Tensor)
    sequence, back = _direction(call, listing.items)
    given = [nodes.name(sequence), *_parameters(call, made, units), "", _state(call, hidden, units)]
    outputs = 2
    if made.operator == "LSTM":
        memory = call.inputs[made.memory]
        assert isinstance(memory, Tensor)
        given.append(_state(call, memory, units))
        outputs = 3
    while given and not given[-1]:
        given.pop()
    more: dict[str, object] = {"linear_before_reset": 1} if made.late else {}
    if (
        made.activations
        != {"LSTM": ("Sigmoid", "Tanh", "Tanh"), "GRU": ("Sigmoid", "Tanh"), "RNN": ("Tanh",)}[made.operator]
    ):
        more["activations"] = list(made.activations)
    if back:
        more["direction"] = "reverse"
    found = nodes.several(made.operator, *given, outputs=outputs, hidden_size=units, **more)
    return _results(
        call, loop, listing, [_squeezed(call, found[0], 1), *(_squeezed(call, one, 0) for one in found[1:])], back
    )


def _results(call: Call, loop: _Loop, listing: Listing, found: list[Tensor], back: bool) -> Items:
    from engram.formats._tensorflow.read_pieces import reversed_along

    made: list[Value] = list(call.inputs)
    series = reversed_along(call, found[0], [0]) if back else found[0]
    for place, result in enumerate(loop.results):
        given = call.inputs[place]
        if place == loop.cell.hidden:
            made[place] = found[1]
        elif place == loop.cell.memory:
            made[place] = found[2]
        elif isinstance(given, Listing) and result[0] == "put":
            front = call.nodes.constant([0], "int64").name
            single = given.length == 1 and result[2] == ("number", 0.0)
            items = call.nodes.emit("Unsqueeze", found[1].name, front) if single else series
            made[place] = replace(given, items=items, shape=found[1].shape)
        elif _counts(loop.results, place):
            made[place] = call.nodes.lengths([listing.length], "int32", scalar=True)
    return tuple(made)


def _direction(call: Call, items: Tensor) -> tuple[Tensor, bool]:
    """The sequence, and whether it was turned around before the loop."""
    time = items.turn[0] if items.turn else 0
    before = call.trace.reversals.get(items.name)
    if before is None or before[1] != [time]:
        return items, False
    return (call.nodes.turned(before[0], items.turn) if items.turn else before[0]), True


def _state(call: Call, value: Tensor, units: int) -> str:
    """What a state begins with; nothing where that is zeros."""
    if value.origin is not None and value.origin[0] == "Fill":
        filler = value.origin[1][0]
        if isinstance(filler, Tensor) and filler.constant is not None and not filler.constant.any():
            return ""
    if value.constant is not None and not value.constant.any() and value.shape == (1, units):
        return ""
    return call.nodes.emit("Unsqueeze", call.nodes.name(value), call.nodes.constant([0], "int64").name).name


def _squeezed(call: Call, value: Tensor, axis: int) -> Tensor:
    return call.nodes.emit("Squeeze", value.name, call.nodes.constant([axis], "int64").name)


def _parameters(call: Call, made: Cell, units: int) -> list[str]:
    """Weights as ONNX lays them: (1, gates x units, inputs), made of the source's own."""
    found = [
        _matrix(call, [gate.kernel for gate in made.gates]),
        _matrix(call, [gate.recurrent for gate in made.gates]),
    ]
    if any(term is not None for gate in made.gates for term in gate.biases):
        found.append(_biases(call, made.gates, units))
    else:
        found.append("")
    return found


def _matrix(call: Call, terms: list[Term]) -> str:
    joined = _joined(call, terms)
    before = joined.turn or (0, 1)
    turned = call.nodes.name(call.nodes.turned(call.nodes.stored(joined), (before[1], before[0])))
    return call.nodes.emit("Unsqueeze", turned, call.nodes.constant([0], "int64").name).name


def _biases(call: Call, gates: tuple[Gate, ...], units: int) -> str:
    halves = []
    for side in (0, 1):
        terms = [gate.biases[side] for gate in gates]
        ready = [term for term in terms if term is not None]
        if len(ready) == len(terms):
            halves.append(call.nodes.name(_joined(call, ready)))
        else:
            kind = _parameter(call, gates[0].kernel).dtype
            pieces = [
                call.nodes.name(_joined(call, [term]))
                if term is not None
                else call.nodes.constant(np.zeros(units), kind).name
                for term in terms
            ]
            halves.append(call.nodes.emit("Concat", *pieces, axis=0).name if len(pieces) > 1 else pieces[0])
    whole = call.nodes.emit("Concat", *halves, axis=0)
    return call.nodes.emit("Unsqueeze", whole.name, call.nodes.constant([0], "int64").name).name


def _joined(call: Call, terms: list[Term]) -> Tensor:
    """Columns of parameters side by side: the parameter itself where they are all of it in order."""
    sources = {(term.weight, term.row) for term in terms}
    width = _parameter(call, terms[0]).shape
    ends = [(term.first, term.last) for term in terms]
    count = int(width[-1]) if width and isinstance(width[-1], int) else 0
    size = ends[0][1] - ends[0][0]
    if (
        len(sources) == 1
        and sorted(ends) == [(i * size, (i + 1) * size) for i in range(len(ends))]
        and count == size * len(ends)
    ):
        whole = _row(call, terms[0])
        if ends == sorted(ends):
            return whole
        whole = call.nodes.settled(whole)
        axis = whole.rank - 1
        pieces = call.nodes.several("Split", whole.name, outputs=len(ends), axis=axis, num_outputs=len(ends))
        return call.nodes.emit("Concat", *(pieces[start // size].name for start, _ in ends), axis=axis)
    cut = [_cut(call, term) for term in terms]
    return (
        cut[0]
        if len(cut) == 1
        else call.nodes.emit("Concat", *(call.nodes.name(one) for one in cut), axis=cut[0].rank - 1)
    )


def _cut(call: Call, term: Term) -> Tensor:
    whole = _row(call, term)
    if whole.shape and (term.first, term.last) == (0, whole.shape[-1]):
        return whole
    whole = call.nodes.settled(whole)
    numbers = ([term.first], [term.last], [whole.rank - 1])
    return call.nodes.emit("Slice", whole.name, *(call.nodes.constant(part, "int64").name for part in numbers))


def _row(call: Call, term: Term) -> Tensor:
    whole = _parameter(call, term)
    if term.row is None:
        return whole
    return call.nodes.emit("Gather", call.nodes.name(whole), call.nodes.constant(term.row, "int64").name, axis=0)


def _parameter(call: Call, term: Term) -> Tensor:
    found = call.inputs[term.weight[1]]
    if isinstance(found, Variable):
        return call.trace.weight(found)
    assert isinstance(found, Tensor)
    return found if found.turn else call.nodes.settled(found)
