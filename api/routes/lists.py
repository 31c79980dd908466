"""The list of predictions, page by page."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from pydantic import AwareDatetime, BaseModel, Field
from starlette.responses import Response

from api import answers
from api.audits import note
from api.cursors import Cursor, Link, read_cursor
from api.guards import LookingCaller
from api.service import service_of
from visionseg.access.keys import Caller
from visionseg.access.scopes import Scope, demand
from visionseg.contract.errors import ErrorCode, Refusal
from visionseg.contract.ids import OrganisationId
from visionseg.contract.inputs import Kind
from visionseg.contract.operating import Action
from visionseg.contract.reply import Prediction, PredictionList
from visionseg.contract.status import Status
from visionseg.predictions.read import RESOURCE, list_page
from visionseg.records import keys
from visionseg.records.predictions import Page

router = APIRouter(tags=["predictions"])
EVERY = "*"
Text = Annotated[str, Field(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]


class Filters(BaseModel):
    """Which predictions to list."""

    limit: int = Field(default=20, ge=1, le=100)
    cursor: Text | None = None
    status: Status | None = None
    kind: Kind | None = None
    model: Text | None = None
    created_after: AwareDatetime | None = None
    created_before: AwareDatetime | None = None
    organisation: Text | None = Field(
        default=None, description="For operators: that of another name, or `*` for all"
    )


@router.get(
    RESOURCE,
    response_model=None,
    responses={200: {"model": PredictionList, "description": "A page"}},
)
def list_predictions(
    request: Request, caller: LookingCaller, filters: Annotated[Filters, Query()]
) -> Response:
    """Lists the predictions of your organisation, newest first; outputs are URLs here."""
    service = service_of(request)
    cursor = read_cursor(filters.cursor) if filters.cursor else None
    whose: OrganisationId | None = caller.organisation_id
    if filters.organisation is not None:
        whose = _others(request, caller, filters.organisation)
    wanted = _wanted(whose, filters, cursor)
    base_url = service.base_url(request)
    found = list_page(service.installation, wanted, base_url)
    return answers.as_json(_page(found, filters, cursor, base_url))


def _others(request: Request, caller: Caller, name: str) -> OrganisationId | None:
    """The organisation of that name; None for all. Raises `Refusal`: insufficient_scope,
    not_found.
    """
    demand(caller.scopes, Scope.ADMIN)
    note(request, caller, Action.PREDICTIONS_LISTED, name)
    if name == EVERY:
        return None
    with service_of(request).installation.database.connect() as connection:
        found = keys.organisation_named(connection, name)
    if found is None:
        raise Refusal(ErrorCode.NOT_FOUND, "There is no organisation of that name.")
    return found


def _wanted(whose: OrganisationId | None, filters: Filters, cursor: Cursor | None) -> Page:
    newer = cursor is not None and cursor.newer
    return Page(
        whose,
        filters.limit + 1,  # one more tells whether there is another page
        after=cursor.place if cursor and not newer else None,
        before=cursor.place if cursor and newer else None,
        **filters.model_dump(exclude={"limit", "cursor", "organisation"}),
    )


def _page(
    found: list[Prediction], filters: Filters, cursor: Cursor | None, base_url: str
) -> PredictionList:
    newer = cursor is not None and cursor.newer
    more = len(found) > filters.limit
    shown = found[-filters.limit :] if newer else found[: filters.limit]
    if not shown:
        return PredictionList(results=[], next=None, previous=None)
    link = Link(f"{base_url}{RESOURCE}", filters)
    has_newer = more if newer else cursor is not None
    has_older = newer or more
    return PredictionList(
        results=shown,
        next=link.beside(shown[-1], newer=False) if has_older else None,
        previous=link.beside(shown[0], newer=True) if has_newer else None,
    )
