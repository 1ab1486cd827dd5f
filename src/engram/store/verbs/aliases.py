"""Names that point at versions, where they pointed before, and what must be met before they are moved."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from datetime import datetime
from typing import TypeVar

from sqlalchemy import Connection

from engram.errors import StoreError
from engram.records import Gate, Move
from engram.store import documents, given, leases
from engram.store.moves import gates, history
from engram.store.moves.history import Said
from engram.store.verbs._opened import Opened

__all__ = ["Aliases"]

T = TypeVar("T", Move, Gate)


class Aliases(Opened):
    """The verbs about aliases."""

    def alias(self, name: str, reference: str, *, why: str = "", force: bool = False) -> Move:
        """Point an alias at a version, and remember when, who and why.

        Args:
            name: of the alias, ``income@prod``.
            reference: of the version.
            why: kept in the history.
            force: also where the alias is protected and the version does not meet its conditions; needs a reason.

        Raises:
            UsageError: the alias cannot be one, or the version is one of another network.
            VersionNotFound: there is no such version.
            ConditionNotMet: the alias is protected, and the version does not meet its conditions.
        """
        path = history.parted(name)
        return self._noted(
            path, lambda connection, said: history.move(connection, path, reference, said, force=force), why
        )

    def rollback(self, name: str, *, to: str = "", undo: bool = False, why: str = "") -> Move:
        """Point an alias where it pointed before its last move; the next rollback goes one further back.

        Protected aliases, too, go back without being asked; where the version does not meet their conditions, the kind
        of the move ends in ``-unmet``.

        Args:
            name: of the alias, ``income@prod``.
            to: a version at which it once pointed, instead of the one before.
            undo: take the last rollback back instead.
            why: kept in the history.

        Raises:
            UsageError: there is nothing further back, it never was there, or there is no rollback to undo.
            VersionNotFound: it was never set.
        """
        path = history.parted(name)
        return self._noted(
            path, lambda connection, said: history.rollback(connection, path, said, to=to, undo=undo), why
        )

    def protect(self, name: str, conditions: Mapping[str, str], *, why: str = "") -> Gate:
        """Let an alias only be moved to versions whose metrics meet conditions.

        Args:
            name: of the alias, ``income@prod``.
            conditions: metric → condition (``">= 0.86"``, or ``">= present - 0.01"`` to compare with where it points);
                they take the place of those that stand, and none set the alias free.
            why: kept in the history.

        Raises:
            UsageError: a condition is none, or no version of the network can have such a metric.
            VersionNotFound: there is no such network.
        """
        path, demanded = history.parted(name), given.texts(conditions, "conditions", '{"accuracy": ">= 0.86"}')

        def action(connection: Connection, said: Said) -> Gate:
            return gates.protect(connection, Gate(*path, said.when, said.who, said.why, demanded))

        return self._noted(path, action, why)

    def aliases(self, name: str = "") -> dict[str, str]:
        """Where aliases point now, those of a name or of all: ``income@prod`` → digest."""
        given.text(name, "name", "income")
        with self._reading() as connection:
            return history.current(connection, name)

    def history(self, name: str) -> list[Move]:
        """Every move of an alias (``income@prod``), the newest first.

        Raises:
            UsageError: it is no alias.
            VersionNotFound: it was never set.
        """
        path = history.parted(name)
        with self._reading() as connection:
            return history.history(connection, *path)

    def protected(self, name: str = "") -> dict[str, Gate]:
        """The gates that stand now, those of a name or of all: ``income@prod`` → gate."""
        given.text(name, "name", "income")
        with self._reading() as connection:
            return gates.current(connection, name)

    def gates(self, name: str) -> list[Gate]:
        """Every gate that an alias (``income@prod``) ever had, the newest first; one without conditions set it free.

        Raises:
            UsageError: it is no alias.
        """
        path = history.parted(name)
        with self._reading() as connection:
            return gates.history(connection, *path)

    def named(self, digests: Collection[str]) -> dict[str, str]:
        """Digest → ``income:7``, of those that are versions."""
        wanted = given.words(digests, "digests", "sha256:9f2c41aa…")
        with self._reading() as connection:
            return history.named(connection, wanted)

    def _noted(self, path: tuple[str, str], action: Callable[[Connection, Said], T], why: str) -> T:
        """Do something to an alias, in the catalog and in the documents of the place."""
        again, written, lease, now = history.ANEW, False, 0, self._now()

        def documented(connection: Connection) -> None:
            nonlocal again, written
            written = True
            again = history.document(connection, self._plain, path, again)

        def whole(connection: Connection) -> T:
            made = action(connection, Said(now, self.who, why))
            if not written:
                history.demand_newest(connection, self._plain, path, made, lease=lease)
            documented(connection)
            leases.end(connection, lease)
            return made

        self._there()
        documents.encode([self.who, why], "who moves an alias, or why,")
        lease = self._catalog.write(lambda connection: _noticed(connection, path, now))
        try:
            done = self._catalog.write(whole)
        except Exception:
            with suppress(StoreError):
                if written:  # the documents should not tell of what did not happen; else the next move sees to it
                    self._catalog.write(documented)
                self._catalog.write(lambda connection: leases.end(connection, lease))
            raise
        self._index.publish()
        return done


def _noticed(connection: Connection, path: tuple[str, str], now: datetime) -> int:
    """A lease that says what is being changed: should this process die, its document is known for what it is."""
    return leases.take(connection, leases.owner(), [history.marker(path)], now=now)[0]
