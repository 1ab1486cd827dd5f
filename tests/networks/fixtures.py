"""Networks that a framework trained and saved just now, as fixtures."""

from pathlib import Path

import pytest

from networks import keras_networks
from once import once

KERAS = ("mlp", "cnn", "bidirectional", "transformer", "two_outputs")
SUFFIXES = (".keras", ".h5", ".weights.h5")


@pytest.fixture(scope="session")
def keras_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``NAME.keras``, ``NAME.h5``, ``NAME.weights.h5`` and the answers in ``NAME.npz``; not to be changed."""
    return once(tmp_path_factory, "keras-files", lambda folder: keras_networks.made(folder, KERAS, SUFFIXES))
