"""What the code of each release says to the database, said to the schema of today.

While a new release is rolled out, processes of the one before go on working on the migrated
schema, and rows that they wrote must be understood by the code of today.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from psycopg.types.json import Jsonb
from sqlalchemy import Engine, text

from visionseg.contract.ids import OrganisationId, PredictionId
from visionseg.contract.models import LITE
from visionseg.contract.status import OPEN
from visionseg.predictions.claim import claim
from visionseg.predictions.installation import Installation
from visionseg.predictions.read import list_page, read
from visionseg.predictions.sweep import sweep
from visionseg.queue.lanes import CPU_LANES, GPU_LANES
from visionseg.records import schema
from visionseg.records.predictions import Page
from visionseg.records.tables import metadata

RELEASES = sorted((Path(__file__).parent / "writes").glob("*.json"))
LANES = [*GPU_LANES, *CPU_LANES]
BASE = "http://test"


def _value(plain: Any) -> Any:
    if not isinstance(plain, dict):
        return plain
    ((kind, value),) = plain.items()
    return Jsonb(value) if kind == "json" else value


def _lives(release: Path) -> Iterator[tuple[str, list[tuple[str, dict[str, Any]]]]]:
    recorded = json.loads(release.read_text(encoding="utf-8"))
    said = recorded["statements"]
    for life in recorded["lives"]:
        steps = [
            (said[number], {name: _value(plain) for name, plain in values.items()})
            for number, values in life["steps"]
        ]
        yield life["test"], steps


def _empty(database: Engine) -> None:
    with database.begin() as connection:
        names = ", ".join(metadata.tables)
        connection.execute(text(f"TRUNCATE {names} RESTART IDENTITY CASCADE"))


def _say(database: Engine, steps: list[tuple[str, dict[str, Any]]]) -> None:
    with database.begin() as connection:
        for statement, values in steps:
            connection.exec_driver_sql(statement, values)


def _to(database: Engine, revision: str) -> None:
    config = schema._config()
    with database.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, revision)


def _understood(installation: Installation) -> None:
    """Every prediction is read and listed, and whatever has work ready is handed out."""
    sweep(installation)
    with installation.database.begin() as connection:
        rows = connection.execute(text("SELECT id, organisation_id, status FROM predictions")).all()
        connection.execute(text("UPDATE units SET not_before = clock_timestamp()"))
        connection.execute(text("UPDATE turns SET ready_at = clock_timestamp() WHERE ready > 0"))
        ready = connection.execute(
            text(
                "SELECT u.id FROM units u JOIN predictions p ON p.id = prediction_id"
                " WHERE state = 'ready' AND status = ANY(:open)"
            ),
            {"open": list(OPEN)},
        ).scalars()
        waiting = set(ready)
    for row in rows:
        organisation_id = OrganisationId(row.organisation_id)
        record = read(installation, organisation_id, PredictionId(row.id), BASE)
        listed = list_page(installation, Page(organisation_id, 100), BASE)
        assert record.status == row.status
        assert record.id in {one.id for one in listed}
    claimed = set()
    while (found := claim(installation.database, LANES, [LITE], "host/1/2", 30)) is not None:
        claimed.add(found.unit_id)
    assert claimed == waiting


@pytest.mark.parametrize("release", RELEASES, ids=lambda path: path.stem)
def test_a_release_goes_on_writing_to_the_schema_of_today(
    installation: Installation, release: Path
) -> None:
    for _, steps in _lives(release):
        _say(installation.database, steps)
        _understood(installation)
        _empty(installation.database)


@pytest.mark.parametrize("release", RELEASES, ids=lambda path: path.stem)
def test_what_a_release_wrote_before_the_migration_is_understood_after_it(
    installation: Installation, release: Path
) -> None:
    lives = [steps for _, steps in _lives(release)]
    for steps in lives:
        _to(installation.database, release.stem)
        _say(installation.database, steps)
        schema.migrate(installation.database)
        _understood(installation)
        _empty(installation.database)


def test_every_recording_is_of_a_revision_that_there_is() -> None:
    scripts = ScriptDirectory.from_config(schema._config())
    known = {script.revision for script in scripts.walk_revisions()}
    assert {release.stem for release in RELEASES} <= known
