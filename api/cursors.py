"""Places in the list of predictions, as opaque text that holds still while rows are added."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlencode

from pydantic import BaseModel

from visionseg.contract.errors import ErrorCode, Problem, Refusal
from visionseg.contract.reply import Prediction

IDENTIFIER = re.compile(r"vs_[0-9a-f]{26}")


@dataclass(frozen=True, slots=True)
class Cursor:
    """Right beside the prediction of that time and id: the `newer` ones, or else the older."""

    newer: bool
    created_at: datetime
    prediction_id: str

    @property
    def place(self) -> tuple[datetime, str]:
        """What the list is ordered by."""
        return self.created_at, self.prediction_id

    def write(self) -> str:
        """The cursor as text for a URL."""
        parts = [int(self.newer), self.created_at.isoformat(), self.prediction_id]
        return base64.urlsafe_b64encode(json.dumps(parts).encode()).decode().rstrip("=")


def read_cursor(text: str) -> Cursor:
    """The cursor that `write` wrote. Raises `Refusal` (invalid_input) for any other text."""
    try:
        newer, moment, prediction_id = json.loads(
            base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        )
        cursor = Cursor(bool(newer), datetime.fromisoformat(moment), str(prediction_id))
    except (ValueError, TypeError, RecursionError):
        raise _not_ours() from None
    if cursor.created_at.tzinfo is None or not IDENTIFIER.fullmatch(cursor.prediction_id):
        raise _not_ours()
    return cursor


def _not_ours() -> Refusal:
    problem = Problem("/query/cursor", "take it from `next` or `previous` as it stands there")
    return Refusal(ErrorCode.INVALID_INPUT, problems=(problem,))


@dataclass(frozen=True, slots=True)
class Link:
    """Makes the URLs of the pages beside this one, under the same filters."""

    address: str
    filters: BaseModel

    def beside(self, prediction: Prediction, *, newer: bool) -> str:
        """The page that begins right beside a prediction."""
        kept = self.filters.model_dump(mode="json", exclude={"cursor"}, exclude_none=True)
        cursor = Cursor(newer, prediction.created_at, prediction.id).write()
        return f"{self.address}?{urlencode({**kept, 'cursor': cursor})}"
