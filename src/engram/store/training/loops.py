"""A training loop of one's own as a run: what is remembered of it from one checkpoint to the next.

The run begins with its first checkpoint and ends when the store is closed or the program ends. Meanwhile it is locked,
so that the log tells a loop that runs from one that was killed. Within a process a later loop takes a run over from an
earlier one: in a notebook, a cell that was interrupted leaves its store open behind. A run belongs to one module, known
by its identity, because names do not tell the two networks of a pair or the folds of a validation apart; and a module
that is trained on after its store was closed goes on with its run.
"""

from __future__ import annotations

import math
import operator
import os
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, SupportsIndex
from weakref import ReferenceType

from engram.errors import UnknownName, UsageError
from engram.plugins import nearest
from engram.records import Checkpoint, Run, TrainingState
from engram.store import given
from engram.store.training.background import Saver
from engram.store.training.runs import Packed, Saved

if TYPE_CHECKING:
    from torch import nn

    from engram.store.training.modules import Parts
    from engram.training.state import Staging

__all__ = ["Loop", "Moment", "Program", "Restored", "Start", "Taken", "moment", "root"]

_MOST = 2**63 - 1  # which a catalog can hold
_FALLING = ("loss", "error", "rmse", "mse", "mae", "perplexity")


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


@dataclass(frozen=True, slots=True)
class Program:
    """Who began a run, as it stands in each of its checkpoints.

    Attributes:
        id: no other program has it.
        since: when it began its first run in this store.
    """

    id: str
    since: datetime

    @classmethod
    def read(cls, said: object) -> Program | None:
        """From plain JSON values; None where there is no program in them."""
        match said:
            case {"id": str(identity), "since": str(since)}:
                with suppress(ValueError):
                    return cls(identity, datetime.fromisoformat(since))
        return None

    def plain(self) -> dict[str, str]:
        """As plain JSON values."""
        return {"id": self.id, "since": self.since.isoformat()}


@dataclass(frozen=True, slots=True)
class Taken:
    """A moment with everything that is kept of it, not written yet.

    Attributes:
        checkpoint: everything; arrays in it are those that go on learning.
        best: whether it is the best so far.
        history, watch: as a ``Loop`` has them after it.
    """

    checkpoint: Checkpoint
    best: bool
    history: tuple[Mapping[str, Any], ...]
    watch: Mapping[str, Any]


@dataclass(slots=True, weakref_slot=True, eq=False)
class Loop:
    """A run while a loop trains it.

    Attributes:
        run: its record.
        saver: writes its checkpoints.
        staging: memory for what lies on devices.
        module: that it trains.
        program: that began the run.
        held: its lock.
        history: of all checkpoints so far.
        watch: the metric that decides which is best, and its best value.
        step: of the last checkpoint.
        over: whether it has ended.
        owner: the process that trains it, and not those that it forked.
    """

    run: Run
    saver: Saver[Packed]
    staging: Staging
    module: ReferenceType[nn.Module]
    program: Program | None
    held: ExitStack = field(default_factory=ExitStack)
    history: tuple[Mapping[str, Any], ...] = ()
    watch: Mapping[str, Any] = field(default_factory=dict)
    step: int = 0
    over: bool = False
    owner: int = field(default_factory=os.getpid)

    @property
    def left(self) -> bool:
        """Whether its module is gone, so that nobody goes on with it."""
        return self.module() is None and self.owner == os.getpid()

    def end(self) -> None:
        """Wait for what is being written, and let go of the run.

        Raises:
            StoreError: the last checkpoint could not be written.
        """
        self.over = True
        with self.held:
            self.saver.close()

    def taken(self, parts: Parts, now: Moment) -> Taken:
        """Everything at this moment, once the checkpoint before it is written.

        Raises:
            UsageError: something cannot be kept exactly; it is named.
            StoreError: the checkpoint before this one could not be written.
        """
        from engram.store.training import modules

        history = (*self.history, {**now.metrics, "epoch": now.epoch, "step": now.step})
        best, watch = self._judged(now)
        extra = {"given": now.extra, "program": self.program.plain() if self.program else None}
        stands = TrainingState(now.epoch, now.step, stopping=watch, history=history, extra=extra)
        self.saver.wait()
        return Taken(modules.checkpoint(parts, stands, self.staging), best, history, watch)

    def save(self, taken: Taken) -> None:
        """Copy everything and return; it is written later.

        Raises:
            UsageError: something cannot be kept exactly; it is named.
        """
        self.saver.save(taken.checkpoint, taken.best)
        self.history, self.watch, self.step = taken.history, taken.watch, taken.checkpoint.state.step

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
    """Where a module goes on that was restored, or whose run was closed.

    Attributes:
        name: of the network.
        saved: the checkpoint.
        history, watch: as a ``Loop`` has them.
        module: the only one that goes on from here.
        program: that began the run.
    """

    name: str
    saved: Saved
    history: tuple[Mapping[str, Any], ...]
    watch: Mapping[str, Any]
    module: ReferenceType[nn.Module]
    program: Program | None

    def of(self, name: str, module: nn.Module) -> bool:
        """Whether it is this very module, under this name."""
        return self.name == name and self.module() is module


def root(run: str, known: Mapping[str, Run]) -> str:
    """The run at which the training began that a run goes on with, as far back as runs are known."""
    seen = {run}
    while run in known and known[run].origin:
        run = known[run].origin.rpartition("@")[0]
        if run in seen:
            break
        seen.add(run)
    return run


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
    counted = {what: _counted(what, value) for what, value in (("step", step), ("epoch", epoch))}
    numbers = {str(name): _number(str(name), value) for name, value in given.mapping(metrics or {}, "metrics").items()}
    wanted = given.mapping(extra or {}, "extra")
    return Moment(counted["step"], counted["epoch"], numbers, wanted, best or False)


def _counted(what: str, value: SupportsIndex) -> int:
    """A whole number of any library that a catalog has room for."""
    try:
        number = -1 if str(getattr(value, "dtype", type(value).__name__)).endswith("bool") else operator.index(value)
    except (TypeError, ValueError, RuntimeError):  # a tensor of several numbers, or of a fraction
        number = -1
    if not 0 <= number <= _MOST:
        raise UsageError(f"{what} = {value!r} is refused: it is a whole number from 0 to {_MOST:,}")
    return number


def _number(name: str, value: Any) -> float:  # noqa: ANN401 - a number of any library
    try:
        return float(value.detach() if hasattr(value, "detach") else value)  # a loss still knows its graph
    except (TypeError, ValueError, RuntimeError, OverflowError):
        raise UsageError(f"metric {name!r} is {value!r}, which is no number; give its mean, or leave it out") from None
