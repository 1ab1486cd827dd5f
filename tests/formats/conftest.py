"""Small models of every kind that a format must carry, and the laws they are held to."""

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import pytest
from numpy import ndarray

from engram.errors import ConversionError, MissingLibrary
from engram.formats import SHELF
from engram.formats._convert import write
from engram.formats._recognition import is_folder, usual_suffix
from engram.graphs.build import Builder
from engram.graphs.weights import detach
from engram.records import Certificate, Model, Signature, TensorSpec

BATCH = "batch"
NODE = Path(__file__).resolve().parents[2] / ".stamps" / "node"


HEAVY = {"hdf5", "keras", "pt2", "torchscript"}
"""Formats whose writing or proof starts a framework for five to ten seconds each time."""
QUICK = "pictures"
"""The model that the default run takes heavy formats through: it has most of what may be lost. The others go the same
way through the same code, and are for the long run."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The rest of the models of heavy formats is for the long run."""
    for item in items:
        given = getattr(getattr(item, "callspec", None), "params", {})
        if given.get("format_name") in HEAVY and given.get("model_name", QUICK) != QUICK:
            item.add_marker(pytest.mark.long)


@pytest.fixture(autouse=True, scope="session")
def _node() -> Iterator[None]:
    """TensorFlow.js is where ``make`` installed it, unless told otherwise."""
    with pytest.MonkeyPatch.context() as patch:
        if NODE.is_dir() and "ENGRAM_NODE" not in os.environ:
            patch.setenv("ENGRAM_NODE", str(NODE))
        yield


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
def model_name(request: pytest.FixtureRequest) -> str:
    """The name of each of the models in turn."""
    return request.param


@pytest.fixture
def model(model_name: str, models: dict[str, Model]) -> Model:
    """Each of the models in turn."""
    return models[model_name]


@dataclass(frozen=True)
class Made:
    """A model as a format wrote it."""

    path: Path
    certificate: Certificate

    def copy(self, folder: Path) -> Path:
        """The model alone, without its certificate, in another folder."""
        shutil.copytree(self.path.parent, folder, dirs_exist_ok=True)
        (folder / f"{self.path.name}.certificate.json").unlink()
        return folder / self.path.name


def main_file(seed: Path, module: ModuleType) -> Path:
    """What of a seed is read: itself, or of a folder of several files the one with the format's usual suffix."""
    if not seed.is_dir() or is_folder(module):
        return seed
    return next(file for file in sorted(seed.iterdir()) if file.name.endswith(module.SUFFIXES[0]))


class Shop:
    """Every model in every format, each written once, because some formats take seconds to prove one."""

    def __init__(self, folder: Path, models: Mapping[str, Model]) -> None:
        self.folder, self.models = folder, models
        self.kept: dict[tuple[str, str], Made | ConversionError | MissingLibrary] = {}

    def make(self, format_name: str, model_name: str) -> Made:
        """The model in this format; the test is skipped where the format cannot hold it or lacks a library."""
        if (format_name, model_name) not in self.kept:
            self.kept[format_name, model_name] = self._made(format_name, model_name)
        found = self.kept[format_name, model_name]
        if not isinstance(found, Made):
            pytest.skip(f"{format_name} has no {model_name}: {found}")
        return found

    def _made(self, format_name: str, model_name: str) -> Made | ConversionError | MissingLibrary:
        place = self.folder / format_name / model_name
        place.mkdir(parents=True)
        try:
            path = place / f"model{usual_suffix(format_name)}"
            return Made(path, write(self.models[model_name], path, to=format_name, seed=5))
        except (ConversionError, MissingLibrary) as refused:
            return refused


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory, models: dict[str, Model]) -> Shop:
    """Every model in every format, made when it is asked for."""
    return Shop(tmp_path_factory.mktemp("shop"), models)


@pytest.fixture(params=SHELF.names())
def format_name(request: pytest.FixtureRequest) -> str:
    """Each format on the shelf in turn; skipped where its libraries are not installed."""
    try:
        SHELF.take(request.param)
    except MissingLibrary as missing:
        pytest.skip(str(missing))
    return request.param
