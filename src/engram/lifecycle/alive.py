"""What became of a network: its versions, and its runs, each with the status it truly has.

The catalog says ``running`` of a killed run for ever; whether some process trains it, its lock tells.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace

from engram.records import Run, Version
from engram.settings import Settings
from engram.store.store import Store
from engram.store.training.holding import is_held

__all__ = ["Course", "course", "resuming", "state"]


@dataclass(frozen=True, slots=True)
class Course:
    """What became of a network.

    Attributes:
        versions: kept, the newest first.
        runs: begun, the newest first, each with the status it truly has.
        total: how many versions there are, those that were left out among them.
    """

    versions: tuple[Version, ...]
    runs: tuple[Run, ...]
    total: int = 0

    @property
    def unfinished(self) -> tuple[Run, ...]:
        """The runs that no version came of."""
        return tuple(run for run in self.runs if run.status != "kept")


def course(name: str, store: Store, most: int = 0) -> Course:
    """What became of a network, of one run, or, for an empty name, of all.

    Args:
        name: of the network, or id of the run.
        store: that holds them.
        most: how many versions and how many runs, the newest; 0 for all.

    Raises:
        VersionNotFound: there is neither a version nor a run of this name.
    """
    runs = tuple(replace(run, status=state(run, store)) for run in store.runs(name, most=most))
    if name and any(run.id == name for run in runs):
        kept = tuple(store.version(digest) for digest in store.named([run.version for run in runs]))
        return Course(kept, runs, len(kept))
    versions = store.versions(name, most=most)
    if name and not versions and not runs:
        name = store.version(name).name
        versions = store.versions(name, most=most)
    return Course(tuple(versions), runs, store.counted(name) if most else len(versions))


def state(run: Run, store: Store) -> str:
    """The run's status, with ``killed`` where it says ``running`` and nobody trains it."""
    if run.status != "running":
        return run.status
    return "running" if is_held(store.folder, run.id) else "killed"


def resuming(run: Run, store: Store, settings: Settings, folder: str = "") -> str:
    """How to go on with a run: the command, as it is typed in this process's folder, or whose script can.

    Args:
        run: that did not end well.
        store: that holds it.
        settings: of this process.
        folder: where its relative paths start, where that was said anew.
    """
    if not run.lock:
        return f"its own script, with store.restore(module, optimizer, run={run.id!r}) before the loop"
    place = "" if store.url == settings.store else f" --store {shlex.quote(store.url)}"
    return f"engram resume {run.id}{place}{f' --folder {shlex.quote(folder)}' if folder else ''}"
