"""What Alembic runs for each upgrade: within the transaction of the catalog that asked for it."""

from __future__ import annotations

from alembic import context

from engram.store.tables import METADATA

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=METADATA, render_as_batch=True)
context.run_migrations()
