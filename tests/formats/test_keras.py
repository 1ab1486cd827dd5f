"""Keras files, read without Keras and held against what Keras itself answers."""

import io
import json
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest

from engram.errors import FormatError
from engram.formats import hdf5, keras
from engram.formats._convert import read, read_state
from engram.graphs.weights import FIXED, attach, noted
from engram.records import Limits
from engram.runtime import onnxruntime
from networks import keras_layers, keras_networks

GOLDEN = Path(__file__).parent / "golden" / "keras"
NETWORKS = ("mlp", "cnn", "bidirectional", "transformer")


@pytest.fixture(scope="module")
def layers(tmp_path_factory) -> Path:
    """A model for each kind and setting of a layer, as the real Keras saved it, with its answers."""
    folder = tmp_path_factory.mktemp("layers")
    with tarfile.open(GOLDEN / "layers.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.fixture
def networks(keras_files) -> Path:
    """Networks that the real Keras trained and saved just now."""
    return keras_files


def answers(model, path: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """What the model answers, and what Keras did, output by output."""
    with np.load(path.with_suffix(".npz")) as found:  # noqa: TID251 - our own file
        inputs = {key[6:]: found[key] for key in found.files if key.startswith("input/")}
        expected = [found[key] for key in found.files if key.startswith("output/")]
    made = onnxruntime.run(attach(model.graph, model.weights).SerializeToString(), inputs)
    return list(zip([made[spec.name] for spec in model.signature.outputs], expected, strict=True))


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize("name", keras_layers.MODELS)
def test_a_layer_answers_as_in_keras(name, suffix, layers):
    path = layers / f"{name}{suffix}"
    tolerance = 1e-3 if "mixed" in name else 1e-5  # half precision has three digits
    for made, expected in answers(read(path), path):
        assert made.shape == expected.shape
        np.testing.assert_allclose(made, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_trained_network_answers_as_in_keras(name, suffix, networks):
    path = networks / f"{name}{suffix}"
    for made, expected in answers(read(path), path):
        np.testing.assert_allclose(made, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", NETWORKS)
def test_both_formats_hold_the_same_names_and_numbers(name, networks):
    one, other = (read(networks / f"{name}{suffix}") for suffix in (".keras", ".h5"))
    assert list(one.weights) == list(other.weights)
    for key, array in one.weights.items():
        np.testing.assert_array_equal(other.weights[key], array)
    assert one.graph == other.graph


def test_weights_are_called_by_the_path_of_their_layers_and_lie_as_in_keras(networks, layers):
    found = {name: array.shape for name, array in read(networks / "cnn.keras").weights.items()}
    assert found["conv2d/kernel"] == (3, 3, 3, 8)
    assert found["classes/kernel"] == (10, 4)
    assert found["batch_normalization/moving_variance"] == (8,)
    nested = read(layers / "sequential_in_functional.keras").weights
    assert list(nested)[:3] == ["block/dense/kernel", "block/dense/bias", "block/batch_normalization/gamma"]
    both = read(layers / "bidirectional_last.keras").weights
    assert "bidirectional/forward_gru/gru_cell/recurrent_kernel" in both


def test_what_trains_stays_a_node_and_what_does_not_is_noted(networks, layers):
    graph = onnx.ModelProto.FromString(read(networks / "cnn.keras").graph)
    kinds = [node.op_type for node in graph.graph.node]
    assert kinds.count("BatchNormalization") == 2
    assert kinds.count("Dropout") == 2
    kinds = [
        node.op_type for node in onnx.ModelProto.FromString(read(networks / "bidirectional.keras").graph).graph.node
    ]
    assert kinds.count("LSTM") == 2
    assert kinds.count("GRU") == 2
    frozen = onnx.ModelProto.FromString(read(layers / "frozen.keras").graph)
    assert "block/dense/kernel" in noted(frozen, FIXED)
    assert "dense_1/kernel" not in noted(frozen, FIXED)


def test_the_state_of_the_optimizer_is_kept_by_the_names_of_the_weights(networks):
    import h5py

    one, other = (read_state(networks / f"cnn{suffix}") for suffix in (".keras", ".h5"))
    assert one is not None
    assert other is not None
    assert one.step == other.step == keras_networks.STEPS
    assert one.optimizer["kind"] == "Adam"
    assert one.optimizer["groups"][0]["betas"] == [0.9, 0.999]
    assert one.slots.keys() == other.slots.keys()
    with h5py.File(networks / "cnn.h5") as file:
        group = next(iter(file["optimizer_weights"].values()))
        for ours, theirs in (("exp_avg", "momentum"), ("exp_avg_sq", "velocity")):
            np.testing.assert_array_equal(one.slots[f"{ours}/conv2d_1/kernel"], group[f"conv2d_1_kernel_{theirs}"][:])
            np.testing.assert_array_equal(other.slots[f"{ours}/classes/bias"], group[f"classes_bias_{theirs}"][:])


def test_a_model_that_was_not_compiled_has_no_state(layers):
    assert read_state(layers / "dense.keras") is None
    assert read_state(layers / "dense.h5") is None


def test_weights_alone_are_read_under_the_names_of_their_file(networks):
    found = read(networks / "mlp.weights.h5")
    assert not found.graph
    assert list(found.weights)[:2] == ["layers/dense/vars/0", "layers/dense/vars/1"]


def changed(path: Path, change) -> Path:
    """A copy of a .keras file with another config."""
    made = path.with_name("changed.keras")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(made, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "config.json":
                config = json.loads(content)
                change(config)
                content = json.dumps(config).encode()
            new.writestr(name, content)
    return made


def refused(path: Path, change, reason: str) -> None:
    with pytest.raises(FormatError, match=reason):
        keras.read(changed(path, change), Limits())


def last(config):
    return config["config"]["layers"][-1]


def test_what_holds_code_is_refused_by_its_name(layers):
    path = layers / "dense.keras"
    refused(path, lambda c: last(c).update(class_name="Lambda"), "'dense' is a Lambda, which holds code")
    refused(path, lambda c: last(c).update(module="mine.layers"), "mine.layers.Dense, which is not Keras' own")
    refused(path, lambda c: last(c).update(registered_name="mine>Dense"), "mine>Dense, which is not Keras' own")
    refused(path, lambda c: last(c).update(class_name="Denser"), "the layer Denser .* did you mean 'Dense'")
    refused(path, lambda c: c.update(class_name="Mine", config={"name": "mine"}), "Mine is a class of its own")
    refused(
        path,
        lambda c: last(c)["config"].update(
            activation={"module": "os", "class_name": "function", "config": "system", "registered_name": "system"}
        ),
        "the activation os.system is not Keras' own",
    )


def test_weights_of_a_class_of_the_users_own_are_read_and_written_where_it_keeps_them(tmp_path):
    import h5py

    with h5py.File(tmp_path / "own.weights.h5", "w") as file:
        file["head/vars/0"] = np.arange(6, dtype=np.float32).reshape(2, 3)
        file["blocks/block/inner/vars/1"] = np.ones(2, np.float32)
        file.create_group("vars")
    model = read(tmp_path / "own.weights.h5")
    assert {name: array.shape for name, array in model.weights.items()} == {
        "head/vars/0": (2, 3), "blocks/block/inner/vars/1": (2,),
    }  # fmt: skip
    hdf5.write(model, tmp_path / "again.weights.h5")
    with h5py.File(tmp_path / "again.weights.h5") as file:
        np.testing.assert_array_equal(file["head/vars/0"][()], model.weights["head/vars/0"])


def test_a_config_that_does_not_fit_its_weights_is_refused(layers):
    path = layers / "dense.keras"
    refused(path, lambda c: last(c)["config"].update(use_bias=False), "is a weight of no layer")
    refused(path, lambda c: last(c).update(name="other"), "output 0 of 'dense', which there is not")
    refused(
        path,
        lambda c: c["config"]["layers"][0]["config"].update(batch_shape=[None, 5]),
        "MatMul does not take the shapes",
    )
    refused(layers / "conv2d.keras", lambda c: last(c)["config"].update(strides=[0, 1]), "strides or a dilation of 0")


def test_a_layer_that_waits_for_itself_is_refused(layers):
    def loop(config) -> None:
        last(config)["inbound_nodes"][0]["args"][0]["config"]["keras_history"][0] = last(config)["name"]

    refused(layers / "dense.keras", loop, "waits for a tensor that no layer makes")


def test_hdf5_that_is_not_keras_is_refused(tmp_path):
    import h5py

    with h5py.File(tmp_path / "some.h5", "w") as file:
        file["measurements"] = np.arange(3)
    with pytest.raises(FormatError, match="Keras wrote neither a model nor weights into it"):
        hdf5.read(tmp_path / "some.h5", Limits())


def test_weights_that_are_not_in_one_hdf5_file_are_refused_in_words(layers, tmp_path):
    with zipfile.ZipFile(layers / "dense.keras") as old, zipfile.ZipFile(tmp_path / "npz.keras", "w") as new:
        for name in ("metadata.json", "config.json"):
            new.writestr(name, old.read(name))
        new.writestr("model.weights.npz", io.BytesIO().getvalue())
    with pytest.raises(FormatError, match=r"has no model\.weights\.h5"):
        keras.read(tmp_path / "npz.keras", Limits())
