"""Where two networks part is found without computing everything at once, and named by the words of the source."""

from dataclasses import replace

import numpy as np
import onnx
import pytest

from engram.formats._bisection import Place, first_difference
from engram.formats._probes import probes
from engram.graphs.build import Builder
from engram.graphs.naming import rename
from engram.graphs.weights import detach
from engram.records import Model, Signature, TensorSpec

LENGTH = 300


@pytest.fixture(scope="module")
def deep() -> Model:
    """A long network, 900 nodes, in which every layer adds a little."""
    spec, end = TensorSpec("x", "float32", ("batch", 4)), TensorSpec("y", "float32", ("batch", 4))
    builder = Builder([spec])
    numbers = np.random.default_rng(0)
    value = "x"
    for number in range(LENGTH):
        weight = builder.constant(np.eye(4, dtype=np.float32), f"block.{number}.dense.weight")
        bias = builder.constant(numbers.normal(size=4).astype(np.float32) * 0.1, f"block.{number}.dense.bias")
        value = builder.node("Add", builder.node("MatMul", value, weight), bias)
        value = builder.node("Tanh", value, name="y" if number == LENGTH - 1 else f"block.{number}.tanh")
    graph, weights = detach(onnx.ModelProto.FromString(builder.finish([end])))
    return Model(graph, weights, Signature((spec,), (end,)))


@pytest.mark.parametrize("number", [0, 1, 31, 150, 298, 299])
def test_the_first_layer_that_differs_is_found_in_a_long_network(deep: Model, number: int):
    name = f"block.{number}.dense.bias"
    changed = replace(deep, weights={**deep.weights, name: deep.weights[name] + np.float32(0.01)})
    found = first_difference(deep, changed, [probes(deep)], 1e-5)
    assert found.layer == f"block.{number}.dense"
    assert "of layer" in str(found)


def test_a_later_difference_does_not_hide_the_first(deep: Model):
    names = [f"block.{number}.dense.bias" for number in (40, 200)]
    changed = replace(deep, weights={**deep.weights, **{n: deep.weights[n] + np.float32(0.01) for n in names}})
    assert first_difference(deep, changed, [probes(deep)], 1e-5).layer == "block.40.dense"


def test_a_network_whose_values_were_all_renamed_is_followed_by_its_weights(deep: Model):
    network = onnx.ModelProto.FromString(deep.graph)
    rename(network.graph, {output: f"t{n}" for n, node in enumerate(network.graph.node) for output in node.output})
    for node in network.graph.node:
        node.name = ""
    name = "block.77.dense.weight"
    changed = {**deep.weights, name: deep.weights[name] * np.float32(1.5)}
    ends = Signature(deep.signature.inputs, (replace(deep.signature.outputs[0], name=network.graph.output[0].name),))
    again = Model(network.SerializeToString(), changed, ends)
    assert first_difference(deep, again, [probes(deep)], 1e-5).layer == "block.77.dense"


def test_networks_that_agree_part_nowhere(deep: Model, models: dict[str, Model]):
    assert first_difference(deep, deep, [probes(deep)], 1e-5) == Place()
    binary = models["binary"]
    changed = replace(binary, weights={**binary.weights, "3.bias": binary.weights["3.bias"] + 1})
    assert first_difference(binary, changed, [probes(binary)], 1e-5) == Place("y", "3")
    assert str(Place()) == ""


def test_what_cannot_be_compared_parts_nowhere(deep: Model, models: dict[str, Model]):
    assert first_difference(deep, models["pictures"], [probes(deep)], 1e-5) == Place()
