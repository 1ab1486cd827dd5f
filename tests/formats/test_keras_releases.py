"""Files that older releases of Keras saved, with its own answers; see ``golden/keras/releases.py``."""

import tarfile
from pathlib import Path

import numpy as np
import pytest

from engram.formats._convert import read, read_state
from engram.graphs.weights import attach
from engram.runtime import onnxruntime

ARCHIVE = Path(__file__).parent / "golden" / "keras" / "releases.tar.xz"
with tarfile.open(ARCHIVE) as opened:
    FILES = sorted(name for name in opened.getnames() if name.endswith((".keras", ".h5")))


@pytest.fixture(scope="module")
def releases(tmp_path_factory):
    folder = tmp_path_factory.mktemp("releases")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_any_release_answers_as_it_did_and_brings_its_optimizer(name, releases):
    path = releases / name
    model, state = read(path), read_state(path)
    with np.load(path.with_suffix(".npz")) as found:  # noqa: TID251 - our own file
        inputs = {spec.name: found["input/x"].astype(spec.dtype) for spec in model.signature.inputs}
        expected = [found[key] for key in found.files if key.startswith("output/")]
    made = onnxruntime.run(attach(model.graph, model.weights).SerializeToString(), inputs)
    for spec, wanted in zip(model.signature.outputs, expected, strict=True):
        np.testing.assert_allclose(made[spec.name], wanted, rtol=1e-5, atol=1e-5)
    assert state.step == 1
    assert state.optimizer["kind"] == "Adam"
    moved = {place.partition("/")[2] for place in state.slots if place.startswith("exp_avg/")}
    assert moved == {key for key in model.weights if not key.endswith(("moving_mean", "moving_variance"))}
