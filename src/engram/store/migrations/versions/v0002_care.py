"""Sweeping beside writers, protected aliases, checkpoints as deltas, and where a run began."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_COUNTING = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def _text(name: str, length: int = 0, *, key: bool = False, default: str | None = None) -> sa.Column[str]:
    kind = sa.String(length) if length else sa.Text()
    return sa.Column(name, kind, primary_key=key, nullable=False, server_default=default)


def _counting() -> sa.Column[int]:
    return sa.Column("id", _COUNTING, primary_key=True, autoincrement=True)


def _moment(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=False)


def upgrade() -> None:
    """Add what the first tables lack."""
    op.create_index("versions_kept", "versions", ["kept"])
    op.add_column("moves", _text("kind", 16, default="move"))
    op.add_column("runs", _text("origin", default=""))
    op.add_column("runs", _text("hold", default=""))
    op.add_column("checkpoints", sa.Column("number", sa.BigInteger(), nullable=False, server_default="0"))
    op.create_table(
        "gates",
        _counting(),
        *(_text(name, 128) for name in ("name", "alias")),
        _moment("moved"),
        *(_text(name) for name in ("who", "why", "conditions")),
    )
    op.create_index("gates_name_alias", "gates", ["name", "alias", "id"])
    _make_care()


def _make_care() -> None:
    op.create_table(
        "deltas",
        _text("digest", 71, key=True),
        _text("base", 71),
        sa.Column("depth", sa.Integer(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
    )
    op.create_index("deltas_base", "deltas", ["base"])
    op.create_table(
        "leases", _counting(), _text("owner"), _moment("until"), _text("digests"), sqlite_autoincrement=True
    )
    op.create_table(
        "condemned",
        _text("digest", 71, key=True),
        sa.Column("mark", sa.BigInteger(), nullable=False),
        _moment("since"),
        sa.Column("deleting", sa.Boolean(), nullable=False),
        _text("owner"),
    )
