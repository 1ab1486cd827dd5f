"""Snapshots: all that a journal came to, written down now and then, from which a new machine begins.

A snapshot is a folder of pages and, written last, ``head.json``, which names them and the document of the journal that
they follow upon: half a snapshot has no head, and one of another journal is seen to be that. The journal stays the
truth, so a snapshot that cannot be used is passed over. They come the more rarely the longer a journal is, so that what
they cost stays the same share of every change.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Iterator
from secrets import token_hex

from sqlalchemy import Connection

from engram.errors import StoreError
from engram.store.catalogs import _changes, _front, _pages
from engram.store.catalogs._changes import Change
from engram.store.catalogs._pages import Contents
from engram.store.objects import digest
from engram.store.places._contract import Place

__all__ = ["STEM", "begin", "due", "write"]

STEM = "snapshots/"

_LOG = logging.getLogger(__name__)
_EVERY = 200
_SHARE = 16  # of a journal, at most, lies behind its last snapshot
_HELD = 2  # of which a machine that is just reading one needs the older
_FOLDER = re.compile(r"snapshots/([0-9]{12})-([0-9a-f]{8,64})/(head\.json)?.*")
_SINGLE = re.compile(r"snapshots/([0-9]{12})\.json\.gz")


def due(number: int) -> bool:
    """Whether a snapshot is to be written after the transaction of this number."""
    return number % _apart(number) == 0


def write(place: Place, connection: Connection, head: tuple[int, str]) -> None:
    """Write a snapshot, and remove those that nobody needs any more.

    Args:
        place: of the journal.
        connection: that sees what the journal came to.
        head: number and digest of the last document that was put in.

    Raises:
        StoreError: the place refuses; half a snapshot harms nobody, and the next one removes it.
    """
    number, since = head
    token = token_hex(8)
    folder = f"{STEM}{number:012d}-{token}"
    digests = tuple(_pages.write(place, folder, _pages.portions(_changes.every(connection))))
    place.write(f"{folder}/head.json", _pages.listing(Contents(digests, token, since)))
    _tidy(place)


def begin(place: Place, connection: Connection, head: int, named: Callable[[int], str]) -> tuple[int, str]:
    """Let the rows be those of the newest snapshot that is worth it and can be used.

    Args:
        place: of the journal.
        connection: of a transaction that writes.
        head: how far the rows follow the journal now.
        named: what the document of a transaction is called.

    Returns:
        How far they follow it then, and the digest of the last document; empty where no snapshot was used.

    Raises:
        StoreError: the place refuses to list what there is.
    """
    found = sorted(_heads(place.documents(STEM)), reverse=True)
    for number, name in found:
        if number <= head + _apart(number) // 4:
            break
        try:
            since = digest([place.document(named(number), most=_pages.LARGEST)])
            with connection.begin_nested():
                _changes.clear(connection)
                _changes.put_in(connection, _read(place, name, since))
        except StoreError as wrong:
            _LOG.warning("a snapshot is passed over", extra={"place": place.url, "snapshot": name, "why": str(wrong)})
        else:
            return number, since
    return head, ""


def _apart(number: int) -> int:
    """How many transactions lie between two snapshots here."""
    step = _EVERY
    while number >= 2 * _SHARE * step:
        step *= 2
    return step


def _read(place: Place, name: str, since: str) -> Iterator[Change]:
    document, where = place.document(name, most=_pages.LARGEST), f"{name} in {place.url}"
    if _SINGLE.fullmatch(name):  # of an Engram that wrote one document, whatever its size
        return _front.decode(document, where)
    said = _pages.contents(document, where)
    if said is None or said.since != since:
        raise StoreError(f"{where} is no snapshot of this journal; remove it")
    return _pages.read(place, name.removesuffix("/head.json"), said)


def _heads(names: Iterable[str]) -> Iterator[tuple[int, str]]:
    """The number and the document of each snapshot that is whole."""
    for name in names:
        found = _FOLDER.fullmatch(name)
        if found is not None and found[3]:
            yield int(found[1]), name
        elif single := _SINGLE.fullmatch(name):
            yield int(single[1]), name


def _tidy(place: Place) -> None:
    """Remove older snapshots, each head first, and the halves of those that nobody will finish."""
    names = place.documents(STEM)
    held = sorted(_heads(names), reverse=True)[:_HELD]
    if len(held) < _HELD:
        return
    older = [name for name in names if _before(name, held[-1][0])]
    for name in sorted(older, key=lambda name: not name.endswith("/head.json")):
        place.remove(name)


def _before(name: str, number: int) -> bool:
    """Whether a document is part of a snapshot that was begun before a transaction."""
    found = _FOLDER.fullmatch(name) or _SINGLE.fullmatch(name)
    return found is not None and int(found[1]) < number
