"""What ``inspect`` says of a model, and its picture."""

from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from engram.formats._convert import write
from engram.graphs.build import Builder
from engram.graphs.weights import detach
from engram.lifecycle.inspect import inspect
from engram.lifecycle.suspicions import suspicions
from engram.records import Model, Signature, TensorSpec
from engram.settings import Settings

X, Y = TensorSpec("x", "float32", ("batch", 4)), TensorSpec("y", "float32", ("batch", 3))


def made(**changed: np.ndarray) -> Model:
    numbers = np.random.default_rng(0)
    weights = {
        "one.weight": numbers.normal(size=(8, 4)).astype("f4"),
        "one.bias": np.zeros(8, "f4"),
        "two.weight": numbers.normal(size=(3, 8)).astype("f4"),
    } | changed
    b = Builder([X])
    first = b.node("Gemm", "x", *(b.constant(weights[name], name) for name in ("one.weight", "one.bias")), transB=1)
    b.node("Gemm", b.node("Relu", first), b.constant(weights["two.weight"], "two.weight"), transB=1, name="y")
    graph, found = detach(onnx.load_from_string(b.finish([Y])))
    return Model(graph, found, Signature((X,), (Y,)), labels=("a", "b", "c"))


def test_a_model_as_they_should_be_is_not_suspicious():
    assert suspicions(made()) == ()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"two.weight": np.full((3, 8), np.nan, "f4")}, "weight 'two.weight' holds 24 numbers that are NaN"),
        ({"two.weight": np.zeros((3, 8), "f4")}, r"'two.weight' \[3, 8\] is zero throughout"),
        ({"two.weight": np.full((3, 8), 1e9, "f4")}, r"reaches 1e\+09"),
        ({"two.weight": np.eye(3, 8, dtype="f4") * [[1], [1], [0]]}, "1 of 3 rows that are zero throughout"),
    ],
)
def test_odd_weights_are_named(change: dict[str, np.ndarray], said: str):
    (found,) = suspicions(made(**{name: array.astype("f4") for name, array in change.items()}))
    with pytest.raises(AssertionError, match=said):
        raise AssertionError(found)


def test_copies_idle_weights_and_wrong_labels_are_named():
    whole = made()
    twin = whole.weights["one.weight"].copy()
    (copies, idle, labels) = suspicions(replace(whole, weights={**whole.weights, "twin": twin}, labels=("a", "b")))
    assert copies == "weights 'one.weight' and 'twin' are the same numbers"
    assert idle == "1 weights are read by nothing in the graph: twin"
    assert labels == "it has 2 labels, but its answer has 3 columns"


def test_what_the_graph_does_that_others_do_not_is_named():
    nodes = [
        helper.make_node("RandomNormalLike", ["x"], ["r"]),
        helper.make_node("Gelu", ["r"], ["y"], domain="com.microsoft"),
    ]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(nodes, "g", [value("x", 1, ["n", 4])], [value("y", TensorProto.FLOAT, ["n", 4])])
    model = Model(helper.make_model(graph).SerializeToString(), {}, Signature((X,), (X,)))
    foreign, drawn = suspicions(model)
    assert "com.microsoft.Gelu" in foreign
    assert "RandomNormalLike" in drawn


def test_weights_alone_say_that_they_cannot_answer():
    (found,) = suspicions(replace(made(), graph=b""))
    assert "without a graph" in found


def test_inspect_tells_parts_cost_and_memory(tmp_path: Path):
    write(made(), tmp_path / "a.onnx")
    seen = inspect(str(tmp_path / "a.onnx"), store="", settings=Settings())
    assert seen.carries == ("graph", "weights", "labels")
    assert (seen.parameters, seen.weight_bytes) == (64, 256)
    assert seen.operations == (2 * 4 * 8 + 8) + 8 + 2 * 8 * 3
    assert seen.peak_bytes == 4 * (8 + 8)
    assert seen.assumed == {"batch": 1}


def test_the_picture_holds_every_layer_and_no_markup_of_a_strangers_name(tmp_path: Path):
    ends = [TensorSpec(name, "float32", ("batch", 4)) for name in ("<script>x</script>", "]]>&\u202e\x01")]
    b = Builder(ends[:1])
    b.node("Relu", ends[0].name, name=ends[1].name)
    graph, _ = detach(onnx.load_from_string(b.finish(ends[1:])))
    write(Model(graph, {}, Signature((ends[0],), (ends[1],))), tmp_path / "a.safetensors")
    inspect(str(tmp_path / "a.safetensors"), store="", settings=Settings(), picture=tmp_path / "a.svg")
    root = ET.fromstring((tmp_path / "a.svg").read_text())
    names = [text.text for text in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "<script>x</script>" in names
    assert "]]>&" in names
    assert "Relu" in names
    assert not list(root.iter("{http://www.w3.org/2000/svg}script"))
