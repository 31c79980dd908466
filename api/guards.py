"""Who may come in: a key with the scope that the route needs."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from api.audits import note
from api.cursors import IDENTIFIER
from api.service import service_of
from visionseg.access.keys import Caller, authenticate
from visionseg.access.scopes import Scope, demand
from visionseg.artifacts.names import PUBLIC_NAME
from visionseg.contract.ids import OrganisationId, PredictionId
from visionseg.contract.operating import Action
from visionseg.records import files, predictions

BEARER = HTTPBearer(
    scheme_name="bearer",
    bearerFormat="gk_…",
    description="An API key with the scope `ai:vision-segment` or `ai:*`; for operators, `admin`",
    auto_error=False,
)
Documented = Annotated[HTTPAuthorizationCredentials | None, Security(BEARER)]


def _caller(request: Request) -> Caller:
    installation = service_of(request).installation
    pepper = installation.settings.http.key_pepper.get_secret_value()
    return authenticate(installation.database, pepper, request.headers.get("authorization"))


def _segmenting(request: Request, _documented: Documented) -> Caller:
    """The caller; not a coroutine, so that the look-up runs in the thread pool.

    Raises `Refusal`: missing_api_key, invalid_api_key, insufficient_scope.
    """
    caller = _caller(request)
    demand(caller.scopes, Scope.SEGMENT)
    return caller


def _operating(request: Request, _documented: Documented) -> Caller:
    """An operator. Raises as `_segmenting`."""
    caller = _caller(request)
    demand(caller.scopes, Scope.ADMIN)
    return caller


def _looking(request: Request, _documented: Documented) -> Caller:
    """Who may see what the address names: its organisation, or an operator, who then counts as one
    of that organisation, and is written down. Raises as `_segmenting`.
    """
    caller = _caller(request)
    if Scope.ADMIN not in caller.scopes:
        demand(caller.scopes, Scope.SEGMENT)
        return caller
    owner = _owner(request)
    if owner is None or owner == caller.organisation_id:
        return caller
    note(request, caller, Action.PREDICTION_READ, request.url.path)
    return replace(caller, organisation_id=owner)


def _owner(request: Request) -> OrganisationId | None:
    """The organisation of the prediction or file that the address names."""
    one, file = (request.path_params.get(name, "") for name in ("prediction_id", "filename"))
    names_file = PUBLIC_NAME.fullmatch(file)
    if not names_file and not IDENTIFIER.fullmatch(one):
        return None
    with service_of(request).installation.database.connect() as connection:
        if names_file:
            return files.owner_of(connection, file)
        row = predictions.get(connection, PredictionId(one))
        return None if row is None else OrganisationId(row.organisation_id)


SegmentCaller = Annotated[Caller, Depends(_segmenting)]
LookingCaller = Annotated[Caller, Depends(_looking)]
OperatorCaller = Annotated[Caller, Depends(_operating)]
