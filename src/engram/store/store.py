"""The store: kept versions, the aliases that point at them, and the runs that made them.

This file only puts the parts together: ``writing`` has the order that survives a crash, ``contents`` what a version
consists of, ``catalog`` what is known of them all. Nothing is made on disk until something is written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from numpy import ndarray
from sqlalchemy import Connection

from engram.errors import StoreError, UsageError, VersionNotFound
from engram.records import Certificate, Checkpoint, Model, Move, Prediction, Report, Run, TrainingState, Version
from engram.store import contents, history, manifests, places, references, runs, verify, versions, writing
from engram.store.catalog import Catalog
from engram.store.files import Files
from engram.store.objects import Content
from engram.store.runs import Saved
from engram.store.verify import Damage
from engram.store.versions import Kept

__all__ = ["Store", "now", "open"]

_TEXTS = {"pipeline": "pipeline.toml", "lock": "lock.toml"}


def now() -> datetime:
    """The present moment, UTC."""
    return datetime.now(UTC)


def open(  # noqa: A001 - what one does with a store
    place: str | Path,
    *,
    who: str,
    clock: Callable[[], datetime] = now,
    answer: Callable[[Model, Any], Prediction] | None = None,
) -> Store:
    """The store at a place; it is made with the first thing that is kept in it.

    Args:
        place: a folder.
        who: is written into the history of aliases.
        clock: tells the time, with its zone.
        answer: the runtime handed to every model that is loaded.
    """
    return Store(Path(place), who=who, clock=clock, answer=answer)


class Store:
    """Where kept versions live.

    Attributes:
        folder: where it is.
        who: moves aliases.
    """

    def __init__(
        self,
        folder: Path,
        *,
        who: str,
        clock: Callable[[], datetime],
        answer: Callable[[Model, Any], Prediction] | None,
    ) -> None:
        self.folder = folder
        self.who = who
        self._clock = clock
        self._answer = answer
        self._place = places.SHELF.take("folder").open(str(folder))
        self._catalog = Catalog(folder / "catalog.db")

    def keep(  # noqa: PLR0913 - all that a version can hold, each by its name
        self,
        name: str,
        model: Model,
        *,
        state: TrainingState | None = None,
        report: Report | None = None,
        pipeline: str = "",
        lock: str = "",
        certificate: Certificate | None = None,
        data: str = "",
        parents: Sequence[str] = (),
        facts: Mapping[str, Any] | None = None,
    ) -> Version:
        """Keep a model, with whatever else is known of it, as the next version of a name.

        Args:
            name: of the network.
            model: its arrays must not change meanwhile.
            state: what training would go on from.
            report: its scores become the version's metrics.
            pipeline, lock: the pipeline file and its lock file, as text.
            certificate: where the model came from another format.
            data: digest of the training data.
            parents: digests of the versions it was made from.
            facts: everything else, plain JSON values.

        Raises:
            UsageError: the name cannot be one, or something cannot be kept exactly; it is named.
            StoreError: the disk or the catalog refused; the store is as it was.
        """
        references.check_name(name)
        parts: dict[str, dict[str, Content]] = {
            "model": contents.pack_model(model),
            "training": contents.pack_state(state) if state else {},
            "report": contents.pack_report(report) if report else {},
            "pipeline": {_TEXTS["pipeline"]: pipeline.encode()} if pipeline else {},
            "lock": {_TEXTS["lock"]: lock.encode()} if lock else {},
            "certificate": contents.pack_certificate(certificate) if certificate else {},
        }
        kept = Kept(
            name=name,
            when=self._now(),
            holds=contents.holds(model, parts),
            metrics=versions.metrics(report),
            data=data,
            parents=tuple(parents),
            facts=dict(facts or {}),
        )
        files = {path: content for part in parts.values() for path, content in part.items()}
        draft = versions.draft(self._place, self._catalog, kept, model, files)
        return writing.commit(self._place, self._catalog, draft)

    def load(self, reference: str, *, verify: bool = False) -> Model:
        """The model that a reference means, its weights as read-only views of the store's own bytes.

        Args:
            reference: ``income``, ``income:7``, ``income@prod``, ``income@prod@2026-05-03`` or ``sha256:9f2c41aa``.
            verify: hash the weights, too, before they are handed out.

        Raises:
            UsageError: it is no reference.
            VersionNotFound: there is no such version.
            StoreError: something in it is gone or damaged.
        """
        return replace(contents.model(self._files(reference, verify=verify)), answer=self._answer)

    def weights(self, reference: str, names: Sequence[str] = (), *, verify: bool = False) -> dict[str, ndarray]:
        """The weights of these names, or all; only the blobs that hold them are opened.

        Raises:
            UnknownName: a version has no weight of a name; the message gives the nearest.
        """
        return contents.weights(self._files(reference, verify=verify), tuple(names))

    def version(self, reference: str) -> Version:
        """The version that a reference means."""
        with self._reading() as connection:
            return versions.version(references.resolve(connection, reference))

    def report(self, reference: str) -> Report:
        """The report a version was kept with; VersionNotFound if it was kept without."""
        return contents.report(self._files(reference))

    def state(self, reference: str, *, verify: bool = False) -> TrainingState:
        """The training state a version was kept with; VersionNotFound if it was kept without."""
        return contents.state(self._files(reference, verify=verify))

    def certificate(self, reference: str) -> Certificate:
        """The certificate a version was kept with; VersionNotFound if it was kept without."""
        return contents.certificate(self._files(reference))

    def text(self, reference: str, part: str) -> str:
        """The ``pipeline`` or the ``lock`` a version was kept with; VersionNotFound if it was kept without."""
        if part not in _TEXTS:
            raise UsageError(f"a version has no text {part!r}; there are {', '.join(_TEXTS)}")
        return self._files(reference).content(_TEXTS[part]).decode()

    def versions(self, name: str = "") -> list[Version]:
        """The versions of a name, the highest number first, or of all names, the newest first."""
        with self._reading() as connection:
            return versions.listed(connection, name)

    def names(self) -> list[str]:
        """The names under which something is kept, sorted."""
        with self._reading() as connection:
            return versions.names(connection)

    def alias(self, name: str, alias: str, reference: str, why: str) -> Move:
        """Point ``name@alias`` at a version, and remember when, who and why.

        Raises:
            UsageError: the alias cannot be one, or the version is one of another network.
            VersionNotFound: there is no such version.
        """
        self._there()
        with self._catalog.writing() as connection:
            made = history.move(connection, (name, alias), reference, (self._now(), self.who, why))
            versions.publish(self._place, connection)
        return made

    def aliases(self, name: str = "") -> dict[str, str]:
        """Where aliases point now, those of a name or of all: ``income@prod`` → digest."""
        with self._reading() as connection:
            return history.current(connection, name)

    def history(self, name: str, alias: str) -> list[Move]:
        """Every move of an alias, the newest first.

        Raises:
            VersionNotFound: it was never set.
        """
        with self._reading() as connection:
            return history.history(connection, name, alias)

    def begin(self, run: Run) -> None:
        """Write down that a run has begun.

        Raises:
            UsageError: its id is taken, or its id, name or status cannot be one.
        """
        self._place.prepare()
        self._catalog.prepare()
        with self._catalog.writing() as connection:
            runs.begin(connection, run)

    def run(self, identity: str) -> Run:
        """The run with this id; VersionNotFound if there is none."""
        with self._reading() as connection:
            return runs.run(connection, identity)

    def runs(self) -> list[Run]:
        """All runs, the newest first."""
        with self._reading() as connection:
            return runs.every(connection)

    def checkpoint(self, identity: str, checkpoint: Checkpoint, *, best: bool = False) -> Saved:
        """Save a checkpoint of a run, durable on return; the last two and the best are held, older ones let go.

        Args:
            identity: of the run.
            checkpoint: its arrays must not change meanwhile.
            best: whether it is the best of the run so far.

        Raises:
            VersionNotFound: there is no such run.
            UsageError: the state holds what JSON cannot (a numpy scalar); its place is named.
            StoreError: the disk or the catalog refused; the earlier checkpoints are as they were.
        """
        return runs.save(self._place, self._catalog, checkpoint, (self.run(identity), self._now(), best))

    def last(self, identity: str) -> Checkpoint:
        """The last checkpoint of a run, verified; its arrays are read-only views.

        Raises:
            VersionNotFound: there is no such run, or it has no checkpoint yet.
            StoreError: the checkpoint is damaged; no older one is taken in its place.
        """
        held = self.checkpoints(identity)
        if not held:
            raise VersionNotFound(
                f"run {identity} has no checkpoint yet, so there is nothing to go on from; run it anew"
            )
        return self.restore(held[0])

    def restore(self, saved: Saved) -> Checkpoint:
        """One of the checkpoints that ``checkpoints`` lists, verified; its arrays are read-only views."""
        manifest = manifests.read(self._place, saved.digest)
        return runs.read(Files(self._place, manifest, f"checkpoint {saved.run} at step {saved.step}", verify=True))

    def checkpoints(self, identity: str) -> list[Saved]:
        """The checkpoints of a run that are held, the newest first; VersionNotFound if there is no such run."""
        with self._reading() as connection:
            return runs.saved(connection, runs.run(connection, identity).id)

    def finish(self, identity: str, status: str, version: str = "") -> Run:
        """Write down how a run ended (``stopped``, ``failed``, ``refused``, ``kept``), and its version's digest."""
        self._there()
        with self._catalog.writing() as connection:
            return runs.finish(connection, identity, status, version)

    def verify(self, tell: Callable[[int, int], None] = lambda _done, _total: None) -> list[Damage]:
        """Hash everything that a version or a checkpoint needs, and name what is damaged and what that hurts.

        Args:
            tell: called with the blobs hashed so far and in all.
        """
        with self._reading() as connection:
            return verify.verify(self._place, connection, tell)

    def _now(self) -> datetime:
        return self._clock().astimezone(UTC)

    def _there(self) -> None:
        if not self._place.exists():
            raise StoreError(
                f"there is no store at {self.folder}; engram run makes one, or name the right folder with --store"
            )

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        self._there()
        with self._catalog.reading() as connection:
            yield connection

    def _files(self, reference: str, *, verify: bool = False) -> Files:
        digest = self.version(reference).digest
        return Files(self._place, manifests.read(self._place, digest), reference, verify=verify)
