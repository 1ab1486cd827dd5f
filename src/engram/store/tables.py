"""The tables of the catalog.

Everything here can be said in SQLite and PostgreSQL alike. Documents are canonical JSON in a text column and not the
database's own JSON type, because NaN must survive. Aliases have no row of their own: where one points is its last move.
A change of these tables needs a step in ``migrations/versions`` and its number in ``HEAD``.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
)

from engram.store import documents

__all__ = [
    "HEAD",
    "METADATA",
    "checkpoints",
    "condemned",
    "deltas",
    "gates",
    "leases",
    "links",
    "moves",
    "names",
    "revisions",
    "runs",
    "versions",
]

HEAD = "0002"
METADATA = MetaData()
_DIGEST = String(71)
_NAME = String(128)
_COUNTING = BigInteger().with_variant(Integer, "sqlite")  # SQLite counts only a column declared INTEGER


class Moment(TypeDecorator[datetime]):
    """A moment in time, UTC; SQLite keeps it without its zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """To UTC."""
        if value is None:
            return None
        moment = value.astimezone(UTC)
        return moment.replace(tzinfo=None) if dialect.name == "sqlite" else moment

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """With its zone."""
        return None if value is None else value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Document(TypeDecorator[Any]):
    """A plain JSON value as canonical text."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: object, dialect: Dialect) -> str:  # noqa: ARG002
        """To text."""
        return documents.encode(value, "a row of the catalog").decode()

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:  # noqa: ANN401, ARG002
        """From text; most rows hold no NaN, and a long list of versions should not wait for them."""
        text = value or "null"
        return documents.decode(text, "a row of the catalog") if "$" in text else json.loads(text)


names = Table(
    "names",
    METADATA,
    Column("name", _NAME, primary_key=True),
    Column("last", BigInteger, nullable=False, comment="the number given out last; a keep that died leaves a gap"),
)

versions = Table(
    "versions",
    METADATA,
    Column("digest", _DIGEST, primary_key=True),
    Column("name", _NAME, nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("kept", Moment, nullable=False),
    Column("holds", Document, nullable=False),
    Column("metrics", Document, nullable=False),
    Column("data", Text, nullable=False),
    Column("parents", Document, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("manifest", BigInteger, nullable=False, comment="bytes of the manifest, which index.json states"),
    Column("facts", Document, nullable=False),
    UniqueConstraint("name", "number", name="versions_name_number"),
    Index("versions_kept", "kept"),
)

moves = Table(
    "moves",
    METADATA,
    Column("id", _COUNTING, primary_key=True, autoincrement=True),
    Column("name", _NAME, nullable=False),
    Column("alias", _NAME, nullable=False),
    Column("moved", Moment, nullable=False),
    Column("who", Text, nullable=False),
    Column("why", Text, nullable=False),
    Column("origin", String(71), nullable=False),
    Column("target", _DIGEST, nullable=False),
    Column("kind", String(16), nullable=False, comment="move, rollback, undo or forced"),
    Index("moves_name_alias", "name", "alias", "id"),
)

gates = Table(
    "gates",
    METADATA,
    Column("id", _COUNTING, primary_key=True, autoincrement=True),
    Column("name", _NAME, nullable=False),
    Column("alias", _NAME, nullable=False),
    Column("moved", Moment, nullable=False),
    Column("who", Text, nullable=False),
    Column("why", Text, nullable=False),
    Column("conditions", Document, nullable=False, comment="metric → condition; empty where the alias is free again"),
    Index("gates_name_alias", "name", "alias", "id"),
)

runs = Table(
    "runs",
    METADATA,
    Column("id", _NAME, primary_key=True),
    Column("name", _NAME, nullable=False),
    Column("started", Moment, nullable=False),
    Column("status", String(16), nullable=False),
    Column("pipeline", Text, nullable=False),
    Column("lock", Text, nullable=False),
    Column("folder", Text, nullable=False),
    Column("step", BigInteger, nullable=False),
    Column("version", String(71), nullable=False),
    Column("origin", Text, nullable=False, comment="the run and step it began from, RUN@STEP; empty for the start"),
    Column("hold", Text, nullable=False, comment="which checkpoints are held, in the words of retention"),
)

checkpoints = Table(
    "checkpoints",
    METADATA,
    Column("id", _COUNTING, primary_key=True, autoincrement=True),
    Column("digest", _DIGEST, nullable=False, unique=True),
    Column("run", _NAME, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("step", BigInteger, nullable=False),
    Column("saved", Moment, nullable=False),
    Column("best", Boolean, nullable=False),
    Column("metrics", Document, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("number", BigInteger, nullable=False, comment="counts from 1 within the run; 0 where nobody counted"),
    Index("checkpoints_run", "run", "id"),
)

links = Table(
    "links",
    METADATA,
    Column("holder", _DIGEST, primary_key=True, comment="a manifest that a row of versions or checkpoints names"),
    Column("blob", _DIGEST, primary_key=True),
    Index("links_blob", "blob"),
)

deltas = Table(
    "deltas",
    METADATA,
    Column("digest", _DIGEST, primary_key=True, comment="of the blob that is stored as its difference from the base"),
    Column("base", String(71), nullable=False, comment="empty where it is only compressed"),
    Column("depth", Integer, nullable=False),
    Column("size", BigInteger, nullable=False, comment="bytes of the difference"),
    Index("deltas_base", "base"),
)

leases = Table(
    "leases",
    METADATA,
    Column("id", _COUNTING, primary_key=True, autoincrement=True),
    Column("owner", Text, nullable=False),
    Column("until", Moment, nullable=False),
    Column("digests", Document, nullable=False, comment="what is being written and must not be swept"),
    sqlite_autoincrement=True,
)

condemned = Table(
    "condemned",
    METADATA,
    Column("digest", _DIGEST, primary_key=True),
    Column("mark", BigInteger, nullable=False, comment="the last lease given out before; those up to it may need it"),
    Column("since", Moment, nullable=False),
    Column("deleting", Boolean, nullable=False, comment="it is being removed right now and cannot be saved any more"),
    Column("owner", Text, nullable=False, comment="who removes it"),
)

revisions = Table("alembic_version", MetaData(), Column("version_num", String(32), primary_key=True))
"""Alembic's own table, read here so that opening a store of the right revision need not import alembic."""
