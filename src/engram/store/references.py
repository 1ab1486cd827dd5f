"""What a user types for a version, and the version it means.

``income`` (the latest), ``income:7``, ``income@prod``, ``income@prod@2026-05-03`` (what prod was when that day ended)
and ``sha256:9f2c41aa`` (the beginning of a digest, at least eight digits). A moment is meant as it is shown: in the
reader's own time zone where it says none, and up to the end of the day, the minute or the second that it names, so that
what ``engram history`` shows of a move leads to where that move led.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, bindparam, func, select

from engram.errors import UsageError, VersionNotFound
from engram.plugins import nearest
from engram.store import given, tables

__all__ = ["Reference", "check_name", "parse", "resolve"]

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")
_LONGEST = 128
_PREFIX = re.compile(r"sha256:[0-9a-f]{8,64}")
_MOMENT = re.compile(
    r"\d{4}-\d{2}-\d{2}"
    r"(?:[T ](?P<hour>\d{2})(?::(?P<minute>\d{2})(?::(?P<second>\d{2})(?P<part>\.\d{6})?)?)?(?:Z|[+-]\d{2}:\d{2})?)?",
    re.ASCII,
)
_EXAMPLE = "2026-05-03T12:30"
_LASTS = {"part": timedelta.resolution, "second": timedelta(seconds=1), "minute": timedelta(minutes=1)}
_LASTS |= {"hour": timedelta(hours=1)}

# Built once: building one takes as long as the database takes to answer it, and every load asks.
_ROWS = tables.versions.c
_OF_NAME = select(tables.versions).where(_ROWS.name == bindparam("name"))
_LATEST = _OF_NAME.order_by(_ROWS.number.desc()).limit(1)
_NUMBERED = _OF_NAME.where(_ROWS.number == bindparam("number"))
_EXACT = _OF_NAME.where(_ROWS.digest == bindparam("digest"))


@dataclass(frozen=True, slots=True)
class Reference:
    """A reference, taken apart; exactly one of ``digest`` and ``name`` is not empty.

    Attributes:
        digest: the beginning of a digest.
        name: of the network.
        number: of the version; 0 for the latest or where an alias decides.
        alias: empty if none.
        moment: when the alias is asked for; None for now. It is the last instant that counts.
    """

    digest: str = ""
    name: str = ""
    number: int = 0
    alias: str = ""
    moment: datetime | None = None


def check_name(name: str, what: str = "name") -> str:
    """The name itself, if it can be one of a network, an alias or a run.

    Raises:
        UsageError: it is a path, or holds what no name may.
    """
    given.text(name, what, "income")
    if not _NAME.fullmatch(name) or len(name) > _LONGEST or name == "sha256":
        why = " (it looks like a path)" if "/" in name or "\\" in name or name.startswith((".", "~")) else ""
        shown = name if len(name) <= _LONGEST else f"{name[:40]}… ({len(name)} characters)"
        raise UsageError(
            f"{what} {shown!r} cannot be used{why}; take at most {_LONGEST} of a-z, 0-9, '.', '_' and '-', "
            "beginning with a letter or digit"
        )
    return name


def parse(text: str) -> Reference:
    """A reference, taken apart.

    Raises:
        UsageError: it has none of the five forms.
    """
    given.text(text, "reference", "income, income:7 or income@prod")
    if text.startswith("sha256:"):
        if not _PREFIX.fullmatch(text):
            raise UsageError(f"{text!r} is no digest; give sha256: and at least 8 of its hexadecimal digits (0-9, a-f)")
        return Reference(digest=text)
    name, *rest = text.split("@", 2)
    if not rest:
        name, colon, number = name.partition(":")
        if colon and not re.fullmatch(r"[1-9][0-9]{0,17}", number):
            raise UsageError(f"{text!r} asks for version {number!r}, which is not a whole number from 1")
        return Reference(name=check_name(name), number=int(number or 0))
    moment = _moment(rest[1], text) if len(rest) == 2 else None
    return Reference(name=check_name(name), alias=check_name(rest[0], "alias"), moment=moment)


def resolve(connection: Connection, text: str) -> Row[Any]:
    """The row of ``versions`` that a reference means.

    Raises:
        UsageError: it is not a reference, or the beginning of several digests.
        VersionNotFound: there is no such version; the message says what there is.
    """
    wanted = parse(text)
    if wanted.digest:
        return _by_digest(connection, wanted.digest)
    if wanted.alias:
        return _by_alias(connection, wanted, text)
    asked = _NUMBERED if wanted.number else _LATEST
    said = {"name": wanted.name, "number": wanted.number} if wanted.number else {"name": wanted.name}
    row = connection.execute(asked, said).first()
    return row if row is not None else _nothing(connection, wanted)


def _by_digest(connection: Connection, prefix: str) -> Row[Any]:
    column = tables.versions.c.digest
    rows = connection.execute(select(tables.versions).where(column >= prefix, column < f"{prefix}g").limit(2)).all()
    if not rows:
        raise VersionNotFound(f"no version has a digest that begins with {prefix!r}; engram list shows what there is")
    if len(rows) > 1:
        both = " and ".join(f"{row.name}:{row.number}" for row in rows)
        raise UsageError(f"{prefix!r} is the beginning of several digests, {both} among them; give more digits")
    return rows[0]


def _by_alias(connection: Connection, wanted: Reference, text: str) -> Row[Any]:
    moves = tables.moves
    path = (moves.c.name == wanted.name, moves.c.alias == wanted.alias)
    asked = select(moves.c.target).where(*path).order_by(moves.c.id.desc()).limit(1)
    if wanted.moment is not None:
        asked = asked.where(moves.c.moved <= wanted.moment)
    target = connection.execute(asked).scalar()
    if target is None:
        first = connection.execute(select(func.min(moves.c.moved)).where(*path)).scalar()
        if first is not None:
            when = first.astimezone().isoformat(timespec="seconds")
            raise VersionNotFound(f"{text}: {wanted.name}@{wanted.alias} was first set {when}; give a later moment")
        return _nothing(connection, wanted)
    row = connection.execute(_EXACT, {"name": wanted.name, "digest": target}).first()
    if row is None:
        raise VersionNotFound(f"{text} names {target}, which is not in the catalog; bring back a copy of the catalog")
    return row


def _nothing(connection: Connection, wanted: Reference) -> Row[Any]:
    """Say what there is instead.

    Raises:
        VersionNotFound: always.
    """
    versions, moves = tables.versions, tables.moves
    bounds = select(func.min(versions.c.number), func.max(versions.c.number)).where(versions.c.name == wanted.name)
    low, high = connection.execute(bounds).one()
    if low is None:
        known = connection.execute(select(versions.c.name).distinct()).scalars().all()
        raise VersionNotFound(f"no network is kept as {wanted.name!r}; {nearest(wanted.name, known)}")
    if wanted.alias:
        known = connection.execute(select(moves.c.alias).where(moves.c.name == wanted.name).distinct()).scalars().all()
        raise VersionNotFound(f"{wanted.name} has no alias {wanted.alias!r}; {nearest(wanted.alias, known)}")
    raise VersionNotFound(f"{wanted.name} has no version {wanted.number}; its versions go from {low} to {high}")


def _moment(text: str, reference: str) -> datetime:
    """The last instant of the day, hour, minute or second that is named; of an hour that comes twice, the later."""
    found = _MOMENT.fullmatch(text)
    wrong = UsageError(f"{reference!r} ends in {text!r}, which is not a date or time such as 2026-05-03 or {_EXAMPLE}")
    if found is None:
        raise wrong
    lasts = next((_LASTS[unit] for unit in _LASTS if found[unit]), timedelta(days=1))
    try:
        moment = datetime.fromisoformat(text) + lasts - timedelta.resolution
        return (moment.replace(fold=1) if moment.tzinfo is None else moment).astimezone(UTC)
    except (ValueError, OverflowError) as odd:
        raise wrong from odd
