"""The JSON of a program as plain records: what goes in, the calls in order, what comes out.

Every value is of one of two dozen kinds, each under a key of its own; old files write all the keys, with null under
those that are not meant.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from engram.errors import FormatError
from engram.formats._pt2.expressions import length
from engram.formats._pt2.kinds import named
from engram.records import Limits

__all__ = ["Program", "Reference", "Step", "Tensor", "parsed"]

_SENTINELS: Final = frozenset({"as_memory_format", "as_layout", "as_device"})
_PLAIN: Final = frozenset({"as_int", "as_ints", "as_float", "as_floats", "as_string", "as_strings", "as_bool",
                           "as_bools"})  # fmt: skip
_ENDLESS: Final[Mapping[str, float]] = {"Infinity": math.inf, "-Infinity": -math.inf, "NaN": math.nan}  # as torch does
_SINGLE: Final = {"as_tensor": "name", "as_sym_int": "as_name", "as_optional_tensor": "name"}
_SEVERAL: Final = frozenset({"as_tensors", "as_sym_ints", "as_optional_tensors"})


@dataclass(frozen=True, slots=True)
class Reference:
    """Another value of the program, by name."""

    name: str


@dataclass(frozen=True, slots=True)
class Tensor:
    """What the file says of a tensor: numpy's name of its type, and lengths, with names for those that are free."""

    dtype: str
    shape: tuple[int | str, ...]


@dataclass(frozen=True, slots=True)
class Step:
    """A call.

    Attributes:
        target: the operator in full (``torch.ops.aten.linear.default``).
        name: of the call, for errors.
        module: the way to the module it belongs to; empty for the outermost.
        arguments: by name; plain values, references, and lists of either.
        outputs: names of what it makes.
    """

    target: str
    name: str
    module: str
    arguments: Mapping[str, Any]
    outputs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Program:
    """A network as ``torch.export`` wrote it down.

    Attributes:
        inputs: of the user, in order.
        learned: value → name among the weights, for parameters and buffers.
        buffers: names of those that are buffers.
        constants: value → name among the constants.
        steps: in order.
        outputs: of the user, in order.
        changed: value → name of the buffer that it is the new content of.
        tensors: what is said of each.
        version: of torch; empty where it does not say.
    """

    inputs: tuple[str, ...]
    learned: Mapping[str, str]
    buffers: frozenset[str]
    constants: Mapping[str, str]
    steps: tuple[Step, ...]
    outputs: tuple[str, ...]
    changed: Mapping[str, str]
    tensors: Mapping[str, Tensor]
    version: str


def parsed(document: Mapping[str, Any], limits: Limits) -> Program:
    """The records of a document.

    Raises:
        FormatError: it is damaged, over a limit, or takes or gives what is no tensor.
    """
    module = _unpacked(document.get("graph_module"), "graph_module")
    graph, signature = (_unpacked(module.get(key), key) for key in ("graph", "signature"))
    if len(graph["nodes"]) > limits.nodes:
        raise FormatError(f"the program has {len(graph['nodes']):,} nodes, over the limit of {limits.nodes:,}")
    inputs, learned, buffers, constants = _inputs(signature["input_specs"])
    outputs, changed = _outputs(signature["output_specs"])
    return Program(
        inputs,
        learned,
        buffers,
        constants,
        tuple(_step(node, number) for number, node in enumerate(graph["nodes"])),
        outputs,
        changed,
        {name: _tensor(said) for name, said in graph["tensor_values"].items()},
        str(document.get("torch_version", ""))[:40],
    )


def _unpacked(found: Any, what: str) -> Mapping[str, Any]:  # noqa: ANN401 - of a stranger's file
    """An object; releases before 2.6 wrote some of them as text inside the text."""
    import json

    if isinstance(found, str):
        found = json.loads(found)
    if not isinstance(found, dict):
        raise FormatError(f"the program has no {what}; it is damaged, or of a release of torch before 2.1")
    return found


def _meant(union: Mapping[str, Any]) -> tuple[str, Any]:
    """The one key under which something stands."""
    said = [(key, value) for key, value in union.items() if value is not None]
    if len(said) > 1:
        raise FormatError(f"a value is said to be {said[0][0]} and {said[1][0]} at once")
    return said[0] if said else ("as_none", None)


def _inputs(specs: list[Any]) -> tuple[tuple[str, ...], dict[str, str], frozenset[str], dict[str, str]]:
    inputs: list[str] = []
    learned: dict[str, str] = {}
    constants: dict[str, str] = {}
    buffers: set[str] = set()
    for spec in specs:
        kind, said = _meant(spec)
        if kind == "user_input":
            inputs.append(_given(said["arg"], "input"))
        elif kind == "parameter":
            learned[str(said["arg"]["name"])] = str(said["parameter_name"])
        elif kind == "buffer" and said.get("persistent", True) is not False:
            learned[str(said["arg"]["name"])] = str(said["buffer_name"])
            buffers.add(str(said["buffer_name"]))
        elif kind in {"buffer", "tensor_constant"}:
            constants[str(said["arg"]["name"])] = str(said.get("buffer_name", said.get("tensor_constant_name")))
        elif kind != "constant_input":
            raise FormatError(f"the program takes a {kind.replace('_', ' ')}, which is not read")
    return tuple(inputs), learned, frozenset(buffers), constants


def _outputs(specs: list[Any]) -> tuple[tuple[str, ...], dict[str, str]]:
    outputs: list[str] = []
    changed: dict[str, str] = {}
    for spec in specs:
        kind, said = _meant(spec)
        if kind in {"user_output", "loss_output"}:
            outputs.append(_given(said["arg"], "output"))
        elif kind == "buffer_mutation":
            changed[str(said["arg"]["name"])] = str(said["buffer_name"])
        else:
            raise FormatError(f"the program gives a {kind.replace('_', ' ')}, which is not read")
    return tuple(outputs), changed


def _given(union: Mapping[str, Any], what: str) -> str:
    kind, said = _meant(union)
    if kind != "as_tensor" and "name" not in union:
        raise FormatError(f"an {what} of the program is {kind.removeprefix('as_')} and no tensor, which is not read")
    return str(union["name"] if "name" in union else said["name"])


def _step(node: Mapping[str, Any], number: int) -> Step:
    outputs = tuple(name for union in node["outputs"] for name in _made(union))
    name = str(node.get("name") or (outputs[0] if outputs else f"number {number}"))
    stack = str((node.get("metadata") or {}).get("nn_module_stack", "")).rpartition(";")[2].split(",")
    try:
        arguments = {str(one["name"]): _argument(one["arg"]) for one in node["inputs"]}
    except FormatError as wrong:
        raise FormatError(f"node {name!r} ({node['target']}): {wrong}") from wrong
    return Step(str(node["target"]), name, stack[1] if len(stack) == 3 else "", arguments, outputs)


def _made(union: Mapping[str, Any]) -> list[str]:
    kind, said = _meant(union)
    if kind in _SINGLE:
        return [str(said[_SINGLE[kind]])]
    if kind in _SEVERAL:
        return [str(one["name"]) for one in said]
    if kind == "as_none":
        return []
    raise FormatError(f"a node makes {kind.removeprefix('as_').replace('_', ' ')}, which is not read")


def _argument(union: Mapping[str, Any]) -> Any:  # noqa: ANN401 - plain values, references, and lists of either
    kind, said = _meant(union)
    if kind == "as_none" or kind in _SENTINELS:
        return None
    if kind in _PLAIN:
        return _ENDLESS.get(said, said) if kind == "as_float" else said
    if kind == "as_scalar_type":
        return named(said)
    if kind in {"as_tensor", "as_sym_int", "as_sym_float", "as_optional_tensor"}:
        return _one(said)
    if kind in _SEVERAL:
        return [_one(one) for one in said]
    word = kind.removeprefix("as_").replace("_", " ")
    raise FormatError(f"it is given {word}, which is not read")


def _one(said: Mapping[str, Any]) -> Reference | int | float | None:
    if "name" in said:
        return Reference(str(said["name"]))
    kind, value = _meant(said)
    if kind == "as_tensor":
        return Reference(str(value["name"]))
    if kind == "as_name":
        return Reference(str(value))
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _tensor(said: Mapping[str, Any]) -> Tensor:
    return Tensor(named(said["dtype"]), tuple(_length(one) for one in said["sizes"]))


def _length(union: Mapping[str, Any]) -> int | str:
    kind, said = _meant(union)
    if kind == "as_int" and type(said) is int:
        return int(said)
    return length(str(said["expr_str"]))
