"""Sending webhooks: one attempt at a time, each kept, tried again for three days."""

from __future__ import annotations

import random

import structlog

from visionseg.access.addresses import AddressPolicy
from visionseg.access.pinning import trust
from visionseg.contract.webhooks import DeliveryState
from visionseg.delivery.post import Poster, is_taken
from visionseg.delivery.signing import secrets_of, signed_headers
from visionseg.predictions.installation import Installation
from visionseg.predictions.read import read
from visionseg.records import deliveries
from visionseg.records.deliveries import Attempt, Sending
from visionseg.records.engine import clock

log = structlog.get_logger(__name__)
MINUTE_S, HOUR_S = 60, 3600
WAITS_S = (
    5,
    5 * MINUTE_S,
    30 * MINUTE_S,
    2 * HOUR_S,
    5 * HOUR_S,
    10 * HOUR_S,
    14 * HOUR_S,
    20 * HOUR_S,
    24 * HOUR_S,
)
"""Before the second attempt, the third … : the schedule that Standard Webhooks proposes."""
JITTER = 0.1
LEASE_S = 90.0
"""Longer than any attempt takes, so that a lease that runs out means a sender that died."""
GONE = 410
LOST = "The sender died during this attempt; whether the receiver has the message is not known."


def poster(installation: Installation) -> Poster:
    """What posts under the installation's policy of addresses; made once, used often."""
    limits = installation.settings.limits
    policy, context = AddressPolicy.of(limits.allowed_hosts), trust(limits.ca_file)
    return Poster(policy) if context is None else Poster(policy, ssl_context=context)


def deliver_next(installation: Installation, sender: Poster, owner: str) -> bool:
    """Makes one attempt at the delivery that is due, and keeps how it went; false if none is due.

    No transaction is open while the receiver is spoken to.
    """
    with installation.database.begin() as connection:
        sending = deliveries.claim(connection, owner, LEASE_S)
    if sending is None:
        return False
    settle(installation, sending, _attempt(installation, sender, sending))
    return True


def _attempt(installation: Installation, sender: Poster, sending: Sending) -> Attempt:
    base_url = installation.settings.http.public_url.rstrip("/") or sending.base_url
    who, what = sending.organisation_id, sending.prediction_id
    record = read(installation, who, what, base_url, inline=False)
    body = record.model_dump_json(exclude_unset=True)
    with installation.database.connect() as connection:
        now = clock(connection)
    usable = secrets_of(installation.database, sending.key_id)
    headers = {
        "Content-Type": "application/json",
        **signed_headers(sending.message_id, now, body, usable),
    }
    return sender.post(sending.url, headers, body.encode())


def settle(installation: Installation, sending: Sending, attempt: Attempt) -> bool:
    """Keeps an attempt and what follows from it; false if the delivery is no longer held."""
    state = _state_after(sending, attempt)
    wait_s = retry_after_s(sending.failures) if state is DeliveryState.PENDING else 0.0
    with installation.database.begin() as connection:
        held = deliveries.end(connection, sending, attempt, state, wait_s)
    log.info(
        "delivery_attempted",
        prediction_id=sending.prediction_id,
        message_id=sending.message_id,
        attempt=sending.attempt,
        state=state,
        status_code=attempt.status_code,
        held=held,
    )
    return held


def _state_after(sending: Sending, attempt: Attempt) -> DeliveryState:
    if attempt.status_code is not None and is_taken(attempt.status_code):
        return DeliveryState.DELIVERED
    if attempt.status_code == GONE:
        return DeliveryState.GONE
    return DeliveryState.PENDING if sending.failures < len(WAITS_S) else DeliveryState.FAILED


def retry_after_s(failures: int) -> float:
    """Seconds until the next attempt after so many earlier failures and one more.

    Each with up to a tenth more as jitter, so that what failed together does not come back so.
    """
    return WAITS_S[failures] * (1 + JITTER * random.random())  # noqa: S311 - jitter is no secret


def free_lost(installation: Installation, limit: int) -> int:
    """Takes deliveries away from senders that died; each counts as a failed attempt."""
    with installation.database.connect() as connection:
        lost = deliveries.expired(connection, limit)
    return sum(settle(installation, sending, Attempt(None, LOST, 0.0)) for sending in lost)
