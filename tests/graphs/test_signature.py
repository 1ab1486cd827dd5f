import pytest
from onnx import TensorProto, helper

from engram.errors import FormatError
from engram.graphs.build import Builder
from engram.graphs.signature import declare, signature
from engram.records import Signature, TensorSpec


def relu(*specs):
    builder = Builder(specs)
    builder.node("Relu", specs[0].name, name="y")
    return builder.finish([TensorSpec("y", specs[0].dtype, specs[0].shape)])


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
def test_what_was_declared_is_read_back(dtype):
    spec = TensorSpec("x", dtype, ("batch", "length", 3))
    assert signature(relu(spec)) == Signature((spec,), (TensorSpec("y", dtype, ("batch", "length", 3)),))


def test_axes_without_a_name_get_one():
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, None, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["s77", None, 3])],
    )
    found = signature(helper.make_model(graph))
    assert found.inputs[0].shape == ("batch", "x.1", 3)
    assert found.outputs[0].shape == ("batch", "y.1", 3)


def test_declaring_other_inputs_than_there_are_is_refused():
    graph = helper.make_model(
        helper.make_graph(
            [helper.make_node("Relu", ["x"], ["y"])],
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])],
        )
    )
    spec = TensorSpec("z", "float32", ("batch",))
    with pytest.raises(FormatError, match="the graph's inputs are x, not z"):
        declare(graph, [spec], [TensorSpec("y", "float32", ("batch",))])


def test_a_sequence_is_no_input():
    value = helper.make_tensor_sequence_value_info("x", TensorProto.FLOAT, [1])
    output = helper.make_tensor_value_info("y", TensorProto.INT64, [])
    graph = helper.make_graph([helper.make_node("SequenceLength", ["x"], ["y"])], "g", [value], [output])
    with pytest.raises(FormatError, match="'x' is not a tensor"):
        signature(helper.make_model(graph))
