import copy

import ml_dtypes
import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import nn

from engram.errors import ConversionError, FormatError, ShapeError
from engram.formats._torch_export import export
from engram.graphs.build import Builder
from engram.graphs.weights import detach
from engram.records import TensorSpec
from engram.runtime import onnxruntime
from engram.runtime import torch as runtime


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(6, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6), nn.ReLU(),
            nn.Conv2d(6, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6, momentum=0.3),
        )  # fmt: skip

    def forward(self, x):
        return torch.relu(x + self.body(x))


class Scaled(nn.Module):
    def __init__(self):
        super().__init__()
        self.dense = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.GELU(), nn.LayerNorm(8), nn.Linear(8, 3))
        self.register_buffer("scale", torch.tensor(2.5))
        self.register_buffer("offset", torch.tensor([1.0, 2.0, 3.0]))

    def forward(self, x):
        return self.dense(x) * self.scale + self.offset


def cnn():
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, 2, 1), nn.BatchNorm2d(6), nn.LeakyReLU(0.2), nn.MaxPool2d(2), nn.Dropout(0.0), nn.Flatten(),
        nn.Linear(24, 3),
    )  # fmt: skip


def resnet():
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), Residual(), Residual(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3)
    )


NETWORKS = {"mlp": (Scaled, (6,)), "cnn": (cnn, (3, 8, 8)), "resnet": (resnet, (3, 8, 8))}


@pytest.fixture(scope="module", params=NETWORKS)
def exported(request):
    make, shape = NETWORKS[request.param]
    torch.manual_seed(1)
    original = make()
    specs = (TensorSpec("x", "float32", ("batch", *shape)),)
    return original, export(original, specs, (TensorSpec("out", "float32", ("batch", 3)),)), shape


@pytest.fixture
def pair(exported):
    """A module, its likeness made from its canonical graph, and a maker of rows."""
    original, made, shape = exported
    generator = torch.Generator().manual_seed(2)
    return copy.deepcopy(original), runtime.module(*made), lambda rows: torch.randn((rows, *shape), generator=generator)


def test_the_state_has_the_sources_names_in_its_order(pair):
    original, likeness, _ = pair
    assert list(likeness.state_dict()) == list(original.state_dict())
    assert [n for n, _ in likeness.named_parameters()] == [n for n, _ in original.named_parameters()]
    likeness.load_state_dict(original.state_dict())


def test_the_likeness_answers_as_the_original_and_as_onnxruntime(pair):
    original, likeness, rows = pair
    x = rows(6)
    found = likeness.eval()(x).detach()
    np.testing.assert_allclose(found, original.eval()(x).detach(), atol=1e-5)


def test_gradients_are_those_of_the_original(pair):
    original, likeness, rows = pair
    x, target = rows(9), torch.arange(9) % 3
    for network in (original.train(), likeness.train()):
        nn.functional.cross_entropy(network(x), target).backward()
    expected = dict(original.named_parameters())
    for name, parameter in likeness.named_parameters():
        np.testing.assert_allclose(parameter.grad, expected[name].grad, atol=1e-4)


def test_five_steps_of_training_end_where_five_steps_of_the_original_end(pair):
    original, likeness, rows = pair
    optimizers = [torch.optim.AdamW(n.train().parameters(), 1e-2) for n in (original, likeness)]
    for _ in range(5):
        x, target = rows(12), torch.arange(12) % 3
        for network, optimizer in zip((original, likeness), optimizers, strict=True):
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(x), target).backward()
            optimizer.step()
    expected = original.state_dict()
    for name, value in likeness.state_dict().items():
        np.testing.assert_allclose(value, expected[name], atol=1e-4, err_msg=name)


def test_buffers_are_not_trained(pair):
    original, likeness, _ = pair
    assert [n for n, _ in likeness.named_buffers() if not n.startswith("constant.")] == [
        n for n, _ in original.named_buffers()
    ]


def test_a_copy_and_a_change_of_type_are_independent_of_the_first(pair):
    _, likeness, rows = pair
    x = rows(4)
    before = likeness.eval()(x)
    other = copy.deepcopy(likeness).double()
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(2)
    assert torch.equal(likeness(x), before)
    assert other(x.double()).dtype == torch.float64


def graph(kind, inputs=("x",), constants=None, weights=None, outputs=("y",), **attributes):
    """One node on x of shape (batch, 4)."""
    builder = Builder([TensorSpec("x", "float32", ("batch", 4))])
    for name, array in {**(constants or {}), **(weights or {})}.items():
        builder.constant(np.asarray(array), name)
    builder.nodes(kind, *inputs, outputs=1, name=outputs[0], **attributes)
    return detach(
        onnx.load_from_string(builder.finish([TensorSpec("y", "float32", ("batch", 4))])), names=weights or ()
    )


def test_dropout_drops_only_while_training():
    made = graph("Dropout", ("x", "ratio"), {"ratio": np.float32(0.5)})
    network = runtime.module(*made)
    x = torch.ones(1000, 4)
    assert torch.equal(network.eval()(x), x)
    torch.manual_seed(0)
    dropped = network.train()(x)
    assert set(dropped.unique().tolist()) == {0.0, 2.0}
    assert dropped.mean().item() == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize(
    "name", ["half", "forward", "training", "a..b", ".x", "y.", "_parameters", "0", "x.type", "ä ö"]
)
def test_any_name_may_be_a_weights(name):
    made = graph("Mul", ("x", name), weights={name: np.full(4, 3, "f4")})
    network = runtime.module(*made)
    assert list(network.state_dict()) == [name]
    assert torch.equal(network(torch.ones(2, 4)), torch.full((2, 4), 3.0))


def test_a_weight_and_a_folder_of_one_name_are_both_kept():
    builder = Builder([TensorSpec("x", "float32", ("batch", 4))])
    one, two = (builder.constant(np.full(4, n, "f4"), name) for n, name in ((2, "a"), (3, "a.b")))
    builder.node("Mul", builder.node("Mul", "x", one), two, name="y")
    made = detach(onnx.load_from_string(builder.finish([TensorSpec("y", "float32", ("batch", 4))])))
    network = runtime.module(*made)
    assert sorted(network.state_dict()) == ["a", "a.b"]
    assert network(torch.ones(1, 4))[0, 0].item() == 6


def test_an_operator_that_torch_does_not_run_is_named_with_its_node():
    value = helper.make_tensor_value_info
    node = helper.make_node("StringNormalizer", ["x"], ["y"], name="lower")
    strings = [value(n, TensorProto.STRING, ["batch"]) for n in "xy"]
    made = helper.make_model(helper.make_graph([node], "g", strings[:1], strings[1:]))
    with pytest.raises(ConversionError, match="'lower' is a StringNormalizer"):
        runtime.module(made.SerializeToString(), {})


def test_a_missing_weight_is_named():
    made, _ = graph("Mul", ("x", "w"), weights={"w": np.ones(4, "f4")})
    with pytest.raises(FormatError, match="'w'"):
        runtime.module(made, {})


def test_wrong_inputs_are_refused():
    made, weights = graph("Relu")
    with pytest.raises(ShapeError, match="takes 1 inputs, but got 2"):
        runtime.module(made, weights)(torch.ones(1, 4), torch.ones(1, 4))
    with pytest.raises(ShapeError, match="'x' is missing"):
        runtime.run(made, {})


def test_weights_of_bfloat16_are_read():
    weight = np.full(4, 1.5, ml_dtypes.bfloat16)
    builder = Builder([TensorSpec("x", "bfloat16", ("batch", 4))])
    builder.node("Mul", "x", builder.constant(weight, "w"), name="y")
    made = detach(onnx.load_from_string(builder.finish([TensorSpec("y", "bfloat16", ("batch", 4))])))
    network = runtime.module(*made)
    assert network(torch.ones(1, 4, dtype=torch.bfloat16)).tolist() == [[1.5] * 4]


def test_the_arrays_given_are_copied():
    made, weights = graph("Mul", ("x", "w"), weights={"w": np.ones(4, "f4")})
    network = runtime.module(made, weights)
    with torch.no_grad():
        next(network.parameters()).zero_()
    assert weights["w"].tolist() == [1, 1, 1, 1]


def test_onnxruntime_and_torch_agree_after_training():
    original = Scaled()
    specs = (TensorSpec("x", "float32", ("batch", 6)),)
    made, weights = export(original, specs, (TensorSpec("out", "float32", ("batch", 3)),))
    network = runtime.module(made, weights).train()
    optimizer = torch.optim.SGD(network.parameters(), 0.1)
    x = torch.randn(16, 6)
    for _ in range(3):
        optimizer.zero_grad()
        network(x).square().mean().backward()
        optimizer.step()
    from engram.graphs.weights import attach

    after = {name: value.numpy() for name, value in network.state_dict().items()}
    found = onnxruntime.run(attach(made, after).SerializeToString(), {"x": x.numpy()})["out"]
    np.testing.assert_allclose(found, network.eval()(x).detach(), atol=1e-5)
