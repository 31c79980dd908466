"""`Idempotency-Key`: a submission sent twice is one prediction."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from visionseg.contract.errors import ErrorCode, Problem, Refusal
from visionseg.contract.ids import KeyId, PredictionId
from visionseg.contract.inputs import Terms
from visionseg.predictions.installation import Installation
from visionseg.predictions.submit import Also, nothing_more
from visionseg.records import idempotency

PATTERN = re.compile(r"[\x21-\x7e]{1,255}")


class _Taken(Exception):  # noqa: N818 - another request was faster, nothing is wrong
    """The key was used between our look and our write."""


@dataclass(frozen=True, slots=True)
class Told:
    """What a request said: its idempotency key, the body, and what else tells it from others."""

    idempotency_key: str | None
    terms: Terms
    given_input: Mapping[str, Any]
    also: tuple[str, ...] = ()

    def digest(self) -> str:
        """Of what was asked: bodies that mean the same, in whatever order, are the same."""
        asked = self.terms.model_dump(mode="json", exclude={"input"})
        said = [type(self.terms).__name__, asked, self.given_input, *self.also]
        text = json.dumps(said, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Submitted:
    """The prediction, and whether it was there before this request."""

    prediction_id: PredictionId
    replayed: bool


def once(
    installation: Installation, key_id: KeyId, told: Told, make: Callable[[Also], PredictionId]
) -> Submitted:
    """`make`, but the same key with the same body gives the same prediction for 24 hours.

    Raises as `make` does, and `Refusal` (idempotency_mismatch) for the same key with another
    body. Two requests at once make one prediction.
    """
    if told.idempotency_key is None:
        return Submitted(make(nothing_more), replayed=False)
    name, digest = told.idempotency_key, told.digest()
    if not PATTERN.fullmatch(name):
        problem = Problem("/headers/Idempotency-Key", "1 to 255 visible ASCII characters")
        raise Refusal(ErrorCode.INVALID_INPUT, problems=(problem,))
    if (earlier := _earlier(installation, key_id, name, digest)) is not None:
        return earlier

    def take(connection: Connection, made: PredictionId) -> None:
        if not idempotency.take(connection, key_id, name, digest, made):
            raise _Taken

    try:
        return Submitted(make(take), replayed=False)
    except _Taken:
        earlier = _earlier(installation, key_id, name, digest)
        if earlier is None:
            raise  # it was taken, and forgotten at once: 24 hours within a request
        return earlier


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
