"""A model as the folder of a SavedModel.

What TensorFlow 2 loads are functions and the objects they are captured by; what its server runs is a graph with nodes
to restore variables. Both stand in one file, and both find the same variables: each is an attribute, under its own
name, of one object called ``weights``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy import ndarray

from engram.errors import ConversionError
from engram.formats._tensorflow import bundle
from engram.formats._tensorflow.functions import function, node
from engram.formats._tensorflow.lowering import lowered
from engram.formats._tensorflow.messages import message
from engram.formats._tensorflow.parameters import OBJECTS, path_key
from engram.formats._tensorflow.sheet import Kind, Made, Operand, Ref, Routine, Sheet, type_number
from engram.formats._tensorflow.tensors import shape_message
from engram.records import Model, TensorSpec

__all__ = ["HOLDER", "TRAINING", "graph_bytes", "write"]

HOLDER, TRAINING = "weights", "training"
_FUNCTION = "__inference_serving_default"
_SERVING = "serving_default"
_PREDICT = "tensorflow/serving/predict"
_PRODUCER = 1087
"""The version of GraphDef that TensorFlow 2.4 wrote: old enough for every release that is alive."""


@dataclass(frozen=True, slots=True)
class _Variable:
    """A variable that is written.

    Attributes:
        name: its own.
        node: of its handle.
        dtype, shape: of its value.
        trainable: whether training moves it.
    """

    name: str
    node: str
    dtype: str
    shape: tuple[int, ...]
    trainable: bool


def write(content: bytes, weights: Mapping[str, ndarray], folder: Path, training: Mapping[str, ndarray]) -> None:
    """Write the folder.

    Args:
        content: of ``saved_model.pb``.
        weights: by name.
        folder: of the SavedModel.
        training: arrays of a training state, which are kept in the checkpoint and which nothing reads.

    Raises:
        ConversionError: an array is of a type that TensorFlow does not have.
    """
    (folder / "variables").mkdir(parents=True)
    tensors: dict[str, ndarray | bytes] = {path_key(HOLDER, name): array for name, array in weights.items()}
    tensors |= {path_key(TRAINING, name): array for name, array in training.items()}
    tensors[OBJECTS] = _trackables({HOLDER: list(weights), TRAINING: list(training)})
    bundle.write(tensors, folder / "variables" / "variables")
    (folder / "saved_model.pb").write_bytes(content)


def graph_bytes(model: Model) -> bytes:
    """What ``saved_model.pb`` of a model holds.

    Raises:
        ConversionError: TensorFlow cannot hold the model.
    """
    variables = _variables(model.weights)
    keys = {variable.name: path_key(HOLDER, variable.name) for variable in variables}
    sheet = Sheet()
    body, outputs = _serving(model, variables, sheet)
    graph = message("Graph", versions=message("Versions", producer=_PRODUCER))
    for name in sorted(sheet.functions):
        graph.library.function.append(sheet.functions[name])
    graph.library.function.append(body)
    made = message("MetaGraph", graph_def=graph)
    made.meta_info_def.tags.append("serve")
    made.meta_info_def.tensorflow_version = "2.4.0"
    _main(made, model, variables, outputs, keys)
    made.object_graph_def.CopyFrom(_objects(model, variables, outputs))
    saved = message("SavedModel", saved_model_schema_version=1, meta_graphs=[made])
    return bytes(saved.SerializeToString(deterministic=True))


def _variables(held: Mapping[str, ndarray]) -> list[_Variable]:
    taken: set[str] = set()
    made = []
    for name, array in held.items():
        label = re.sub(r"[^A-Za-z0-9_./-]", "_", name)
        label = label if re.match(r"[A-Za-z0-9.]", label) else f"variable{label}"
        count, free = 1, label
        while free.lower() in taken:
            count += 1
            free = f"{label}_{count}"
        taken.add(free.lower())
        made.append(_Variable(name, free, array.dtype.name, array.shape, array.dtype.kind in "fV"))
    return made


def _serving(model: Model, variables: list[_Variable], sheet: Sheet) -> tuple[Any, list[TensorSpec]]:
    """The function that serves, and its outputs."""
    inputs = _ordered(model.signature.inputs)
    arguments = {spec.name: sheet.unique(f"input_{place}") for place, spec in enumerate(inputs)}
    handles = {variable.name: sheet.unique(f"variable_{place}") for place, variable in enumerate(variables)}
    kinds = {variable.name: variable for variable in variables}
    given: dict[str, Any] = {spec.name: Operand(Ref(arguments[spec.name]), spec.dtype, spec.shape) for spec in inputs}

    def weight(name: str) -> Operand:
        found = kinds[name]
        label = sheet.unique("ReadVariableOp")
        sheet.nodes.append(Made(label, "ReadVariableOp", (Ref(handles[name]),), {"dtype": Kind(found.dtype)}))
        return Operand(Ref(label), found.dtype, found.shape)

    made = lowered(model, sheet, given, weight)
    names = [*arguments.values(), *handles.values()]
    types = [*(spec.dtype for spec in inputs), *["resource"] * len(handles)]
    outputs = _ordered([TensorSpec(name, value.dtype, _axes(value)) for name, value in made.outputs.items()])
    body = function(_FUNCTION, sheet, (names, types), [made.outputs[spec.name] for spec in outputs])
    return body, outputs


def _ordered(specs: Sequence[TensorSpec]) -> list[TensorSpec]:
    """In the order of their names, in which TensorFlow lays out what it is given by name."""
    return sorted(specs, key=lambda spec: spec.name)


def _axes(value: Operand) -> tuple[int | str, ...]:
    if value.shape is None:
        raise ConversionError("an output has no known number of axes, which a signature needs")
    return value.shape


def _main(
    made: Any,  # noqa: ANN401 - a generated class
    model: Model,
    variables: list[_Variable],
    outputs: list[TensorSpec],
    keys: Mapping[str, str],
) -> None:
    """The graph that a server runs: handles, placeholders, the call, and how variables are restored and saved."""
    graph = made.graph_def
    inputs = _ordered(model.signature.inputs)
    places = [f"serving_default_input_{place}" for place in range(len(inputs))]
    for variable in variables:
        said: dict[str, Any] = {
            "dtype": Kind(variable.dtype),
            "shape": variable.shape,
            "shared_name": variable.name,
            "container": "",
        }
        graph.node.append(node(Made(variable.node, "VarHandleOp", (), said)))
    for place, spec in zip(places, inputs, strict=True):
        graph.node.append(node(Made(place, "Placeholder", (), {"dtype": Kind(spec.dtype), "shape": spec.shape})))
    given = tuple(Ref(name) for name in [*places, *(variable.node for variable in variables)])
    types = [*(Kind(spec.dtype) for spec in inputs), *[Kind("resource")] * len(variables)]
    said = {"Tin": types, "Tout": [Kind(spec.dtype) for spec in outputs], "f": Routine(_FUNCTION)}
    said |= {"config": "", "config_proto": "", "executor_type": ""}
    graph.node.append(node(Made("StatefulPartitionedCall", "StatefulPartitionedCall", given, said)))
    graph.node.append(node(Made("NoOp", "NoOp", (), {})))
    _saver(made, variables, keys)
    signature = made.signature_def[_SERVING]
    signature.method_name = _PREDICT
    for place, spec in zip(places, inputs, strict=True):
        signature.inputs[spec.name].CopyFrom(_info(f"{place}:0", spec))
    for number, spec in enumerate(outputs):
        signature.outputs[spec.name].CopyFrom(_info(f"StatefulPartitionedCall:{number}", spec))
    initial = made.signature_def["__saved_model_init_op"].outputs["__saved_model_init_op"]
    initial.name = "NoOp"
    initial.tensor_shape.unknown_rank = True


def _saver(made: Any, variables: list[_Variable], keys: Mapping[str, str]) -> None:  # noqa: ANN401
    graph = made.graph_def
    names = np.array([keys[variable.name] for variable in variables], dtype=object)
    slices = np.array([""] * len(variables), dtype=object)
    types = [Kind(variable.dtype) for variable in variables]
    nodes = [
        Made("saver_filename", "Placeholder", (), {"dtype": Kind("string"), "shape": ()}),
        Made("saver/names", "Const", (), {"dtype": Kind("string"), "value": names}),
        Made("saver/slices", "Const", (), {"dtype": Kind("string"), "value": slices}),
    ]
    given = tuple(Ref(name) for name in ("saver_filename", "saver/names", "saver/slices"))
    restored, read = [], []
    if variables:
        nodes.append(Made("saver/RestoreV2", "RestoreV2", given, {"dtypes": types}))
    for place, variable in enumerate(variables):
        said: dict[str, Any] = {"dtype": Kind(variable.dtype)}
        pair = (Ref(variable.node), Ref("saver/RestoreV2", place))
        nodes.append(Made(f"saver/Assign_{place}", "AssignVariableOp", pair, {**said, "validate_shape": False}))
        nodes.append(Made(f"saver/Read_{place}", "ReadVariableOp", (Ref(variable.node),), said))
        restored.append(f"^saver/Assign_{place}")
        read.append(Ref(f"saver/Read_{place}"))
    for one in nodes:
        graph.node.append(node(one))
    graph.node.append(message("Node", name="saver/restore_all", op="NoOp", input=restored))
    if variables:
        graph.node.append(node(Made("saver/SaveV2", "SaveV2", (*given, *read), {"dtypes": types})))
    kept = node(Made("saver/saved", "Identity", (Ref("saver_filename"),), {"T": Kind("string")}))
    kept.input.extend(["^saver/SaveV2"] if variables else [])
    graph.node.append(kept)
    made.saver_def.filename_tensor_name = "saver_filename:0"
    made.saver_def.save_tensor_name = "saver/saved:0"
    made.saver_def.restore_op_name = "saver/restore_all"
    made.saver_def.version = 2


def _info(name: str, spec: TensorSpec) -> Any:  # noqa: ANN401 - a generated class
    return message("TensorInfo", name=name, dtype=type_number(spec.dtype), tensor_shape=shape_message(spec.shape))


def _objects(model: Model, variables: list[_Variable], outputs: Sequence[TensorSpec]) -> Any:  # noqa: ANN401
    """The objects that loading in Python makes: a root, its weights by name, and the signature."""
    made = message("ObjectGraph")
    first = 4
    root = made.nodes.add()
    root.children.add(node_id=1, local_name=HOLDER)
    root.children.add(node_id=2, local_name="signatures")
    holder = made.nodes.add()
    for place, variable in enumerate(variables):
        holder.children.add(node_id=first + place, local_name=variable.name)
    signatures = made.nodes.add()
    signatures.children.add(node_id=3, local_name=_SERVING)
    for user, identifier in (
        (root, "_generic_user_object"),
        (holder, "_generic_user_object"),
        (signatures, "signature_map"),
    ):
        user.user_object.identifier = identifier
        user.user_object.version.producer = user.user_object.version.min_consumer = 1
    serving = made.nodes.add().bare_concrete_function
    serving.concrete_function_name = _FUNCTION
    serving.argument_keywords.extend(spec.name for spec in _ordered(model.signature.inputs))
    serving.allowed_positional_arguments = int(len(model.signature.inputs) == 1)
    for variable in variables:
        kept = made.nodes.add().variable
        kept.dtype, kept.name, kept.trainable = type_number(variable.dtype), variable.name, variable.trainable
        kept.shape.CopyFrom(shape_message(variable.shape))
    concrete = made.concrete_functions[_FUNCTION]
    concrete.bound_inputs.extend(range(first, first + len(variables)))
    given = concrete.canonicalized_input_signature.tuple_value
    given.values.add().tuple_value.SetInParent()
    _specs(given.values.add().dict_value, model.signature.inputs)
    _specs(concrete.output_signature.dict_value, outputs)
    return made


def _specs(fields: Any, specs: Sequence[TensorSpec]) -> None:  # noqa: ANN401 - a generated class
    fields.SetInParent()
    for spec in specs:
        found = fields.fields[spec.name].tensor_spec_value
        found.name, found.dtype = spec.name, type_number(spec.dtype)
        found.shape.CopyFrom(shape_message(spec.shape))


def _trackables(held: Mapping[str, Sequence[str]]) -> bytes:
    """The objects as the checkpoint knows them: the root, what it holds, and the variables in that."""
    made = message("Trackables")
    root = made.nodes.add()
    holders = {name: names for name, names in held.items() if names or name == HOLDER}
    for place, holder in enumerate(holders, start=1):
        root.children.add(node_id=place, local_name=holder)
        made.nodes.add()
    for place, (holder, names) in enumerate(holders.items(), start=1):
        for name in names:
            made.nodes[place].children.add(node_id=len(made.nodes), local_name=name)
            found = made.nodes.add().attributes.add(name="VARIABLE_VALUE", full_name=name)
            found.checkpoint_key = path_key(holder, name)
    return bytes(made.SerializeToString(deterministic=True))
