"""LSTM, GRU and RNN as loops over lists of tensors, which is how TensorFlow's own layers are written.

The product with the inputs could be taken for all steps at once before the loop. It is not: in the form that Keras
writes the layer is recognized again, here and by the converters that go on from a SavedModel. A loop sees nothing
around it, so its weights are handed from round to round unchanged.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from engram.formats._tensorflow.job import Job, Writers
from engram.formats._tensorflow.sheet import Kind, Operand, Routine, Sheet
from engram.formats._tensorflow.write_elementwise import activated, binary
from engram.formats._tensorflow.write_matrix import product
from engram.formats._tensorflow.write_shape import joined, lengths, sliced

__all__ = ["WRITERS"]

_GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
_USUAL = {"LSTM": ("Sigmoid", "Tanh", "Tanh"), "GRU": ("Sigmoid", "Tanh"), "RNN": ("Tanh",)}


@dataclass(frozen=True, slots=True)
class _Direction:
    """One direction of a layer.

    Attributes:
        inside: what the loop reads unchanged: both matrices, and the biases of inputs and state where there are any.
        states: what it starts with.
        words: its activations.
        units: how many.
    """

    inside: tuple[Operand, ...]
    states: tuple[Operand, ...]
    words: tuple[str, ...]
    units: int


def _layer(job: Job) -> tuple[Operand, ...]:
    kind, value = job.step.operator, job.sheet.plain(job.get(0))
    if job.said("layout", 0) or job.maybe(4) is not None or job.maybe(7) is not None or "clip" in job.step.attributes:
        raise job.refused("has lengths of sequences, peepholes, a clip or another layout")
    word = job.said("direction", "forward")
    count = 2 if word == "bidirectional" else 1
    series, lasts = [], []
    for number in range(count):
        back = word == "reverse" or number == 1
        made = _run(job, value, number, count, back=back)
        series.append(made[0])
        lasts.append(made[1:])
    units = int(job.said("hidden_size"))
    outputs = [_stacked(job, series, 1, job.shapes[0])]
    for place in range(len(lasts[0])):
        known = (count, *(value.shape or ("?", "?", "?"))[1:2], units)
        outputs.append(_stacked(job, [last[place] for last in lasts], 0, known))
    wanted = 3 if kind == "LSTM" else 2
    return tuple(outputs[:wanted])


def _stacked(job: Job, values: list[Operand], axis: int, shape: tuple[int | str, ...] | None) -> Operand:
    return job.sheet.emit("Pack", *values, shape=shape, T=Kind(values[0].dtype), N=len(values), axis=axis)


def _run(job: Job, value: Operand, number: int, count: int, *, back: bool) -> list[Operand]:
    """All answers of one direction, (steps, batch, units), and its last states."""
    features = (value.shape or ("?",))[-1]
    direction = _prepared(job, value, number, count)
    given = _turned(job, value) if back else value
    steps = job.cast(job.reshape(lengths(job, value, [0]), []), "int32")
    inside = Sheet(functions=job.sheet.functions)
    shape = job.sheet.constant([-1, features if isinstance(features, int) else -1], "int32")
    said: dict[str, Any] = {"element_dtype": Kind(value.dtype), "shape_type": Kind("int32")}
    items = job.sheet.emit("TensorListFromTensor", given, shape, dtype="variant", **said)
    empty = job.sheet.constant([-1, direction.units], "int32")
    made = job.sheet.emit("TensorListReserve", empty, steps, dtype="variant", **said)
    carried = [job.sheet.constant(0, "int32"), steps, made, *direction.states, items, *direction.inside]
    results = _loop(job, carried, inside, lambda own, arguments: _body(own, direction, features, arguments))
    said = {"element_dtype": Kind(value.dtype), "num_elements": -1}
    known = (*(value.shape or ("?", "?", "?"))[:2], direction.units)
    answers = job.sheet.emit("TensorListStack", results[2], empty, dtype=value.dtype, shape=known, **said)
    states = [replace(state, shape=known[1:]) for state in results[3 : 3 + len(direction.states)]]
    return [_turned(job, answers) if back else answers, *states]


def _prepared(job: Job, value: Operand, number: int, count: int) -> _Direction:
    """The parameters of one direction, and what it starts with."""
    kind, units = job.step.operator, int(job.said("hidden_size"))
    matrices = (job.sheet.turned(_matrix(job, job.get(place), number, count), (1, 0)) for place in (1, 2))
    inside = [job.sheet.plain(matrix) for matrix in matrices]
    inside += _biases(job, number, count, _GATES[kind] * units)
    words = [str(word) for word in job.said("activations", list(_USUAL[kind]) * count)]
    each = len(words) // count
    states = tuple(_state(job, place, value, number, count) for place in ([5, 6] if kind == "LSTM" else [5]))
    return _Direction(tuple(inside), states, tuple(words[number * each : (number + 1) * each]), units)


def _matrix(job: Job, value: Operand, number: int, count: int) -> Operand:
    """One direction of a stack of matrices or vectors."""
    shape = (value.shape or ())[1:]
    part = value if count == 1 else replace(sliced(job, value, 0, number, number + 1), shape=(1, *shape))
    if value.constant is not None:
        return job.sheet.constant(value.constant[number])
    return job.one("Squeeze", part, shape=shape, squeeze_dims=[0])


def _biases(job: Job, number: int, count: int, width: int) -> list[Operand]:
    """The biases of the inputs and of the state; none where there are none."""
    found = job.maybe(3)
    if found is None:
        return []
    whole = _matrix(job, found, number, count)
    return [replace(sliced(job, whole, 0, start, start + width), shape=(width,)) for start in (0, width)]


def _state(job: Job, place: int, value: Operand, number: int, count: int) -> Operand:
    found, units = job.maybe(place), int(job.said("hidden_size"))
    if found is not None:
        return _matrix(job, found, number, count)
    shape = joined(job, [lengths(job, value, [1]), job.sheet.constant([units], "int64")], 0)
    zero = job.number(0, value)
    said: dict[str, Any] = {"T": Kind(value.dtype), "index_type": Kind("int64")}
    known = (*(value.shape or ("?", "?"))[1:2], units)
    return job.sheet.emit("Fill", shape, zero, dtype=value.dtype, shape=known, **said)


def _turned(job: Job, value: Operand) -> Operand:
    return job.one("ReverseV2", value, job.sheet.constant([0], "int32"), shape=value.shape, Tidx=Kind("int32"))


def _loop(
    job: Job, carried: list[Operand], inside: Sheet, body: Callable[[Job, list[Operand]], list[Operand]]
) -> tuple[Operand, ...]:
    """A loop as long as the first value is less than the second."""
    from engram.formats._tensorflow.functions import function, opened

    types = [value.dtype for value in carried]
    test = Sheet(functions=inside.functions)
    names, arguments = opened(test, types)
    less = test.emit("Less", arguments[0], arguments[1], dtype="bool", T=Kind("int32"))
    condition = job.lowering.added("while_cond", lambda name: function(name, test, (names, types), [less]))
    names, arguments = opened(inside, types)
    shaped = [replace(one, shape=value.shape) for one, value in zip(arguments, carried, strict=True)]
    results = body(replace(job, lowering=job.lowering.inside(inside)), shaped)
    round_ = job.lowering.added("while_body", lambda name: function(name, inside, (names, types), results))
    said: dict[str, Any] = {"cond": Routine(condition), "body": Routine(round_), "parallel_iterations": 32}
    shapes = [() if kind == "variant" else _open(value) for kind, value in zip(types, carried, strict=True)]
    return job.sheet.several(
        "StatelessWhile", *carried, dtypes=types, T=[Kind(kind) for kind in types], output_shapes=shapes, **said
    )


def _open(value: Operand) -> tuple[int | str, ...]:
    return tuple(value.shape or ())


def _body(job: Job, direction: _Direction, features: int | str, arguments: list[Operand]) -> list[Operand]:
    clock, steps, made, *rest = arguments
    count = len(direction.states)
    states, items, inside = rest[:count], rest[count], rest[count + 1 :]
    shape = job.sheet.constant([-1, features if isinstance(features, int) else -1], "int32")
    dtype = states[0].dtype
    said: dict[str, Any] = {"element_dtype": Kind(dtype)}
    row = job.sheet.emit("TensorListGetItem", items, clock, shape, dtype=dtype, shape=("?", features), **said)
    after = _CELLS[job.step.operator](job, direction, row, states, inside)
    said["resize_if_index_out_of_bounds"] = False
    put = job.sheet.emit("TensorListSetItem", made, clock, after[0], dtype="variant", **said)
    following = job.one("AddV2", clock, job.sheet.constant(1, "int32"))
    return [following, steps, put, *after, items, *inside]


def _biased(job: Job, value: Operand, biases: list[Operand]) -> Operand:
    for bias in biases:
        value = job.one("BiasAdd", value, bias, shape=value.shape, data_format="NHWC")
    return value


def _gates(job: Job, value: Operand, count: int, units: int) -> list[Operand]:
    axis = job.sheet.constant(1, "int32")
    return list(
        job.sheet.several(
            "Split",
            axis,
            value,
            dtypes=[value.dtype] * count,
            shapes=[("?", units)] * count,
            T=Kind(value.dtype),
            num_split=count,
        )
    )


def _lstm(job: Job, direction: _Direction, row: Operand, states: list[Operand], inside: list[Operand]) -> list[Operand]:
    hidden, memory = states
    total = _total(job, row, hidden, inside, 4 * direction.units)
    enter, out, forget, fresh = _gates(job, total, 4, direction.units)
    first, second, third = direction.words
    enter, out, forget = (activated(job, first, gate) for gate in (enter, out, forget))
    kept = binary(job, "Mul", forget, memory)
    memory = binary(job, "AddV2", kept, binary(job, "Mul", enter, activated(job, second, fresh)))
    return [binary(job, "Mul", out, activated(job, third, memory)), memory]


def _total(job: Job, row: Operand, hidden: Operand, inside: list[Operand], width: int) -> Operand:
    """Both products and both biases, for all gates at once."""
    shape = ("?", width)
    both = job.one("AddV2", product(job, row, inside[0], shape), product(job, hidden, inside[1], shape), shape=shape)
    return _biased(job, both, inside[2:])


def _gru(job: Job, direction: _Direction, row: Operand, states: list[Operand], inside: list[Operand]) -> list[Operand]:
    (hidden,), units = states, direction.units
    first, second = direction.words
    late, shape = bool(job.said("linear_before_reset", 0)), ("?", 3 * units)
    own = _biased(job, product(job, row, inside[0], shape), inside[2:3] if late else inside[2:])
    update, reset, fresh = _gates(job, own, 3, units)
    if late:
        one, other, last = _gates(job, _biased(job, product(job, hidden, inside[1], shape), inside[3:]), 3, units)
        reset = activated(job, first, binary(job, "AddV2", reset, other))
        part = binary(job, "Mul", reset, last)
    else:
        pieces = [replace(piece, shape=(units, units)) for piece in _gates(job, inside[1], 3, units)]
        one, other = (product(job, hidden, piece, ("?", units)) for piece in pieces[:2])
        reset = activated(job, first, binary(job, "AddV2", reset, other))
        part = product(job, binary(job, "Mul", reset, hidden), pieces[2], ("?", units))
    update = activated(job, first, binary(job, "AddV2", update, one))
    fresh = activated(job, second, binary(job, "AddV2", fresh, part))
    rest = binary(job, "Sub", job.number(1, update), update)
    return [binary(job, "AddV2", binary(job, "Mul", update, hidden), binary(job, "Mul", rest, fresh))]


def _rnn(job: Job, direction: _Direction, row: Operand, states: list[Operand], inside: list[Operand]) -> list[Operand]:
    return [activated(job, direction.words[0], _total(job, row, states[0], inside, direction.units))]


_CELLS = {"GRU": _gru, "LSTM": _lstm, "RNN": _rnn}

WRITERS: Writers = {"GRU": _layer, "LSTM": _layer, "RNN": _layer}
