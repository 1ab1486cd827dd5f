"""MLflow folders: an ``MLmodel`` file, and a model in one of MLflow's flavors beside it.

What is written has the flavor ``onnx``, the one that MLflow loads without running code of the model's. MLflow hands a
table of a single column over as (rows, 1) and wants answers of one number a row, so the graph is wrapped: such a column
is flattened before it, and probabilities are divided into one output a class behind it. The model as it is lies beside
it in safetensors, and wrapping it must give the very graph again.

Reading adopts what other programs kept: the flavors onnx, sklearn, keras and tensorflow by the readers of those
formats. A flavor that is a pickle of code (pytorch, python_function alone) is refused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from platform import python_version
from typing import Any

import numpy as np
import onnx as library
import yaml
from numpy import ndarray
from onnx import helper

from engram.errors import FormatError
from engram.formats import _convert, _files, _folders, _onnxruntime, _recognition, _stored_onnx, onnx, safetensors
from engram.graphs.build import IR_VERSION
from engram.graphs.compose import classes, compose
from engram.graphs.naming import rename
from engram.records import Limits, Model

__all__ = ["CARRIES", "FOLDER", "SUFFIXES", "read", "recognizes", "run", "run_pieces", "runtime", "write"]

FOLDER = True
SUFFIXES = ("",)
CARRIES = ("graph", "weights", "preprocessing", "names")

_MLMODEL, _ONNX, _WHOLE = "MLmodel", "model.onnx", "engram.safetensors"
_OWN = "engram"
_LARGEST = 1_000_000
_VERSION = "3.1.0"
"""The release of MLflow whose form of the file this is; later ones read it."""
_PART = "probability "
_COLUMNS: Mapping[int, str] = {
    int(library.TensorProto.DataType.Value(name)): word
    for name, word in {
        "STRING": "string", "DOUBLE": "double", "FLOAT": "float",
        "INT64": "long", "INT32": "integer", "BOOL": "boolean",
    }.items()
}  # fmt: skip
_FILES: Mapping[str, tuple[tuple[str, str], ...]] = {
    _OWN: (("data", ""),),
    "onnx": (("data", ""),),
    "sklearn": (("pickled_model", ""),),
    "keras": (("data", "model.keras"), ("data", "data/model.keras")),
    "tensorflow": (("data", "model.keras"), ("data", "data/model.keras"), ("data", "model"), ("saved_model_dir", "")),
}
"""Flavor → where its file is: a key of the flavor, and what follows the path that stands there."""


def recognizes(head: bytes, path: Path) -> bool:  # noqa: ARG001 - the contract of the shelf
    """Whether a folder has an ``MLmodel``."""
    return (path / _MLMODEL).is_file()


def read(path: Path, limits: Limits) -> Model:
    """The model in a folder: whole when Engram wrote it, else as the reader of its flavor's format reads it.

    Raises:
        FormatError: a file is missing, damaged or hostile, or every flavor would run code.
    """
    flavor, file = _chosen(path, limits)
    if flavor != _OWN:
        return _convert.read(file, limits)
    whole = safetensors.read(file, limits)
    wrapped = _stored_onnx.load(_files.safe_join(path, _ONNX), limits)
    if not whole.graph or _bytes(wrapped) != _bytes(_wrapped(whole)):
        raise FormatError(f"{path.name}: {_ONNX} is not the model in {_WHOLE}; one was changed, keep it again")
    return whole


def write(model: Model, path: Path) -> None:
    """A folder that MLflow loads and scores.

    Raises:
        ConversionError: the model has no graph, or a type that ONNX does not have.
    """
    path.mkdir()
    safetensors.write(model, path / _WHOLE)
    wrapped = _wrapped(model)
    library.save_model(wrapped, path / _ONNX)
    digest = sha256((path / _ONNX).read_bytes()).hexdigest()
    (path / _MLMODEL).write_text(_yaml(_described(wrapped, digest)), encoding="utf-8")
    needed = [f"mlflow>={_VERSION}", "onnx", "onnxruntime"]
    (path / "requirements.txt").write_text("".join(f"{line}\n" for line in needed))
    pip = {"dependencies": [f"python={python_version()}", "pip", {"pip": needed}], "name": "mlflow-env"}
    (path / "conda.yaml").write_text(_yaml(pip))
    environment = {"python": python_version(), "dependencies": ["-r requirements.txt"]}
    (path / "python_env.yaml").write_text(_yaml(environment))


def run(path: Path, inputs: Mapping[str, ndarray]) -> dict[str, ndarray]:
    """What the model in a folder answers in the runtime of its flavor's format.

    Raises:
        FormatError: the runtime cannot open it.
        MissingLibrary: the runtime is not installed.
    """
    return run_pieces(path, [inputs])[0]


def run_pieces(path: Path, pieces: Sequence[Mapping[str, ndarray]]) -> list[dict[str, ndarray]]:
    """As ``run`` for several batches at once, in one process where the flavor's runtime has one of its own."""
    flavor, file = _chosen(path, Limits())
    if flavor == _OWN:
        return [_own_flavor(path, piece) for piece in pieces]
    _, inner = _recognition.recognized(file, Limits())
    if hasattr(inner, "run_pieces"):
        return [dict(answers) for answers in inner.run_pieces(file, pieces)]
    return [dict(inner.run(file, each)) if hasattr(inner, "run") else _served(file, each) for each in pieces]


def _own_flavor(path: Path, inputs: Mapping[str, ndarray]) -> dict[str, ndarray]:
    """What the composed graph answers that Engram keeps in MLflow's flavor onnx."""
    alone = len(inputs) == 1
    columns = {name: array.reshape(-1, 1) if alone and array.ndim == 1 else array for name, array in inputs.items()}
    answers = onnx.run(path / _ONNX, columns)
    parts = [name for name in answers if name.startswith(_PART)]
    if parts:
        answers["probabilities"] = np.stack([answers.pop(name) for name in parts], axis=1)
    return answers


def _served(file: Path, inputs: Mapping[str, ndarray]) -> dict[str, ndarray]:
    """What was read of a file whose format has no runtime of its own."""
    return _onnxruntime.predict(_convert.read(file), [inputs])[0]


def runtime() -> str:
    """The runtime that answers in MLflow's flavor onnx."""
    return onnx.runtime()


def _wrapped(model: Model) -> library.ModelProto:
    """The composed graph as the flavor wants it: a single column as (rows, 1) in, one number a row and output out."""
    whole = library.ModelProto()
    whole.ParseFromString(compose(model))
    graph = whole.graph
    before = _flattened(graph)
    after, outputs = list[library.NodeProto](), list[library.ValueInfoProto]()
    for value in graph.output:
        if value.name == "probabilities":
            nodes, values = _divided(value.name, classes(model))
            after += nodes
            outputs += values
        else:
            outputs.append(library.ValueInfoProto.FromString(value.SerializeToString()))
    inner = [library.NodeProto.FromString(node.SerializeToString()) for node in graph.node]
    del graph.node[:], graph.output[:]
    graph.node.extend([*before, *inner, *after])
    graph.output.extend(outputs)
    whole.ir_version = IR_VERSION
    return whole


def _bytes(model: library.ModelProto) -> bytes:
    return bytes(model.SerializeToString(deterministic=True))


def _flattened(graph: library.GraphProto) -> list[library.NodeProto]:
    """Let a column that is alone come as (rows, 1) under its name, and be what the graph takes under another."""
    columns = [value.name for value in graph.input if len(value.type.tensor_type.shape.dim) == 1]
    if len(graph.input) != 1 or not columns:
        return []
    rename(graph, {name: f"{name}/column" for name in columns})
    nodes = []
    for value in graph.input:
        name = value.name.removesuffix("/column")
        if name in columns:
            value.name = name
            value.type.tensor_type.shape.dim.add().dim_value = 1
            nodes.append(helper.make_node("Constant", [], [f"{name}/flat"], value_ints=[-1]))
            nodes.append(helper.make_node("Reshape", [name, f"{name}/flat"], [f"{name}/column"]))
    return nodes


def _divided(name: str, labels: tuple[str, ...]) -> tuple[list[library.NodeProto], list[library.ValueInfoProto]]:
    nodes, values = [], []
    for place, label in enumerate(labels):
        made = f"{_PART}{label}"
        nodes.append(helper.make_node("Constant", [], [f"{name}/{place}"], value_int=place))
        nodes.append(helper.make_node("Gather", [name, f"{name}/{place}"], [made], axis=1))
        values.append(helper.make_tensor_value_info(made, library.TensorProto.FLOAT, ["batch"]))
    return nodes, values


def _described(wrapped: library.ModelProto, digest: str) -> dict[str, Any]:
    """The ``MLmodel``: flavors, where their files are, and the signature by which MLflow checks what it is given."""
    environment = {"conda": "conda.yaml", "virtualenv": "python_env.yaml"}
    function = {"data": _ONNX, "env": environment, "loader_module": "mlflow.onnx", "python_version": python_version()}
    flavors = {
        _OWN: {"data": _WHOLE},
        "onnx": {
            "code": None,
            "data": _ONNX,
            "onnx_version": library.__version__,
            "providers": ["CPUExecutionProvider"],
        },
        "python_function": function,
    }
    return {
        "flavors": flavors,
        "mlflow_version": _VERSION,
        "model_uuid": digest[:32],
        "signature": {"inputs": json.dumps(_specs(wrapped.graph.input)), "outputs": None},
    }


def _specs(values: Sequence[library.ValueInfoProto]) -> list[dict[str, Any]]:
    """What is taken; one tensor alone has no name, so that MLflow takes an array or a table without names for it."""
    found = [_spec(value) for value in values]
    if len(found) == 1 and found[0]["type"] == "tensor":
        del found[0]["name"]
    return found


def _spec(value: library.ValueInfoProto) -> dict[str, Any]:
    """A column, or a tensor where it has more axes than one and one number a row."""
    tensor = value.type.tensor_type
    axes = [axis.dim_value or -1 for axis in tensor.shape.dim]
    kind = tensor.elem_type
    if len(axes) == 1 or axes[1:] == [1]:
        return {"type": _COLUMNS.get(int(kind), "double"), "name": value.name, "required": True}
    dtype = helper.tensor_dtype_to_np_dtype(kind).name
    return {"type": "tensor", "name": value.name, "tensor-spec": {"dtype": dtype, "shape": axes}}


def _chosen(path: Path, limits: Limits) -> tuple[str, Path]:
    """The flavor that is read, and its file."""
    flavors = _flavors(path)
    for flavor, places in _FILES.items():
        said = flavors.get(flavor)
        known = said if isinstance(said, dict) else {}
        for key, below in places:
            start = known.get(key)
            name = "/".join(part for part in (start if isinstance(start, str) else "", below) if part)
            if isinstance(start, str) and name and (flavor == _OWN or (path / name).exists()):
                return flavor, _inside(path, name, limits)
    found = ", ".join(sorted(str(name)[:40] for name in flavors)) or "none"
    raise FormatError(
        f"{path.name} has the flavors {found}, of which none is read without running code; keep it with the flavor onnx"
    )


def _inside(path: Path, name: str, limits: Limits) -> Path:
    """A file or folder within; of a folder every file must lie within, too."""
    if not (path / name).is_dir():
        return _files.safe_join(path, name)
    for file in _folders.files(path / name, limits):
        _files.safe_join(path, f"{name}/{file}")
    return path / name


def _flavors(path: Path) -> dict[str, Any]:
    content = _files.read(_files.safe_join(path, _MLMODEL), _LARGEST)
    try:
        found = yaml.load(content, Loader=_PlainLoader)  # noqa: S506 - derived from the safe one, and stricter
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as wrong:
        reason = str(wrong).splitlines()[0] if str(wrong) else type(wrong).__name__
        raise FormatError(f"{_MLMODEL} of {path.name} is no plain YAML: {reason}") from wrong
    flavors = found.get("flavors") if isinstance(found, dict) else None
    if not isinstance(flavors, dict):
        raise FormatError(f"{_MLMODEL} of {path.name} names no flavors")
    return flavors


class _PlainLoader(yaml.SafeLoader):  # type: ignore[misc] # the library has no types
    """YAML without anchors, whose references can make a small file endless, and without a key twice."""

    def compose_node(self, parent: Any, index: Any) -> Any:  # noqa: ANN401 - as of the library
        """A node; none that refers to another."""
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("it refers to a part of itself by an anchor")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:  # noqa: ANN401 - likewise
        """A mapping whose keys are there once."""
        made: dict[Any, Any] = super().construct_mapping(node, deep)
        if len(made) != len(node.value):
            raise yaml.YAMLError("a key is there twice")
        return made


def _yaml(value: Mapping[str, Any]) -> str:
    return str(yaml.safe_dump(dict(value), sort_keys=True, allow_unicode=True))
