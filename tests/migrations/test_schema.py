"""The schema that the migrations make is the one the code means."""

from __future__ import annotations

import threading

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from visionseg.predictions.installation import Installation
from visionseg.records import schema
from visionseg.records.tables import metadata


def test_the_tables_and_the_migrations_agree(installation: Installation) -> None:
    with installation.database.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


def test_a_migrated_database_has_the_revision_the_code_needs(installation: Installation) -> None:
    with installation.database.connect() as connection:
        assert schema.current_revision(connection) == schema.newest_revision()


def test_several_processes_may_migrate_an_empty_database_at_once(
    installation: Installation,
) -> None:
    config = schema._config()
    with installation.database.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
    errors: list[Exception] = []

    def migrate() -> None:
        try:
            schema.migrate(installation.database)
        except Exception as error:  # noqa: BLE001 - it is told below
            errors.append(error)

    threads = [threading.Thread(target=migrate) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    with installation.database.connect() as connection:
        assert schema.current_revision(connection) == schema.newest_revision()
