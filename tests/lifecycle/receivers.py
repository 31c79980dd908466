"""A receiver of webhooks on a real TLS server, and predictions that tell it what happens."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import text

from tests.fakes.tls_sites import Posted, TlsSite, send
from tests.serving import PIXEL
from visionseg.access.keys import Caller
from visionseg.config import Limits, Settings
from visionseg.contract.ids import PredictionId
from visionseg.contract.inputs import ImageSubmission
from visionseg.contract.webhooks import Delivery
from visionseg.delivery.post import Poster
from visionseg.predictions.deliver import deliver_next, poster
from visionseg.predictions.installation import Installation
from visionseg.predictions.redeliver import list_deliveries
from visionseg.predictions.submit import submit

BASE = "https://segment.test"
GIVEN = {"image": PIXEL, "prompt": "person"}
OWNER = "host/1/2"


def reaching(settings: Settings, site: TlsSite, folder: Path) -> Settings:
    """Settings under which the site may be reached, and its authority is trusted."""
    ca_file = folder / "ca.pem"
    site.authority.cert_pem.write_to_path(ca_file)
    allowed = Limits(allowed_hosts=frozenset({f"localhost:{site.port}"}), ca_file=ca_file)
    return settings.model_copy(update={"limits": allowed})


@dataclass
class Receiver:
    """`statuses` are answered in their order, the last one for good."""

    installation: Installation
    caller: Caller
    site: TlsSite
    statuses: list[int] = field(default_factory=lambda: [200])

    def __post_init__(self) -> None:
        def answer(handler: Any) -> None:
            status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
            send(handler, b"noted", status=status, Location=self.url("/elsewhere"))

        self.site.routes["/hook"] = answer

    def url(self, path: str = "/hook") -> str:
        return f"https://localhost:{self.site.port}{path}"

    def submit(self, *events: str, url: str | None = None) -> PredictionId:
        """A picture whose webhooks go to this receiver."""
        body: dict[str, Any] = {"input": GIVEN, "webhook": url or self.url()}
        if events:
            body["webhook_events_filter"] = list(events)
        submission = ImageSubmission.model_validate(body)
        return submit(self.installation, self.caller, submission, GIVEN, BASE)

    def deliver(self, sender: Poster | None = None) -> bool:
        """One attempt by a sender."""
        return deliver_next(self.installation, sender or poster(self.installation), OWNER)

    def deliver_all(self) -> list[Posted]:
        """All attempts that are due, and what the receiver got of them."""
        before = len(self.site.posted)
        while self.deliver():
            pass
        return self.site.posted[before:]

    def ledger(self, prediction_id: PredictionId) -> list[Delivery]:
        return list_deliveries(self.installation, prediction_id)

    def only(self, prediction_id: PredictionId) -> Delivery:
        (found,) = self.ledger(prediction_id)
        return found

    def execute(self, statement: str) -> None:
        """Moves time, by the database."""
        with self.installation.database.begin() as connection:
            connection.execute(text(statement))

    def make_due(self) -> None:
        self.execute("UPDATE deliveries SET next_at = now()")

    def expire_leases(self) -> None:
        self.execute("UPDATE deliveries SET lease_until = now() - interval '1 s'")
