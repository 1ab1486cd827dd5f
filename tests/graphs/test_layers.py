import numpy as np
import onnx
import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from engram.formats._torch_export import export
from engram.graphs.build import Builder
from engram.graphs.layers import Layer, layers, network
from engram.graphs.weights import detach
from engram.records import TensorSpec


def graph():
    builder = Builder([TensorSpec("x", "float32", ("batch", 4))])
    first = builder.node(
        "Gemm", "x", builder.constant(np.ones((8, 4), "f4"), "fc1.weight"),
        builder.constant(np.ones(8, "f4"), "fc1.bias"), transB=1,
    )  # fmt: skip
    active = builder.node("LeakyRelu", first, alpha=0.1, name="act")
    turned = builder.node("Transpose", builder.constant(np.ones((2, 8), "f4"), "fc2.weight"), perm=[1, 0])
    builder.node("MatMul", active, turned, name="y")
    return detach(onnx.load_from_string(builder.finish([TensorSpec("y", "float32", ("batch", 2))])))


def test_layers_are_named_after_the_module_their_weights_belong_to():
    found = layers(*graph())
    assert [(layer.name, layer.operator, layer.shape, layer.size) for layer in found] == [
        ("fc1", "Gemm", ("batch", 8), 40),
        ("act", "LeakyRelu", ("batch", 8), 0),
        ("fc2", "MatMul", ("batch", 2), 16),
    ]
    assert found[0].parameters == {"fc1.bias": (8,), "fc1.weight": (8, 4)}


def test_products_of_matrices_cost_what_torch_counts():
    modules = [nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.Conv2d(8, 8, 3, groups=4, bias=False), nn.Flatten(1)]
    module = nn.Sequential(*modules, nn.Linear(8 * 6 * 6, 10, bias=False)).eval()
    inputs = torch.zeros(1, 3, 16, 16)
    with FlopCounterMode(display=False) as counted:
        module(inputs)
    specs = (TensorSpec("x", "float32", ("batch", 3, 16, 16)),), (TensorSpec("y", "float32", ("batch", 10)),)
    assert network(*export(module, *specs)).operations == counted.get_total_flops()


def test_every_free_axis_is_assumed_and_said():
    builder = Builder([TensorSpec("x", "float32", ("batch", "time", 4))])
    builder.node("MatMul", "x", builder.constant(np.ones((4, 5), "f4"), "w"), name="y")
    found = network(*detach(onnx.load_from_string(builder.finish([TensorSpec("y", "float32", ("batch", "time", 5))]))))
    assert found.assumed == {"batch": 1, "time": 32}
    assert found.operations == 2 * 32 * 5 * 4
    assert found.memory == 4 * 32 * (4 + 5)
    assert found.layers[0].shape == ("batch", "time", 5)


def test_a_recurrent_layer_costs_its_products_at_every_step():
    builder = Builder([TensorSpec("x", "float32", (9, 1, 6))])
    shapes = {"w": (1, 4 * 16, 6), "r": (1, 4 * 16, 16)}
    kernels = [builder.constant(np.ones(shape, "f4"), name) for name, shape in shapes.items()]
    builder.node("LSTM", "x", *kernels, hidden_size=16, name="y")
    graph = detach(onnx.load_from_string(builder.finish([TensorSpec("y", "float32", (9, 1, 1, 16))])))
    assert network(*graph).operations == 2 * 9 * 4 * 16 * (6 + 16)


def test_memory_is_that_of_the_worst_moment():
    builder = Builder([TensorSpec("x", "float32", ("batch", 10))])
    wide = builder.node("MatMul", "x", builder.constant(np.ones((10, 1000), "f4"), "a"))
    wide = builder.node("Relu", wide)
    narrow = builder.node("MatMul", wide, builder.constant(np.ones((1000, 2), "f4"), "b"))
    builder.node("Relu", narrow, name="y")
    found = network(*detach(onnx.load_from_string(builder.finish([TensorSpec("y", "float32", ("batch", 2))]))))
    assert found.memory == 4 * 2 * 1000


def test_layers_say_what_they_read_across_what_only_moves_numbers():
    builder = Builder([TensorSpec("x", "float32", ("batch", 4))])
    left = builder.node("Relu", "x")
    right = builder.node("Transpose", builder.node("Tanh", "x"), perm=[1, 0])
    both = builder.node("Add", left, builder.node("Transpose", right, perm=[1, 0]))
    builder.node("Sigmoid", both, name="y")
    found = network(*detach(onnx.load_from_string(builder.finish([TensorSpec("y", "float32", ("batch", 4))]))))
    assert [layer.reads for layer in found.layers] == [(-1,), (-1,), (0, 1), (2,)]
    assert found.outputs == (3,)


def test_a_layer_is_the_same_wherever_it_stands():
    assert Layer("a", "Relu", operations=3, reads=(1,)) == Layer("a", "Relu", operations=4, reads=(7,))


@pytest.mark.parametrize("operator", ["Nonesuch", "Conv"])
def test_a_graph_that_contradicts_itself_still_has_layers(operator: str):
    node = onnx.helper.make_node(operator, ["x", "x"], ["y"], name="odd")
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph([node], "g", [value("x", 1, [2])], [value("y", 1, None)])
    model = onnx.helper.make_model(graph)
    assert [layer.name for layer in layers(model.SerializeToString(), {})] == ["odd"]
