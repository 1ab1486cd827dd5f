"""Files that no pickle is in and that lead elsewhere, lie about their size, or carry programs, a function each.

Each takes an empty folder and a ``Bait`` and gives the path of what is to be opened. Whole files come from the writers
under test and are then changed, or from other programs, so that all but one thing about them is as it should be.
"""

import io
import json
import os
import shutil
import struct
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import onnx
import yaml
from onnx import TensorProto, helper

from engram.formats import huggingface, keras, mlflow, safetensors, savedmodel, tfjs, tflite
from engram.formats._tensorflow.wire import message
from engram.formats._tflite.parts import Entry, File, Operator, Subgraph, Tensor
from engram.formats._tflite.serialize import serialize
from formats import conftest as small

__all__ = ["FILES", "HONEST", "SHOWN", "Bait"]

GOLDEN = Path(__file__).resolve().parents[1] / "formats" / "golden"


@dataclass(frozen=True)
class Bait:
    """What a hostile file is after.

    Attributes:
        canary: what it wants to make.
        secret: what it wants to read; 64 bytes that lie outside of every model.
    """

    canary: Path
    secret: Path


Make = Callable[[Path, Bait], Path]
FILES: dict[str, Make] = {}
SHOWN: set[str] = set()
"""Hostile files that are shown, because nothing of them is run for that, and refused when they are to answer."""
HONEST: dict[str, Make] = {}
"""Files that are as they should be, so that a reader that refuses all would be noticed."""


def hostile(make: Make) -> Make:
    FILES[make.__name__] = make
    return make


def shown(make: Make) -> Make:
    SHOWN.add(make.__name__)
    return hostile(make)


def honest(make: Make) -> Make:
    HONEST[make.__name__] = make
    return make


def zipped(path: Path, members: Mapping[str, bytes], **more: Any) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, content in members.items():
            archive.writestr(name, content, **more)
    return path


def members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


# ---------------------------------------------------------------------- Keras


@honest
def keras_whole(folder: Path, _: Bait) -> Path:
    keras.write(small.pictures(), folder / "model.keras")
    return folder / "model.keras"


def keras_with(folder: Path, change: Callable[[dict[str, Any]], object], **extra: bytes) -> Path:
    """A Keras file whose config was changed."""
    held = members(keras_whole(folder, Bait(folder, folder)))
    config = json.loads(held["config.json"])
    config["config"]["layers"][-1].pop("engram", None)
    change(config)
    return zipped(folder / "model.keras", held | {"config.json": json.dumps(config).encode()} | extra)


def last(config: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = next(one for one in config["config"]["layers"][::-1] if one["class_name"] == "Dense")
    return found


@hostile
def keras_lambda(folder: Path, bait: Bait) -> Path:
    code = {"class_name": "__lambda__", "config": {"code": "4wEAAAA=", "defaults": None, "closure": None}}
    return keras_with(folder, lambda c: last(c).update(class_name="Lambda", module="keras.layers",
        config={"name": "x", "function": code, "arguments": {"path": str(bait.canary)}}))  # fmt: skip


@hostile
def keras_module_of_the_system(folder: Path, bait: Bait) -> Path:
    return keras_with(
        folder, lambda c: last(c).update(class_name="system", module="os", config={"command": f"touch {bait.canary}"})
    )


@hostile
def keras_planted_module(folder: Path, _: Bait) -> Path:
    return keras_with(
        folder, lambda c: last(c).update(class_name="Thing", module="planted", registered_name="planted>Thing")
    )


@hostile
def keras_activation_of_the_system(folder: Path, _: Bait) -> Path:
    wanted = {"module": "os", "class_name": "function", "config": "system", "registered_name": "system"}
    return keras_with(folder, lambda c: last(c)["config"].update(activation=wanted))


@hostile
def keras_layer_that_loads_another_model(folder: Path, bait: Bait) -> Path:
    config = {"name": "x", "filepath": str(bait.secret.parent), "call_endpoint": "serve"}
    return keras_with(folder, lambda c: last(c).update(class_name="TFSMLayer", module="keras.layers", config=config))


@hostile
def keras_layer_of_torch(folder: Path, _: Bait) -> Path:
    config = {"name": "x", "module": "gASVHQAAAAAAAACMAm9zlIwGc3lzdGVtlJOULg=="}
    return keras_with(folder, lambda c: last(c).update(class_name="TorchModuleWrapper", config=config))


@hostile
def keras_compiled_with_the_system(folder: Path, bait: Bait) -> Path:
    loss = {"module": "os", "class_name": "system", "config": f"touch {bait.canary}", "registered_name": None}
    return keras_with(folder, lambda c: c.update(module="os", class_name="system", compile_config={"loss": loss}))


@hostile
def keras_zip_slip(folder: Path, bait: Bait) -> Path:
    up = "../" * 20 + str(bait.canary).lstrip("/")
    return zipped(folder / "model.keras", members(keras_whole(folder, bait)) | {up: b"made"})


@hostile
def keras_member_by_its_whole_path(folder: Path, bait: Bait) -> Path:
    return zipped(folder / "model.keras", members(keras_whole(folder, bait)) | {str(bait.canary): b"made"})


@hostile
def keras_member_that_is_a_link(folder: Path, bait: Bait) -> Path:
    held = members(keras_whole(folder, bait))
    del held["model.weights.h5"]
    path = zipped(folder / "model.keras", held)
    link = zipfile.ZipInfo("model.weights.h5")
    link.create_system, link.external_attr = 3, 0o120777 << 16
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(link, str(bait.secret))
    return path


@hostile
def keras_member_twice(folder: Path, bait: Bait) -> Path:
    path = keras_whole(folder, bait)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("./config.json", archive.read("config.json"))
    return path


@hostile
def keras_bomb(folder: Path, bait: Bait) -> Path:
    held = members(keras_whole(folder, bait))
    return zipped(folder / "model.keras", held | {"model.weights.h5": bytes(64 << 20)})


@hostile
def keras_in_keras(folder: Path, bait: Bait) -> Path:
    held = members(keras_whole(folder, bait))
    inner = (folder / "model.keras").read_bytes()
    return zipped(folder / "model.keras", held | {"model.weights.h5": inner})


@hostile
def keras_config_without_end(folder: Path, bait: Bait) -> Path:
    held = members(keras_whole(folder, bait))
    return zipped(folder / "model.keras", held | {"config.json": b'{"a":' * 200_000})


@hostile
def keras_weights_of_other_shapes(folder: Path, bait: Bait) -> Path:
    path = keras_whole(folder, bait)
    held = members(path)
    (folder / "w.h5").write_bytes(held["model.weights.h5"])
    with h5py.File(folder / "w.h5", "a") as file:
        names: list[str] = []
        file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
        del file[names[0]]
        file.create_dataset(names[0], (1 << 20, 1 << 20), "f4", chunks=(16, 16))
    return zipped(path, held | {"model.weights.h5": (folder / "w.h5").read_bytes()})


# ---------------------------------------------------------------------- HDF5


def hdf5_whole(folder: Path, _: Bait) -> Path:
    return Path(shutil.copy(GOLDEN.parent / "seeds" / "hdf5" / "two_inputs.h5", folder / "model.h5"))


def hdf5_with(folder: Path, change: Callable[[h5py.Group, str], object]) -> Path:
    """A file of Keras in which a change took the place of one array."""
    path = hdf5_whole(folder, Bait(folder, folder))
    with h5py.File(path, "a") as file:
        names: list[str] = []
        file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
        name = next(one for one in names if "model_weights" in one)
        group, _, inner = name.rpartition("/")
        shape, dtype = file[name].shape, file[name].dtype
        del file[name]
        file[group].attrs["was"] = json.dumps([list(shape), str(dtype)])
        change(file[group], inner)
    return path


@hostile
def hdf5_link_to_another_file(folder: Path, bait: Bait) -> Path:
    with h5py.File(bait.secret.with_suffix(".h5"), "w") as other:
        other["x"] = np.ones((4, 4), np.float32)
    return hdf5_with(
        folder, lambda g, name: g.__setitem__(name, h5py.ExternalLink(str(bait.secret.with_suffix(".h5")), "/x"))
    )


@hostile
def hdf5_array_in_another_file(folder: Path, bait: Bait) -> Path:
    return hdf5_with(folder, lambda g, name: g.create_dataset(name, (4, 4), "f4", external=[(str(bait.secret), 0, 64)]))


@hostile
def hdf5_virtual_array(folder: Path, bait: Bait) -> Path:
    layout = h5py.VirtualLayout((4, 4), "f4")
    layout[:] = h5py.VirtualSource(str(bait.secret.with_suffix(".h5")), "x", (4, 4))
    return hdf5_with(folder, lambda g, name: g.create_virtual_dataset(name, layout))


@hostile
def hdf5_group_that_holds_itself(folder: Path, _: Bait) -> Path:
    return hdf5_with(folder, lambda g, name: g.__setitem__(name, g))


@hostile
def hdf5_packed_bomb(folder: Path, _: Bait) -> Path:
    return hdf5_with(folder, lambda g, name: g.create_dataset(
        name, (1 << 14, 1 << 14), "f4", chunks=(1 << 12, 1 << 12), compression="gzip", fillvalue=0))  # fmt: skip


@hostile
def hdf5_lambda(folder: Path, bait: Bait) -> Path:
    path = hdf5_whole(folder, bait)
    with h5py.File(path, "a") as file:
        config = json.loads(file.attrs["model_config"])
        config["config"]["layers"][-1].update(
            class_name="Lambda", config={"name": "x", "function": ["4wEAAAA=", None, None]}
        )
        file.attrs["model_config"] = json.dumps(config)
    return path


# ---------------------------------------------------------------------- NumPy


def npy(header: str, data: bytes = b"") -> bytes:
    text = header.encode() + b" " * (-(len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data


@honest
def npz_whole(folder: Path, _: Bait) -> Path:
    np.savez(folder / "model.npz", w=np.ones((2, 3), np.float32))
    return folder / "model.npz"


@hostile
def npz_header_that_computes(folder: Path, bait: Bait) -> Path:
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': (__import__('os').system('touch {bait.canary}'),)}}"
    return zipped(folder / "model.npz", {"w.npy": npy(text, bytes(64))})


@hostile
def npz_shape_that_lies(folder: Path, _: Bait) -> Path:
    text = "{'descr': '<f4', 'fortran_order': False, 'shape': (1099511627776, 4)}"
    return zipped(folder / "model.npz", {"w.npy": npy(text, bytes(64))})


@hostile
def npz_name_that_leads_up(folder: Path, bait: Bait) -> Path:
    text = "{'descr': '<f4', 'fortran_order': False, 'shape': (4,)}"
    return zipped(folder / "model.npz", {f"../../{bait.canary.name}.npy": npy(text, bytes(16))})


@hostile
def npz_bomb(folder: Path, _: Bait) -> Path:
    text = "{'descr': '<f4', 'fortran_order': False, 'shape': (157286400,)}"
    return zipped(folder / "model.npz", {"w.npy": npy(text, bytes(600 << 20))})


# ---------------------------------------------------------------------- safetensors, JSON, Hugging Face


@honest
def safetensors_whole(folder: Path, _: Bait) -> Path:
    safetensors.write(small.binary(), folder / "model.safetensors")
    return folder / "model.safetensors"


def safetensors_of(folder: Path, header: bytes, data: bytes = b"", length: int | None = None) -> Path:
    path = folder / "model.safetensors"
    path.write_bytes(struct.pack("<Q", len(header) if length is None else length) + header + data)
    return path


def entry(shape: list[int], start: int, end: int, dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


@hostile
def safetensors_header_of_all_memory(folder: Path, _: Bait) -> Path:
    return safetensors_of(folder, b"{}", length=(1 << 63) - 1)


@hostile
def safetensors_shape_that_lies(folder: Path, _: Bait) -> Path:
    return safetensors_of(folder, json.dumps({"w": entry([1 << 38], 0, 1 << 40)}).encode(), bytes(64))


@hostile
def safetensors_that_overlap(folder: Path, _: Bait) -> Path:
    return safetensors_of(folder, json.dumps({"v": entry([16], 0, 64), "w": entry([8], 16, 48)}).encode(), bytes(64))


@hostile
def safetensors_twice(folder: Path, _: Bait) -> Path:
    one = json.dumps(entry([16], 0, 64))
    return safetensors_of(folder, f'{{"w": {one}, "w": {one}}}'.encode(), bytes(64))


@hostile
def safetensors_shards_outside(folder: Path, bait: Bait) -> Path:
    path = folder / "model.safetensors.index.json"
    safetensors_of(bait.secret.parent, json.dumps({"w": entry([4], 0, 16)}).encode(), bytes(16))
    up = f"../../{bait.secret.parent.name}/model.safetensors"
    path.write_text(json.dumps({"metadata": {"total_size": 16}, "weight_map": {"w": up}}))
    return path


@hostile
def json_without_end(folder: Path, _: Bait) -> Path:
    (folder / "model.json").write_text('{"layers": ' + "[" * 300_000)
    return folder / "model.json"


@hostile
def json_numbers_without_end(folder: Path, _: Bait) -> Path:
    layer = '{"type": "dense", "units": ' + "9" * 5_000 + "}"
    (folder / "model.json").write_text(f'{{"inputs": [{{"name": "x", "shape": [4]}}], "layers": [{layer}]}}')
    return folder / "model.json"


@honest
def huggingface_whole(folder: Path, _: Bait) -> Path:
    huggingface.write(small.binary(), folder / "model")
    return folder / "model"


@hostile
def huggingface_pickled_weights_alone(folder: Path, bait: Bait) -> Path:
    path = huggingface_whole(folder, bait)
    for file in path.glob("*.safetensors"):
        file.unlink()
    words = f"cos\nsystem\n(S'touch {bait.canary}'\ntR.".encode()
    zipped(path / "pytorch_model.bin", {"m/data.pkl": words, "m/version": b"3\n"})
    return path


@hostile
def huggingface_link_to_the_secret(folder: Path, bait: Bait) -> Path:
    path = huggingface_whole(folder, bait)
    (path / "tokenizer.json").symlink_to(bait.secret)
    return path


@honest
def huggingface_code_beside(folder: Path, bait: Bait) -> Path:
    """Code of a model's own is not asked for; the weights are read, and what they are for is not."""
    path = huggingface_whole(folder, bait)
    config = json.loads((path / "config.json").read_text())
    config |= {"auto_map": {"AutoModel": "planted.Thing"}, "trust_remote_code": True, "architectures": ["Thing"]}
    (path / "config.json").write_text(json.dumps(config))
    (path / "planted.py").write_text(f"open({str(bait.canary)!r}, 'w')\n")
    (path / "__init__.py").write_text(f"open({str(bait.canary)!r}, 'w')\n")
    return path


# ---------------------------------------------------------------------- ONNX


def net(nodes: list[onnx.NodeProto], *more: TensorProto, **rest: Any) -> onnx.ModelProto:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])
    domains = sorted({node.domain for node in nodes})
    opsets = [helper.make_opsetid(domain, 1 if domain else 17) for domain in {"", *domains}]
    return helper.make_model(
        helper.make_graph(nodes, "g", [x], [y], list(more)), opset_imports=opsets, ir_version=9, **rest
    )


def weight(**said: str) -> TensorProto:
    found = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4, 4])
    if not said:
        found.raw_data = bytes(64)
        return found
    found.data_location = TensorProto.EXTERNAL
    for key, value in said.items():
        found.external_data.add(key=key, value=value)
    return found


def onnx_of(folder: Path, model: onnx.ModelProto) -> Path:
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    return folder / "model.onnx"


def multiplied(folder: Path, **said: str) -> Path:
    return onnx_of(folder, net([helper.make_node("MatMul", ["x", "w"], ["y"])], weight(**said)))


@honest
def onnx_whole(folder: Path, _: Bait) -> Path:
    return multiplied(folder)


@hostile
def onnx_data_above(folder: Path, bait: Bait) -> Path:
    return multiplied(folder, location=f"../../{bait.secret.parent.name}/{bait.secret.name}")


@hostile
def onnx_data_by_whole_path(folder: Path, bait: Bait) -> Path:
    return multiplied(folder, location=str(bait.secret))


@hostile
def onnx_data_behind_a_link(folder: Path, bait: Bait) -> Path:
    (folder / "w.bin").symlink_to(bait.secret)
    return multiplied(folder, location="w.bin")


@hostile
def onnx_data_in_a_linked_folder(folder: Path, bait: Bait) -> Path:
    (folder / "inner").symlink_to(bait.secret.parent)
    return multiplied(folder, location=f"inner/{bait.secret.name}")


@hostile
def onnx_data_of_two_names(folder: Path, bait: Bait) -> Path:
    os.link(bait.secret, folder / "w.bin")
    return multiplied(folder, location="w.bin")


@hostile
def onnx_data_in_a_pipe(folder: Path, _: Bait) -> Path:
    os.mkfifo(folder / "w.bin")
    return multiplied(folder, location="w.bin")


@hostile
def onnx_data_that_lie_about_their_place(folder: Path, _: Bait) -> Path:
    (folder / "w.bin").write_bytes(bytes(64))
    return multiplied(folder, location="w.bin", offset=str(1 << 62), length=str(1 << 62))


@hostile
def onnx_data_in_an_attribute(folder: Path, bait: Bait) -> Path:
    found = net([helper.make_node("Constant", [], ["w"], value=weight(location=str(bait.secret))),
                 helper.make_node("MatMul", ["x", "w"], ["y"])])  # fmt: skip
    return onnx_of(folder, found)


@hostile
def onnx_operator_of_python(folder: Path, _: Bait) -> Path:
    return onnx_of(folder, net([helper.make_node("PyOp", ["x"], ["y"], domain="ai.onnx.contrib", name="planted")]))


@shown
def onnx_loop_without_end(folder: Path, _: Bait) -> Path:
    def value(name: str, kind: int, shape: list[int] | None) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, kind, shape)

    body = helper.make_graph(
        [helper.make_node("Identity", ["c"], ["d"]), helper.make_node("Sin", ["v"], ["u"])], "body",
        [value("i", TensorProto.INT64, []), value("c", TensorProto.BOOL, []), value("v", TensorProto.FLOAT, None)],
        [value("d", TensorProto.BOOL, []), value("u", TensorProto.FLOAT, None)],
    )  # fmt: skip
    count = helper.make_tensor("m", TensorProto.INT64, [], [(1 << 62)])
    go = helper.make_tensor("go", TensorProto.BOOL, [], [True])
    return onnx_of(folder, net([helper.make_node("Loop", ["m", "go", "x"], ["y"], body=body)], count, go))


@shown
def onnx_tensor_without_end(folder: Path, _: Bait) -> Path:
    shape = helper.make_tensor("s", TensorProto.INT64, [2], [1 << 20, 1 << 20])
    nodes = [helper.make_node("ConstantOfShape", ["s"], ["c"]), helper.make_node("ReduceSum", ["c"], ["t"], keepdims=0),
             helper.make_node("Add", ["x", "t"], ["y"])]  # fmt: skip
    return onnx_of(folder, net(nodes, shape))


def filling(operator: str, *given: TensorProto, **more: Any) -> Make:
    """A graph that makes a tensor of 4 TiB out of a few numbers, of which it then answers the sum."""

    def make(folder: Path, _: Bait) -> Path:
        nodes = [helper.make_node(operator, [one.name for one in given], ["c"], **more),
                 helper.make_node("Cast", ["c"], ["f"], to=TensorProto.FLOAT),
                 helper.make_node("ReduceSum", ["f"], ["t"], keepdims=0),
                 helper.make_node("Add", ["x", "t"], ["y"])]  # fmt: skip
        return onnx_of(folder, net(nodes, *given))

    return make


def whole(name: str, *numbers: int) -> TensorProto:
    return helper.make_tensor(name, TensorProto.INT64, [len(numbers)], numbers)


def lone(name: str, number: float, kind: int = TensorProto.INT64) -> TensorProto:
    return helper.make_tensor(name, kind, [], [number])


for _operator, _given in {
    "Expand": (lone("v", 1.0, TensorProto.FLOAT), whole("s", 1 << 20, 1 << 20)),
    "Tile": (whole("v", 1), whole("s", 1 << 40)),
    "Range": (lone("a", 0), lone("b", 1 << 40), lone("d", 1)),
    "OneHot": (whole("i", 1), lone("depth", 1 << 40), whole("v", 0, 1)),
    "Pad": (whole("v", 1), whole("p", 1 << 40, 0)),
}.items():
    FILES[f"onnx_{_operator}_without_end"] = filling(_operator, *_given)
    SHOWN.add(f"onnx_{_operator}_without_end")


@hostile
def onnx_texts_that_are_not_there(folder: Path, _: Bait) -> Path:
    texts = TensorProto(name="w", data_type=TensorProto.STRING, dims=[1 << 30], string_data=[b"a"])
    nodes = [helper.make_node("Cast", ["w"], ["c"], to=TensorProto.FLOAT), helper.make_node("Add", ["x", "c"], ["y"])]
    return onnx_of(folder, net(nodes, texts))


@hostile
def onnx_sparse_weights_of_all_memory(folder: Path, _: Bait) -> Path:
    few = helper.make_sparse_tensor(
        helper.make_tensor("w", TensorProto.FLOAT, [1], [1.0]), helper.make_tensor("i", TensorProto.INT64, [1], [7]),
        [1 << 20, 1 << 20],
    )  # fmt: skip
    found = net([helper.make_node("MatMul", ["x", "w"], ["y"])])
    found.graph.sparse_initializer.append(few)
    return onnx_of(folder, found)


@hostile
def onnx_weights_that_lie(folder: Path, _: Bait) -> Path:
    found = weight()
    found.dims[:] = [1 << 20, 1 << 20]
    return onnx_of(folder, net([helper.make_node("MatMul", ["x", "w"], ["y"])], found))


@hostile
def onnx_functions_that_call_each_other(folder: Path, _: Bait) -> Path:
    functions = [
        helper.make_function("f", f"F{n}", ["a"], ["b"], [helper.make_node(f"F{1 - n}", ["a"], ["b"], domain="f")],
                             [helper.make_opsetid("", 17), helper.make_opsetid("f", 1)])
        for n in (0, 1)
    ]  # fmt: skip
    return onnx_of(folder, net([helper.make_node("F0", ["x"], ["y"], domain="f")], functions=functions))


@hostile
def onnx_functions_that_double(folder: Path, _: Bait) -> Path:
    def twice(n: int) -> onnx.FunctionProto:
        nodes = [
            helper.make_node(f"F{n + 1}", ["a"], ["m"], domain="f"),
            helper.make_node(f"F{n + 1}", ["m"], ["b"], domain="f"),
        ]
        nodes = nodes if n < 39 else [helper.make_node("Sin", ["a"], ["b"])]
        return helper.make_function(
            "f", f"F{n}", ["a"], ["b"], nodes, [helper.make_opsetid("", 17), helper.make_opsetid("f", 1)]
        )

    start = helper.make_node("F0", ["x"], ["y"], domain="f")
    return onnx_of(folder, net([start], functions=[twice(n) for n in range(40)]))


# ---------------------------------------------------------------------- TensorFlow and its children


@honest
def savedmodel_whole(folder: Path, _: Bait) -> Path:
    savedmodel.write(small.binary(), folder / "model")
    return folder / "model"


def savedmodel_with(folder: Path, change: Callable[[Any], object]) -> Path:
    """A SavedModel of TensorFlow's own whose graph was changed."""
    with zipfile.ZipFile(GOLDEN / "savedmodel" / "mlp-2.20.zip") as archive:
        archive.extractall(folder / "model")
    (folder / "model" / "answers.npz").unlink()
    file = folder / "model" / "saved_model.pb"
    found = message("SavedModel")
    found.ParseFromString(file.read_bytes())
    change(found.meta_graphs[0])
    file.write_bytes(found.SerializeToString())
    return folder / "model"


def planted(operation: str, *, library: bool) -> Make:
    def make(folder: Path, bait: Bait) -> Path:
        def plant(graph: Any) -> None:
            at = graph.graph_def.library.function[0].node_def if library else graph.graph_def.node
            node = at.add(name="innocent", op=operation)
            for key in ("token", "filename", "contents", "value"):
                node.attr[key].s = str(bait.canary).encode()

        return savedmodel_with(folder, plant)

    return make


for _operation in ("PyFunc", "EagerPyFunc", "ReadFile", "WriteFile", "PrintV2", "LoadLibrary", "XlaLaunch"):
    for _library in (False, True):
        FILES[f"savedmodel_{_operation}{'_in_a_function' * _library}"] = planted(_operation, library=_library)


def saver(graph: Any, bait: Bait) -> str:
    """Nodes that write a checkpoint called like the canary, all of operations that honest files hold; the last name."""
    nodes = graph.graph_def.node

    def words(name: str, word: str, *axes: int) -> None:
        node = nodes.add(name=name, op="Const")
        node.attr["dtype"].type = node.attr["value"].tensor.dtype = 7
        node.attr["value"].tensor.string_val.append(word.encode())
        for axis in axes:
            node.attr["value"].tensor.tensor_shape.dim.add(size=axis)

    words("bait_path", str(bait.canary))
    words("bait_names", "w", 1)
    words("bait_slices", "", 1)
    node = nodes.add(name="bait", op="SaveV2", input=["bait_path", "bait_names", "bait_slices", "bait_names"])
    node.attr["dtypes"].list.type.append(7)
    return "bait"


@hostile
def savedmodel_that_saves_when_it_begins(folder: Path, bait: Bait) -> Path:
    def plant(graph: Any) -> None:
        begins = graph.signature_def["__saved_model_init_op"].outputs["__saved_model_init_op"]
        begins.name = saver(graph, bait)

    return savedmodel_with(folder, plant)


@hostile
def savedmodel_that_saves_in_the_old_way(folder: Path, bait: Bait) -> Path:
    def plant(graph: Any) -> None:
        del graph.signature_def["__saved_model_init_op"]
        graph.collection_def["saved_model_main_op"].node_list.value.append(saver(graph, bait))

    return savedmodel_with(folder, plant)


@hostile
def savedmodel_that_saves_when_it_is_restored(folder: Path, bait: Bait) -> Path:
    def plant(graph: Any) -> None:
        graph.saver_def.restore_op_name = saver(graph, bait)

    return savedmodel_with(folder, plant)


@hostile
def savedmodel_that_saves_before_it_answers(folder: Path, bait: Bait) -> Path:
    def plant(graph: Any) -> None:
        name = saver(graph, bait)
        end = next(iter(graph.signature_def["serving_default"].outputs.values())).name.partition(":")[0]
        next(node for node in graph.graph_def.node if node.name == end).input.append(f"^{name}")

    return savedmodel_with(folder, plant)


@hostile
def savedmodel_variables_behind_a_link(folder: Path, bait: Bait) -> Path:
    path = savedmodel_with(folder, lambda _: None)
    data = next((path / "variables").glob("*.data*"))
    data.rename(bait.secret.with_suffix(".data"))
    data.symlink_to(bait.secret.with_suffix(".data"))
    return path


@hostile
def savedmodel_asset_outside(folder: Path, bait: Bait) -> Path:
    def plant(graph: Any) -> None:
        node = graph.graph_def.node.add(name="innocent", op="InitializeTableFromTextFileV2")
        node.attr["filename"].s = str(bait.secret).encode()

    return savedmodel_with(folder, plant)


@hostile
def savedmodel_that_restores_the_secret(folder: Path, bait: Bait) -> Path:
    def plant(graph: Any) -> None:
        saver(graph, bait)
        node = graph.graph_def.node.add(name="found", op="RestoreV2")
        node.input.extend(["bait_path", "bait_names", "bait_slices"])
        node.attr["dtypes"].list.type.append(1)
        next(node for node in graph.graph_def.node if node.op == "Const").attr["value"].tensor.string_val[:] = []
        graph.signature_def["serving_default"].outputs["secret"].name = "found:0"

    return savedmodel_with(folder, plant)


@hostile
def savedmodel_constant_of_all_memory(folder: Path, _: Bait) -> Path:
    def plant(graph: Any) -> None:
        node = graph.graph_def.node.add(name="much", op="Const")
        node.attr["dtype"].type = node.attr["value"].tensor.dtype = 1
        node.attr["value"].tensor.float_val.append(1.0)
        for _ in range(2):
            node.attr["value"].tensor.tensor_shape.dim.add(size=1 << 20)
        graph.signature_def["serving_default"].outputs["much"].name = "much:0"

    return savedmodel_with(folder, plant)


@honest
def tflite_whole(folder: Path, _: Bait) -> Path:
    tflite.write(small.binary(), folder / "model.tflite")
    return folder / "model.tflite"


@hostile
def tflite_operator_of_its_own(folder: Path, bait: Bait) -> Path:
    path = tflite_whole(folder, bait)
    content = bytearray(path.read_bytes())
    size = len(content)
    # Every four bytes that may be an offset lead to the end; what is changed decides nothing about what is run.
    for place in range(4, size - 4, 4):
        if int.from_bytes(content[place : place + 4], "little") == 9:  # FULLY_CONNECTED
            content[place : place + 4] = (32).to_bytes(4, "little")  # CUSTOM
    path.write_bytes(content)
    return path


def tflite_of(folder: Path, *operators: Operator, tensors: Mapping[int, Tensor] | None = None) -> Path:
    """A file of few tensors and the given operators, ``y`` from ``x`` among them."""
    held = {0: Tensor("x", "FLOAT32", (1, 2), (-1, 2)), 1: Tensor("y", "FLOAT32", (1, 2), (-1, 2))} | dict(
        tensors or {}
    )
    graph = Subgraph("main", [held[number] for number in sorted(held)], (0,), (1,), list(operators))
    content = serialize(File("", (graph,), (Entry("serving_default", {"x": 0}, {"y": 1}),)))
    (folder / "model.tflite").write_bytes(content)
    return folder / "model.tflite"


@hostile
def tflite_loop_that_is_its_own_body(folder: Path, _: Bait) -> Path:
    return tflite_of(folder, Operator("WHILE", (0,), (1,), {"cond_subgraph_index": 0, "body_subgraph_index": 0}))


@hostile
def tflite_operator_of_tensorflow(folder: Path, _: Bait) -> Path:
    return tflite_of(folder, Operator("CUSTOM", (0,), (1,), custom="FlexWriteFile"))


@hostile
def tflite_weights_of_all_memory(folder: Path, _: Bait) -> Path:
    much = Tensor("w", "FLOAT32", (1 << 20, 1 << 20), (1 << 20, 1 << 20), np.zeros(8, np.uint8).data)
    return tflite_of(folder, Operator("ADD", (0, 2), (1,)), tensors={2: much})


@shown
def tflite_tensor_without_end(folder: Path, _: Bait) -> Path:
    shape = Tensor("s", "INT32", (2,), (2,), np.array([1 << 20, 1 << 20], np.int32).view(np.uint8).data)
    value = Tensor("v", "FLOAT32", (), (), np.ones(1, np.float32).view(np.uint8).data)
    much, sides = (Tensor("m", "FLOAT32", (1 << 20, 1 << 20), (1 << 20, 1 << 20)),
                   Tensor("a", "INT32", (2,), (2,), np.array([0, 1], np.int32).view(np.uint8).data))  # fmt: skip
    total = Tensor("t", "FLOAT32", (), ())
    fill, count, add = (Operator("FILL", (2, 3), (4,)), Operator("SUM", (4, 5), (6,)), Operator("ADD", (0, 6), (1,)))
    return tflite_of(folder, fill, count, add, tensors={2: shape, 3: value, 4: much, 5: sides, 6: total})


@hostile
def tflite_offsets_outside(folder: Path, bait: Bait) -> Path:
    path = tflite_whole(folder, bait)
    content = bytearray(path.read_bytes())
    content[:4] = (0x7FFFFFFF).to_bytes(4, "little")
    path.write_bytes(content)
    return path


@honest
def tfjs_whole(folder: Path, _: Bait) -> Path:
    tfjs.write(small.binary(), folder / "model.tfjs")
    return folder / "model.tfjs"


def tfjs_with(folder: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    path = tfjs_whole(folder, Bait(folder, folder))
    said = json.loads((path / "model.json").read_text())
    said.pop("userDefinedMetadata", None)
    change(said)
    (path / "model.json").write_text(json.dumps(said))
    return path


@hostile
def tfjs_weights_above(folder: Path, bait: Bait) -> Path:
    up = f"../../../{bait.secret.parent.name}/{bait.secret.name}"
    return tfjs_with(folder, lambda said: said["weightsManifest"][0].update(paths=[up]))


@hostile
def tfjs_weights_by_whole_path(folder: Path, bait: Bait) -> Path:
    return tfjs_with(folder, lambda said: said["weightsManifest"][0].update(paths=[str(bait.secret)]))


@hostile
def tfjs_weights_behind_a_link(folder: Path, bait: Bait) -> Path:
    path = tfjs_whole(folder, bait)
    shard = next(path.glob("*.bin"))
    shard.rename(bait.secret.with_suffix(".shard"))
    shard.symlink_to(bait.secret.with_suffix(".shard"))
    return path


@hostile
def tfjs_weights_on_the_network(folder: Path, _: Bait) -> Path:
    return tfjs_with(folder, lambda said: said["weightsManifest"][0].update(paths=["http://127.0.0.1:9/w.bin"]))


@hostile
def tfjs_operation_of_the_system(folder: Path, _: Bait) -> Path:
    node = {"name": "x", "op": "WriteFile"}
    return tfjs_with(folder, lambda said: said.update(modelTopology={"node": [node]}, format="graph-model"))


# ---------------------------------------------------------------------- MLflow, skops, MXNet, torch.export


@honest
def mlflow_whole(folder: Path, _: Bait) -> Path:
    mlflow.write(small.binary(), folder / "model")
    return folder / "model"


def mlflow_of(folder: Path, text: str) -> Path:
    path = mlflow_whole(folder, Bait(folder, folder))
    (path / "MLmodel").write_text(text)
    return path


@hostile
def mlflow_yaml_that_calls(folder: Path, bait: Bait) -> Path:
    return mlflow_of(folder, f"flavors: !!python/object/apply:os.system ['touch {bait.canary}']\n")


@hostile
def mlflow_yaml_that_grows(folder: Path, _: Bait) -> Path:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    return mlflow_of(folder, "\n".join([*lines, "flavors: {onnx: {data: model.onnx}}\n"]))


@hostile
def mlflow_loader_of_its_own(folder: Path, bait: Bait) -> Path:
    path = mlflow_of(folder, yaml.safe_dump({"flavors": {"python_function": {
        "loader_module": "planted", "code": "code", "data": "data", "env": "conda.yaml"}}}))  # fmt: skip
    (path / "code").mkdir()
    (path / "code" / "planted.py").write_text(f"open({str(bait.canary)!r}, 'w')\n")
    return path


@hostile
def mlflow_model_elsewhere(folder: Path, bait: Bait) -> Path:
    onnx_of(bait.secret.parent, net([helper.make_node("MatMul", ["x", "w"], ["y"])], weight()))
    up = f"../../../{bait.secret.parent.name}/model.onnx"
    return mlflow_of(folder, yaml.safe_dump({"flavors": {"onnx": {"data": up}}}))


@hostile
def mlflow_model_behind_a_link(folder: Path, bait: Bait) -> Path:
    path = mlflow_whole(folder, bait)
    model = next(path.rglob("*.onnx"))
    model.rename(bait.secret.with_suffix(".onnx"))
    model.symlink_to(bait.secret.with_suffix(".onnx"))
    return path


@honest
def mlflow_environment_that_installs(folder: Path, bait: Bait) -> Path:
    """What MLflow would install before it loads a model is not asked for."""
    path = mlflow_whole(folder, bait)
    hook = {"pip": ["--index-url=http://127.0.0.1:9/", "planted"]}
    said = {"name": f"$(touch {bait.canary})", "channels": ["http://127.0.0.1:9/"], "dependencies": ["python", hook]}
    (path / "conda.yaml").write_text(yaml.safe_dump(said))
    (path / "python_env.yaml").write_text(f"build_dependencies: ['-e .; touch {bait.canary}']\n")
    (path / "requirements.txt").write_text("--extra-index-url http://127.0.0.1:9/\nplanted @ file:///work/planted\n")
    (path / "planted.py").write_text(f"open({str(bait.canary)!r}, 'w')\n")
    return path


def node(kind: str, module: str, loader: str, **more: Any) -> dict[str, Any]:
    return {"__class__": kind, "__module__": module, "__loader__": loader, "__id__": 1, **more}


def skops_of(folder: Path, schema: dict[str, Any]) -> Path:
    return zipped(
        folder / "model.skops", {"schema.json": json.dumps(schema | {"protocol": 2, "_skops_version": "0.16"}).encode()}
    )


@hostile
def skops_function_of_the_system(folder: Path, bait: Bait) -> Path:
    call = node("system", "os", "FunctionNode", content="system")
    words = node("str", "builtins", "JsonNode", content=f'"touch {bait.canary}"')
    content = {"func": call, "args": words, "kwds": words, "namespace": words}
    return skops_of(folder, node("partial", "functools", "PartialNode", content=content))


@hostile
def skops_planted_class(folder: Path, _: Bait) -> Path:
    return skops_of(folder, node("Thing", "planted", "ObjectNode", content=None))


@hostile
def skops_reduce(folder: Path, bait: Bait) -> Path:
    said = {"reduce": {"args": [f"touch {bait.canary}"]}, "constructor": "os.system"}
    return skops_of(folder, node("system", "os", "ReduceNode", content=None, **said))


@hostile
def skops_array_that_is_a_pickle(folder: Path, bait: Bait) -> Path:
    header = npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }")
    schema = node("ndarray", "numpy", "NdArrayNode", type="numpy", file="a.npy") | {"protocol": 2}
    held = {
        "schema.json": json.dumps(schema).encode(),
        "a.npy": header + f"cos\nsystem\n(S'touch {bait.canary}'\ntR.".encode(),
    }
    return zipped(folder / "model.skops", held)


@hostile
def skops_bomb(folder: Path, _: Bait) -> Path:
    schema = node("ndarray", "numpy", "NdArrayNode", type="numpy", file="a.npy") | {"protocol": 2}
    much = npy("{'descr': '<f8', 'fortran_order': False, 'shape': (32000000,), }", bytes(256 << 20))
    return zipped(folder / "model.skops", {"schema.json": json.dumps(schema).encode(), "a.npy": much})


@hostile
def mxnet_operator_of_its_own(folder: Path, _: Bait) -> Path:
    given = {"op": "null", "name": "data", "inputs": []}
    own = {"op": "Custom", "name": "x", "attrs": {"op_type": "planted"}, "inputs": [[0, 0, 0]]}
    symbol: dict[str, Any] = {"nodes": [given, own], "arg_nodes": [0], "node_row_ptr": [0, 1, 2], "heads": [[1, 0, 0]]}
    symbol["attrs"] = {"mxnet_version": ["int", 10900]}
    (folder / "model-symbol.json").write_text(json.dumps(symbol))
    (folder / "model-0000.params").write_bytes(struct.pack("<QQQQ", 0x112, 0, 0, 0))
    return folder / "model-symbol.json"


@honest
def pt2_whole(folder: Path, _: Bait) -> Path:
    return Path(shutil.copy(GOLDEN / "pt2" / "torch-2.13.0-mlp.pt2", folder / "model.pt2"))


@honest
def pt2_rows_that_run(folder: Path, bait: Bait) -> Path:
    """The example rows of a program are a pickle that torch opens with ``weights_only=False``; here nobody looks."""
    held = members(pt2_whole(folder, bait))
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("m/data.pkl", f"cos\nsystem\n(S'touch {bait.canary}'\ntR.")
        archive.writestr("m/version", "3\n")
    name = next(one for one in held if one.endswith("sample_inputs/model.pt"))
    return _stored(folder / "model.pt2", held | {name: inner.getvalue()})


@hostile
def pt2_operator_of_its_own(folder: Path, bait: Bait) -> Path:
    held = members(pt2_whole(folder, bait))
    name = next(one for one in held if one.endswith("models/model.json"))
    text = held[name].decode().replace("torch.ops.aten.relu.default", "torch.ops.planted.thing.default")
    text = text.replace("torch.ops.aten.linear.default", "torch.ops.aten.from_file.default")
    assert text.encode() != held[name]
    return _stored(folder / "model.pt2", held | {name: text.encode()})


def _stored(path: Path, held: Mapping[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in held.items():
            archive.writestr(name, content)
    return path


@hostile
def pt2_bomb(folder: Path, bait: Bait) -> Path:
    held = members(pt2_whole(folder, bait))
    name = next(one for one in held if one.endswith("models/model.json"))
    return zipped(folder / "model.pt2", held | {name: b" " * (256 << 20) + held[name]})


# ---------------------------------------------------------------------- PyTorch

STORED = (
    b"((X\x07\0\0\0storagectorch\nFloatStorage\nX\1\0\0\0%dX\3\0\0\0cpuK%ctQK\0(%st(%st"
    b"\x89ccollections\nOrderedDict\n)RtR"
)
"""A tensor in a pickle of torch's: number of its file, how many there are, lengths and strides."""
LAYER = """class Linear(Module):
  __parameters__ = ["weight", "bias", ]
  __buffers__ = []
  weight : Tensor
  bias : Tensor
  def forward(self: __torch__.Linear,
    x: Tensor) -> Tensor:
    weight = self.weight
    bias = self.bias
    y = torch.linear(x, weight, bias)
"""


def torchscript_of(folder: Path, lines: str) -> Path:
    """A layer as ``torch.jit.save`` keeps it, with more lines of code; the code is torch's own when there are none."""
    rebuilt = b"ctorch._utils\n_rebuild_tensor_v2\n"
    weight = rebuilt + STORED % (0, 4, b"K\2K\2", b"K\2K\1")
    bias = rebuilt + STORED % (1, 2, b"K\2", b"K\1")
    state = b"}(X\6\0\0\0weight" + weight + b"X\4\0\0\0bias" + bias + b"u"
    held = {
        "m/data.pkl": b"\x80\2c__torch__\nLinear\n)\x81" + state + b"b.",
        "m/code/__torch__.py": (LAYER + lines).encode(), "m/constants.pkl": b"\x80\2).",
        "m/data/0": bytes(16), "m/data/1": bytes(8), "m/version": b"3\n", "m/byteorder": b"little",
    }  # fmt: skip
    return _stored(folder / "model.torchscript", held)


@hostile
def torchscript_that_saves_when_it_is_opened(folder: Path, bait: Bait) -> Path:
    setter = (
        "  def __setstate__(self: __torch__.Linear,\n    state: Dict[str, Tensor]) -> NoneType:\n"
        f"    torch.save(state, {json.dumps(str(bait.canary))})\n    return None\n"
    )
    return torchscript_of(folder, f"    return y\n{setter}")


@hostile
def torchscript_bomb(folder: Path, bait: Bait) -> Path:
    held = members(torchscript_of(folder, "    return y\n"))
    return zipped(folder / "model.torchscript", held | {"m/code/more.py": b"#" * (256 << 20)})


@hostile
def pytorch_bomb(folder: Path, _: Bait) -> Path:
    tensor = b"ctorch._utils\n_rebuild_tensor_v2\n" + STORED % (0, 4, b"J\0\0\0\4", b"K\1")
    held = {"m/data.pkl": b"\x80\2}X\1\0\0\0w" + tensor + b"s.", "m/data/0": bytes(256 << 20), "m/version": b"3\n"}
    return zipped(folder / "model.pt", held)


# ---------------------------------------------------------------------- names that lie


def misnamed(suffix: str) -> Make:
    def make(folder: Path, bait: Bait) -> Path:
        (folder / f"model{suffix}").write_bytes(f"cos\nsystem\n(S'touch {bait.canary}'\ntR.".encode())
        return folder / f"model{suffix}"

    return make


for _suffix in (".onnx", ".json", ".keras", ".h5", ".safetensors", ".tflite", ".pt2", ".skops", ".npz", ".xml", ""):
    FILES[f"pickle_called{_suffix or '_nothing'}"] = misnamed(_suffix)


@hostile
def archive_in_an_archive(folder: Path, bait: Bait) -> Path:
    inner = keras_whole(folder, bait).read_bytes()
    (folder / "model.keras").unlink()
    return zipped(folder / "model.zip", {"model.keras": inner})


@hostile
def zip_behind_a_pickle(folder: Path, bait: Bait) -> Path:
    whole = npz_whole(folder, bait).read_bytes()
    (folder / "model.npz").write_bytes(f"cos\nsystem\n(S'touch {bait.canary}'\ntR.".encode() + whole)
    return folder / "model.npz"


@hostile
def model_that_is_a_device(folder: Path, _: Bait) -> Path:
    (folder / "model.onnx").symlink_to("/dev/zero")
    return folder / "model.onnx"


@hostile
def model_that_is_a_pipe(folder: Path, _: Bait) -> Path:
    os.mkfifo(folder / "model.onnx")
    return folder / "model.onnx"


@hostile
def name_that_a_shell_would_read(folder: Path, bait: Bait) -> Path:
    path = folder / f"$(touch {bait.canary.name}); `touch {bait.canary.name}` [red]x.pkl"
    path.write_bytes(f"cos\nsystem\n(S'touch {bait.canary}'\ntR.".encode())
    return path
