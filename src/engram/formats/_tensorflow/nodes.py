"""Writing ONNX nodes one after the other, knowing the type and shape of every value at once.

onnx infers the types of one node at a time here, from what went into it, because readers decide by shapes while the
graph is still growing. What hangs on constants only is computed on the spot.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import onnx
from numpy import ndarray
from onnx import TensorProto, defs, helper, numpy_helper

from engram.errors import FormatError
from engram.formats._tensorflow.values import Axis, Tensor, inverse
from engram.graphs.build import OPSET, element_type
from engram.graphs.folding import computed

__all__ = ["Nodes", "Scope"]

_IMPORTS = [helper.make_opsetid("", OPSET)]
_SMALL = 4096
_KNOWN = {number: name for name, number in TensorProto.DataType.items()}


@dataclass(slots=True)
class Scope:
    """A graph in the making: the outermost, or one inside a node."""

    nodes: list[onnx.NodeProto] = field(default_factory=list)
    settled: dict[Any, Tensor] = field(default_factory=dict)


class Nodes:
    """The graph in the making, and what is known of its values.

    Attributes:
        weights: name → type and axes, of those that are used.
    """

    def __init__(self) -> None:
        self.weights: dict[str, tuple[str, tuple[int, ...]]] = {}
        self._scopes = [Scope()]
        self._taken: set[str] = set()
        self._types: dict[str, onnx.TypeProto] = {}
        self._constants: dict[str, TensorProto] = {}
        self._places: dict[str, tuple[str, int]] = {}
        self._free = 0

    # ------------------------------------------------------------------ values

    def input(self, name: str, dtype: str, shape: tuple[Axis | None, ...] | None) -> Tensor:
        """A value that comes from outside of the current graph; free axes get names."""
        made = self._unique(name)
        if shape is None:
            self._types[made] = helper.make_tensor_type_proto(element_type(dtype), None)
            return Tensor(made, dtype, None)
        axes = tuple(self._fresh() if axis is None else axis for axis in shape)
        return self._declared(made, dtype, axes)

    def weight(self, name: str, dtype: str, shape: tuple[int, ...]) -> Tensor:
        """A learned parameter, by its own name."""
        if name not in self.weights:
            self.weights[name] = (dtype, shape)
            self._taken.add(name)
            return self._declared(name, dtype, shape)
        return Tensor(name, dtype, shape)

    def constant(self, value: ndarray | np.generic | float | Sequence[int], dtype: str = "") -> Tensor:
        """A number, array or texts."""
        array = np.asarray(value, dtype=np.dtype(dtype) if dtype and dtype != "string" else None)
        name = self._unique("constant")
        tensor = _text_tensor(array, name) if array.dtype.kind in "OUS" else numpy_helper.from_array(array, name)
        self._constants[name] = tensor
        node = helper.make_node("Constant", [], [name], name=name, value=tensor)
        self._scopes[-1].nodes.append(node)
        kind = "string" if array.dtype.kind in "OUS" else array.dtype.name
        made = self._declared(name, kind, array.shape)
        whole = array.dtype.kind in "iu" and array.ndim <= 1 and array.size <= _SMALL
        parts = tuple(int(number) for number in np.atleast_1d(array)) if whole else None
        return replace(made, constant=array, parts=parts)

    def lengths(self, parts: Sequence[Axis], dtype: str = "int32", *, scalar: bool = False) -> Tensor:
        """A vector, or a number, of lengths; nothing is written until somebody needs it."""
        shape: tuple[Axis, ...] = () if scalar else (len(parts),)
        if all(isinstance(part, int) for part in parts):
            array = np.array(parts[0] if scalar else parts, dtype=dtype)
            return Tensor("", dtype, shape, constant=array, parts=tuple(parts))
        return Tensor("", dtype, shape, parts=tuple(parts))

    def parts(self, value: Tensor) -> tuple[Axis, ...] | None:
        """The lengths in a number or vector, given names where they are computed in the graph."""
        if value.parts is not None:
            return value.parts
        if value.dtype not in {"int32", "int64"} or value.rank not in {0, 1}:
            return None
        if value.rank == 0:
            name = self._fresh()
            self._places[name] = (self.name(value), -1)
            return (name,)
        count = value.shape[0] if value.shape else None
        if not isinstance(count, int) or count > _SMALL:
            return None
        source = self.name(value)
        return tuple(
            self._placed(self.emit("Gather", source, self.constant(i, "int64").name, axis=0)) for i in range(count)
        )

    def name(self, value: Tensor) -> str:
        """The name of a value in the new graph, as TensorFlow sees it: owed transpositions paid, parts put together."""
        return self.settled(value).name

    def shaped(self, value: Tensor, shape: tuple[Axis, ...]) -> Tensor:
        """A value that is known to have these axes."""
        if value.name and not value.turn and value.constant is None:
            self._declared(value.name, value.dtype, shape)
        return replace(value, shape=shape)

    def settled(self, value: Tensor) -> Tensor:
        """The value without anything owed."""
        if value.name and not value.turn:
            return value
        for scope in self._scopes:
            found = scope.settled.get(_key(value))
            if found is not None:
                return found
        if value.turn:
            made = self.emit("Transpose", value.name, perm=list(value.turn))
            made = self.shaped(made, value.shape) if value.shape is not None else made
        elif value.constant is not None:
            made = self.constant(value.constant)
        else:
            made = self._assembled(value)
        self._scopes[-1].settled[_key(value)] = made
        return made

    def stored(self, value: Tensor) -> Tensor:
        """The value as it lies in the new graph, whatever is owed."""
        if not value.turn:
            return self.settled(value)
        back = inverse(value.turn)
        shape = None if value.shape is None else tuple(value.shape[axis] for axis in back)
        return Tensor(value.name, value.dtype, shape)

    def turned(self, stored: Tensor, turn: tuple[int, ...]) -> Tensor:
        """A value in the new graph as TensorFlow sees it, with a transposition owed."""
        if turn == tuple(range(len(turn))):
            return replace(stored, turn=(), origin=None)
        shape = None if stored.shape is None else tuple(stored.shape[axis] for axis in turn)
        return Tensor(stored.name, stored.dtype, shape, turn=turn)

    # ------------------------------------------------------------------- nodes

    def emit(self, kind: str, *inputs: str, **attributes: Any) -> Tensor:  # noqa: ANN401
        """Add a node with one output."""
        return self.several(kind, *inputs, outputs=1, **attributes)[0]

    def several(self, kind: str, *inputs: str, outputs: int, **attributes: Any) -> tuple[Tensor, ...]:  # noqa: ANN401
        """Add a node with several outputs."""
        base = self._unique(kind.lower())
        names = [base, *(self._unique(f"{base}.{number}") for number in range(1, outputs))]
        node = helper.make_node(kind, list(inputs), names, name=base, **attributes)
        made = computed(node, self._constants)
        if made is not None:
            return tuple(self._known(made[name]) for name in names)
        self._scopes[-1].nodes.append(node)
        return tuple(self._inferred(node))

    def inner(
        self, node: onnx.NodeProto, types: Mapping[str, tuple[str, tuple[Axis | None, ...] | None]]
    ) -> tuple[Tensor, ...]:
        """Add a node that holds graphs, whose outputs are of these types."""
        self._scopes[-1].nodes.append(node)
        made = []
        for name in node.output:
            dtype, shape = types[name]
            if shape is None:
                self._types[name] = helper.make_tensor_type_proto(element_type(dtype), None)
                made.append(Tensor(name, dtype, None))
            else:
                axes = tuple(self._fresh() if axis is None else axis for axis in shape)
                made.append(self._declared(name, dtype, axes))
        return tuple(made)

    @contextmanager
    def scope(self) -> Iterator[Scope]:
        """A graph inside a node; what is added until the end of the block belongs to it."""
        made = Scope()
        self._scopes.append(made)
        try:
            yield made
        finally:
            self._scopes.pop()

    def value_info(self, value: Tensor, name: str = "") -> onnx.ValueInfoProto:
        """The declaration of a settled value as an input or output of a graph."""
        made = onnx.ValueInfoProto(name=name or value.name)
        made.type.CopyFrom(self._types[value.name])
        return made

    def known(self, name: str) -> Tensor:
        """A value of the new graph by its name."""
        if name in self._constants:
            return self.constant(_array(self._constants[name]))
        kind = self._types[name].tensor_type
        dtype = _dtype_name(kind.elem_type)
        if not kind.HasField("shape"):
            return Tensor(name, dtype, None)
        return Tensor(name, dtype, tuple(self._axis(axis) for axis in kind.shape.dim))

    def unique(self, name: str) -> str:
        """A name that no value has yet."""
        return self._unique(name)

    def keep(self, names: Iterable[str]) -> None:
        """Give these names to no value: answers will be called so."""
        self._taken.update(names)

    def named(self, value: Tensor, name: str) -> str:
        """The value under another name, which must be free."""
        made = self._unique(name)
        source = self.name(value)
        self._scopes[-1].nodes.append(helper.make_node("Identity", [source], [made], name=made))
        self._types[made] = self._types[source]
        return made

    @property
    def outermost(self) -> list[onnx.NodeProto]:
        """The nodes of the outermost graph."""
        return self._scopes[0].nodes

    # ----------------------------------------------------------------- private

    def _assembled(self, value: Tensor) -> Tensor:
        """Lengths put together from what they are the lengths of."""
        assert value.parts is not None
        pieces = [self._length(part) for part in value.parts]
        made = pieces[0] if len(pieces) == 1 else self.emit("Concat", *(piece.name for piece in pieces), axis=0)
        if value.shape == ():
            made = self.emit("Reshape", made.name, self.constant([], "int64").name)
        if value.dtype != "int64":
            made = self.emit("Cast", made.name, to=element_type(value.dtype))
        return replace(made, parts=value.parts)

    def _length(self, part: Axis) -> Tensor:
        """One length as a vector of one int64."""
        if isinstance(part, int):
            return self.constant([part], "int64")
        name, axis = self._places[part]
        if axis >= 0:
            return self.emit("Shape", name, start=axis, end=axis + 1)
        wide = self.emit("Cast", name, to=TensorProto.INT64)
        return self.emit("Reshape", wide.name, self.constant([1], "int64").name)

    def _placed(self, scalar: Tensor) -> Axis:
        if scalar.parts is not None:
            return scalar.parts[0]
        name = self._fresh()
        self._places[name] = (scalar.name, -1)
        return name

    def _known(self, tensor: TensorProto) -> Tensor:
        return self.constant(_array(tensor))

    def _declared(self, name: str, dtype: str, shape: tuple[Axis, ...]) -> Tensor:
        self._types[name] = helper.make_tensor_type_proto(element_type(dtype), list(shape))
        for place, axis in enumerate(shape):
            if isinstance(axis, str):
                self._places.setdefault(axis, (name, place))
        return Tensor(name, dtype, shape)

    def _inferred(self, node: onnx.NodeProto) -> Iterator[Tensor]:
        types = {name: self._types[name] for name in node.input if name}
        data = {name: self._constants[name] for name in node.input if name in self._constants}
        schema = defs.get_schema(node.op_type, OPSET, "")
        try:
            found = onnx.shape_inference.infer_node_outputs(schema, node, types, data, opset_imports=_IMPORTS)
        except (RuntimeError, ValueError, onnx.shape_inference.InferenceError) as wrong:
            reason = str(wrong).strip().splitlines()[-1] if str(wrong).strip() else repr(wrong)
            raise FormatError(f"{node.op_type} does not fit what goes into it: {reason}") from wrong
        for name in node.output:
            kind = found.get(name)
            if kind is None or not kind.tensor_type.elem_type:
                raise FormatError(f"{node.op_type} gives no tensor whose type is known; the graph is damaged")
            dtype = _dtype_name(kind.tensor_type.elem_type)
            if not kind.tensor_type.HasField("shape"):
                self._types[name] = kind
                yield Tensor(name, dtype, None)
                continue
            axes = tuple(self._axis(axis) for axis in kind.tensor_type.shape.dim)
            yield self._declared(name, dtype, axes)

    def _axis(self, axis: onnx.TensorShapeProto.Dimension) -> Axis:
        if axis.HasField("dim_value"):
            return int(axis.dim_value)
        return str(axis.dim_param) or self._fresh()

    def _fresh(self) -> str:
        self._free += 1
        return f"free.{self._free}"

    def _unique(self, name: str) -> str:
        made, count = name, 1
        while made in self._taken:
            count += 1
            made = f"{name}_{count}"
        self._taken.add(made)
        return made


def _key(value: Tensor) -> Any:  # noqa: ANN401 - anything that hashes
    if value.turn:
        return value.name, value.turn
    if value.constant is not None:
        return value.dtype, value.constant.shape, value.constant.tobytes()
    return value.dtype, value.shape, value.parts


def _dtype_name(number: int) -> str:
    name = str(_KNOWN[number]).lower()
    return {"float": "float32", "double": "float64"}.get(name, name)


def _array(tensor: TensorProto) -> ndarray:
    if tensor.data_type == TensorProto.STRING:
        return np.array([text.decode(errors="replace") for text in tensor.string_data], dtype=object).reshape(
            tensor.dims
        )
    return np.asarray(numpy_helper.to_array(tensor))


def _text_tensor(array: ndarray, name: str) -> TensorProto:
    made = TensorProto(name=name, data_type=TensorProto.STRING, dims=array.shape)
    made.string_data.extend(t if isinstance(t, bytes) else str(t).encode() for t in array.reshape(-1).tolist())
    return made
