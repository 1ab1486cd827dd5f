"""The cells of recurrent networks, recognized by what they compute and never by what somebody called them.

Source: Hochreiter and Schmidhuber 1997; Cho et al. 2014; the gates in ONNX's order (LSTM, GRU, RNN of operator set 14).
"""

from __future__ import annotations

from dataclasses import dataclass

from engram.formats._tensorflow.formulas import Formula, Formulas, Term, either, product

__all__ = ["Cell", "Gate", "cell"]


@dataclass(frozen=True, slots=True)
class Gate:
    """What one gate adds up.

    Attributes:
        kernel, recurrent: columns of the two matrices.
        biases: of the input and of the state, as far as there are any.
    """

    kernel: Term
    recurrent: Term
    biases: tuple[Term | None, Term | None]


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell that was recognized.

    Attributes:
        operator: ``LSTM``, ``GRU`` or ``RNN``.
        gates: in ONNX's order.
        activations: as ONNX lists them.
        hidden: place of the state that is the answer.
        memory: place of the other state of an LSTM; -1 for none.
        late: whether a GRU applies its reset gate after the product.
    """

    operator: str
    gates: tuple[Gate, ...]
    activations: tuple[str, ...]
    hidden: int
    memory: int = -1
    late: bool = False


def cell(found: Formulas, results: list[Formula], states: list[int], step: Formula) -> Cell | None:
    """The cell that a body is; None where it is none.

    Args:
        found: formulas of the body.
        results: what each argument becomes.
        states: places of the arguments that are states.
        step: the formula of what is read at a step of the sequence.
    """
    for hidden in states:
        for memory in states:
            made = _lstm(found, results, hidden, memory, step) if memory != hidden else None
            if made is not None:
                return made
        made = _gru(found, results[hidden], hidden, step) or _rnn(found, results[hidden], hidden, step)
        if made is not None:
            return made
    return None


def _lstm(found: Formulas, results: list[Formula], hidden: int, memory: int, step: Formula) -> Cell | None:
    for out, squashed in either(results[hidden], "mul"):
        if squashed[0] != "act" or squashed[2] != results[memory] or out[0] != "act":
            continue
        for kept, fresh in either(results[memory], "add"):
            forget = product(kept, ("state", memory))
            for enter, candidate in either(fresh, "mul"):
                if forget is None or {forget[0], enter[0], candidate[0]} != {"act"}:
                    continue
                if len({forget[1], enter[1], out[1]}) != 1 or (enter[1] == "Tanh" and candidate[1] == "Sigmoid"):
                    continue
                gates = [_gate(found, part[2], hidden, step) for part in (enter, out, forget, candidate)]
                ready = tuple(gate for gate in gates if gate is not None)
                if len(ready) == 4:
                    words = (out[1], candidate[1], squashed[1])
                    return Cell("LSTM", ready, words, hidden, memory)
    return None


def _gru(found: Formulas, result: Formula, hidden: int, step: Formula) -> Cell | None:
    state = ("state", hidden)
    for kept, fresh in either(result, "add"):
        update = product(kept, state)
        if update is None or update[0] != "act":
            continue
        candidate = product(fresh, ("sub", ("number", 1.0), update))
        if candidate is None or candidate[0] != "act":
            continue
        first = _gate(found, update[2], hidden, step)
        late = _late(found, candidate[2], hidden, step)
        early = _early(found, candidate[2], hidden, step)
        for pair, is_late in ((late, True), (early, False)):
            if pair is None or first is None or pair[0][0] != "act" or pair[0][1] != update[1]:
                continue
            second = _gate(found, pair[0][2], hidden, step)
            if second is not None:
                return Cell("GRU", (first, second, pair[1]), (update[1], candidate[1]), hidden, late=is_late)
    return None


def _late(found: Formulas, formula: Formula, hidden: int, step: Formula) -> tuple[Formula, Gate] | None:
    """Reset gate and candidate, where the gate multiplies the product with the state."""
    for outside, inside in either(formula, "add"):
        for reset, recurrent in either(inside, "mul"):
            own, other = found.terms(outside), found.terms(recurrent)
            gate = _sorted(own, other, hidden, step)
            if gate is not None and reset[0] == "act":
                return reset, gate
    return None


def _early(found: Formulas, formula: Formula, hidden: int, step: Formula) -> tuple[Formula, Gate] | None:
    """Reset gate and candidate, where the gate multiplies the state itself."""
    terms = found.terms(formula)
    for term in terms or []:
        reset = product(term.value, ("state", hidden)) if term.value is not None else None
        if reset is not None and terms is not None:
            plain = [t._replace(value=("state", hidden)) if t is term else t for t in terms]
            gate = _sorted(plain, [], hidden, step)
            if gate is not None:
                return reset, gate
    return None


def _rnn(found: Formulas, result: Formula, hidden: int, step: Formula) -> Cell | None:
    if result[0] != "act":
        return None
    gate = _gate(found, result[2], hidden, step)
    return Cell("RNN", (gate,), (result[1],), hidden) if gate is not None else None


def _gate(found: Formulas, formula: Formula, hidden: int, step: Formula) -> Gate | None:
    return _sorted(found.terms(formula), [], hidden, step)


def _sorted(own: list[Term] | None, other: list[Term] | None, hidden: int, step: Formula) -> Gate | None:
    """Summands by what they are; the second list holds those that belong to the state."""
    if own is None or other is None:
        return None
    everything = [*own, *other]
    kernels = [term for term in everything if term.value == step]
    recurrent = [term for term in everything if term.value == ("state", hidden)]
    biases = [[term for term in part if term.value is None] for part in (own, other)]
    if len(kernels) != 1 or len(recurrent) != 1 or len(biases[1]) > 1 or len(biases[0]) > 2:
        return None
    if len(kernels) + len(recurrent) + len(biases[0]) + len(biases[1]) != len(everything):
        return None
    if other and (recurrent[0] not in other or kernels[0] not in own):
        return None
    rest = [*biases[0][1:], *biases[1]]
    if len(rest) > 1:
        return None
    first = biases[0][0] if biases[0] else None
    return Gate(kernels[0], recurrent[0], (first, rest[0] if rest else None))
