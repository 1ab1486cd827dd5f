"""A training loop of one's own as a run: what is remembered of it from one checkpoint to the next.

The run begins with its first checkpoint and ends when the store is closed or the program ends. Meanwhile it is locked,
so that the log tells a loop that runs from one that was killed. Within a process a later loop takes a run over from an
earlier one: in a notebook, a cell that was interrupted leaves its store open behind. And a module that is trained on
after its store was closed goes on with its run; that it is the same module tells this from another training.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, SupportsIndex
from weakref import ReferenceType

from engram.errors import UnknownName, UsageError
from engram.plugins import nearest
from engram.records import Run, TrainingState
from engram.store.training.background import Saver
from engram.store.training.runs import Packed, Saved

if TYPE_CHECKING:
    from torch import nn

    from engram.store.training.modules import Parts
    from engram.training.state import Staging

__all__ = ["Loop", "Moment", "Restored", "Start", "Stateful", "moment"]

_FALLING = ("loss", "error", "rmse", "mse", "mae", "perplexity")


class Stateful(Protocol):
    """What has a state of its own: a scheduler of learning rates, a scaler of gradients."""

    def state_dict(self) -> dict[str, Any]:
        """Its state."""
        ...

    def load_state_dict(self, state: dict[str, Any], /) -> None:
        """Go on from a state."""
        ...


@dataclass(frozen=True, slots=True)
class Restored:
    """Where a loop goes on.

    Attributes:
        run: its id; empty where there was nothing to go on from.
        step: of the checkpoint; 0 where there was none.
        epoch: as it was given with the checkpoint.
        metrics: likewise.
        extra: likewise.
        history: the metrics of this checkpoint and all before, the oldest first.
    """

    run: str = ""
    step: int = 0
    epoch: int = 0
    metrics: Mapping[str, float] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)
    history: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Moment:
    """Where a loop stands, in its own words.

    Attributes:
        step: optimizer steps done.
        epoch: epochs done.
        metrics: of this moment.
        extra: what else the loop wants back (plain JSON values).
        best: whether this is the best so far, or the metric that decides.
    """

    step: int
    epoch: int
    metrics: Mapping[str, float]
    extra: Mapping[str, Any]
    best: bool | str


@dataclass(slots=True, weakref_slot=True, eq=False)
class Loop:
    """A run while a loop trains it.

    Attributes:
        run: its record.
        saver: writes its checkpoints.
        staging: memory for what lies on devices.
        held: its lock.
        history: of all checkpoints so far.
        watch: the metric that decides which is best, and its best value.
        module: that it trains.
        over: whether it has ended.
    """

    run: Run
    saver: Saver[Packed]
    staging: Staging
    held: ExitStack
    history: tuple[Mapping[str, Any], ...] = ()
    watch: Mapping[str, Any] = field(default_factory=dict)
    module: ReferenceType[nn.Module] | None = None
    over: bool = False

    def end(self) -> None:
        """Wait for what is being written, and let go of the run.

        Raises:
            StoreError: the last checkpoint could not be written.
        """
        self.over = True
        with self.held:
            self.saver.close()

    def save(self, parts: Parts, now: Moment) -> None:
        """Copy everything and return; it is written later.

        Raises:
            UsageError: something cannot be kept exactly; it is named.
            StoreError: the checkpoint before this one could not be written.
        """
        from engram.store.training import modules

        history = (*self.history, {**now.metrics, "epoch": now.epoch, "step": now.step})
        best, watch = self._judged(now)
        stands = TrainingState(now.epoch, now.step, stopping=watch, history=history, extra=now.extra)
        self.saver.wait()
        self.saver.save(modules.checkpoint(parts, stands, self.staging), best)
        self.history, self.watch = history, watch

    def _judged(self, now: Moment) -> tuple[bool, Mapping[str, Any]]:
        """Whether this is the best so far, and what is watched from now on."""
        if isinstance(now.best, bool):
            return now.best, self.watch
        if now.best not in now.metrics:
            raise UnknownName(f"best = {now.best!r} is none of the metrics; {nearest(now.best, now.metrics)}")
        value = now.metrics[now.best]
        so_far = float(self.watch["best"]) if self.watch.get("watch") == now.best else math.nan
        falls = any(word in now.best.lower() for word in _FALLING)
        better = not math.isnan(value) and (math.isnan(so_far) or (value < so_far if falls else value > so_far))
        return better, {"watch": now.best, "best": value} if better else self.watch


@dataclass(frozen=True, slots=True)
class Start:
    """Where a loop goes on.

    Attributes:
        saved: the checkpoint.
        history, watch: as a ``Loop`` has them.
        module: the only one that goes on from here; None where it was restored, so that any may.
    """

    saved: Saved
    history: tuple[Mapping[str, Any], ...]
    watch: Mapping[str, Any]
    module: ReferenceType[nn.Module] | None = None

    def fits(self, module: nn.Module, step: int) -> bool:
        """Whether a module that has done so many steps goes on from here, and is not begun anew."""
        return self.module is None or (self.module() is module and step >= self.saved.step)


def moment(
    step: SupportsIndex,
    epoch: SupportsIndex,
    metrics: Mapping[str, Any] | None,
    extra: Mapping[str, Any] | None,
    *,
    best: bool | str | None,
) -> Moment:
    """Where a loop stands, its numbers made Python's own.

    Raises:
        UsageError: a step or a metric is no number.
    """
    counted = {"step": step, "epoch": epoch}
    for what, value in counted.items():
        if not hasattr(value, "__index__") or operator.index(value) < 0:
            raise UsageError(f"{what} = {value!r} is refused: it is a whole number from 0 on")
    numbers = {str(name): _number(str(name), value) for name, value in (metrics or {}).items()}
    return Moment(operator.index(step), operator.index(epoch), numbers, dict(extra or {}), best or False)


def _number(name: str, value: Any) -> float:  # noqa: ANN401 - a number of any library
    try:
        return float(value.detach() if hasattr(value, "detach") else value)  # a loss still knows its graph
    except (TypeError, ValueError, RuntimeError):
        raise UsageError(f"metric {name!r} is {value!r}, which is no number; give its mean, or leave it out") from None
