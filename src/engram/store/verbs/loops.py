"""Checkpoints of a training loop of one's own: a line in the loop, and a line before it."""

from __future__ import annotations

import atexit
import os
import secrets
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, SupportsIndex
from weakref import WeakValueDictionary, ref

from engram.errors import StoreError, UsageError, VersionNotFound
from engram.records import Run
from engram.store import given
from engram.store.training import background, holding, retention, runs
from engram.store.training.loops import Loop, Moment, Program, Restored, Start, moment
from engram.store.training.stateful import Stateful
from engram.store.verbs._choosing import Choosing

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.optim import Optimizer

    from engram.store.training.modules import Parts

__all__ = ["Loops"]


_GOING: WeakValueDictionary[tuple[str, str, int], Loop] = WeakValueDictionary()
"""The loops of all stores of this process, by the folder of the store, the run and the process."""

_PROGRAM = secrets.token_hex(8)
"""This program, in the checkpoints of the runs that it begins; those that it forks are it, too."""

_PROGRAMS: dict[str, Program] = {}
"""This program in each folder of a store, since the first run that it began there."""


class Loops(Choosing):
    """The verbs for a training loop of one's own."""

    @cached_property
    def _loops(self) -> list[Loop]:
        """Those that this store has checkpoints of."""
        return []

    @cached_property
    def _starts(self) -> list[Start]:
        """Where modules go on that were restored, or whose run was closed, and that have no checkpoint since."""
        return []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def checkpoint(  # noqa: PLR0913 - all that a loop may have beside its module, each by its name
        self,
        module: nn.Module,
        optimizer: Optimizer | None = None,
        *,
        step: SupportsIndex,
        metrics: Mapping[str, Any] | None = None,
        name: str = "",
        run: str = "",
        epoch: SupportsIndex = 0,
        scheduler: Stateful | None = None,
        average: nn.Module | Mapping[str, Tensor] | None = None,
        scaler: Stateful | None = None,
        extra: Mapping[str, Any] | None = None,
        best: bool | str | None = None,
        hold: str = "",
        wait: bool = False,
    ) -> str:
        """Save everything that a training loop needs to go on, in the background.

        This returns once everything is copied; a checkpoint that is still being written is waited for first. The first
        call begins a run, which ends when the store is closed, the module is gone or the program ends. A module that is
        trained on after the store was closed goes on with its run; another module, or this one from an earlier step,
        begins a new one. So two modules that are trained side by side have a run each, under one name or two.

        Args:
            module: any torch module; its parameters and buffers are kept, but for buffers that torch itself does
                not save (``persistent=False``).
            optimizer: that learns it; all its slots and options are kept.
            step: optimizer steps done.
            metrics: name → number of any library.
            name: of the network; the module's class in lower case if empty.
            run: id of the run; found if empty.
            epoch: epochs done.
            scheduler: of the learning rate.
            average: of the weights: an ``AveragedModel``, another module, or name → tensor.
            scaler: of the gradients (``GradScaler``).
            extra: what else the loop wants back (plain JSON values).
            best: whether this is the best so far, or the metric that decides: the highest, or the lowest where its name
                says loss or error.
            hold: which checkpoints are held (``last 3, best, every 10th``); the last two and the best if empty.
            wait: return only when the checkpoint is on the disk.

        Returns:
            The id of the run.

        Raises:
            UsageError: something cannot be kept exactly; it is named. Or the run is one that another process trains.
            StoreError: the checkpoint before this one could not be written.
        """
        from engram.store.training import modules

        retention.parse(given.text(hold, "hold", "'last 3, best'"))
        bare, now = modules.bare(module), moment(step, epoch, metrics, extra, best=best)
        called = given.text(name, "name", "income") or modules.name(module)
        parts = modules.Parts(module, optimizer, scheduler, average, scaler)
        loop = self._open(called, bare)
        if loop is not None and now.step >= loop.step and run in {"", loop.run.id}:
            _same(loop.run, hold)
            loop.save(loop.taken(parts, now))
        else:
            start = self._start(called, bare, run, now.step)
            loop = self._begun(self._record(called, run, hold, start), start, parts, now)
        if wait:
            loop.saver.wait()
        return loop.run.id

    def restore(  # noqa: PLR0913 - as for ``checkpoint``
        self,
        module: nn.Module,
        optimizer: Optimizer | None = None,
        *,
        name: str = "",
        run: str = "",
        step: int | None = None,
        scheduler: Stateful | None = None,
        average: nn.Module | Mapping[str, Tensor] | None = None,
        scaler: Stateful | None = None,
        random: bool = True,
        or_begin: bool = False,
    ) -> Restored:
        """Put a checkpoint back in place, so that the loop computes what it would have without the pause, bit for bit.

        The next ``checkpoint`` goes on with the same run, or, where this was not its last, with a new one.

        Args:
            module: built as it was.
            optimizer: likewise; None restores the rest without it, as it does for all that follow.
            name: of the network; the module's class in lower case if empty.
            run: its id; if empty, that of this very module while it is known, else the newest of this name that fits.
            step: of a checkpoint that is held; the last if None.
            scheduler: built as it was.
            average: likewise.
            scaler: likewise.
            random: whether the generators of torch, numpy and Python go on, too.
            or_begin: change nothing and return a ``Restored`` of step 0 where there is no checkpoint yet.

        Raises:
            VersionNotFound: there is no such run or checkpoint.
            UnknownName: a name in the module or the optimizer is not that of the checkpoint.
            ShapeError: a shape or a type is not.
            UsageError: the checkpoint was saved without a part, or with one of another kind. Or several runs fit that
                one program began (the two modules of a pair, the folds of a validation); they are named.
            StoreError: it is damaged; no older one is taken in its place.
        """
        from engram.store.training import modules

        self.flush()
        background.settle()
        bare = modules.bare(module)
        parts = modules.Parts(module, optimizer, scheduler, average, scaler)
        asked, said = given.text(run, "run", "income-20260503-120000-1a2b"), given.text(name, "name", "income")
        called = said or (self.run(asked).name if asked else modules.name(module))
        saved = self._chosen(called, run or self._own(called, bare), step, bare)
        if saved is None:
            if or_begin:
                return Restored()
            raise VersionNotFound(_nothing(called, run, step))
        state = modules.restore(parts, self._files_of(saved), random=random)
        self._end_of(called, bare)
        program = Program.read(state.extra.get("program"))
        self._starts.append(Start(called, saved, state.history, state.stopping, ref(bare), program))
        extra = state.extra.get("given") or {}
        scores = {metric: value for metric, value in saved.metrics.items() if metric not in {"epoch", "step"}}
        return Restored(saved.run, saved.step, saved.epoch, scores, extra, state.history)

    def flush(self) -> None:
        """Return when every checkpoint is on the disk.

        Raises:
            StoreError: one could not be written.
        """
        for loop in self._loops:
            loop.saver.wait()

    def close(self) -> None:
        """Wait for what is being written, end the runs of all loops and list what was kept; the store can be used on.

        A module that is trained on goes on with its run: the next ``checkpoint`` of it opens that again.

        Raises:
            StoreError: a checkpoint could not be written.
        """
        atexit.unregister(self._leave)
        loops = [loop for loop in self._loops if not loop.over]
        self._loops.clear()
        with ExitStack() as stack:
            stack.callback(self._index.settle)
            for loop in loops:
                stack.callback(self._remember, loop)
                stack.callback(self._end, loop)  # which comes first

    def _leave(self, owner: int) -> None:
        """At the end of the program; a child process that inherited the store leaves its runs alone."""
        if os.getpid() == owner:
            self.close()

    def _end(self, loop: Loop) -> None:
        if loop.over:
            return
        try:
            loop.end()
        except StoreError:
            with suppress(StoreError):  # which may be the very reason
                self.finish(loop.run.id, "failed")
            raise
        if self.run(loop.run.id).status == "running":
            self.finish(loop.run.id, "stopped")

    def _remember(self, loop: Loop) -> None:
        """Where a loop that has ended goes on, if its module is trained on."""
        with suppress(StoreError):  # then the next checkpoint begins another run
            for saved in self.checkpoints(loop.run.id)[:1]:
                start = Start(loop.run.name, saved, loop.history, loop.watch, loop.module, loop.program)
                self._starts.append(start)

    def _own(self, name: str, module: nn.Module) -> str:
        """The run of this very module, if it has checkpoints; empty where it is not known."""
        if not self._place.exists():
            return ""
        loop = self._open(name, module)
        starts = [start.saved.run for start in self._starts if start.of(name, module)]
        own = loop.run.id if loop is not None else starts[-1] if starts else ""
        return own if own and self.checkpoints(own) else ""

    def _open(self, name: str, module: nn.Module) -> Loop | None:
        """The loop that trains this very module under this name."""
        found = (loop for loop in self._loops if loop.run.name == name and loop.module() is module and not loop.over)
        return next(found, None)

    def _start(self, name: str, module: nn.Module, run: str, step: int) -> Start | None:
        """Where this very module goes on."""
        found = [start for start in self._starts if start.of(name, module)]
        fitting = found and step >= found[-1].saved.step and run in {"", found[-1].saved.run}
        return found[-1] if fitting else None

    def _end_of(self, name: str, module: nn.Module) -> None:
        """End what this module was in under this name, and the runs of modules that are gone.

        Raises:
            StoreError: a checkpoint of these could not be written.
        """
        self._starts[:] = [one for one in self._starts if one.module() is not None and not one.of(name, module)]
        own = self._open(name, module)
        ended = [one for one in self._loops if one.over or one is own or one.left]
        self._loops[:] = [one for one in self._loops if one not in ended]
        with ExitStack() as stack:
            for loop in ended:
                stack.callback(self._end, loop)

    def _begun(self, record: Run, start: Start | None, parts: Parts, now: Moment) -> Loop:
        """The loop of a run that begins or is taken up again, with its first checkpoint.

        The checkpoint is taken apart before anything is written down, so that one that is refused leaves no run.
        """
        from engram.store.training import modules
        from engram.training.state import Staging

        bare = modules.bare(parts.module)
        loop = Loop(record, self.saving(record), Staging(), ref(bare), _PROGRAMS.get(self._folder))
        if start is not None:
            loop.history, loop.watch, loop.program = start.history, start.watch, start.program
        elif loop.program is None:
            loop.program = _PROGRAMS[self._folder] = Program(_PROGRAM, record.started)
        taken = loop.taken(parts, now)
        runs.pack(taken.checkpoint, record, record.started)
        if (before := self._open(record.name, bare)) is not None:
            before.saver.wait()
        self._take(loop, known=start is not None and start.saved.run == record.id)
        self._end_of(record.name, bare)
        if not self._loops:
            atexit.register(self._leave, os.getpid())
        self._loops.append(loop)
        loop.save(taken)
        return loop

    @property
    def _folder(self) -> str:
        return str(self.folder.resolve())

    def _take(self, loop: Loop, *, known: bool) -> None:
        """Begin the run of a loop, or take it up again, and lock it."""
        key = (self._folder, loop.run.id, os.getpid())
        with ExitStack() as stack:
            if not known:
                self.begin(loop.run)
            elif key in _GOING:
                _GOING[key].end()
            stack.enter_context(holding.hold(self.folder, loop.run.id))
            if known:
                self.finish(loop.run.id, "running")
            loop.held = stack.pop_all()
        _GOING[key] = loop

    def _record(self, name: str, run: str, hold: str, start: Start | None) -> Run:
        """The run that a loop goes on with, or a new one where that run is over or has gone on without it."""
        if start is not None:
            known = self.run(start.saved.run)
            last = self.checkpoints(known.id)[0].digest == start.saved.digest
            if last and not known.lock and known.status != "kept":
                return replace(known, status="running", hold=hold or known.hold)
        now = self._now()
        return Run(
            id=run if run and start is None else f"{name}-{now:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}",
            name=name,
            started=now,
            status="running",
            pipeline="",
            lock="",
            folder="",
            origin=f"{start.saved.run}@{start.saved.step}" if start is not None else "",
            hold=hold,
        )


def _same(run: Run, hold: str) -> None:
    if hold not in {"", run.hold}:
        raise UsageError(f"hold = {hold!r} is refused: run {run.id} goes by {run.hold!r}; say the same each time")


def _nothing(name: str, run: str, step: int | None) -> str:
    what = f"run {run}" if run else f"{name!r}"
    of_step = "" if step is None else f" of step {step:,}"
    return (
        f"the store holds no checkpoint{of_step} of {what}; see engram log, name another, or say or_begin=True to "
        "begin where there is none"
    )
