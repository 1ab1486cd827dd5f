"""Older operator sets: what is converted answers as the source does in onnxruntime, and the rest is refused."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from engram.errors import ConversionError
from engram.graphs.versions import pin
from engram.runtime.onnxruntime import run

VALUES = np.random.default_rng(0).normal(size=(2, 3, 4, 5)).astype(np.float32)


def older(kind: str, version: int, *constants: np.ndarray, **attributes: object) -> onnx.ModelProto:
    names = [f"c{i}" for i in range(len(constants))]
    graph = helper.make_graph(
        [helper.make_node(kind, ["x", *names], ["y"], name="odd", **attributes)],
        "older",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3, 4, 5])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * 4)],
        [numpy_helper.from_array(c, name) for c, name in zip(constants, names, strict=True)],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", version)], ir_version=4)


@pytest.mark.parametrize(
    "model",
    [
        older("Softmax", 11, axis=1),
        older("LogSoftmax", 9, axis=2),
        older("Clip", 6, min=-0.5, max=0.5),
        older("AveragePool", 7, kernel_shape=[2, 2]),
        older("ReduceSum", 11, axes=[1], keepdims=1),
        older("Pad", 10, pads=[0, 0, 1, 1, 0, 0, 1, 1]),
    ],
    ids=lambda model: model.graph.node[0].op_type,
)
def test_what_is_converted_answers_as_the_source_does(model):
    before = run(model.SerializeToString(), {"x": VALUES})["y"]
    after = run(pin(model).SerializeToString(), {"x": VALUES})["y"]
    np.testing.assert_allclose(after, before, atol=1e-6)


@pytest.mark.parametrize(
    "model",
    [
        older("Resize", 10, np.array([1, 1, 1.7, 1.7], dtype=np.float32), mode="nearest"),
        older("Upsample", 9, np.array([1, 1, 2, 2], dtype=np.float32), mode="linear"),
        older("Hardmax", 11, axis=1),
    ],
    ids=lambda model: model.graph.node[0].op_type,
)
def test_what_the_converter_would_change_is_refused_by_name(model):
    with pytest.raises(ConversionError, match=f"'odd' is a {model.graph.node[0].op_type}.*export it again"):
        pin(model)
