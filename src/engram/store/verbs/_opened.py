"""A store that is open: what all its verbs stand on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from engram.errors import StoreError
from engram.records import Model, Prediction
from engram.store import manifests, references
from engram.store.catalogs._contract import Catalog
from engram.store.files import Files
from engram.store.index import Index
from engram.store.places._contract import Place
from engram.store.signatures.trust import Trust
from engram.store.writing import Site

__all__ = ["Opened", "Parts"]


@dataclass(frozen=True, slots=True)
class Parts:
    """What a store is put together from.

    Attributes:
        place: of the blobs, those that are stored as differences included.
        plain: the same, where a blob is only what it is stored as.
        catalog: what is known of them.
        folder: on this machine: that of the store, or one for what is remembered of a remote place.
        who: moves aliases.
        clock: tells the time, with its zone.
        answer: the runtime handed to every model that is loaded.
        trust: files of public keys, by one of which a version must be signed; empty leaves it to the store.
    """

    place: Place
    plain: Place
    catalog: Catalog
    folder: Path
    who: str
    clock: Callable[[], datetime]
    answer: Callable[[Model, Any], Prediction] | None = None
    trust: tuple[str | Path, ...] = ()


class Opened:
    """What all verbs of a store stand on.

    Attributes:
        url: where it is, as the user named it.
        folder: on this machine: the store's own, or one for what is remembered of a remote place.
        catalog: where it is written down what is kept: a file, the URL of a database, or ``url`` itself.
        who: moves aliases.
    """

    def __init__(self, parts: Parts) -> None:
        self.url = parts.place.url
        self.folder = parts.folder
        self.catalog = parts.catalog.url
        self.who = parts.who
        self._place = parts.place
        self._plain = parts.plain
        self._catalog = parts.catalog
        self._clock = parts.clock
        self._answer = parts.answer
        self._trust = Trust(parts.plain, parts.trust)
        self._index = Index(parts.plain, parts.catalog)

    def exists(self) -> bool:
        """Whether anything was ever kept here; looking makes nothing.

        Raises:
            StoreError: the place refuses.
        """
        return self._place.exists()

    def _now(self) -> datetime:
        return self._clock().astimezone(UTC)

    @property
    def _site(self) -> Site:
        return Site(self._place, self._catalog, self._now)

    @property
    def _released(self) -> Site:
        """Where versions are written: their blobs lie there as they are, so that other tools open them in place."""
        return Site(self._plain, self._catalog, self._now)

    def _there(self) -> None:
        if not self._place.exists():
            raise StoreError(
                f"there is no store at {self.url}; engram run makes one, or name the right folder with --store"
            )

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        self._there()
        with self._catalog.reading() as connection:
            yield connection

    def _digest(self, reference: str) -> str:
        """The digest of the version that a reference means."""
        with self._reading() as connection:
            return str(references.resolve(connection, reference).digest)

    def _files(self, reference: str, *, verify: bool = False, signed: bool = True) -> Files:
        """The files of the version that a reference means.

        Args:
            reference: to the version.
            verify: whether tensors are hashed before they are handed out.
            signed: whether what is demanded of signatures holds; not for what is only said of a version.
        """
        with self._reading() as connection:
            row = references.resolve(connection, reference)
        manifest = manifests.read(self._place, row.digest)
        demanded = signed and bool(self._trust.keys())
        files = Files(self._place, manifest, reference, verify=verify or demanded)
        if demanded:
            self._trust.demand(files, manifest, f"{row.name}:{row.number}")
        return files
