"""Versions: how they are numbered, described and listed.

A number is given out in a transaction of its own, before the manifest is written, because the manifest states it: a
catalog made anew from manifests must not number them otherwise. A process killed in between leaves a gap, never a
number used twice. Keeping the same content again makes another version, which shares all blobs but its record.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, func, insert, select, update

from engram.records import Model, Report, Version
from engram.store import documents, manifests, tables
from engram.store.catalog import Catalog
from engram.store.manifests import Manifest
from engram.store.objects import Blob, Content
from engram.store.places._contract import Place
from engram.store.writing import Draft, Record

__all__ = ["Kept", "draft", "listed", "metrics", "names", "pointed", "publish", "version"]

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


def draft(place: Place, catalog: Catalog, kept: Kept, model: Model, files: Mapping[str, Content]) -> Draft[Version]:
    """What ``writing.commit`` needs for a version; its number is drawn once the files are written.

    Raises:
        UsageError: the facts are not plain JSON values.
    """
    documents.encode(kept.facts, "facts")  # refused before a number is spent on it
    drawn: list[int] = []

    def record() -> Record:
        drawn.append(_number(catalog, kept.name))
        return _describe(kept, drawn[0], model)

    def registered(connection: Connection, manifest: Manifest) -> Version:
        made = _register(connection, kept, drawn[0], manifest)
        publish(place, connection)
        return made

    return Draft(files, record, registered)


def _number(catalog: Catalog, name: str) -> int:
    """The next number within a name, which nobody else will get."""
    names = tables.names
    with catalog.writing() as connection:
        raised = connection.execute(update(names).where(names.c.name == name).values(last=names.c.last + 1))
        if not raised.rowcount:
            connection.execute(insert(names).values(name=name, last=1))
        return int(connection.execute(select(names.c.last).where(names.c.name == name)).scalar_one())


def _describe(kept: Kept, number: int, model: Model) -> Record:
    """The document, the annotations and the ModelPack's config of a version."""
    when = kept.when.isoformat()
    said = {"name": kept.name, "number": number, "kept": when, "holds": kept.holds, "metrics": kept.metrics}
    said |= {"data": kept.data, "parents": kept.parents, "facts": kept.facts}
    annotations = {
        "org.opencontainers.image.created": when,
        "org.opencontainers.image.title": kept.name,
        "org.opencontainers.image.version": str(number),
    }
    precision = ",".join(sorted({array.dtype.name for array in model.weights.values()}))
    config: dict[str, Any] = {
        "descriptor": {"createdAt": when, "name": kept.name, "version": str(number)},
        "config": {"format": "safetensors", "paramSize": _count(model.parameters)},
    }
    if precision:
        config["config"]["precision"] = precision
    return Record("version.json", documents.encode(said, "version"), annotations, config)


def _register(connection: Connection, kept: Kept, number: int, manifest: Manifest) -> Version:
    """Add the row of a version; from the end of this transaction on it exists."""
    made = Version(
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
    columns = {field: getattr(made, field) for field in Version.__dataclass_fields__}
    connection.execute(insert(tables.versions).values(**columns, manifest=manifest.size))
    return made


def version(row: Row[Any]) -> Version:
    """The record of a row."""
    found = row._asdict()
    del found["manifest"]
    return Version(**{**found, "holds": tuple(found["holds"]), "parents": tuple(found["parents"])})


def listed(connection: Connection, name: str) -> list[Version]:
    """The versions of a name, or of all names when it is empty, the newest first."""
    versions = tables.versions
    asked = select(versions).order_by(versions.c.number.desc())
    if name:
        asked = asked.where(versions.c.name == name)
    else:
        asked = select(versions).order_by(versions.c.kept.desc(), versions.c.name, versions.c.number.desc())
    return [version(row) for row in connection.execute(asked)]


def names(connection: Connection) -> list[str]:
    """The names under which something is kept, sorted."""
    column = tables.versions.c.name
    return list(connection.execute(select(column).distinct().order_by(column)).scalars())


def publish(place: Place, connection: Connection) -> None:
    """Write ``index.json`` anew, inside the transaction that changed what it lists, so that writers take turns."""
    place.document("index.json", manifests.index(pointed(connection)))


def pointed(connection: Connection) -> list[tuple[str, Blob]]:
    """What ``index.json`` lists: references and the manifests they mean.

    Only the latest version of each name (as ``income`` and ``income:7``) and what aliases point at (``income@prod``):
    the file is written anew with every version, and must not grow with their number.
    """
    rows, moves, known = tables.versions, tables.moves, tables.names
    of_name = rows.alias()
    newest = select(of_name.c.digest).where(of_name.c.name == known.c.name).order_by(of_name.c.number.desc()).limit(1)
    latest = select(rows).join(known, rows.c.digest == newest.scalar_subquery()).order_by(rows.c.name)
    found = []
    for row in connection.execute(latest):
        blob = Blob(row.digest, row.manifest)
        found += [(row.name, blob), (f"{row.name}:{row.number}", blob)]
    last = select(func.max(moves.c.id)).group_by(moves.c.name, moves.c.alias)
    aliased = select(rows, moves.c.alias).join(moves, moves.c.target == rows.c.digest).where(moves.c.id.in_(last))
    for row in connection.execute(aliased.order_by(rows.c.name, moves.c.alias)):
        found.append((f"{row.name}@{row.alias}", Blob(row.digest, row.manifest)))
    return found


def _count(parameters: int) -> str:
    """A count as the ModelPack writes it: ``1.2m``, ``8b``."""
    unit, size = next(((unit, size) for unit, size in _COUNTS if parameters >= size), _COUNTS[-1])
    return f"{parameters / size:.3g}{unit}"
