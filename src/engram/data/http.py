"""Rows of a web service: JSON or CSV, one page or many, ``from = "https://example.org/api/orders"``.

How pages follow each other is found in the first answer: a link in its header, a cursor or a link in its body, else an
offset where one is said. What stops in the middle stops the run: rows that are half of the truth are worse than none.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from engram import settings
from engram.data import _frame, _pages
from engram.errors import UsageError
from engram.records import Dataset

__all__ = ["Options", "open", "recognizes"]

_SECRETS = re.compile(r"(?i)(?:^|[?&])(?:[\w-]*(?:token|secret|password)|api[_-]?key|apikey|key)=")


@dataclass(frozen=True, slots=True)
class Options:
    """Which pages are read, and how.

    Attributes:
        rows: where the records stand in an answer (``data.items``); empty means found: the answer itself, or the one
            list of records in it.
        next: where the link or the cursor to the next page stands in an answer (``meta.next``); empty means found: a
            ``Link`` header, or one of the usual names.
        cursor: the parameter that takes the cursor, where `next` is no link.
        offset: the parameter that takes how many rows were read; pages are asked for until one is empty.
        page: the parameter that takes the number of the page, from 1; pages are asked for until one is empty.
        limit: parameter and value that say how many rows a page has, such as ``limit=500``.
        pages: the most that are read.
        token: the name of the environment variable that holds the token, where the service wants one.
        header: how the token is sent.
        rate: the most requests a second; 0 is no limit.
        tries: attempts at a page, where the service is busy or fails; the pause doubles from half a second, or is what
            the service asks for with ``Retry-After``.
        timeout: seconds that an answer may take.
        missing: words and numbers that mean a gap.
    """

    rows: str = ""
    next: str = ""
    cursor: str = ""
    offset: str = ""
    page: str = ""
    limit: str = ""
    pages: int = 10_000
    token: str = "ENGRAM_DATA_TOKEN"  # noqa: S105 - where it is, not what it is
    header: str = "Authorization: Bearer {token}"
    rate: float = 0.0
    tries: int = 5
    timeout: float = 60.0
    missing: tuple[str, ...] = ()


def recognizes(place: str) -> bool:
    """Whether this is an address of the web."""
    return place.startswith(("http://", "https://"))


def open(places: tuple[str, ...], names: tuple[str, ...] = (), options: Options | None = None) -> Dataset:  # noqa: A001 - the contract
    """The rows of these addresses, page after page.

    Args:
        places: addresses whose rows have the same columns.
        names: must be empty; the columns have their names.
        options: which pages, and how.

    Raises:
        DataError: the service refuses, fails again and again, breaks off, repeats a page, or changes its columns.
        UsageError: an address or a header holds a secret, or an option has a value that cannot be.
        MissingLibrary: httpx is not installed.
    """
    chosen = options or Options()
    _frame.unnamed(names, "a web service")
    _check(chosen)
    for place in places:
        _without_secret(place)
    secret = settings.secret(chosen.token, "data.token")
    paging = _pages.Paging(
        chosen.rows, chosen.next, chosen.cursor, chosen.offset, chosen.page, chosen.limit, most=chosen.pages
    )
    manner = _pages.Manner(_header(chosen.header, secret), chosen.rate, chosen.tries, chosen.timeout)
    tables = [table for place in places for table in _pages.read(place, paging, manner)]
    frame = _frame.joined([table.frame for table in tables], [table.title for table in tables])
    title = ", ".join(urlsplit(place).netloc + urlsplit(place).path for place in places)
    return _frame.dataset(frame, _frame.Origin(places, title, missing=chosen.missing))


def _check(options: Options) -> None:
    wrong = {
        "pages": (options.pages < 1, "it is at least 1"),
        "tries": (options.tries < 1, "it is at least 1"),
        "rate": (options.rate < 0, "it is requests a second, 0 for no limit"),
        "timeout": (options.timeout <= 0, "it is seconds"),
        "limit": ("=" not in options.limit and options.limit != "", 'it is parameter and value, as in "limit=500"'),
        "page": (bool(options.page and options.offset), "pages are asked for by offset or by page, not by both"),
        "header": (":" not in options.header or "{token}" not in options.header, 'write "NAME: {token}"'),
    }
    for name, (is_wrong, why) in wrong.items():
        if is_wrong:
            given = "" if name == "header" else f" = {getattr(options, name)!r}"
            raise UsageError(f"[data] {name}{given} is refused: {why}", place=f"data.{name}")


def _without_secret(place: str) -> None:
    parts = urlsplit(place)
    if parts.password is not None or _SECRETS.search(parts.query):
        raise UsageError(
            f"[data] from holds a secret in the address of {parts.hostname}, which would be kept with every version;"
            " leave it out, set ENGRAM_DATA_TOKEN, and say how it is sent with header",
            place="data.from",
        )


def _header(template: str, secret: str) -> dict[str, str]:
    name, _, value = template.partition(":")
    return {name.strip(): value.strip().replace("{token}", secret)} if secret else {}
