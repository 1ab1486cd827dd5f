"""How many bytes a series of versions takes, of a network that is really trained: a ResNet-18 on CIFAR-10.

Plain are the bytes of every version by itself, stored those of the store's folder without its catalog. What comes
back is compared bit for bit with what was given.
"""

import copy
import hashlib
import io
import itertools
import os
import zipfile
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path

import numpy as np
import torch
from _measured import line
from _speed import fresh
from PIL import Image
from torch import Tensor, nn

from engram.records import Model, Signature
from engram.store.store import Store

Figures = dict[str, float]
Batches = list[tuple[Tensor, Tensor]]
IMAGES = 3_200
BATCH = 64
RANK = 8
KEPT = 6
LONG = 10


class Block(nn.Module):
    """Two convolutions and a way around them."""

    def __init__(self, given: int, made: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(given, made, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(made)
        self.conv2 = nn.Conv2d(made, made, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(made)
        plain = stride == 1 and given == made
        self.downsample = (
            nn.Identity()
            if plain
            else nn.Sequential(nn.Conv2d(given, made, 1, stride, bias=False), nn.BatchNorm2d(made))
        )

    def forward(self, x: Tensor) -> Tensor:
        inner = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return torch.relu(inner + self.downsample(x))


class ResNet(nn.Module):
    """ResNet-18 with torchvision's names and 11 million parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        widths = [64, 64, 128, 256, 512]
        for number, (given, made) in enumerate(itertools.pairwise(widths), start=1):
            stage = nn.Sequential(Block(given, made, 1 if number == 1 else 2), Block(made, made, 1))
            self.add_module(f"layer{number}", stage)
        self.fc = nn.Linear(512, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.max_pool2d(torch.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        for number in range(1, 5):
            x = getattr(self, f"layer{number}")(x)
        return self.fc(x.mean((2, 3)))


class Adapted(nn.Module):
    """A convolution that stays as it is, with a learned one of low rank beside it."""

    def __init__(self, base: nn.Conv2d) -> None:
        super().__init__()
        self.base = base
        self.lora_a = nn.Conv2d(base.in_channels, RANK, base.kernel_size, base.stride, base.padding, bias=False)
        self.lora_b = nn.Conv2d(RANK, base.out_channels, 1, bias=False)
        nn.init.zeros_(self.lora_b.weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + self.lora_b(self.lora_a(x))


def series(folder: Path, *, huge: bool) -> Figures:  # noqa: ARG001 - all sections are called alike
    """Four series: a frozen body with a new head, adapters, and all of a network in fp32 and in bf16."""
    torch.manual_seed(0)
    batches = _cifar()
    trained = ResNet()
    _train(trained, batches, 1e-3)
    print(f"\nseries of a ResNet-18 on CIFAR-10 ({KEPT} versions, or {LONG} checkpoints of a whole training)")
    return {
        "dedup_frozen": _versions(fresh(folder), _frozen(trained), batches),
        "dedup_lora": _versions(fresh(folder), _adapted(trained), batches),
        "dedup_fp32": _checkpoints(fresh(folder), torch.float32, batches),
        "dedup_bf16": _checkpoints(fresh(folder), torch.bfloat16, batches),
    }


def _frozen(trained: ResNet) -> nn.Module:
    network = copy.deepcopy(trained).requires_grad_(requires_grad=False)
    network.fc = nn.Linear(512, 10)
    return network


def _adapted(trained: ResNet) -> nn.Module:
    network = copy.deepcopy(trained).requires_grad_(requires_grad=False)
    for name, module in list(network.named_modules()):
        if isinstance(module, nn.Conv2d):
            holder, _, own = name.rpartition(".")
            network.get_submodule(holder)._modules[own] = Adapted(module)  # noqa: SLF001 - add_module refuses digits
    network.fc = nn.Linear(512, 10)
    return network


def _versions(store: Store, network: nn.Module, batches: Batches) -> float:
    """Keep a version after each part of an epoch, the frozen body in evaluation mode as its statistics are frozen."""
    given, before = [], _accuracy(network, batches)
    learned = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(learned, lr=1e-3)
    for part in range(KEPT):
        _steps(network.eval(), optimizer, batches[part::KEPT])
        weights = {name: value.detach().numpy().copy() for name, value in network.state_dict().items()}
        store.keep("network", Model(b"", weights, Signature((), ())))
        given.append(_digest(weights))
    assert _accuracy(network, batches) > before, "the network has learned nothing"
    assert [_digest(store.load(f"network:{n + 1}", verify=True).weights) for n in range(KEPT)] == given
    plain = sum(version.size for version in store.versions())
    share = sum(parameter.numel() for parameter in learned) / sum(p.numel() for p in network.parameters())
    return _reached(f"{KEPT} versions, of which {share:.1%} is learned", plain, store)


def _checkpoints(store: Store, kind: torch.dtype, batches: Batches) -> float:
    """Checkpoints over a whole training with AdamW and a cosine, whose older ones become differences."""
    torch.manual_seed(1)
    network = ResNet().to(kind)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
    whole = [batch for _ in range(2) for batch in batches]
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-3, total_steps=len(whole))
    given = []
    for part in range(LONG):
        now = whole[part * len(whole) // LONG : (part + 1) * len(whole) // LONG]
        loss = _steps(network.train(), optimizer, now, schedule.step)
        run = store.checkpoint(
            network,
            optimizer,
            step=(part + 1) * len(now),
            metrics={"loss": loss},
            name="network",
            hold="all",
            wait=True,
        )
        given.append(_bits(network))
    store.close()
    store.sweep(grace=timedelta(0))
    saved = store.checkpoints(run)[::-1]
    assert len(saved) == LONG
    assert [_digest(store.read(one).weights) for one in saved] == given, "a checkpoint came back as another"
    plain = sum(one.size for one in saved)
    title = f"{LONG} checkpoints in {str(kind).removeprefix('torch.')}, weights and AdamW's state"
    return _reached(title, plain, store)


def _reached(title: str, plain: int, store: Store) -> float:
    paths = [path for path in store.folder.rglob("*") if path.is_file() and not path.name.startswith("catalog")]
    stored = sum(path.stat().st_size for path in paths)
    line(title, f"{plain / 1e6:.0f} MB in {stored / 1e6:.0f} MB, {plain / stored:.2f}")
    return plain / stored


def _train(network: nn.Module, batches: Batches, rate: float) -> None:
    _steps(network.train(), torch.optim.AdamW(network.parameters(), lr=rate), batches)


def _steps(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: Batches,
    after: Callable[[], object] = lambda: None,
) -> float:
    """One step a batch; the loss of the last."""
    kind = next(network.parameters()).dtype
    loss = torch.zeros(())
    for images, labels in batches:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(network(images.to(kind)).float(), labels)
        loss.backward()
        optimizer.step()
        after()
    return loss.item()


def _accuracy(network: nn.Module, batches: Batches) -> float:
    network.eval()
    with torch.no_grad():
        right = [float((network(images).argmax(1) == labels).float().mean()) for images, labels in batches[::10]]
    return sum(right) / len(right)


def _bits(network: nn.Module) -> str:
    """The digest of a module's tensors; bfloat16 by way of its bits."""
    return _digest(
        {
            name: (value.view(torch.int16) if value.dtype == torch.bfloat16 else value).detach().numpy()
            for name, value in network.state_dict().items()
        }
    )


def _digest(arrays: Mapping[str, np.ndarray]) -> str:
    seen = hashlib.sha256()
    for name in sorted(arrays):
        seen.update(name.encode() + np.ascontiguousarray(arrays[name]).tobytes())
    return seen.hexdigest()


def _cifar() -> Batches:
    """Batches of CIFAR-10's training images, normalized, in an order from a seed."""
    places = [os.environ.get("ENGRAM_DATA"), Path(__file__).resolve().parents[2] / "shared" / "data"]
    found = next(
        (Path(place) / "cifar10.zip" for place in places if place and Path(place, "cifar10.zip").exists()), None
    )
    if found is None:
        raise SystemExit("cifar10.zip is nowhere; set ENGRAM_DATA to the folder that has it")
    with zipfile.ZipFile(found) as packed:
        names = sorted(name for name in packed.namelist() if name.startswith("train/") and name.endswith(".jpg"))
        classes = sorted({name.split("/")[1] for name in names})
        chosen = [names[n] for n in np.random.default_rng(0).permutation(len(names))[:IMAGES]]
        images = np.stack([np.asarray(Image.open(io.BytesIO(packed.read(name)))) for name in chosen])
    inputs = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255 * 4 - 2
    labels = torch.tensor([classes.index(name.split("/")[1]) for name in chosen])
    return list(zip(inputs.split(BATCH), labels.split(BATCH), strict=True))
