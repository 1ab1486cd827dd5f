"""ONNX: what we write stands by itself, and what others write is read."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from engram.errors import ConversionError, EngramError, FormatError, ShapeError
from engram.formats import _answers, _stored_onnx
from engram.formats import onnx as format_onnx
from engram.formats._convert import convert, probes, read, write
from engram.lifecycle.answer import answering
from engram.records import Limits, Model


def perceptron(opset: int = 13, **external: str) -> onnx.ModelProto:
    """``softmax(x @ W + b)`` as another program writes it."""
    generator = np.random.default_rng(5)
    weight = numpy_helper.from_array(generator.normal(size=(4, 3)).astype(np.float32), "W")
    bias = numpy_helper.from_array(generator.normal(size=3).astype(np.float32), "b")
    for key, value in external.items():
        weight.external_data.add(key=key, value=value)
        weight.data_location = TensorProto.EXTERNAL
    if external:
        weight.ClearField("raw_data")
    nodes = [
        helper.make_node("MatMul", ["x", "W"], ["m"]),
        helper.make_node("Add", ["m", "b"], ["a"]),
        helper.make_node("Softmax", ["a"], ["p"], axis=1),
    ]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])]
    outputs = [helper.make_tensor_value_info("p", TensorProto.FLOAT, ["N", 3])]
    graph = helper.make_graph(nodes, "torch_jit", inputs, outputs, [weight, bias])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], producer_name="pytorch")
    made.ir_version = 8
    return made


@pytest.mark.parametrize("name", ["table", "pictures"])
def test_the_file_alone_turns_raw_rows_into_answers(models: dict[str, Model], tmp_path: Path, name: str):
    model = models[name]
    write(model, tmp_path / "m.onnx")
    rows = probes(model, rows=20)
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    found = dict(zip([o.name for o in session.get_outputs()], session.run(None, rows), strict=True))
    wanted = _answers.by_stages(model, rows)
    for output, array in found.items():
        if output == "label":
            assert list(array) == list(wanted[output])
        else:
            np.testing.assert_allclose(array, wanted[output], rtol=1e-5, atol=1e-6)
    assert set(found) == ({"value"} if name == "table" else {"label", "probabilities"})
    onnx.checker.check_model(onnx.load(tmp_path / "m.onnx"), full_check=True)


@pytest.mark.parametrize("opset", [7, 9, 11, 13, 17, 21])
def test_files_of_any_opset_are_read_and_answer_the_same(tmp_path: Path, opset: int):
    path = tmp_path / "foreign.onnx"
    onnx.save(perceptron(opset), path)
    model = read(path)
    rows = probes(model)
    session = onnxruntime.InferenceSession(path)
    np.testing.assert_allclose(_answers.by_stages(model, rows)["p"], session.run(None, rows)[0], rtol=1e-5)
    assert model.signature.inputs[0].shape == ("batch", 4)
    assert sorted(model.weights) == ["W", "b"]
    assert model.source["producer"] == "pytorch"


def test_an_opset_from_before_the_oldest_is_refused(tmp_path: Path):
    onnx.save(perceptron(6), tmp_path / "old.onnx")
    with pytest.raises(EngramError, match="operator set 6"):
        read(tmp_path / "old.onnx")


def test_a_network_exported_by_torch_keeps_its_answers(tmp_path: Path):
    torch = pytest.importorskip("torch")
    network = torch.nn.Sequential(
        torch.nn.Conv2d(1, 3, 3), torch.nn.BatchNorm2d(3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(108, 4)
    ).eval()
    example = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    axes = ({0: torch.export.Dim("rows")},)
    torch.onnx.export(network, (example,), tmp_path / "t.onnx", dynamo=True, dynamic_shapes=axes, verbose=False)
    model = read(tmp_path / "t.onnx")
    (name,) = [spec.name for spec in model.signature.inputs]
    (found,) = _answers.by_stages(model, {name: example.numpy()}).values()
    with torch.no_grad():
        np.testing.assert_allclose(found, network(example).numpy(), rtol=1e-4, atol=1e-5)
    certificate = write(model, tmp_path / "again.onnx")
    assert certificate.holds


def test_a_classifier_of_scikit_learn_keeps_its_answers(tmp_path: Path):
    skl2onnx = pytest.importorskip("skl2onnx")
    from sklearn.datasets import load_iris
    from sklearn.neural_network import MLPClassifier

    rows, classes = load_iris(return_X_y=True)
    trained = MLPClassifier((8,), max_iter=300, random_state=0).fit(rows, classes)
    made = skl2onnx.to_onnx(trained, rows[:1].astype(np.float32), options={"zipmap": False}, target_opset=18)
    (tmp_path / "s.onnx").write_bytes(made.SerializeToString())
    model = read(tmp_path / "s.onnx")
    found = _answers.by_stages(model, {model.signature.inputs[0].name: rows.astype(np.float32)})
    np.testing.assert_allclose(found["probabilities"], trained.predict_proba(rows), atol=1e-5)


def test_a_file_changed_afterwards_is_read_for_what_it_now_is(models: dict[str, Model], tmp_path: Path):
    path = tmp_path / "m.onnx"
    write(models["binary"], path)
    changed = onnx.load(path)
    next(node for node in changed.graph.node if node.op_type == "Relu").op_type = "Abs"
    onnx.save(changed, path)
    model = read(path)
    assert model.labels == ()
    assert [spec.name for spec in model.signature.outputs] == ["label", "probabilities"]
    rows = probes(model)
    session = onnxruntime.InferenceSession(path)
    found = _answers.by_stages(model, rows)["probabilities"]
    np.testing.assert_allclose(found, session.run(["probabilities"], rows)[0], rtol=1e-5, atol=1e-7)


def test_notes_about_another_graph_are_not_believed(models: dict[str, Model], tmp_path: Path):
    for name in ("binary", "residual"):
        write(models[name], tmp_path / f"{name}.onnx")
    one, other = onnx.load(tmp_path / "binary.onnx"), onnx.load(tmp_path / "residual.onnx")
    del one.metadata_props[:]
    one.metadata_props.extend(other.metadata_props)
    onnx.save(one, tmp_path / "mixed.onnx")
    assert read(tmp_path / "mixed.onnx").labels == ()


def large(model: Model, path: Path) -> None:
    """The model as it would be written above 2 GiB."""
    composed = onnx.load(path)
    weights = {t.name: numpy_helper.to_array(t) for t in composed.graph.initializer if t.name in model.weights}
    kept = [TensorProto.FromString(t.SerializeToString()) for t in composed.graph.initializer if t.name not in weights]
    del composed.graph.initializer[:]
    composed.graph.initializer.extend(kept)
    _stored_onnx.save(composed, weights, path, largest=100)


def test_a_file_too_large_for_protobuf_has_its_weights_beside_it(models: dict[str, Model], tmp_path: Path):
    model, path = models["pictures"], tmp_path / "m.onnx"
    write(model, path)
    rows = probes(model, rows=6)
    before = onnxruntime.InferenceSession(path).run(["probabilities"], rows)[0]
    large(model, path)
    (beside,) = tmp_path.glob("m.onnx.*.data")
    assert beside.stat().st_size > 1000
    np.testing.assert_array_equal(onnxruntime.InferenceSession(path).run(["probabilities"], rows)[0], before)
    np.testing.assert_array_equal(format_onnx.run(path, rows)["probabilities"], before)
    again = read(path)
    assert again.labels == model.labels
    assert again.weights["head.weight"].tobytes() == model.weights["head.weight"].tobytes()


def outside(tmp_path: Path, location: str, **more: str) -> Path:
    path = tmp_path / "m" / "foreign.onnx"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(perceptron(location=location, **more).SerializeToString())
    return path


def test_external_data_in_the_same_folder_are_read_whatever_dots_are_in_their_name(tmp_path: Path):
    path = outside(tmp_path, "weights..v2.bin", offset="16", length="48")
    numbers = np.arange(16, dtype=np.float32)
    (path.parent / "weights..v2.bin").write_bytes(numbers.tobytes())
    np.testing.assert_array_equal(read(path).weights["W"], numbers[4:].reshape(4, 3))


@pytest.mark.parametrize(
    "name", ["../secret", "/etc/hostname", "a/../../secret", "..\\secret", "./w", "w//x", "C:w", "w\0"]
)
def test_external_data_outside_the_folder_are_refused(tmp_path: Path, name: str):
    (tmp_path / "secret").write_bytes(bytes(48))
    with pytest.raises(FormatError):
        read(outside(tmp_path, name))


@pytest.mark.parametrize("kind", ["symlink", "hard link", "pipe", "folder", "link on the way", "missing"])
def test_external_data_that_are_no_plain_file_are_refused(tmp_path: Path, kind: str):
    path = outside(tmp_path, "d/w" if kind == "link on the way" else "w")
    (tmp_path / "w").write_bytes(bytes(48))
    place = path.parent / "w"
    match kind:
        case "symlink":
            place.symlink_to(tmp_path / "w")
        case "hard link":
            os.link(tmp_path / "w", place)
        case "pipe":
            os.mkfifo(place)
        case "folder":
            place.mkdir()
        case "link on the way":
            (path.parent / "d").symlink_to(tmp_path)
    with pytest.raises(FormatError):
        read(path)


@pytest.mark.parametrize(
    "said",
    [
        {"offset": "1"},
        {"length": "47"},
        {"length": "49"},
        {"offset": "-4"},
        {"offset": "18446744073709551616"},
        {"length": "4_8"},
        {"offset": "²"},
    ],
)
def test_external_data_that_do_not_fit_their_file_are_refused(tmp_path: Path, said: dict[str, str]):
    path = outside(tmp_path, "w", **said)
    (path.parent / "w").write_bytes(bytes(48))
    with pytest.raises(FormatError):
        read(path)


def test_tensors_that_share_the_bytes_of_an_external_file_are_refused(tmp_path: Path):
    path = outside(tmp_path, "w")
    made = onnx.load(path, load_external_data=False)
    for n in range(50):
        copy = made.graph.initializer.add()
        copy.CopyFrom(made.graph.initializer[0])
        copy.name = f"W{n}"
    path.write_bytes(made.SerializeToString())
    (path.parent / "w").write_bytes(bytes(48))
    with pytest.raises(FormatError, match="share bytes"):
        read(path)


@pytest.mark.parametrize("dims", [[2**40], [2**41], [2**32, 2**32], [-1], [1] * 33, [5, 3], [0]])
def test_a_tensor_that_declares_other_than_it_holds_is_refused(tmp_path: Path, dims: list[int]):
    made = perceptron()
    del made.graph.initializer[0].dims[:]
    made.graph.initializer[0].dims.extend(dims)
    (tmp_path / "m.onnx").write_bytes(made.SerializeToString())
    with pytest.raises(FormatError):
        read(tmp_path / "m.onnx")


def test_two_graphs_in_one_file_are_refused(tmp_path: Path):
    (tmp_path / "m.onnx").write_bytes(perceptron().SerializeToString() + perceptron().SerializeToString())
    with pytest.raises(FormatError, match="exactly one graph"):
        read(tmp_path / "m.onnx")


def test_limits_hold_to_the_unit(tmp_path: Path):
    path = tmp_path / "m.onnx"
    path.write_bytes(perceptron().SerializeToString())
    size = path.stat().st_size
    for limits in (
        Limits(protobuf_bytes=size),
        Limits(nodes=3),
        Limits(tensors=2),
        Limits(rank=2),
        Limits(dimension=4),
    ):
        read(path, limits)
    for limits in (
        Limits(protobuf_bytes=size - 1),
        Limits(nodes=2),
        Limits(tensors=1),
        Limits(rank=1),
        Limits(dimension=3),
    ):
        with pytest.raises(FormatError):
            read(path, limits)


def test_a_million_empty_nodes_are_refused_before_they_fill_the_memory(tmp_path: Path):
    graph = b"\x0a\x00" * 2_000_001
    path = tmp_path / "m.onnx"
    path.write_bytes(b"\x08\x08\x3a" + varint(len(graph)) + graph)
    with pytest.raises(FormatError, match="2,000,000"):
        read(path)


def varint(number: int) -> bytes:
    found = b""
    while number > 127:
        found += bytes([number & 127 | 128])
        number >>= 7
    return found + bytes([number])


ELSEWHERE = {
    "by time": """agraph (float[N, 3] x) => (float[N, 3] y, float[4, N, 3] each)
        <int64 n = {4}, bool go = {1}, float by = {1.1}>
        { y, each = Loop (n, go, x) <body: graph = inner (int64 i, bool on, float[N, 3] a)
          => (bool out, float[N, 3] b, float[N, 3] scan)
          { out = Identity (on) b = Mul (a, by) scan = Identity (b) }> }""",
    "rows against rows": """agraph (float[N, 3] x) => (float[N, N] y)
        { t = Transpose <perm = [1, 0]> (x) y = MatMul (x, t) }""",
    "as many as there are": """agraph (float[N, 3] x) => (int64[2, M] y)
        { big = Relu (x) y = NonZero (big) }""",
}


def written(text: str, path: Path) -> Path:
    made = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["": 17]>\n{text}')
    onnx.save(made, path)
    return path


@pytest.mark.parametrize("text", ELSEWHERE.values(), ids=ELSEWHERE)
def test_answers_whose_rows_are_not_along_the_first_axis_are_compared(text: str, tmp_path: Path):
    certificate = convert(written(text, tmp_path / "a.onnx"), tmp_path / "b.onnx")
    assert certificate.holds
    assert certificate.rows == 64


def test_pieces_of_another_shape_do_not_look_alike_when_joined():
    one = [{"y": np.ones((n, 2 * n))} for n in (1, 7)]
    other = [{"y": np.ones((2 * n, n))} for n in (1, 7)]
    first, second = _answers.joined(one)["y"], _answers.joined(other)["y"]
    assert first.shape == second.shape
    assert not np.array_equal(first, second)


def test_an_input_without_axes_takes_one_value(tmp_path: Path):
    text = "agraph (float x, float[N] y) => (float[N] z) { z = Mul (x, y) }"
    model = answering(read(written(text, tmp_path / "a.onnx")))
    rows = np.arange(3000, dtype=np.float32)
    for x in (2.0, np.float32(2), np.array(2, np.float32), [2.0]):
        np.testing.assert_array_equal(model.predict({"x": x, "y": rows}).outputs["z"], rows * 2)
    with pytest.raises(ShapeError, match="input 'x' takes one value for all rows, but has 2; give one"):
        model.predict({"x": [1.0, 2.0], "y": rows})
    alone = answering(read(written("agraph (float x) => (float y) { y = Add (x, x) }", tmp_path / "b.onnx")))
    assert alone.predict(np.float32(2).reshape(())).outputs["y"] == 4
    assert alone.predict({"x": 3}).outputs["y"] == 6
    with pytest.raises(ShapeError, match="not ndarray"):
        answering(read(written(ELSEWHERE["by time"], tmp_path / "c.onnx"))).predict(np.array(1.0))


def test_weights_without_a_graph_cannot_be_written(models: dict[str, Model], tmp_path: Path):
    bare = replace(models["binary"], graph=b"")
    for name in ("m.onnx", "m.json"):
        with pytest.raises(ConversionError, match="write safetensors"):
            write(bare, tmp_path / name)


def test_a_node_without_a_name_is_called_by_what_it_makes(tmp_path):
    text = "agraph (float[N, 3] x) => (float[N, M] odd) { odd = com.example.Strange (x) }"
    made = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["": 17, "com.example": 1]>\n{text}')
    onnx.save(made, tmp_path / "a.onnx")
    with pytest.raises(FormatError, match=r"node 'odd' is com\.example\.Strange"):
        read(tmp_path / "a.onnx")
