"""A TFLite file of any program as a canonical network.

The first subgraph is the network; the others are called by its operators and become graphs within nodes (If, Loop) or
are read in place. An operator that is not TFLite's own is refused by name: what it computes is in no schema.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx
from google.protobuf.message import DecodeError
from onnx import helper

from engram.errors import EngramError, FormatError
from engram.formats import _description
from engram.formats._tflite import read_elementwise, read_layers, read_recurrent, read_reduction, read_shape
from engram.formats._tflite.calls import called
from engram.formats._tflite.parts import Entry, File, Operator, Subgraph, Tensor
from engram.formats._tflite.reading import Read, Reading, Shared, code_of
from engram.graphs.build import IR_VERSION, OPSET, value_info
from engram.graphs.canonical import canonical
from engram.graphs.signature import signature
from engram.graphs.weights import detach, note
from engram.records import Limits, Model, TensorSpec
from engram.records.tensors import DTYPES

__all__ = ["entry_of", "read_network"]

_FAULTS = (ValueError, TypeError, LookupError, RuntimeError, ArithmeticError, AttributeError, DecodeError)


def read_network(file: File, name: str, limits: Limits) -> Model:
    """The network of a file.

    Args:
        file: the records.
        name: of the file, for errors.
        limits: of the graph that comes out.

    Raises:
        FormatError: it uses what ONNX or this reader has not, or its parts do not fit together.
    """
    _refuse_foreign(file, name)
    try:
        network = canonical(_network(file, name))
        graph, weights = detach(network)
    except EngramError:
        raise
    except _FAULTS as wrong:
        reason = str(wrong).splitlines()[0] if str(wrong) else repr(wrong)
        raise FormatError(f"{name}: its operators do not fit together: {reason[:200]}") from wrong
    source = {"format": "tflite", "description": file.description}
    described = _description.Description(signature(network), source=source)
    return _description.model(described, graph, weights, limits=limits)


def entry_of(file: File) -> Entry:
    """How the main subgraph is asked by names: its own signature, else the names of its tensors."""
    graph = file.subgraphs[0]
    for entry in file.entries:
        inputs, outputs = set(entry.inputs.values()), set(entry.outputs.values())
        whole = inputs == set(graph.inputs) and outputs <= set(graph.outputs) and outputs
        if (
            entry.subgraph == 0
            and whole
            and len(inputs) == len(entry.inputs)
            and _good([*entry.inputs, *entry.outputs])
        ):
            by_place = {number: key for key, number in entry.inputs.items()}
            return Entry(entry.key, {by_place[number]: number for number in graph.inputs}, dict(entry.outputs))
    taken: set[str] = set()
    inputs_by_name = {_clean(graph.tensors[number], number, taken): number for number in graph.inputs}
    outputs_by_name = {_clean(graph.tensors[number], number, taken): number for number in graph.outputs}
    return Entry("", inputs_by_name, outputs_by_name)


def _good(names: Sequence[str]) -> bool:
    return len(set(names)) == len(names) and all(names)


def _clean(tensor: Tensor, number: int, taken: set[str]) -> str:
    name = tensor.name.removeprefix("serving_default_").removesuffix(":0") or f"tensor_{number}"
    made, count = name, 1
    while made in taken:
        count += 1
        made = f"{name}_{count}"
    taken.add(made)
    return made


def _refuse_foreign(file: File, name: str) -> None:
    kinds = {(one.kind, one.custom) for graph in file.subgraphs for one in graph.operators}
    custom = sorted(custom for kind, custom in kinds if kind == "CUSTOM")
    if custom:
        flex = [one for one in custom if one.startswith("Flex")]
        whose = "TensorFlow's own operators (select TF ops)" if flex else "operators that are not TFLite's own"
        raise FormatError(f"{name}: uses {whose}: {', '.join(custom[:9])}; convert it with TFLite's operators alone")
    unknown = sorted({kind for kind, _ in kinds} - _TABLE.keys())
    if unknown:
        raise FormatError(f"{name}: uses {', '.join(unknown[:9])}, which is not read")


def _network(file: File, name: str) -> onnx.ModelProto:
    shared = Shared(file, name)
    entry, graph = entry_of(file), file.subgraphs[0]
    shared.taken.update([*entry.inputs, *entry.outputs])
    reading = Reading(shared, graph, {})
    for key, number in entry.inputs.items():
        reading.given(number, key)
    read_operators(reading)
    for key, number in entry.outputs.items():
        reading.final(number, key)
    inputs = [value_info(_spec(graph.tensors[number], key, name)) for key, number in entry.inputs.items()]
    outputs = [value_info(_spec(graph.tensors[number], key, name)) for key, number in entry.outputs.items()]
    made = helper.make_graph(reading.nodes, "network", inputs, outputs, list(shared.initializers.values()))
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    note(model, set(shared.initializers))
    return model


def _spec(tensor: Tensor, name: str, file: str) -> TensorSpec:
    dtype = tensor.type.lower()
    if dtype not in DTYPES or dtype == "string":
        raise FormatError(f"{file}: {name!r} is {tensor.type}, which does not go into a network or come out of it")
    axes = [f"{name}.{place}" if place else "batch" for place in range(len(tensor.free))]
    shape = tuple(axis if size < 0 else size for size, axis in zip(tensor.free, axes, strict=True))
    return TensorSpec(name, dtype, shape)


def read_operators(reading: Reading) -> None:
    """All operators of a subgraph, in order."""
    for operator in reading.graph.operators:
        try:
            _TABLE[operator.kind](operator, reading)
        except EngramError:
            raise
        except _FAULTS as wrong:
            made = reading.tensor(operator.outputs[0]).name if operator.outputs else ""
            reason = str(wrong).splitlines()[0] if str(wrong) else repr(wrong)
            raise reading.refused(f"{operator.kind} that makes {made!r} is not whole: {reason[:200]}") from wrong


def _inner(operator: Operator, reading: Reading, place: int, values: Sequence[str]) -> tuple[Reading, list[str]]:
    """A subgraph that an operator calls, with the values it is given, and the values it answers."""
    graph: Subgraph = reading.shared.file.subgraphs[called(operator)[place]]
    inner = Reading(reading.shared, graph, {})
    if len(values) != len(graph.inputs):
        raise reading.refused(
            f"{operator.kind} gives {len(values)} values to a subgraph that takes {len(graph.inputs)}"
        )
    for number, value in zip(graph.inputs, values, strict=True):
        inner.given(number, value)
    read_operators(inner)
    return inner, [inner.passed(number) for number in graph.outputs]


def _if(operator: Operator, reading: Reading) -> None:
    condition, *given = operator.inputs
    values = [reading.passed(number) for number in given]
    branches = []
    for place, key in enumerate(("then", "else")):
        inner, answers = _inner(operator, reading, place, values)
        branches.append(_closed(inner, key, answers, operator))
    names = [reading.shared.unique("chosen") for _ in operator.outputs]
    reading.many("If", reading.get(condition), names=names, then_branch=branches[0], else_branch=branches[1])
    for number, name in zip(operator.outputs, names, strict=True):
        reading.given(number, name)


def _closed(inner: Reading, key: str, answers: Sequence[str], operator: Operator) -> onnx.GraphProto:
    """A branch as a graph whose outputs are values of its own."""
    own = [inner.node("Identity", value) for value in answers]
    if len(own) != len(operator.outputs):
        raise inner.refused(f"{operator.kind} has a branch with {len(own)} answers for {len(operator.outputs)} outputs")
    types = [inner.tensor(number).type for number in inner.graph.outputs]
    outputs = [helper.make_tensor_value_info(name, code_of(kind), None) for name, kind in zip(own, types, strict=True)]
    return helper.make_graph(inner.nodes, key, [], outputs)


def _while(operator: Operator, reading: Reading) -> None:
    """A Loop without a count: the condition is computed before the first round and at the end of each."""
    start = [reading.passed(number) for number in operator.inputs]
    asked, first = _inner(operator, reading, 0, start)
    reading.nodes.extend(asked.nodes)
    shared = reading.shared
    kinds = [reading.tensor(number).type for number in operator.inputs]
    count, again = shared.unique("round"), shared.unique("again")
    values = [shared.unique("carried") for _ in kinds]
    body, carried = _inner(operator, reading, 1, values)
    then, more = _inner(operator, reading, 0, carried)
    body.nodes.extend(then.nodes)
    own = [body.node("Identity", value) for value in (more[0], *carried)]
    bool_code, long_code = code_of("BOOL"), code_of("INT64")
    inputs = [helper.make_tensor_value_info(count, long_code, []), helper.make_tensor_value_info(again, bool_code, [])]
    inputs += [
        helper.make_tensor_value_info(value, code_of(kind), None) for value, kind in zip(values, kinds, strict=True)
    ]
    outputs = [helper.make_tensor_value_info(own[0], bool_code, [])]
    outputs += [helper.make_tensor_value_info(v, code_of(kind), None) for v, kind in zip(own[1:], kinds, strict=True)]
    graph = helper.make_graph(body.nodes, "body", inputs, outputs)
    names = [shared.unique("last") for _ in operator.outputs]
    reading.many("Loop", "", first[0], *start, names=names, body=graph)
    for number, name in zip(operator.outputs, names, strict=True):
        reading.given(number, name)


def _call_once(operator: Operator, reading: Reading) -> None:
    _, _ = _inner(operator, reading, 0, [])


def _call(operator: Operator, reading: Reading) -> None:
    inner, answers = _inner(operator, reading, 0, [reading.passed(number) for number in operator.inputs])
    reading.nodes.extend(inner.nodes)
    for number, value in zip(operator.outputs, answers, strict=True):
        reading.given(number, value)


def _variable(operator: Operator, reading: Reading) -> str:
    maker = reading.makers.get(operator.inputs[0])
    if maker is None or maker.kind != "VAR_HANDLE":
        raise reading.refused(f"{operator.kind} is about a variable that is handed around, which is not read")
    return f"{maker.options.get('container', '')}/{maker.options.get('shared_name', '')}"


def _handle(operator: Operator, reading: Reading) -> None:
    """A handle has no value; see ``_variable``."""


def _read_variable(operator: Operator, reading: Reading) -> None:
    key = _variable(operator, reading)
    if key not in reading.shared.variables:
        raise reading.refused(f"the variable {key!r} is read before anything is put into it")
    reading.give(operator.outputs[0], reading.shared.variables[key])


def _assign_variable(operator: Operator, reading: Reading) -> None:
    key = _variable(operator, reading)
    if reading.graph is reading.shared.file.subgraphs[0] or reading.array(operator.inputs[1]) is None:
        raise reading.refused(f"it keeps {key!r} from one call to the next; a network here has no memory of that kind")
    reading.shared.variables[key] = reading.initializer(
        reading.fixed(operator.inputs[1], key), reading.shared.unique(key.strip("/"))
    )


_TABLE: Mapping[str, Read] = {
    **read_elementwise.TABLE,
    **read_layers.TABLE,
    **read_shape.TABLE,
    **read_reduction.TABLE,
    **read_recurrent.TABLE,
    "IF": _if,
    "WHILE": _while,
    "CALL": _call,
    "CALL_ONCE": _call_once,
    "VAR_HANDLE": _handle,
    "READ_VARIABLE": _read_variable,
    "ASSIGN_VARIABLE": _assign_variable,
}
