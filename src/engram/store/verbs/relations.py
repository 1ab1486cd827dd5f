"""What versions have to do with each other: how two of them differ, and what one was made from and became."""

from __future__ import annotations

from engram.store import manifests, references, versions
from engram.store.relations import diff, lineage
from engram.store.relations.diff import Diff
from engram.store.relations.lineage import Lineage
from engram.store.relations.shifts import Side
from engram.store.verbs._opened import Opened

__all__ = ["Relations"]


class Relations(Opened):
    """The verbs about several versions."""

    def diff(self, before: str, after: str) -> Diff:
        """What two versions differ in: network, weights, metrics, data, pipeline, environment and parents.

        Raises:
            VersionNotFound: there is no such version.
            StoreError: something in one of them is gone or damaged.
        """
        return diff.compare(self._side(before), self._side(after))

    def lineage(self, reference: str) -> Lineage:
        """What a version was made from (data, runs, checkpoints, parents), and what was made from it.

        Raises:
            VersionNotFound: there is no such version.
        """
        with self._reading() as connection:
            return lineage.lineage(connection, references.resolve(connection, reference).digest)

    def _side(self, reference: str) -> Side:
        with self._reading() as connection:
            version = versions.version(references.resolve(connection, reference))
        manifest = manifests.read(self._place, version.digest)
        return Side(version, manifest, self._files(version.digest, signed=False))
