import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from engram.graphs.build import Builder
from engram.graphs.states import forget_zeros
from engram.records import TensorSpec


def recurrent(state, kind="LSTM"):
    """A layer of 3 on x of shape (4, batch, 2), its first state made by `state`."""
    gates = {"LSTM": 4, "GRU": 3, "RNN": 1}[kind]
    builder = Builder([TensorSpec("x", "float32", (4, "batch", 2)), TensorSpec("h", "float32", (1, "batch", 3))])
    first = state(builder)
    weights = [builder.constant(np.ones((1, gates * 3, n), "f4")) for n in (2, 3)]
    states = [first] * (2 if kind == "LSTM" else 1)
    builder.node(kind, "x", *weights, "", "", *states, hidden_size=3, name="y")
    model = onnx.load_from_string(builder.finish([TensorSpec("y", "float32", (4, 1, "batch", 3))]))
    forget_zeros(model.graph)
    return next(list(node.input) for node in model.graph.node if node.op_type == kind)


def rows(b):
    return b.node("Concat", b.constant([1]), b.node("Shape", "x", start=1, end=2), b.constant([3]), axis=0)


def filled(value):
    return lambda b: b.node("ConstantOfShape", rows(b), value=numpy_helper.from_array(np.array([value], "f4")))


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_computed_zeros_are_left_out(kind):
    assert len(recurrent(filled(0), kind)) == 3
    assert len(recurrent(lambda b: b.node("ConstantOfShape", rows(b)), kind)) == 3


def test_zeros_are_known_through_what_keeps_them():
    def turned(b):
        zero = b.node("Constant", value=numpy_helper.from_array(np.zeros((3, 1, 1), "f4")))
        return b.node("Expand", b.node("Transpose", zero, perm=[2, 1, 0]), rows(b))

    assert len(recurrent(turned)) == 3


@pytest.mark.parametrize("state", [filled(0.5), lambda _: "h", lambda b: b.node("Sub", "h", "h")])
def test_any_other_state_stays(state):
    assert all(recurrent(state)[5:])
    assert len(recurrent(state)) == 7
