"""What ``inspect`` says of a model, and its picture."""

import json
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import onnx
import pytest
import torch
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


def checkpoint(path: Path) -> torch.nn.Module:
    net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.BatchNorm1d(8), torch.nn.Linear(8, 3))
    optimizer = torch.optim.AdamW(
        [{"params": net[0].parameters(), "lr": 0.5}, {"params": net[2].parameters()}], lr=0.25
    )
    net(torch.ones(2, 4)).sum().backward()
    optimizer.step()
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 30)
    with torch.no_grad():
        net[0].weight[:, :2] = 1e-40
        net[2].bias.fill_(float("nan"))
    parts = {"state_dict": net.state_dict(), "optimizer": optimizer.state_dict(), "lr_scheduler": schedule.state_dict()}
    torch.save({**parts, "epoch": 7, "note": "from the cluster"}, path)
    return net


def test_a_file_of_weights_alone_is_told_tensor_by_tensor_with_its_training(tmp_path: Path):
    net = checkpoint(tmp_path / "a.pt")
    seen = inspect(str(tmp_path / "a.pt"), store="", settings=Settings(), picture=tmp_path / "a.svg")
    assert [(one.name, one.dtype, one.shape, one.size) for one in seen.tensors] == [
        (name, str(value.dtype)[6:], tuple(value.shape), value.nbytes) for name, value in net.state_dict().items()
    ]
    found = seen.training
    assert (found.optimizer, found.epoch, found.step) == ("AdamW", 7, 1)
    assert [group.options["lr"] for group in found.groups] == [0.5, 0.25]
    assert found.groups[1].parameters == ("2.weight", "2.bias")
    assert found.slots == {"step": 4, "exp_avg": 4, "exp_avg_sq": 4}
    assert found.scheduler["step_size"] == 30
    assert found.rest == ("note",)
    assert "training state" in seen.carries
    assert "weight '0.weight' holds 16 numbers too small for all their digits (denormal)" in seen.suspicious
    assert "weight '2.bias' holds 3 numbers that are NaN or infinite" in seen.suspicious
    assert json.loads(json.dumps(seen.as_json()))["training"]["slots"]["exp_avg"] == 4
    root = ET.fromstring((tmp_path / "a.svg").read_text())
    words = [text.text for text in root.iter("{http://www.w3.org/2000/svg}text")]
    assert words == ["a.pt: 100 parameters in 9 tensors", "0", "40", "1", "33", "2", "27"]


def test_the_name_of_a_layer_ends_before_its_shape(tmp_path: Path):
    ends = [TensorSpec("x", "float32", ("batch", 512, 5, 6)), TensorSpec("y", "float32", ("batch", 512, 1, 1))]
    b = Builder(ends[:1])
    b.node("GlobalAveragePool", "x", name="y")
    graph, _ = detach(onnx.load_from_string(b.finish(ends[1:])))
    write(Model(graph, {}, Signature(tuple(ends[:1]), tuple(ends[1:]))), tmp_path / "a.onnx")
    inspect(str(tmp_path / "a.onnx"), store="", settings=Settings(), picture=tmp_path / "a.svg")
    groups = ET.fromstring((tmp_path / "a.svg").read_text()).iter("{http://www.w3.org/2000/svg}g")
    (layer,) = (group for group in groups if group.get("class") == "pool")
    name, shape = layer.iter("{http://www.w3.org/2000/svg}text")
    assert name.text.startswith("GlobalA")
    # in DejaVu Sans, the widest of the fonts, a bold letter of this size takes up to 8.4 and a plain one up to 7.3
    assert float(name.get("x")) + 8.4 * len(name.text) < float(shape.get("x")) - 7.3 * len(shape.text)
