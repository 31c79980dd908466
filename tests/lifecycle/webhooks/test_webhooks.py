"""Webhooks, from the event to a receiver that verifies their signature."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from tests.fakes.clocks import shifted
from tests.fakes.tls_sites import TlsSite, hang_up
from tests.lifecycle.receivers import BASE, OWNER, Receiver
from tests.serving import finish_next, take
from visionseg.access.addresses import AddressPolicy
from visionseg.config import Settings
from visionseg.contract.errors import ErrorCode, Refusal
from visionseg.contract.reply import Prediction
from visionseg.delivery.post import Poster
from visionseg.delivery.signing import rotate, secrets_of
from visionseg.predictions import finish
from visionseg.predictions.cancel import cancel
from visionseg.predictions.deliver import (
    LEASE_S,
    WAITS_S,
    deliver_next,
    free_lost,
    poster,
    retry_after_s,
    settle,
)
from visionseg.predictions.installation import Installation, assemble
from visionseg.predictions.redeliver import redeliver
from visionseg.predictions.sweep import sweep
from visionseg.records import deliveries
from visionseg.records.deliveries import Attempt, Sending


def _claim(installation: Installation, owner: str = OWNER) -> Sending:
    with installation.database.begin() as connection:
        found = deliveries.claim(connection, owner, LEASE_S)
    assert found is not None
    return found


def test_a_receiver_gets_the_final_record_signed_and_with_files_by_url(
    receiver: Receiver, installation: Installation
) -> None:
    made = receiver.submit()
    finish_next(installation)
    (posted,) = receiver.deliver_all()
    secret = secrets_of(installation.database, receiver.caller.key_id)[0]
    record = Webhook(secret).verify(posted.body, posted.headers)
    assert Prediction.model_validate(record).id == made
    assert record["status"] == "succeeded"
    assert record["output"].startswith(f"{BASE}/api/vision-segment/outputs/")
    assert posted.headers["content-type"] == "application/json"
    delivery = receiver.only(made)
    assert (delivery.state, delivery.event) == ("delivered", "completed")
    assert posted.headers["webhook-id"] == delivery.id
    assert delivery.id.startswith("msg_")
    assert [(one.number, one.status_code, one.error) for one in delivery.attempts] == [
        (1, 200, None)
    ]
    assert not receiver.deliver()


def test_a_sender_with_a_wrong_clock_signs_the_time_of_the_database(
    receiver: Receiver, installation: Installation
) -> None:
    receiver.submit()
    finish_next(installation)
    with shifted(2 * 3600):
        (posted,) = receiver.deliver_all()
    secret = secrets_of(installation.database, receiver.caller.key_id)[0]
    assert Webhook(secret).verify(posted.body, posted.headers)


def test_the_public_address_of_the_service_goes_before_that_of_the_submission(
    receiver: Receiver, installation: Installation
) -> None:
    object.__setattr__(installation.settings.http, "public_url", "https://public.test/")
    receiver.submit()
    finish_next(installation)
    (posted,) = receiver.deliver_all()
    assert json.loads(posted.body)["urls"]["get"].startswith("https://public.test/v1/")


def test_a_receiver_that_fails_is_asked_again_after_five_seconds_with_the_same_id(
    receiver: Receiver, installation: Installation
) -> None:
    receiver.statuses = [500, 204]
    made = receiver.submit()
    finish_next(installation)
    assert len(receiver.deliver_all()) == 1
    waiting = receiver.only(made)
    assert waiting.state == "pending"
    assert waiting.next_at is not None
    assert 3 < (waiting.next_at - datetime.now(UTC)).total_seconds() <= 5.5
    receiver.make_due()
    assert len(receiver.deliver_all()) == 1
    done = receiver.only(made)
    assert done.state == "delivered"
    assert [one.status_code for one in done.attempts] == [500, 204]
    assert done.attempts[0].error == "The receiver answered with status 500."
    assert len({one.headers["webhook-id"] for one in receiver.site.posted}) == 1


def test_ten_failures_over_three_days_end_a_delivery(
    receiver: Receiver, installation: Installation
) -> None:
    receiver.statuses = [503]
    made = receiver.submit()
    finish_next(installation)
    for _ in range(len(WAITS_S) + 3):
        receiver.make_due()
        receiver.deliver_all()
    ended = receiver.only(made)
    assert (ended.state, ended.next_at) == ("failed", None)
    assert len(ended.attempts) == 10
    assert sum(WAITS_S) == 75 * 3600 + 35 * 60 + 5


@pytest.mark.parametrize(("failures", "wait_s"), list(enumerate(WAITS_S)))
def test_waits_have_a_little_jitter(failures: int, wait_s: float) -> None:
    assert wait_s <= retry_after_s(failures) <= wait_s * 1.1


def test_a_receiver_that_is_gone_is_not_asked_again(
    receiver: Receiver, installation: Installation
) -> None:
    receiver.statuses = [410]
    made = receiver.submit()
    finish_next(installation)
    receiver.deliver_all()
    receiver.make_due()
    assert receiver.deliver_all() == []
    assert receiver.only(made).state == "gone"


def test_a_redirect_is_a_failure_that_is_told_and_not_followed(
    receiver: Receiver, installation: Installation
) -> None:
    receiver.statuses = [307]
    made = receiver.submit()
    finish_next(installation)
    assert [one.path for one in receiver.deliver_all()] == ["/hook"]
    (attempt,) = receiver.only(made).attempts
    assert attempt.status_code == 307
    assert "redirect" in (attempt.error or "")


@pytest.mark.parametrize(
    "url",
    ["http://example.com/hook", "https://127.0.0.1/hook", "https://example.com:8443/", "hook"],
)
def test_a_webhook_that_could_never_be_posted_to_is_refused_at_once(
    receiver: Receiver, url: str
) -> None:
    with pytest.raises(Refusal) as refused:
        receiver.submit(url=url)
    assert refused.value.code is ErrorCode.INVALID_INPUT
    assert [one.pointer for one in refused.value.problems] == ["/webhook"]


def test_a_name_that_leads_to_a_private_address_is_not_posted_to(
    receiver: Receiver, installation: Installation
) -> None:
    made = receiver.submit(url="https://localhost/hook")
    finish_next(installation)
    assert receiver.deliver_all() == []
    (attempt,) = receiver.only(made).attempts
    assert attempt.status_code is None
    assert attempt.error == "The host localhost is not on the public Internet."


def test_a_receiver_with_a_certificate_of_an_unknown_authority_gets_nothing(
    receiver: Receiver, installation: Installation, site: TlsSite
) -> None:
    made = receiver.submit()
    finish_next(installation)
    receiver.deliver(Poster(AddressPolicy.of([f"localhost:{site.port}"])))
    assert site.posted == []
    assert "certificate" in (receiver.only(made).attempts[0].error or "")


def test_a_receiver_that_does_not_answer_or_hangs_up_is_a_failure(
    receiver: Receiver, installation: Installation, site: TlsSite
) -> None:
    over = threading.Event()

    def silent(_handler: object) -> None:
        over.wait(20)

    site.routes["/silent"] = silent
    site.routes["/rude"] = hang_up
    sender = poster(installation)
    made = [receiver.submit(url=receiver.url(path)) for path in ("/silent", "/rude")]
    for _ in made:
        finish_next(installation)
    receiver.deliver(Poster(sender.policy, ssl_context=sender.ssl_context, total_s=0.2))
    over.set()
    receiver.deliver()
    assert [receiver.only(one).attempts[0].error for one in made] == [
        "The receiver did not answer within 0.2 s.",
        "The connection to the receiver broke off.",
    ]


def test_the_filter_chooses_what_a_receiver_is_told(
    receiver: Receiver, installation: Installation
) -> None:
    everything = receiver.submit("start", "output", "logs", "completed")
    finish_next(installation)
    some = receiver.submit("output")
    finish_next(installation)
    assert [one.event for one in receiver.ledger(everything)] == [
        "start",
        "logs",
        "output",
        "completed",
    ]
    assert [one.number for one in receiver.ledger(everything)] == [1, 2, 3, 4]
    assert [one.event for one in receiver.ledger(some)] == ["output"]
    assert len(receiver.deliver_all()) == 5


def test_log_lines_that_wait_to_be_sent_are_told_together(
    receiver: Receiver, installation: Installation
) -> None:
    made = receiver.submit("logs")
    for _ in range(2):
        finish.fail(installation, take(installation), Refusal(ErrorCode.INTERNAL))
        receiver.execute("UPDATE units SET not_before = now()")
        receiver.execute("UPDATE turns SET ready_at = now()")
    (posted,) = receiver.deliver_all()
    assert json.loads(posted.body)["logs"].count("\n") == 2
    finish.fail(installation, take(installation), Refusal(ErrorCode.INTERNAL))
    assert len(receiver.ledger(made)) == 2


def test_a_prediction_without_a_webhook_tells_nobody(
    receiver: Receiver, installation: Installation
) -> None:
    made = receiver.submit()
    receiver.execute("UPDATE predictions SET webhook = NULL")
    finish_next(installation)
    assert receiver.ledger(made) == []


def test_cancel_and_failure_are_told(receiver: Receiver, installation: Installation) -> None:
    canceled = receiver.submit()
    cancel(installation, canceled)
    failed = receiver.submit()
    finish.fail(installation, take(installation), Refusal(ErrorCode.NOT_AN_IMAGE))
    told = {json.loads(one.body)["id"]: json.loads(one.body) for one in receiver.deliver_all()}
    assert told[canceled]["status"] == "canceled"
    assert (told[failed]["status"], told[failed]["error_code"]) == ("failed", "not_an_image")


def test_after_a_rotation_both_secrets_sign_until_the_old_one_retires(
    receiver: Receiver, installation: Installation
) -> None:
    key_id = receiver.caller.key_id
    (old,) = secrets_of(installation.database, key_id)
    new = rotate(installation.database, key_id, 3600)
    assert secrets_of(installation.database, key_id) == [new, old]
    receiver.submit()
    finish_next(installation)
    (posted,) = receiver.deliver_all()
    for secret in (old, new):
        Webhook(secret).verify(posted.body, posted.headers)
    receiver.execute("UPDATE webhook_secrets SET retires_at = now() WHERE retires_at IS NOT NULL")
    receiver.submit()
    finish_next(installation)
    (posted,) = receiver.deliver_all()
    Webhook(new).verify(posted.body, posted.headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(old).verify(posted.body, posted.headers)


def test_a_sender_that_wakes_after_its_lease_changes_nothing(
    receiver: Receiver, installation: Installation
) -> None:
    made = receiver.submit()
    finish_next(installation)
    zombie = _claim(installation)
    receiver.expire_leases()
    assert free_lost(installation, 10) == 1
    receiver.make_due()
    heir = _claim(installation)
    assert heir.attempt == zombie.attempt + 1
    assert not settle(installation, zombie, Attempt(200, None, 0.1))
    assert receiver.only(made).state == "pending"
    assert settle(installation, heir, Attempt(410, "gone", 0.1))
    assert not settle(installation, heir, Attempt(200, None, 0.1))
    ended = receiver.only(made)
    assert (ended.state, [one.number for one in ended.attempts]) == ("gone", [1, 2])
    assert "not known" in (ended.attempts[0].error or "")


def test_senders_at_work_at_once_send_each_delivery_once(
    receiver: Receiver, installation: Installation
) -> None:
    made = {receiver.submit() for _ in range(12)}
    for _ in made:
        finish_next(installation)
    sender = poster(installation)

    def send_all(number: int) -> int:
        sent = 0
        while deliver_next(installation, sender, f"host/1/{number}"):
            sent += 1
        return sent

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(send_all, range(4))) == 12
    assert len({one.headers["webhook-id"] for one in receiver.site.posted}) == 12
    assert len(receiver.site.posted) == 12


def test_a_restart_loses_no_webhook(
    receiver: Receiver, installation: Installation, settings: Settings
) -> None:
    made = [receiver.submit(), receiver.submit()]
    finish_next(installation)
    finish_next(installation)
    _claim(installation)
    installation.close()
    receiver.installation = assemble(settings, "visionseg tests, after a restart")
    try:
        receiver.expire_leases()
        sweep(receiver.installation)
        receiver.make_due()
        assert len(receiver.deliver_all()) == 2
        assert {receiver.only(one).state for one in made} == {"delivered"}
    finally:
        receiver.installation.close()


def test_a_delivery_sent_again_begins_its_schedule_anew_under_the_same_id(
    receiver: Receiver, installation: Installation
) -> None:
    receiver.statuses = [410, 500, 200]
    made = receiver.submit()
    finish_next(installation)
    receiver.deliver_all()
    assert redeliver(installation, made, 1).state == "pending"
    receiver.deliver_all()
    assert receiver.only(made).state == "pending"
    receiver.make_due()
    receiver.deliver_all()
    done = receiver.only(made)
    assert (done.state, len(done.attempts)) == ("delivered", 3)
    assert {one.headers["webhook-id"] for one in receiver.site.posted} == {done.id}
