"""How a gradient becomes a step, and the learning rate over the steps."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from engram.errors import UnknownName, UsageError
from engram.plugins import nearest, options

__all__ = ["OPTIMIZERS", "SCHEDULES", "Rate", "optimizer_for", "rate_for"]

_PLACE = "train.optimizer"


@dataclass(frozen=True, slots=True)
class Sgd:
    """``sgd``: steps against the gradient, with momentum."""

    lr: float = 0.05
    momentum: float = 0.9
    nesterov: bool = True
    weight_decay: float = 0.0


@dataclass(frozen=True, slots=True)
class Adam:
    """``adam``: steps scaled by running moments. Source: Kingma and Ba 2015."""

    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0


@dataclass(frozen=True, slots=True)
class AdamW:
    """``adamw``: Adam with decay apart from the gradient. Source: Loshchilov and Hutter 2019."""

    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 1e-2


@dataclass(frozen=True, slots=True)
class RmsProp:
    """``rmsprop``: steps scaled by a running mean square. Source: Tieleman and Hinton 2012."""

    lr: float = 1e-3
    alpha: float = 0.99
    momentum: float = 0.0
    eps: float = 1e-8
    weight_decay: float = 0.0


OPTIMIZERS: Mapping[str, type] = {"sgd": Sgd, "adam": Adam, "adamw": AdamW, "rmsprop": RmsProp}
# fused does the whole step in one kernel a tensor list; RMSprop has none
_CLASSES: Mapping[str, tuple[type[torch.optim.Optimizer], dict[str, Any]]] = {
    "sgd": (torch.optim.SGD, {"fused": True}),
    "adam": (torch.optim.Adam, {"fused": True}),
    "adamw": (torch.optim.AdamW, {"fused": True}),
    "rmsprop": (torch.optim.RMSprop, {"foreach": True}),
}


def optimizer_for(written: Mapping[str, Any], network: nn.Module) -> torch.optim.Optimizer:
    """The optimizer of ``[train] optimizer``; biases and norms (vectors) do not decay.

    Raises:
        UnknownName: no such optimizer, or it has no such key.
    """
    name = str(written.get("name", "adamw"))
    if name not in OPTIMIZERS:
        raise UnknownName(f"optimizer {name!r} does not exist; {nearest(name, OPTIMIZERS)}", place=_PLACE)
    record = options(OPTIMIZERS[name], {k: v for k, v in written.items() if k != "name"}, _PLACE)
    if not 0 < record.lr < math.inf:
        raise UsageError(f"[train] optimizer: lr = {record.lr} is refused: it is a number above 0", place=_PLACE)
    values = {key: getattr(record, key) for key in record.__slots__}
    if name == "sgd" and not record.momentum:
        values["nesterov"] = False
    made, how = _CLASSES[name]
    learned = [p for p in network.parameters() if p.requires_grad]
    if not learned:
        raise UsageError("the network has no weights to learn; check [model]", place="model")
    groups: list[dict[str, Any]] = [
        {"params": [p for p in learned if p.ndim > 1]},
        {"params": [p for p in learned if p.ndim <= 1], "weight_decay": 0.0},
    ]
    try:
        return made([group for group in groups if group["params"]], **values, **how)
    except ValueError as wrong:
        reason = str(wrong)[:1].lower() + str(wrong)[1:]
        raise UsageError(f"[train] optimizer {name} refuses: {reason}; correct it", place=_PLACE) from None


@dataclass(frozen=True, slots=True)
class Schedule:
    """Keys of ``[train] schedule`` beside its name.

    Attributes:
        warmup: share of all steps over which the rate rises from nearly nothing.
        every: epochs between two falls (``step``).
        factor: what a fall multiplies with (``step``), or what is left at the end (``cosine``, ``onecycle``).
    """

    warmup: float = 0.0
    every: int = 10
    factor: float = 0.1


@dataclass(frozen=True, slots=True)
class Rate:
    """The learning rate at each step, as a pure function of the step, so that there is no state to lose.

    Attributes:
        name: ``constant``, ``cosine``, ``step`` or ``onecycle``.
        steps: of the whole run.
        epoch: steps of one epoch.
        schedule: the rest.
    """

    name: str
    steps: int
    epoch: int
    schedule: Schedule

    def at(self, step: int) -> float:
        """What the learning rate is multiplied with at this step, counted from 0."""
        rise = int(self.schedule.warmup * self.steps)
        if step < rise:
            return 0.04 + 0.96 * (step + 1) / rise
        done = (step - rise) / max(self.steps - rise, 1)
        if self.name in {"cosine", "onecycle"}:
            left = self.schedule.factor
            return left + (1 - left) * (1 + math.cos(math.pi * min(done, 1.0))) / 2
        if self.name == "step":
            return float(self.schedule.factor ** (step // (self.epoch * self.schedule.every)))
        return 1.0


SCHEDULES: Mapping[str, Schedule] = {
    "constant": Schedule(),
    "cosine": Schedule(factor=0.0),
    "step": Schedule(),
    "onecycle": Schedule(warmup=0.25, factor=0.001),
}


def rate_for(written: Mapping[str, Any], *, steps: int, epoch: int) -> Rate:
    """The schedule of ``[train] schedule`` over so many steps; UnknownName if there is none of this name."""
    name = str(written.get("name", "constant"))
    if name not in SCHEDULES:
        raise UnknownName(f"schedule {name!r} does not exist; {nearest(name, SCHEDULES)}", place="train.schedule")
    usual = {key: getattr(SCHEDULES[name], key) for key in Schedule.__slots__}
    schedule = options(Schedule, {**usual, **{k: v for k, v in written.items() if k != "name"}}, "train.schedule")
    if not 0 <= schedule.warmup < 1 or schedule.every < 1:
        raise UsageError(
            f"[train] schedule: warmup = {schedule.warmup} must be a share from 0 to below 1 "
            f"and every = {schedule.every} at least 1",
            place="train.schedule",
        )
    return Rate(name, steps, epoch, schedule)
