"""Nine networks written, trained and saved in Keras.

Keras takes seconds to import and fixes its backend when it does. So a test asks ``made`` for files, which come from a
process of their own; only who wants to hold a network imports Keras, by calling ``build``. Every network is trained for
some steps with Adam, so that its statistics, biases and optimizer slots are not what they were born with.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np
from numpy import ndarray

__all__ = ["INPUTS", "NETWORKS", "build", "draw", "made", "save"]

STEPS, ROWS = 4, 16
TOKENS, LENGTH = 20, 12

INPUTS: Mapping[str, Mapping[str, tuple[int, ...]]] = {
    "mlp": {"x": (4,)},
    "cnn": {"image": (12, 12, 3)},
    "resnet": {"image": (16, 16, 3)},
    "lstm": {"series": (10, 5)},
    "gru": {"series": (10, 5)},
    "bidirectional": {"series": (9, 4)},
    "transformer": {"tokens": (LENGTH,)},
    "two_inputs": {"left": (4,), "right": (3,)},
    "two_outputs": {"x": (6,)},
}
"""Network → input → shape without the batch. ``tokens`` are int32 below ``TOKENS``, all others float32."""


def draw(name: str, rows: int, seed: int = 0) -> dict[str, ndarray]:
    """Inputs for a network, by the names of its inputs."""
    chance = np.random.default_rng(seed)
    return {
        key: chance.integers(0, TOKENS, (rows, *shape)).astype(np.int32)
        if key == "tokens"
        else chance.normal(size=(rows, *shape)).astype(np.float32)
        for key, shape in INPUTS[name].items()
    }


def build(name: str, seed: int = 0, steps: int = STEPS):
    """A Keras model of this name, compiled and trained for some steps on random data."""
    import keras

    keras.utils.set_random_seed(seed)
    model = NETWORKS[name](keras)
    # traced and compiled, the few steps below would take ten times as long
    told = {"run_eagerly": True, "jit_compile": False}
    model.compile(optimizer=keras.optimizers.Adam(0.01), loss=["mse"] * len(model.outputs), **told)
    chance = np.random.default_rng(seed)
    for step in range(steps):
        targets = [chance.random((ROWS, *output.shape[1:])).astype(np.float32) for output in model.outputs]
        model.train_on_batch(list(draw(name, ROWS, 1000 + step).values()), targets)
    return model


def save(name: str, folder: Path, suffixes: Iterable[str] = (".keras", ".h5"), seed: int = 0) -> None:
    """Write ``NAME.keras``, ``NAME.h5`` … and ``NAME.npz``, which holds 8 rows and what Keras answers to them.

    The archive's entries are ``input/NAME`` and ``output/NAME``; outputs are named after the layers that make them.
    """
    model = build(name, seed)
    inputs = draw(name, 8, seed + 1)
    answers = model(list(inputs.values()), training=False)
    answers = answers if isinstance(answers, (list, tuple)) else [answers]
    outputs = {key: _array(answer) for key, answer in zip(model.output_names, answers, strict=True)}
    for suffix in suffixes:
        if suffix == ".weights.h5":
            model.save_weights(folder / f"{name}{suffix}")
        else:
            model.save(folder / f"{name}{suffix}")
    entries = {f"input/{key}": value for key, value in inputs.items()}
    np.savez(folder / f"{name}.npz", **entries, **{f"output/{key}": value for key, value in outputs.items()})


def made(
    folder: Path,
    names: Iterable[str] = tuple(INPUTS),
    suffixes: Iterable[str] = (".keras", ".h5"),
    backend: str = "torch",
) -> Path:
    """Have Keras make networks and save them in a folder, in a process of its own (20 s of processor time for all).

    Args:
        folder: must be there; see ``save`` for what stands in it afterwards.
        names: of networks.
        suffixes: of the files wanted: ``.keras``, ``.h5``, ``.weights.h5``.
        backend: ``torch`` (sooner ready) or ``tensorflow``.

    Returns:
        The folder.
    """
    told = {"KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    words = [sys.executable, __file__, str(folder), ",".join(names), ",".join(suffixes)]
    done = subprocess.run(words, env={**os.environ, **told}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def _array(answer) -> ndarray:
    return np.asarray(answer.detach() if hasattr(answer, "detach") else answer)


def _mlp(keras):
    layers = keras.layers
    x = keras.Input((4,), name="x")
    y = layers.Dense(8, activation="relu", name="first")(x)
    y = layers.Dropout(0.2)(y)
    y = layers.Dense(8, activation="tanh", name="second")(y)
    return keras.Model(x, layers.Dense(3, activation="softmax", name="classes")(y), name="mlp")


def _cnn(keras):
    layers = keras.layers
    x = keras.Input((12, 12, 3), name="image")
    y = layers.Conv2D(8, 3, padding="same", use_bias=False)(x)
    y = layers.Activation("relu")(layers.BatchNormalization(momentum=0.7)(y))
    y = layers.MaxPooling2D()(y)
    y = layers.Conv2D(12, 3, strides=2, padding="same")(y)
    y = layers.Activation("relu")(layers.BatchNormalization(momentum=0.7)(y))
    y = layers.Flatten()(layers.SpatialDropout2D(0.1)(y))
    y = layers.Dense(10, activation="relu")(layers.Dropout(0.3)(y))
    return keras.Model(x, layers.Dense(4, activation="softmax", name="classes")(y), name="cnn")


def _resnet(keras):
    layers = keras.layers

    def normed(y):
        return layers.BatchNormalization(momentum=0.7)(y)

    def block(y, filters, strides):
        short = y
        if strides != 1:
            short = normed(layers.Conv2D(filters, 1, strides=strides, use_bias=False)(y))
        y = layers.ReLU()(normed(layers.Conv2D(filters, 3, strides=strides, padding="same", use_bias=False)(y)))
        y = normed(layers.Conv2D(filters, 3, padding="same", use_bias=False)(y))
        return layers.ReLU()(layers.Add()([y, short]))

    x = keras.Input((16, 16, 3), name="image")
    y = layers.ReLU()(normed(layers.Conv2D(8, 3, padding="same", use_bias=False)(x)))
    y = block(block(block(y, 8, 1), 12, 2), 16, 2)
    y = layers.GlobalAveragePooling2D()(y)
    return keras.Model(x, layers.Dense(5, name="classes")(y), name="resnet")


def _lstm(keras):
    layers = keras.layers
    x = keras.Input((10, 5), name="series")
    y = layers.LSTM(7, return_sequences=True)(x)
    y = layers.LSTM(6)(y)
    return keras.Model(x, layers.Dense(1, name="value")(y), name="lstm")


def _gru(keras):
    layers = keras.layers
    x = keras.Input((10, 5), name="series")
    y = layers.GRU(7, return_sequences=True)(x)
    y = layers.GRU(6)(y)
    return keras.Model(x, layers.Dense(1, name="value")(y), name="gru")


def _bidirectional(keras):
    layers = keras.layers
    x = keras.Input((9, 4), name="series")
    y = layers.Bidirectional(layers.LSTM(5, return_sequences=True))(x)
    y = layers.Bidirectional(layers.GRU(4))(y)
    return keras.Model(x, layers.Dense(3, activation="softmax", name="classes")(y), name="bidirectional")


def _transformer(keras):
    layers = keras.layers
    x = keras.Input((LENGTH,), dtype="int32", name="tokens")
    y = layers.Embedding(TOKENS, 16)(x)
    for _ in range(2):
        told = layers.MultiHeadAttention(num_heads=2, key_dim=8)(y, y)
        y = layers.LayerNormalization(epsilon=1e-6)(layers.Add()([y, layers.Dropout(0.1)(told)]))
        told = layers.Dense(16)(layers.Dense(24, activation="gelu")(y))
        y = layers.LayerNormalization(epsilon=1e-6)(layers.Add()([y, told]))
    y = layers.GlobalAveragePooling1D()(y)
    return keras.Model(x, layers.Dense(2, activation="softmax", name="classes")(y), name="transformer")


def _two_inputs(keras):
    layers = keras.layers
    left, right = keras.Input((4,), name="left"), keras.Input((3,), name="right")
    y = layers.Concatenate()([layers.Dense(5, activation="elu")(left), layers.Dense(6, activation="selu")(right)])
    return keras.Model([left, right], layers.Dense(2, name="values")(y), name="two_inputs")


def _two_outputs(keras):
    layers = keras.layers
    x = keras.Input((6,), name="x")
    y = layers.Dense(8, activation="swish", name="trunk")(x)
    price = layers.Dense(1, name="price")(y)
    kind = layers.Dense(3, activation="softmax", name="kind")(layers.Dense(4, activation="relu")(y))
    return keras.Model(x, [price, kind], name="two_outputs")


NETWORKS: Mapping[str, Callable] = {
    "mlp": _mlp,
    "cnn": _cnn,
    "resnet": _resnet,
    "lstm": _lstm,
    "gru": _gru,
    "bidirectional": _bidirectional,
    "transformer": _transformer,
    "two_inputs": _two_inputs,
    "two_outputs": _two_outputs,
}
"""Network → function of the module ``keras`` that returns it, untrained."""

if __name__ == "__main__":
    sys.modules["sklearn"] = None  # Keras would import it for wrappers that nobody asks for: two seconds
    for wanted in sys.argv[2].split(","):
        save(wanted, Path(sys.argv[1]), sys.argv[3].split(","))
