"""Signed webhooks as Standard Webhooks describes them, and the secrets that sign them.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import Engine
from standardwebhooks import Webhook

from visionseg.contract.errors import ErrorCode, Refusal
from visionseg.contract.ids import KeyId
from visionseg.records import webhook_secrets

SECRET_BYTES = 32  # the specification wants 24 to 64


def signed_headers(
    message_id: str, at: datetime, body: str, usable_secrets: Sequence[str]
) -> Mapping[str, str]:
    """The headers that prove a body: one `v1` signature for each secret, first to last.

    `at` is in UTC; receivers refuse what is more than some minutes away from their own clock.
    """
    signatures = [Webhook(secret).sign(message_id, at, body) for secret in usable_secrets]
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": " ".join(signatures),
    }


def secrets_of(database: Engine, key_id: KeyId) -> list[str]:
    """The secrets that sign for a key, newest first; the first one is made when there is none.

    Raises `Refusal` (not_found) where there is no such key.
    """
    with database.connect() as connection:
        found = webhook_secrets.usable(connection, key_id)
    if found:
        return found
    with database.begin() as connection:
        if not webhook_secrets.lock_key(connection, key_id):
            raise Refusal(ErrorCode.NOT_FOUND, f"There is no key {key_id}.")
        if not (found := webhook_secrets.usable(connection, key_id)):
            webhook_secrets.add(connection, key_id, made := _new_secret())
            found = [made]
    return found


def rotate(database: Engine, key_id: KeyId, overlap_s: float) -> str:
    """A new secret for a key; the old ones sign beside it for `overlap_s`.

    Raises `Refusal` (not_found) where there is no such key.
    """
    made = _new_secret()
    with database.begin() as connection:
        if not webhook_secrets.lock_key(connection, key_id):
            raise Refusal(ErrorCode.NOT_FOUND, f"There is no key {key_id}.")
        webhook_secrets.add(connection, key_id, made)
        webhook_secrets.retire_others(connection, key_id, made, overlap_s)
    return made


def _new_secret() -> str:
    return f"whsec_{base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()}"
