"""Makes the golden files beside it: networks that TensorFlow's own converter wrote, with what LiteRT answers to them.

Run by hand where TensorFlow is installed (``python make.py [NAME …]``); nothing imports it. Each ``NAME.tflite`` has a
``NAME.npz`` with the entries ``input/NAME`` and ``output/NAME``, names as in the file's signature.
"""

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="-1", TF_ENABLE_ONEDNN_OPTS="0")

import keras
import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from keras import layers

HERE = Path(__file__).parent
ROWS = 3


def settled(model):
    """Weights and statistics that are not what they were born with."""
    chance = np.random.default_rng(5)
    for weight in model.weights:
        if weight.dtype.startswith("float") and "variance" not in weight.path:
            weight.assign(weight.numpy() + chance.normal(scale=0.1, size=weight.shape).astype("float32"))
        elif "variance" in weight.path:
            weight.assign(chance.uniform(0.5, 2.0, weight.shape).astype("float32"))
    return model


def mlp():
    x = keras.Input((4,), name="x")
    y = layers.Dense(8, activation="relu")(x)
    y = layers.Dense(6, activation="gelu")(layers.Dropout(0.2)(y))
    return keras.Model(x, layers.Dense(3, activation="softmax")(y))


def cnn():
    image = keras.Input((12, 12, 3), name="image")
    y = layers.BatchNormalization()(layers.Conv2D(6, 3, padding="same", use_bias=False)(image))
    y = layers.MaxPooling2D()(layers.Activation("relu")(y))
    y = layers.DepthwiseConv2D(3, strides=2, padding="same", activation="relu6")(y)
    y = layers.Conv2D(8, 3, dilation_rate=1, padding="valid")(layers.ZeroPadding2D(1)(y))
    y = layers.AveragePooling2D(2, strides=1, padding="same")(layers.LeakyReLU(0.1)(y))
    y = layers.Conv2DTranspose(4, 3, strides=2, padding="same")(y)
    y = layers.UpSampling2D(2, interpolation="bilinear")(y)
    y = layers.GlobalAveragePooling2D()(layers.PReLU(shared_axes=[1, 2])(y))
    return keras.Model(image, layers.Dense(4)(y))


def small_cnn():
    image = keras.Input((8, 8, 2), name="image")
    y = layers.Conv2D(5, 3, padding="same", activation="relu")(image)
    y = layers.DepthwiseConv2D(3, padding="same", activation="relu")(y)
    y = layers.MaxPooling2D()(y)
    z = layers.Conv2D(5, 1)(y)
    y = layers.Add()([y, z])
    y = layers.Flatten()(layers.AveragePooling2D(2)(y))
    return keras.Model(image, layers.Dense(3, activation="softmax")(y))


def wide_cnn():
    """Wide enough for the converter to find its weights worth quantizing."""
    image = keras.Input((6, 6, 8), name="image")
    y = layers.Conv2D(24, 3, padding="same", activation="relu")(image)
    y = layers.DepthwiseConv2D(3, depth_multiplier=6)(y)
    return keras.Model(image, layers.Conv2D(8, 3)(y))


def wide():
    """Wide enough for the converter to find its weights worth quantizing."""
    x = keras.Input((32,), name="x")
    y = layers.Dense(40, activation="relu")(x)
    return keras.Model(x, layers.Dense(32)(y))


def lstm():
    """One row at a time: the converter cannot lower a recurrent layer whose batch is free."""
    series = keras.Input((6, 4), batch_size=1, name="series")
    return keras.Model(series, layers.Dense(3)(layers.LSTM(5)(layers.LSTM(6, return_sequences=True)(series))))


def gru():
    series = keras.Input((6, 4), batch_size=1, name="series")
    return keras.Model(series, layers.Dense(3)(layers.GRU(5)(series)))


def bidirectional():
    series = keras.Input((5, 3), batch_size=1, name="series")
    return keras.Model(series, layers.Bidirectional(layers.LSTM(4, return_sequences=True))(series))


def transformer():
    tokens = keras.Input((6,), dtype="int32", name="tokens")
    y = layers.Embedding(11, 8)(tokens)
    z = layers.MultiHeadAttention(2, 4)(y, y)
    y = layers.LayerNormalization()(layers.Add()([y, z]))
    z = layers.Dense(8)(layers.Dense(12, activation="gelu")(y))
    y = layers.LayerNormalization()(layers.Add()([y, z]))
    return keras.Model(tokens, layers.Dense(3, activation="softmax")(layers.GlobalAveragePooling1D()(y)))


def two():
    left, right = keras.Input((4,), name="left"), keras.Input((3,), name="right")
    y = layers.Concatenate()([layers.Dense(5, activation="tanh")(left), layers.Dense(5, activation="elu")(right)])
    return keras.Model(
        [left, right], {"label": layers.Dense(2, name="label")(y), "value": layers.Dense(1, name="value")(y)}
    )


class Looping(tf.Module):
    """A loop, a branch and a variable, which become WHILE, IF and CALL_ONCE."""

    def __init__(self):
        super().__init__()
        self.step = tf.Variable([[0.5, -0.25, 1.0]])

    @tf.function(input_signature=[tf.TensorSpec((1, 3), tf.float32, name="x")])
    def __call__(self, x):
        total = tf.while_loop(lambda n, _: tf.less(n, 4), lambda n, y: (n + 1, tf.tanh(y + self.step)), (0, x))[1]
        return {"y": tf.cond(tf.reduce_sum(total) > 0.0, lambda: total * 2.0, lambda: total - 1.0)}


class Plain(tf.Module):
    """Operators that Keras seldom writes."""

    @tf.function(input_signature=[tf.TensorSpec((2, 4, 6), tf.float32, name="x")])
    def __call__(self, x):
        first, second = tf.split(x, [2, 4], axis=2)
        mask = tf.logical_and(x > 0.0, tf.not_equal(x, 1.0))
        chosen = tf.where(mask, x, tf.square(x))
        rolled = tf.reverse(tf.transpose(x, [0, 2, 1]), axis=[1])
        return {
            "chosen": tf.math.rsqrt(tf.abs(chosen) + 1.0),
            "cut": x[:, 1:3, ::2],
            "last": x[:, -1],
            "top": tf.math.top_k(x, 2).values,
            "places": tf.argmax(x, axis=-1, output_type=tf.int32),
            "stacked": tf.stack([first[:, :, 0], second[:, :, 1]], axis=1),
            "unstacked": tf.unstack(x, axis=1)[2],
            "padded": tf.pad(x, [[0, 0], [1, 2], [0, 1]], constant_values=0.5),
            "mirrored": tf.pad(x, [[0, 0], [1, 1], [2, 2]], mode="REFLECT"),
            "gathered": tf.gather(x, [2, 0], axis=1),
            "tiled": tf.tile(rolled, [1, 1, 2]),
            "summed": tf.cumsum(x, axis=1, exclusive=True),
            "floored": tf.math.floordiv(x, 0.3) + tf.math.floormod(x, 0.7),
            "hot": tf.one_hot(tf.cast(tf.argmax(x, axis=1), tf.int32), 4),
            "reduced": tf.reduce_max(x, axis=[1, 2], keepdims=True) + tf.reduce_prod(x, axis=1, keepdims=True),
            "deep": tf.nn.depth_to_space(tf.reshape(x, [2, 2, 3, 4]), 2),
            "soft": tf.nn.log_softmax(x) + tf.nn.l2_normalize(x, axis=-1),
            "any": tf.reduce_any(mask, axis=2),
        }


KERAS: Mapping[str, Callable] = {
    "mlp": mlp, "cnn": cnn, "lstm": lstm, "gru": gru, "bidirectional": bidirectional, "transformer": transformer,
    "two": two,
}  # fmt: skip


def converter_of(name: str):
    if name in {"looping", "plain"}:
        module = Looping() if name == "looping" else Plain()
        return tf.lite.TFLiteConverter.from_concrete_functions([module.__call__.get_concrete_function()], module)
    keras.utils.set_random_seed(3)
    base = {"dynamic": wide, "dynamic_cnn": wide_cnn, "float16": wide, "int8": small_cnn, "int8_mixed": small_cnn}.get(
        name
    )
    model = settled((base or KERAS[name])())
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    if base:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if name == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if name.startswith("int8"):
        chance = np.random.default_rng(1)
        converter.representative_dataset = lambda: (
            [chance.normal(size=(1, 8, 8, 2)).astype(np.float32)] for _ in range(20)
        )
    if name == "int8":
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8
    return converter


def answers(content: bytes) -> dict:
    """Inputs drawn for a file's signature, and what LiteRT answers."""
    asked = Interpreter(model_content=content, num_threads=1)
    run = asked.get_signature_runner()
    chance = np.random.default_rng(9)
    given = {}
    for name, about in run.get_input_details().items():
        shape = [
            ROWS if place == 0 and about["shape_signature"][0] == -1 else int(axis)
            for place, axis in enumerate(about["shape"])
        ]
        kind = np.dtype(about["dtype"])
        drawn = (
            chance.integers(-100 if kind == np.int8 else 0, 11, shape)
            if kind.kind == "i"
            else chance.normal(size=shape)
        )
        given[name] = drawn.astype(kind)
    found = run(**given)
    return {f"input/{k}": v for k, v in given.items()} | {f"output/{k}": v for k, v in found.items()}


def main() -> None:
    names = sys.argv[1:] or [*KERAS, "dynamic", "dynamic_cnn", "float16", "int8", "int8_mixed", "looping", "plain"]
    for name in names:
        content = converter_of(name).convert()
        (HERE / f"{name}.tflite").write_bytes(content)
        np.savez(HERE / f"{name}.npz", **answers(content))


if __name__ == "__main__":
    main()
