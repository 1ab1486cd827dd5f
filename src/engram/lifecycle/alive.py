"""Whether some process is training a run right now.

A killed process cannot write down that it was killed, so the catalog says ``running`` for ever. A lock on a file is let
go by the system however the process ends; whoever can take it knows that nobody trains.
"""

from __future__ import annotations

import fcntl
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from engram.errors import UsageError
from engram.records import Run, Version
from engram.settings import Settings
from engram.store.store import Store

__all__ = ["Course", "course", "held", "resuming", "state"]


@dataclass(frozen=True, slots=True)
class Course:
    """What became of a network.

    Attributes:
        versions: kept, the newest first.
        runs: begun, the newest first, each with the status it truly has.
    """

    versions: tuple[Version, ...]
    runs: tuple[Run, ...]

    @property
    def unfinished(self) -> tuple[Run, ...]:
        """The runs that no version came of."""
        return tuple(run for run in self.runs if run.status != "kept")


def course(name: str, store: Store) -> Course:
    """What became of a network, of one run, or, for an empty name, of all.

    Raises:
        VersionNotFound: there is neither a version nor a run of this name.
    """
    runs = [replace(r, status=state(r, store)) for r in store.runs() if name in {"", r.name, r.id}]
    if name and any(run.id == name for run in runs):
        digests = {run.version for run in runs}
        return Course(tuple(v for v in store.versions() if v.digest in digests), tuple(runs))
    versions = store.versions(name)
    if name and not versions and not runs:
        versions = store.versions(store.version(name).name)
    return Course(tuple(versions), tuple(runs))


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


def resuming(run: str, store: Store, settings: Settings) -> str:
    """The command that goes on with a run, as it is typed in this process's folder."""
    place = "" if str(store.folder) == settings.store else f" --store {shlex.quote(str(store.folder))}"
    return f"engram resume {run}{place}"


def _path(run: Run, store: Store) -> Path:
    return Path(store.folder, "running", run.id)
