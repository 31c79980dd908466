"""A receiver of webhooks that refuses and breaks off, and notes what it took."""

from __future__ import annotations

import json
import random
import threading
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from standardwebhooks import Webhook

from tests.fakes.tls_sites import TlsSite, hang_up, send

MOST_REFUSALS = 3
"""Of one message, so that the schedule of ten attempts is never used up."""


@dataclass
class Receiver:
    """`taken` holds the bodies by `webhook-id`, one for each time that a message was taken."""

    site: TlsSite
    secret: str
    luck: random.Random
    taken: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    refused: Counter[str] = field(default_factory=Counter)
    forged: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.site.routes["/hook"] = self._answer

    @property
    def url(self) -> str:
        """Where it is posted to."""
        return f"https://localhost:{self.site.port}/hook"

    @property
    def again(self) -> int:
        """How many messages came though they were taken already."""
        return sum(len(bodies) - 1 for bodies in self.taken.values())

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        message_id = handler.headers["webhook-id"]
        with self._lock:
            mood = self.luck.random()
            if mood < 1 / 3 and self.refused[message_id] < MOST_REFUSALS:
                self.refused[message_id] += 1
                status = 500
            else:
                self._take(message_id, handler)
                status = 200
        if 1 / 3 <= mood < 1 / 2:
            hang_up(handler)  # it has the message, and the sender does not know
        else:
            send(handler, b"", status=status)

    def _take(self, message_id: str, handler: BaseHTTPRequestHandler) -> None:
        posted = next(
            one for one in reversed(self.site.posted) if one.headers["webhook-id"] == message_id
        )
        try:
            Webhook(self.secret).verify(posted.body, posted.headers)
        except Exception as error:  # noqa: BLE001 - whatever it is, the test tells it
            self.forged.append(f"{message_id}: {error}")
        self.taken.setdefault(message_id, []).append(json.loads(posted.body))
