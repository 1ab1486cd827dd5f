"""Whether some process is training a run right now.

A killed process cannot write down that it was killed, so the catalog says ``running`` for ever. A lock on a file is let
go by the system however the process ends; whoever can take it knows that nobody trains.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from engram.errors import UsageError
from engram.records import Run
from engram.store.store import Store

__all__ = ["held", "state"]


@contextmanager
def held(run: Run, store: Store) -> Iterator[None]:
    """Be the one process that trains this run.

    Raises:
        UsageError: another process does.
    """
    path = _path(run, store)
    path.parent.mkdir(exist_ok=True)
    with path.open("wb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(
                f"run {run.id} is being trained by another process; wait for it, or stop that process first"
            ) from None
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def state(run: Run, store: Store) -> str:
    """The run's status, with ``killed`` where it says ``running`` and nobody trains it."""
    if run.status != "running":
        return run.status
    try:
        with _path(run, store).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return "killed"
    except BlockingIOError:
        return "running"
    return "killed"


def _path(run: Run, store: Store) -> Path:
    return Path(store.folder, "running", run.id)
