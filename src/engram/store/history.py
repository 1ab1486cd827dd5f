"""Aliases: names that move, and never forget where they were.

A move is only ever added. Where an alias points now is its last move, by the order in which the catalog took them and
not by their clock, which may have been set back.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, Select, func, insert, select

from engram.errors import UsageError, VersionNotFound
from engram.plugins import nearest
from engram.records import Move
from engram.store import references, tables

__all__ = ["current", "history", "move"]


def move(connection: Connection, path: tuple[str, str], reference: str, said: tuple[datetime, str, str]) -> Move:
    """Point an alias at a version.

    Args:
        connection: of a transaction that writes.
        path: name of the network, and alias.
        reference: of the version.
        said: when, who and why.

    Raises:
        UsageError: the version is one of another network.
        VersionNotFound: there is no such version.
    """
    name, alias = references.check_name(path[0]), references.check_name(path[1], "alias")
    row = references.resolve(connection, reference)
    if row.name != name:
        raise UsageError(
            f"{name}@{alias} can only point at versions of {name}, and {reference} is {row.name}:{row.number}"
        )
    when, who, why = said
    origin = connection.execute(_moves(name, alias).limit(1)).first()
    made = Move(name, alias, when, who, why, origin.target if origin else "", row.digest)
    columns = {"name": name, "alias": alias, "moved": when, "who": who, "why": why}
    connection.execute(insert(tables.moves).values(**columns, origin=made.origin, target=made.target))
    return made


def history(connection: Connection, name: str, alias: str) -> list[Move]:
    """The moves of an alias, the newest first.

    Raises:
        VersionNotFound: it was never set; the message gives the nearest that was.
    """
    found = [_record(row) for row in connection.execute(_moves(name, alias))]
    if not found:
        known = [path.partition("@")[2] for path in current(connection, name)]
        raise VersionNotFound(f"{name} has no alias {alias!r}; {nearest(alias, known)}")
    return found


def current(connection: Connection, name: str = "") -> dict[str, str]:
    """Where aliases point now, those of a name or of all: ``income@prod`` → digest."""
    moves = tables.moves
    last = select(func.max(moves.c.id)).group_by(moves.c.name, moves.c.alias)
    asked = select(moves).where(moves.c.id.in_(last)).order_by(moves.c.name, moves.c.alias)
    if name:
        asked = asked.where(moves.c.name == name)
    return {f"{row.name}@{row.alias}": row.target for row in connection.execute(asked)}


def _moves(name: str, alias: str) -> Select[Any]:
    moves = tables.moves
    return select(moves).where(moves.c.name == name, moves.c.alias == alias).order_by(moves.c.id.desc())


def _record(row: Row[Any]) -> Move:
    return Move(row.name, row.alias, row.moved, row.who, row.why, row.origin, row.target)
