"""What training needs to go on as if it had never stopped."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from numpy import ndarray

__all__ = ["Checkpoint", "TrainingState"]


@dataclass(frozen=True, slots=True)
class TrainingState:
    """Everything training needs beyond the weights.

    Attributes:
        epoch: epochs completed.
        step: optimizer steps completed, over all epochs.
        position: batches of the current epoch already seen.
        optimizer: kind, hyperparameters and scalar slots (plain JSON values).
        slots: optimizer tensors by ``SLOT/PARAMETER`` (``exp_avg/layer1.weight``), so that they survive a change of
            framework.
        scheduler: its state (plain JSON values).
        average: the exponential moving average of the weights by parameter name; empty when not kept.
        random: generator states by name, uint8 or uint32 arrays.
        stopping: best score so far, epochs without a better one, and the step of the best (plain JSON values).
        progress: sums of the unfinished epoch (plain JSON values).
        history: one record an epoch: ``{"epoch", "train.loss", "validation.loss", …}``.
        best: the weights of the best epoch by parameter name; empty until there is one.
        extra: what else a loop of one's own keeps (plain JSON values).
    """

    epoch: int = 0
    step: int = 0
    position: int = 0
    optimizer: Mapping[str, Any] = field(default_factory=dict)
    slots: Mapping[str, ndarray] = field(default_factory=dict)
    scheduler: Mapping[str, Any] = field(default_factory=dict)
    average: Mapping[str, ndarray] = field(default_factory=dict)
    random: Mapping[str, ndarray] = field(default_factory=dict)
    stopping: Mapping[str, Any] = field(default_factory=dict)
    progress: Mapping[str, Any] = field(default_factory=dict)
    history: tuple[Mapping[str, Any], ...] = ()
    best: Mapping[str, ndarray] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A network's weights during a run, with the training state that goes on from them."""

    weights: Mapping[str, ndarray]
    state: TrainingState
