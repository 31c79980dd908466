"""Who may come in: a key with the scope that the route needs."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from api.service import service_of
from visionseg.access.keys import Caller, authenticate
from visionseg.access.scopes import Scope, demand

BEARER = HTTPBearer(
    scheme_name="bearer",
    bearerFormat="gk_…",
    description="An API key with the scope `ai:vision-segment` or `ai:*`",
    auto_error=False,
)


def _segmenting(
    request: Request,
    _documented: Annotated[HTTPAuthorizationCredentials | None, Security(BEARER)],
) -> Caller:
    """The caller; not a coroutine, so that the look-up runs in the thread pool.

    Raises `Refusal`: missing_api_key, invalid_api_key, insufficient_scope.
    """
    installation = service_of(request).installation
    pepper = installation.settings.http.key_pepper.get_secret_value()
    authorization = request.headers.get("authorization")
    caller = authenticate(installation.database, pepper, authorization)
    demand(caller.scopes, Scope.SEGMENT)
    return caller


SegmentCaller = Annotated[Caller, Depends(_segmenting)]
