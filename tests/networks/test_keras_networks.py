"""That the networks made in Keras are what tests of formats take them for."""

import zipfile

import h5py
import numpy as np

from networks.fixtures import KERAS, SUFFIXES


def test_keras_saves_what_was_asked_for(keras_files):
    assert {file.name for file in keras_files.iterdir()} == {
        f"{name}{suffix}" for name in KERAS for suffix in (*SUFFIXES, ".npz")
    }
    assert zipfile.is_zipfile(keras_files / "cnn.keras")
    assert (keras_files / "cnn.h5").read_bytes().startswith(b"\x89HDF\r\n\x1a\n")


def test_answers_stand_beside_their_inputs(keras_files):
    with np.load(keras_files / "two_outputs.npz") as found:  # noqa: TID251 - our own file
        shapes = {name: found[name].shape for name in found.files}
    assert shapes == {"input/x": (8, 6), "output/price": (8, 1), "output/kind": (8, 3)}


def test_batch_normalization_has_seen_data(keras_files):
    with h5py.File(keras_files / "cnn.h5") as file:
        found = file["model_weights/batch_normalization/batch_normalization/moving_variance"]
        assert np.abs(found[:] - 1).max() > 0.1
