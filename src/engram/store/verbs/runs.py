"""Runs, and the checkpoints from which they go on."""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import replace

from engram.errors import StoreError, VersionNotFound
from engram.records import Checkpoint, Run, TrainingState
from engram.store import manifests
from engram.store.differences import demotion
from engram.store.files import Files
from engram.store.training import priority, runs
from engram.store.training.background import Saver
from engram.store.training.runs import Packed, Saved
from engram.store.verbs._opened import Opened
from engram.store.weights import contents

__all__ = ["Runs"]

_LOG = logging.getLogger(__name__)
_LOOKED = 2  # older checkpoints that are made small after each save; the ones before were looked at before


class Runs(Opened):
    """The verbs about runs and checkpoints."""

    def begin(self, run: Run) -> None:
        """Write down that a run has begun.

        Raises:
            UsageError: its id is taken, or its id, name or status cannot be one.
        """
        self._place.prepare()
        self._catalog.prepare()
        self._catalog.write(lambda connection: runs.begin(connection, run))

    def run(self, identity: str) -> Run:
        """The run with this id; VersionNotFound if there is none."""
        with self._reading() as connection:
            return runs.run(connection, identity)

    def runs(self, name: str = "", *, most: int = 0) -> list[Run]:
        """Runs, the newest first.

        Args:
            name: of the network, or id of the one run; empty for all.
            most: how many; 0 for all.
        """
        with self._reading() as connection:
            return runs.every(connection, name, most)

    def save(self, identity: str, checkpoint: Checkpoint, *, best: bool = False) -> Saved:
        """Save a checkpoint of a run, durable on return; those that its retention no longer holds are let go.

        Args:
            identity: of the run.
            checkpoint: its arrays must not change meanwhile.
            best: whether it is the best of the run so far.

        Raises:
            VersionNotFound: there is no such run.
            UsageError: the state holds what JSON cannot (a numpy scalar); its place is named.
            StoreError: the disk or the catalog refused; the earlier checkpoints are as they were.
        """
        return runs.write(self._site, runs.pack(checkpoint, self.run(identity), self._now(), best=best))

    def saving(self, of_run: Run) -> Saver[Packed]:
        """Save checkpoints of a run behind the back of its training; older ones become differences on the way.

        Close it at the end, or use it as a context manager: that waits for what is in flight and says what failed.
        """

        def pack(checkpoint: Checkpoint, best: bool) -> Packed:
            return runs.pack(checkpoint, of_run, self._now(), best=best)

        site = replace(self._site, gently=True)

        def rest(left_out: int) -> None:
            try:
                priority.apart(lambda: demotion.demote(site, of_run.id, last=0 if left_out else _LOOKED))
            except StoreError as refused:  # the checkpoints themselves are safe
                _LOG.warning("older checkpoints were left as they are", extra={"run": of_run.id, "why": str(refused)})

        return Saver(pack, lambda packed: runs.write(site, packed), rest)

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
        return self.read(held[0])

    def read(self, saved: Saved) -> Checkpoint:
        """One of the checkpoints that ``checkpoints`` lists, verified; its arrays are read-only views."""
        return runs.read(self._files_of(saved))

    def checkpoints(self, identity: str) -> list[Saved]:
        """The checkpoints of a run that are held, the newest first; VersionNotFound if there is no such run."""
        with self._reading() as connection:
            return runs.saved(connection, runs.run(connection, identity).id)

    def remembered(self, identity: str) -> TrainingState:
        """What training remembered of a run in the end, without its arrays: of the version it became, or of its last
        checkpoint; an empty state where nothing is left.

        Raises:
            VersionNotFound: there is no such run.
        """
        of_run, held = self.run(identity), self.checkpoints(identity)
        if of_run.version:
            with suppress(VersionNotFound):  # it has been swept, or was kept without
                return contents.outline(self._files(of_run.version, signed=False))
        return contents.outline(self._files_of(held[0])) if held else TrainingState()

    def differences(self, identity: str) -> set[str]:
        """The digests of the checkpoints of a run of which a part is stored as its difference from a later one."""
        with self._reading() as connection:
            return runs.differences(connection, identity)

    def _files_of(self, saved: Saved) -> Files:
        """The files of a checkpoint; their tensors are hashed before they are handed out."""
        manifest = manifests.read(self._place, saved.digest)
        return Files(self._place, manifest, f"checkpoint {saved.run} at step {saved.step}", verify=True)

    def finish(self, identity: str, status: str, version: str = "") -> Run:
        """Write down how a run ended, and its version's digest.

        Args:
            identity: of the run.
            status: ``stopped``, ``failed``, ``refused`` or ``kept``; ``running`` where it goes on.
            version: digest of the version it became.

        Raises:
            VersionNotFound: there is no such run.
            UsageError: there is no such status.
        """
        self._there()
        return self._catalog.write(lambda connection: runs.finish(connection, identity, status, version))
