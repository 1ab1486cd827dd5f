"""A network that Keras trained goes on learning in torch, its optimizer with it, and leaves for three other programs.

Run by ``python examples/fine_tune.py``, where Keras is installed. Keras is a process of its own, as another team's
program would be: all that comes over is one ``.h5`` file. Whether the optimizer really goes on is measured: Keras takes
its own copy through one more epoch of the same batches, and both must arrive at the same weights, which an optimizer
that begins anew does not. One epoch, because over many the last bits of two programs grow to differences of their own.
"""

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits

import engram
from engram.records import Model, TrainingState
from engram.runtime.torch import module
from engram.store.store import Store
from engram.training.optimizer_state import slots
from engram.training.state import copies

FOLDER = Path(__file__).resolve().parent.parent
EPOCHS, BATCH = 8, 32
TARGETS = {"tflite": "digits.tflite", "tfjs": "digits.tfjs", "pytorch": "digits.pt"}

# Run with the folder and the settings as words. The rows come over as a file, so that both have the same. Keras warns
# that .h5 is its older format, which is the point here.
KERAS = """
import logging
import sys
import keras
import numpy as np

folder, epochs, batch = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
rows = np.load(f"{folder}/rows.npz")
keras.utils.set_random_seed(0)
layers = keras.layers
network = keras.Sequential([
    layers.Input((8, 8, 1), name="pixels"),
    layers.Conv2D(16, 3, padding="same", activation="relu"),
    layers.MaxPooling2D(),
    layers.Conv2D(32, 3, padding="same", activation="relu"),
    layers.Flatten(),
    layers.Dense(10, name="digit"),
])
network.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
logging.getLogger("absl").setLevel("ERROR")
for half, times in (("first", epochs), ("second", 1)):
    network.fit(rows[f"{half}.x"], rows[f"{half}.y"], batch_size=batch, epochs=times, shuffle=False, verbose=0)
    network.save(f"{folder}/{half}.h5")
print(f"keras {keras.__version__} on {keras.backend.backend()}")
"""


def halves() -> dict[str, np.ndarray]:
    """Digits of scikit-learn: every fifth is held out, and of the others Keras has one half and torch the other."""
    digits = load_digits()
    x, y = (digits.images[..., None] / 16).astype("float32"), digits.target.astype("int64")
    held = np.arange(len(y)) % 5 == 0
    half = np.count_nonzero(~held) // 2
    parts = {"first": (x[~held][:half], y[~held][:half]), "second": (x[~held][half:], y[~held][half:])}
    parts["held"] = (x[held], y[held])
    return {f"{name}.{side}": array for name, both in parts.items() for side, array in zip("xy", both, strict=True)}


def taught(folder: Path, rows: Mapping[str, np.ndarray]) -> None:
    """Have Keras train on the first half, keep its file, and go once through the second for comparison."""
    np.savez(folder / "rows.npz", **rows)
    words = [sys.executable, "-c", KERAS, str(folder), str(EPOCHS), str(BATCH)]
    subprocess.run(words, env=os.environ | {"KERAS_BACKEND": "torch", "TF_CPP_MIN_LOG_LEVEL": "3"}, check=True)


def tuned(
    store: Store, reference: str, rows: Mapping[str, np.ndarray], epochs: int, *, anew: bool = False
) -> tuple[Model, TrainingState]:
    """The model after epochs of the second half, with what its optimizer knows then.

    Args:
        store: that holds the version.
        reference: to a version with a training state.
        rows: as ``halves`` gives them.
        epochs: how often all are seen.
        anew: whether the optimizer begins anew, with what Keras begins with, in place of going on.
    """
    model, before = store.load(reference), TrainingState() if anew else store.state(reference)
    network = module(model.graph, model.weights)
    optimizer = torch.optim.Adam(network.parameters(), eps=1e-7)
    if not anew:
        store.load_into(network, reference, optimizer=optimizer)
    x, y = torch.from_numpy(rows["second.x"]), torch.from_numpy(rows["second.y"])
    step, (own,) = before.step, optimizer.param_groups
    epsilon = own["eps"]
    for _ in range(epochs):
        for pixels, digits in zip(x.split(BATCH), y.split(BATCH), strict=True):
            step += 1
            # Keras adds epsilon before it corrects the second moment, torch after; rare pixels would differ by 4e-3
            own["eps"] = epsilon / (1 - own["betas"][1] ** step) ** 0.5
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(network(pixels), digits).backward()
            optimizer.step()
    later = replace(before, step=step, slots=copies(slots(optimizer, network)))
    return replace(model, weights=copies(network.state_dict())), later


def accuracy(model: Model, rows: Mapping[str, np.ndarray]) -> float:
    """The share of held-out digits that a model tells."""
    (answer,) = model.predict(rows["held.x"]).outputs.values()
    return float((answer.argmax(axis=1) == rows["held.y"]).mean())


def apart(one: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray]) -> float:
    """The largest difference between two sets of weights."""
    return max(float(np.abs(array - other[name]).max()) for name, array in one.items())


def main(folder: Path) -> None:
    """Walk from Keras to the three files."""
    folder.mkdir(parents=True, exist_ok=True)
    if (packages := FOLDER / ".stamps" / "node").is_dir():
        os.environ.setdefault("ENGRAM_NODE", str(packages))  # what `make test` installed
    rows, place = halves(), folder / "engrams"
    taught(folder, rows)

    store = engram.open(place)
    first = engram.keep(folder / "first.h5", "digits-cnn", store=place)
    model, state = store.load(first.reference), store.state(first.reference)
    print(f"{first.reference}: kept from first.h5, {state.optimizer['kind']} at step {state.step}")

    learned, later = tuned(store, first.reference, rows, EPOCHS)
    facts = {"tuned": f"on {len(rows['second.y'])} more digits in torch {torch.__version__}"}
    second = store.keep("digits-cnn", learned, state=later, parents=[first.digest], facts=facts)
    kind = later.optimizer["kind"]
    print(f"{second.reference}: kept from torch, {kind} at step {later.step}, made from {first.reference}")

    by_keras = engram.read(folder / "second.h5").weights
    print("largest difference of a weight from Keras' own after one epoch of the same batches:")
    for words, anew in (("the optimizer goes on", False), ("the optimizer is new", True)):
        print(f"  {words:<24} {apart(tuned(store, first.reference, rows, 1, anew=anew)[0].weights, by_keras):.1e}")
    print("held-out accuracy:")
    print(f"  before                   {accuracy(model, rows):.4f}")
    print(f"  after                    {accuracy(store.load(second.reference), rows):.4f}")
    print("leaving with proof:")
    for target, name in TARGETS.items():
        proof = engram.export(second.reference, to=target, path=folder / name, store=place)
        worst = max(difference.absolute for difference in proof.differences)
        asked = f"read back, not asked: {proof.served[1]}" if proof.served[1] else f"asked in {proof.runtimes[1]}"
        print(f"  {name:<16}{worst:9.1e}  {asked}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER / "demo" / "fine-tune")
