"""Makes ``releases.tar.xz`` release by release: small networks that an older Keras trained and saved, with its answers.

    python tests/formats/golden/keras/releases.py PART.tar.xz [tf_keras]

Each release is installed by itself: Keras 2 with its TensorFlow (``pip install tensorflow-cpu==2.15.1`` in a virtual
environment), Keras 3 in front of the present one (``pip install --no-deps --target DIR keras==3.3.3``, with
``PYTHONPATH=DIR KERAS_BACKEND=torch``). The folders of all parts lie in the one archive. Left out is the ``.keras`` of
2.12, which is HDF5 under another name, and that of 2.13, whose places are numbered as in no other release; 3.0 fails to
save such networks itself.
"""

import importlib
import os
import sys
import tarfile
import tempfile
from pathlib import Path

import numpy as np

os.environ["TF_CPP_MIN_LOG_LEVEL"], os.environ["CUDA_VISIBLE_DEVICES"] = "3", "-1"
keras = importlib.import_module("tf_keras" if "tf_keras" in sys.argv[2:] else "keras")
L = keras.layers
NAME = f"{keras.__name__}-{keras.__version__}"


def networks():
    """Each with rows to ask it with."""
    chance = np.random.default_rng(0)
    x = keras.Input((8, 8, 3), name="x")
    y = L.Conv2D(4, 3, padding="same", activation="relu", name="conv")(x)
    y = L.BatchNormalization(name="norm")(y)
    inner = keras.Sequential([keras.Input((8, 8, 4)), L.DepthwiseConv2D(3), L.ReLU(max_value=6.0)], name="inner")
    y = L.GlobalAveragePooling2D()(L.MaxPooling2D()(inner(y)))
    ends = [L.Dense(2, name="one")(y), L.Dense(1, "sigmoid", name="two")(y)]
    yield "pictures", keras.Model(x, ends), chance.normal(size=(5, 8, 8, 3))
    x = keras.Input((6,), dtype="int32", name="x")
    y = L.Bidirectional(L.LSTM(3, return_sequences=True))(L.Embedding(9, 4, mask_zero=True)(x))
    yield "words", keras.Model(x, L.Dense(2, "softmax")(L.GRU(3)(y))), chance.integers(0, 9, (5, 6))
    layers = [keras.Input((4,), name="x"), L.Dense(5, "gelu"), L.LayerNormalization(), L.Dropout(0.2), L.Dense(2)]
    yield "sequence", keras.Sequential(layers), chance.normal(size=(5, 4))


def main() -> None:
    """Train a step, save in both formats, answer."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for name, model, drawn in networks():
            rows = drawn.astype("int32" if drawn.dtype.kind == "i" else "float32")
            model.compile("adam", ["mse"] * len(model.outputs), run_eagerly=True)
            wanted = [np.zeros((5, *tensor.shape[1:]), np.float32) for tensor in model.outputs]
            model.train_on_batch(rows, wanted if len(wanted) > 1 else wanted[0])
            found = model.predict(rows, verbose=0)
            found = found if isinstance(found, (list, tuple)) else [found]
            arrays = {f"output/{at}": np.asarray(one) for at, one in enumerate(found)}
            np.savez(folder / f"{name}.npz", **{"input/x": rows}, **arrays)
            for suffix in (".keras", ".h5"):
                model.save(folder / f"{name}{suffix}")
        with tarfile.open(sys.argv[1], "w:xz", preset=9) as archive:
            for file in sorted(folder.iterdir()):
                archive.add(file, f"{NAME}/{file.name}")


if __name__ == "__main__":
    main()
