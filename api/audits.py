"""Writing down who did what, before it is done: what cannot be written down does not happen."""

from __future__ import annotations

from starlette.requests import Request

from api.service import service_of
from visionseg.access.keys import Caller
from visionseg.contract.operating import Action
from visionseg.records import audit
from visionseg.records.audit import NewEntry


def note(request: Request, caller: Caller, action: Action, subject: str) -> None:
    """Adds a line to the audit log. Raises what is in `DATABASE_AWAY`."""
    entry = NewEntry(
        action=action,
        subject=subject,
        key_id=caller.key_id,
        organisation_id=caller.organisation_id,
        address=request.client.host if request.client else None,
        request_id=request.state.request_id,
    )
    with service_of(request).installation.database.begin() as connection:
        audit.add(connection, entry)
