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
from engram.store.training import background, holding, runs
from engram.store.training.loops import Loop, Restored, Start, Stateful, moment
from engram.store.training.runs import Saved
from engram.store.verbs.runs import Runs

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.optim import Optimizer

__all__ = ["Loops"]


_GOING: WeakValueDictionary[tuple[str, str, int], Loop] = WeakValueDictionary()
"""The loops of all stores of this process, by the folder of the store, the run and the process."""


class Loops(Runs):
    """The verbs for a training loop of one's own."""

    @cached_property
    def _loops(self) -> dict[str, Loop]:
        """Those that this store has checkpoints of, by name."""
        return {}

    @cached_property
    def _starts(self) -> dict[str, Start]:
        """Where loops go on that were restored or closed and have no checkpoint since, by name."""
        return {}

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
        call begins a run, which ends when the store is closed or the program ends. A module that is trained on after
        that goes on with its run; another module, or this one from an earlier step, begins a new one.

        Args:
            module: any torch module; all its parameters and buffers are kept.
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

        now, bare = moment(step, epoch, metrics, extra, best=best), modules.bare(module)
        called = name or modules.name(module)
        if called in self._starts and not self._starts[called].fits(bare, now.step):
            del self._starts[called]
        loop = self._loop(called, run, hold)
        loop.module = ref(bare)
        loop.save(modules.Parts(module, optimizer, scheduler, average, scaler), now)
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
            run: its id; the newest of this name that has a checkpoint if empty.
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
            UsageError: the checkpoint was saved without a part, or with one of another kind.
            StoreError: it is damaged; no older one is taken in its place.
        """
        from engram.store.training import modules

        self.flush()
        background.settle()
        called = name or (self.run(run).name if run else modules.name(module))
        saved = self._chosen(called, run, step)
        if saved is None:
            if or_begin:
                return Restored()
            raise VersionNotFound(_nothing(called, run, step))
        parts = modules.Parts(module, optimizer, scheduler, average, scaler)
        state = modules.restore(parts, self._files_of(saved), random=random)
        self._starts[called] = Start(saved, state.history, state.stopping)
        if called in self._loops:
            self._end(self._loops.pop(called))
        given = state.extra.get("given") or {}
        said = {metric: value for metric, value in saved.metrics.items() if metric not in {"epoch", "step"}}
        return Restored(saved.run, saved.step, saved.epoch, said, given, state.history)

    def flush(self) -> None:
        """Return when every checkpoint is on the disk.

        Raises:
            StoreError: one could not be written.
        """
        for loop in self._loops.values():
            loop.saver.wait()

    def close(self) -> None:
        """Wait for what is being written, end the runs of all loops and list what was kept; the store can be used on.

        A module that is trained on goes on with its run: the next ``checkpoint`` of it opens that again.

        Raises:
            StoreError: a checkpoint could not be written.
        """
        atexit.unregister(self._leave)
        loops = [loop for loop in self._loops.values() if not loop.over]
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
                self._starts[loop.run.name] = Start(saved, loop.history, loop.watch, loop.module)

    def _chosen(self, name: str, run: str, step: int | None) -> Saved | None:
        """The newest checkpoint that is asked for."""
        if not self._place.exists():
            return None
        with self._reading() as connection:
            ids = [run] if run else runs.lately(connection, name)
        found = (saved for one in ids for saved in self.checkpoints(one) if step is None or saved.step == step)
        return next(found, None)

    def _loop(self, name: str, run: str, hold: str) -> Loop:
        """The loop of this name, begun or taken up again where there is none yet."""
        loop = self._loops.get(name)
        if loop is not None and not loop.over and run in {"", loop.run.id}:
            if hold not in {"", loop.run.hold}:
                raise UsageError(
                    f"hold = {hold!r} is refused: run {loop.run.id} goes by {loop.run.hold!r}; say the same each time"
                )
            return loop
        if loop is not None:
            self._end(self._loops.pop(name))
        made = self._begun(name, run, hold)
        if not self._loops:
            atexit.register(self._leave, os.getpid())
        self._loops[name] = made
        return made

    def _begun(self, name: str, run: str, hold: str) -> Loop:
        from engram.training.state import Staging

        start = self._starts.get(name)
        if start is not None and run not in {"", start.saved.run}:
            start = None
        record = self._record(name, run, hold, start)
        with ExitStack() as stack:
            known = start is not None and start.saved.run == record.id
            if not known:
                self.begin(record)
            key = (str(self.folder.resolve()), record.id, os.getpid())
            if known and key in _GOING:
                _GOING[key].end()
            stack.enter_context(holding.hold(self.folder, record.id))
            if known:
                self.finish(record.id, "running")
            _GOING[key] = loop = Loop(record, self.saving(record), Staging(), stack.pop_all())
        if start is not None:
            loop.history, loop.watch = start.history, start.watch
            del self._starts[name]
        return loop

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


def _nothing(name: str, run: str, step: int | None) -> str:
    what = f"run {run}" if run else f"{name!r}"
    of_step = "" if step is None else f" of step {step:,}"
    return (
        f"the store holds no checkpoint{of_step} of {what}; see engram log, name another, or say or_begin=True to "
        "begin where there is none"
    )
