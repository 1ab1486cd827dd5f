"""The ``index.json`` of a folder: every kept version by its names, for tools that know nothing of Engram.

Such a file can only be written as a whole, so it costs the more the more is kept. In a store of more than a few hundred
versions a process therefore writes it for at most a fiftieth of its time: what it kept in between is listed with the
next one, when the store is closed, at the end of the program, or by ``engram verify``. A move of an alias is listed at
once. Nothing in Engram reads the file; the catalog is what is true.
"""

from __future__ import annotations

import atexit
import logging
import os
import time
from collections.abc import Callable
from contextlib import suppress

from sqlalchemy import Connection, func, select

from engram.errors import StoreError
from engram.store import manifests, tables
from engram.store.catalogs._contract import Catalog
from engram.store.objects import Blob
from engram.store.places import kind
from engram.store.places._contract import MARKS, Place

__all__ = ["Index", "listed"]

_LOG = logging.getLogger(__name__)
_NAME = "index.json"
_FEW = 256  # versions that are listed with every one of them
_SHARE = 50


class Index:
    """The index of one store, as one process writes it."""

    def __init__(self, place: Place, catalog: Catalog, clock: Callable[[], float] = time.monotonic) -> None:
        self._place = place
        self._catalog = catalog
        self._clock = clock
        self._behind = False
        self._rests = 0.0

    def publish(self, *, later: bool = False) -> None:
        """List what is kept, after the transaction that changed it: the file must never name what is not kept.

        It is written in a transaction, so that writers take turns. A refusal is logged and not raised: what the caller
        did is done, and whoever publishes next makes up for it. Only a folder is an OCI image layout; nobody reads an
        index in an object store, where writers cannot take turns.

        Args:
            later: whether it can wait until it is due.
        """
        if kind(self._place.url) != "folder":
            return
        if later and self._clock() < self._rests:
            self._wait()
            return
        try:
            self._catalog.write(self._write)
        except StoreError as refused:
            _LOG.warning("index.json is out of date", extra={"place": self._place.url, "why": str(refused)})
        self._done()

    def settle(self) -> None:
        """List what is not listed yet."""
        if self._behind:
            self.publish()

    def check(self) -> None:
        """Bring the file up to date where it is not, whoever left it so."""
        if kind(self._place.url) != "folder":
            return
        with self._catalog.reading() as connection:
            wanted = manifests.index(listed(connection))
        for name, content in MARKS:
            if name != _NAME and self._there(name) != content:
                with suppress(StoreError):  # a store that may only be read stays as it is
                    self._place.write(name, content)
        there = self._there(_NAME)
        if there != wanted:
            self.publish()

    def _there(self, name: str) -> bytes:
        try:
            return self._place.document(name)
        except StoreError:
            return b""

    def _write(self, connection: Connection) -> None:
        began = self._clock()
        versions = listed(connection)
        self._place.write(_NAME, manifests.index(versions))
        ended = self._clock()
        self._rests = ended + _SHARE * (ended - began) if len(versions) > _FEW else 0.0

    def _wait(self) -> None:
        if not self._behind:
            atexit.register(self._leave, os.getpid())
        self._behind = True

    def _done(self) -> None:
        if self._behind:
            atexit.unregister(self._leave)
        self._behind = False

    def _leave(self, owner: int) -> None:
        """At the end of the program; a child process that inherited the store leaves it to its parent."""
        if os.getpid() == owner and self._place.exists():
            self.settle()


def listed(connection: Connection) -> list[tuple[str, Blob]]:
    """What ``index.json`` lists: references and the manifests they mean.

    Every version as ``income:7``, the latest also as ``income``, and what aliases point at as ``income@prod``.
    """
    rows, moves = tables.versions.c, tables.moves
    asked = select(rows.name, rows.number, rows.digest, rows.manifest).order_by(rows.name, rows.number.desc())
    found, last, called = list[tuple[str, Blob]](), "", ""
    for name, number, digest, size in connection.execute(asked):
        blob = Blob(digest, size)
        if name != last:
            last, called = name, manifests.called(name)
            found.append((called, blob))
        found.append((f"{called}:{number}", blob))
    newest = select(func.max(moves.c.id)).group_by(moves.c.name, moves.c.alias)
    aliased = select(rows.name, moves.c.alias, rows.digest, rows.manifest)
    aliased = aliased.join(moves, moves.c.target == rows.digest).where(moves.c.id.in_(newest))
    for name, alias, digest, size in connection.execute(aliased.order_by(rows.name, moves.c.alias)):
        found.append((f"{manifests.called(name)}@{manifests.called(alias)}", Blob(digest, size)))
    return found
