"""From a program to the canonical graph.

torch's operators write into tensors as well as making new ones. What is written into here becomes a new value under the
old name, and a program that looks at the old numbers through another tensor afterwards is refused: that it would read
the new ones there is what a graph of values cannot say.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import onnx
from numpy import ndarray

from engram.errors import FormatError
from engram.formats._aten.call import Call, Operand, Sheet, Size
from engram.formats._aten.table import VIEWS, translated
from engram.formats._pt2.program import Program, Reference, Step, Tensor
from engram.graphs.build import Builder, element_type
from engram.graphs.canonical import canonical
from engram.graphs.check import check
from engram.graphs.naming import rename, unique, values
from engram.graphs.signature import declare
from engram.graphs.weights import FIXED, note, outside
from engram.records import Limits, Signature, TensorSpec
from engram.records.tensors import DTYPES

__all__ = ["graph"]

_LIBRARIES: Final = ("torch.ops.aten.", "_operator.", "torch.sym_", "math.")
_SPARED: Final = (".num_batches_tracked", "num_batches_tracked")
"""What a BatchNorm counts; nothing that is answered hangs on it."""


def graph(
    program: Program, weights: Mapping[str, ndarray], constants: Mapping[str, ndarray], limits: Limits
) -> tuple[bytes, Signature]:
    """The canonical graph without its weights, and what goes in and comes out.

    Raises:
        FormatError: an operator is not read, or the parts do not fit together.
    """
    drawing = _Drawing(program, weights, constants)
    for number, step in enumerate(program.steps):
        drawing.draw(step, number)
    outputs = drawing.outputs()
    signature = Signature(drawing.inputs, tuple(outputs.values()))
    model = canonical(drawing.finished(outputs), names=())
    _take_out(model, drawing.used, weights, program.buffers)
    declare(model, signature.inputs, signature.outputs)
    made = bytes(model.SerializeToString(deterministic=True))
    check(made, limits)
    return made, signature


@dataclass(slots=True)
class _Drawing:
    program: Program
    weights: Mapping[str, ndarray]
    constants: Mapping[str, ndarray]
    inputs: tuple[TensorSpec, ...] = ()
    used: dict[str, str] = field(default_factory=dict)
    _builder: Builder = field(init=False)
    _sheet: Sheet = field(init=False)
    _values: dict[str, Operand | Size] = field(default_factory=dict)
    _shown: dict[str, str] = field(default_factory=dict)
    _last: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.inputs = _specs(self.program)
        taken = {spec.name for spec in self.inputs}
        learned = {value: name for value, name in self.program.learned.items() if name in self.weights}
        both = taken & set(learned.values())
        if both:
            raise FormatError(f"{min(both)!r} is the name of a weight and of an input")
        self.used = {name: self.weights[name].dtype.name for name in learned.values()}
        specs = [TensorSpec(name, _known(dtype, name), self.weights[name].shape) for name, dtype in self.used.items()]
        self._builder = Builder([*self.inputs, *specs], name="network")
        self._sheet = Sheet(self._builder)
        for spec in self.inputs:
            self._values[spec.name] = Operand(spec.name, spec.dtype, _free(self.program.tensors[spec.name].shape))
        for value, name in learned.items():
            self._values[value] = _operand(name, self.weights[name])
        self._last = _last_reads(self.program)

    def draw(self, step: Step, number: int) -> None:
        """Add what a step computes."""
        operator, overload = _operator(step)
        self._sheet.scope(step.module)
        inplace = operator.endswith("_") and not operator.startswith("_") and not operator.endswith("__")
        call = Call(
            operator.rstrip("_") if inplace else operator,
            step.name,
            {name: self._argument(value, step) for name, value in step.arguments.items()},
            tuple(self._fact(name) for name in step.outputs),
        )
        if inplace and self._counts(step):
            return
        if "decimals" in call.arguments or overload == "out":
            raise call.refused("is called in a way that is not read")
        made = translated(self._sheet, call)
        names = (made,) if isinstance(made, str) else made
        self._keep(step, call, names)
        if operator in VIEWS:
            self._show(step)
        if inplace:
            self._rewrite(step, number)

    def outputs(self) -> dict[str, TensorSpec]:
        """Value of the builder → what is declared of it; each a value of its own."""
        found: dict[str, TensorSpec] = {}
        stored = {spec.name for spec in self._builder.inputs}
        taken = set(stored)
        for name in self.program.outputs:
            value = self._value(name)
            if not isinstance(value, Operand):
                raise FormatError(f"the output {name!r} is a length and no tensor")
            made = value.name
            if made in stored or made in found:
                made = self._sheet.node("Identity", made)
            shape = tuple(_named_axes(self.program, self.program.tensors[name].shape))
            found[made] = TensorSpec(unique(name, taken), _known(value.dtype, name), shape)
        if not found:
            raise FormatError("the program has no outputs")
        return found

    def finished(self, outputs: Mapping[str, TensorSpec]) -> onnx.ModelProto:
        """The graph with weights among its inputs and outputs by their names."""
        specs = [TensorSpec(value, spec.dtype, spec.shape) for value, spec in outputs.items()]
        model: onnx.ModelProto = onnx.ModelProto.FromString(self._builder.finish(specs))
        wanted = {value: spec.name for value, spec in outputs.items()}
        known = values(model.graph)
        moved = {name: unique(name, known) for name in sorted((known - wanted.keys()) & set(wanted.values()))}
        rename(model.graph, {**moved, **wanted})
        return model

    def _argument(self, given: Any, step: Step) -> Any:  # noqa: ANN401 - plain values and what they became
        if isinstance(given, list):
            return [self._argument(one, step) for one in given]
        return self._value(given.name) if isinstance(given, Reference) else given

    def _value(self, name: str) -> Operand | Size:
        if name not in self._values:
            self._values[name] = self._stored(name)
        return self._values[name]

    def _stored(self, name: str) -> Operand:
        """A constant, written down when somebody reads it."""
        key = self.program.constants.get(name, self.program.learned.get(name, name))
        array = self.constants.get(key)
        if array is None:
            raise FormatError(f"the value {name!r} is read, but nothing makes it")
        _known(array.dtype.name, name)
        made = self._sheet.constant(array)
        return Operand(made, array.dtype.name, array.shape)

    def _fact(self, name: str) -> Operand:
        said = self.program.tensors.get(name, Tensor("int64", ()))
        return Operand("", said.dtype, _free(said.shape))

    def _keep(self, step: Step, call: Call, names: tuple[str, ...]) -> None:
        for place, output in enumerate(step.outputs):
            if place >= len(names):
                if self._last.get(output, -1) >= 0 and output not in self.program.changed:
                    raise call.refused(f"makes {output!r}, which is read and not known here")
                continue
            fact = call.results[place]
            is_tensor = output in self.program.tensors
            self._values[output] = Operand(names[place], fact.dtype, fact.shape) if is_tensor else Size(names[place])

    def _counts(self, step: Step) -> bool:
        """Whether a step only counts the batches of a BatchNorm."""
        target = step.arguments.get("self")
        name = self.program.learned.get(target.name, "") if isinstance(target, Reference) else ""
        if name in self.program.buffers and not name.endswith(_SPARED):
            raise FormatError(f"node {step.name!r} changes the buffer {name!r}, and a graph of values keeps no state")
        return bool(name)

    def _show(self, step: Step) -> None:
        """A view shows the numbers of what it is a view of."""
        source = next((v for k, v in step.arguments.items() if k in {"self", "input"}), None)
        if isinstance(source, Reference):
            for output in step.outputs:
                self._shown[output] = self._origin(source.name)

    def _origin(self, name: str) -> str:
        return self._shown.get(name, name)

    def _rewrite(self, step: Step, number: int) -> None:
        """After a step that writes into its first argument, that one has the new numbers."""
        target = step.arguments.get("self", step.arguments.get("input"))
        if not isinstance(target, Reference) or not step.outputs:
            raise FormatError(f"node {step.name!r} writes into what is no value")
        origin = self._origin(target.name)
        others = {name for name, shown in self._shown.items() if shown == origin} | {origin}
        if any(self._last.get(name, -1) > number for name in others - {target.name, *step.outputs}):
            raise FormatError(
                f"node {step.name!r} ({step.target}) writes into {target.name!r}, which other tensors show afterwards; "
                "export the model without operations in place"
            )
        self._values[target.name] = self._values[step.outputs[0]]
        self._shown[step.outputs[0]] = origin


def _operator(step: Step) -> tuple[str, str]:
    """Name and overload; reckoning with lengths is under ``operator.``."""
    if not step.target.startswith(_LIBRARIES):
        raise FormatError(
            f"node {step.name!r} calls {step.target}, which is no operator of torch's own and is not read"
        )
    library, _, rest = step.target.partition("torch.ops.aten.")
    if rest:
        name, _, overload = rest.partition(".")
        return name, overload
    return (f"operator.{library.removeprefix('_operator.')}" if library.startswith("_") else library[6:]), ""


def _last_reads(program: Program) -> dict[str, int]:
    """For each value the number of the last step that reads it; those that leave are read behind the last."""
    found: dict[str, int] = {}
    for number, step in enumerate(program.steps):
        for name in _read(step.arguments.values()):
            found[name] = number
    found.update(dict.fromkeys(program.outputs, len(program.steps)))
    return found


def _read(values: Iterable[Any]) -> Iterable[str]:
    for value in values:
        if isinstance(value, list):
            yield from _read(value)
        elif isinstance(value, Reference):
            yield value.name


def _specs(program: Program) -> tuple[TensorSpec, ...]:
    if len(set(program.inputs)) < len(program.inputs):
        raise FormatError("the program takes an input of one name twice")
    found = []
    for name in program.inputs:
        if name not in program.tensors:
            raise FormatError(f"the input {name!r} is no tensor, which is not read")
        said = program.tensors[name]
        found.append(TensorSpec(name, _known(said.dtype, name), tuple(_named_axes(program, said.shape))))
    return tuple(found)


def _named_axes(program: Program, shape: tuple[int | str, ...]) -> list[int | str]:
    """Free axes by name; the one along which the first input has its rows is ``batch``."""
    firsts = (program.tensors[name].shape[:1] for name in program.inputs if name in program.tensors)
    rows = next((first[0] for first in firsts if first and isinstance(first[0], str)), None)
    return ["batch" if one == rows else one for one in shape]


def _free(shape: tuple[int | str, ...]) -> tuple[int | None, ...]:
    return tuple(one if isinstance(one, int) else None for one in shape)


def _operand(name: str, array: ndarray) -> Operand:
    return Operand(name, array.dtype.name, array.shape)


def _known(dtype: str, name: str) -> str:
    if dtype not in DTYPES:
        raise FormatError(f"{name!r} is of type {dtype}, which a graph of ONNX has not")
    return dtype


def _take_out(
    model: onnx.ModelProto, used: Mapping[str, str], weights: Mapping[str, ndarray], buffers: frozenset[str]
) -> None:
    """Make the weights, which were inputs while the graph was drawn, initializers whose data are elsewhere."""
    kept = [value for value in model.graph.input if value.name not in used]
    copied = [onnx.ValueInfoProto.FromString(value.SerializeToString()) for value in kept]
    del model.graph.input[:]
    model.graph.input.extend(copied)
    read = {name for node in model.graph.node for name in node.input}
    for name, dtype in used.items():
        if name not in read:
            continue
        model.graph.initializer.append(outside(name, element_type(dtype), weights[name].shape))
    note(model, buffers & read, FIXED)
