"""Makes the SavedModels in this folder, in whatever release of TensorFlow runs it.

    python make.py OUT

writes ``OUT/NAME-VERSION.zip``: a SavedModel, and ``answers.npz`` with rows and what TensorFlow answers to them. The
files here come from tensorflow-cpu 2.13.1 (Keras 2.13), 2.16.2 (Keras 3) and 2.20.0 (Keras 3.15).
"""

import os
import shutil
import sys
import tempfile
import zipfile
from pathlib import Path

os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="-1", KERAS_BACKEND="tensorflow")
sys.path.insert(0, str(Path(__file__).parents[3]))

import numpy as np
import tensorflow as tf

VERSION = ".".join(tf.__version__.split(".")[:2])
KERAS_3 = tuple(int(part) for part in tf.__version__.split(".")[:2]) >= (2, 16)
OLD_KERAS = ("cnn", "lstm", "gru", "bidirectional")


def pack(folder: Path, inputs: dict, outputs: dict, out: Path, name: str) -> None:
    entries = {f"input/{key}": value for key, value in inputs.items()}
    np.savez(folder / "answers.npz", **entries, **{f"output/{key}": np.asarray(v) for key, v in outputs.items()})
    with zipfile.ZipFile(out / f"{name}-{VERSION}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.write(file, file.relative_to(folder))


def serve(folder: Path, inputs: dict) -> dict:
    """What the signature answers; an honest check that the folder is whole."""
    signature = tf.saved_model.load(str(folder)).signatures["serving_default"]
    return {key: value.numpy() for key, value in signature(**{k: tf.constant(v) for k, v in inputs.items()}).items()}


def keras_3(out: Path, work: Path) -> None:
    from networks import keras_networks

    for name in keras_networks.INPUTS if VERSION == "2.20" else ("cnn", "lstm", "gru", "transformer"):
        model = keras_networks.build(name)
        model.export(str(work / name), verbose=False)
        inputs = keras_networks.draw(name, 7, seed=5)
        pack(work / name, inputs, serve(work / name, inputs), out, name)


def keras_2(out: Path, work: Path) -> None:
    keras, layers = tf.keras, tf.keras.layers
    keras.utils.set_random_seed(0)
    series, image = keras.Input((6, 4), name="series"), keras.Input((8, 8, 3), name="image")
    picture = layers.BatchNormalization()(layers.Conv2D(4, 3, padding="same", activation="relu")(image))
    picture = layers.DepthwiseConv2D(3, strides=2, padding="same")(layers.Dropout(0.2)(picture))
    made = {
        "cnn": keras.Model(
            image, layers.Dense(3, activation="softmax")(layers.Flatten()(layers.MaxPooling2D()(picture)))
        ),
        "lstm": keras.Model(series, layers.Dense(2)(layers.LSTM(3)(layers.LSTM(5, return_sequences=True)(series)))),
        "gru": keras.Model(
            series, layers.Dense(2)(layers.GRU(3, reset_after=False)(layers.GRU(5, return_sequences=True)(series)))
        ),
        "bidirectional": keras.Model(series, layers.Dense(2)(layers.Bidirectional(layers.LSTM(3))(series))),
    }
    chance = np.random.default_rng(0)
    for name, model in made.items():
        optimizer = keras.optimizers.legacy.Adam(0.01) if name == "lstm" else keras.optimizers.Adam(0.01)
        model.compile(optimizer, "mse")
        rows = chance.normal(size=(7, *model.input_shape[1:])).astype(np.float32)
        for _ in range(3):
            model.train_on_batch(rows, chance.random((7, model.output_shape[-1])))
        model.save(work / name, save_format="tf")
        inputs = {model.input_names[0]: rows}
        answers = serve(work / name, inputs)
        names = [weight.name.removesuffix(":0") for weight in model.weights]
        np.savez(work / name / "weights.npz", **dict(zip(names, model.get_weights(), strict=True)))
        if name == "lstm":
            slots = {
                f"m/{w.name.removesuffix(':0')}": optimizer.get_slot(w, "m").numpy() for w in model.trainable_weights
            }
            np.savez(work / name / "slots.npz", step=optimizer.iterations.numpy(), **slots)
        pack(work / name, inputs, answers, out, name)


class Loops(tf.Module):
    """A module without Keras: a loop that grows nothing, a branch, a list, a lookup by weights of one name."""

    def __init__(self):
        self.layers = [tf.Variable(np.eye(4, dtype=np.float32) * scale, name="w") for scale in (0.5, 2.0)]
        self.bias = tf.Variable(np.linspace(-1, 1, 4, dtype=np.float32))

    @tf.function(input_signature=[tf.TensorSpec((None, 4), tf.float32, name="x")])
    def serve(self, x):
        seen = tf.TensorArray(tf.float32, 3)
        for step in tf.range(3):
            if tf.reduce_sum(x) > 0:  # noqa: SIM108 - a branch of the graph
                x = x @ self.layers[0]
            else:
                x = tf.nn.tanh(x @ self.layers[1])
            x = tf.nn.leaky_relu(x + self.bias, 0.1) * tf.cast(step + 1, tf.float32)
            seen = seen.write(step, x)
        return {"last": x, "all": tf.transpose(seen.stack(), [1, 0, 2])}


def module(out: Path, work: Path) -> None:
    made = Loops()
    tf.saved_model.save(made, str(work / "module"), signatures=made.serve)
    inputs = {"x": np.random.default_rng(1).normal(size=(5, 4)).astype(np.float32)}
    pack(work / "module", inputs, serve(work / "module", inputs), out, "module")


def first(out: Path, work: Path) -> None:
    """As TensorFlow 1 wrote: variables that are no resources, a saver in the graph, no functions and no objects."""
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.float32, (None, 3), name="x")
        with v1.variable_scope("layer"):
            kernel = v1.get_variable("kernel", (3, 2), initializer=v1.ones_initializer(), use_resource=False)
            bias = v1.get_variable("bias", (2,), initializer=v1.constant_initializer(0.5), use_resource=False)
        y = tf.nn.sigmoid(v1.matmul(x, kernel) + bias)
        session.run(v1.global_variables_initializer())
        session.run(kernel.assign(np.arange(6, dtype=np.float32).reshape(3, 2) / 6))
        v1.saved_model.simple_save(session, str(work / "first"), {"x": x}, {"y": y})
        rows = np.random.default_rng(2).normal(size=(5, 3)).astype(np.float32)
        pack(work / "first", {"x": rows}, {"y": session.run(y, {x: rows})}, out, "first")


if __name__ == "__main__":
    target, place = Path(sys.argv[1]), Path(tempfile.mkdtemp())
    (keras_3 if KERAS_3 else keras_2)(target, place)
    module(target, place)
    if VERSION == "2.20":
        first(target, place)
    shutil.rmtree(place)
