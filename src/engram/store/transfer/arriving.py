"""How a version, a run, a checkpoint or the history of an alias arrives in another store.

A store that something comes from is only read. What its retention lets go of while it is moved is left out: a lease
would hold it there, but cannot be had where one may only read, and leaves blobs for a sweep where one may write.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, insert, select

from engram.errors import StoreError, UsageError
from engram.records import Run, Version
from engram.store import described, documents, references, tables, versions, writing
from engram.store.manifests import Manifest
from engram.store.moves import history
from engram.store.objects import Blob, Borrowed
from engram.store.places._contract import Place
from engram.store.training import runs
from engram.store.training.runs import Saved
from engram.store.transfer.loads import Count, Load
from engram.store.versions import Kept
from engram.store.writing import Site

__all__ = ["aliases", "checkpoint", "held", "one_way", "renamed", "run", "version"]


def version(target: Site, load: Load, name: str, count: Count) -> str:
    """Take in a version; what it is called there.

    Args:
        target: where to.
        load: what it needs.
        name: under which it becomes the next one; empty keeps its name and number.
        count: of the bytes.

    Raises:
        UsageError: the target has another version with its number.
        StoreError: a store refuses, or a blob is damaged where it comes from.
    """
    found = described.version(load.place, load.manifest)
    if name:
        return renamed(target, load, references.check_name(name), count)

    def register(connection: Connection, manifest: Manifest) -> Version:
        _count_on(connection, found)  # once more, because a catalog may have been made anew meanwhile
        return versions.register(connection, found, manifest.size)

    with target.catalog.reading() as connection:
        there = _numbered(connection, found)
    if there is None:
        writing.adopt(target, load.manifest, load.contents(count), register, number=lambda c: _count_on(c, found))
    elif there != found.digest:
        both = f"{there[:15]}…, not {found.digest[:15]}…"
        raise UsageError(
            f"{found.reference} is another version in {target.place.url} ({both}); give this one the next number "
            f"there with --as {found.name}"
        )
    _documents(load.place, target.place, f"signatures/{found.digest.removeprefix('sha256:')}/")
    return found.reference


def _numbered(connection: Connection, version: Version) -> str | None:
    rows = tables.versions
    same = (rows.c.name == version.name) & (rows.c.number == version.number)
    return connection.execute(select(rows.c.digest).where(same)).scalar()


def _count_on(connection: Connection, version: Version) -> int:
    """Give out its number, so that a manifest never states one of which the catalog does not know."""
    names = tables.names
    last = connection.execute(select(names.c.last).where(names.c.name == version.name)).scalar()
    if last is None:
        connection.execute(insert(names).values(name=version.name, last=version.number))
    elif last < version.number:
        connection.execute(names.update().where(names.c.name == version.name).values(last=version.number))
    return version.number


def renamed(target: Site, load: Load, name: str, count: Count, *, parents: tuple[str, ...] = ()) -> str:
    """Take in a version as the next of a name, with the original as its parent; what it is called there.

    Args:
        target: where to.
        load: what it needs.
        name: under which it becomes the next one.
        count: of the bytes.
        parents: more of them, after the original.

    Raises:
        StoreError: a store refuses, or a blob is damaged where it comes from.
    """
    original, version = load.manifest, described.version(load.place, load.manifest)
    borrowed = {path: Borrowed(load.place, blob, count.read) for path, blob in original.files.items()}
    del borrowed["version.json"]
    kept = Kept(
        name=name,
        when=version.kept,
        holds=version.holds,
        metrics=version.metrics,
        data=version.data,
        parents=(original.digest, *parents),
        facts=version.facts,
    )
    config = _config(load)
    draft = versions.draft(kept, config, borrowed)
    return writing.commit(target, draft).reference


def _config(load: Load) -> Mapping[str, Any]:
    """What the ModelPack's config says of the model itself."""
    content = load.place.get(load.manifest.config.digest)
    found = documents.decode(content, f"the config of {load.manifest.digest}")
    try:
        return dict(found["config"])
    except (KeyError, TypeError) as wrong:
        raise StoreError(f"the config of {load.manifest.digest} in {load.place.url} says nothing of a model") from wrong


def run(target: Site, of_run: Run) -> None:
    """Let the other store know a run; one that is training goes over as stopped."""
    status = "stopped" if of_run.status == "running" else of_run.status

    def action(connection: Connection) -> None:
        if connection.execute(select(tables.runs.c.id).where(tables.runs.c.id == of_run.id)).first() is None:
            runs.begin(connection, replace(of_run, status=status, step=0))

    target.catalog.write(action)


def one_way(target: Site, of_run: Run, coming: Sequence[Saved]) -> None:
    """See that a run did not go on in both stores: its checkpoints are one history, and two cannot be mixed.

    Raises:
        UsageError: it did.
    """
    with target.catalog.reading() as connection:
        there = {one.number: one for one in runs.saved(connection, of_run.id) if one.number}
    for one in coming:
        other = there.get(one.number)
        if other is not None and other.digest != one.digest:
            raise UsageError(
                f"run {of_run.id} went on in both stores: its checkpoint {one.number} is of step {one.step} here and "
                f"another, of step {other.step}, in {target.place.url}; name what else is to be moved, and go on with "
                "one of the two as a run of its own (engram resume --at, or store.restore(run=…, step=…))"
            )


def checkpoint(source: Site, target: Site, load: Load, saved: Saved, count: Count) -> bool:
    """Take in a checkpoint; False, and nothing of it is left there, if its own store let go of it meanwhile.

    Raises:
        StoreError: a store refuses, or a blob is damaged where it comes from.
    """

    def register(connection: Connection, manifest: Manifest) -> None:
        runs.take(connection, replace(saved, digest=manifest.digest))

    if held(target, saved):
        return True
    made = list[Blob]()
    try:
        writing.adopt(target, load.manifest, load.contents(count), register, made)
    except StoreError:
        if held(source, saved):
            raise
        writing.take_back(target, made)
        return False
    return True


def held(site: Site, saved: Saved) -> bool:
    """Whether a store holds a checkpoint."""
    rows = tables.checkpoints
    with site.catalog.reading() as connection:
        return connection.execute(select(rows.c.id).where(rows.c.digest == saved.digest)).first() is not None


def aliases(source: Site, target: Site) -> tuple[int, tuple[str, ...]]:
    """Bring the histories of aliases over of which the other store knows nothing.

    Returns:
        How many came, and the aliases that were left as they are there although they point elsewhere here: a network
        that serves somewhere must not be changed by what was meant to bring files.
    """
    names = source.place.documents("history/")
    with target.catalog.reading() as connection:
        known, there = history.known(connection), history.current(connection)
    with source.catalog.reading() as connection:
        here = history.current(connection)
    fresh = {tuple(name.split("/")[1:3]) for name in names} - known
    for name in names:
        if tuple(name.split("/")[1:3]) in fresh:
            target.place.write(name, source.place.document(name))  # over what a killed writer may have left there
    if fresh:
        target.catalog.write(lambda connection: history.restore(connection, target.place))
    return len(fresh), tuple(sorted(alias for alias in there.keys() & here.keys() if there[alias] != here[alias]))


def _documents(source: Place, target: Place, stem: str) -> None:
    there = set(target.documents(stem))
    for name in sorted(set(source.documents(stem)) - there):
        target.write(name, source.document(name))
