"""The events of a prediction's life that a client can be told of by a webhook."""

from __future__ import annotations

from enum import StrEnum


class WebhookEvent(StrEnum):
    """`start`: the work begins; `output`: there is a result; `completed`: the status is final."""

    START = "start"
    OUTPUT = "output"
    LOGS = "logs"
    COMPLETED = "completed"
