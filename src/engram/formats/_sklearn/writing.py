"""A network as an estimator that scikit-learn opens: a multilayer perceptron, or a linear model of one layer.

The objects are made by scikit-learn itself, given what was learned, and kept by its own tools. In a file of skops the
addresses of a process, which name nodes and arrays there, are counted from one, so that the same network gives the same
bytes.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy import ndarray

from engram.errors import ConversionError, MissingLibrary
from engram.graphs.compose import classes
from engram.graphs.walk import Step, steps
from engram.records import Model

__all__ = ["Layer", "chain", "refused", "saved"]

_ACTIVATIONS = {"Relu": "relu", "Tanh": "tanh", "Sigmoid": "logistic"}
_PASSED = frozenset({"Identity", "Dropout", "Cast"})
_EPOCH = (1980, 1, 1, 0, 0, 0)
_ADDRESS = re.compile(r'(?<="__id__": )\d+|\d+(?=\.npy")')


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """A layer of a chain: its kernel (inputs, units), its biases, and what follows them (empty for nothing)."""

    kernel: ndarray
    bias: ndarray
    activation: str = ""


def refused(model: Model) -> tuple[str, ...]:
    """What scikit-learn cannot hold of a model, in sentences."""
    found = []
    if model.preprocessing:
        found.append("preprocessing: an estimator is written for the numbers that preprocessing makes")
    if model.graph and any(step.operator == "Dropout" for step in steps(model.graph).nodes):
        found.append("Dropout: scikit-learn has none, so training on would go without")
    return tuple(found)


def saved(model: Model, path: Path) -> None:
    """Write an estimator in the form that the suffix says: skops, joblib, or a pickle.

    Raises:
        ConversionError: the network is no chain of dense layers with one activation.
        MissingLibrary: scikit-learn or skops is not installed.
    """
    made = _estimator(model, chain(model))
    if path.suffix.lower() == ".skops":
        _skops(made, path)
    elif path.suffix.lower() == ".joblib":
        import joblib

        joblib.dump(made, path)
    else:
        import pickle  # noqa: TID251 - written, and never read here

        path.write_bytes(pickle.dumps(made, protocol=4))


def chain(model: Model) -> list[Layer]:
    """The dense layers that a network is made of, the last without an activation.

    Raises:
        ConversionError: it is made of something else; the first node that does not belong is named.
    """
    if not model.graph:
        raise ConversionError("the model is weights without a graph; scikit-learn needs the network")
    known = steps(model.graph)
    if len(known.inputs) != 1 or len(known.outputs) != 1:
        found = f"{len(known.inputs)} inputs and {len(known.outputs)} outputs"
        raise ConversionError(f"the network has {found}, where scikit-learn takes one of each; choose another format")
    layers: list[Layer] = []
    at = known.inputs[0]
    arrays: Mapping[str, ndarray] = {**known.constants, **model.weights}
    turned = {step.outputs[0]: arrays[step.inputs[0]].T for step in known.nodes if _turns(step, arrays)}
    for step in known.nodes:
        if step.outputs[0] in turned:
            continue
        if at not in step.inputs:
            raise _alien(step)
        _follow(layers, step, at, {**arrays, **turned})
        at = step.outputs[0]
    if not layers or at != known.outputs[0] or layers[-1].activation:
        raise ConversionError("the network is no chain of dense layers that ends in one, as scikit-learn's are")
    return layers


def _turns(step: Step, arrays: Mapping[str, ndarray]) -> bool:
    perm = step.attributes.get("perm", [1, 0])
    return step.operator == "Transpose" and step.inputs[0] in arrays and list(perm) == [1, 0]


def _follow(layers: list[Layer], step: Step, at: str, arrays: Mapping[str, ndarray]) -> None:
    """Take one more node into the chain."""
    if step.operator in _PASSED:
        return
    if step.operator in _ACTIVATIONS and layers and not layers[-1].activation:
        layers[-1] = Layer(layers[-1].kernel, layers[-1].bias, _ACTIVATIONS[step.operator])
        return
    others = [arrays[name] for name in step.inputs if name and name != at and name in arrays]
    if step.operator in {"Gemm", "MatMul"} and step.inputs[0] == at and others and others[0].ndim == 2:
        plain = step.attributes.get("alpha", 1.0) == 1.0 and step.attributes.get("beta", 1.0) == 1.0
        kernel = others[0].T if step.attributes.get("transB", 0) else others[0]
        if plain and not step.attributes.get("transA", 0):
            bias = others[1].reshape(-1) if len(others) > 1 else np.zeros(kernel.shape[1], kernel.dtype)
            layers.append(Layer(kernel, np.broadcast_to(bias, (kernel.shape[1],))))
            return
    is_bias = step.operator == "Add" and layers and not layers[-1].activation and not layers[-1].bias.any()
    if is_bias and others and others[0].size == layers[-1].bias.size:
        layers[-1] = Layer(layers[-1].kernel, others[0].reshape(-1))
        return
    raise _alien(step)


def _alien(step: Step) -> ConversionError:
    name = step.name or step.outputs[0]
    return ConversionError(
        f"node {name!r} is a {step.operator}, and scikit-learn has only chains of dense layers with one activation; "
        "choose another format"
    )


def _estimator(model: Model, layers: list[Layer]) -> Any:  # noqa: ANN401 - scikit-learn has no types
    try:
        from sklearn import linear_model, neural_network
        from sklearn.preprocessing import LabelBinarizer
    except ModuleNotFoundError as missing:
        raise MissingLibrary("format 'sklearn' writes with scikit-learn; pip install 'engram[sklearn]'") from missing
    spec, labels = model.signature.outputs[0], classes(model)
    hidden = {layer.activation for layer in layers[:-1]}
    if len(hidden) > 1:
        raise ConversionError(f"the network has the activations {', '.join(sorted(hidden))}; scikit-learn has one")
    if len(layers) == 1:
        return _linear(linear_model, layers[0], labels)
    kind = neural_network.MLPClassifier if labels else neural_network.MLPRegressor
    sizes = tuple(layer.kernel.shape[1] for layer in layers[:-1])
    made = kind(hidden_layer_sizes=sizes, activation=hidden.pop() or "identity")
    made.coefs_ = [np.array(layer.kernel) for layer in layers]
    made.intercepts_ = [np.array(layer.bias) for layer in layers]
    made.n_features_in_, made.n_layers_ = layers[0].kernel.shape[0], len(layers) + 1
    made.n_outputs_, made.n_iter_, made.t_ = layers[-1].kernel.shape[1], 0, 0
    made.out_activation_ = {"logit": "logistic", "logits": "softmax"}.get(spec.kind, "identity")
    if labels:
        if made.out_activation_ == "identity":
            raise ConversionError(f"output {spec.name!r} is {spec.kind}; scikit-learn's perceptrons answer with logits")
        made._label_binarizer = LabelBinarizer().fit(np.array(labels))  # noqa: SLF001 - as its own fit does
        made.classes_ = np.array(labels)
    return made


def _linear(library: Any, layer: Layer, labels: tuple[str, ...]) -> Any:  # noqa: ANN401 - scikit-learn has no types
    made = library.LogisticRegression() if labels else library.LinearRegression()
    kernel = np.ascontiguousarray(layer.kernel.T)
    single = len(kernel) == 1 and not labels
    made.coef_, made.intercept_ = (kernel[0] if single else kernel), np.array(layer.bias)[0 if single else slice(None)]
    made.n_features_in_ = layer.kernel.shape[0]
    if labels:
        made.classes_, made.n_iter_ = np.array(labels), np.array([0], np.int32)
    return made


def _skops(made: Any, path: Path) -> None:  # noqa: ANN401 - scikit-learn has no types
    try:
        import skops.io
    except ModuleNotFoundError as missing:
        raise MissingLibrary("files of skops are written with skops; pip install skops") from missing
    part = path.with_name(f"{path.name}.part")
    skops.io.dump(made, part, compression=zipfile.ZIP_STORED)
    with zipfile.ZipFile(part) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    part.unlink()
    schema = members.pop("schema.json").decode()
    numbers: dict[str, str] = {}
    renamed = _ADDRESS.sub(lambda found: numbers.setdefault(found[0], str(len(numbers) + 1)), schema)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(zipfile.ZipInfo("schema.json", _EPOCH), renamed)
        for name, content in sorted(members.items(), key=lambda one: int(numbers[one[0].removesuffix(".npy")])):
            archive.writestr(zipfile.ZipInfo(f"{numbers[name.removesuffix('.npy')]}.npy", _EPOCH), content)
