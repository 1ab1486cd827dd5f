"""Versions: how they are numbered, described and listed.

A number is given out with the lease, before the manifest is written, because the manifest states it: a catalog made
anew from manifests must not number them otherwise. A process killed in between leaves a gap, never a
number used twice. Keeping the same content again makes another version, which shares all blobs but its record.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, Select, exists, func, insert, select, update

from engram.records import Model, Report, Version
from engram.store import documents, tables
from engram.store.manifests import Manifest
from engram.store.objects import Content
from engram.store.writing import Draft, Record

__all__ = [
    "Kept",
    "config",
    "counted",
    "draft",
    "drawn_next",
    "listed",
    "metrics",
    "names",
    "newest",
    "register",
    "version",
]

_COUNTS = (("t", 1e12), ("b", 1e9), ("m", 1e6), ("k", 1e3))


@dataclass(frozen=True, slots=True)
class Kept:
    """What is known of a version before it has a number."""

    name: str
    when: datetime
    holds: tuple[str, ...]
    metrics: Mapping[str, float]
    data: str
    parents: tuple[str, ...]
    facts: Mapping[str, Any]


def metrics(report: Report | None) -> dict[str, float]:
    """The scores of a report, by name; none without a report."""
    return {score.name: float(score.value) for score in report.scores} if report else {}


def draft(kept: Kept, about: Mapping[str, Any], files: Mapping[str, Content]) -> Draft[Version]:
    """What ``writing.commit`` needs for a version.

    Args:
        kept: what is known of it.
        about: what the ModelPack's config says of the model, as ``config`` makes it.
        files: path → content.

    Raises:
        UsageError: the facts are not plain JSON values.
    """
    documents.encode(kept.facts, "facts")  # refused before a number is spent on it
    drawn: list[int] = []

    def number(connection: Connection) -> int:
        drawn[:] = [drawn_next(connection, kept.name)]
        return drawn[0]

    def registered(connection: Connection, manifest: Manifest) -> Version:
        return register(connection, _version(kept, drawn[0], manifest), manifest.size)

    return Draft(files, number, lambda number: _describe(kept, number, about), registered)


def drawn_next(connection: Connection, name: str) -> int:
    """The next number within a name, which nobody else will get."""
    names = tables.names
    raised = connection.execute(update(names).where(names.c.name == name).values(last=names.c.last + 1))
    if not raised.rowcount:
        connection.execute(insert(names).values(name=name, last=1))
    return int(connection.execute(select(names.c.last).where(names.c.name == name)).scalar_one())


def config(model: Model) -> dict[str, Any]:
    """What the ModelPack's config says of a model."""
    precision = ",".join(sorted({array.dtype.name for array in model.weights.values()}))
    about = {"format": "safetensors", "paramSize": _count(model.parameters)}
    return {**about, "precision": precision} if precision else about


def _describe(kept: Kept, number: int, about: Mapping[str, Any]) -> Record:
    """The document, the annotations and the ModelPack's config of a version."""
    when = kept.when.isoformat()
    said = {"name": kept.name, "number": number, "kept": when, "holds": kept.holds, "metrics": kept.metrics}
    said |= {"data": kept.data, "parents": kept.parents, "facts": kept.facts}
    annotations = {
        "org.opencontainers.image.created": when,
        "org.opencontainers.image.title": kept.name,
        "org.opencontainers.image.version": str(number),
    }
    config = {"descriptor": {"createdAt": when, "name": kept.name, "version": str(number)}, "config": dict(about)}
    return Record("version.json", documents.encode(said, "version"), annotations, config)


def _version(kept: Kept, number: int, manifest: Manifest) -> Version:
    return Version(
        digest=manifest.digest,
        name=kept.name,
        number=number,
        kept=kept.when,
        holds=kept.holds,
        metrics=kept.metrics,
        data=kept.data,
        parents=kept.parents,
        size=sum(manifest.blobs.values()),
        facts=kept.facts,
    )


def register(connection: Connection, made: Version, manifest: int) -> Version:
    """Add the row of a version, from the end of this transaction on it exists; a catalog made anew may know it already.

    Args:
        connection: of a transaction that writes.
        made: the version.
        manifest: bytes of its manifest.
    """
    versions = tables.versions
    if connection.execute(select(versions.c.digest).where(versions.c.digest == made.digest)).first() is None:
        columns = {field: getattr(made, field) for field in Version.__dataclass_fields__}
        connection.execute(insert(versions).values(**columns, manifest=manifest))
    return made


def version(row: Row[Any]) -> Version:
    """The record of a row."""
    found = row._asdict()
    del found["manifest"]
    return Version(**{**found, "holds": tuple(found["holds"]), "parents": tuple(found["parents"])})


def listed(connection: Connection, name: str = "", most: int = 0) -> list[Version]:
    """The versions of a name, the highest number first, or of all names, the newest first.

    Args:
        connection: to the catalog.
        name: of the network; empty for all.
        most: how many; 0 for all.
    """
    versions = tables.versions
    asked = select(versions).order_by(versions.c.kept.desc(), versions.c.name, versions.c.number.desc())
    if name:
        asked = select(versions).where(versions.c.name == name).order_by(versions.c.number.desc())
    return [version(row) for row in connection.execute(asked.limit(most) if most else asked)]


def newest(connection: Connection) -> list[Version]:
    """The newest version of every name, by name."""
    return [version(row) for row in connection.execute(_newest())]


def counted(connection: Connection, name: str = "") -> int:
    """How many versions a name has, or all names have."""
    versions = tables.versions
    asked = select(func.count()).select_from(versions)
    return int(connection.execute(asked.where(versions.c.name == name) if name else asked).scalar_one())


def _newest() -> Select[Any]:
    rows, known = tables.versions, tables.names
    of_name = rows.alias()
    last = select(of_name.c.digest).where(of_name.c.name == known.c.name).order_by(of_name.c.number.desc()).limit(1)
    return select(rows).join(known, rows.c.digest == last.scalar_subquery()).order_by(rows.c.name)


def names(connection: Connection) -> list[str]:
    """The names under which something is kept, sorted."""
    held = exists().where(tables.versions.c.name == tables.names.c.name)
    return list(connection.execute(select(tables.names.c.name).where(held).order_by(tables.names.c.name)).scalars())


def _count(parameters: int) -> str:
    """A count as the ModelPack writes it: ``1.2m``, ``8b``."""
    unit, size = next(((unit, size) for unit, size in _COUNTS if parameters >= size), _COUNTS[-1])
    return f"{parameters / size:.3g}{unit}"
