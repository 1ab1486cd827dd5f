"""A small network that the real Keras trains with each of its optimizers, saved on the way.

python keras_optimizers.py FOLDER    for each optimizer NAME.keras and NAME.h5 after some steps, and NAME.npz with
                                     the weights after STEPS more, by their place among the trained ones
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

__all__ = ["BEFORE", "OPTIMIZERS", "STEPS", "batches", "made"]

BEFORE, STEPS = 7, 5
OPTIMIZERS = {
    "adadelta": ("Adadelta", {"learning_rate": 0.5}),
    "adagrad": ("Adagrad", {"learning_rate": 0.05}),
    "adam": ("Adam", {"learning_rate": 0.01}),
    "adam_clipped": ("Adam", {"clipnorm": 0.1}),
    "adam_decayed": ("Adam", {"learning_rate": 0.01, "weight_decay": 0.05}),
    "adam_largest": ("Adam", {"learning_rate": 0.01, "amsgrad": True}),
    "adamax": ("Adamax", {"learning_rate": 0.01}),
    "adamw": ("AdamW", {"learning_rate": 0.01, "weight_decay": 0.05}),
    "lion": ("Lion", {}),
    "nadam": ("Nadam", {"learning_rate": 0.01}),
    "rmsprop": ("RMSprop", {"learning_rate": 0.01, "momentum": 0.5, "centered": True}),
    "sgd": ("SGD", {"learning_rate": 0.05}),
    "sgd_decayed": ("SGD", {"weight_decay": 0.1}),
    "sgd_momentum": ("SGD", {"learning_rate": 0.05, "momentum": 0.9}),
    "sgd_nesterov": ("SGD", {"learning_rate": 0.05, "momentum": 0.9, "nesterov": True}),
}


def batches():
    """What the network is shown: rows and what they should give."""
    chance = np.random.default_rng(5)
    for _ in range(BEFORE + STEPS):
        rows = chance.normal(size=(16, 6)).astype(np.float32)
        yield rows, np.tanh(rows[:, :2] * rows[:, 2:4]).astype(np.float32)


def made(folder: Path) -> Path:
    """Have Keras train in a process of its own."""
    told = {"KERAS_BACKEND": "torch", "CUDA_VISIBLE_DEVICES": "-1"}
    words = [sys.executable, __file__, str(folder)]
    done = subprocess.run(words, env={**os.environ, **told}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def _trained(keras, name: str, folder: Path) -> None:
    kind, settings = OPTIMIZERS[name]
    keras.utils.set_random_seed(1)
    layers = [
        keras.Input((6,)),
        keras.layers.Dense(8, "tanh"),
        keras.layers.BatchNormalization(),
        keras.layers.Dense(2),
    ]
    model = keras.Sequential(layers)
    model.compile(getattr(keras.optimizers, kind)(**settings), "mse", run_eagerly=True)
    for number, (rows, wanted) in enumerate(batches()):
        if number == BEFORE:
            for suffix in (".keras", ".h5"):
                model.save(folder / f"{name}{suffix}")
        model.train_on_batch(rows, wanted)
    kept = {str(at): keras.ops.convert_to_numpy(one) for at, one in enumerate(model.trainable_weights)}
    np.savez(folder / f"{name}.npz", **kept)


if __name__ == "__main__":
    for unused in ("matplotlib", "sklearn"):  # Keras would import them for what nobody asks for
        sys.modules[unused] = None
    import keras as library

    for each in OPTIMIZERS:
        _trained(library, each, Path(sys.argv[1]))
