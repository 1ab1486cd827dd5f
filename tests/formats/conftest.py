"""Small models of every kind that a format must carry, and the laws they are held to."""

from collections.abc import Callable, Mapping

import numpy as np
import onnx
import pytest
from numpy import ndarray

from engram.graphs.build import Builder
from engram.graphs.weights import detach
from engram.records import Model, Signature, TensorSpec

BATCH = "batch"


def network(inputs: list[TensorSpec], outputs: list[TensorSpec], draw: Callable[[Builder], None], seed: int = 0):
    """Graph and weights of a network that `draw` draws."""
    builder = Builder(inputs, name="network")
    draw(builder)
    return detach(onnx.ModelProto.FromString(builder.finish(outputs)))


class Numbers:
    """Random numbers in the shapes that layers want; always the same ones."""

    def __init__(self, seed: int = 0) -> None:
        self.generator = np.random.default_rng(seed)

    def __call__(self, *shape: int) -> ndarray:
        return (self.generator.normal(size=shape) * 0.4).astype(np.float32)


def plain(spec: TensorSpec) -> TensorSpec:
    return TensorSpec(spec.name, spec.dtype, spec.shape)


def assemble(inputs, outputs, draw, **more) -> Model:
    graph, weights = network([plain(s) for s in inputs], [plain(s) for s in outputs], draw)
    weights |= more.pop("idle", {})
    raw = more.pop("raw", inputs)
    return Model(graph, weights, Signature(tuple(raw), tuple(outputs)), **more)


def binary() -> Model:
    """An MLP for two classes whose input is a plain tensor."""
    numbers = Numbers(1)

    def draw(b: Builder) -> None:
        made = b.node("Gemm", "x", b.constant(numbers(8, 4), "0.weight"), b.constant(numbers(8), "0.bias"), transB=1)
        made = b.node("Dropout", b.node("Relu", made), b.constant(np.float32(0.2)))
        b.node(
            "Gemm", made, b.constant(numbers(1, 8), "3.weight"), b.constant(numbers(1), "3.bias"), transB=1, name="y"
        )

    return assemble(
        [TensorSpec("x", "float32", (BATCH, 4))],
        [TensorSpec("y", "float32", (BATCH, 1), kind="logit")],
        draw,
        labels=("no", "yes"),
        source={"framework": "by hand"},
    )


def table() -> Model:
    """An MLP for a number behind preprocessing of a number with gaps and a category, with a scaled output."""
    numbers = Numbers(2)
    raw = [
        TensorSpec("age", "float64", (BATCH,), unit="years", kind="number"),
        TensorSpec("work class", "string", (BATCH,), kind="category"),
    ]
    before = Builder(raw, name="preprocessing")
    gap = before.node("IsNaN", "age")
    filled = before.node("Where", gap, before.constant(38.5), "age")
    scaled = before.node("Div", before.node("Sub", filled, before.constant(38.5)), before.constant(13.25))
    column = before.node("Unsqueeze", before.node("Cast", scaled, to=1), before.constant([1], dtype="int64"))
    place = before.node(
        "LabelEncoder",
        "work class",
        domain="ai.onnx.ml",
        keys_strings=["private", "état", "self-emp"],
        values_int64s=[0, 1, 2],
        default_int64=3,
    )
    depth, values = before.constant(4, dtype="int64"), before.constant(np.array([0, 1], np.float32))
    before.node("Concat", column, before.node("OneHot", place, depth, values), axis=1, name="features")

    def draw(b: Builder) -> None:
        made = b.node(
            "Gemm", "features", b.constant(numbers(6, 5), "in.weight"), b.constant(numbers(6), "in.bias"), transB=1
        )
        made = b.node("Tanh", made)
        made = b.node(
            "Gemm", made, b.constant(numbers(1, 6), "out.weight"), b.constant(numbers(1), "out.bias"), transB=1
        )
        b.node("Add", b.node("Mul", made, b.constant(numbers(1), "scale")), b.constant(numbers(1), "offset"), name="v")

    features = TensorSpec("features", "float32", (BATCH, 5))
    return assemble(
        [features],
        [TensorSpec("v", "float32", (BATCH, 1), kind="value", unit="USD")],
        draw,
        raw=raw,
        preprocessing=before.finish([features]),
        statistics={
            "age": {"min": 17.0, "max": 90.0, "mean": 38.5, "std": 13.25, "examples": [25.0, 38.0]},
            "work class": {"values": [["private", 10], ["état", 3], ["self-emp", 1]], "examples": ["private"]},
        },
    )


def pictures() -> Model:
    """A CNN with BatchNormalization, pooling and Dropout, and a counter that the graph does not use."""
    numbers = Numbers(3)

    def draw(b: Builder) -> None:
        made = b.node("Conv", "image", b.constant(numbers(4, 1, 3, 3), "features.0.weight"), pads=[1, 1, 1, 1])
        norm = [
            b.constant(abs(numbers(4)) + 0.5, f"features.1.{name}")
            for name in ("weight", "bias", "running_mean", "running_var")
        ]
        made = b.node("Relu", b.node("BatchNormalization", made, *norm, epsilon=1e-5, momentum=0.9))
        made = b.node("MaxPool", made, kernel_shape=[2, 2], strides=[2, 2])
        made = b.node("Reshape", made, b.constant([-1, 64], dtype="int64"))
        made = b.node("Dropout", made, b.constant(np.float32(0.5)))
        head = [b.constant(numbers(3, 64), "head.weight"), b.constant(numbers(3), "head.bias")]
        b.node("Gemm", made, *head, transB=1, name="logits")

    return assemble(
        [TensorSpec("image", "float32", (BATCH, 1, 8, 8))],
        [TensorSpec("logits", "float32", (BATCH, 3), kind="logits")],
        draw,
        labels=("cat", "dog", "naïve 東京"),
        idle={"features.1.num_batches_tracked": np.array(7, dtype=np.int64)},
    )


def residual() -> Model:
    """A network with a shortcut and a shared weight, which is no list of layers."""
    numbers = Numbers(4)

    def draw(b: Builder) -> None:
        weight = b.constant(numbers(5, 5), "block.weight")
        made = b.node("Relu", b.node("MatMul", "x", weight))
        made = b.node("Add", b.node("MatMul", made, weight), "x")
        b.node("Softmax", made, axis=-1, name="p")

    return assemble(
        [TensorSpec("x", "float32", (BATCH, 5))],
        [TensorSpec("p", "float32", (BATCH, 5), kind="probabilities")],
        draw,
        labels=tuple("abcde"),
    )


MAKERS: Mapping[str, Callable[[], Model]] = {
    "binary": binary,
    "table": table,
    "pictures": pictures,
    "residual": residual,
}


@pytest.fixture(scope="session")
def models() -> dict[str, Model]:
    """The models by name; they are immutable."""
    return {name: make() for name, make in MAKERS.items()}


@pytest.fixture(params=list(MAKERS))
def model(request: pytest.FixtureRequest, models: dict[str, Model]) -> Model:
    """Each of the models in turn."""
    return models[request.param]
