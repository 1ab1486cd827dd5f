"""TensorFlow.js models, read and written, and held against what the real TensorFlow.js answers under node."""

import base64
import json
import os
import shutil
import subprocess
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy import ndarray

from engram.errors import ConversionError, FormatError, MissingLibrary
from engram.formats import keras, tfjs
from engram.formats._convert import read_proven
from engram.formats._probes import probes
from engram.formats._tfjs import manifest, running
from engram.graphs.signature import signature
from engram.graphs.weights import attach
from engram.records import Limits, Model, Signature
from engram.runtime import onnxruntime
from formats import conftest as small
from networks.torch_networks import NETWORKS, exported

ROOT = Path(__file__).parents[2]
PACKAGES = ROOT / ".stamps" / "node" / "node_modules"
LAYERS = Path(__file__).parent / "golden" / "keras" / "layers.tar.xz"
AS_LAYERS = (
    "activation_elu", "batch_norm_pictures", "bidirectional_sum", "conv2d_same", "embedding", "lstm", "sequential",
)  # fmt: skip
QUICK = ("mlp", "gru", "transformer")

node = pytest.mark.skipif(
    shutil.which("node") is None or not (PACKAGES / "@tensorflow").is_dir(), reason="TensorFlow.js is not installed"
)


@pytest.fixture(autouse=True)
def _packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENGRAM_NODE", str(PACKAGES.parent))


@pytest.fixture(scope="module")
def layers(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("layers")
    with tarfile.open(LAYERS) as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.fixture(scope="module")
def theirs(tmp_path_factory) -> Path:
    """Models that TensorFlow.js built and saved itself, with its own answers."""
    folder = tmp_path_factory.mktemp("theirs")
    program = ROOT / "tests" / "networks" / "tfjs_models.mjs"
    subprocess.run(["node", program, PACKAGES, folder], check=True, capture_output=True)
    return folder


def computed(model: Model, inputs) -> list[ndarray]:
    made = onnxruntime.run(attach(model.graph, model.weights).SerializeToString(), inputs)
    return [made[spec.name] for spec in model.signature.outputs]


def bare(model: Model) -> Model:
    """The network alone."""
    return replace(
        model, preprocessing=b"", signature=Signature(signature(model.graph).inputs, model.signature.outputs)
    )


def said(path: Path) -> dict:
    return json.loads((path / "model.json").read_bytes())


def rewritten(path: Path, **changes) -> Path:
    """The folder with other entries in ``model.json``; None removes one."""
    found = {key: value for key, value in (said(path) | changes).items() if value is not None}
    (path / "model.json").write_text(json.dumps(found))
    return path


def listing(dtype: str, length: int) -> dict:
    """A list of one weight, for which there are no files."""
    return {"weightsManifest": [{"paths": [], "weights": [{"name": "a", "shape": [length], "dtype": dtype}]}]}


def same(one: Model, other: Model) -> bool:
    weights = [{key: array.tobytes() for key, array in model.weights.items()} for model in (one, other)]
    return one.graph == other.graph and weights[0] == weights[1] and list(one.weights) == list(other.weights)


def near(given: list[ndarray], wanted: list[ndarray], rtol: float = 1e-5) -> None:
    for one, other in zip(given, wanted, strict=True):
        np.testing.assert_allclose(one, other, rtol=rtol, atol=1e-5)


@node
@pytest.mark.parametrize("name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.long) for n in NETWORKS])
def test_a_network_of_torch_answers_in_tensorflow_js_and_comes_back(name, tmp_path):
    model = exported(name)
    tfjs.write(model, tmp_path / "m.tfjs")
    assert said(tmp_path / "m.tfjs")["format"] == "graph-model"
    assert same(tfjs.read(tmp_path / "m.tfjs", Limits()), model)
    inputs = probes(model, 8, 0)
    answers = tfjs.run(tmp_path / "m.tfjs", inputs)
    near([answers[spec.name] for spec in model.signature.outputs], computed(model, inputs))


@pytest.mark.parametrize("name", NETWORKS)
def test_a_graph_model_is_read_without_what_engram_noted(name, tmp_path):
    model = exported(name)
    tfjs.write(model, tmp_path / "m.tfjs")
    again = tfjs.read(rewritten(tmp_path / "m.tfjs", userDefinedMetadata=None), Limits())
    assert [spec.name for spec in again.signature.outputs] == [spec.name for spec in model.signature.outputs]
    inputs = probes(model, 8, 0)
    near(computed(again, inputs), computed(model, inputs))


@node
@pytest.mark.parametrize(
    "name", [n if n in {"lstm", "sequential"} else pytest.param(n, marks=pytest.mark.long) for n in AS_LAYERS]
)
def test_a_network_of_keras_leaves_as_layers_that_tensorflow_js_loads(name, layers, tmp_path):
    model = keras.read(layers / f"{name}.keras", Limits())
    tfjs.write(model, tmp_path / "m.layers.tfjs")
    assert said(tmp_path / "m.layers.tfjs")["format"] == "layers-model"
    assert same(tfjs.read(tmp_path / "m.layers.tfjs", Limits()), model)
    inputs = probes(model, 8, 0)
    made = tfjs.run(tmp_path / "m.layers.tfjs", inputs)
    near([made[spec.name] for spec in model.signature.outputs], computed(model, inputs))


@pytest.mark.parametrize("name", AS_LAYERS)
def test_a_layers_model_is_read_without_what_engram_noted(name, layers, tmp_path):
    model = keras.read(layers / f"{name}.keras", Limits())
    tfjs.write(model, tmp_path / "m.tfjs")
    again = tfjs.read(rewritten(tmp_path / "m.tfjs", userDefinedMetadata=None), Limits())
    assert {key: array.tobytes() for key, array in again.weights.items()} == {
        key: array.tobytes() for key, array in model.weights.items()
    }
    inputs = probes(model, 8, 0)
    near(computed(again, inputs), computed(model, inputs))


def test_the_name_of_the_folder_chooses_the_kind(layers, tmp_path):
    model = keras.read(layers / "sequential.keras", Limits())
    tfjs.write(model, tmp_path / "m.graph.tfjs")
    assert said(tmp_path / "m.graph.tfjs")["format"] == "graph-model"
    with pytest.raises(ConversionError, match="did not come from Keras"):
        tfjs.write(small.binary(), tmp_path / "n.layers.tfjs")


@node
@pytest.mark.parametrize("name", ["pictures", "series", "joined"])
def test_models_that_tensorflow_js_saved_are_read(name, theirs):
    model = tfjs.read(theirs / name, Limits())
    found = json.loads((theirs / f"{name}.json").read_bytes())
    arrays = [np.array(one["data"], np.float32).reshape(one["shape"]) for one in found["inputs"].values()]
    inputs = {spec.name: array for spec, array in zip(model.signature.inputs, arrays, strict=True)}
    near(computed(model, inputs), [np.array(one["data"]).reshape(one["shape"]) for one in found["outputs"]])


@node
@pytest.mark.parametrize("kind", ["uint8", "uint16", "float16"])
def test_weights_in_fewer_bits_are_read_as_tensorflow_js_reads_them(kind, tmp_path):
    model = exported("mlp")
    tfjs.write(model, tmp_path / "m.tfjs")
    listed = said(tmp_path / "m.tfjs")["weightsManifest"]
    held, entries, content = manifest.read(tmp_path / "m.tfjs", listed, Limits()), listed[0]["weights"], b""
    for entry in entries:
        array = held[entry["name"]]
        if array.dtype != np.float32:
            content += array.tobytes()
            continue
        if kind == "float16":
            entry["quantization"] = {"dtype": kind, "original_dtype": "float32"}
            content += array.astype(np.float16).tobytes()
            continue
        scale = float(np.ptp(array)) / np.iinfo(kind).max or 1.0
        entry["quantization"] = {"dtype": kind, "min": float(array.min()), "scale": scale, "original_dtype": "float32"}
        content += np.round((array.astype(np.float64) - array.min()) / scale).astype(kind).tobytes()
    (tmp_path / "m.tfjs" / "few.bin").write_bytes(content)
    rewritten(tmp_path / "m.tfjs", weightsManifest=[{"paths": ["few.bin"], "weights": entries}])
    again = tfjs.read(tmp_path / "m.tfjs", Limits())
    inputs = probes(model, 8, 0)
    (theirs,) = running.answers(tmp_path / "m.tfjs", [inputs], [spec.name for spec in model.signature.outputs])
    near(computed(again, inputs), list(theirs.values()))
    assert all(array.dtype == np.float32 for array in again.weights.values())


@node
def test_operations_that_were_joined_are_read_apart(tmp_path):
    """A graph as TensorFlow's converter leaves it: convolution, bias and activation are one node."""
    chance = np.random.default_rng(0)
    arrays = {
        "kernel": chance.normal(size=(3, 3, 2, 4)), "bias": chance.normal(size=4), "slope": chance.random((1, 1, 4)),
        "matrix": chance.normal(size=(64, 5)), "offset": chance.normal(size=5),
        "depth": chance.normal(size=(3, 3, 4, 1)), "lift": chance.normal(size=4),
    }  # fmt: skip
    arrays = {name: array.astype(np.float32) for name, array in arrays.items()}
    kind, words = {"type": "DT_FLOAT"}, lambda *texts: {"list": {"s": [small_base64(text) for text in texts]}}
    conv = {
        "T": kind, "strides": {"list": {"i": ["1", "1", "1", "1"]}}, "padding": {"s": small_base64("SAME")},
        "data_format": {"s": small_base64("NHWC")}, "dilations": {"list": {"i": ["1", "1", "1", "1"]}},
    }  # fmt: skip
    nodes = [
        {"name": "x", "op": "Placeholder", "attr": {"dtype": kind, "shape": {"shape": dims(-1, 4, 4, 2)}}},
        *({"name": name, "op": "Const", "attr": {"dtype": kind, "value": {"tensor": {"dtype": "DT_FLOAT",
            "tensorShape": dims(*array.shape)}}}} for name, array in arrays.items()),
        {"name": "conv", "op": "_FusedConv2D", "input": ["x", "kernel", "bias"], "attr": {**conv,
            "fused_ops": words("BiasAdd", "Relu6"), "num_args": {"i": "1"}, "epsilon": {"f": 0}}},
        {"name": "parted", "op": "Prelu", "input": ["conv", "slope"], "attr": {"T": kind}},
        {"name": "deep", "op": "FusedDepthwiseConv2dNative", "input": ["parted", "depth", "lift"], "attr": {**conv,
            "fused_ops": words("BiasAdd", "Elu"), "num_args": {"i": "1"}}},
        {"name": "shape", "op": "Const", "attr": {"dtype": {"type": "DT_INT32"}, "value": {"tensor": {"dtype":
            "DT_INT32", "tensorShape": dims(2)}}}},
        {"name": "flat", "op": "Reshape", "input": ["deep", "shape"], "attr": {"T": kind}},
        {"name": "y", "op": "_FusedMatMul", "input": ["flat", "matrix", "offset"], "attr": {"T": kind,
            "transpose_a": {"b": False}, "transpose_b": {"b": False}, "fused_ops": words("BiasAdd"),
            "num_args": {"i": "1"}}},
    ]  # fmt: skip
    arrays["shape"] = np.array([-1, 64], np.int32)
    entries = [{"name": key, "shape": list(a.shape), "dtype": a.dtype.name} for key, a in arrays.items()]
    found = {
        "format": "graph-model",
        "modelTopology": {"node": nodes, "library": {}, "versions": {"producer": 987}},
        "weightsManifest": [{"paths": ["w.bin"], "weights": entries}],
    }
    (tmp_path / "w.bin").write_bytes(b"".join(array.tobytes() for array in arrays.values()))
    (tmp_path / "model.json").write_text(json.dumps(found))
    model = tfjs.read(tmp_path, Limits())
    inputs = {"x": chance.normal(size=(3, 4, 4, 2)).astype(np.float32)}
    (theirs,) = running.answers(tmp_path, [inputs], ["y"])
    near(computed(model, inputs), [theirs["y"]])
    assert {"kernel", "bias", "slope", "matrix", "offset", "depth", "lift"} == set(model.weights)


def small_base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def dims(*lengths: int) -> dict:
    return {"dim": [{"size": str(length)} for length in lengths]}


@node
def test_a_folder_is_imported_with_proof_from_tensorflow_js(tmp_path):
    tfjs.write(exported("mlp"), tmp_path / "m.tfjs")
    _, certificate = read_proven(tmp_path / "m.tfjs")
    assert certificate.holds
    assert certificate.runtimes[0].startswith("tensorflow.js")


def test_many_weights_lie_in_several_files(tmp_path):
    big = small.binary()
    big = replace(big, weights={**big.weights, "idle": np.arange(3_000_000, dtype=np.float32)})
    tfjs.write(big, tmp_path / "m.tfjs")
    assert len(list((tmp_path / "m.tfjs").glob("group1-shard*of3.bin"))) == 3
    assert same(tfjs.read(tmp_path / "m.tfjs", Limits()), big)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"weightsManifest": [{"paths": ["../w.bin"], "weights": []}]}, "w.bin"),
        (listing("float32", 2**39), "cut off"),
        (listing("float32", -1), "shape"),
        (listing("object", 1), "not read"),
        (listing("string", 9**9), "cut off"),
        ({"weightsManifest": {}}, "must be a list"),
        ({"modelTopology": {"node": [{"name": "x", "op": "ReadFile"}]}}, "ReadFile"),
        ({"modelTopology": {"node": [{"name": "x", "op": "PyFunc"}]}}, "PyFunc"),
        ({"modelTopology": {"node": 7}}, "no graph of TensorFlow"),
        ({"modelTopology": {"class_name": "Sequential", "config": {"layers": [{"class_name": "Lambda", "config": {}}]}},
          "format": "layers-model"}, "Lambda"),
    ],
)  # fmt: skip
def test_a_spoiled_folder_is_refused_in_one_sentence(change, reason, tmp_path):
    tfjs.write(small.binary(), tmp_path / "m.tfjs")
    given = {"userDefinedMetadata": None, **change}
    if "modelTopology" in change:
        given = {"weightsManifest": [], **given}
    with pytest.raises(FormatError, match=reason) as refused:
        tfjs.read(rewritten(tmp_path / "m.tfjs", **given), Limits())
    assert "\n" not in str(refused.value)


def test_a_weight_that_was_changed_is_read_as_it_is_now(tmp_path):
    model = small.binary()
    tfjs.write(model, tmp_path / "m.tfjs")
    file = next((tmp_path / "m.tfjs").glob("*.bin"))
    file.write_bytes(b"\0" * file.stat().st_size)
    again = tfjs.read(tmp_path / "m.tfjs", Limits())
    assert not any(array.any() for array in again.weights.values())


def test_without_node_the_library_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", os.fspath(tmp_path))
    tfjs.write(small.binary(), tmp_path / "m.tfjs")
    with pytest.raises(MissingLibrary, match="node"):
        tfjs.run(tmp_path / "m.tfjs", {})
