"""The skeleton of the life of a prediction: claims, leases, fences and ends, on PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import text

from visionseg.access.keys import Caller, authenticate
from visionseg.contract.errors import ErrorCode, Refusal
from visionseg.contract.ids import PredictionId
from visionseg.contract.inputs import ImageSubmission, VideoSubmission
from visionseg.contract.models import LITE
from visionseg.contract.status import Status
from visionseg.predictions import finish
from visionseg.predictions.cancel import cancel
from visionseg.predictions.claim import claim
from visionseg.predictions.finish import Outcome, Success
from visionseg.predictions.installation import Installation
from visionseg.predictions.read import read
from visionseg.predictions.submit import submit
from visionseg.predictions.sweep import sweep
from visionseg.queue.lanes import CPU_LANES, GPU_LANES, LANE_OF, Lane, UnitKind
from visionseg.records import tables, units
from visionseg.records.units import Claim, NewUnit

PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgAB"
    "SK+kcQAAAABJRU5ErkJggg=="
)


@pytest.fixture
def caller(installation: Installation, make_key: Callable[..., str]) -> Caller:
    secret = make_key()
    pepper = installation.settings.http.key_pepper.get_secret_value()
    return authenticate(installation.database, pepper, f"Bearer {secret}")


def _submit_image(installation: Installation, caller: Caller) -> PredictionId:
    given = {"image": PIXEL, "prompt": "person"}
    submission = ImageSubmission.model_validate({"input": given})
    return submit(installation, caller, submission, given, "http://test")


def _claim(installation: Installation, owner: str = "host/1/2") -> Claim | None:
    return claim(installation.database, [*GPU_LANES, *CPU_LANES], [LITE], owner, 30)


def _must_claim(installation: Installation, owner: str = "host/1/2") -> Claim:
    found = _claim(installation, owner)
    assert found is not None
    return found


def _status(installation: Installation, caller: Caller, made: PredictionId) -> Status:
    return read(installation, caller.organisation_id, made, "http://test").status


def test_a_claim_moves_the_prediction_to_processing_and_leases_the_unit_once(
    installation: Installation, caller: Caller
) -> None:
    made = _submit_image(installation, caller)
    assert _status(installation, caller, made) is Status.STARTING
    held = _must_claim(installation)
    assert (held.prediction_id, held.kind, held.attempt) == (made, UnitKind.IMAGE, 1)
    assert _claim(installation) is None
    assert _status(installation, caller, made) is Status.PROCESSING


def test_the_last_unit_done_is_success_and_releases(
    installation: Installation, caller: Caller
) -> None:
    made = _submit_image(installation, caller)
    held = _must_claim(installation)
    outcome = Outcome(frames_done=1, success=Success("x.png", scores=[0.9]))
    assert finish.complete(installation, held, outcome)
    record = read(installation, caller.organisation_id, made, "http://test")
    assert record.status is Status.SUCCEEDED
    assert record.released_at is not None
    assert record.progress.frames_done == 1


def _expire(installation: Installation) -> None:
    with installation.database.begin() as connection:
        connection.execute(text("UPDATE units SET lease_until = clock_timestamp() - interval '1s'"))


def _skip_back_off(installation: Installation) -> None:
    with installation.database.begin() as connection:
        connection.execute(text("UPDATE units SET not_before = clock_timestamp()"))
        connection.execute(text("UPDATE turns SET ready_at = clock_timestamp()"))


def test_a_holder_whose_lease_ran_out_writes_nothing(
    installation: Installation, caller: Caller
) -> None:
    made = _submit_image(installation, caller)
    zombie = _must_claim(installation, "host/1/2")
    _expire(installation)
    sweep(installation)
    _skip_back_off(installation)
    heir = _must_claim(installation, "host/3/4")
    assert heir.attempt == zombie.attempt + 1
    outcome = Outcome(success=Success("zombie.png"))
    assert not finish.complete(installation, zombie, outcome)
    assert not finish.fail(installation, zombie, Refusal(ErrorCode.NOT_AN_IMAGE))
    assert not finish.give_back(installation, zombie)
    assert _status(installation, caller, made) is Status.PROCESSING
    assert finish.complete(installation, heir, Outcome(success=Success("heir.png")))


def test_without_the_fencing_token_a_late_holder_would_write(
    installation: Installation, caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = _submit_image(installation, caller)
    zombie = _must_claim(installation, "host/1/2")
    _expire(installation)
    sweep(installation)
    _skip_back_off(installation)
    _must_claim(installation, "host/3/4")
    monkeypatch.setattr(units, "held", lambda one: (tables.units.c.id == one.unit_id,))
    assert finish.complete(installation, zombie, Outcome(success=Success("zombie.png")))
    assert _status(installation, caller, made) is Status.SUCCEEDED


def test_cancel_is_final_at_once_and_released_when_the_worker_lets_go(
    installation: Installation, caller: Caller
) -> None:
    made = _submit_image(installation, caller)
    held = _must_claim(installation)
    assert cancel(installation, made)
    assert not cancel(installation, made)
    record = read(installation, caller.organisation_id, made, "http://test")
    assert (record.status, record.released_at) == (Status.CANCELED, None)
    assert not finish.complete(installation, held, Outcome(success=Success("late.png")))
    finish.let_go(installation, held)
    record = read(installation, caller.organisation_id, made, "http://test")
    assert record.status is Status.CANCELED
    assert record.released_at is not None


def test_a_refused_input_is_failed_with_its_code_and_never_tried_again(
    installation: Installation, caller: Caller
) -> None:
    made = _submit_image(installation, caller)
    held = _must_claim(installation)
    assert finish.fail(installation, held, Refusal(ErrorCode.NOT_AN_IMAGE, "It is a poem."))
    record = read(installation, caller.organisation_id, made, "http://test")
    assert (record.status, record.error_code, record.error) == (
        Status.FAILED,
        "not_an_image",
        "It is a poem.",
    )
    assert _claim(installation) is None


def test_a_passing_failure_is_tried_again_until_the_limit(
    installation: Installation, caller: Caller
) -> None:
    made = _submit_image(installation, caller)
    for _ in range(installation.settings.lease.max_transient):
        _skip_back_off(installation)
        held = _must_claim(installation)
        assert finish.fail(installation, held, Refusal(ErrorCode.INTERNAL))
    _skip_back_off(installation)
    assert _claim(installation) is None
    record = read(installation, caller.organisation_id, made, "http://test")
    assert (record.status, record.error_code) == (Status.FAILED, "internal")


def test_a_unit_that_kills_its_worker_at_the_same_frame_is_poison(
    installation: Installation, caller: Caller
) -> None:
    made = _submit_image(installation, caller)
    for _ in range(installation.settings.lease.max_losses):
        _skip_back_off(installation)
        _must_claim(installation)
        _expire(installation)
        sweep(installation)
    record = read(installation, caller.organisation_id, made, "http://test")
    assert (record.status, record.error_code) == (Status.FAILED, "worker_lost")
    assert record.released_at is not None


def test_a_unit_given_back_counts_as_no_attempt(installation: Installation, caller: Caller) -> None:
    _submit_image(installation, caller)
    for turn in range(1, 20):
        held = _must_claim(installation)
        assert held.attempt == turn
        assert finish.give_back(installation, held)
    held = _must_claim(installation)
    assert finish.fail(installation, held, Refusal(ErrorCode.INTERNAL))
    with installation.database.connect() as connection:
        state = connection.execute(text("SELECT state FROM units")).scalar_one()
    assert state == "ready"


def test_a_deadline_that_passed_fails_the_prediction(
    installation: Installation, caller: Caller
) -> None:
    made = _submit_image(installation, caller)
    with installation.database.begin() as connection:
        connection.execute(text("UPDATE predictions SET deadline = clock_timestamp()"))
    sweep(installation)
    record = read(installation, caller.organisation_id, made, "http://test")
    assert (record.status, record.error_code) == (Status.FAILED, "deadline_exceeded")


def test_units_become_ready_when_all_they_wait_for_is_done(
    installation: Installation, caller: Caller
) -> None:
    given = {"video": "https://example.com/clip.mp4", "prompt": "dog"}
    submission = VideoSubmission.model_validate({"input": given})
    submit(installation, caller, submission, given, "http://test")
    fetch = _must_claim(installation)
    assert fetch.kind == UnitKind.FETCH
    assert _claim(installation) is None
    assert finish.complete(installation, fetch, Outcome())
    ingest = _must_claim(installation)
    chunks = [NewUnit(2, "chunk", Lane.VIDEOS), NewUnit(3, "chunk", Lane.VIDEOS, after=[2])]
    last = NewUnit(4, UnitKind.ASSEMBLE, LANE_OF[UnitKind.ASSEMBLE], after=[2, 3])
    assert finish.complete(installation, ingest, Outcome(new_units=[*chunks, last]))
    order = []
    while (held := _claim(installation)) is not None:
        order.append(held.seq)
        assert finish.complete(installation, held, Outcome())
    assert order == [2, 3, 4]


def _two_chunks() -> list[NewUnit]:
    return [NewUnit(n, "chunk", Lane.VIDEOS, after=[n - 1] if n > 2 else []) for n in (2, 3)]


def test_images_go_before_videos_and_jobs_take_turns(
    installation: Installation, caller: Caller
) -> None:
    given = {"video": "https://example.com/clip.mp4", "prompt": "dog"}
    submission = VideoSubmission.model_validate({"input": given})
    for _ in range(2):
        submit(installation, caller, submission, given, "http://test")
        for new in ([], _two_chunks()):
            held = claim(installation.database, CPU_LANES, [LITE], "host/1/2", 30)
            assert held is not None
            assert finish.complete(installation, held, Outcome(new_units=new))
    first = _must_claim(installation)
    image = _submit_image(installation, caller)
    assert _must_claim(installation).prediction_id == image
    assert finish.complete(installation, first, Outcome())
    second = _must_claim(installation)
    assert second.prediction_id != first.prediction_id
