"""A migration while workers and the API serve: it waits for its turn, and no job waits for it."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.config import Config
from sqlalchemy import text

from tests.conftest import Servers
from tests.crews import HASTY, until
from tests.lifecycle.faults.conftest import planted
from visionseg.records import schema

pytestmark = pytest.mark.xdist_group("faults")
REVISION = """
import sqlalchemy as sa
from alembic import op

revision = "of tomorrow"
down_revision = "{head}"


def upgrade():
    for table in ("predictions", "units", "turns", "files"):
        op.add_column(table, sa.Column("note", sa.Text(), server_default="", nullable=False))
        op.create_index(f"ix_{{table}}_note", table, ["note"])
"""


@pytest.fixture
def tomorrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One migration more, which needs every busy table for itself."""
    folder = tmp_path / "versions"
    folder.mkdir()
    (folder / "tomorrow.py").write_text(REVISION.format(head=schema.newest_revision()))
    of_today = schema._config

    def of_tomorrow() -> Config:
        config = of_today()
        own = f"{config.get_main_option('script_location')}/versions"
        config.set_main_option("path_separator", "os")
        config.set_main_option("version_locations", os.pathsep.join((own, str(folder))))
        return config

    monkeypatch.setattr(schema, "_config", of_tomorrow)


def test_a_migration_of_busy_tables_is_tried_until_they_are_free_and_jobs_go_on(
    servers: Servers, tmp_path: Path, clip_uri: str, tomorrow: None
) -> None:
    with planted(servers, tmp_path, HASTY) as plant, ThreadPoolExecutor(1) as pool:
        plant.worker()
        database = plant.installation.database
        with database.connect() as reader:
            reader.execute(text("SET idle_in_transaction_session_timeout = 0"))
            reader.execute(text("SELECT count(*) FROM predictions"))
            migrating = pool.submit(schema.migrate, database)
            until(lambda: plant.rows("SELECT 1 FROM pg_locks WHERE NOT granted"))
            made = [plant.client.image() for _ in range(3)]
            made.append(plant.client.video(video=clip_uri, output_format="coco_rle"))
            for one in made:
                plant.succeeded(one)
            assert not migrating.done()
            reader.rollback()
        made = [plant.client.image() for _ in range(3)]
        migrating.result()
        made.append(plant.client.video(video=clip_uri))
        for one in made:
            plant.succeeded(one)
        with database.connect() as connection:
            assert schema.current_revision(connection) == "of tomorrow"
