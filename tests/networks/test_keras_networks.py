"""That the networks made in Keras are what tests of formats take them for."""

import zipfile

import h5py
import numpy as np
import pytest

from networks import keras_networks


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two of the networks, as the real Keras saved them."""
    return keras_networks.made(tmp_path_factory.mktemp("keras"), ["cnn", "two_outputs"])


def test_keras_saves_what_was_asked_for(folder):
    assert sorted(file.name for file in folder.iterdir()) == [
        f"{name}{suffix}" for name in ("cnn", "two_outputs") for suffix in (".h5", ".keras", ".npz")
    ]
    assert zipfile.is_zipfile(folder / "cnn.keras")
    assert (folder / "cnn.h5").read_bytes().startswith(b"\x89HDF\r\n\x1a\n")


def test_answers_stand_beside_their_inputs(folder):
    with np.load(folder / "two_outputs.npz") as found:  # noqa: TID251 - our own file
        shapes = {name: found[name].shape for name in found.files}
    assert shapes == {"input/x": (8, 6), "output/price": (8, 1), "output/kind": (8, 3)}


def test_batch_normalization_has_seen_data(folder):
    with h5py.File(folder / "cnn.h5") as file:
        found = file["model_weights/batch_normalization/batch_normalization/moving_variance"]
        assert np.abs(found[:] - 1).max() > 0.1
