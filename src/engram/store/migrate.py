"""Bringing an older catalog up to date; the only file that imports alembic, and imported only when there is need."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection

from engram.errors import StoreError
from engram.store.tables import HEAD

__all__ = ["upgrade"]

_STEPS = Path(__file__).parent / "migrations"


def upgrade(connection: Connection, found: str, where: str) -> None:
    """Take the steps from the revision that was found to the present one, in the connection's transaction.

    Raises:
        StoreError: the revision is not one of ours, because a newer Engram wrote it.
    """
    if found > HEAD:
        raise StoreError(
            f"the catalog of {where} has revision {found}, newer than {HEAD}, which this Engram knows; "
            "pip install --upgrade engram"
        )
    config = Config()
    config.set_main_option("script_location", str(_STEPS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, HEAD)
