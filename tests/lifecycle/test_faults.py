"""Faults inside one process: cancel in every stage, answers and sessions lost."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from sqlalchemy import Connection, event, text

from tests.lifecycle.conftest import Client
from tests.relays import database_relayed
from tests.stores import named, stored
from visionseg.access.keys import Caller
from visionseg.config import Lease, Settings
from visionseg.contract.errors import ErrorCode
from visionseg.contract.ids import PredictionId
from visionseg.contract.models import LITE
from visionseg.contract.status import Status
from visionseg.predictions import finish
from visionseg.predictions.cancel import cancel
from visionseg.predictions.claim import claim
from visionseg.predictions.finish import Outcome, Success
from visionseg.predictions.installation import Installation, assemble
from visionseg.predictions.preview import playlist
from visionseg.predictions.sweep import LOCK as SWEEP_LOCK
from visionseg.predictions.sweep import sweep
from visionseg.queue.lanes import Lane, UnitKind
from visionseg.records import units
from workers.bench import Bench
from workers.hosts import owner_name


@pytest.mark.parametrize("kind", list(UnitKind))
def test_a_cancel_in_any_stage_ends_the_job_and_leaves_no_file_without_a_row(
    installation: Installation,
    client: Client,
    caller: Caller,
    bench: Bench,
    clip_uri: str,
    small_chunks: None,
    kind: UnitKind,
) -> None:
    made, claimed = _submitted(client, bench, kind, clip_uri), None
    while claimed is None or claimed.kind != kind:
        if claimed is not None:
            bench._perform(claimed, lambda: None)
        if kind is UnitKind.PREVIEW:
            playlist(installation, caller.organisation_id, made)
        claimed = bench._claim([Lane.PREVIEW, *bench.lanes])
        assert claimed is not None
    assert cancel(installation, made)
    assert client.read(made).released_at is None
    bench._perform(claimed, lambda: None)
    record = client.read(made)
    assert (record.status, record.output) == (Status.CANCELED, None)
    assert record.released_at is not None
    assert bench._claim(bench.lanes) is None
    assert stored(installation) == named(installation)


def _submitted(client: Client, bench: Bench, kind: UnitKind, clip_uri: str) -> PredictionId:
    """A prediction that has a unit of that kind."""
    if kind is UnitKind.FETCH:
        return client.image(image="https://nobody.invalid/photo.jpg")
    if kind is UnitKind.IMAGE:
        return client.image()
    if kind is UnitKind.REPAINT:
        source = client.image()
        bench.take_a_turn()
        return client.render(source, mask_color="red")
    return client.video({"dry_run": kind is UnitKind.PLAN}, video=clip_uri)


def test_a_job_canceled_in_the_queue_is_released_at_once(
    installation: Installation, client: Client, bench: Bench
) -> None:
    made = client.image()
    assert cancel(installation, made)
    assert client.read(made).released_at is not None
    assert bench._claim(bench.lanes) is None


def _leased(installation: Installation, lane: Lane = Lane.IMAGES) -> units.Claim:
    found = claim(installation.database, [lane], [LITE], owner_name(), 30)
    assert found is not None
    return found


def test_of_cancel_and_success_at_once_one_wins_two_hundred_times(
    installation: Installation, client: Client
) -> None:
    together = threading.Barrier(2)

    def race(run: Callable[[], bool]) -> bool:
        together.wait()
        return run()

    with ThreadPoolExecutor(2) as pool:
        for _ in range(200):
            made = client.image(image="https://nobody.invalid/photo.jpg")
            held = _leased(installation, Lane.FETCH)
            done = Outcome(success=Success(output_name="none"))
            ends = (
                pool.submit(race, partial(finish.complete, installation, held, done)),
                pool.submit(race, partial(cancel, installation, made)),
            )
            succeeded, canceled = (end.result() for end in ends)
            assert succeeded != canceled
            if canceled:
                finish.let_go(installation, held)
            record = client.read(made)
            assert record.status is (Status.SUCCEEDED if succeeded else Status.CANCELED)
            assert record.released_at is not None
    with installation.database.connect() as connection:
        query = "SELECT prediction_id FROM events WHERE kind = 'completed'"
        told = connection.execute(text(query)).scalars().all()
    assert (len(told), len(set(told))) == (200, 200)


def test_an_outcome_that_is_committed_again_stays_as_it_is(
    installation: Installation, client: Client
) -> None:
    made = client.image()
    held = _leased(installation)
    done = Outcome(success=Success(output_name="none"))
    assert finish.complete(installation, held, done)
    before = client.read(made)
    assert finish.complete(installation, held, done)
    assert client.read(made) == before


@contextmanager
def _losing_answers_to_commits(
    settings: Settings, moment: str
) -> Iterator[tuple[Installation, list[str]]]:
    """An installation that never hears of its first commit after a statement that begins so."""
    services = settings.services.model_copy(update={"database_answer_s": 1.0})
    hasty = settings.model_copy(update={"services": services})
    with database_relayed(hasty) as (relay, through):
        cut_off = assemble(through, "visionseg tests")
        said: list[str] = []

        def hear(_connection: Connection, _cursor: object, statement: str, *_: object) -> None:
            if statement.startswith(moment):
                said.append(statement)

        def lose(connection: Connection) -> None:
            if len(said) == 1:
                said.append("lost")
                relay.lose_answer_to(connection)

        event.listen(cut_off.database, "before_cursor_execute", hear)
        event.listen(cut_off.database, "commit", lose)
        yield cut_off, said
        cut_off.close()


def test_an_outcome_committed_though_the_answer_was_lost_stays_committed(
    installation: Installation, client: Client, bench: Bench
) -> None:
    made = client.image()
    moment = "INSERT INTO files"
    with _losing_answers_to_commits(installation.settings, moment) as (cut_off, said):
        bench.installation = cut_off
        bench.take_a_turn()
        assert said[1] == "lost"
    record = client.read(made)
    assert record.status is Status.SUCCEEDED
    assert stored(installation) == named(installation)
    with installation.database.connect() as connection:
        assert connection.execute(text("SELECT attempt FROM units")).scalar_one() == 1
        told = connection.execute(text("SELECT 1 FROM events WHERE kind = 'completed'")).all()
        assert len(told) == 1


def test_a_submission_committed_though_the_answer_was_lost_is_accepted_with_its_input(
    installation: Installation, caller: Caller, client: Client, bench: Bench
) -> None:
    moment = "INSERT INTO predictions"
    with _losing_answers_to_commits(installation.settings, moment) as (cut_off, said):
        made = Client(cut_off, caller).image()
        assert said[1] == "lost"
    bench.take_a_turn()
    assert client.read(made).status is Status.SUCCEEDED
    assert stored(installation) == named(installation)


class CutOff:
    """Ends the session of the first statement that begins so, from another session."""

    def __init__(self, installation: Installation, beginning: str) -> None:
        self._database = installation.database
        self._beginning = beginning
        self.done = False
        event.listen(self._database, "before_cursor_execute", self._before)

    def _before(self, connection: Connection, cursor: Any, statement: str, *_: object) -> None:
        if self.done or not statement.startswith(self._beginning):
            return
        self.done = True
        with self._database.connect() as other:
            query = text("SELECT pg_terminate_backend(:pid, 5000)")
            other.execute(query, {"pid": cursor.connection.info.backend_pid})


def test_a_session_lost_while_a_unit_is_committed_costs_no_second_try(
    installation: Installation, client: Client, bench: Bench
) -> None:
    made = client.image()
    cut = CutOff(installation, "INSERT INTO files")
    bench.take_a_turn()
    assert cut.done
    record = client.read(made)
    assert record.status is Status.SUCCEEDED
    with installation.database.connect() as connection:
        assert connection.execute(text("SELECT attempt FROM units")).scalar_one() == 1
    assert stored(installation) == named(installation)


def test_a_session_lost_while_claiming_ends_the_turn_and_the_next_one_goes_on(
    installation: Installation, client: Client, bench: Bench
) -> None:
    made = client.image()
    cut = CutOff(installation, "UPDATE units")
    bench.take_a_turn()
    assert cut.done
    assert client.read(made).status is Status.STARTING
    bench.take_a_turn()
    assert client.read(made).status is Status.SUCCEEDED


def test_an_outcome_that_cannot_be_written_is_a_failure_told_not_a_worker_lost(
    installation: Installation, client: Client, bench: Bench
) -> None:
    made = client.image()
    with installation.database.begin() as connection:
        connection.execute(text("ALTER TABLE files ADD CONSTRAINT none CHECK (role = 'input')"))
    once = Lease(max_transient=1)
    settings = installation.settings.model_copy(update={"lease": once})
    bench.installation = replace(installation, settings=settings)
    bench.take_a_turn()
    record = client.read(made)
    assert record.error_code == ErrorCode.INTERNAL
    assert record.released_at is not None


def test_a_sweeper_frozen_in_the_middle_is_cut_off_and_another_is_elected(
    installation: Installation, client: Client
) -> None:
    client.image()
    held = _leased(installation)
    with installation.database.begin() as connection:
        connection.execute(text("UPDATE units SET lease_until = clock_timestamp()"))
    with installation.database.connect() as frozen:
        frozen.execute(text("SET idle_in_transaction_session_timeout = '200ms'"))
        frozen.execute(text(f"SELECT pg_try_advisory_xact_lock({SWEEP_LOCK})"))
        sweep(installation)
        assert _state(installation, held) == "leased"
        while _state(installation, held) == "leased":
            sweep(installation)
        frozen.invalidate()


def _state(installation: Installation, held: units.Claim) -> str:
    query = text("SELECT state FROM units WHERE id = :id")
    with installation.database.connect() as connection:
        return str(connection.execute(query, {"id": held.unit_id}).scalar_one())
