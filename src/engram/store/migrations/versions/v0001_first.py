"""The first tables.

Written out and not taken from ``tables``, which will move on: a step says what was true when it was written.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_COUNTING = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def _text(name: str, length: int = 0, *, key: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.String(length) if length else sa.Text(), primary_key=key, nullable=False)


def _number(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=False)


def _moment(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=False)


def upgrade() -> None:
    """Make the first tables."""
    op.create_table("names", _text("name", 128, key=True), _number("last"))
    op.create_table(
        "versions",
        _text("digest", 71, key=True),
        _text("name", 128),
        _number("number"),
        _moment("kept"),
        *(_text(name) for name in ("holds", "metrics", "data", "parents")),
        *(_number(name) for name in ("size", "manifest")),
        _text("facts"),
        sa.UniqueConstraint("name", "number", name="versions_name_number"),
    )
    op.create_table(
        "moves",
        sa.Column("id", _COUNTING, primary_key=True, autoincrement=True),
        *(_text(name, 128) for name in ("name", "alias")),
        _moment("moved"),
        *(_text(name) for name in ("who", "why")),
        *(_text(name, 71) for name in ("origin", "target")),
    )
    op.create_index("moves_name_alias", "moves", ["name", "alias", "id"])
    _make_runs()
    op.create_table("links", _text("holder", 71, key=True), _text("blob", 71, key=True))
    op.create_index("links_blob", "links", ["blob"])


def _make_runs() -> None:
    op.create_table(
        "runs",
        _text("id", 128, key=True),
        _text("name", 128),
        _moment("started"),
        _text("status", 16),
        *(_text(name) for name in ("pipeline", "lock", "folder")),
        _number("step"),
        _text("version", 71),
    )
    op.create_table(
        "checkpoints",
        sa.Column("id", _COUNTING, primary_key=True, autoincrement=True),
        sa.Column("digest", sa.String(71), nullable=False, unique=True),
        _text("run", 128),
        *(_number(name) for name in ("epoch", "step")),
        _moment("saved"),
        sa.Column("best", sa.Boolean(), nullable=False),
        _text("metrics"),
        _number("size"),
    )
    op.create_index("checkpoints_run", "checkpoints", ["run", "id"])
