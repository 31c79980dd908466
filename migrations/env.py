"""How Alembic reaches the database: through a connection it is given, or the settings."""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection

from visionseg.config import read_settings
from visionseg.records.engine import connect
from visionseg.records.tables import metadata


def _run(connection: Connection) -> None:
    context.configure(connection=connection, target_metadata=metadata, compare_type=True)
    with context.begin_transaction():
        context.run_migrations()


given = context.config.attributes.get("connection")
if given is not None:
    _run(given)
else:
    database = connect(read_settings().services.database_url, 1, "visionseg migrate")
    with database.begin() as opened:
        _run(opened)
    database.dispose()
