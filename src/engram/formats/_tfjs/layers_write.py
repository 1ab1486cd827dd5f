"""A network that came from Keras as a layers model of TensorFlow.js: its description in the words of Keras 2.

TensorFlow.js reads what Keras 2 wrote. Keras 3 says the same with modules, policies of types and calls with arguments;
here that is said the older way. Only layers and settings that TensorFlow.js computes alike are let through: where one
is not among them, the network leaves as a graph model.

Source: tfjs-layers/src/layers, release 4.22.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from engram.errors import ConversionError
from engram.formats._keras import config as configs
from engram.formats._keras import write as writing
from engram.records import Model

__all__ = ["topology"]

_SETTINGS: Mapping[str, str] = {
    "Activation": "activation",
    "Add": "",
    "Average": "",
    "AveragePooling1D": "pool_size strides padding data_format",
    "AveragePooling2D": "pool_size strides padding data_format",
    "BatchNormalization": "axis momentum epsilon center scale",
    "Bidirectional": "layer merge_mode",
    "Concatenate": "axis",
    "Conv1D": "filters kernel_size strides padding data_format dilation_rate activation use_bias",
    "Conv2D": "filters kernel_size strides padding data_format dilation_rate activation use_bias",
    "Conv2DTranspose": "filters kernel_size strides padding data_format activation use_bias",
    "Cropping2D": "cropping data_format",
    "Dense": "units activation use_bias",
    "Dropout": "rate",
    "ELU": "alpha",
    "Embedding": "input_dim output_dim",
    "Flatten": "",
    "GRU": "units activation recurrent_activation use_bias return_sequences go_backwards reset_after",
    "GaussianDropout": "rate",
    "GaussianNoise": "stddev",
    "GlobalAveragePooling1D": "",
    "GlobalAveragePooling2D": "data_format",
    "GlobalMaxPooling1D": "",
    "GlobalMaxPooling2D": "data_format",
    "InputLayer": "batch_input_shape sparse",
    "LSTM": "units activation recurrent_activation use_bias return_sequences go_backwards",
    "LayerNormalization": "axis epsilon center scale",
    "LeakyReLU": "alpha",
    "MaxPooling1D": "pool_size strides padding data_format",
    "MaxPooling2D": "pool_size strides padding data_format",
    "Maximum": "",
    "Minimum": "",
    "Multiply": "",
    "Permute": "dims",
    "ReLU": "max_value",
    "RepeatVector": "n",
    "Reshape": "target_shape",
    "SeparableConv2D": "filters kernel_size strides padding depth_multiplier data_format activation use_bias",
    "SimpleRNN": "units activation use_bias return_sequences go_backwards",
    "Softmax": "axis",
    "UpSampling2D": "size data_format",
    "ZeroPadding2D": "padding data_format",
}
"""Layer → what TensorFlow.js knows of its settings and what decides about its answer."""
_ACTIVATIONS = {
    "elu": "elu", "linear": "linear", "relu": "relu", "relu6": "relu6", "selu": "selu", "sigmoid": "sigmoid",
    "silu": "swish", "softmax": "softmax", "softplus": "softplus", "softsign": "softsign", "swish": "swish",
    "tanh": "tanh",
}  # fmt: skip
_OTHER_NAMES = {"negative_slope": "alpha", "batch_shape": "batch_input_shape"}
_PLAIN: Mapping[str, tuple[Any, ...]] = {
    "data_format": ("channels_last",), "dilation_rate": (1, [1], [1, 1]), "go_backwards": (False,), "groups": (1,),
    "interpolation": ("nearest",), "keepdims": (False,), "mask_zero": (False,), "negative_slope": (0, 0.0),
    "noise_shape": (None,), "output_padding": (None,), "padding": ("valid", "same"), "return_state": (False,),
    "rms_scaling": (False,), "reset_after": (False,), "stateful": (False,), "threshold": (0, 0.0), "unroll": (False,),
    "lora_rank": (None,), "supports_masking": (True, False), "sparse": (False,),
}  # fmt: skip
"""Setting → the values with which TensorFlow.js answers as Keras does; whatever is not here may have any."""
_FREE: Mapping[str, frozenset[str]] = {
    "Conv2D": frozenset({"dilation_rate"}), "Conv1D": frozenset({"dilation_rate"}),
    "LeakyReLU": frozenset({"negative_slope"}), "ZeroPadding2D": frozenset({"padding"}),
}  # fmt: skip
_LAST = (-1, [-1])
_ONLY: Mapping[tuple[str, str], tuple[Any, ...]] = {
    ("BatchNormalization", "axis"): _LAST,
    ("ELU", "alpha"): (1, 1.0),
    ("LayerNormalization", "axis"): _LAST,
    ("Softmax", "axis"): _LAST,
}
"""The same for a setting of one layer alone."""
_NAME = re.compile(r"[A-Za-z0-9.][-A-Za-z0-9_./]*")
_WEIGHTY = ("kernel", "recurrent", "bias", "depthwise", "pointwise", "beta", "gamma", "moving_mean",
            "moving_variance", "embeddings")  # fmt: skip


def topology(model: Model) -> dict[str, Any]:
    """What ``modelTopology`` of a layers model is.

    Raises:
        ConversionError: the model did not come from Keras, is another network by now, or has a layer or a setting that
            TensorFlow.js does not have.
    """
    own = writing.own(model)
    if own is None:
        raise ConversionError("the network did not come from Keras or was changed since; write it as a graph model")
    network = configs.network(own.config, "the config")
    said = own.config["config"]
    layers = said if isinstance(said, list) else said["layers"]
    if network.kind == "Sequential":
        listed = [_layer(one, calls=False) for one in layers]
        _begun(listed, network)
        made: dict[str, Any] = {"name": network.name, "layers": listed}
    else:
        made = {"name": network.name, "layers": [_layer(one, calls=True) for one in layers]}
        for key, ends in (("input_layers", network.inputs), ("output_layers", network.outputs)):
            made[key] = [[end.layer, end.call, end.place] for _, end in ends]
    config = {"class_name": "Sequential" if network.kind == "Sequential" else "Functional", "config": made}
    return {"keras_version": "2.13.1", "backend": "tensorflow", "model_config": config}


def _begun(listed: list[dict[str, Any]], network: configs.Network) -> None:
    """Give a Sequential without an input the shape that its first layer takes."""
    if listed and listed[0]["class_name"] != "InputLayer":
        first = network.layers[0]
        listed[0]["config"]["batch_input_shape"] = list(first.settings["batch_shape"])


def _layer(found: Mapping[str, Any], *, calls: bool) -> dict[str, Any]:
    """A layer in the words of Keras 2."""
    layer = configs.layer(found, "the config")
    if layer.kind not in _SETTINGS or layer.operation:
        raise ConversionError(f"the layer {layer.name!r} is a {layer.kind}, which TensorFlow.js does not have")
    settings = layer.settings
    if not _NAME.fullmatch(layer.name):
        raise ConversionError(f"the layer {layer.name!r} has a name that TensorFlow.js does not take")
    for key, value in settings.items():
        usual = _ONLY.get((layer.kind, key), _PLAIN.get(key))
        if usual is not None and value not in usual and key not in _FREE.get(layer.kind, ()):
            raise ConversionError(
                f"the layer {layer.name!r} ({layer.kind}) has {key} = {value!r}, which TensorFlow.js lacks"
            )
    made: dict[str, Any] = {"name": layer.name, "trainable": settings.get("trainable", True), "dtype": _type(layer)}
    made |= dict(_kept(layer))
    if not calls:
        return {"class_name": layer.kind, "config": made}
    nodes = [_call(call, layer) for call in layer.calls]
    return {"class_name": layer.kind, "config": made, "name": layer.name, "inbound_nodes": nodes}


def _kept(layer: configs.Layer) -> Iterator[tuple[str, Any]]:
    wanted = _SETTINGS[layer.kind].split()
    for key, value in layer.settings.items():
        name = _OTHER_NAMES.get(key, key)
        if name not in wanted:
            continue
        made = value
        if name in {"activation", "recurrent_activation"}:
            made = _activation(value, layer)
        elif name == "layer":
            _mirrored(layer)
            made = _layer(value, calls=False)
            made["config"]["name"] = made["config"]["name"].removeprefix("forward_")  # which TensorFlow.js puts before
        elif name == "axis" and isinstance(value, list):
            (made,) = value
        yield name, made
    for start in _WEIGHTY:  # what a weight is born with does not matter, since its numbers are loaded
        if f"{start}_initializer" in layer.settings:
            yield f"{start}_initializer", {"class_name": "Zeros", "config": {}}


def _mirrored(layer: configs.Layer) -> None:
    """Refuse a backward layer of its own: TensorFlow.js makes it from the forward one."""
    pair = (layer.settings.get("layer"), layer.settings.get("backward_layer"))
    if pair[1] is None:
        return
    ahead, back = (configs.layer(one, "the config") for one in pair)
    one, other = (dict(_kept(each)) | {"go_backwards": None} for each in (ahead, back))
    if ahead.kind != back.kind or one != other:
        raise ConversionError(f"the layer {layer.name!r} runs back by a layer of its own, which TensorFlow.js lacks")


def _type(layer: configs.Layer) -> str:
    found = layer.settings.get("dtype", "float32")
    if isinstance(found, Mapping):
        found = found.get("config", {}).get("name")
    if found not in {"float32", "int32"}:
        raise ConversionError(f"the layer {layer.name!r} computes in {found}, which TensorFlow.js does not have")
    return str(found)


def _activation(found: Any, layer: configs.Layer) -> str:  # noqa: ANN401 - whatever a description holds
    if isinstance(found, Mapping):
        found = found.get("config") if isinstance(found.get("config"), str) else found.get("class_name")
    if found is None:
        return "linear"
    if found not in _ACTIVATIONS:
        raise ConversionError(
            f"the layer {layer.name!r} has the activation {found!r}, which TensorFlow.js has otherwise"
        )
    return _ACTIVATIONS[found]


def _call(call: configs.Call, layer: configs.Layer) -> list[Any]:
    """A call as nested lists: each tensor is a layer, which call of it, and which output."""
    given = call.positional[0] if len(call.positional) == 1 else list(call.positional)
    tensors = given if isinstance(given, list) else [given]
    asked = {key: value for key, value in call.named.items() if value not in (None, False)}
    if asked or not all(isinstance(one, configs.Reference) for one in tensors):
        raise ConversionError(
            f"the layer {layer.name!r} is called with more than tensors, which a layers model cannot say"
        )
    return [[one.layer, one.call, one.place, {}] for one in tensors]
