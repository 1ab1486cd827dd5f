"""Keras files that Engram wrote, loaded by the real Keras on both of its backends."""

import json
import tarfile
import tracemalloc
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from engram.errors import ConversionError
from engram.formats import hdf5, keras
from engram.formats._keras import lower
from engram.formats._keras import read as reading
from engram.formats._probes import probes
from engram.graphs.build import Builder
from engram.graphs.signature import signature
from engram.graphs.weights import attach, detach
from engram.records import Limits, Model, Signature, TensorSpec, TrainingState
from engram.runtime import onnxruntime
from formats import conftest as small
from networks import keras_answers, keras_layers, keras_networks

GOLDEN = Path(__file__).parent / "golden" / "keras"
NETWORKS = ("mlp", "cnn", "bidirectional", "transformer")
LAYERS = ("grouped_query", "softmax_axes", "operators", "ops_activations")
"""Single layers whose own ``.h5`` the real Keras loads wrongly, or that it keeps under odd names."""
WITHOUT_WORDS = {
    "activation_hard_shrink", "activation_soft_shrink", "activation_sparsemax", "dense_mixed", "masked_backwards",
    "masked_bidirectional", "masked_bidirectional_last", "masked_lstm", "masked_lstm_sequences", "masked_states",
    "masked_words", "masked_zeros", "ops_axes", "resizing_free", "up_sampling1d", "up_sampling3d",
}  # fmt: skip
"""Layers whose graph holds nodes that Keras has no words for, once its description is gone."""


def answers(model: Model, inputs) -> list[np.ndarray]:
    """What the network of a model answers in onnxruntime."""
    made = onnxruntime.run(attach(model.graph, model.weights).SerializeToString(), inputs)
    return [made[spec.name] for spec in model.signature.outputs]


def network(model: Model) -> Model:
    """The model without preprocessing."""
    return replace(
        model, preprocessing=b"", signature=Signature(signature(model.graph).inputs, model.signature.outputs)
    )


@pytest.fixture(scope="module")
def layers(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("layers")
    with tarfile.open(GOLDEN / "layers.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.fixture(scope="module")
def networks(keras_files) -> Path:
    return keras_files


@pytest.fixture(scope="module")
def written(tmp_path_factory, networks, layers) -> Path:
    """Files of ours: networks of Keras whose weights moved, the same without their words, layers, models by hand."""
    folder = tmp_path_factory.mktemp("written")
    for name in NETWORKS:
        model = keras.read(networks / f"{name}.keras", Limits())
        chance = np.random.default_rng(3)
        moved = {
            key: (array * chance.uniform(0.9, 1.1, array.shape)).astype(array.dtype)
            for key, array in model.weights.items()
        }
        _write(folder, f"{name}.moved", replace(model, weights=moved))
        _write(folder, f"{name}.anew", replace(model, weights=moved, source={}))
    for name, make in small.MAKERS.items():
        _write(folder, name, make())
    for name in LAYERS:
        _write(folder, name, hdf5.read(layers / f"{name}.h5", Limits()))
    own, ours = networks / "mlp.keras", folder / "steps" / "ours.keras"
    ours.parent.mkdir()
    keras.write_training(keras.read(own, Limits()), keras.state(own, Limits()), ours)
    return folder


@pytest.fixture(scope="module", params=["torch", pytest.param("tensorflow", marks=pytest.mark.long)])
def asked(request, written, networks) -> Path:
    """The same once the real Keras has answered from each of them, and trained some, all in one process."""
    for old in (*written.glob("*.answers.npz"), *written.glob("steps/own*"), *written.glob("steps/*.npz")):
        old.unlink(missing_ok=True)
    if request.param == "torch":  # Keras on TensorFlow cannot train on from a file that Keras on torch saved
        (written / "steps" / "own.keras").write_bytes((networks / "mlp.keras").read_bytes())
    return keras_answers.asked(written, request.param)


def _write(folder: Path, name: str, model: Model) -> None:
    bare = network(model)
    inputs = probes(bare, 8, 0)
    expected = {f"output/{place}": array for place, array in enumerate(answers(bare, inputs))}
    for suffix, found in ((".keras", keras), (".h5", hdf5)):
        found.write(model, folder / f"{name}{suffix}")
    np.savez(folder / f"{name}.npz", **{f"input/{key}": array for key, array in inputs.items()}, **expected)


def test_the_real_keras_loads_what_was_written_and_answers_alike(asked):
    refused = {file.name: file.read_text() for file in asked.rglob("*.refused")}
    assert not refused
    files = [*asked.glob("*.keras"), *asked.glob("*.h5")]
    assert len(files) == 2 * (2 * len(NETWORKS) + len(LAYERS) + len(small.MAKERS))
    for file in files:
        with np.load(file.with_suffix(".npz")) as ours, np.load(f"{file}.answers.npz") as theirs:  # noqa: TID251
            for place in theirs.files:
                np.testing.assert_allclose(
                    theirs[place], ours[f"output/{place}"], rtol=1e-5, atol=1e-5, err_msg=file.name
                )


def test_keras_goes_on_training_from_what_was_written_as_from_its_own_file(asked):
    files = sorted((asked / "steps").glob("*.stepped.npz"))
    with np.load(files[0]) as one, np.load(files[-1]) as other:  # noqa: TID251 - our own files
        assert one["slot/0"] == keras_networks.STEPS + 1
        assert one.files == other.files
        for key in one.files:
            np.testing.assert_array_equal(other[key], one[key])


@pytest.mark.parametrize("name", sorted(keras_layers.MODELS.keys() - WITHOUT_WORDS))
def test_any_graph_put_into_words_of_keras_answers_the_same(name, layers):
    model = keras.read(layers / f"{name}.keras", Limits())
    low = lower.lowered(model.graph, model.weights)
    again = reading.built(low.config, lambda _: dict(low.weights), {"keras_version": "3.10.0"}, Limits())
    inputs = probes(model, 8, 0)
    for one, other in zip(answers(model, inputs), answers(again, inputs), strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-5, atol=1e-5)
    for key, array in low.originals(low.weights).items():
        assert array.tobytes() == model.weights[key].tobytes()


@pytest.mark.parametrize("name", sorted(WITHOUT_WORDS))
def test_what_cannot_be_said_is_refused_by_the_name_of_the_node(name, layers):
    model = keras.read(layers / f"{name}.keras", Limits())
    with pytest.raises(ConversionError, match=r"^node '[^']+' \(\w+\) "):
        lower.lowered(model.graph, model.weights)


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_the_very_words_of_the_source_are_written_again(suffix, networks, tmp_path):
    found = {".keras": keras, ".h5": hdf5}[suffix]
    model = found.read(networks / f"cnn{suffix}", Limits())
    state = found.state(networks / f"cnn{suffix}", Limits())
    found.write_training(model, state, tmp_path / f"again{suffix}")
    again = found.read(tmp_path / f"again{suffix}", Limits())
    assert again.graph == model.graph
    assert again.source["config"]["config"] == model.source["config"]["config"]
    assert {k: v.tobytes() for k, v in again.weights.items()} == {k: v.tobytes() for k, v in model.weights.items()}
    kept = found.state(tmp_path / f"again{suffix}", Limits())
    assert kept.step == state.step
    assert {k: v.tobytes() for k, v in kept.slots.items()} == {k: v.tobytes() for k, v in state.slots.items()}


def test_a_state_of_another_framework_goes_with_its_weights(tmp_path):
    model = small.binary()
    chance = np.random.default_rng(0)
    slots = {
        f"{slot}/{name}": chance.random(array.shape).astype(np.float32)
        for name, array in model.weights.items()
        for slot in ("exp_avg", "exp_avg_sq")
    }
    facts = {"kind": "AdamW", "groups": [{"lr": 0.01, "betas": [0.8, 0.99], "eps": 1e-6, "weight_decay": 0.1}]}
    state = TrainingState(step=7, optimizer=facts, slots=slots)
    for found, name in ((keras, "m.keras"), (hdf5, "m.h5")):
        found.write_training(model, state, tmp_path / name)
        again = found.state(tmp_path / name, Limits())
        assert again.step == 7
        assert again.optimizer["kind"] == "AdamW"
        for place, array in slots.items():
            np.testing.assert_array_equal(again.slots[place], array)


def test_a_file_that_was_changed_is_read_for_what_it_now_is(tmp_path):
    keras.write(small.pictures(), tmp_path / "m.keras")
    with zipfile.ZipFile(tmp_path / "m.keras") as old, zipfile.ZipFile(tmp_path / "n.keras", "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "config.json":
                config = json.loads(content)
                norm = next(one for one in config["config"]["layers"] if one["class_name"] == "BatchNormalization")
                norm["config"]["epsilon"] = 0.5
                content = json.dumps(config).encode()
            new.writestr(name, content)
    assert keras.read(tmp_path / "m.keras", Limits()).labels == small.pictures().labels
    changed = keras.read(tmp_path / "n.keras", Limits())
    assert changed.labels == ()
    assert "features_0/kernel" in changed.weights
    nodes = onnx.ModelProto.FromString(changed.graph).graph.node
    (norm,) = [node for node in nodes if node.op_type == "BatchNormalization"]
    assert {a.name: a.f for a in norm.attribute}["epsilon"] == 0.5


def test_weights_alone_keep_their_names_beside_keras_own(networks, tmp_path):
    model = keras.read(networks / "cnn.keras", Limits())
    hdf5.write(model, tmp_path / "m.weights.h5")
    again = hdf5.read(tmp_path / "m.weights.h5", Limits())
    assert not again.graph
    assert {k: v.tobytes() for k, v in again.weights.items()} == {k: v.tobytes() for k, v in model.weights.items()}
    hdf5.write(Model(b"", {"layers/dense/vars/0": np.ones(3, np.float32)}, Signature((), ())), tmp_path / "w.h5")
    assert list(hdf5.read(tmp_path / "w.h5", Limits()).weights) == ["layers/dense/vars/0"]


@pytest.mark.parametrize(("form", "suffix"), [(keras, ".keras"), (hdf5, ".h5")])
def test_neither_drawing_nor_writing_a_network_copies_its_numbers(form, suffix, tmp_path):
    builder, width = Builder([TensorSpec("x", "float32", ("batch", 2048))], name="network"), 2048
    names = [builder.constant(np.full((width, width), number, np.float32), name) for number, name in enumerate("vw")]
    builder.node("MatMul", builder.node("Relu", builder.node("MatMul", "x", names[0])), names[1], name="y")
    graph, weights = detach(onnx.ModelProto.FromString(builder.finish([TensorSpec("y", "float32", ("batch", width))])))
    low = lower.lowered(graph, weights)
    source = {"config": low.config, "keras_version": "3.10.0"}
    tracemalloc.start()
    try:
        model = reading.built(low.config, lambda _: dict(low.weights), source, Limits())
        form.write(model, tmp_path / f"network{suffix}")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < sum(array.nbytes for array in weights.values()) / 4
    again = form.read(tmp_path / f"network{suffix}", Limits())
    assert again.graph == model.graph
    assert {k: v.tobytes() for k, v in again.weights.items()} == {k: v.tobytes() for k, v in model.weights.items()}


@pytest.mark.parametrize(("form", "suffix"), [(keras, ".keras"), (hdf5, ".h5")])
def test_a_network_of_turned_and_joined_weights_is_never_in_memory_twice(form, suffix, tmp_path):
    builder, name, width = Builder([TensorSpec("x", "float32", ("batch", 3, 512))], name="network"), "x", 512
    draw = np.random.default_rng(0)
    for number in range(12):
        weight = builder.constant(draw.normal(size=(width, width)).astype("f4"), f"dense_{number}.weight")
        name = builder.node("MatMul", name, builder.node("Transpose", weight, perm=[1, 0]))
    name = builder.node("Transpose", name, perm=[1, 0, 2])
    for number in range(3):
        kernels = [
            builder.constant(draw.normal(size=(1, 4 * width, width)).astype("f4"), f"{k}_{number}") for k in "wr"
        ]
        steps = builder.node("LSTM", name, *kernels, hidden_size=width)
        name = builder.node("Squeeze", steps, builder.constant(np.array([1])))
    builder.node("Identity", name, name="y")
    output = TensorSpec("y", "float32", (3, "batch", width))
    graph, weights = detach(onnx.ModelProto.FromString(builder.finish([output])))
    model = Model(graph, weights, Signature(signature(graph).inputs, (output,)))
    total = sum(array.nbytes for array in weights.values())
    peaks = []
    for ask in (form.write, lambda _, path: form.read(path, Limits())):
        tracemalloc.start()
        try:
            again = ask(model, tmp_path / f"network{suffix}")
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    assert peaks[0] < total / 2
    assert peaks[1] < 1.5 * total
    assert {k: v.tobytes() for k, v in again.weights.items()} == {k: v.tobytes() for k, v in weights.items()}


def test_weights_that_are_moved_over_and_over_again_are_followed_in_time():
    builder = Builder([TensorSpec("x", "float32", ("batch", 4))], name="network")
    name = builder.constant(np.arange(16, dtype=np.float32).reshape(4, 4), "w")
    bounds = [builder.constant(np.array([number])) for number in (1, 5, 0)]
    for _ in range(60):  # to look at it twice each time would take 2 ** 60 looks
        name = builder.node("Slice", builder.node("Concat", name, name, axis=0), *bounds)
    for _ in range(300):
        name = builder.node("Transpose", name, perm=[1, 0])
    builder.node("MatMul", "x", name, name="y")
    graph, weights = detach(onnx.ModelProto.FromString(builder.finish([TensorSpec("y", "float32", ("batch", 4))])))
    low = lower.lowered(graph, weights)
    (kernel,) = low.weights.values()
    np.testing.assert_array_equal(kernel, np.roll(weights["w"], -60 % 4, axis=0))
    assert low.originals(low.weights)["w"].tobytes() == weights["w"].tobytes()


def test_weights_without_a_graph_are_refused_where_keras_would_not_find_them(tmp_path):
    loose = Model(b"", {"fc.weight": np.ones(3, np.float32)}, Signature((), ()))
    with pytest.raises(ConversionError, match=r"'fc\.weight' is in no layer of a Keras network"):
        hdf5.write(loose, tmp_path / "w.h5")
    with pytest.raises(ConversionError, match="weights without a graph"):
        keras.write(loose, tmp_path / "w.keras")


def test_weights_of_other_types_than_float32_are_refused_by_name(tmp_path):
    builder = Builder([TensorSpec("x", "float64", ("batch", 2))])
    builder.node("MatMul", "x", builder.constant(np.ones((2, 2)), "w"), name="y")
    ends = [TensorSpec("y", "float64", ("batch", 2))]
    graph, weights = detach(onnx.ModelProto.FromString(builder.finish(ends)))
    model = Model(graph, weights, signature(graph))
    with pytest.raises(ConversionError, match="weight 'w' is float64"):
        keras.write(model, tmp_path / "m.keras")
