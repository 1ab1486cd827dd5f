"""The nine networks of the round trips, made in PyTorch, with rows to ask and to train them with.

Small, and with something in each that conversions lose: weights that are tied to nothing but their names, running
statistics that have moved, Dropout, gates in torch's own order, a second input, a second output.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from engram.records import Model, Signature, TensorSpec

__all__ = ["NETWORKS", "TorchNetwork", "exported"]

CLASSES = 3
STEPS = 6
FEATURES = 5
WORDS = 11


@dataclass(frozen=True, slots=True)
class TorchNetwork:
    """One of the nine.

    Attributes:
        module: its class, made without arguments.
        inputs: what it takes, in order; rows first.
        outputs: what it returns, in order.
    """

    module: Callable[[], nn.Module]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    def rows(self, count: int, seed: int = 0) -> tuple[Tensor, ...]:
        """Rows for every input; the same for the same seed."""
        generator = torch.Generator().manual_seed(1000 * seed + count)
        return tuple(_drawn(spec, count, generator) for spec in self.inputs)

    def made(self, seed: int = 0) -> nn.Module:
        """A new module in training mode, the same for the same seed, whose running statistics have moved.

        Draws from a generator of its own: the caller's random numbers stay as they are.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            module = self.module().train()
            with torch.no_grad():
                for count in (8, 9):
                    module(*self.rows(count, seed=seed + 77))
        return module


def _drawn(spec: TensorSpec, count: int, generator: torch.Generator) -> Tensor:
    shape = [count, *(axis for axis in spec.shape[1:] if isinstance(axis, int))]
    if spec.dtype == "int64":
        return torch.randint(0, WORDS, shape, generator=generator)
    return torch.randn(shape, generator=generator)


class Mlp(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(FEATURES, 16)
        self.norm = nn.LayerNorm(16)
        self.drop = nn.Dropout(0.2)
        self.last = nn.Linear(16, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.drop(nn.functional.gelu(self.norm(self.first(x)))))


class Cnn(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(8, 12, 3, padding=1, bias=False), nn.BatchNorm2d(12, eps=1e-3, momentum=0.3), nn.ReLU(),
            nn.AvgPool2d(2), nn.Dropout(0.3),
        )  # fmt: skip
        self.head = nn.Linear(12 * 4, CLASSES)

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.features(image).flatten(1))


class Block(nn.Module):
    def __init__(self, width: int, wider: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, wider, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(wider)
        self.conv2 = nn.Conv2d(wider, wider, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(wider)
        self.downsample = nn.Sequential(nn.Conv2d(width, wider, 1, stride, bias=False), nn.BatchNorm2d(wider))
        self.direct = stride == 1 and width == wider

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.direct else self.downsample(x)
        return torch.relu(self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x))))) + shortcut)


class ResNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(6)
        self.layer1 = nn.Sequential(Block(6, 8, 1), Block(8, 12, 2))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(12, CLASSES)

    def forward(self, image: Tensor) -> Tensor:
        return self.fc(self.pool(self.layer1(torch.relu(self.bn1(self.conv1(image))))).flatten(1))


class Lstm(nn.Module):
    """Two layers with Dropout between them, read at the last step."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.LSTM(FEATURES, 7, num_layers=2, dropout=0.2, batch_first=True)
        self.head = nn.Linear(7, CLASSES)

    def forward(self, series: Tensor) -> Tensor:
        return self.head(self.rnn(series)[0][:, -1])


class Gru(nn.Module):
    """One layer, read by its last state."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.GRU(FEATURES, 8, batch_first=True)
        self.head = nn.Linear(8, CLASSES)

    def forward(self, series: Tensor) -> Tensor:
        return self.head(self.rnn(series)[1][-1])


class Bidirectional(nn.Module):
    """Both directions, averaged over the steps."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.LSTM(FEATURES, 6, bidirectional=True, batch_first=True)
        self.head = nn.Linear(12, CLASSES)

    def forward(self, series: Tensor) -> Tensor:
        return self.head(self.rnn(series)[0].mean(1))


class Transformer(nn.Module):
    """An encoder of two layers over words and their places."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(WORDS, 16)
        self.places = nn.Parameter(torch.randn(STEPS, 16) * 0.1)
        layer = nn.TransformerEncoderLayer(16, 4, 32, dropout=0.1, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(16, CLASSES)

    def forward(self, words: Tensor) -> Tensor:
        return self.head(self.encoder(self.words(words) + self.places).mean(1))


class TwoInputs(nn.Module):
    """A row and a picture."""

    def __init__(self) -> None:
        super().__init__()
        self.row = nn.Linear(FEATURES, 8)
        self.picture = nn.Conv2d(3, 4, 3, 2, 1)
        self.head = nn.Linear(8 + 4 * 16, CLASSES)

    def forward(self, row: Tensor, image: Tensor) -> Tensor:
        picture = torch.relu(self.picture(image)).flatten(1)
        return self.head(torch.cat([torch.tanh(self.row(row)), picture], 1))


class TwoOutputs(nn.Module):
    """A class and a value from one trunk."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(FEATURES, 12), nn.BatchNorm1d(12), nn.SiLU())
        self.label = nn.Linear(12, CLASSES)
        self.amount = nn.Linear(12, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        shared = self.trunk(x)
        return self.label(shared), self.amount(shared)


_ROW = TensorSpec("x", "float32", ("batch", FEATURES))
_IMAGE = TensorSpec("image", "float32", ("batch", 3, 8, 8))
_SERIES = TensorSpec("series", "float32", ("batch", STEPS, FEATURES))
_WORDS = TensorSpec("words", "int64", ("batch", STEPS))
_LOGITS = TensorSpec("logits", "float32", ("batch", CLASSES), kind="logits")
_AMOUNT = TensorSpec("amount", "float32", ("batch", 1), kind="value")

NETWORKS: dict[str, TorchNetwork] = {
    "mlp": TorchNetwork(Mlp, (_ROW,), (_LOGITS,)),
    "cnn": TorchNetwork(Cnn, (_IMAGE,), (_LOGITS,)),
    "resnet": TorchNetwork(ResNet, (_IMAGE,), (_LOGITS,)),
    "lstm": TorchNetwork(Lstm, (_SERIES,), (_LOGITS,)),
    "gru": TorchNetwork(Gru, (_SERIES,), (_LOGITS,)),
    "bidirectional": TorchNetwork(Bidirectional, (_SERIES,), (_LOGITS,)),
    "transformer": TorchNetwork(Transformer, (_WORDS,), (_LOGITS,)),
    "two_inputs": TorchNetwork(TwoInputs, (TensorSpec("row", "float32", ("batch", FEATURES)), _IMAGE), (_LOGITS,)),
    "two_outputs": TorchNetwork(TwoOutputs, (_ROW,), (_LOGITS, _AMOUNT)),
}


def exported(name: str, seed: int = 0) -> Model:
    """One of the nine as canonical model, with the weights of ``NETWORKS[name].made(seed)``.

    Exporting takes seconds, so the graph is kept in a file; a test compares it with what our exporter makes.
    """
    network = NETWORKS[name]
    weights = {key: value.numpy() for key, value in network.made(seed).state_dict().items()}
    graph = kept_graph(name).read_bytes()
    return Model(graph, weights, Signature(network.inputs, network.outputs))


def kept_graph(name: str) -> Path:
    """The file of a network's canonical graph, without weights."""
    return Path(__file__).with_name("torch") / f"{name}.onnx"


def write() -> None:
    """Export all nine again, after the exporter or a network has changed."""
    from engram.formats._torch_export import export

    for name, network in NETWORKS.items():
        kept_graph(name).parent.mkdir(exist_ok=True)
        kept_graph(name).write_bytes(export(network.made(), network.inputs, network.outputs)[0])


if __name__ == "__main__":
    write()
