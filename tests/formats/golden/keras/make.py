"""Makes ``layers.tar.xz``: every model of ``networks/keras_layers.py``, saved by the real Keras with its own answers.

    python tests/formats/golden/keras/make.py

TensorFlow answers, because its processor's rules are what Keras documents; what it does not run there (channels first)
torch answers. Two minutes.
"""

import sys
import tarfile
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from networks import keras_layers

ONLY_TORCH = {"conv2d_first", "average_pooling2d_first"}
HERE = Path(__file__).parent


def plain(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    """Without owner and time, so that the same files make the same archive."""
    entry.uid = entry.gid = entry.mtime = 0
    entry.uname = entry.gname = ""
    return entry


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        keras_layers.made(folder, sorted(keras_layers.MODELS.keys() - ONLY_TORCH), backend="tensorflow")
        keras_layers.made(folder, sorted(ONLY_TORCH), backend="torch")
        with tarfile.open(HERE / "layers.tar.xz", "w:xz", preset=9) as archive:
            for file in sorted(folder.iterdir(), key=lambda file: (file.suffix, file.name)):
                archive.add(file, file.name, filter=plain)
