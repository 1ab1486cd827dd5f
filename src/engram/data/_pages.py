"""Pages of a web service, one after the other, until there is no next one.

Each page is compared with the one before: a service that gives the same page for ever is common (it ignores the
parameter that turns pages) and would fill the memory. An address on another machine is not followed with a token.
"""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit, urlunsplit

import orjson
import polars as pl

from engram.data import _layout, _records, _text
from engram.data._asking import Asker, Manner
from engram.errors import DataError

if TYPE_CHECKING:
    from httpx import Response

__all__ = ["Manner", "Page", "Paging", "read"]

_NEXT = ("next", "next_page", "next_url", "nextLink", "@odata.nextLink", "next_link")
_CURSORS = ("next_cursor", "nextCursor", "next_page_token", "nextPageToken", "cursor")
_WITHIN = ("", "links.", "meta.", "paging.", "pagination.", "_links.", "response_metadata.")


@dataclass(frozen=True, slots=True)
class Paging:
    """How pages follow each other, as ``http.Options`` says; `most` is how many are read."""

    rows: str = ""
    next: str = ""
    cursor: str = ""
    offset: str = ""
    page: str = ""
    limit: str = ""
    most: int = 10_000


@dataclass(frozen=True, slots=True)
class Page:
    """The rows of one page, and how messages call it."""

    frame: pl.DataFrame
    title: str


@dataclass(frozen=True, slots=True)
class _Answer:
    """One answer: its rows, and what else it said."""

    frame: pl.DataFrame
    body: Any
    after: str


def read(address: str, paging: Paging, manner: Manner) -> Iterator[Page]:
    """The pages that begin at an address.

    Raises:
        DataError: an answer is none, is broken off, or comes again; the message has the number of the page.
    """
    first = urlsplit(address)
    asking, taken, seen = _with(address, paging, 0, 1), 0, b""
    with Asker(manner, f"{first.scheme}://{first.netloc}") as asker:
        for number in range(1, paging.most + 1):
            title = f"page {number} of {first.netloc}{first.path}"
            answer, digest = _answer(asker.get(asking, title), paging, title)
            if digest == seen and answer.frame.height:
                raise DataError(
                    f"{title} is the same as the page before: the service does not turn pages by what it is asked for;"
                    " say next, cursor, offset or page in [data]"
                )
            if answer.frame.height or number == 1:
                yield Page(answer.frame, title)
            seen, taken = digest, taken + answer.frame.height
            following = _following(asking, answer, paging, taken, number)
            if not following:
                return
            asking = following
    raise DataError(
        f"{address} has more than pages = {paging.most:,} pages; raise pages in [data], or ask for fewer rows"
    )


def _with(address: str, paging: Paging, taken: int, number: int) -> str:
    """The address with how many rows a page has, and where it begins."""
    said = dict([paging.limit.split("=", 1)] if paging.limit else [])
    if paging.offset:
        said[paging.offset] = str(taken)
    if paging.page:
        said[paging.page] = str(number)
    return _asked(address, said)


def _asked(address: str, said: Mapping[str, str]) -> str:
    if not said:
        return address
    parts = urlsplit(address)
    query = {**dict(parse_qsl(parts.query, keep_blank_values=True)), **said}
    return urlunsplit(parts._replace(query=urlencode(query)))


def _following(address: str, answer: _Answer, paging: Paging, taken: int, number: int) -> str:
    """The address of the next page; empty where there is none."""
    if paging.offset or paging.page:
        return _with(address, paging, taken, number + 1) if answer.frame.height else ""
    if answer.after and not paging.next:
        return urljoin(address, answer.after)
    said = _said(answer.body, paging)
    if not said:
        return ""
    if paging.cursor:
        return _asked(address, {paging.cursor: said})
    if said.startswith(("http://", "https://", "/", "?")):
        return urljoin(address, said)
    raise DataError(
        f"{urlsplit(address).netloc} gives the cursor {said[:40]!r} for the next page; say with cursor = … in [data]"
        " which parameter takes it"
    )


def _said(body: Any, paging: Paging) -> str:  # noqa: ANN401 - any JSON
    """The link or the cursor to the next page in an answer; empty where there is none."""
    if not isinstance(body, Mapping):
        return ""
    names = _CURSORS if paging.cursor else (*_NEXT, *_CURSORS)
    places = [paging.next] if paging.next else [f"{within}{name}" for within in _WITHIN for name in names]
    for place in places:
        found = _at(body, place)
        found = found.get("href") if isinstance(found, Mapping) else found
        if isinstance(found, (str, int)) and not isinstance(found, bool) and str(found):
            return str(found)
    return ""


def _at(body: Any, place: str) -> Any:  # noqa: ANN401 - any JSON
    if isinstance(body, Mapping) and place in body:  # a name with dots in it
        return body[place]
    for key in filter(None, place.split(".")):
        if not isinstance(body, Mapping):
            return None
        body = body.get(key)
    return body


def _answer(response: Response, paging: Paging, title: str) -> tuple[_Answer, bytes]:
    content = response.content
    digest = hashlib.sha256(content).digest()
    after = str(response.links.get("next", {}).get("url", ""))
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if "csv" in kind or (kind in {"text/plain", ""} and content.lstrip()[:1] not in b"{["):
        return _Answer(_table(content, title), None, after), digest
    if "html" in kind:
        raise DataError(
            f"{title} is a page for people ({kind}); give the address of the data, and a token if it wants one"
        )
    try:
        body = orjson.loads(content)
    except orjson.JSONDecodeError as wrong:
        raise DataError(f"{title} is broken off or not JSON ({wrong}); try again, or ask the service") from None
    return _Answer(_records.table(_found(body, paging.rows, title), title), body, after), digest


def _found(body: Any, place: str, title: str) -> list[object]:  # noqa: ANN401 - any JSON
    """The list of records in an answer."""
    if place:
        rows = _at(body, place)
        if not isinstance(rows, list):
            raise DataError(f"{title} has no list at rows = {place!r}; it has {_names(body)}")
        return rows
    if isinstance(body, list):
        return body
    lists = {key: value for key, value in body.items() if isinstance(value, list)} if isinstance(body, Mapping) else {}
    full = {key: value for key, value in lists.items() if value and all(isinstance(x, Mapping) for x in value)}
    if len(full or lists) != 1:
        raise DataError(f"{title} does not say which of {_names(body)} are its rows; say rows in [data]")
    found: list[object] = next(iter((full or lists).values()))
    return found


def _names(body: Any) -> str:  # noqa: ANN401 - any JSON
    return ", ".join(map(str, list(body)[:10])) if isinstance(body, Mapping) and body else "nothing with a name"


def _table(content: bytes, title: str) -> pl.DataFrame:
    """The rows of a page of CSV, read as any text table is."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, re.sub(r"[^\w.-]+", " ", title))
        path.write_bytes(content)
        layout = _layout.find(path, names=())
        return _text.read(path, layout, 0.0).frame
