"""Protected aliases: what a version must have reached before a name that others rely on may be moved to it.

A gate is changed by adding a row, as an alias is moved, so that history can say what was demanded at the time. It
judges by the metrics that a version was kept with, inside the transaction that moves the alias.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection, Row, Select, func, insert, select

from engram.errors import ConditionNotMet, UnknownName, VersionNotFound
from engram.evaluation import conditions
from engram.evaluation.metrics import SHELF as METRICS
from engram.plugins import nearest
from engram.records import Gate
from engram.store import tables

__all__ = ["add", "current", "history", "protect", "refusal", "unmet"]

_RECENT = 50
"""Versions of a network that are looked at for metrics which no plug-in of ours measures."""


def protect(connection: Connection, gate: Gate) -> Gate:
    """Put a gate before an alias, in the place of the one that is there.

    Raises:
        UsageError: a condition is none.
        UnknownName: no version of the network has such a metric, and none ever will; the message gives the nearest.
        VersionNotFound: there is no such network.
    """
    recent = _recent(connection, gate.name)
    for metric, condition in gate.conditions.items():
        conditions.parse(metric, condition)
        known = {*METRICS.names(), *(name for metrics in recent for name in metrics)}
        if metric not in known:
            raise UnknownName(f"{gate.name} has no metric {metric!r}; {nearest(metric, known)}")
    add(connection, gate)
    return gate


def add(connection: Connection, gate: Gate) -> None:
    """Add the row of a gate."""
    columns = asdict(gate)
    columns["moved"] = columns.pop("when")
    connection.execute(insert(tables.gates).values(columns))


def history(connection: Connection, name: str, alias: str) -> list[Gate]:
    """Every gate that an alias ever had, the newest first."""
    return [_record(row) for row in connection.execute(_gates(name, alias))]


def current(connection: Connection, name: str = "") -> dict[str, Gate]:
    """The gates that stand now, those of a network or of all: ``income@prod`` → gate."""
    gates = tables.gates
    last = select(func.max(gates.c.id)).group_by(gates.c.name, gates.c.alias)
    asked = select(gates).where(gates.c.id.in_(last)).order_by(gates.c.name, gates.c.alias)
    rows = connection.execute(asked.where(gates.c.name == name) if name else asked)
    return {f"{row.name}@{row.alias}": _record(row) for row in rows if row.conditions}


def unmet(connection: Connection, path: tuple[str, str], row: Row[Any], present: str) -> tuple[str, ...]:
    """The conditions of an alias that a version does not meet, each in words; none where it is not protected.

    Args:
        connection: to the catalog.
        path: name of the network, and alias.
        row: of the version.
        present: digest of the version that the alias points at; empty if none.
    """
    gate = connection.execute(_gates(*path).limit(1)).first()
    if gate is None or not gate.conditions:
        return ()
    versions = tables.versions
    there = connection.execute(select(versions.c.metrics).where(versions.c.digest == present)).first()
    return conditions.unmet(gate.conditions, row.metrics, there.metrics if there else {} if present else None)


def refusal(path: tuple[str, str], wanted: str, present: str, failed: Sequence[str]) -> ConditionNotMet:
    """Why a protected alias is not moved."""
    alias = "@".join(path)
    return ConditionNotMet(
        f"{alias} is protected and {f'stays at {present}' if present else 'is not set'}: of {wanted}, "
        f'{"; ".join(failed)}; choose a version that meets this, or move it all the same with --force --why "…"'
    )


def _recent(connection: Connection, name: str) -> list[Mapping[str, float]]:
    """The metrics of the newest versions of a network."""
    versions = tables.versions
    asked = select(versions.c.metrics).where(versions.c.name == name).order_by(versions.c.number.desc()).limit(_RECENT)
    found = list(connection.execute(asked).scalars())
    if not found:
        known = connection.execute(select(versions.c.name).distinct()).scalars().all()
        raise VersionNotFound(f"no network is kept as {name!r}; {nearest(name, known)}")
    return found


def _gates(name: str, alias: str) -> Select[Any]:
    gates = tables.gates
    return select(gates).where(gates.c.name == name, gates.c.alias == alias).order_by(gates.c.id.desc())


def _record(row: Row[Any]) -> Gate:
    return Gate(row.name, row.alias, row.moved, row.who, row.why, row.conditions)
