"""One small Keras model for each kind and setting of a layer, with weights drawn at random and Keras' own answers.

Keras runs in a process of its own, once for all of them; see ``keras_networks``.
"""

import os
import subprocess
import sys
import traceback
from collections.abc import Iterable
from pathlib import Path

import numpy as np

__all__ = ["MODELS", "made"]


def sequence(*layers, shape=(6, 4), dtype="float32"):
    """A model of layers one after the other, each written as an expression."""
    return f"chain(K.Input({shape}, dtype={dtype!r}, name='x'), {', '.join(layers)})"


def pictures(*layers):
    return sequence(*layers, shape=(9, 8, 3))


def merged(expression, *shapes):
    """A model of several inputs ``x0``, ``x1`` … in a list ``x``."""
    return f"join({shapes}, lambda x: {expression})"


_ACTIVATIONS = (
    "celu", "elu", "exponential", "gelu", "glu", "hard_shrink", "hard_sigmoid", "hard_silu", "hard_tanh", "leaky_relu",
    "linear", "log_sigmoid", "log_softmax", "mish", "relu", "relu6", "selu", "sigmoid", "silu", "soft_shrink",
    "softmax", "softplus", "softsign", "sparse_plus", "sparsemax", "squareplus", "swish", "tanh", "tanh_shrink",
)  # fmt: skip

MODELS: dict[str, str] = {
    **{f"activation_{name}": sequence(f"L.Activation({name!r})") for name in _ACTIVATIONS},
    "dense": sequence("L.Dense(5, 'relu')", shape=(4,)),
    "dense_without_bias": sequence("L.Dense(5, use_bias=False)", shape=(4,)),
    "dense_over_time": sequence("L.Dense(5, 'softmax')"),
    "conv1d": sequence("L.Conv1D(5, 3, strides=2, padding='same')"),
    "conv1d_causal": sequence("L.Conv1D(5, 3, padding='causal', dilation_rate=2, activation='relu')"),
    "conv1d_free": sequence("L.Conv1D(5, 3, strides=2, padding='same')", shape=(None, 4)),
    "conv2d": pictures("L.Conv2D(4, (3, 2), strides=(2, 1), activation='relu')"),
    "conv2d_same": pictures("L.Conv2D(4, 3, strides=2, padding='same')"),
    "conv2d_dilated": pictures("L.Conv2D(4, 3, dilation_rate=2, padding='same', use_bias=False)"),
    "conv2d_groups": sequence("L.Conv2D(6, 3, groups=3)", shape=(9, 8, 3)),
    "conv2d_first": sequence("L.Permute((3, 1, 2))", "L.Conv2D(6, 3, data_format='channels_first')", shape=(9, 8, 3)),
    "conv3d": sequence("L.Conv3D(3, 2, padding='same', strides=2)", shape=(5, 6, 5, 2)),
    "depthwise1d": sequence("L.DepthwiseConv1D(3, depth_multiplier=2)"),
    "depthwise2d": pictures("L.DepthwiseConv2D(3, depth_multiplier=2, padding='same', strides=2)"),
    "separable1d": sequence("L.SeparableConv1D(5, 3, padding='same')"),
    "separable2d": pictures("L.SeparableConv2D(5, 3, depth_multiplier=2, activation='relu')"),
    "conv1d_transpose": sequence("L.Conv1DTranspose(5, 3, strides=2, padding='same')"),
    "conv2d_transpose": pictures("L.Conv2DTranspose(5, 3, strides=2)"),
    "conv2d_transpose_same": pictures("L.Conv2DTranspose(5, (3, 4), strides=(2, 3), padding='same')"),
    "conv2d_transpose_wide": pictures("L.Conv2DTranspose(5, 2, strides=3)"),
    "conv2d_transpose_padded": pictures("L.Conv2DTranspose(5, 3, strides=2, padding='same', output_padding=1)"),
    "conv3d_transpose": sequence("L.Conv3DTranspose(3, 3, strides=2, padding='same')", shape=(3, 4, 3, 2)),
    "max_pooling1d": sequence("L.MaxPooling1D(2)"),
    "max_pooling2d": pictures("L.MaxPooling2D((3, 2), strides=2, padding='same')"),
    "max_pooling3d": sequence("L.MaxPooling3D(2)", shape=(5, 6, 5, 2)),
    "average_pooling1d": sequence("L.AveragePooling1D(3, strides=1, padding='same')"),
    "average_pooling2d": pictures("L.AveragePooling2D(3, strides=2, padding='same')"),
    "average_pooling2d_first": sequence("L.AveragePooling2D(2, data_format='channels_first')", shape=(3, 8, 9)),
    "average_pooling3d": sequence("L.AveragePooling3D(2)", shape=(5, 6, 5, 2)),
    "global_max1d": sequence("L.GlobalMaxPooling1D()"),
    "global_average1d": sequence("L.GlobalAveragePooling1D(keepdims=True)"),
    "global_max2d": pictures("L.GlobalMaxPooling2D()"),
    "global_average2d": pictures("L.GlobalAveragePooling2D(keepdims=True)"),
    "global_average3d": sequence("L.GlobalAveragePooling3D()", shape=(5, 6, 5, 2)),
    "adaptive_average2d": pictures("L.AdaptiveAveragePooling2D((4, 3))"),
    "adaptive_max1d": sequence("L.AdaptiveMaxPooling1D(4)"),
    "batch_norm": sequence("L.BatchNormalization()", shape=(4,)),
    "batch_norm_pictures": pictures("L.BatchNormalization(epsilon=1e-2, momentum=0.9)"),
    "batch_norm_bare": pictures("L.BatchNormalization(center=False, scale=False)"),
    "batch_norm_without_scale": pictures("L.BatchNormalization(scale=False)"),
    "batch_norm_axis": pictures("L.BatchNormalization(axis=1)"),
    "layer_norm": sequence("L.LayerNormalization()"),
    "layer_norm_bare": sequence("L.LayerNormalization(center=False, scale=False)"),
    "layer_norm_axes": pictures("L.LayerNormalization(axis=(1, 2))"),
    "layer_norm_first": sequence("L.LayerNormalization(axis=1, epsilon=0.1)"),
    "rms_norm": sequence("L.RMSNormalization()"),
    "group_norm": sequence("L.GroupNormalization(groups=2)"),
    "group_norm_pictures": sequence("L.GroupNormalization(groups=3, scale=False)", shape=(5, 4, 6)),
    "instance_norm": sequence("L.GroupNormalization(groups=-1)", shape=(5, 4, 6)),
    "unit_norm": sequence("L.UnitNormalization()"),
    "normalization": sequence("L.Normalization()", shape=(4,)),
    "normalization_given": sequence(
        "L.Normalization(mean=[1.0, 2.0, 3.0, 4.0], variance=[2.0, 1.0, 0.5, 3.0])", shape=(4,)
    ),
    "normalization_inverted": sequence("L.Normalization(invert=True)", shape=(4,)),
    "rescaling": pictures("L.Rescaling(1 / 255, offset=-0.5)"),
    "rescaling_channels": pictures("L.Rescaling([0.1, 0.2, 0.3], offset=[0.5, 0.1, -1.0])"),
    "dropouts": pictures("L.Dropout(0.3)", "L.SpatialDropout2D(0.2)", "L.GaussianNoise(0.1)", "L.GaussianDropout(0.1)"),
    "alpha_dropout": sequence("L.AlphaDropout(0.2)", "L.ActivityRegularization(l2=0.1)", "L.Identity()"),
    "flatten": pictures("L.Flatten()"),
    "flatten_first": pictures("L.Flatten(data_format='channels_first')"),
    "flatten_numbers": sequence("L.Flatten()", shape=()),
    "reshape": pictures("L.Reshape((3, -1, 4))"),
    "permute": pictures("L.Permute((2, 3, 1))"),
    "repeat": sequence("L.RepeatVector(3)", shape=(4,)),
    "zero_padding1d": sequence("L.ZeroPadding1D((1, 2))"),
    "zero_padding2d": pictures("L.ZeroPadding2D(((1, 2), (0, 3)))"),
    "zero_padding3d": sequence("L.ZeroPadding3D(1)", shape=(3, 4, 3, 2)),
    "cropping1d": sequence("L.Cropping1D((1, 2))"),
    "cropping2d": pictures("L.Cropping2D(((1, 2), (0, 3)))"),
    "cropping3d": sequence("L.Cropping3D(1)", shape=(3, 4, 3, 2)),
    "up_sampling1d": sequence("L.UpSampling1D(3)"),
    "up_sampling2d": pictures("L.UpSampling2D((2, 3))"),
    "up_sampling2d_bilinear": pictures("L.UpSampling2D(2, interpolation='bilinear')"),
    "up_sampling3d": sequence("L.UpSampling3D(2)", shape=(3, 4, 3, 2)),
    "add": merged("L.Add()(x)", (3, 4), (3, 4), (3, 4)),
    "subtract": merged("L.Subtract()(x)", (4,), (4,)),
    "multiply_wide": merged("L.Multiply()(x)", (3, 4), (1, 4)),
    "average": merged("L.Average()(x)", (4,), (4,), (4,)),
    "maximum": merged("L.Maximum()(x)", (4,), (4,)),
    "minimum": merged("L.Minimum()(x)", (4,), (4,)),
    "concatenate": merged("L.Concatenate(axis=1)(x)", (3, 4), (2, 4)),
    "add_of_ranks": merged("L.Add()(x)", (3, 4), (4,)),
    "dot": merged("L.Dot(axes=(2, 1))(x)", (3, 4), (4, 5)),
    "dot_normalized": merged("L.Dot(axes=1, normalize=True)(x)", (4,), (4,)),
    "dot_of_ranks": merged("L.Dot(axes=2)(x)", (3, 4), (5, 4)),
    "embedding": sequence("L.Embedding(7, 3)", shape=(5,), dtype="int32"),
    "embedding_of_floats": sequence("L.Embedding(7, 3)", "L.Flatten()", shape=(5,), dtype="uint8"),
    "simple_rnn": sequence("L.SimpleRNN(3)"),
    "simple_rnn_relu": sequence("L.SimpleRNN(3, activation='relu', use_bias=False, return_sequences=True)"),
    "lstm": sequence("L.LSTM(3)"),
    "lstm_sequences": sequence("L.LSTM(3, return_sequences=True, go_backwards=True)"),
    "lstm_backwards": sequence("L.LSTM(3, go_backwards=True)"),
    "lstm_other": sequence("L.LSTM(3, activation='softsign', recurrent_activation='hard_sigmoid', use_bias=False)"),
    "lstm_states": "states(L.LSTM(3, return_state=True))",
    "lstm_handed_over": "handed(lambda: L.LSTM(3, return_state=True, return_sequences=True))",
    "gru": sequence("L.GRU(3)"),
    "gru_before": sequence("L.GRU(3, reset_after=False, return_sequences=True)"),
    "gru_without_bias": sequence("L.GRU(3, use_bias=False)"),
    "gru_states": "states(L.GRU(3, return_state=True, return_sequences=True))",
    "gru_handed_over": "handed(lambda: L.GRU(3, return_state=True))",
    "rnn_of_cell": sequence("L.RNN(L.LSTMCell(3), return_sequences=True)", "L.RNN(L.GRUCell(2))"),
    "rnn_of_cells": sequence("L.RNN([L.LSTMCell(3), L.GRUCell(2)])"),
    "free_time": sequence("L.LSTM(3, return_sequences=True)", "L.GRU(2)", shape=(None, 4)),
    "random_pictures": pictures(
        "L.RandomFlip()", "L.RandomRotation(0.1)", "L.RandomContrast(0.1)", "L.RandomZoom(0.1)"
    ),
    **{f"resizing_{word}": pictures(f"L.Resizing(5, 13, interpolation={word!r})") for word in ("bilinear", "nearest")},
    "resizing_cropped": pictures("L.Resizing(4, 7, crop_to_aspect_ratio=True)"),
    "resizing_free": sequence("L.Resizing(5, 13)", shape=(None, None, 3)),
    "center_crop": pictures("L.CenterCrop(4, 5)"),
    "integer_lookup": "tokens(L.IntegerLookup(vocabulary=[3, 6, 1]))",
    "integer_lookup_counted": "tokens(L.IntegerLookup(vocabulary=[3, 6, 1], output_mode='count'))",
    "integer_lookup_masked": "tokens(L.IntegerLookup(vocabulary=[3, 6, 1], mask_token=0))",
    "time_distributed_network": sequence(
        "L.TimeDistributed(K.Sequential([K.Input((4,)), L.Dense(3, 'relu'), L.BatchNormalization(), L.Dense(2)]))"
    ),
    "masked_states": "masked_states()",
    "ops_axes": merged(
        "[K.ops.norm(x[0], axis=-1), K.ops.normalize(x[0]), K.ops.cumsum(x[0], axis=1), K.ops.sort(x[0], axis=1),"
        " K.ops.argsort(x[0], axis=-1), *K.ops.top_k(x[0], 2), *K.ops.moments(x[0], axes=[1]),"
        " K.ops.dot(x[0], K.ops.ones((4, 3))), K.ops.ravel(x[0])]",
        (6, 4),
    ),
    "ops_numbers": merged(
        "[K.ops.logaddexp(x[0], x[1]), K.ops.mod(x[0], 0.7), K.ops.roll(x[0], 2, axis=1), K.ops.log2(K.ops.exp(x[0])),"
        " K.ops.log10(K.ops.exp(x[1]))]",
        (6, 4),
        (6, 4),
    ),
    "ops_pooling": merged("[K.ops.max_pool(x[0], 2), K.ops.average_pool(x[0], 3, 2, 'same')]", (8, 9, 3)),
    "masked_lstm": sequence("L.Masking(0.0)", "L.LSTM(3)"),
    "masked_lstm_sequences": sequence("L.Masking(0.0)", "L.LSTM(3, return_sequences=True)", "L.Dense(2)", "L.GRU(2)"),
    "masked_backwards": sequence("L.Masking(0.0)", "L.GRU(3, return_sequences=True, go_backwards=True)"),
    "masked_bidirectional": sequence("L.Masking(0.0)", "L.Bidirectional(L.LSTM(3, return_sequences=True))"),
    "masked_bidirectional_last": sequence("L.Masking(0.0)", "L.Bidirectional(L.GRU(3))"),
    "masked_words": sequence("L.Embedding(7, 3, mask_zero=True)", "L.LSTM(4)", shape=(6,), dtype="int32"),
    "masked_mean": sequence(
        "L.Embedding(7, 3, mask_zero=True)", "L.GlobalAveragePooling1D()", shape=(6,), dtype="int32"
    ),
    "masked_zeros": sequence("L.Masking(0.0)", "L.LSTM(3, return_sequences=True, zero_output_for_mask=True)"),
    **{
        f"bidirectional_{mode}": sequence(f"L.Bidirectional(L.LSTM(3, return_sequences=True), merge_mode={mode!r})")
        for mode in ("concat", "sum", "mul", "ave", None)
    },
    "bidirectional_last": sequence("L.Bidirectional(L.GRU(3))"),
    "bidirectional_two": sequence(
        "L.Bidirectional(L.LSTM(3, return_sequences=True), "
        "backward_layer=L.GRU(3, return_sequences=True, go_backwards=True))"
    ),
    "bidirectional_states": "states(L.Bidirectional(L.LSTM(3, return_state=True)))",
    "time_distributed": sequence("L.TimeDistributed(L.Dense(3, 'relu'))"),
    "time_distributed_conv": sequence(
        "L.TimeDistributed(L.Conv2D(2, 2))", "L.TimeDistributed(L.Flatten())", shape=(3, 5, 4, 2)
    ),
    "multi_head": merged("L.MultiHeadAttention(2, 3)(x[0], x[1])", (5, 4), (6, 4)),
    "multi_head_values": merged(
        "L.MultiHeadAttention(2, 3, value_dim=5, output_shape=6, use_bias=False)(x[0], x[1], key=x[2])",
        (5, 4),
        (6, 4),
        (6, 3),
    ),
    "multi_head_scores": merged("L.MultiHeadAttention(2, 3)(x[0], x[0], return_attention_scores=True)", (5, 4)),
    "multi_head_causal": merged("L.MultiHeadAttention(2, 3)(x[0], x[0], use_causal_mask=True)", (5, 4)),
    "multi_head_masked": "masked(lambda y: L.MultiHeadAttention(2, 3)(y, y))",
    "multi_head_given_mask": "given(lambda y, m: L.MultiHeadAttention(2, 3)(y, y, attention_mask=m))",
    "multi_head_axes": merged("L.MultiHeadAttention(2, 3, attention_axes=(1,))(x[0], x[0])", (3, 4, 5)),
    "grouped_query": merged("L.GroupQueryAttention(3, 4, 2)(x[0], x[1])", (5, 4), (6, 4)),
    "attention": merged("L.Attention()(x)", (5, 4), (6, 4)),
    "attention_scaled": merged("L.Attention(use_scale=True)(x)", (5, 4), (6, 4), (6, 4)),
    "attention_concat": merged("L.Attention(score_mode='concat', use_scale=True)(x)", (5, 4), (6, 4)),
    "attention_causal": merged("L.Attention()([x[0], x[0]], use_causal_mask=True)", (5, 4)),
    "additive_attention": merged("L.AdditiveAttention()(x)", (5, 4), (6, 4)),
    "prelu": pictures("L.PReLU()"),
    "prelu_shared": pictures("L.PReLU(shared_axes=[1, 2])"),
    "leaky_relu": sequence("L.LeakyReLU(negative_slope=0.2)", "L.ELU(alpha=0.5)"),
    "relu_bounded": sequence("L.ReLU(max_value=0.8)"),
    "relu_threshold": sequence("L.ReLU(max_value=1.5, threshold=0.3, negative_slope=0.1)"),
    "softmax_axis": sequence("L.Softmax(axis=1)"),
    "softmax_axes": sequence("L.Softmax(axis=(1, 2))"),
    "einsum_dense": sequence("L.EinsumDense('abc,cd->abd', output_shape=(None, 5), bias_axes='d')"),
    "einsum_dense_heads": sequence("L.EinsumDense('...x,xhy->...hy', (6, 2, 3), bias_axes='hy', activation='relu')"),
    "discretization": sequence("L.Discretization(bin_boundaries=[-0.5, 0.0, 0.7])", shape=(4,)),
    "discretization_one_hot": sequence(
        "L.Discretization(bin_boundaries=[-0.5, 0.7], output_mode='one_hot')", shape=(1,)
    ),
    "category_multi_hot": sequence(
        "L.CategoryEncoding(num_tokens=7, output_mode='multi_hot')", shape=(4,), dtype="int32"
    ),
    "category_one_hot": sequence("L.CategoryEncoding(num_tokens=7, output_mode='one_hot')", shape=(1,), dtype="int32"),
    "shared": "shared()",
    "nested": "nested()",
    "nested_twice": "nested_twice()",
    "sequential_in_functional": "sequential_in_functional()",
    "sequential": "K.Sequential([K.Input((4,), name='x'), L.Dense(3, 'relu', name='a'), L.Dense(2, name='b')])",
    "frozen": "frozen()",
    "many_ends": "many_ends()",
    "named_inputs": "named_inputs()",
    "names_with_slashes": sequence("L.Dense(3, name='a b-c')", "L.Dense(2, name='Ä')", shape=(4,)),
    "operators": merged("(x[0] + 2.0) * x[1] - x[0] / 3.0", (4,), (4,)),
    "slices": merged("x[0][:, 1:3, ::2]", (5, 6)),
    "slice_last": merged("x[0][:, -1]", (5, 6)),
    "reductions": merged("K.ops.mean(x[0], axis=1, keepdims=True) + K.ops.max(x[0], axis=1, keepdims=True)", (5, 6)),
    "sums": merged("K.ops.sum(K.ops.square(x[0]), axis=-1) + K.ops.prod(x[0], axis=-1)", (5, 6)),
    "matmul": merged("K.ops.matmul(x[0], x[1])", (5, 6), (6, 3)),
    "einsum": merged("K.ops.einsum('bij,bkj->bik', x[0], x[1])", (5, 6), (3, 6)),
    "shapes": merged(
        "K.ops.expand_dims(K.ops.squeeze(K.ops.reshape(K.ops.transpose(x[0], (0, 2, 1)), (-1, 1, 30)), axis=1), -1)",
        (5, 6),
    ),
    "stack": merged(
        "K.ops.concatenate([K.ops.stack([x[0], x[1]], axis=1), K.ops.expand_dims(x[0], 1)], axis=1)", (4,), (4,)
    ),
    "elementwise": merged(
        "K.ops.exp(K.ops.sin(x[0])) + K.ops.sqrt(K.ops.abs(x[0])) - K.ops.log1p(K.ops.abs(x[0]))", (4,)
    ),
    "rounding": merged("K.ops.floor(x[0]) + K.ops.ceil(x[0]) + K.ops.sign(x[0]) + K.ops.round(x[0] * 3)", (4,)),
    "clip_and_where": merged("K.ops.where(x[0] > 0.1, K.ops.clip(x[0], -1.0, 1.0), x[1])", (4,), (4,)),
    "powers": merged(
        "K.ops.power(K.ops.abs(x[0]), 1.5) + K.ops.maximum(x[0], x[1]) + K.ops.minimum(x[0], 0.2)", (4,), (4,)
    ),
    "ops_activations": merged(
        "K.ops.relu(x[0]) + K.ops.softmax(x[0], axis=-1) + K.ops.gelu(x[0]) + K.ops.silu(x[0])", (4,)
    ),
    "casts": merged("K.ops.cast(K.ops.cast(x[0] * 3, 'int32'), 'float32')", (4,)),
    "splits": merged("K.ops.add(*K.ops.split(x[0], 2, axis=1))", (4,)),
    "repeats": merged("K.ops.tile(x[0], (1, 2, 1)) + K.ops.repeat(x[0], 2, axis=1)", (3, 2)),
    "pads": merged("K.ops.pad(x[0], ((0, 0), (1, 2)))", (4,)),
    "takes": merged("K.ops.take(x[0], 2, axis=1) + K.ops.flip(x[0], axis=1)[:, 0]", (4,)),
    "argmax": merged("K.ops.argmax(x[0], axis=-1)", (4,)),
    "one_hot": "one_hot()",
    "dense_mixed": sequence("L.Dense(5, 'relu', dtype='mixed_float16')", "L.Dense(2)", shape=(4,)),
    "integers": "tokens(lambda t: L.Dense(2)(L.Embedding(7, 3)(t) * K.ops.cast(t > 2, 'float32')[..., None]))",
}
"""Name → expression over ``K`` (Keras), ``L`` (its layers) and the functions of ``_words``."""


def made(folder: Path, names: Iterable[str] = (), suffixes=(".keras", ".h5"), backend: str = "tensorflow") -> Path:
    """Have Keras write ``NAME.keras``, ``NAME.h5`` and ``NAME.npz`` for each model; all of them without names.

    What Keras itself refuses to save is told in ``NAME.SUFFIX.refused``.
    """
    told = {"KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    words = [sys.executable, __file__, str(folder), ",".join(names or MODELS), ",".join(suffixes)]
    done = subprocess.run(words, env={**os.environ, **told}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def _words(keras) -> dict:
    layers = keras.layers

    def chain(x, *parts):
        y = x
        for part in parts:
            y = part(y)
        return keras.Model(x, y)

    def join(shapes, joined):
        x = [keras.Input(shape, name=f"x{place}") for place, shape in enumerate(shapes)]
        return keras.Model(x, joined(x))

    def states(layer):
        x = keras.Input((6, 4), name="x")
        return keras.Model(x, layer(x))

    def handed(make):
        x, y = keras.Input((6, 4), name="x"), keras.Input((3, 4), name="y")
        first = make()(x)
        return keras.Model([x, y], make()(y, initial_state=list(first[1:])))

    def masked_states():
        x, y = (keras.Input((6,), dtype="int32", name=name) for name in "xy")
        table = layers.Embedding(7, 4, mask_zero=True)
        _, *states = layers.LSTM(3, return_state=True)(table(x))
        steps = layers.LSTM(3, return_sequences=True)(table(y), initial_state=states)
        return keras.Model([x, y], [steps, layers.GRU(2)(steps)])

    def masked(attend):
        x = keras.Input((6,), dtype="int32", name="x")
        return keras.Model(x, attend(layers.Embedding(7, 4, mask_zero=True)(x)))

    def given(attend):
        x, m = keras.Input((5, 4), name="x"), keras.Input((5, 5), dtype="bool", name="m")
        return keras.Model([x, m], attend(x, m))

    def shared():
        x, y = keras.Input((4,), name="x"), keras.Input((4,), name="y")
        layer = layers.Dense(3, "tanh", name="both")
        return keras.Model([x, y], layers.Concatenate()([layer(x), layer(y)]))

    def inner():
        a = keras.Input((4,), name="a")
        return keras.Model(a, layers.Dense(4, "tanh", name="deep")(a), name="inner")

    def nested():
        x = keras.Input((4,), name="x")
        return keras.Model(x, layers.Dense(2)(inner()(x)))

    def nested_twice():
        x, used = keras.Input((4,), name="x"), inner()
        return keras.Model(x, [layers.Dense(2)(used(used(x))), used(x)])

    def sequential_in_functional():
        x = keras.Input((4,), name="x")
        block = keras.Sequential([layers.Dense(5, "relu"), layers.BatchNormalization(), layers.Dense(3)], name="block")
        return keras.Model(x, layers.Dense(2)(block(x)))

    def frozen():
        x = keras.Input((4,), name="x")
        block = keras.Sequential([layers.Dense(5), layers.BatchNormalization()], name="block")
        block.trainable = False
        return keras.Model(x, layers.Dense(2)(block(x)))

    def many_ends():
        x, y = keras.Input((4,), name="x"), keras.Input((3,), name="y")
        z = layers.Concatenate()([x, y])
        return keras.Model([x, y], [layers.Dense(2, name="p")(z), layers.Dense(1, "sigmoid", name="q")(z), z, x])

    def named_inputs():
        x = {"b": keras.Input((4,), name="b"), "a": keras.Input((3,), name="a")}
        z = layers.Concatenate()([x["b"], x["a"]])
        return keras.Model(x, {"second": layers.Dense(2, name="p")(z), "first": layers.Dense(1, name="q")(z)})

    def one_hot():
        x = keras.Input((3,), dtype="int32", name="x")
        return keras.Model(x, keras.ops.one_hot(x, 7))

    def tokens(drawn):
        x = keras.Input((3,), dtype="int32", name="x")
        return keras.Model(x, drawn(x))

    return {**locals(), "K": keras, "L": layers}


def _fill(model, chance) -> None:
    """Weights at random; what Keras calls a variance stays above nought."""
    for variable in model.weights:
        if variable.dtype.startswith("float"):
            drawn = chance.normal(size=variable.shape).astype(np.float32) * 0.5
            variable.assign(np.abs(drawn) + 0.5 if "variance" in variable.path else drawn)
    for layer in model.layers:
        if hasattr(layer, "finalize_state"):
            layer.finalize_state()


def _input(spec, chance):
    shape = tuple(length or 5 for length in spec.shape[1:])
    if spec.dtype == "bool":
        return chance.random((7, *shape)) > 0.4
    if spec.dtype.startswith(("int", "uint")):
        return chance.integers(0, 7, (7, *shape)).astype(spec.dtype)
    drawn = chance.normal(size=(7, *shape)).astype(np.float32)
    if len(shape) == 2:
        drawn[chance.random((7, shape[0])) < 0.25] = 0.0  # something for masks to hide
    return drawn


def _save(keras, name: str, folder: Path, suffixes: Iterable[str]) -> None:
    chance = np.random.default_rng(len(name))
    model = eval(MODELS[name], _words(keras))
    _fill(model, chance)
    inputs = {spec.name.split(":")[0]: _input(spec, chance) for spec in model.inputs}
    given = model.input if isinstance(getattr(model, "_inputs_struct", None), dict) else None
    asked = {key: inputs[spec.name] for key, spec in given.items()} if given else list(inputs.values())
    answers = model(asked if given or len(asked) > 1 else asked[0], training=False)
    answers = list(answers.values()) if isinstance(answers, dict) else keras.tree.flatten(answers)
    for suffix in suffixes:
        try:
            model.save_weights(folder / f"{name}{suffix}") if suffix == ".weights.h5" else model.save(
                folder / f"{name}{suffix}"
            )
        except Exception:  # noqa: BLE001 - Keras refuses with anything
            (folder / f"{name}{suffix}").unlink(missing_ok=True)
            (folder / f"{name}{suffix}.refused").write_text(traceback.format_exc())
    entries = {f"input/{key}": value for key, value in inputs.items()}
    arrays = [keras.ops.convert_to_numpy(answer) for answer in answers]
    np.savez(folder / f"{name}.npz", **entries, **{f"output/{place}": value for place, value in enumerate(arrays)})


if __name__ == "__main__":
    import keras as library

    library.utils.set_random_seed(0)
    failed = []
    for wanted in sys.argv[2].split(","):
        library.utils.clear_session()
        try:
            _save(library, wanted, Path(sys.argv[1]), sys.argv[3].split(","))
        except Exception:  # noqa: BLE001 - told at the end, all of them
            failed.append(f"{wanted}: {traceback.format_exc()}")
    if failed:
        sys.exit("\n".join(failed))
