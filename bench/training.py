"""What the training loop costs over a loop written by hand in torch, with the same batches, optimizer and schedule.

Both sides must end in the same bits before anything is timed. They then take turns, and the ratio is of the medians of
their processor seconds, which other users of the machine disturb less than the clock on the wall. Where there is a GPU,
both train on it, and the clock on the wall is what counts.
"""

import json
import time
from collections.abc import Callable
from dataclasses import replace
from statistics import median

import numpy as np
import torch
from torch import nn

from engram.architectures._choose import choose
from engram.records import Signature, Task, TensorSpec
from engram.records.pipeline import ModelSection, TrainSection
from engram.training.feed import MemoryFeed, order
from engram.training.loop import Calls, Training
from engram.training.optimizers import rate_for
from engram.training.repeatable import repeatable
from engram.training.settle import settle

ROUNDS = 7
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
TASK = Task("multiclass", "label", tuple("0123456789"))
OUTPUTS = (TensorSpec("logits", "float32", ("batch", 10), kind="logits"),)


class Case:
    """One network with its data, ready to be trained by either side."""

    def __init__(self, name: str, kind: str, shape: tuple[int, ...], rows: int, section: TrainSection) -> None:
        self.name = name
        draw = np.random.default_rng(0)
        inputs = draw.normal(size=(rows, *shape)).astype(np.float32)
        self.feed = MemoryFeed(inputs, draw.integers(0, 10, rows), DEVICE)
        self.signature = Signature((TensorSpec("x", "float32", ("batch", *shape)),), OUTPUTS)
        self.kind = kind
        settled, _ = settle(section, TASK, rows=rows, pictures=len(shape) > 1)
        self.section = replace(settled, threads=torch.get_num_threads(), precision="float32")

    def network(self) -> nn.Module:
        """The network with its first weights, always the same."""
        torch.manual_seed(0)
        return choose(ModelSection(self.kind), self.signature, rows=20_000, folder=".")[0]

    def ours(self) -> nn.Module:
        """Train with Engram's loop, without validation and without a store, as the hand-written loop does."""
        run = Training(self.network(), {"train": self.feed}, task=TASK, section=self.section, calls=Calls())
        run.run()
        return run.network

    def by_hand(self) -> nn.Module:
        """Train with a loop as one would write it, counting loss and right answers as everyone does."""
        with repeatable(torch.device(DEVICE)):
            return self._trained_by_hand()

    def _trained_by_hand(self) -> nn.Module:
        network, section = self.network().to(DEVICE), self.section
        if any(isinstance(module, nn.Conv2d) for module in network.modules()):
            network = network.to(memory_format=torch.channels_last)
        rows, batch = len(self.feed), section.batch or 1
        batches = -(-rows // batch)
        groups = [
            {"params": [p for p in network.parameters() if p.ndim > 1]},
            {"params": [p for p in network.parameters() if p.ndim <= 1], "weight_decay": 0.0},
        ]
        optimizer = torch.optim.AdamW(groups, lr=3e-3, weight_decay=section.optimizer["weight_decay"], fused=True)
        rate = rate_for(section.schedule, steps=batches * (section.epochs or 1), epoch=batches)
        step, best, kept = 0, float("inf"), {}
        for epoch in range(section.epochs or 1):
            network.train()
            total = torch.zeros((), dtype=torch.float64, device=DEVICE)
            right = torch.zeros((), dtype=torch.int64, device=DEVICE)
            for chosen in torch.split(order(rows, seed=0, epoch=epoch).to(DEVICE), batch):
                for group in optimizer.param_groups:
                    group["lr"] = 3e-3 * rate.at(step)
                inputs, targets = self.feed.batch(chosen)
                optimizer.zero_grad(set_to_none=True)
                outputs = network(inputs)
                loss = nn.functional.cross_entropy(outputs, targets)
                loss.backward()
                optimizer.step()
                total += loss.detach() * len(chosen)
                right += (outputs.detach().argmax(1) == targets).sum()
                step += 1
            if float(total) < best:
                best = float(total)
                kept = {name: value.clone() for name, value in network.state_dict().items()}
        network.load_state_dict(kept)
        return network


def seconds(work: Callable[[], nn.Module]) -> float:
    """Processor seconds of this process for one training; on a GPU those of the clock, until it is done."""
    clock = time.process_time if DEVICE == "cpu" else time.perf_counter
    start = clock()
    work()
    if DEVICE == "cuda":
        torch.cuda.synchronize()
    return clock() - start


def main() -> None:
    """Compare, print a table, and one line of JSON."""
    cases = [
        Case("mlp, 20,000 rows × 236, batch 256", "mlp", (236,), 20_000, TrainSection(epochs=4)),
        Case("cnn, 2,000 images 3×32×32, batch 128", "cnn", (3, 32, 32), 2_000, TrainSection(epochs=2, batch=128)),
    ]
    ratios = {}
    unit = "CPU s" if DEVICE == "cpu" else "s"
    print("on", torch.cuda.get_device_name(0) if DEVICE == "cuda" else "CPU")
    print(f"{'network':<40} {f'ours, {unit}':>12} {f'by hand, {unit}':>15} {'ratio':>7}")
    for case in cases:
        ours, hand = case.ours().state_dict(), case.by_hand().state_dict()
        assert all(torch.equal(ours[name], hand[name]) for name in ours), f"{case.name}: the two loops differ"
        pairs = [(seconds(case.ours), seconds(case.by_hand)) for _ in range(ROUNDS)]
        mine, theirs = median(a for a, _ in pairs), median(b for _, b in pairs)
        ratios[case.name] = median(a / b for a, b in pairs)
        print(f"{case.name:<40} {mine:>12.3f} {theirs:>15.3f} {ratios[case.name]:>7.3f}", flush=True)
    print(json.dumps({"bench": "training", "figures": {"loop_vs_torch": round(max(ratios.values()), 3)}}))


if __name__ == "__main__":
    main()
