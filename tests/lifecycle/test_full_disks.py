"""Full disks, of the files and of the database: told in a code, tried again, nothing half left."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from psycopg.errors import DiskFull
from sqlalchemy import ExceptionContext, event, text
from starlette.testclient import TestClient

from api.app import create_app
from tests.lifecycle.conftest import Client
from tests.serving import AT_ONCE, IMAGE_BODY, PREDICTIONS, bearer
from tests.stores import named, stored, try_again_now
from visionseg.artifacts.store import LocalStore, Stored
from visionseg.contract.errors import ErrorCode
from visionseg.contract.status import FINAL, Status
from visionseg.predictions.installation import Installation
from workers.bench import Bench

PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(2_000_000)


class FullStore(LocalStore):
    """A disk that is full when a file is put for the first time; later only if it `stays` so."""

    def __init__(self, root: Path, *, stays: bool) -> None:
        super().__init__(root)
        self.stays = stays
        self.refused: set[str] = set()

    def put(self, key: str, source: Path) -> Stored:
        if (name := Path(key).name) not in self.refused or self.stays:
            self.refused.add(name)
            raise OSError(errno.ENOSPC, "No space left on device", key)
        return super().put(key, source)


@pytest.mark.parametrize("kind", ["image", "video"])
def test_a_disk_that_is_full_at_each_file_once_costs_tries_and_nothing_else(
    installation: Installation,
    client: Client,
    bench: Bench,
    clip_uri: str,
    small_chunks: None,
    kind: str,
) -> None:
    made = client.image(save_overlay=True) if kind == "image" else client.video(video=clip_uri)
    store = FullStore(installation.settings.storage.files, stays=False)
    bench.installation = replace(installation, store=store)
    while client.read(made).status not in FINAL:
        bench.take_a_turn()
        assert stored(installation) == named(installation)
        try_again_now(installation)
    record = client.read(made)
    assert record.status is Status.SUCCEEDED, record
    assert "(storage_full), trying again" in record.logs
    expected = {"mask_000.png"} if kind == "image" else {"checkpoint", "video.mp4"}
    assert expected <= store.refused


def test_a_disk_that_stays_full_is_a_failure_with_its_code(
    installation: Installation, client: Client, bench: Bench
) -> None:
    made = client.image()
    store = FullStore(installation.settings.storage.files, stays=True)
    bench.installation = replace(installation, store=store)
    while client.read(made).status not in FINAL:
        bench.take_a_turn()
        try_again_now(installation)
    record = client.read(made)
    assert (record.status, record.error_code) == (Status.FAILED, ErrorCode.STORAGE_FULL)
    assert stored(installation) == named(installation)


class FullScratch(LocalStore):
    """A disk without room for what is written before it is put; the kernel says so."""

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        with super().scratch() as folder:
            for name in ("upload", "input"):
                (folder / name).symlink_to("/dev/full")
            yield folder


@pytest.mark.parametrize("route", [PREDICTIONS, "/v1/files"])
@pytest.mark.parametrize("kind", ["scratch", "store"])
def test_a_full_disk_refuses_uploads_and_submissions_and_leaves_nothing(
    installation: Installation, make_key: Callable[..., str], route: str, kind: str
) -> None:
    root = installation.settings.storage.files
    store = FullScratch(root) if kind == "scratch" else FullStore(root, stays=True)
    full = replace(installation, store=store)
    with TestClient(create_app(full), headers=bearer(make_key())) as http:
        if route == PREDICTIONS:
            reply = http.post(route, json=IMAGE_BODY, headers=AT_ONCE)
        else:
            reply = http.post(route, content=PICTURE)
        assert (reply.status_code, reply.json()["code"]) == (503, "storage_full")
        assert int(reply.headers["retry-after"]) > 0
        assert http.get(PREDICTIONS).json()["results"] == []
    assert stored(installation) == named(installation) == set()


REFUSE = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'could not extend file: No space left' USING ERRCODE = 'disk_full'; END $$;
CREATE TRIGGER refuse BEFORE INSERT ON files EXECUTE FUNCTION refuse();
"""


@contextmanager
def _full_database(installation: Installation) -> Iterator[list[str]]:
    """Takes no rows of files, as on a full disk; freed after it refused once."""
    refused: list[str] = []

    def free(context: ExceptionContext) -> None:
        if isinstance(context.original_exception, DiskFull):
            refused.append(context.statement or "")
            with installation.database.begin() as other:
                other.execute(text("SET LOCAL lock_timeout = 0"))
                other.execute(text("ALTER TABLE files DISABLE TRIGGER refuse"))

    with installation.database.begin() as connection:
        connection.execute(text(REFUSE))
    event.listen(installation.database, "handle_error", free)
    yield refused
    event.remove(installation.database, "handle_error", free)


def test_a_full_database_refuses_a_submission_and_leaves_nothing(
    installation: Installation, make_key: Callable[..., str]
) -> None:
    with TestClient(create_app(installation), headers=bearer(make_key())) as http:
        with _full_database(installation) as refused:
            reply = http.post(PREDICTIONS, json=IMAGE_BODY, headers=AT_ONCE)
            assert (reply.status_code, reply.json()["code"]) == (503, "service_unavailable")
            assert len(refused) == 1
            assert stored(installation) == set()
            again = http.post(PREDICTIONS, json=IMAGE_BODY, headers=AT_ONCE)
            assert again.status_code == 202
        assert len(http.get(PREDICTIONS).json()["results"]) == 1
    assert stored(installation) == named(installation)


def test_a_database_full_at_the_commit_of_a_unit_costs_no_second_try(
    installation: Installation, client: Client, bench: Bench
) -> None:
    made = client.image()
    with _full_database(installation) as refused:
        bench.take_a_turn()
        assert len(refused) == 1
    assert client.read(made).status is Status.SUCCEEDED
    with installation.database.connect() as connection:
        assert connection.execute(text("SELECT attempt FROM units")).scalar_one() == 1
    assert stored(installation) == named(installation)
