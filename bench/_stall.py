"""How long training stands still for a checkpoint, and how slow the next steps are while it is written.

The network, its optimizer and the batch are such that a checkpoint has 151 MB and a step takes some tenths of a second.
Every side saves the same state; what the store saved is read back and compared. Where there is a GPU, it trains on it.
"""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from _measured import line
from _speed import emptied, fresh
from torch import nn

from engram.store.store import Store

ROUNDS = 7
STEPS = 3
WIDTH = 1_024
LAYERS = 12
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
BATCH = 131_072 if DEVICE == "cuda" else 256  # a step takes some tenths of a second on either
Save = Callable[[int], Callable[[], object]]


class Training:
    """A network that learns noise."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        layers = [module for _ in range(LAYERS) for module in (nn.Linear(WIDTH, WIDTH), nn.ReLU())]
        self.network = nn.Sequential(*layers).to(DEVICE)
        self.optimizer = torch.optim.AdamW(self.network.parameters(), lr=1e-4)
        self.inputs = torch.randn(BATCH, WIDTH, device=DEVICE)

    def steps(self) -> float:
        """Seconds for the next steps."""
        began = time.perf_counter()
        for _ in range(STEPS):
            self.optimizer.zero_grad()
            self.network(self.inputs).square().mean().backward()
            self.optimizer.step()
        _wait_for_device()
        return time.perf_counter() - began

    def state(self) -> dict[str, object]:
        """What is saved."""
        return {"network": self.network.state_dict(), "optimizer": self.optimizer.state_dict()}


def stall(folder: Path, *, huge: bool) -> dict[str, float]:  # noqa: ARG001 - all sections are called alike
    """Seconds in the call ÷ those in torch.save, and the next three steps ÷ the three before."""
    training, store = Training(), fresh(folder)
    training.steps()
    peers = emptied(folder / "peers")
    dist.init_process_group("gloo", init_method=f"file://{peers / 'meeting'}", rank=0, world_size=1)
    sides: dict[str, Save] = {
        "engram": lambda step: _engram(training, store, step),
        "torch.save": lambda _: _waited(partial(torch.save, training.state(), peers / "a.pt")),
        "torch DCP, async": lambda step: _dcp(training, peers / f"dcp-{step}"),
    }
    stalls: dict[str, list[float]] = {name: [] for name in sides}
    slower: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(ROUNDS + 1):
        for name, save in sides.items():
            before = training.steps()
            began = time.perf_counter()
            finish = save(number + 1)
            taken = time.perf_counter() - began
            after = training.steps()
            finish()
            if number:
                stalls[name].append(taken)
                slower[name].append(after / before)
    dist.destroy_process_group()
    _compare(training, store)
    size = store.checkpoints(store.runs()[0].id)[0].size
    where = torch.cuda.get_device_name(0) if DEVICE == "cuda" else "CPU"
    print(f"\ncheckpoints of {size / 1e6:.0f} MB, between steps of {before / STEPS * 1e3:.0f} ms on {where}")
    for name in sides:
        line(name, f"stands still {median(stalls[name]) * 1e3:.0f} ms, next steps × {median(slower[name]):.2f}")
    pairs = zip(stalls["engram"], stalls["torch.save"], strict=True)
    return {
        "stall_vs_torch_save": median(ours / theirs for ours, theirs in pairs),
        "steps_after_stall": median(slower["engram"]),
    }


def _wait_for_device() -> None:
    if DEVICE == "cuda":
        torch.cuda.synchronize()


def _engram(training: Training, store: Store, step: int) -> Callable[[], object]:
    store.checkpoint(training.network, training.optimizer, step=step, name="network")
    return store.flush


def _waited(work: Callable[[], object]) -> Callable[[], object]:
    work()
    return lambda: None


def _dcp(training: Training, place: Path) -> Callable[[], object]:
    return dcp.async_save(training.state(), checkpoint_id=place).result


def _compare(training: Training, store: Store) -> None:
    """Whether what comes back into another network and optimizer is what the training has."""
    store.checkpoint(training.network, training.optimizer, step=100, name="network", wait=True)
    other = Training()
    other.steps()
    store.restore(other.network, other.optimizer, name="network")
    for name, value in training.network.state_dict().items():
        assert torch.equal(value, other.network.state_dict()[name]), f"{name} came back as another"
    for mine, theirs in zip(training.network.parameters(), other.network.parameters(), strict=True):
        slots, found = training.optimizer.state[mine], other.optimizer.state[theirs]
        assert all(torch.equal(slots[slot], found[slot]) for slot in slots), "the optimizer came back as another"
