import numpy as np
import onnx
import pytest
import torch
from torch import nn

from engram.errors import ConversionError
from engram.formats._torch_export import export
from engram.graphs.weights import attach
from engram.records import TensorSpec
from engram.runtime import onnxruntime

IMAGE = (TensorSpec("image", "float32", ("batch", 3, 8, 8)),)
FEATURES = (TensorSpec("features", "float32", ("batch", 6)),)


class Block(nn.Module):
    def __init__(self, width, stride=1):
        super().__init__()
        self.conv1 = nn.Conv2d(width, 2 * width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(2 * width)
        self.conv2 = nn.Conv2d(2 * width, 2 * width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(2 * width)
        self.shortcut = nn.Sequential(nn.Conv2d(width, 2 * width, 1, stride, bias=False), nn.BatchNorm2d(2 * width))

    def forward(self, x):
        y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return torch.relu(y + self.shortcut(x))


class Regression(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(6, 5), nn.SiLU(), nn.Linear(5, 1))
        self.register_buffer("scale", torch.tensor(3.5))
        self.register_buffer("offset", torch.tensor([10.0]))

    def forward(self, x):
        return self.layers(x) * self.scale + self.offset


def mlp():
    return nn.Sequential(
        nn.Linear(6, 16), nn.BatchNorm1d(16), nn.GELU(), nn.Dropout(0.3), nn.Linear(16, 8), nn.LayerNorm(8),
        nn.Tanh(), nn.LeakyReLU(0.2), nn.ELU(), nn.Linear(8, 4),
    )  # fmt: skip


def cnn():
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8, momentum=0.3, eps=1e-3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Dropout2d(0.2), nn.Conv2d(8, 6, 3, padding=1, groups=2, bias=False), nn.Sigmoid(), nn.AvgPool2d(2),
        nn.Flatten(), nn.Dropout(0.5), nn.Linear(24, 4),
    )  # fmt: skip


def resnet():
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, 1, 1), Block(4), Block(8, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 4)
    )


def waves():
    return nn.Sequential(
        nn.Conv1d(2, 4, 3), nn.BatchNorm1d(4), nn.ReLU(), nn.MaxPool1d(2), nn.Flatten(), nn.Linear(12, 4)
    )


NETWORKS = {
    "mlp": (mlp, FEATURES),
    "cnn": (cnn, IMAGE),
    "resnet": (resnet, IMAGE),
    "regression": (Regression, FEATURES),
    "waves": (waves, (TensorSpec("wave", "float32", ("batch", 2, 8)),)),
}


def example(specs, rows=5):
    generator = torch.Generator().manual_seed(rows)
    return torch.randn([rows, *specs[0].shape[1:]], generator=generator)


def trained(make, specs):
    """A network whose running statistics are no longer those it was born with."""
    torch.manual_seed(0)
    network = make().train()
    for rows in (8, 9):
        network(example(specs, rows))
    return network


def outputs(network, specs):
    return (TensorSpec("out", "float32", ("batch", network.eval()(example(specs)).shape[1])),)


@pytest.fixture(scope="module", params=NETWORKS)
def exported(request):
    make, specs = NETWORKS[request.param]
    network = trained(make, specs)
    answer = outputs(network, specs)
    return network, specs, export(network, specs, answer)


def test_the_graph_answers_as_the_module_does(exported):
    network, specs, (graph, weights) = exported
    whole = attach(graph, weights).SerializeToString()
    for rows in (1, 2, 7):
        x = example(specs, rows)
        found = onnxruntime.run(whole, {specs[0].name: x.numpy()})["out"]
        np.testing.assert_allclose(found, network.eval()(x).detach().numpy(), atol=1e-5, rtol=1e-5)


def test_every_entry_of_the_state_keeps_its_name_value_and_type(exported):
    network, _, (_, weights) = exported
    assert list(weights) == list(network.state_dict())
    for name, value in network.state_dict().items():
        np.testing.assert_array_equal(weights[name], value.numpy())
        assert str(weights[name].dtype) == str(value.dtype).removeprefix("torch.")


def test_what_the_graph_reads_is_what_the_module_learned(exported):
    network, _, (graph, _) = exported
    read = {tensor.name for tensor in onnx.load_from_string(graph).graph.initializer}
    unread = network.state_dict().keys() - read
    assert read <= network.state_dict().keys()
    assert {name.rpartition(".")[2] for name in unread} <= {"num_batches_tracked"}


def test_batch_normalization_and_dropout_stay(exported):
    network, _, (graph, _) = exported
    kinds = [node.op_type for node in onnx.load_from_string(graph).graph.node]
    norms = sum(isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d)) for m in network.modules())
    drops = sum(isinstance(m, (nn.Dropout, nn.Dropout2d)) for m in network.modules())
    assert kinds.count("BatchNormalization") == norms
    assert kinds.count("Dropout") == drops


def test_nothing_of_the_exporter_is_left_in_the_graph(exported):
    _, _, (graph, _) = exported
    for trace in (b"pkg.torch", b"torch.fx", b"/work", b"site-packages"):
        assert trace not in graph
    assert (
        not {"CastLike", "Shape"} & {n.op_type for n in onnx.load_from_string(graph).graph.node} or b"Dropout" in graph
    )


def test_exporting_changes_nothing_about_the_module_or_the_random_numbers():
    network = trained(cnn, IMAGE)
    network[4].eval()
    state = {name: value.clone() for name, value in network.state_dict().items()}
    modes = [module.training for module in network.modules()]
    random = torch.get_rng_state()
    export(network, IMAGE, (TensorSpec("out", "float32", ("batch", 4)),))
    assert torch.equal(random, torch.get_rng_state())
    assert modes == [module.training for module in network.modules()]
    assert all(torch.equal(state[name], value) for name, value in network.state_dict().items())


def test_exporting_is_silent(capfd):
    export(mlp(), FEATURES, (TensorSpec("out", "float32", ("batch", 4)),))
    assert capfd.readouterr() == ("", "")


def test_a_layer_without_bias_gets_none():
    network = nn.Conv2d(3, 4, 3, bias=False)
    graph, _ = export(network, IMAGE, (TensorSpec("out", "float32", ("batch", 4, 6, 6)),))
    assert [(n.op_type, list(n.input)) for n in onnx.load_from_string(graph).graph.node] == [
        ("Conv", ["image", "weight"])
    ]


def test_the_layout_of_a_dense_layer_is_the_sources():
    graph, weights = export(nn.Linear(6, 2), FEATURES, (TensorSpec("out", "float32", ("batch", 2)),))
    node = onnx.load_from_string(graph).graph.node[0]
    assert node.op_type == "Gemm"
    assert {a.name: a.i for a in node.attribute}["transB"] == 1
    assert weights["weight"].shape == (2, 6)


def test_a_network_of_several_inputs_and_outputs_keeps_their_names():
    class Two(nn.Module):
        def forward(self, a, b):
            return a + b, a - b

    specs = tuple(TensorSpec(name, "float32", ("batch", 3)) for name in ("left", "right"))
    answers = tuple(TensorSpec(name, "float32", ("batch", 3)) for name in ("sum", "difference"))
    graph, _ = export(Two(), specs, answers)
    found = onnxruntime.run(graph, {"left": np.full((1, 3), 5, "f4"), "right": np.full((1, 3), 3, "f4")})
    assert {name: value[0, 0] for name, value in found.items()} == {"sum": 8, "difference": 2}


def test_an_embedding_reads_whole_numbers():
    network = nn.Sequential(nn.Embedding(11, 4), nn.Flatten(), nn.Linear(8, 2))
    specs = (TensorSpec("ids", "int64", ("batch", 2)),)
    graph, weights = export(network, specs, (TensorSpec("out", "float32", ("batch", 2)),))
    ids = torch.tensor([[1, 10], [0, 3], [2, 2]])
    found = onnxruntime.run(attach(graph, weights).SerializeToString(), {"ids": ids.numpy()})["out"]
    np.testing.assert_allclose(found, network(ids).detach().numpy(), atol=1e-5)


def test_weights_of_half_precision_keep_their_type():
    graph, weights = export(
        nn.Linear(6, 2).to(torch.bfloat16), (TensorSpec("features", "bfloat16", ("batch", 6)),),
        (TensorSpec("out", "bfloat16", ("batch", 2)),),
    )  # fmt: skip
    assert weights["weight"].dtype.name == "bfloat16"
    assert attach(graph, weights).graph.initializer[0].data_type == onnx.TensorProto.BFLOAT16


def test_a_network_that_draws_random_numbers_is_refused():
    class Noisy(nn.Module):
        def forward(self, x):
            return x + torch.randn_like(x)

    with pytest.raises(ConversionError, match="draws random numbers"):
        export(Noisy(), FEATURES, (TensorSpec("out", "float32", ("batch", 6)),))


def test_a_network_that_torch_cannot_export_is_refused_with_the_reason():
    class Branching(nn.Module):
        def forward(self, x):
            return x if x.sum() > 0 else -x

    with pytest.raises(ConversionError, match="torch cannot export Branching") as refused:
        export(Branching(), FEATURES, (TensorSpec("out", "float32", ("batch", 6)),))
    assert "\n" not in str(refused.value)


class Recurrent(nn.Module):
    def __init__(self, kind, **more):
        super().__init__()
        self.rnn = kind(4, 6, **more)

    def forward(self, x):
        return self.rnn(x)[0]


SERIES = (TensorSpec("x", "float32", ("batch", "time", 4)),)


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        (nn.RNN, {"nonlinearity": "relu"}),
        (nn.LSTM, {"bias": False, "bidirectional": True, "num_layers": 2, "dropout": 0.5}),
    ],
)
def test_a_recurrent_layer_is_one_node_a_layer_that_begins_in_zeros_and_takes_any_number_of_steps(kind, more):
    network = Recurrent(kind, batch_first=True, **more)
    width = 12 if more.get("bidirectional") else 6
    graph, weights = export(network, SERIES, (TensorSpec("y", "float32", ("batch", "time", width)),))
    layers = [node for node in onnx.load_from_string(graph).graph.node if node.op_type == kind.__name__]
    assert len(layers) == more.get("num_layers", 1)
    assert not any(node.input[5:] for node in layers)
    assert list(weights) == [name for name, _ in network.named_parameters()]
    for steps in (1, 9):
        x = torch.randn(2, steps, 4, generator=torch.Generator().manual_seed(steps))
        found = onnxruntime.run(attach(graph, weights).SerializeToString(), {"x": x.numpy()})["y"]
        np.testing.assert_allclose(found, network.eval()(x).detach().numpy(), atol=1e-5)


def test_a_state_that_is_given_stays_an_input_of_its_node():
    class Given(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = nn.GRU(4, 6, num_layers=2)

        def forward(self, x, state):
            return self.rnn(x, state)

    specs = (TensorSpec("x", "float32", (5, "batch", 4)), TensorSpec("state", "float32", (2, "batch", 6)))
    answer = (TensorSpec("y", "float32", (5, "batch", 6)), TensorSpec("last", "float32", (2, "batch", 6)))
    network = Given()
    graph, weights = export(network, specs, answer)
    x, state = torch.randn(5, 2, 4), torch.randn(2, 2, 6)
    found = onnxruntime.run(attach(graph, weights).SerializeToString(), {"x": x.numpy(), "state": state.numpy()})
    for mine, theirs in zip(found.values(), network(x, state), strict=True):
        np.testing.assert_allclose(mine, theirs.detach().numpy(), atol=1e-5)


def test_an_lstm_with_a_projection_is_refused():
    network = Recurrent(nn.LSTM, proj_size=3)
    with pytest.raises(ConversionError, match="projection"):
        export(network, SERIES, (TensorSpec("y", "float32", ("batch", "time", 3)),))


class Attention(nn.Module):
    def __init__(self, **more):
        super().__init__()
        self.more = more

    def forward(self, query, key, value, mask=None):
        return nn.functional.scaled_dot_product_attention(query, key, value, mask, **self.more)


def heads(**counts):
    return tuple(TensorSpec(name, "float32", ("batch", count, "steps", 8)) for name, count in counts.items())


@pytest.mark.parametrize(
    ("more", "specs"),
    [
        ({}, (*heads(q=4, k=4, v=4), TensorSpec("mask", "bool", ("steps", "steps")))),
        pytest.param(
            {"scale": 0.3}, (*heads(q=4, k=4, v=4), TensorSpec("mask", "float32", ("steps", "steps"))),
            marks=pytest.mark.long,
        ),
        pytest.param({"is_causal": True, "enable_gqa": True}, heads(q=4, k=2, v=2), marks=pytest.mark.long),
    ],
)  # fmt: skip
def test_attention_answers_as_torchs_own_also_for_a_step_that_may_look_at_nothing(more, specs):
    network = Attention(**more)
    graph, _ = export(network, specs, (TensorSpec("y", "float32", ("batch", 4, "steps", 8)),))
    generator = torch.Generator().manual_seed(3)
    rows = [torch.randn([2, s.shape[1], 5, 8] if len(s.shape) == 4 else [5, 5], generator=generator) for s in specs]
    if specs[-1].dtype == "bool":
        rows[-1] = rows[-1] > 0.3
        rows[-1][2] = False
    found = onnxruntime.run(graph, {spec.name: value.numpy() for spec, value in zip(specs, rows, strict=True)})["y"]
    np.testing.assert_allclose(found, network(*rows).numpy(), atol=1e-5)


def test_an_encoder_reshapes_by_known_numbers_alone():
    layer = nn.TransformerEncoderLayer(8, 2, 12, batch_first=True)
    specs, answer = TensorSpec("x", "float32", ("batch", 5, 8)), TensorSpec("y", "float32", ("batch", 5, 8))
    graph, weights = export(layer, (specs,), (answer,))
    kinds = [node.op_type for node in onnx.load_from_string(graph).graph.node]
    assert not {"Shape", "CastLike", "Sqrt", "Expand"} & set(kinds)
    assert list(weights) == list(layer.state_dict())


def test_a_weight_never_gives_its_name_to_an_input():
    specs, answer = (TensorSpec("weight", "float32", ("batch", 6)),), (TensorSpec("out", "float32", ("batch", 2)),)
    with pytest.raises(ConversionError, match="Linear takes 'weight', which is also the name of a weight"):
        export(nn.Linear(6, 2), specs, answer)
