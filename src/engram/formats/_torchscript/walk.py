"""Walking through the graph of a TorchScript module, calling each of torch's operators by its name.

Only operators that compute are called: torch has others, which open and write files. So a name must be in the table of
those that are read, or in the short list of those that torch takes apart into them; anything else ends the walk.

A branch is taken where its condition is known without looking at numbers (whether a bias is None, how many axes there
are), as scripts of torch's own layers ask; one that hangs on numbers is refused, and so are loops, Python and classes.
"""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable, Mapping
from typing import Any, Final

import torch
from torch import Tensor, nn

from engram.errors import FormatError
from engram.formats._aten.table import TABLE
from engram.formats._pt2 import unrolled
from engram.formats._torchscript.fused import APART
from engram.graphs.naming import unique

__all__ = ["Walk"]

_Values = dict[str, Any]


class Walk(nn.Module):
    """A module that computes what the graph of another one says; its ``state_dict`` has the same names."""

    def __init__(self, script: torch.jit.ScriptModule) -> None:
        super().__init__()
        if not hasattr(script, "inlined_graph"):
            raise FormatError("it is called in several ways, as a layer of time by itself is; put it into a module")
        self.graph: Any = script.inlined_graph
        self.places: dict[tuple[int, torch.Size], str] = {}  # where in memory each lies before it is exported
        for name, value in (*script.named_parameters(remove_duplicate=False), *script.named_buffers()):
            self._store(name, value)
            self.places[value.data_ptr(), value.shape] = name
        self.whole = _Way("", script)
        first, *others = self.graph.inputs()
        if any(str(value.type()) != "Tensor" for value in others):
            raise FormatError("it takes what is no tensor, which is not read")
        self.itself, self.inputs = first.debugName(), [value.debugName() for value in others]
        self.told = _signature(self.inputs)

        def forward(*rows: Tensor, **named: Tensor) -> Any:  # noqa: ANN401 - a tensor, or a tuple of them
            return self._answer(*self.told.bind(*rows, **named).args)

        forward.__signature__ = self.told  # type: ignore[attr-defined]
        self.forward = forward

    def _store(self, name: str, value: Tensor) -> None:
        *folders, last = name.split(".")
        place: nn.Module = self
        for folder in folders:
            place = place._modules.setdefault(folder, nn.Module()) or place  # noqa: SLF001 - any name is allowed
        if isinstance(value, nn.Parameter):
            place._parameters[last] = value  # noqa: SLF001
        else:
            place._buffers[last] = value  # noqa: SLF001

    def stored(self, name: str) -> Tensor | None:
        """The parameter or buffer of this name, None where there is none."""
        *folders, last = name.split(".")
        place: nn.Module = self
        for folder in folders:
            found = place._modules.get(folder)  # noqa: SLF001
            if found is None:
                return None
            place = found
        return place._parameters.get(last, place._buffers.get(last))  # noqa: SLF001

    def _answer(self, *rows: Tensor) -> Any:  # noqa: ANN401
        values: _Values = {self.itself: self.whole}
        values.update(zip(self.inputs, rows, strict=True))
        self._run(self.graph, values)
        found = [values[value.debugName()] for value in self.graph.outputs()]
        return found[0] if len(found) == 1 else tuple(found)

    def _run(self, block: Any, values: _Values) -> None:  # noqa: ANN401 - torch tells no types here
        for node in block.nodes():
            made = self._made(node, [values.get(value.debugName()) for value in node.inputs()], values)
            outputs = [value.debugName() for value in node.outputs()]
            values.update(zip(outputs, made if len(outputs) != 1 else [made], strict=True))

    def _made(self, node: Any, given: list[Any], values: _Values) -> Any:  # noqa: ANN401
        kind = node.kind()
        if kind == "prim::GetAttr":
            return self._attribute(given[0], node.s("name"))
        if kind == "prim::If":
            return self._branch(node, given[0], values)
        if kind in _PRIMITIVES:
            return _PRIMITIVES[kind](node, given)
        if kind in _PYTHON:
            return _PYTHON[kind](*given)
        if not kind.startswith("aten::"):
            raise FormatError(f"node {_place(node)} is {kind}, which is no operator on tensors and is not read")
        return _called(node, kind.removeprefix("aten::"), given)

    def _attribute(self, target: Any, name: str) -> Any:  # noqa: ANN401
        if not isinstance(target, _Way):
            raise FormatError(f"the attribute {name!r} of what is no module is not read")
        way = f"{target.name}.{name}" if target.name else name
        stored = self.stored(way)
        if stored is not None:
            return stored
        found = getattr(target.script, name)
        if found is None or isinstance(found, (bool, int, float, str)):
            return found
        if isinstance(found, list) and all(isinstance(value, Tensor) for value in found):
            return [self._same(way, value) for value in found]
        if not isinstance(found, torch.jit.ScriptModule):
            raise FormatError(f"its attribute {way!r} is a {type(found).__name__}, which is not read")
        return _Way(way, found)

    def _same(self, way: str, value: Tensor) -> Tensor:
        """The parameter or buffer that a list of them holds, by where it lies in memory: a layer of time has one."""
        stored = self.stored(self.places.get((value.data_ptr(), value.shape), ""))
        if stored is not None:
            return stored
        raise FormatError(f"its attribute {way!r} holds a tensor that is no parameter and no buffer, which is not read")

    def _branch(self, node: Any, condition: Any, values: _Values) -> Any:  # noqa: ANN401
        if not isinstance(condition, bool):
            raise FormatError(f"node {_place(node)} is prim::If on numbers, which no graph of values can follow")
        block = list(node.blocks())[1 - condition]
        self._run(block, values)
        found = [values.get(value.debugName()) for value in block.outputs()]
        return found[0] if node.outputsSize() == 1 else found


class _Way:
    """A module of the script, and the way to it; within this, torch does not take it for a part of the walk."""

    def __init__(self, name: str, script: torch.jit.ScriptModule) -> None:
        self.name, self.script = name, script


def _signature(inputs: list[str]) -> inspect.Signature:
    """The inputs by the names they have in the code, to which torch's compiler adds numbers behind a dot."""
    taken: set[str] = set()
    names = [name.partition(".")[0] for name in inputs]
    names = [unique(name if name.isidentifier() else "x", taken) for name in names]
    return inspect.Signature([inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in names])


def _constant(node: Any, _: list[Any]) -> Any:  # noqa: ANN401
    return node.output().toIValue() if node.attributeNames() else None


def _unpacked(node: Any, given: list[Any]) -> Any:  # noqa: ANN401
    return list(given[0]) if node.outputsSize() != 1 else given[0][0]


_PRIMITIVES: Final[Mapping[str, Callable[[Any, list[Any]], Any]]] = {
    "prim::Constant": _constant,
    "prim::ListConstruct": lambda _, given: list(given),
    "prim::ListUnpack": _unpacked,
    "prim::NumToTensor": lambda _, given: given[0],
    "prim::TupleConstruct": lambda _, given: tuple(given),
    "prim::TupleIndex": lambda _, given: given[0][given[1]],
    "prim::TupleUnpack": _unpacked,
    "prim::Uninitialized": lambda *_: None,
    "prim::dtype": lambda _, given: given[0].dtype,
    "prim::device": lambda _, given: given[0].device,
    "prim::is_nested": lambda *_: False,
    "prim::requires_grad": lambda *_: True,  # so that layers take the way on which they could learn
    "prim::type": lambda _, given: given[0].type,
    "prim::unchecked_cast": lambda _, given: given[0],
}
_PYTHON: Final[Mapping[str, Callable[..., Any]]] = {
    "aten::Bool": lambda value: value,
    "aten::Int": lambda value: value,
    "aten::ScalarImplicit": lambda value: value,
    "aten::__contains__": lambda held, value: value in held,
    "aten::__getitem__": operator.getitem,
    "aten::__is__": lambda one, other: one is other,
    "aten::__isnot__": lambda one, other: one is not other,
    "aten::__not__": operator.not_,
    "aten::append": lambda held, value: held.append(value) or held,
    "aten::dim": lambda value: value.dim(),
    "aten::floordiv": operator.floordiv,
    "aten::is_grad_enabled": lambda: True,
    "aten::len": len,
    "aten::list": list,
    "aten::size": lambda value, *axis: value.size(*axis) if axis else list(value.size()),
}
_NUMBERS: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    "add": operator.add, "div": operator.truediv, "eq": operator.eq,
    "ge": operator.ge, "gt": operator.gt, "le": operator.le, "lt": operator.lt,
    "mul": operator.mul, "ne": operator.ne, "remainder": operator.mod, "sub": operator.sub,
}  # fmt: skip
_PURE: Final = frozenset(TABLE) | {
    "Float", "FloatImplicit", "IntImplicit", "T", "addbmm", "addmv", "addr", "alpha_dropout", "argsort", "atleast_1d",
    "atleast_2d", "atleast_3d", "broadcast_tensors", "broadcast_to", "channel_shuffle", "column_stack", "conv_tbc",
    "copy", "cosine_similarity", "count_nonzero", "cross", "diff", "dsplit", "dstack", "feature_alpha_dropout",
    "feature_dropout", "fill", "frobenius_norm", "gru_cell", "hsplit", "hstack", "index_put", "inner",
    "is_autocast_cpu_enabled", "is_autocast_enabled", "is_complex", "is_contiguous", "is_floating_point",
    "is_same_size", "kron", "linalg_matmul", "linalg_norm", "lstm_cell", "mH", "mT", "masked_fill", "matrix_power",
    "max_unpool2d", "meshgrid", "moveaxis", "movedim", "multi_dot", "numel", "numpy_T", "one_hot", "outer",
    "pairwise_distance", "pixel_unshuffle", "ravel", "repeat_interleave", "rnn_relu_cell", "rnn_tanh_cell", "rot90",
    "row_stack", "scatter", "softshrink", "softsign", "special_expit", "std_mean", "stride", "sum_to_size", "swapaxes",
    "swapdims", "take_along_dim", "tensor_split", "tensordot", "threshold", "trapezoid", "unfold", "var_mean", "vsplit",
    "vstack", "zero",
}  # fmt: skip
"""Operators that compute and do nothing else: those that are read, and those that torch takes apart."""


def _called(node: Any, name: str, given: list[Any]) -> Any:  # noqa: ANN401
    if name in _NUMBERS and not all(isinstance(value, Tensor) for value in given[:2]):
        one, other = map(_plain, given[:2])
        if not isinstance(one, Tensor) and not isinstance(other, Tensor):
            return _NUMBERS[name](one, other) if name != "div" else _quotient(one, other, *given[2:])
    if name in APART:
        return APART[name](*given)
    if not {name, name.removesuffix("_")} & _PURE:
        raise FormatError(f"node {_place(node)} is aten::{name}, an operator that is not read; export it to ONNX")
    schema = str(node.schema())
    head = schema.partition("(")[0].removeprefix("aten::")
    overload = head.partition(".")[2] or "default"
    layer = unrolled.called(name)
    if layer is not None and overload == "input" and torch.compiler.is_exporting():
        return layer(*given)
    packet = getattr(torch.ops.aten, name, None)
    if packet is None or not hasattr(packet, overload):
        raise FormatError(f"node {_place(node)} is aten::{head}, which torch does not know")
    called = getattr(packet, overload)
    named = {}
    placed = []
    for value, argument in zip(given, called._schema.arguments, strict=True):  # noqa: SLF001 - its only description
        if argument.kwarg_only:
            named[argument.name] = value
        else:
            placed.append(value)
    return called(*placed, **named)


def _plain(value: Any) -> Any:  # noqa: ANN401
    """A whole number that a trace holds as a tensor of its own, as the number it is; anything else as it is."""
    lone = isinstance(value, Tensor) and value.ndim == 0 and not value.is_floating_point()
    return value.item() if lone else value


def _quotient(one: Any, other: Any, rounding: str | None = None) -> Any:  # noqa: ANN401
    """Of lengths, which are never negative, so that both ways of rounding are one."""
    return one / other if rounding is None else one // other


def _place(node: Any) -> str:  # noqa: ANN401
    """Where in the code a node stands."""
    line = (node.sourceRange().strip().splitlines() or [""])[0].strip()
    return repr(line[:100]) if line else node.kind()
