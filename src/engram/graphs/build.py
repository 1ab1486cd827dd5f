"""Building a graph node by node, with names that a reader can follow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy import ndarray
from onnx import TensorProto, helper, numpy_helper

from engram.graphs.outline import outline
from engram.graphs.weights import outside
from engram.records import TensorSpec

__all__ = ["DOMAIN_ML", "IR_VERSION", "OPSET", "OPSET_ML", "Builder", "element_type", "value_info"]

OPSET = 21
OPSET_ML = 5
IR_VERSION = 10
DOMAIN_ML = "ai.onnx.ml"
_DOMAIN_VERSIONS = {"": OPSET, DOMAIN_ML: OPSET_ML, "com.microsoft": 1}


def element_type(dtype: str) -> int:
    """ONNX's number for one of ``records.DTYPES``."""
    names = {"float32": "FLOAT", "float64": "DOUBLE"}
    return int(TensorProto.DataType.Value(names.get(dtype, dtype.upper())))


def value_info(spec: TensorSpec) -> onnx.ValueInfoProto:
    """The declaration of an input or output."""
    return helper.make_tensor_value_info(spec.name, element_type(spec.dtype), list(spec.shape))


class Builder:
    """A graph in the making.

    Every method that adds something returns the name of the value it made, so that calls nest. Values are named after
    the ``scope`` they are made in (``age/scale``) and stay unique.
    """

    def __init__(self, inputs: Sequence[TensorSpec], name: str = "engram") -> None:
        self.inputs = tuple(inputs)
        self.name = name
        self.scope = ""
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: list[onnx.TensorProto] = []
        self._names: set[str] = {spec.name for spec in inputs}

    def node(self, kind: str, *inputs: str, domain: str = "", name: str = "", **attributes: Any) -> str:  # noqa: ANN401
        """Add a node with one output and return the name of the output.

        Args:
            kind: the operator (``"Where"``).
            inputs: names of values; ``""`` for an optional one left out.
            domain: ``""``, ``"ai.onnx.ml"`` or ``"com.microsoft"``.
            name: what to call the output; made from the scope and the operator otherwise.
            attributes: of the operator.
        """
        return self.nodes(kind, *inputs, outputs=1, domain=domain, name=name, **attributes)[0]

    def nodes(
        self,
        kind: str,
        *inputs: str,
        outputs: int,
        domain: str = "",
        name: str = "",
        **attributes: Any,  # noqa: ANN401
    ) -> tuple[str, ...]:
        """Add a node with several outputs and return their names."""
        base = self._unique(name or self._scoped(kind.lower()))
        made = (base, *(self._unique(f"{base}.{i}") for i in range(1, outputs)))
        self._nodes.append(helper.make_node(kind, list(inputs), list(made), name=base, domain=domain, **attributes))
        return made

    def constant(
        self, value: ndarray | np.generic | float | Sequence[str] | Sequence[float], name: str = "", dtype: str = ""
    ) -> str:
        """Add an initializer and return its name.

        Args:
            value: an array, a number, or a list of strings (which becomes a string tensor).
            name: what to call it; made from the scope otherwise.
            dtype: numpy's name, when the value's own is not the one wanted.
        """
        made = self._unique(name or self._scoped("constant"))
        array = np.asarray(value, dtype=dtype or None)
        if array.dtype.kind in "OUS":
            strings = TensorProto(name=made, data_type=TensorProto.STRING, dims=array.shape)
            strings.string_data.extend(str(item).encode() for item in array.ravel().tolist())
            self._initializers.append(strings)
        else:
            self._initializers.append(numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape), made))
        return made

    def weight(self, array: ndarray, name: str) -> str:
        """Add a weight whose numbers stay beside the graph: only its type and shape are taken; return its name."""
        made = self._unique(name)
        self._initializers.append(outside(made, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape))
        return made

    def finish(self, outputs: Sequence[TensorSpec]) -> bytes:
        """The graph as a serialized ModelProto, checked; its outputs are values of these names.

        Raises:
            onnx.checker.ValidationError: the graph is not valid ONNX, which is an error in the caller.
        """
        graph = helper.make_graph(
            self._nodes,
            self.name,
            [value_info(spec) for spec in self.inputs],
            [value_info(spec) for spec in outputs],
            self._initializers,
        )
        domains = sorted({node.domain for node in self._nodes} | {""})
        imports = [helper.make_opsetid(domain, _DOMAIN_VERSIONS[domain]) for domain in domains]
        model = helper.make_model(graph, opset_imports=imports, ir_version=IR_VERSION, producer_name="engram")
        onnx.checker.check_model(outline(model))
        return bytes(model.SerializeToString(deterministic=True))

    def _scoped(self, name: str) -> str:
        return f"{self.scope}/{name}" if self.scope else name

    def _unique(self, name: str) -> str:
        made, count = name, 1
        while made in self._names:
            count += 1
            made = f"{name}_{count}"
        self._names.add(made)
        return made
