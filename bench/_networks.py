"""The networks that are kept and loaded: the shapes of real ones, filled from a seed.

At 100 MB, fp32: ResNet-50 as torchvision builds it (102 MB, 320 tensors from 8 bytes to 9.4 MB, 267 of them under a
megabyte) and a Transformer of width 768 (101 MB, 53 tensors from 3 kB to 15.7 MB). The larger one is a Transformer
with ten times as many layers.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from engram.records import Model, Signature, TensorSpec

Shapes = Iterator[tuple[str, tuple[int, ...]]]
_STAGES = ((64, 3), (128, 4), (256, 6), (512, 3))


@dataclass(frozen=True)
class Network:
    """Weights under the names that torch gives them."""

    name: str
    weights: Mapping[str, np.ndarray]

    @property
    def size(self) -> int:
        """Bytes of the weights."""
        return sum(array.nbytes for array in self.weights.values())

    @property
    def model(self) -> Model:
        """As the store takes it; the graph is as long as that of a ResNet-50 in ONNX without weights."""
        signature = Signature((TensorSpec("x", "float32", ("batch", 8)),), (TensorSpec("y", "float32", ("batch", 8)),))
        return Model(b"graph" * 20_000, self.weights, signature)

    def change(self, number: int) -> None:
        """Make every tensor another one, as a step of training does."""
        for array in self.weights.values():
            array.reshape(-1)[:1] = number


def small() -> list[Network]:
    """Both of 100 MB."""
    return [filled("ResNet-50", _resnet()), filled("Transformer", _transformer(3, 5_120))]


def large() -> Network:
    """The one of 1 GB."""
    return filled("Transformer, 1 GB", _transformer(35, 5_120))


def filled(name: str, shapes: Shapes) -> Network:
    """Normal numbers in all shapes; a tensor without axes is a counter."""
    draw = np.random.default_rng(0)
    weights = {
        path: draw.standard_normal(shape, dtype=np.float32) if shape else np.array(1_000, np.int64)
        for path, shape in shapes
    }
    return Network(name, weights)


def _resnet() -> Shapes:
    yield "conv1.weight", (64, 3, 7, 7)
    yield from _normed("bn1", 64)
    wide = 64
    for stage, (width, blocks) in enumerate(_STAGES, start=1):
        for block in range(blocks):
            path = f"layer{stage}.{block}"
            for number, (size, given, made) in enumerate(
                ((1, wide, width), (3, width, width), (1, width, 4 * width)), 1
            ):
                yield f"{path}.conv{number}.weight", (made, given, size, size)
                yield from _normed(f"{path}.bn{number}", made)
            if block == 0:
                yield f"{path}.downsample.0.weight", (4 * width, wide, 1, 1)
                yield from _normed(f"{path}.downsample.1", 4 * width)
            wide = 4 * width
    yield "fc.weight", (1_000, 2_048)
    yield "fc.bias", (1_000,)


def _normed(path: str, width: int) -> Shapes:
    for name in ("weight", "bias", "running_mean", "running_var"):
        yield f"{path}.{name}", (width,)
    yield f"{path}.num_batches_tracked", ()


def _transformer(layers: int, words: int, width: int = 768) -> Shapes:
    yield "embedding.weight", (words, width)
    for layer in range(layers):
        path = f"layers.{layer}"
        for name, rows, columns in (
            ("q", width, width), ("k", width, width), ("v", width, width), ("out", width, width),
            ("up", 4 * width, width), ("down", width, 4 * width),
        ):  # fmt: skip
            yield f"{path}.{name}.weight", (rows, columns)
            yield f"{path}.{name}.bias", (rows,)
        for name in ("norm1", "norm2"):
            yield f"{path}.{name}.weight", (width,)
            yield f"{path}.{name}.bias", (width,)
    yield "norm.weight", (width,)
    yield "norm.bias", (width,)
