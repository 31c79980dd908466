"""`Idempotency-Key`: a submission sent twice is one prediction."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from visionseg.access.keys import Caller
from visionseg.contract.errors import ErrorCode, Problem, Refusal
from visionseg.contract.ids import KeyId, PredictionId
from visionseg.contract.inputs import AnySubmission
from visionseg.predictions.installation import Installation
from visionseg.predictions.submit import submit
from visionseg.records import idempotency

PATTERN = re.compile(r"[\x21-\x7e]{1,255}")


class _Taken(Exception):  # noqa: N818 - another request was faster, nothing is wrong
    """The key was used between our look and our write."""


@dataclass(frozen=True, slots=True)
class Submitted:
    """The prediction, and whether it was there before this request."""

    prediction_id: PredictionId
    replayed: bool


def submit_once(
    installation: Installation,
    caller: Caller,
    submission: AnySubmission,
    given_input: Mapping[str, Any],
    base_url: str,
    idempotency_key: str | None,
) -> Submitted:
    """`submit`, but the same key with the same body gives the same prediction for 24 hours.

    Raises as `submit` does, and `Refusal` (idempotency_mismatch) for the same key with another
    body. Two requests at once make one prediction.
    """
    if idempotency_key is None:
        made = submit(installation, caller, submission, given_input, base_url)
        return Submitted(made, replayed=False)
    if not PATTERN.fullmatch(idempotency_key):
        problem = Problem("/headers/Idempotency-Key", "1 to 255 visible ASCII characters")
        raise Refusal(ErrorCode.INVALID_INPUT, problems=(problem,))
    digest = _digest(submission, given_input)
    if (earlier := _earlier(installation, caller.key_id, idempotency_key, digest)) is not None:
        return earlier

    def take(connection: Connection, made: PredictionId) -> None:
        if not idempotency.take(connection, caller.key_id, idempotency_key, digest, made):
            raise _Taken

    try:
        made = submit(installation, caller, submission, given_input, base_url, take)
    except _Taken:
        earlier = _earlier(installation, caller.key_id, idempotency_key, digest)
        if earlier is None:
            raise  # it was taken, and forgotten at once: 24 hours within a request
        return earlier
    return Submitted(made, replayed=False)


def _earlier(installation: Installation, key_id: KeyId, name: str, digest: str) -> Submitted | None:
    keep_s = installation.settings.limits.idempotency_keep_s
    with installation.database.begin() as connection:
        idempotency.forget_old(connection, key_id, name, keep_s)
        found = idempotency.find(connection, key_id, name)
    if found is None:
        return None
    if found.digest != digest:
        raise Refusal(ErrorCode.IDEMPOTENCY_MISMATCH)
    return Submitted(PredictionId(found.prediction_id), replayed=True)


def _digest(submission: AnySubmission, given_input: Mapping[str, Any]) -> str:
    """Of what was asked: bodies that mean the same, in whatever order, are the same."""
    asked = submission.model_dump(mode="json", exclude={"input"})
    told = [type(submission).__name__, asked, given_input]
    text = json.dumps(told, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
