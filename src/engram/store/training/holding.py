"""Being the one process that trains a run, and seeing whether some process is.

A killed process cannot write down that it was killed, so the catalog says ``running`` for ever. A lock on a file is let
go by the system however the process ends; whoever can take it knows that nobody trains.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from engram.errors import StoreError, UsageError

__all__ = ["hold", "is_held"]

_PATIENCE = 10.0  # seconds in which a look is over, however busy the machine
_GLANCE = 0.001


@contextmanager
def hold(folder: Path, run: str) -> Iterator[None]:
    """Be the one process that trains a run.

    Args:
        folder: of the store on this machine.
        run: its id.

    Raises:
        UsageError: another process trains it.
        StoreError: the folder cannot be written.
    """
    path = _path(folder, run)
    with _locked(path) as file:
        try:
            yield
        finally:
            if _same(file, path):
                path.unlink()


def is_held(folder: Path, run: str) -> bool:
    """Whether some process on this machine trains a run."""
    try:
        with _path(folder, run).open("rb") as file:
            return not _taken(file, fcntl.LOCK_SH)
    except FileNotFoundError:
        return False


@contextmanager
def _locked(path: Path) -> Iterator[BinaryIO]:
    """The file, locked, and still the one of this name: whoever held it before may just have removed it."""
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = path.open("wb")
        except OSError as refused:
            reason = str(refused.strerror).lower()
            raise StoreError(f"{path.parent} cannot be written: {reason}; ask for the right to write there") from None
        with file:
            _take(file, path.name)
            if _same(file, path):
                yield file
                return


def _take(file: BinaryIO, run: str) -> None:
    """Lock a file for oneself alone, once nobody looks at it."""
    began = time.monotonic()
    while not _taken(file, fcntl.LOCK_EX):
        if not _taken(file, fcntl.LOCK_SH):
            raise UsageError(f"run {run} is being trained by another process; wait for it, or stop that process first")
        fcntl.flock(file, fcntl.LOCK_UN)
        if time.monotonic() - began > _PATIENCE:
            raise UsageError(
                f"run {run} has been looked at for {_PATIENCE:.0f} s by a process that does not go on; end that process"
            )
        time.sleep(_GLANCE)


def _taken(file: BinaryIO, kind: int) -> bool:
    """Whether a lock of this kind could be had at once; it is had then."""
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _same(file: BinaryIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _path(folder: Path, run: str) -> Path:
    return folder / "running" / run
