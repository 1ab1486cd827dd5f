"""What every runtime promises: it answers as onnx's own reference does."""

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

from engram.errors import EngramError
from engram.graphs.build import Builder
from engram.records import TensorSpec
from engram.runtime import SHELF

RNG = np.random.default_rng(5)


def normal(*shape):
    return RNG.normal(size=shape).astype("f4")


def dense():
    builder = Builder([TensorSpec("x", "float32", ("batch", 5))])
    hidden = builder.node("Relu", builder.node("Gemm", "x", builder.constant(normal(7, 5)), transB=1))
    builder.node("Softmax", builder.node("MatMul", hidden, builder.constant(normal(7, 3))), axis=-1, name="y")
    return builder.finish([TensorSpec("y", "float32", ("batch", 3))]), {"x": normal(4, 5)}


def convolution():
    builder = Builder([TensorSpec("x", "float32", ("batch", 2, 7, 6))])
    y = builder.node("Conv", "x", builder.constant(normal(4, 1, 3, 3)), group=2, pads=[1, 0, 0, 1], strides=[2, 1])
    statistics = [builder.constant(np.abs(normal(4))) for _ in range(4)]
    y = builder.node("BatchNormalization", y, *statistics)
    y = builder.node("AveragePool", y, kernel_shape=[2, 2], pads=[1, 0, 0, 1], auto_pad="NOTSET")
    builder.node("GlobalAveragePool", y, name="y")
    return builder.finish([TensorSpec("y", "float32", ("batch", 4, 1, 1))]), {"x": normal(3, 2, 7, 6)}


def shapes():
    builder = Builder([TensorSpec("x", "float32", ("batch", 6)), TensorSpec("n", "int64", ("batch",))])
    rows = builder.node("Shape", "x", start=0, end=1)
    wide = builder.node("Concat", rows, builder.constant([2, 3], dtype="int64"), axis=0)
    y = builder.node("Transpose", builder.node("Reshape", "x", wide), perm=[0, 2, 1])
    y = builder.node("Slice", y, *(builder.constant([n], dtype="int64") for n in (-1, -4, 1, -1)))
    picked = builder.node("Gather", builder.constant(normal(5, 2)), "n")
    builder.node(
        "Add", builder.node("ReduceSum", y, builder.constant([1], dtype="int64"), keepdims=0), picked, name="y"
    )
    return builder.finish([TensorSpec("y", "float32", ("batch", 2))]), {"x": normal(3, 6), "n": np.array([0, 4, -1])}


def choices():
    builder = Builder([TensorSpec("x", "float64", ("batch",))])
    gap = builder.node("IsNaN", "x")
    filled = builder.node("Where", gap, builder.constant(np.float64(0.5)), "x")
    clipped = builder.node("Clip", filled, builder.constant(np.float64(-1)), builder.constant(np.float64(1)))
    builder.node("Cast", clipped, to=1, name="y")
    return builder.finish([TensorSpec("y", "float32", ("batch",))]), {"x": np.array([np.nan, 3, -0.25, -7])}


@pytest.mark.parametrize("make", [dense, convolution, shapes, choices])
@pytest.mark.parametrize("name", SHELF.names())
def test_a_runtime_answers_as_the_reference(name, make):
    graph, inputs = make()
    found = SHELF.take(name).run(graph, inputs)
    model = onnx.load_from_string(graph)
    expected = dict(zip((o.name for o in model.graph.output), ReferenceEvaluator(model).run(None, inputs), strict=True))
    assert found.keys() == expected.keys()
    for key, values in expected.items():
        assert found[key].dtype == values.dtype
        np.testing.assert_allclose(found[key], values, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", SHELF.names())
def test_a_runtime_says_which_version_it_is(name):
    library, version = SHELF.take(name).VERSION.split()
    assert library == name
    assert version == __import__(name).__version__


@pytest.mark.parametrize("name", SHELF.names())
def test_inputs_that_do_not_fit_are_an_error_of_ours(name):
    graph, inputs = dense()
    for wrong in ({}, {"x": inputs["x"][:, :2]}):
        with pytest.raises(EngramError):
            SHELF.take(name).run(graph, wrong)
