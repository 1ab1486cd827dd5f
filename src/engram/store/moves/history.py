"""Aliases: names that move, and never forget where they were.

A move is only ever added. Where an alias points now is its last move, by the order in which the catalog took them and
not by their clock, which may have been set back. Going back is a move like any other, of another kind: the kinds tell
how far a second step back has to go, and what an undo brings back.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, Select, func, insert, select

from engram.errors import UsageError, VersionNotFound
from engram.plugins import nearest
from engram.records import Gate, Move
from engram.store import given, leases, references, tables
from engram.store.moves import gates, log
from engram.store.moves.steps import UNMET, Step, stand
from engram.store.objects import digest
from engram.store.places._contract import Place
from engram.store.verify import Damage

__all__ = [
    "ANEW",
    "Said",
    "abandoned",
    "current",
    "damaged",
    "demand_newest",
    "document",
    "every",
    "history",
    "history_of",
    "known",
    "marker",
    "move",
    "named",
    "parted",
    "restore",
    "rollback",
]

ANEW = sys.maxsize

_PART = 500


@dataclass(frozen=True, slots=True)
class Said:
    """When something was done to an alias, by whom and why."""

    when: datetime
    who: str
    why: str


def parted(text: str) -> tuple[str, str]:
    """Name and alias of ``income@prod``.

    Raises:
        UsageError: it is no alias.
    """
    name, _, alias = given.text(text, "the alias", "income@prod").partition("@")
    if not name or not alias or "@" in alias:
        raise UsageError(f"{text!r} is no alias; write NAME@ALIAS, such as {name or 'income'}@prod")
    return references.check_name(name), references.check_name(alias, "alias")


def move(connection: Connection, path: tuple[str, str], reference: str, said: Said, *, force: bool = False) -> Move:
    """Point an alias at a version.

    Args:
        connection: of a transaction that writes.
        path: name of the network, and alias.
        reference: of the version.
        said: when, who and why.
        force: also past the gate of a protected alias.

    Raises:
        UsageError: the version is one of another network, or force is used without a reason.
        VersionNotFound: there is no such version.
        ConditionNotMet: the alias is protected and the version does not meet its conditions.
    """
    if force and not said.why.strip():
        raise UsageError("a move by force needs a reason, which the history keeps; say it with --why")
    row, origin = _own(connection, path, reference), _present(connection, path)
    failed = gates.unmet(connection, path, row, origin)
    if failed and not force:
        raise gates.refusal(path, f"{row.name}:{row.number}", named(connection, [origin]).get(origin, origin), failed)
    kind = "forced" if failed else "move"
    return _add(connection, Move(*path, said.when, said.who, said.why, origin, row.digest, kind))


def rollback(connection: Connection, path: tuple[str, str], said: Said, *, to: str = "", undo: bool = False) -> Move:
    """Point an alias where it pointed before, or, to undo that, where it pointed before it was rolled back.

    No gate stands in the way: where an alias has been, it may always go back to, at night and without a reason. But
    where the version does not meet what protects the alias now, the kind of the move says so.

    Args:
        connection: of a transaction that writes.
        path: name of the network, and alias.
        said: when, who and why.
        to: a version it once pointed at; empty for the one before. A second rollback goes one further back.
        undo: take the last rollback back instead, and with the next undo the one before.

    Raises:
        UsageError: it never was there, it was never anywhere else, or there is no rollback to undo.
        VersionNotFound: it was never set, or what it pointed at is not in the catalog.
    """
    moves = history(connection, *path)[::-1]
    at, left = stand(moves)
    alias = "@".join(path)
    if undo and to:
        raise UsageError(f"an undo of a rollback knows where {alias} was; say either --undo or --to {to}")
    if undo:
        target = _undone(alias, left)
    elif to:
        target = _again(connection, path, to, moves)
    else:
        target = _before(alias, at)
    row = connection.execute(select(tables.versions).where(tables.versions.c.digest == target)).first()
    if row is None:
        raise VersionNotFound(f"{alias} was {target}, which is not in the catalog; name another version with --to")
    kind = ("undo" if undo else "rollback") + (UNMET if gates.unmet(connection, path, row, at.target) else "")
    return _add(connection, Move(*path, said.when, said.who, said.why, at.target, target, kind))


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


def known(connection: Connection) -> set[tuple[str, ...]]:
    """The aliases that have moves or gates, each as name and alias."""
    moves, gated = tables.moves, tables.gates
    found = [*connection.execute(select(moves.c.name, moves.c.alias).distinct())]
    found += connection.execute(select(gated.c.name, gated.c.alias).distinct())
    return {(name, alias) for name, alias in found}


def current(connection: Connection, name: str = "") -> dict[str, str]:
    """Where aliases point now, those of a name or of all: ``income@prod`` → digest."""
    moves = tables.moves
    last = select(func.max(moves.c.id)).group_by(moves.c.name, moves.c.alias)
    asked = select(moves).where(moves.c.id.in_(last)).order_by(moves.c.name, moves.c.alias)
    if name:
        asked = asked.where(moves.c.name == name)
    return {f"{row.name}@{row.alias}": row.target for row in connection.execute(asked)}


def named(connection: Connection, digests: Collection[str]) -> dict[str, str]:
    """Digest → ``income:7``, of those that are versions."""
    versions, wanted = tables.versions, sorted(set(digests))
    asked = select(versions.c.digest, versions.c.name, versions.c.number)
    parts = [wanted[start : start + _PART] for start in range(0, len(wanted), _PART)]
    rows = [row for part in parts for row in connection.execute(asked.where(versions.c.digest.in_(part)))]
    return {row.digest: f"{row.name}:{row.number}" for row in rows}


def marker(path: tuple[str, str]) -> str:
    """What a lease names while an alias is moved, so that the document of a move which died is known for one."""
    return digest([f"a change of {'@'.join(path)}".encode()])


def demand_newest(
    connection: Connection, place: Place, path: tuple[str, str], made: Move | Gate | None = None, *, lease: int = 0
) -> None:
    """See that the place knows of no change that the catalog has forgotten, before a new one is written over it.

    Args:
        connection: of the transaction in which the change was made.
        place: of the store.
        path: name of the network, and alias.
        made: the change, already in the catalog; None where there is none, and the documents are only mended.
        lease: of whoever makes it.

    Raises:
        StoreError: it does, because the catalog came back from a backup.
    """
    counts = {log.MOVE: len(connection.execute(_moves(*path)).all()), log.GATE: len(gates.history(connection, *path))}
    died = marker(path) in leases.leased(connection, None, but=lease)
    for mark, count in counts.items():
        grown = isinstance(made, Gate if mark == log.GATE else Move)
        log.demand_newest(place, path, mark, count - grown + died)


def abandoned(connection: Connection, place: Place) -> list[tuple[str, str]]:
    """The aliases of which a process of this machine that is gone was making a change."""
    dead = leases.dead(connection)
    paths = {history_of(name) for name in place.documents("history/")} if dead else set()
    return sorted(path for path in paths if marker(path) in dead)


def history_of(document: str) -> tuple[str, str]:
    """Name and alias that a document is about."""
    _, name, alias, *_ = [*document.split("/"), "", ""]
    return name, alias


def document(connection: Connection, place: Place, path: tuple[str, str], again: int) -> int:
    """Write down in the place what the catalog knows of an alias; a transaction's last act, harmless to do again.

    Args:
        connection: of a transaction that writes.
        place: of the store.
        path: name of the network, and alias.
        again: what this returned when the transaction was tried before; ``ANEW`` at first, 1 to write all of them.

    Raises:
        StoreError: the place refuses.
    """
    moves = [_record(row) for row in connection.execute(_moves(*path))][::-1]
    first = log.write(place, path, moves, again=again)
    return min(first, log.write(place, path, gates.history(connection, *path)[::-1], mark=log.GATE, again=again))


def damaged(connection: Connection, place: Place) -> list[Damage]:
    """The documents of moves and gates that do not say what the catalog says, and those of which it says nothing.

    One too many is of a writer who died before the move was made, where that one had a lease, and the next move writes
    over it.
    """
    faults = []
    there, expected = log.found(place), every(connection)
    for name, entry in expected.items():
        found = there.get(name, "it is gone")
        if found != entry:
            fault = found if isinstance(found, str) else "it does not say what the catalog says"
            faults.append(Damage(name, fault, (f"{entry.name}@{entry.alias}",), "document"))
    return [*faults, *_unknown(connection, {name: there[name] for name in there.keys() - expected.keys()}, expected)]


def _unknown(
    connection: Connection, more: Mapping[str, Move | Gate | str], expected: Collection[str]
) -> Iterator[Damage]:
    """Of the documents that the catalog does not know, those that it should."""
    held = leases.leased(connection, None)
    for name, entry in sorted(more.items()):
        path = history_of(name)
        left = log.before(name) in {"", *expected} and marker(path) in held
        if not isinstance(entry, str) and not left:
            fault = "the catalog is older than this change; take it in with engram verify --rebuild"
            yield Damage(name, fault, ("@".join(path),), "unknown")


def every(connection: Connection) -> dict[str, Move | Gate]:
    """What the documents of all aliases should say, by their names, those of each alias in their order."""
    found: dict[str, Move | Gate] = {}
    for path in sorted(_known(connection, Move) | _known(connection, Gate)):
        moves = [_record(row) for row in connection.execute(_moves(*path))][::-1]
        found |= {log.name(path, number): move for number, move in enumerate(moves, start=1)}
        changes = gates.history(connection, *path)[::-1]
        found |= {log.name(path, number, log.GATE): gate for number, gate in enumerate(changes, start=1)}
    return found


def restore(connection: Connection, place: Place, also: Sequence[Move | Gate] = ()) -> int:
    """Put all moves and gates that the place has documents of into a catalog that does not know them.

    Args:
        connection: of a transaction that writes.
        place: of the store.
        also: what else is known of aliases; where that is more than the documents tell, it counts.

    Returns:
        How many entries were put there. Those of an alias that the catalog knows are left as they are.

    Raises:
        StoreError: a document is damaged.
    """
    known = {kind: _known(connection, kind) for kind in (Move, Gate)}
    told, more = _parts(log.read(place)), _parts(also)
    longer = {part for part, entries in more.items() if len(entries) > len(told.get(part, []))}
    chosen = told | {part: more[part] for part in longer}
    new = [entry for entries in chosen.values() for entry in entries if _path(entry) not in known[type(entry)]]
    for entry in new:
        if isinstance(entry, Gate):
            gates.add(connection, entry)
        else:
            _add(connection, entry)
    for path in {history_of(name) for name in log.gaps(place)} | {path for path, _ in longer}:
        document(connection, place, path, 1)  # where one is gone, those after it are counted anew
    return len(new)


def _parts(entries: Sequence[Move | Gate]) -> dict[tuple[tuple[str, str], type], list[Move | Gate]]:
    """The moves of every alias, and the changes of its gate."""
    found: dict[tuple[tuple[str, str], type], list[Move | Gate]] = {}
    for entry in entries:
        found.setdefault((_path(entry), type(entry)), []).append(entry)
    return found


def _path(entry: Move | Gate) -> tuple[str, str]:
    return entry.name, entry.alias


def _known(connection: Connection, kind: type[Move | Gate]) -> set[tuple[str, str]]:
    table = tables.moves if kind is Move else tables.gates
    return {(row.name, row.alias) for row in connection.execute(select(table.c.name, table.c.alias).distinct())}


def _own(connection: Connection, path: tuple[str, str], reference: str) -> Row[Any]:
    """The version that a reference means, which must be one of the alias's own network."""
    name, alias = references.check_name(path[0]), references.check_name(path[1], "alias")
    row = references.resolve(connection, reference)
    if row.name != name:
        raise UsageError(
            f"{name}@{alias} can only point at versions of {name}, and {reference} is {row.name}:{row.number}"
        )
    return row


def _before(alias: str, at: Step) -> str:
    if at.before is None:
        raise UsageError(f"{alias} points where it first did, and nothing is further back; move it with engram alias")
    return at.before.target


def _again(connection: Connection, path: tuple[str, str], to: str, moves: Sequence[Move]) -> str:
    row = _own(connection, path, to)
    alias, version = "@".join(path), f"{row.name}:{row.number}"
    if row.digest == moves[-1].target:
        raise UsageError(f"{alias} is {version} already; engram history {alias} shows where else it was")
    if row.digest not in {made.target for made in moves}:
        raise UsageError(f"{alias} never was {version}, and a rollback only goes back; move it with engram alias")
    return str(row.digest)


def _undone(alias: str, left: Sequence[Step]) -> str:
    if not left:
        raise UsageError(f"no rollback of {alias} is left to undo since it was last moved; see engram history {alias}")
    return left[-1].target


def _present(connection: Connection, path: tuple[str, str]) -> str:
    """What an alias points at now; empty if nothing."""
    row = connection.execute(_moves(*path).limit(1)).first()
    return str(row.target) if row else ""


def _add(connection: Connection, made: Move) -> Move:
    columns = asdict(made)
    columns["moved"] = columns.pop("when")
    connection.execute(insert(tables.moves).values(columns))
    return made


def _moves(name: str, alias: str) -> Select[Any]:
    moves = tables.moves
    return select(moves).where(moves.c.name == name, moves.c.alias == alias).order_by(moves.c.id.desc())


def _record(row: Row[Any]) -> Move:
    return Move(row.name, row.alias, row.moved, row.who, row.why, row.origin, row.target, row.kind)
