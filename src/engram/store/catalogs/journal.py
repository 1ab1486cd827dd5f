"""The catalog as a journal in the place itself: for an object store without a database beside it.

Each transaction is one document, ``journal/000000000042.json``, which lists the rows it changed; whoever makes the
document of a number first was first, and the server itself decides that (``If-None-Match: *``). What the journal comes
to is kept in a SQLite file on each machine and only brought up to date, so that reading asks the server for news and
nothing else. Every so many transactions the whole is written down as a snapshot, from which a new machine begins. Rows
travel and no statements: a stranger's journal can hold wrong rows, but nothing that is run.
"""

from __future__ import annotations

import gzip
import io
import json
import logging
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from secrets import token_hex
from typing import Any, Protocol, TypeVar

from sqlalchemy import Connection, Table, text

from engram.errors import StoreError
from engram.store.catalogs._contract import Site
from engram.store.catalogs.sqlite import Sqlite
from engram.store.objects import digest
from engram.store.places._contract import Place
from engram.store.tables import HEAD, METADATA

__all__ = ["Journal", "open"]

T = TypeVar("T")

_LOG = logging.getLogger(__name__)
_STEM = "journal/"
_SNAPSHOTS = "snapshots/"
_EVERY = 200
_BLOCK = 100
_ATTEMPTS = 200
_READERS = 16
_LARGEST = 1_000_000_000


class Conditional(Protocol):
    """A place that can say whether it makes a document only where there is none."""

    def conditional(self) -> None:
        """Probe it; ``StoreError`` if it cannot be relied on."""
        ...


def open(site: Site) -> Journal:  # noqa: A001 - the word of the shelf's contract
    """The catalog that a place keeps of itself; nothing is asked of it yet."""
    return Journal(site.place, Sqlite(site.folder / f"catalog-{HEAD}.db"))


class Journal:
    """A journal, and what it came to when this machine last looked.

    Attributes:
        url: of the place.
    """

    def __init__(self, place: Place, cache: Sqlite) -> None:
        self.url = place.url
        self._place = place
        self._cache = cache
        self._remembered = False

    def prepare(self) -> None:
        """Make sure that the place lets only one writer be first, and that this machine can remember.

        Raises:
            StoreError: it lets every writer be first, so that only a database can be the catalog.
        """
        probe = getattr(self._place, "conditional", None)
        if probe is not None:
            probe()
        self._remember()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that sees what the journal comes to now."""
        self._remember()
        self._catch_up()
        with self._cache.reading() as connection:
            yield connection

    def write(self, action: Callable[[Connection], T]) -> T:
        """What an action returns whose changes were the next in the journal, on top of those of all others.

        Raises:
            StoreError: the place refuses; nothing was changed.
        """
        self._remember(look=True)
        for _ in range(_ATTEMPTS):
            self._catch_up()
            done: list[T] = []
            try:
                with _undone() as stop, self._cache.writing() as connection:
                    self._attempt(connection, action, done, stop)
            except StoreError as refused:
                if not done:
                    raise
                _LOG.warning("this machine is behind its journal", extra={"place": self.url, "why": str(refused)})
            if done:
                return done[0]
        raise StoreError(f"{_ATTEMPTS} other writers were first in {self.url}; try again, or use a PostgreSQL catalog")

    def _attempt(
        self, connection: Connection, action: Callable[[Connection], T], done: list[T], stop: Callable[[], None]
    ) -> None:
        """Act, and be the next in the journal; from then on it is done, whatever this machine can remember of it."""
        head = _head(connection)
        if self._later(head):
            stop()
        _record(connection)
        made = action(connection)
        changes = _changes(connection)
        if not changes:
            done.append(made)
            return
        content = _encode(changes)
        if not self._first(_name(head + 1), content):
            stop()
        done.append(made)
        _advance(connection, head + 1, content)
        if (head + 1) % _EVERY == 0:
            try:
                self._place.write(f"{_SNAPSHOTS}{head + 1:012d}.json.gz", _snapshot(connection))
            except StoreError as refused:
                _LOG.warning("a snapshot was not written", extra={"place": self.url, "why": str(refused)})

    def anew(self, action: Callable[[Connection], T]) -> T:
        """What an action returns that began a new journal; the present one is put aside under ``journal-old-…``.

        Raises:
            StoreError: the place refuses.
        """
        aside = token_hex(4)
        for stem in (_STEM, _SNAPSHOTS):
            for name in reversed(self._place.documents(stem)):
                self._place.write(f"journal-old-{aside}/{name}", self._place.document(name))
                self._place.remove(name)
        self._remembered = False
        return self.write(action)

    def _first(self, name: str, content: bytes) -> bool:
        """Whether this document is now the one of its number; a lost answer may hide that it was made."""
        return self._place.create(name, content) or self._place.document(name) == content

    def _remember(self, *, look: bool = False) -> None:
        """Make what this machine remembers, which is never the truth, or forget it where the journal is another one."""
        if self._remembered and not look and self._cache.path.exists():
            return
        self._cache.path.parent.mkdir(parents=True, exist_ok=True)
        self._cache.prepare()
        self._cache.write(_begin)
        with self._cache.reading() as connection:
            head, known = connection.execute(text("SELECT number, digest FROM heads")).one()
        if head and not (self._later(head - 1) and digest([self._place.document(_name(head))]) == known):
            self._cache.write(_forget)
        self._remembered = True

    def _later(self, head: int) -> bool:
        """Whether the journal goes on after a number."""
        return bool(self._place.documents(_name(head + 1)))

    def _catch_up(self) -> None:
        with self._cache.reading() as connection:
            head = _head(connection)
        if not self._later(head):
            return
        self._cache.write(self._follow)

    def _follow(self, connection: Connection) -> None:
        head, content = _head(connection), b""
        snapshots = [_number(name) for name in self._place.documents(_SNAPSHOTS)]
        newest = max(snapshots, default=0)
        if newest > head + _EVERY // 4:
            _restore(connection, _decode(self._place.document(f"{_SNAPSHOTS}{newest:012d}.json.gz"), self.url))
            head, content = newest, self._place.document(_name(newest))
        wanted = self._after(head)
        with ThreadPoolExecutor(_READERS) as pool:
            for name, content in zip(wanted, pool.map(self._place.document, wanted), strict=True):
                head = self._next(head, name)
                _apply(connection, _decode(content, f"{name} in {self.url}"))
        if content:
            _advance(connection, head, content)

    def _after(self, head: int) -> list[str]:
        """The documents after a number, asked for a hundred at a time: the names of old ones need not be read again."""
        found: list[str] = []
        block = (head + 1) // _BLOCK
        while names := self._place.documents(f"{_STEM}{block:010d}"):
            found += names
            block += 1
        return [name for name in found if _number(name) > head]

    def _next(self, head: int, name: str) -> int:
        if _number(name) != head + 1:
            raise StoreError(
                f"{_name(head + 1)} is missing in {self.url}; bring it back, or run engram verify --rebuild"
            )
        return head + 1


class _AgainError(Exception):
    """Somebody else was first."""


@contextmanager
def _undone() -> Iterator[Callable[[], None]]:
    """A block that ends quietly when its function is called."""

    def stop() -> None:
        raise _AgainError

    try:
        yield stop
    except _AgainError:
        return


def _begin(connection: Connection) -> None:
    connection.execute(text("CREATE TABLE IF NOT EXISTS heads (number INTEGER NOT NULL, digest TEXT NOT NULL)"))
    if connection.execute(text("SELECT count(*) FROM heads")).scalar_one() == 0:
        connection.execute(text("INSERT INTO heads VALUES (0, '')"))


def _forget(connection: Connection) -> None:
    _restore(connection, [])
    connection.execute(text("UPDATE heads SET number = 0, digest = ''"))


def _head(connection: Connection) -> int:
    return int(connection.execute(text("SELECT number FROM heads")).scalar_one())


def _advance(connection: Connection, head: int, content: bytes) -> None:
    """Remember up to where the journal is known, and by its last document that it is this journal."""
    known = {"head": head, "digest": digest([content])}
    connection.execute(text("UPDATE heads SET number = :head, digest = :digest"), known)


def _name(number: int) -> str:
    return f"{_STEM}{number:012d}.json"


def _number(name: str) -> int:
    digits = name.rpartition("/")[2].partition(".")[0]
    return int(digits) if digits.isdigit() else 0


def _record(connection: Connection) -> None:
    """Let triggers of this connection note every row that is changed."""
    connection.execute(text("CREATE TEMP TABLE IF NOT EXISTS changes (kind TEXT, name TEXT, row TEXT)"))
    connection.execute(text("DELETE FROM changes"))
    for table in METADATA.sorted_tables:
        for kind, verb, row in (("put", "INSERT", "NEW"), ("put", "UPDATE", "NEW"), ("drop", "DELETE", "OLD")):
            columns = table.columns if kind == "put" else table.primary_key.columns
            values = ", ".join(f"'{column.name}', {row}.\"{column.name}\"" for column in columns)
            connection.execute(text(
                f"CREATE TEMP TRIGGER IF NOT EXISTS note_{table.name}_{verb} AFTER {verb} ON main.{table.name} "  # noqa: S608 - names of our own tables
                f"BEGIN INSERT INTO changes VALUES ('{kind}', '{table.name}', json_object({values})); END"
            ))  # fmt: skip


def _changes(connection: Connection) -> list[list[Any]]:
    rows = connection.execute(text("SELECT kind, name, row FROM changes ORDER BY rowid"))
    return [[kind, name, json.loads(row)] for kind, name, row in rows]


def _encode(changes: list[list[Any]]) -> bytes:
    """The changes as a document, which no other writer's equals."""
    whole = {"revision": HEAD, "changes": changes, "token": token_hex(8)}
    return json.dumps(whole, separators=(",", ":"), ensure_ascii=False).encode()


def _decode(content: bytes, where: str) -> list[list[Any]]:
    """The changes of a document of the journal, or of a snapshot.

    Raises:
        StoreError: it is not one, or of a newer Engram.
    """
    try:
        if content[:2] == b"\x1f\x8b":
            content = _unpacked(content)
        found = json.loads(content)
        revision, changes = found["revision"], found["changes"]
        known = all(kind in {"put", "drop"} and isinstance(row, dict) for kind, _, row in changes)
    except (ValueError, KeyError, TypeError, OSError, EOFError, RecursionError) as wrong:
        raise StoreError(f"{where} is not part of a journal: {wrong}; bring back a copy of it") from wrong
    if not known or not isinstance(revision, str):
        raise StoreError(f"{where} is not part of a journal: its changes are neither put nor drop; bring back a copy")
    if revision > HEAD:
        raise StoreError(
            f"{where} has revision {revision}, newer than {HEAD}, which this Engram knows; pip install --upgrade engram"
        )
    return list(changes)


def _unpacked(content: bytes) -> bytes:
    with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
        whole = file.read(_LARGEST + 1)
    if len(whole) > _LARGEST:
        raise ValueError(f"more than {_LARGEST:,} bytes")
    return whole


def _apply(connection: Connection, changes: list[list[Any]]) -> None:
    for kind, name, row in changes:
        table = METADATA.tables.get(name)
        if table is None or not set(row) <= set(table.columns.keys()):
            raise StoreError(f"a journal changes {name!r} with {sorted(row)[:5]}, which this Engram does not know")
        connection.execute(_statement(kind, table, row), row)


def _statement(kind: str, table: Table, row: Mapping[str, Any]) -> Any:  # noqa: ANN401 - a text clause
    if kind == "drop":
        where = " AND ".join(f'"{column.name}" = :{column.name}' for column in table.primary_key.columns)
        return text(f'DELETE FROM main."{table.name}" WHERE {where}')  # noqa: S608 - names of our own tables
    names, values = ", ".join(f'"{name}"' for name in row), ", ".join(f":{name}" for name in row)
    return text(f'INSERT OR REPLACE INTO main."{table.name}" ({names}) VALUES ({values})')  # noqa: S608 - likewise


def _snapshot(connection: Connection) -> bytes:
    """All rows, as changes that make them."""
    changes: list[list[Any]] = []
    for table in METADATA.sorted_tables:
        rows = connection.execute(text(f'SELECT * FROM main."{table.name}"'))  # noqa: S608 - names of our own tables
        changes += [["put", table.name, dict(row)] for row in rows.mappings()]
    return gzip.compress(_encode(changes), 1, mtime=0)


def _restore(connection: Connection, changes: list[list[Any]]) -> None:
    for table in METADATA.sorted_tables:
        connection.execute(text(f'DELETE FROM main."{table.name}"'))  # noqa: S608 - names of our own tables
    _apply(connection, changes)
