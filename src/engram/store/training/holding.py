"""Being the one process that trains a run, and seeing whether some process is.

A killed process cannot write down that it was killed, so the catalog says ``running`` for ever. A lock on a file is let
go by the system however the process ends; whoever can take it knows that nobody trains.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from engram.errors import StoreError, UsageError

__all__ = ["hold", "is_held"]


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
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
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
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UsageError(
                    f"run {path.name} is being trained by another process; wait for it, or stop that process first"
                ) from None
            if _same(file, path):
                yield file
                return


def _same(file: BinaryIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _path(folder: Path, run: str) -> Path:
    return folder / "running" / run
