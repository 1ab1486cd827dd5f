"""Saving checkpoints behind the back of the training that makes them.

Training waits only while its arrays are copied into memory that is taken once and used again for every checkpoint,
because fresh pages cost more than the copying. A thread of its own then hashes, writes and registers the copy. There is
one copy: whoever comes with the next checkpoint before the last is written waits for it, so that memory stays bounded,
every checkpoint that was asked for exists, and a crash loses at most the one in flight. What may be done at any time
(making older checkpoints small) is done where nobody waits, and left out where somebody does.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from types import TracebackType
from typing import Any, Generic, TypeVar
from weakref import WeakSet

import numpy as np
from numpy import ndarray

from engram.errors import UsageError
from engram.records import Checkpoint

__all__ = ["Buffers", "Saver", "settle"]

T = TypeVar("T")

_COPIERS = 4
_PIECE = 4_000_000
"""Bytes copied by one thread at a time; fewer would cost more in handing over than they gain."""

_GROUPS = ("slots", "average", "random", "best")


class Buffers:
    """Memory into which checkpoints are copied, one after the other."""

    def __init__(self) -> None:
        self._held: dict[int, ndarray] = {}
        self._copiers = ThreadPoolExecutor(min(_COPIERS, os.cpu_count() or 1), "engram-copier")

    def snapshot(self, checkpoint: Checkpoint) -> Checkpoint:
        """A checkpoint that does not change when the one given does; the one before it is overwritten.

        Arrays that are read-only are taken as they are: whoever hands them out lets them be until this checkpoint is
        written.
        """
        groups = {name: getattr(checkpoint.state, name) for name in _GROUPS} | {"weights": checkpoint.weights}
        sources = {id(array): array for group in groups.values() for array in group.values() if array.flags.writeable}
        fitting = self._fitting(list(sources.values()))
        taken = dict(zip(sources, fitting, strict=True))
        self._copy(list(sources.values()), fitting)
        copied: dict[str, Any] = {
            name: {key: taken.get(id(array), array) for key, array in group.items()} for name, group in groups.items()
        }
        return Checkpoint(copied.pop("weights"), replace(checkpoint.state, **copied))

    def close(self) -> None:
        """Let go of the memory and the threads."""
        self._held = {}
        self._copiers.shutdown(wait=False)

    def _fitting(self, sources: list[ndarray]) -> list[ndarray]:
        """A buffer for each array, by its place in the order, which is the same for every checkpoint of a training."""
        made: dict[int, ndarray] = {}
        for place, source in enumerate(sources):
            held = self._held.get(place)
            fits = held is not None and held.shape == source.shape and held.dtype == source.dtype
            made[place] = held if held is not None and fits else np.empty(source.shape, source.dtype)
        self._held = made
        return list(made.values())

    def _copy(self, sources: list[ndarray], buffers: list[ndarray]) -> None:
        pieces = [pair for source, buffer in zip(sources, buffers, strict=True) for pair in _pieces(source, buffer)]
        large = [pair for pair in pieces if pair[0].nbytes >= _PIECE // 8]
        waiting = [self._copiers.submit(np.copyto, buffer, source) for source, buffer in large]
        for source, buffer in pieces:
            if source.nbytes < _PIECE // 8:
                np.copyto(buffer, source)
        for copied in waiting:
            copied.result()


class Saver(Generic[T]):
    """One training's way to its store.

    Args:
        pack: takes a checkpoint apart, at once and without copying; what it refuses is raised by ``save``.
        write: writes what ``pack`` returned, later, in a thread of its own.
        rest: what may be done after it if nobody waits; told how often it was left out since it was done last.
    """

    def __init__(
        self,
        pack: Callable[[Checkpoint, bool], T],
        write: Callable[[T], object],
        rest: Callable[[int], object] = lambda _left_out: None,
    ) -> None:
        self._pack, self._write, self._rest = pack, write, rest
        self._buffers = Buffers()
        self._writer = ThreadPoolExecutor(1, "engram-saver")
        self._pending: Future[object] | None = None
        self._resting: Future[None] | None = None
        self._count, self._left_out, self._awaited = 0, 0, False
        self._owner = os.getpid()
        self._closed = False
        _OPEN.add(self)

    def __enter__(self) -> Saver[T]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def save(self, checkpoint: Checkpoint, best: bool = False) -> None:
        """Copy a checkpoint and return; it is written later, and its arrays may change from now on.

        Args:
            checkpoint: its read-only arrays must not change before ``wait`` returns.
            best: whether it is the best of its run so far.

        Raises:
            StoreError: the one before could not be written; this one is not saved either.
            UsageError: the checkpoint holds what cannot be kept exactly; its place is named. Or this was closed.
        """
        if self._closed:
            raise UsageError(
                "no checkpoint can be saved through a saver that is closed; open another with store.saving(run)"
            )
        if os.getpid() != self._owner:
            raise UsageError(
                "a forked process has no thread that writes checkpoints; open the store anew in it, or use spawn"
            )
        self.wait()
        packed = self._pack(self._buffers.snapshot(checkpoint), best)
        self._count += 1
        self._pending = self._writer.submit(self._write, packed)
        self._resting = self._writer.submit(self._use, self._count)

    def wait(self) -> None:
        """Return when nothing is in flight any more.

        Raises:
            StoreError: what was in flight could not be written; this is said once.
        """
        if self._pending is None:
            return
        self._awaited = True
        try:
            self._pending.result()
        finally:
            self._awaited = False
            if self._pending.done():  # it is not where Ctrl-C ended the waiting: then its arrays are still needed
                self._pending = None

    def settle(self) -> None:
        """Wait for what is in flight, whatever becomes of it; a child process has no part in it."""
        if os.getpid() == self._owner:
            self._awaited = True
            working: list[Future[Any]] = [one for one in (self._pending, self._resting) if one is not None]
            futures.wait(working)
            self._awaited = False

    def close(self) -> None:
        """Wait for what is in flight, and let go of threads and memory; harmless the second time.

        Raises:
            StoreError: what was in flight could not be written.
        """
        self._closed = True
        try:
            self._count += 1  # what has not begun yet is left out
            self.wait()
            if self._resting is not None:
                self._resting.result()
        finally:
            self._writer.shutdown(wait=False)
            self._buffers.close()

    def _use(self, count: int) -> None:
        """Use the time after a checkpoint, unless somebody waits or the next one is there already."""
        if self._awaited or count != self._count:
            self._left_out += 1
        else:
            self._rest(self._left_out)
            self._left_out = 0


_OPEN: WeakSet[Saver[Any]] = WeakSet()


def settle() -> None:
    """Wait for all that is in flight in this process, whatever becomes of it."""
    for saver in list(_OPEN):
        saver.settle()


# The library's own executors stop taking work as soon as the program ends, and those who write still give them some;
# what is registered after them is called before them.
threading._register_atexit(settle)  # type: ignore[attr-defined] # noqa: SLF001 - atexit itself comes after all threads


def _pieces(source: ndarray, buffer: ndarray) -> Iterator[tuple[ndarray, ndarray]]:
    """An array and its buffer, as bytes and cut into pieces where that is possible without a copy."""
    if not source.flags.c_contiguous:
        plain = f"u{source.itemsize}"  # numpy copies the types of others one number at a time
        yield (source, buffer) if source.dtype.isbuiltin == 1 else (source.view(plain), buffer.view(plain))
        return
    flat, target = source.reshape(-1).view(np.uint8), buffer.reshape(-1).view(np.uint8)
    for start in range(0, flat.size, _PIECE):
        yield flat[start : start + _PIECE], target[start : start + _PIECE]
