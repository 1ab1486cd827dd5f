"""What is to be moved, as it stands in the store that it comes from at one moment.

Versions stay for ever, checkpoints do not: retention may let go of a chosen one before its turn comes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection

from engram.errors import UsageError
from engram.records import Run, Version
from engram.store import references, versions
from engram.store.training import runs
from engram.store.training.runs import Saved

__all__ = ["Choice", "alone", "chosen"]


@dataclass(frozen=True, slots=True)
class Choice:
    """What is to be moved.

    Attributes:
        versions: the oldest first, so that parents come before their children.
        runs: with their checkpoints, the oldest first.
        aliases: whether the histories of aliases go, too, where the other store knows nothing of them.
    """

    versions: tuple[Version, ...]
    runs: Mapping[str, tuple[Run, tuple[Saved, ...]]] = field(default_factory=dict)
    aliases: bool = False


def chosen(connection: Connection, what: Sequence[str]) -> Choice:
    """What references and runs mean; everything where there are none.

    Raises:
        VersionNotFound: there is neither a version nor a run of a name.
    """
    if not what:
        every = {run.id: (run, _checkpoints(connection, run)) for run in runs.every(connection)}
        return Choice(tuple(reversed(versions.listed(connection))), every, aliases=True)
    known = {run.id: run for run in runs.every(connection)}
    wanted = [known[word] for word in what if word in known]
    found = [versions.version(references.resolve(connection, word)) for word in what if word not in known]
    ordered = sorted(found, key=lambda version: (version.kept, version.number))
    return Choice(tuple(ordered), {run.id: (run, _checkpoints(connection, run)) for run in wanted})


def alone(choice: Choice, name: str) -> Choice:
    """What is taken in under another name: the versions of one network, without its aliases and runs.

    Raises:
        UsageError: there are versions of several networks.
    """
    names = sorted({version.name for version in choice.versions})
    if len(names) > 1:
        raise UsageError(f"--as {name} would mix {', '.join(names)} in one network; say which versions are meant")
    return Choice(choice.versions)


def _checkpoints(connection: Connection, run: Run) -> tuple[Saved, ...]:
    return tuple(reversed(runs.saved(connection, run.id)))
