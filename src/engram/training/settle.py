"""Deciding what ``[train]`` leaves open, each decision with its reason for the lock file.

The defaults follow the number of rows: a small table needs many passes and small batches, a large one few and large.
They were chosen on Adult, wine quality, digits, MNIST and CIFAR-10.
"""

from __future__ import annotations

import copy
import os
import time
from dataclasses import replace

import torch
from torch import Tensor, nn

from engram.errors import UnknownName, UsageError
from engram.plugins import nearest
from engram.records import Task
from engram.records.pipeline import TrainSection
from engram.training.losses import LOSSES
from engram.training.repeatable import repeatable

__all__ = ["faster", "settle"]

_LOSS = {"binary": "binary_cross_entropy", "multiclass": "cross_entropy", "regression": "mse"}
_PRECISIONS = ("float32", "bfloat16")


def settle(section: TrainSection, task: Task, *, rows: int, pictures: bool) -> tuple[TrainSection, dict[str, str]]:
    """The section with everything but threads and precision decided, and the reasons by place.

    Args:
        section: as written.
        task: what is learned.
        rows: of the training part.
        pictures: whether the inputs are images.

    Raises:
        UsageError: a value does not fit the task or this machine.
    """
    _fits(section, task)
    found: dict[str, tuple[object, str]] = {}
    if section.epochs is None:
        found["epochs"] = (_epochs(rows, pictures=pictures), f"{rows:,} training rows")
    if section.batch is None:
        found["batch"] = (_batch(rows, pictures=pictures), f"{rows:,} training rows")
    if not section.loss:
        found["loss"] = (_LOSS[task.kind], f"the target is {task.kind}")
    if not section.optimizer:
        rate = {"name": "adamw", "lr": 3e-3, "weight_decay": 0.05 if pictures else 0.01}
        found["optimizer"] = (rate, "steady on networks of this size")
    if not section.schedule:
        found["schedule"] = ({"name": "onecycle"}, "reaches its best in a fixed number of epochs")
    if not section.stop:
        found["stop"] = ({"watch": "validation.loss", "after": 0}, "a one-cycle schedule is best at its end")
    if section.ema is None:
        found["ema"] = (0.0, "a falling learning rate averages already")
    if not section.device:
        cuda = torch.cuda.is_available()
        found["device"] = ("cuda", "a GPU is there") if cuda else ("cpu", "no GPU is there")
    if not section.checkpoint:
        found["checkpoint"] = ({"steps": 0, "minutes": 1.0}, "at most a minute is lost")
    settled = replace(section, **{key: value for key, (value, _) in found.items()})  # type: ignore[arg-type]
    _available(settled.device)
    return settled, {f"train.{key}": reason for key, (_, reason) in found.items()}


def faster(section: TrainSection, network: nn.Module, shape: tuple[int, ...]) -> tuple[TrainSection, dict[str, str]]:
    """The section with threads and precision decided by trying a few steps on this machine, and the reasons.

    Both change the last bits of what is learned, so they are written into the lock file and never found twice. More
    threads than one must earn their keep: on a shared machine they wait for each other.

    Args:
        section: settled but for threads and precision.
        network: left as it is; a copy is tried.
        shape: of one batch of inputs, (batch, …).
    """
    if section.threads is not None and section.precision:
        return section, {}
    before, random = torch.get_num_threads(), torch.get_rng_state()
    trial = _Trial(copy.deepcopy(network), shape, section.device)
    try:
        with repeatable(torch.device(section.device)):
            threads, reasons = section.threads, dict[str, str]()
            if threads is None:
                threads, reasons["train.threads"] = _threads(trial, section.device)
            precision = section.precision
            if not precision:
                precision, reasons["train.precision"] = _precision(trial, threads)
    finally:
        torch.set_num_threads(before)
        torch.set_rng_state(random)
    return replace(section, threads=threads, precision=precision), reasons


class _Trial:
    """A copy of the network that takes a few steps on made-up inputs."""

    def __init__(self, network: nn.Module, shape: tuple[int, ...], device: str) -> None:
        self.convolves = any(isinstance(module, nn.Conv2d) for module in network.modules())
        self._network = network.to(device)
        self._inputs = torch.randn(shape, device=device)
        if self.convolves:
            self._network = self._network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            self._inputs = self._inputs.contiguous(memory_format=torch.channels_last)

    def seconds(self, *, threads: int, half: bool = False) -> float:
        """The fastest of some steps, the first of which warms up."""
        torch.set_num_threads(threads)
        best, end = float("inf"), time.perf_counter() + 0.5
        for step in range(20):
            start = time.perf_counter()
            with torch.autocast(self._inputs.device.type, torch.bfloat16, enabled=half):
                outputs: Tensor = self._network(self._inputs)
            outputs.float().square().mean().backward()  # type: ignore[no-untyped-call]
            if self._inputs.is_cuda:
                torch.cuda.synchronize()
            best = min(best, time.perf_counter() - start)
            if step >= 4 and time.perf_counter() > end:
                break
        return best


def _threads(trial: _Trial, device: str) -> tuple[int, str]:
    if device != "cpu":
        return 1, "the GPU computes"
    most = len(os.sched_getaffinity(0))
    if most == 1:
        return 1, "this process may use one processor"
    ratio = trial.seconds(threads=1) / trial.seconds(threads=most)
    if ratio > 1.25:
        return most, f"{ratio:.1f} × as fast as one thread on this machine"
    return 1, f"{most} threads are only {ratio:.2f} × as fast on this machine"


def _precision(trial: _Trial, threads: int) -> tuple[str, str]:
    if not trial.convolves:
        return "float32", "the network has no convolutions"
    ratio = trial.seconds(threads=threads) / trial.seconds(threads=threads, half=True)
    if ratio > 1.15:
        return "bfloat16", f"{ratio:.1f} × as fast as float32 on this machine"
    return "float32", f"bfloat16 is only {ratio:.2f} × as fast on this machine"


def _fits(section: TrainSection, task: Task) -> None:
    if section.loss and section.loss not in LOSSES:
        raise UnknownName(f"loss {section.loss!r} does not exist; {nearest(section.loss, LOSSES)}", place="train.loss")
    if section.loss and task.kind not in LOSSES[section.loss]:
        fitting = ", ".join(name for name, kinds in LOSSES.items() if task.kind in kinds)
        raise UsageError(f"loss {section.loss!r} does not fit a {task.kind} target; use {fitting}", place="train.loss")
    if section.precision and section.precision not in _PRECISIONS:
        raise UnknownName(
            f"precision {section.precision!r} does not exist; {nearest(section.precision, _PRECISIONS)}",
            place="train.precision",
        )


def _available(device: str) -> None:
    kind = device.partition(":")[0]
    if kind not in {"cpu", "cuda"}:
        raise UnknownName(f"device {device!r} does not exist; {nearest(device, ('cpu', 'cuda'))}", place="train.device")
    if kind == "cuda" and not torch.cuda.is_available():
        raise UsageError(
            'device = "cuda" is refused: torch sees no GPU here; install a CUDA build of torch or use device = "cpu"',
            place="train.device",
        )


def _epochs(rows: int, *, pictures: bool) -> int:
    most, seen = (60, 900_000) if pictures else (100, 240_000)
    return max(10, min(most, round(seen / max(rows, 1))))


def _batch(rows: int, *, pictures: bool) -> int:
    if pictures:
        return 128 if rows >= 5_000 else 32
    for batch, least in ((256, 20_000), (128, 5_000), (64, 1_000), (32, 200)):
        if rows >= least:
            return batch
    return 16
