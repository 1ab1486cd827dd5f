"""Promises that every architecture keeps, and what each is by itself."""

from math import prod

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from engram.architectures import SHELF
from engram.architectures._choose import choose
from engram.errors import UnknownName, UsageError
from engram.formats._torch_export import export
from engram.records import Signature, TensorSpec
from engram.records.pipeline import ModelSection

TABLE = (TensorSpec("features", "float32", ("batch", 12)),)
IMAGE = (TensorSpec("image", "float32", ("batch", 3, 32, 32), kind="image"),)
SMALL = (TensorSpec("image", "float32", ("batch", 1, 8, 8), kind="image"),)
OUTPUTS = {
    "logits": (TensorSpec("y", "float32", ("batch", 5), kind="logits"),),
    "logit": (TensorSpec("y", "float32", ("batch", 1), kind="logit"),),
    "value": (TensorSpec("y", "float32", ("batch", 1), kind="value"),),
}
INPUTS = {"mlp": [TABLE, SMALL], "cnn": [IMAGE, SMALL], "resnet": [IMAGE, SMALL], "layers": [TABLE, IMAGE]}


def built(kind: str, inputs, outputs, **options) -> nn.Module:
    return choose(ModelSection(kind, options), Signature(inputs, outputs), rows=10_000, folder=".")[0]


def batch(inputs, rows: int = 4) -> torch.Tensor:
    return torch.randn(rows, *inputs[0].shape[1:])


@pytest.mark.parametrize("kind", SHELF.names())
@pytest.mark.parametrize("meaning", OUTPUTS)
def test_every_architecture_gives_the_shape_that_the_signature_says(kind, meaning):
    for inputs in INPUTS[kind]:
        network = built(kind, inputs, OUTPUTS[meaning])
        assert tuple(network(batch(inputs)).shape) == (4, OUTPUTS[meaning][0].shape[1])


BY_HAND = {
    "mlp": {"Reshape", "Gemm", "BatchNormalization", "Relu", "Dropout"},
    "cnn": {"Conv", "BatchNormalization", "Relu", "MaxPool", "GlobalAveragePool", "Reshape", "Dropout", "Gemm"},
    "resnet": {"Conv", "BatchNormalization", "Relu", "Add", "GlobalAveragePool", "Reshape", "Dropout", "Gemm"},
    "layers": {"Reshape", "Dropout", "Gemm"},
}


@pytest.mark.parametrize("kind", SHELF.names())
def test_the_graph_of_every_architecture_has_only_the_operators_one_would_write_by_hand(kind):
    options = {"layers": [{"type": "dropout", "rate": 0.2}]} if kind == "layers" else {"dropout": 0.2}
    inputs = INPUTS[kind][-1]
    network = built(kind, inputs, OUTPUTS["logits"], **options)
    network = network.to(memory_format=torch.channels_last)  # as a settled run trains
    graph, _ = export(network, inputs, OUTPUTS["logits"])
    nodes = [node.op_type for node in onnx.ModelProto.FromString(graph).graph.node]
    assert set(nodes) - {"Constant"} <= BY_HAND[kind]
    assert nodes.count("Constant") <= 3


@pytest.mark.parametrize("kind", SHELF.names())
def test_every_architecture_is_the_same_for_the_same_seed(kind):
    states = []
    for _ in range(2):
        torch.manual_seed(3)
        states.append(built(kind, INPUTS[kind][0], OUTPUTS["logits"]).state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


@pytest.mark.parametrize("kind", SHELF.names())
def test_what_is_found_is_made_explicit_and_builds_the_same_again(kind):
    signature = Signature(INPUTS[kind][0], OUTPUTS["logits"])
    network, section, _ = choose(ModelSection(kind), signature, rows=10_000, folder=".")
    again, same, reasons = choose(section, signature, rows=10, folder=".")
    assert (same, reasons) == (section, {})
    assert [tuple(p.shape) for p in again.parameters()] == [tuple(p.shape) for p in network.parameters()]


@pytest.mark.parametrize("kind", SHELF.names())
def test_an_unknown_key_is_refused_with_the_nearest(kind):
    with pytest.raises(UnknownName, match="has no key 'dropuot'"):
        built(kind, INPUTS[kind][0], OUTPUTS["logits"], dropuot=0.1)


def test_a_misspelled_dropout_is_understood():
    with pytest.raises(UnknownName, match="did you mean 'dropout'"):
        built("mlp", TABLE, OUTPUTS["logits"], dropuot=0.1)


def test_an_unknown_architecture_is_refused_with_the_nearest():
    with pytest.raises(UnknownName, match="did you mean 'resnet'"):
        built("resnt", IMAGE, OUTPUTS["logits"])


def test_the_data_decide_when_nothing_is_said():
    assert choose(ModelSection(), Signature(IMAGE, OUTPUTS["logits"]), rows=99, folder=".")[1].kind == "cnn"
    assert choose(ModelSection(), Signature(TABLE, OUTPUTS["logits"]), rows=99, folder=".")[1].kind == "mlp"


def test_a_convolutional_network_for_a_table_says_what_to_choose():
    with pytest.raises(UsageError, match='choose kind = "mlp"'):
        built("cnn", TABLE, OUTPUTS["logits"])


def test_an_mlp_has_the_parameters_that_its_sizes_say():
    network = built("mlp", TABLE, OUTPUTS["logits"], layers=[7, 3], norm=False)
    assert sum(p.numel() for p in network.parameters()) == (12 * 7 + 7) + (7 * 3 + 3) + (3 * 5 + 5)


def test_a_regression_ends_in_the_targets_own_unit():
    network = built("mlp", TABLE, OUTPUTS["value"]).eval()
    network.unit.scale.fill_(10.0)
    network.unit.offset.fill_(100.0)
    values = batch(TABLE)
    assert torch.allclose(network(values), network[:-1](values) * 10 + 100)


def test_a_residual_block_adds_what_went_in():
    layers = [{"type": "residual", "activation": "relu", "layers": [{"type": "dense", "units": 12}]}]
    network = built("layers", TABLE, OUTPUTS["logits"], layers=layers)
    values = batch(TABLE)
    block = network.residual1
    assert torch.allclose(block(values), torch.relu(block.body(values) + values))


@pytest.mark.parametrize("layer", [
    {"type": "dense", "units": 4}, {"type": "convolution", "filters": 4}, {"type": "max_pool"},
    {"type": "average_pool", "size": 4}, {"type": "global_average_pool"}, {"type": "batch_norm"},
    {"type": "layer_norm"}, {"type": "dropout", "rate": 0.2}, {"type": "activation", "name": "gelu"},
    {"type": "flatten"}, {"type": "convolution", "filters": 4, "stride": 2, "kernel": 5, "padding": "valid"},
    {"type": "residual", "layers": [{"type": "convolution", "filters": 8, "stride": 2}]},
])  # fmt: skip
def test_every_type_of_layer_can_stand_alone(layer):
    network = built("layers", IMAGE, OUTPUTS["logits"], layers=[layer])
    assert tuple(network(batch(IMAGE)).shape) == (4, 5)


@pytest.mark.parametrize(("layers", "says"), [
    ([{"type": "dens", "units": 3}], "layer 1 has type 'dens'; did you mean 'dense'"),
    ([{"type": "dense"}], "layer 1 (dense)"),
    ([{"type": "dense", "units": 0}], "must be at least 1"),
    ([{"type": "max_pool"}], "needs pictures"),
    ([{"type": "dropout", "rate": 1.5}], "rate = 1.5"),
    ([{"type": "dense", "units": 3, "activation": "rleu"}], "did you mean 'relu'"),
    ([{"type": "residual", "layers": [{"type": "residual", "layers": [{"type": "what"}]}]}], "layer 1.1.1 has type"),
])  # fmt: skip
def test_a_wrong_layer_is_named_by_its_number(layers, says):
    with pytest.raises(UsageError) as refused:
        built("layers", TABLE, OUTPUTS["logits"], layers=layers)
    assert says in str(refused.value)


def test_a_pool_larger_than_the_picture_is_named():
    with pytest.raises(UsageError, match=r"layer 1 \(max_pool\) does not fit"):
        built("layers", SMALL, OUTPUTS["logits"], layers=[{"type": "max_pool", "size": 9}])


def test_a_users_own_network_keeps_its_own_names(tmp_path):
    (tmp_path / "mine.py").write_text(
        "from torch import nn\n"
        "def make_network(signature, width=3):\n"
        "    return nn.Sequential(nn.Linear(signature.inputs[0].shape[1], width), nn.Linear(width, 5))\n"
    )
    section = ModelSection("mine.py:make_network", {"width": 9})
    network, _, _ = choose(section, Signature(TABLE, OUTPUTS["logits"]), rows=9, folder=str(tmp_path))
    assert network.state_dict()["0.weight"].shape == (9, 12)


@pytest.mark.parametrize(("source", "says"), [
    ("", "defines no function 'make_network'"),
    ("def make_network(): ...", "cannot be called"),
    ("def make_network(signature): return 3", "returned int"),
])  # fmt: skip
def test_a_users_own_file_that_does_not_fit_says_why(tmp_path, source, says):
    (tmp_path / "mine.py").write_text(source)
    with pytest.raises(UsageError, match=says):
        choose(ModelSection("mine.py:make_network"), Signature(TABLE, OUTPUTS["logits"]), rows=9, folder=str(tmp_path))


def test_a_users_own_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UsageError, match="no such file"):
        choose(ModelSection("no.py:f"), Signature(TABLE, OUTPUTS["logits"]), rows=9, folder=str(tmp_path))


def test_every_parameter_of_every_architecture_gets_a_gradient():
    for kind in SHELF.names():
        inputs = INPUTS[kind][0]
        network = built(kind, inputs, OUTPUTS["logits"])
        network(batch(inputs)).square().sum().backward()
        assert all(p.grad is not None and np.isfinite(p.grad.numpy()).all() for p in network.parameters())


def test_an_image_shape_is_flattened_for_an_mlp():
    network = built("mlp", SMALL, OUTPUTS["logits"])
    assert network.dense1.in_features == prod((1, 8, 8))
