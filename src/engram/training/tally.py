"""What is counted while training: loss, right answers, rows.

The sums stay on the device in float64: nothing waits for the device before somebody wants to read them, and a resumed
epoch goes on from exactly the sums it was stopped with.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from engram.records import Task

__all__ = ["Tally", "falls", "watched"]


class Tally:
    """Sums over the rows seen so far.

    Args:
        task: decides what is counted as right.
        unit: (scale, offset) from a regression's outputs to the target's own unit; (1, 0) where there is none.
        device: of the outputs and targets.
        sums: to go on from, as ``sums`` gave them.
    """

    def __init__(
        self, task: Task, unit: tuple[float, float], device: torch.device, sums: Mapping[str, float] | None = None
    ) -> None:
        self._task, self._unit = task, unit
        start = [0.0, 0.0, 0.0] if sums is None else [float(sums[key]) for key in ("loss", "right", "rows")]
        self._sums = torch.tensor(start, dtype=torch.float64, device=device)

    def count(self, loss: Tensor, outputs: Tensor, targets: Tensor) -> None:
        """Add a batch: its mean loss, the network's raw outputs (batch, width) and the targets (batch,)."""
        self._sums[0].add_(loss.detach(), alpha=len(targets))
        self._sums[1].add_(self._right(outputs.detach(), targets))
        self._sums[2].add_(len(targets))

    @property
    def sums(self) -> dict[str, float]:
        """Loss × rows, right answers (a regression's squared error), and rows."""
        loss, right, rows = self._sums.tolist()
        return {"loss": loss, "right": right, "rows": rows}

    def summary(self, part: str) -> dict[str, float]:
        """``PART.loss`` and ``PART.accuracy`` or ``PART.rmse`` of the rows so far; nothing before the first."""
        loss, right, rows = self._sums.tolist()
        if not rows:
            return {}
        if self._task.classifies:
            return {f"{part}.loss": loss / rows, f"{part}.accuracy": right / rows}
        return {f"{part}.loss": loss / rows, f"{part}.rmse": math.sqrt(right / rows)}

    def _right(self, outputs: Tensor, targets: Tensor) -> Tensor:
        if self._task.kind == "multiclass":
            return (outputs.argmax(1) == targets).sum()
        if self._task.kind == "binary":
            return ((outputs[:, 0] > 0) == (targets == 1)).sum()
        scale, offset = self._unit
        return ((outputs[:, 0] * scale + offset - targets) ** 2).sum()


def falls(number: str) -> bool:
    """Whether less of this number is better: true of losses and errors, not of shares that are right."""
    return number.endswith((".loss", ".rmse"))


def watched(task: Task, parts: tuple[str, ...]) -> tuple[str, ...]:
    """The numbers that an epoch of these parts ends with."""
    return tuple(f"{part}.{name}" for part in parts for name in ("loss", "accuracy" if task.classifies else "rmse"))
