"""Moving versions and runs from one store to another: only what is missing, and nothing that is not whole.

A blob is moved under its digest and hashed on its way, so that a transfer which was interrupted goes on where it
stopped by being asked for again, and what arrives is what left. A version keeps its digest and its number, wherever it
goes; where another version has its number already, it can be taken in as the next one, with the original as its parent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import Connection, insert, select

from engram.errors import StoreError, UsageError
from engram.records import Run, Version
from engram.store import described, documents, manifests, references, tables, versions, writing
from engram.store.manifests import Manifest
from engram.store.moves import history
from engram.store.objects import Blob, Borrowed
from engram.store.places._contract import Place
from engram.store.training import runs
from engram.store.training.runs import Saved
from engram.store.versions import Kept
from engram.store.writing import Site

__all__ = ["Choice", "Moved", "alone", "chosen", "move"]


@dataclass(frozen=True, slots=True)
class Moved:
    """What a transfer did.

    Attributes:
        versions: that the other store has now, as they are called there.
        checkpoints: how many came over.
        aliases: how many histories of aliases came over.
        blobs: how many were missing and came over.
        size: bytes of those.
    """

    versions: tuple[str, ...] = ()
    checkpoints: int = 0
    aliases: int = 0
    blobs: int = 0
    size: int = 0


@dataclass(frozen=True, slots=True)
class Choice:
    """What is to be moved.

    Attributes:
        versions: the oldest first, so that parents come before their children.
        runs: with their checkpoints.
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


def move(source: Site, target: Site, choice: Choice, *, name: str = "", tell: Callable[[int, int], None]) -> Moved:
    """Bring what was chosen to another store.

    Args:
        source: where it is.
        target: where it is to be; versions are written plain there.
        choice: as ``chosen`` says.
        name: under which versions are taken in as the next ones; empty keeps names and numbers.
        tell: called with the bytes moved so far and in all.

    Raises:
        UsageError: the target has another version with the number of one of these.
        StoreError: a store refuses, or a blob is damaged where it comes from.
    """
    target.place.prepare()
    target.catalog.prepare()
    loads = [_load(source, version.digest) for version in choice.versions]
    saved = [_load(source, one.digest) for _, all_ in choice.runs.values() for one in all_]
    count = _Count(sum(load.missing(target.place) for load in (*loads, *saved)), tell)
    names = tuple(_version(target, load, name, count) for load in loads)
    aliases = _aliases(source, target) if choice.aliases else 0
    for of_run, checkpoints in choice.runs.values():
        _run(target, of_run)
        for one, load in zip(checkpoints, saved[: len(checkpoints)], strict=True):
            _checkpoint(target, load, one, count)
        del saved[: len(checkpoints)]
    total = sum(len(checkpoints) for _, checkpoints in choice.runs.values())
    versions.publish(target)
    return Moved(names, total, aliases, count.blobs, count.done)


@dataclass(slots=True)
class _Count:
    """Bytes on their way."""

    total: int
    tell: Callable[[int, int], None]
    done: int = 0
    blobs: int = 0

    def add(self, blob: Blob) -> None:
        self.done += blob.size
        self.blobs += 1
        self.tell(self.done, self.total)


@dataclass(frozen=True, slots=True)
class _Load:
    """What one manifest needs, where it is."""

    place: Place
    manifest: Manifest

    @property
    def blobs(self) -> list[Blob]:
        return [Blob(digest, size) for digest, size in self.manifest.blobs.items()]

    def missing(self, target: Place) -> int:
        """Bytes that the target does not have."""
        absent = target.missing(self.manifest.blobs)
        return sum(size for digest, size in self.manifest.blobs.items() if digest in absent)

    def contents(self, count: _Count) -> dict[Blob, Borrowed]:
        return {blob: Borrowed(self.place, blob, count.add) for blob in self.blobs}


def _load(source: Site, digest: str) -> _Load:
    return _Load(source.place, manifests.read(source.place, digest))


def _version(target: Site, load: _Load, name: str, count: _Count) -> str:
    """Take in a version; what it is called there."""
    version = described.version(load.place, load.manifest)
    if name:
        return _renamed(target, load, replace(version, name=references.check_name(name)), count)
    with target.catalog.reading() as connection:
        there = _numbered(connection, version)
    if there is None:
        writing.adopt(target, load.manifest, load.contents(count), lambda c, m: _register(c, version, m))
    elif there != version.digest:
        both = f"{there[:15]}…, not {version.digest[:15]}…"
        raise UsageError(
            f"{version.reference} is another version in {target.place.url} ({both}); give this one the next number "
            f"there with --as {version.name}"
        )
    _documents(load.place, target.place, f"signatures/{version.digest.removeprefix('sha256:')}/")
    return version.reference


def _numbered(connection: Connection, version: Version) -> str | None:
    rows = tables.versions
    same = (rows.c.name == version.name) & (rows.c.number == version.number)
    return connection.execute(select(rows.c.digest).where(same)).scalar()


def _register(connection: Connection, version: Version, manifest: Manifest) -> Version:
    names = tables.names
    last = connection.execute(select(names.c.last).where(names.c.name == version.name)).scalar()
    if last is None:
        connection.execute(insert(names).values(name=version.name, last=version.number))
    elif last < version.number:
        connection.execute(names.update().where(names.c.name == version.name).values(last=version.number))
    return versions.register(connection, version, manifest.size)


def _renamed(target: Site, load: _Load, version: Version, count: _Count) -> str:
    """Take in a version as the next of a name, with the original as its parent."""
    original = load.manifest
    borrowed = {path: Borrowed(load.place, blob, count.add) for path, blob in original.files.items()}
    del borrowed["version.json"]
    kept = Kept(
        name=version.name,
        when=version.kept,
        holds=version.holds,
        metrics=version.metrics,
        data=version.data,
        parents=(original.digest,),
        facts=version.facts,
    )
    config = _config(load)
    draft = versions.draft(kept, config, borrowed)
    return writing.commit(target, draft).reference


def _config(load: _Load) -> Mapping[str, Any]:
    """What the ModelPack's config says of the model itself."""
    content = load.place.get(load.manifest.config.digest)
    found = documents.decode(content, f"the config of {load.manifest.digest}")
    try:
        return dict(found["config"])
    except (KeyError, TypeError) as wrong:
        raise StoreError(f"the config of {load.manifest.digest} in {load.place.url} says nothing of a model") from wrong


def _run(target: Site, of_run: Run) -> None:
    """Let the other store know a run; one that is training goes over as stopped."""
    status = "stopped" if of_run.status == "running" else of_run.status

    def action(connection: Connection) -> None:
        if connection.execute(select(tables.runs.c.id).where(tables.runs.c.id == of_run.id)).first() is None:
            runs.begin(connection, replace(of_run, status=status, step=0))

    target.catalog.write(action)


def _checkpoint(target: Site, load: _Load, saved: Saved, count: _Count) -> None:
    def register(connection: Connection, manifest: Manifest) -> None:
        runs.take(connection, replace(saved, digest=manifest.digest))

    with target.catalog.reading() as connection:
        held = {one.digest for one in runs.saved(connection, saved.run)}
    if saved.digest not in held:
        writing.adopt(target, load.manifest, load.contents(count), register)


def _checkpoints(connection: Connection, run: Run) -> tuple[Saved, ...]:
    return tuple(reversed(runs.saved(connection, run.id)))


def _aliases(source: Site, target: Site) -> int:
    """Bring the histories of aliases over of which the other store knows nothing; how many."""
    names = source.place.documents("history/")
    with target.catalog.reading() as connection:
        known = history.known(connection)
    fresh = {tuple(name.split("/")[1:3]) for name in names} - known
    for name in names:
        if tuple(name.split("/")[1:3]) in fresh:
            target.place.write(name, source.place.document(name))  # over what a killed writer may have left there
    if fresh:
        target.catalog.write(lambda connection: history.restore(connection, target.place))
    return len(fresh)


def _documents(source: Place, target: Place, stem: str) -> None:
    there = set(target.documents(stem))
    for name in sorted(set(source.documents(stem)) - there):
        target.write(name, source.document(name))
