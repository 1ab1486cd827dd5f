"""Making the tables of a catalog, and bringing older ones up to date."""

from __future__ import annotations

from sqlalchemy import Connection, insert, select

from engram.store.tables import HEAD, METADATA, revisions

__all__ = ["bring_up", "make", "revision"]


def make(connection: Connection) -> None:
    """All tables, as they are now."""
    METADATA.create_all(connection)
    revisions.create(connection)
    connection.execute(insert(revisions).values(version_num=HEAD))


def revision(connection: Connection) -> str:
    """The revision that the tables say they have; empty before the first step."""
    return connection.execute(select(revisions.c.version_num)).scalar_one_or_none() or ""


def bring_up(connection: Connection, where: str) -> None:
    """Take the steps from the revision that is found to the present one, in the connection's transaction.

    Raises:
        StoreError: a newer Engram wrote them.
    """
    found = revision(connection)
    if found != HEAD:
        from engram.store.migrate import upgrade  # imports alembic, which takes longer than all the rest

        upgrade(connection, found, where)
