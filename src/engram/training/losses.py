"""What training makes small. Each loss takes the network's raw outputs and gives one number a row, weighted."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from engram.errors import UnknownName, UsageError
from engram.plugins import nearest
from engram.records import Task

__all__ = ["LOSSES", "Loss", "loss_for", "weights_for"]

LOSSES: Mapping[str, tuple[str, ...]] = {
    "cross_entropy": ("multiclass",),
    "binary_cross_entropy": ("binary",),
    "mse": ("regression",),
    "mae": ("regression",),
    "huber": ("regression",),
}

Loss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class _Entropy:
    """Cross-entropy of logits (batch, classes) with class numbers (batch,) or shares (batch, classes)."""

    weights: Tensor | None
    smoothing: float

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return functional.cross_entropy(outputs, targets, weight=self.weights, label_smoothing=self.smoothing)


@dataclass(frozen=True, slots=True)
class _BinaryEntropy:
    """Cross-entropy of one logit (batch, 1) with the chance of the second class (batch, 1)."""

    weights: Tensor | None
    smoothing: float

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        smooth = targets * (1 - self.smoothing) + self.smoothing / 2
        if self.weights is None:
            return functional.binary_cross_entropy_with_logits(outputs, smooth)
        each = self.weights[0] * (1 - targets) + self.weights[1] * targets
        return functional.binary_cross_entropy_with_logits(outputs, smooth, weight=each, reduction="sum") / each.sum()


def loss_for(name: str, *, weights: Tensor | None = None, smoothing: float = 0.0) -> Loss:
    """The loss of this name: (outputs, targets) → mean over the batch.

    Args:
        name: one of ``LOSSES``.
        weights: of each class, (classes,); only for classification.
        smoothing: share of the target spread over all classes.
    """
    if name == "cross_entropy":
        return _Entropy(weights, smoothing)
    if name == "binary_cross_entropy":
        return _BinaryEntropy(weights, smoothing)
    regressions: dict[str, Loss] = {
        "mse": functional.mse_loss,
        "mae": functional.l1_loss,
        "huber": functional.huber_loss,
    }
    if name not in regressions:
        raise UnknownName(f"loss {name!r} does not exist; {nearest(name, LOSSES)}", place="train.loss")
    return regressions[name]


def weights_for(wanted: str | Mapping[str, float], task: Task, targets: Tensor) -> Tensor | None:
    """The weight of each class, (classes,) float32, or None when all count the same.

    Args:
        wanted: ``balanced`` (inverse to its rows), ``none`` or ``""``, or label → weight; labels left out weigh 1.
        task: of the run.
        targets: class numbers of the training rows, int64 (rows,).
    """
    if not task.classifies or wanted in ("", "none"):
        return None
    if isinstance(wanted, Mapping):
        for label in wanted:
            if label not in task.labels:
                raise UnknownName(
                    f"[train] class_weights names {label!r}, no label of the data; {nearest(label, task.labels)}",
                    place="train.class_weights",
                )
            if not (math.isfinite(wanted[label]) and wanted[label] > 0):
                raise UsageError(
                    f"[train] class_weights: {label!r} = {wanted[label]} is refused: a weight is a number above 0",
                    place="train.class_weights",
                )
        return torch.tensor([float(wanted.get(label, 1.0)) for label in task.labels])
    if wanted != "balanced":
        raise UnknownName(
            f"[train] class_weights = {wanted!r} is refused; {nearest(wanted, ('balanced', 'none'))}",
            place="train.class_weights",
        )
    counts = torch.bincount(targets, minlength=len(task.labels)).clamp(min=1)
    return (targets.numel() / (len(task.labels) * counts)).float()
