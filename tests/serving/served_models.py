"""Four small models whose answers can be worked out by hand, and a real server of them when run as a program.

``income`` (a table, two classes), ``colors`` (pictures, three classes), ``rent`` (a table, one number) and ``plain``
(a network without raw columns).
"""

import sys
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import onnx

from engram.graphs.build import Builder
from engram.graphs.weights import detach
from engram.records import Model, Signature, TensorSpec
from engram.runtime import onnxruntime
from engram.serving.application import application
from engram.serving.limits import RequestLimits
from engram.serving.plane import DataPlane, Served
from engram.serving.server import serve

EXAMPLE = {"age": 39, "workclass": "Private", "member": True, "since": "1970-01-02"}


def income() -> Model:
    """The chance of '>50K' is sigmoid(0.1 age + 2 [Private] - [State-gov] + 0.5 member + days since 1970 - 4)."""
    inputs = (
        TensorSpec("age", "float64", ("batch",), "years", "number"),
        TensorSpec("workclass", "string", ("batch",), kind="category"),
        TensorSpec("member", "float64", ("batch",), kind="boolean"),
        TensorSpec("since", "float64", ("batch",), "seconds since 1970-01-01T00:00Z", "date"),
    )
    raw = Builder(inputs, "preprocessing")
    columns = [
        _number(raw, "age", fill=30.0, scale=1.0),
        raw.node("Cast", raw.node("Equal", _column(raw, "workclass"), raw.constant(["Private", "State-gov"])), to=1),
        _number(raw, "member", fill=0.0, scale=1.0),
        _number(raw, "since", fill=0.0, scale=86_400.0),
    ]
    raw.node("Concat", *columns, axis=1, name="features")
    spec = TensorSpec("features", "float32", ("batch", 5))
    output = TensorSpec("logit", "float32", ("batch", 1), kind="logit")
    weights = np.array([[0.1], [2.0], [-1.0], [0.5], [1.0]], np.float32)
    statistics = {
        "age": {"min": 17.0, "max": 90.0, "mean": 38.6, "examples": [39.0, 50.0]},
        "workclass": {"examples": ["Private", "State-gov"]},
    }
    return _model(
        _linear(spec, output, weights, [-4.0]), inputs, output, raw.finish([spec]), ("<=50K", ">50K"), statistics
    )


def colors() -> Model:
    """The logits are the means of the red, green and blue of a picture of any size."""
    picture = TensorSpec("image", "uint8", ("batch", "height", "width", 3), kind="image")
    raw = Builder([picture], "preprocessing")
    mean = raw.node("ReduceMean", raw.node("Cast", "image", to=1), raw.constant([1, 2], dtype="int64"), keepdims=0)
    raw.node("Div", mean, raw.constant(np.float32(255)), name="features")
    spec = TensorSpec("features", "float32", ("batch", 3))
    output = TensorSpec("logits", "float32", ("batch", 3), kind="logits")
    network = _linear(spec, output, np.eye(3, dtype=np.float32), [0.0, 0.0, 0.0])
    return _model(network, (picture,), output, raw.finish([spec]), ("red", "green", "blue"))


def rent() -> Model:
    """The rent is 12 an area and 100."""
    area = TensorSpec("area", "float64", ("batch",), "square meters", "number")
    raw = Builder([area], "preprocessing")
    raw.node("Identity", _number(raw, "area", fill=50.0, scale=1.0), name="features")
    spec = TensorSpec("features", "float32", ("batch", 1))
    output = TensorSpec("rent", "float32", ("batch", 1), kind="value")
    network = _linear(spec, output, np.array([[12.0]], np.float32), [100.0])
    return _model(network, (area,), output, raw.finish([spec]))


def plain() -> Model:
    """The output is the sum and the first of three numbers."""
    spec = TensorSpec("x", "float32", ("batch", 3))
    output = TensorSpec("y", "float32", ("batch", 2))
    weights = np.array([[1, 1], [1, 0], [1, 0]], np.float32)
    return _model(_linear(spec, output, weights, [0.0, 0.0]), (spec,), output)


def plane(limits: RequestLimits | None = None) -> DataPlane:
    """All four models behind one data plane, ``income`` first and in two versions."""
    made = [("income", "3", income()), ("colors", "1", colors()), ("rent", "7", rent()), ("plain", "", plain())]
    served = [Served(name, version, model, onnxruntime.open(model)) for name, version, model in made]
    older = replace(served[0], version="2")
    return DataPlane([*served, older], limits)


def _column(builder: Builder, name: str) -> str:
    return builder.node("Unsqueeze", name, builder.constant([1], dtype="int64"))


def _number(builder: Builder, name: str, fill: float, scale: float) -> str:
    filled = builder.node("Where", builder.node("IsNaN", name), builder.constant(fill, dtype="float64"), name)
    scaled = builder.node("Div", filled, builder.constant(scale, dtype="float64"))
    return builder.node("Cast", _column(builder, scaled), to=1)


def _linear(spec: TensorSpec, output: TensorSpec, weights: np.ndarray, biases: Sequence[float]) -> bytes:
    builder = Builder([spec], "network")
    matrix = builder.constant(weights, name="dense.weight")
    builder.node(
        "Gemm", spec.name, matrix, builder.constant(np.array(biases, np.float32), "dense.bias"), name=output.name
    )
    return builder.finish([output])


def _model(network, inputs, output, preprocessing=b"", labels=(), statistics=None) -> Model:
    graph, weights = detach(onnx.load_from_string(network))
    return Model(graph, weights, Signature(inputs, (output,)), preprocessing, labels, statistics=statistics or {})


if __name__ == "__main__":
    given = {key: float(value) for key, _, value in (word.partition("=") for word in sys.argv[1:])}
    port = int(given.pop("port", 0))
    whole = {key: value if key == "seconds" else int(value) for key, value in given.items()}
    chosen = RequestLimits(**whole)
    serve(application(plane(chosen)), port=port, limits=chosen, ready=lambda url: print(url, flush=True))  # noqa: T201 - how the test learns the port
