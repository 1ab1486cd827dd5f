"""What onnxruntime answers from its own process, and what a graph cannot do to ours."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from engram.errors import EngramError
from engram.formats import _onnxruntime
from networks.torch_networks import NETWORKS, exported


def graph(*nodes: onnx.NodeProto, **constants: list[int]) -> bytes:
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in "xy"]
    stored = [numpy_helper.from_array(np.array(value, np.int64), name) for name, value in constants.items()]
    made = helper.make_graph(list(nodes), "g", ends[:1], ends[1:], stored)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 21)], ir_version=10).SerializeToString()


def test_the_answers_are_those_of_this_process():
    model = exported("two_outputs")
    rows = {spec.name: np.asarray(one) for spec, one in zip(
        model.signature.inputs, NETWORKS["two_outputs"].rows(5), strict=True)}  # fmt: skip
    mine = _onnxruntime.runtime.open(model).predict(rows).outputs
    for (answers,) in (_onnxruntime.stages(model, [rows]), _onnxruntime.predict(model, [rows])):
        for name, array in mine.items():
            np.testing.assert_array_equal(answers[name], array)


@pytest.mark.parametrize("shape", [[100_000, 100_000], [1 << 40, 1 << 20]])
def test_a_tensor_that_no_machine_has_room_for_is_an_error_and_no_crash(shape):
    nodes = helper.make_node("ConstantOfShape", ["s"], ["c"]), helper.make_node("Add", ["x", "c"], ["y"])
    with pytest.raises(EngramError, match=r"onnxruntime|memory|killed"):
        _onnxruntime.run(graph(*nodes, s=shape), [{"x": np.ones((1, 1), np.float32)}])
