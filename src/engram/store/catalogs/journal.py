"""The catalog as a journal in the place itself: for an object store without a database beside it.

Each transaction is one document, ``journal/000000000042.json``, which lists the rows it changed; whoever makes the
document of a number first was first, and the server itself decides that (``If-None-Match: *``). What the journal comes
to is kept in a SQLite file on each machine and only brought up to date, so that reading asks the server for news and
nothing else. Every so many transactions the whole is written down as a snapshot, from which a new machine begins. Rows
travel and no statements: a stranger's journal can hold wrong rows, but nothing that is run. No document grows with the
store: what is too much for one is spread over pages.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from secrets import token_hex
from typing import Generic, Protocol, TypeVar

from sqlalchemy import Connection, text

from engram.errors import StoreError
from engram.store.catalogs import _changes, _front, _pages, _snapshots
from engram.store.catalogs._changes import Change
from engram.store.catalogs._contract import Site, lost
from engram.store.catalogs._pages import Contents
from engram.store.catalogs.sqlite import Sqlite
from engram.store.evidence import inhabited
from engram.store.objects import digest
from engram.store.places._contract import Place
from engram.store.tables import HEAD

__all__ = ["Journal", "open"]

T = TypeVar("T")

_LOG = logging.getLogger(__name__)
_STEM = "journal/"
_LARGE = "transactions/"
_BLOCK = 100
_ATTEMPTS = 200


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
        self._begun = False

    def prepare(self) -> None:
        """Make sure that the place lets only one writer be first, and that this machine can remember.

        Raises:
            StoreError: it lets every writer be first, so that only a database can be the catalog; or it holds
                versions whose journal is gone.
        """
        if not self._begun:
            if not self._later(0) and inhabited(self._place) and not self._later(0):  # somebody may just have begun it
                raise StoreError(lost(self.url))
            self._begun = True
        probe = getattr(self._place, "conditional", None)
        if probe is not None:
            probe()
        self._remember()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that sees what the journal comes to now.

        Raises:
            StoreError: the place refuses, or holds versions whose journal is gone.
        """
        self._remember()
        self._catch_up()
        with self._cache.reading() as connection:
            if not _head(connection) and inhabited(self._place) and not self._later(0):
                raise StoreError(lost(self.url))
            yield connection

    def write(self, action: Callable[[Connection], T]) -> T:
        """What an action returns whose changes were the next in the journal, on top of those of all others.

        Raises:
            StoreError: the place refuses; nothing was changed.
        """
        self._remember(look=True)
        for _ in range(_ATTEMPTS):
            self._catch_up()
            turn = _Turn(action)
            try:
                with _undone() as stop, self._cache.writing() as connection:
                    self._attempt(connection, turn, stop)
            except StoreError as refused:
                if not turn.done:
                    raise
                _LOG.warning("this machine is behind its journal", extra={"place": self.url, "why": str(refused)})
            if turn.done:
                self._snapshot(turn.number)
                return turn.done[0]
        raise StoreError(f"{_ATTEMPTS} other writers were first in {self.url}; try again, or use a PostgreSQL catalog")

    def _attempt(self, connection: Connection, turn: _Turn[T], stop: Callable[[], None]) -> None:
        """Act, and be the next in the journal; from then on it is done, whatever this machine can remember of it."""
        head = _head(connection)
        if self._later(head):
            stop()
        _changes.note(connection)
        made = turn.action(connection)
        content = self._documented(head + 1, _pages.portions(_changes.made(connection)))
        if not content:
            turn.done.append(made)
            return
        if not self._first(_name(head + 1), content):
            self._take_back(head + 1, content)
            stop()
        turn.done.append(made)
        turn.number = head + 1
        _advance(connection, head + 1, digest([content]))

    def _documented(self, number: int, portioned: Iterator[list[str]]) -> bytes:
        """The document of a transaction, its pages written where it has any; empty where it changed nothing."""
        first, second = next(portioned, None), next(portioned, None)
        if first is None or second is None:
            return _pages.encode(first) if first else b""
        token = token_hex(8)
        written = _pages.write(self._place, _folder(number, token), itertools.chain((first, second), portioned))
        return _pages.listing(Contents(tuple(written), token))

    def _take_back(self, number: int, content: bytes) -> None:
        """Remove the pages of a document that was not made; what a place keeps nevertheless harms nobody."""
        said = _pages.contents(content, self.url)
        with suppress(StoreError):
            for name in self._place.documents(f"{_folder(number, said.token)}/") if said else ():
                self._place.remove(name)

    def _snapshot(self, number: int) -> None:
        """Write a snapshot where one is due, while nobody waits for this machine to be done with its own."""
        if not number or not _snapshots.due(number):
            return
        try:
            with self._cache.reading() as connection:
                _snapshots.write(self._place, connection, _state(connection))
        except StoreError as refused:
            _LOG.warning("a snapshot was not written", extra={"place": self.url, "why": str(refused)})

    def anew(self, action: Callable[[Connection], T]) -> T:
        """What an action returns that began a new journal; the present one is put aside under ``journal-old-…``.

        Raises:
            StoreError: the place refuses.
        """
        aside = token_hex(4)
        for stem in (_STEM, _LARGE, _snapshots.STEM):
            for name in reversed(self._place.documents(stem)):
                self._place.write(f"journal-old-{aside}/{name}", self._place.document(name, most=_pages.LARGEST))
                self._place.remove(name)
        self._remembered = False
        return self.write(action)

    def _first(self, name: str, content: bytes) -> bool:
        """Whether this document is now the one of its number; a lost answer may hide that it was made."""
        return self._place.create(name, content) or self._document(name) == content

    def _remember(self, *, look: bool = False) -> None:
        """Make what this machine remembers, which is never the truth, or forget it where the journal is another one."""
        if self._remembered and not look and self._cache.path.exists():
            return
        self._cache.path.parent.mkdir(parents=True, exist_ok=True)
        self._cache.prepare()
        self._cache.write(_begin)
        with self._cache.reading() as connection:
            head, known = _state(connection)
        if head and not (self._later(head - 1) and digest([self._document(_name(head))]) == known):
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
        head, known = _snapshots.begin(self._place, connection, _head(connection), _name)
        wanted = self._after(head)
        for name, content in zip(wanted, _pages.fetched(self._place, wanted), strict=True):
            head, known = self._next(head, name), digest([content])
            _changes.put_in(connection, self._read(name, content))
        if known:
            _advance(connection, head, known)

    def _read(self, name: str, content: bytes) -> Iterable[Change]:
        """The changes of a transaction."""
        where = f"{name} in {self.url}"
        said = _pages.contents(content, where)
        if said is None:
            return _front.decode(content, where)
        return _pages.read(self._place, _folder(_number(name), said.token), said)

    def _document(self, name: str) -> bytes:
        return self._place.document(name, most=_pages.LARGEST)

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


class _Turn(Generic[T]):
    """One attempt at being the next in the journal.

    Attributes:
        action: to be done.
        done: what it returned, once that is so for all.
        number: in the journal, then; 0 where nothing was changed.
    """

    def __init__(self, action: Callable[[Connection], T]) -> None:
        self.action = action
        self.done: list[T] = []
        self.number = 0


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
    _changes.clear(connection)
    _advance(connection, 0, "")


def _state(connection: Connection) -> tuple[int, str]:
    """Number and digest of the last document of the journal that is put in."""
    number, known = connection.execute(text("SELECT number, digest FROM heads")).one()
    return int(number), str(known)


def _head(connection: Connection) -> int:
    return _state(connection)[0]


def _advance(connection: Connection, head: int, known: str) -> None:
    """Remember up to where the journal is put in, and by the digest of its last document that it is this journal."""
    connection.execute(text("UPDATE heads SET number = :head, digest = :known"), {"head": head, "known": known})


def _name(number: int) -> str:
    return f"{_STEM}{number:012d}.json"


def _folder(number: int, token: str) -> str:
    """Where the pages of a transaction are that is too large for one document."""
    return f"{_LARGE}{number:012d}-{token}"


def _number(name: str) -> int:
    digits = name.rpartition("/")[2].partition(".")[0]
    return int(digits) if digits.isdigit() else 0
