import numpy as np
import onnx
from onnx import TensorProto, helper

from engram.graphs.build import Builder
from engram.graphs.walk import Steps, operators, steps
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


def test_steps_hold_everything_a_runtime_needs_and_no_weights():
    found = steps(graph()[0])
    assert found.inputs == ("x",)
    assert found.outputs == ("y",)
    assert found.weights == ("fc1.weight", "fc1.bias", "fc2.weight")
    assert [step.operator for step in found.nodes] == ["Gemm", "LeakyRelu", "Transpose", "MatMul"]
    assert found.nodes[1].attributes == {"alpha": 0.1}
    assert found.nodes[2].attributes == {"perm": [1, 0]}


def test_graphs_within_nodes_are_steps_too_and_their_operators_are_counted():
    inner = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["z"])], "b", [], [helper.make_tensor_value_info("z", 1, None)]
    )
    node = helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=inner)
    value = helper.make_tensor_value_info
    outer = helper.make_graph([node], "g", [value("x", 1, [1]), value("c", TensorProto.BOOL, [])], [value("y", 1, [1])])
    model = helper.make_model(outer)
    assert operators(model) == {"If", "Relu"}
    branch = steps(model.SerializeToString()).nodes[0].attributes["then_branch"]
    assert isinstance(branch, Steps)
    assert branch.nodes[0].operator == "Relu"
