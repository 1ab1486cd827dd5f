"""Changes as documents of a place, and back: each bounded in size, whatever they come to together.

What is too much for one document is several (*pages*), and one that names them by their digests, which is written last:
whoever finds that one finds all of it. Pages are small, so that a catalog of any size passes through little memory.
"""

from __future__ import annotations

import gzip
import json
import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from secrets import token_hex
from typing import Any

from engram.errors import StoreError
from engram.store.catalogs import _front
from engram.store.catalogs._changes import Change
from engram.store.objects import digest
from engram.store.places._contract import Place
from engram.store.tables import HEAD

__all__ = ["LARGEST", "Contents", "contents", "encode", "fetched", "listing", "portions", "read", "write"]

LARGEST = 256_000_000
"""Bytes of a document that are read: far more than is ever written now, for what older Engrams wrote as one."""

_PAGE = 4_000_000
_READERS = 16
_PAGED = re.compile(rb'\{"revision":"[^"]{1,32}","pages":\[')


@dataclass(frozen=True, slots=True)
class Contents:
    """What a document says that has its changes on pages.

    Attributes:
        digests: of the pages, in their order.
        token: in the name of the folder that they are in.
        since: the digest of what they follow upon; empty if nothing.
    """

    digests: tuple[str, ...]
    token: str
    since: str = ""


def portions(changes: Iterable[str], most: int = _PAGE) -> Iterator[list[str]]:
    """Changes, each as JSON, as many together as go into a document.

    Raises:
        StoreError: one is larger than any that is read back.
    """
    portion, size = list[str](), 0
    for change in changes:
        if len(change) > _front.ROW:
            raise StoreError(
                f"a row of the catalog has {len(change):,} characters, more than the {_front.ROW:,} that a journal "
                "takes; keep less in facts and metrics, or use a PostgreSQL catalog"
            )
        if portion and size + len(change) > most:
            yield portion
            portion, size = [], 0
        portion.append(change)
        size += len(change)
    if portion:
        yield portion


def encode(portion: Sequence[str]) -> bytes:
    """Changes as a document, which no other writer's equals."""
    return f'{{"revision":"{HEAD}","changes":[{",".join(portion)}],"token":"{token_hex(8)}"}}'.encode()


def write(place: Place, folder: str, portioned: Iterable[Sequence[str]]) -> Iterator[str]:
    """Write pages into a folder, one for each portion; their digests, each when it is there.

    Raises:
        StoreError: the place refuses.
    """
    for number, portion in enumerate(portioned, start=1):
        content = gzip.compress(encode(portion), 1, mtime=0)
        place.write(_name(folder, number), content)
        yield digest([content])


def listing(said: Contents) -> bytes:
    """The document that names pages."""
    listed = json.dumps(said.digests, separators=(",", ":"))
    return f'{{"revision":"{HEAD}","pages":{listed},"token":"{said.token}","since":"{said.since}"}}'.encode()


def contents(document: bytes, where: str) -> Contents | None:
    """What a document says of its pages; None where it has its changes in itself.

    Raises:
        StoreError: it says it wrongly.
    """
    if not _PAGED.match(document):
        return None
    try:
        return _said(json.loads(document), where)
    except (ValueError, KeyError, TypeError, RecursionError) as wrong:
        raise StoreError(f"{where} is not part of a journal: {wrong!r}; bring back a copy of it") from wrong


def read(place: Place, folder: str, said: Contents) -> Iterator[Change]:
    """The changes on pages, each page seen to be the one that was meant.

    Raises:
        StoreError: one is gone, damaged or no page, or the place refuses.
    """
    names = [_name(folder, number) for number in range(1, len(said.digests) + 1)]
    for name, wanted, content in zip(names, said.digests, fetched(place, names), strict=True):
        where = f"{name} in {place.url}"
        if digest([content]) != wanted:
            raise StoreError(f"{where} is not what was written; bring back a copy of it")
        yield from _front.decode(content, where, 2 * (_PAGE + _front.ROW))


def fetched(place: Place, names: Iterable[str]) -> Iterator[bytes]:
    """The contents of documents in their order, a few of them on their way at a time."""
    coming: deque[Future[bytes]] = deque()
    with ThreadPoolExecutor(_READERS) as pool:
        for name in names:
            coming.append(pool.submit(place.document, name, most=LARGEST))
            if len(coming) >= _READERS:
                yield coming.popleft().result()
        while coming:
            yield coming.popleft().result()


def _name(folder: str, number: int) -> str:
    return f"{folder}/page-{number:06d}.json.gz"


def _said(found: dict[str, Any], where: str) -> Contents:
    _front.known(found["revision"], where)
    said = Contents(tuple(found["pages"]), found["token"], found["since"])
    if not all(isinstance(value, str) for value in (*said.digests, said.since)):
        raise TypeError("its digests are no texts")
    if not re.fullmatch(r"[0-9a-f]{8,64}", said.token):
        raise ValueError(f"{said.token!r} is no token")
    return said
