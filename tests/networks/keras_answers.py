"""What the real Keras makes of files: its answers, and its weights after another step of training.

    python keras_answers.py FOLDER    every .keras and .h5 in it is loaded in safe mode and answers its .npz;
                                      every .keras in FOLDER/steps is trained for one step more

Answers go to ``FILE.answers.npz`` by place, weights to ``FILE.stepped.npz`` by place; what Keras refuses goes to
``FILE.refused``.
"""

import os
import subprocess
import sys
import traceback
from pathlib import Path

import numpy as np

__all__ = ["asked"]


def asked(folder: Path, backend: str) -> Path:
    """Have Keras answer for every file in a folder, and take steps, in a process of its own."""
    told = {"KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    words = [sys.executable, __file__, str(folder)]
    done = subprocess.run(words, env={**os.environ, **told}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def _answer(keras, path: Path) -> None:
    model = keras.models.load_model(path, compile=False, safe_mode=True)
    with np.load(path.with_suffix(".npz")) as found:  # noqa: TID251 - our own file
        inputs = {key[6:]: found[key] for key in found.files if key.startswith("input/")}
    given = [inputs[tensor.name] for tensor in model.inputs]
    answers = keras.tree.flatten(model(given if len(given) > 1 else given[0], training=False))
    arrays = {str(place): keras.ops.convert_to_numpy(one) for place, one in enumerate(answers)}
    np.savez(f"{path}.answers.npz", **arrays)


def _step(keras, path: Path) -> None:
    model = keras.models.load_model(path, safe_mode=True)
    chance = np.random.default_rng(0)
    given = [chance.normal(size=(8, *tensor.shape[1:])).astype(np.float32) for tensor in model.inputs]
    wanted = [chance.random((8, *tensor.shape[1:])).astype(np.float32) for tensor in model.outputs]
    model.compile(optimizer=model.optimizer, loss=["mse"] * len(wanted), run_eagerly=True, jit_compile=False)
    keras.utils.set_random_seed(0)
    model.train_on_batch(given, wanted)
    arrays = {f"weight/{place}": keras.ops.convert_to_numpy(one) for place, one in enumerate(model.weights)}
    slots = {f"slot/{place}": keras.ops.convert_to_numpy(one) for place, one in enumerate(model.optimizer.variables)}
    np.savez(f"{path}.stepped.npz", **arrays, **slots)


if __name__ == "__main__":
    sys.modules["sklearn"] = None  # Keras would import it for wrappers that nobody asks for: two seconds
    import keras as library

    place = Path(sys.argv[1])
    todo = [(_answer, file) for file in sorted(place.iterdir()) if file.suffix in {".keras", ".h5"}]
    for act, file in (*todo, *((_step, file) for file in sorted(place.glob("steps/*.keras")))):
        try:
            act(library, file)
        except Exception:  # noqa: BLE001 - Keras refuses with anything
            Path(f"{file}.refused").write_text(traceback.format_exc())
