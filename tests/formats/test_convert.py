"""Proof of conversion: what differs is refused, and nothing is left half-written."""

import hashlib
import os
import resource
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engram.errors import ConversionError, FormatError, UsageError
from engram.formats import _answers
from engram.formats._convert import convert, read, write
from engram.formats._proof import certify, digest
from engram.records import Certificate, Model, Signature
from engram.runtime import onnxruntime

ABOUT = Certificate("sha256:a", "sha256:b", "onnx", (), 1.0, 1e-5, 0, 2, ("a", "b"))

TAMPERING = """
from engram.formats.safetensors import *
from engram.formats import safetensors as honest
from dataclasses import replace

SUFFIXES = (".tampered",)
CARRIES = ("graph", "weights")

def recognizes(head, path):
    return path.suffix == ".tampered"

def write(model, path):
    weights = dict(model.weights)
    weights["3.bias"] = weights["3.bias"] + 0.25
    honest.write(replace(model, weights=weights), path)
"""

ATTEMPT = """
import sys
from pathlib import Path
from engram.errors import ConversionError
from engram.formats._convert import convert, read, write

model = read(sys.argv[1])
try:
    write(model, sys.argv[2])
except ConversionError as refused:
    print(refused)
"""


@pytest.fixture
def saved(models: dict[str, Model], tmp_path: Path) -> Path:
    """A file that holds the model ``binary``."""
    path = tmp_path / "binary.safetensors"
    write(models["binary"], path)
    return path


def test_an_export_that_answers_differently_is_refused(saved: Path, tmp_path: Path):
    plugin, target = tmp_path / "plugin", tmp_path / "target"
    info = plugin / "tampering-1.0.dist-info"
    info.mkdir(parents=True)
    target.mkdir()
    (plugin / "tampering.py").write_text(TAMPERING)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tampering\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[engram.formats]\ntampered = tampering\n")
    told = attempt(saved, target / "model.tampered", environment={"PYTHONPATH": str(plugin)})
    assert "model.tampered answers differently: output 'y' differs by 0.25 (allowed 1e-05)" in told
    assert "first at node 'gemm_2'" in told or "first at node 'y'" in told
    assert "nothing was written" in told
    assert list(target.iterdir()) == []


def attempt(source: Path, target: Path, environment: dict[str, str], limit: int | None = None) -> str:
    def restrain() -> None:
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    done = subprocess.run(
        [sys.executable, "-c", ATTEMPT, str(source), str(target)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=restrain,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_disk_that_is_full_leaves_nothing_behind(saved: Path, tmp_path: Path):
    target = tmp_path / "target"
    target.mkdir()
    told = attempt(saved, target / "model.json", {}, limit=100)
    assert "model.json cannot be written: file too large" in told
    assert list(target.iterdir()) == []


def test_an_older_file_stays_when_the_new_one_is_refused(models: dict[str, Model], tmp_path: Path):
    path = tmp_path / "model.onnx"
    write(models["binary"], path)
    before = path.read_bytes()
    with pytest.raises(ConversionError, match="answers differently"):
        write(models["binary"], path, original=lambda rows: {"y": np.zeros((len(rows["x"]), 1), np.float32)})
    assert path.read_bytes() == before


def test_a_folder_that_is_not_there_is_named(models: dict[str, Model], tmp_path: Path):
    with pytest.raises(ConversionError, match="no such file or directory"):
        write(models["binary"], tmp_path / "nowhere" / "model.onnx")
    (tmp_path / "model.onnx").mkdir()
    with pytest.raises(ConversionError, match="is a folder"):
        write(models["binary"], tmp_path / "model.onnx")


def test_answers_of_the_origin_are_compared_where_they_are_handed_over(models: dict[str, Model], tmp_path: Path):
    weights = models["binary"].weights

    def by_hand(rows):
        hidden = np.maximum(rows["x"] @ weights["0.weight"].T + weights["0.bias"], 0)
        return {"y": hidden @ weights["3.weight"].T + weights["3.bias"]}

    for name in ("model.onnx", "model.json", "model.safetensors"):
        certificate = write(models["binary"], tmp_path / name, original=by_hand)
        assert certificate.holds
        assert certificate.runtimes[0] == "the program the model comes from"
        assert max(difference.absolute for difference in certificate.differences) < 1e-5


def test_answers_in_other_names_cannot_be_compared(models: dict[str, Model], tmp_path: Path):
    with pytest.raises(UsageError, match="original answered with z"):
        write(models["binary"], tmp_path / "m.onnx", original=lambda rows: {"z": np.zeros(len(rows["x"]))})


def test_the_yardstick_is_the_network_by_hand(models: dict[str, Model]):
    model = models["table"]
    rows = {"age": np.array([51.75, np.nan]), "work class": np.array(["état", "?"], dtype=object)}
    features = np.array([[1, 0, 1, 0, 0], [0, 0, 0, 0, 1]], np.float32)
    w = model.weights
    hidden = np.tanh(features @ w["in.weight"].T + w["in.bias"])
    wanted = (hidden @ w["out.weight"].T + w["out.bias"]) * w["scale"] + w["offset"]
    np.testing.assert_allclose(_answers.by_stages(model, rows)["value"], wanted[:, 0], rtol=1e-5)


@pytest.mark.parametrize(
    ("one", "other", "holds"),
    [
        (1.0, 1.0, True),
        (1.0, 1.000019, True),
        (1.0, 1.000021, False),
        (1000.0, 1000.01, True),
        (1000.0, 1000.011, False),
        (0.0, 0.9e-5, True),
        (0.0, 1.1e-5, False),
        (np.nan, np.nan, True),
        (np.nan, 0.0, False),
        (np.inf, np.inf, True),
        (np.inf, -np.inf, False),
    ],
)
def test_the_tolerance_is_absolute_and_relative_together(one: float, other: float, holds: bool):
    given = certify({"y": np.array([0.5, one])}, {"y": np.array([0.5, other])}, ABOUT)
    assert given.holds is holds


def test_the_difference_written_down_is_the_largest():
    one, other = np.array([1.0, 10.0]), np.array([1.5, 10.75])
    (difference,) = certify({"y": one}, {"y": other}, ABOUT).differences
    assert (difference.absolute, difference.relative) == (0.75, 0.5)


def test_labels_that_differ_lower_the_agreement():
    one = {"y": np.zeros(4), "label": np.array(["a", "b", "a", "a"], dtype=object)}
    other = {"y": np.zeros(4), "label": np.array(["a", "b", "b", "a"], dtype=object)}
    assert certify(one, other, ABOUT).agreement == 0.75
    assert not certify({"label": one["label"]}, {"label": other["label"]}, ABOUT).holds


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(ConversionError, match="shape"):
        certify({"y": np.zeros(3)}, {"y": np.zeros(4)}, ABOUT)
    with pytest.raises(ConversionError, match="does not have"):
        certify({"y": np.zeros(3)}, {"z": np.zeros(3)}, ABOUT)
    with pytest.raises(ConversionError, match="once converted"):
        certify({"y": np.zeros(3)}, {"y": np.array(["a"] * 3, dtype=object)}, ABOUT)
    with pytest.raises(ConversionError, match="no outputs"):
        certify({"y": np.zeros(3)}, {}, ABOUT)


def test_the_digest_of_a_model_covers_all_that_it_answers_with(models: dict[str, Model]):
    model = models["table"]
    weights = dict(reversed(model.weights.items()))
    bit = {**weights, "scale": np.nextafter(weights["scale"], np.float32(9))}
    assert digest(replace(model, weights=weights)) == digest(model)
    others = [replace(model, weights=bit), replace(model, labels=("a",)), replace(model, preprocessing=b"")]
    assert len({digest(model), *map(digest, others)}) == 4


def test_a_file_that_is_two_things_at_once_is_refused(tmp_path: Path):
    # an ONNX model whose producer is called as TFLite marks its files, at the very place
    path = tmp_path / "both"
    path.write_bytes(b"\x08\x0a\x12\x04TFL3" + b"\x3a\x02\x12\x00" + b"\0" * 60)
    with pytest.raises(FormatError, match="could be onnx or tflite"):
        read(path)


def test_a_certificate_says_who_was_asked_and_in_what(models: dict[str, Model], tmp_path: Path):
    given = write(models["table"], tmp_path / "model.onnx", tolerance=1e-4)
    assert given.runtimes == (onnxruntime.VERSION, onnxruntime.VERSION)
    assert given.served == ("", "")
    assert (given.source, given.target, given.provider) == ("engram", "onnx", "CPUExecutionProvider")
    assert (given.precision, given.tolerance, given.lost) == ("float32", 1e-4, ())
    assert given.layouts == ("features[batch, 5]", "features[batch, 5]")
    assert 0 < given.real < given.rows
    served = write(models["table"], tmp_path / "model.json")
    assert served.served == ("", "json has no runtime of its own")
    alone = write(replace(models["table"], statistics={}), tmp_path / "bare.json")
    assert alone.real == 0


def test_weights_without_a_graph_are_compared_and_nothing_is_asked(models: dict[str, Model], tmp_path: Path):
    given = write(Model(b"", models["binary"].weights, Signature((), ())), tmp_path / "model.safetensors")
    assert given.rows == 0
    assert {d.output for d in given.differences} == set(models["binary"].weights)
    assert "no graph to ask" in given.served[1]


def test_a_file_is_converted_against_what_the_file_itself_answers(models: dict[str, Model], tmp_path: Path):
    write(models["pictures"], tmp_path / "model.onnx")
    given = convert(tmp_path / "model.onnx", tmp_path / "model.json")
    assert given.original == f"sha256:{hashlib.sha256((tmp_path / 'model.onnx').read_bytes()).hexdigest()}"
    assert (given.source, given.target) == ("onnx", "json")
    assert {d.output for d in given.differences} >= {"probabilities"}
