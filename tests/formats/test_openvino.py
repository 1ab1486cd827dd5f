"""OpenVINO's IR: what is written holds every weight by name, and answers alike in OpenVINO itself."""

from pathlib import Path

import numpy as np
import pytest
from numpy import ndarray

from engram.errors import ConversionError, FormatError, ShapeError
from engram.formats import openvino
from engram.formats._convert import probes, read, write
from engram.formats._openvino import held
from engram.graphs.weights import attach, names
from engram.records import Model, TensorSpec
from engram.runtime import onnxruntime
from formats.conftest import assemble
from networks.torch_networks import NETWORKS, exported

library = pytest.importorskip("openvino")

QUICK = ("cnn", "bidirectional", "transformer", "two_outputs")
"""Networks of the default run; each is written in a process of its own."""
EXACT = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=[] if name in QUICK else pytest.mark.long) for name in NETWORKS],
)
def written(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Model, Path]:
    """Each of the nine networks of torch, written."""
    model = exported(request.param)
    path = tmp_path_factory.mktemp("openvino") / f"{request.param}.xml"
    openvino.write(model, path)
    return model, path


def answers(model: Model, inputs: dict[str, ndarray]) -> dict[str, ndarray]:
    return onnxruntime.run(attach(model.graph, model.weights).SerializeToString(), inputs)


def test_a_network_of_torch_answers_alike_in_openvino(written: tuple[Model, Path]):
    model, path = written
    compiled = library.Core().compile_model(path, "CPU", EXACT)
    for rows in (1, 2, 7):
        given = probes(model, rows, seed=rows)
        found, wanted = compiled(given), answers(model, given)
        assert len(compiled.outputs) == len(wanted)
        for name, array in wanted.items():
            np.testing.assert_allclose(found[name], array, rtol=0, atol=1e-5)


def test_every_weight_stands_in_the_file_by_name_to_the_bit(written: tuple[Model, Path]):
    model, path = written
    constants = {
        node.get_friendly_name(): node.data
        for node in library.Core().read_model(path).get_ops()
        if node.get_type_name() == "Constant"
    }
    for name in names(model.graph):
        assert constants[name].dtype == model.weights[name].dtype
        assert constants[name].shape == model.weights[name].shape
        assert constants[name].tobytes() == model.weights[name].tobytes()


def test_the_certificate_is_asked_in_openvino_and_binds_the_binary(models: dict[str, Model], tmp_path: Path):
    certificate = write(models["pictures"], tmp_path / "m.v1.xml")
    assert certificate.holds
    assert certificate.runtimes[1].startswith("openvino ")
    assert certificate.runtimes[1].endswith(" (CPU, f32)")
    assert not certificate.served[1]
    assert list(certificate.beside) == ["m.v1.bin"]
    said = " ".join(certificate.lost)
    for words in ("the labels", "Dropout", "1 weights that the network does not use are left out"):
        assert words in said


def test_a_file_answers_by_the_names_of_the_model(tmp_path: Path):
    def draw(b):
        doubled = b.node("Mul", "x", b.constant(np.array([2.0, 3.0], np.float32), "w"), name="one")
        b.node("Identity", doubled, name="other")

    ends = [TensorSpec(name, "float32", ("batch", 2)) for name in ("other", "one")]
    model = assemble([TensorSpec("x", "float32", ("batch", 2))], ends, draw)
    openvino.write(model, tmp_path / "m.xml")
    found = openvino.run(tmp_path / "m.xml", {"x": np.ones((3, 2), np.float32)})
    assert list(found) == ["other", "one"]
    for array in found.values():
        np.testing.assert_array_equal(array, [[2, 3]] * 3)


def test_small_weights_stay_small_under_their_names(tmp_path: Path):
    chance = np.random.default_rng(4)
    integers = chance.integers(-127, 128, (40, 32)).astype(np.int8)
    halves = chance.normal(size=(32, 40)).astype(np.float16)

    def draw(b):
        scale = b.constant(chance.uniform(0.001, 0.01, 40).astype(np.float32), "scale")
        wide = b.node("DequantizeLinear", b.constant(integers, "w"), scale, axis=0)
        made = b.node("Gemm", "x", wide, transB=1)
        b.node(
            "MatMul", made, b.node("Transpose", b.node("Cast", b.constant(halves, "h"), to=1), perm=[1, 0]), name="y"
        )

    ends = [TensorSpec("y", "float32", ("batch", 32))]
    model = assemble([TensorSpec("x", "float32", ("batch", 32))], ends, draw)
    assert write(model, tmp_path / "m.xml").holds
    held.check(tmp_path / "m.xml", tmp_path / "m.bin", {"w": integers, "h": halves})


def test_a_weight_that_is_not_in_the_file_is_noticed(models: dict[str, Model], tmp_path: Path):
    openvino.write(models["residual"], tmp_path / "m.xml")
    weight = models["residual"].weights["block.weight"]
    held.check(tmp_path / "m.xml", tmp_path / "m.bin", {"block.weight": weight})
    with pytest.raises(ConversionError, match=r"'block\.weight' has another value"):
        held.check(tmp_path / "m.xml", tmp_path / "m.bin", {"block.weight": weight + 1})
    with pytest.raises(ConversionError, match="'other' is not there"):
        held.check(tmp_path / "m.xml", tmp_path / "m.bin", {"other": weight})


def test_what_openvino_has_no_operator_for_is_refused_in_one_line(tmp_path: Path):
    def draw(b):
        b.node("Binarizer", "x", domain="ai.onnx.ml", threshold=0.5, name="y")

    ends = [TensorSpec("y", "float32", ("batch", 2))]
    model = assemble([TensorSpec("x", "float32", ("batch", 2))], ends, draw)
    with pytest.raises(ConversionError, match="Binarizer") as refused:
        write(model, tmp_path / "m.xml")
    assert len(str(refused.value).splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_it_is_only_written(models: dict[str, Model], tmp_path: Path):
    openvino.write(models["binary"], tmp_path / "m.xml")
    with pytest.raises(FormatError, match="only written here; import the file it was made from"):
        read(tmp_path / "m.xml")
    with pytest.raises(ConversionError, match="weights without a graph"):
        openvino.write(Model(b"", {}, models["binary"].signature), tmp_path / "n.xml")


BOMB = '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY a "aaaaaaaaaa">{}]><net name="&z;" version="11"></net>'


def test_spoiled_files_are_refused_by_the_worker(models: dict[str, Model], tmp_path: Path):
    path, binary = tmp_path / "m.xml", tmp_path / "m.bin"
    openvino.write(models["binary"], path)
    rows = {"x": np.zeros((2, 4), np.float32)}
    assert openvino.run(path, rows)["y"].shape == (2, 1)
    with pytest.raises(ShapeError):
        openvino.run(path, {"x": np.zeros((2, 5), np.float32)})
    whole, weights = path.read_text(), binary.read_bytes()
    entities = "".join(f'<!ENTITY {b} "{f"&{a};" * 10}">' for a, b in zip("abcdefghijk", "bcdefghijkz", strict=True))
    for text in (whole[:900], whole.replace('offset="0"', 'offset="99999999"'), BOMB.format(entities)):
        path.write_text(text)
        with pytest.raises((FormatError, ShapeError), match="OpenVINO"):
            openvino.run(path, rows)
    path.write_text(whole)
    binary.write_bytes(weights[: len(weights) // 2])
    with pytest.raises((FormatError, ShapeError), match="OpenVINO"):
        openvino.run(path, rows)
    assert not openvino.recognizes(b"<html>", path)
    assert openvino.recognizes(whole.encode()[:4096], path)
