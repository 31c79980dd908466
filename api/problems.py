"""Errors as answers: `application/problem+json` (RFC 9457), rendered here and nowhere else."""

from __future__ import annotations

from typing import Any

import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match

from api.languages import prefers_chinese
from api.service import service_of
from visionseg.artifacts.store import is_full
from visionseg.contract.errors import ErrorCode, Problem, Refusal
from visionseg.contract.reply import FieldProblem, ProblemReply
from visionseg.records.engine import DATABASE_AWAY

log = structlog.get_logger(__name__)
MEDIA_TYPE = "application/problem+json"
METHODS = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")
AWAY_RETRY_S = 5
CODE_OF_STATUS = {
    400: ErrorCode.INVALID_JSON,
    404: ErrorCode.NOT_FOUND,
    405: ErrorCode.METHOD_NOT_ALLOWED,
    413: ErrorCode.PAYLOAD_TOO_LARGE,
}


def answer(request: Request, refusal: Refusal) -> Response:
    """The refusal as an answer, in the client's language."""
    chinese = prefers_chinese(request.headers.get("accept-language", ""))
    reply = ProblemReply(
        type=f"{service_of(request).base_url(request)}/docs#error-{refusal.code}",
        title=refusal.kind.title_zh if chinese else refusal.kind.title,
        status=refusal.kind.status,
        detail=refusal.detail_zh if chinese else refusal.detail,
        instance=request.url.path,
        code=refusal.code,
        request_id=request.state.request_id,
        errors=[FieldProblem(pointer=one.pointer, detail=one.detail) for one in refusal.problems],
    )
    headers = {"Content-Language": "zh" if chinese else "en", "Vary": "Accept-Language"}
    return Response(
        reply.model_dump_json(),
        refusal.kind.status,
        headers={"Cache-Control": "no-store", **headers, **refusal.headers},
        media_type=MEDIA_TYPE,
    )


def unavailable(error: Exception | None = None) -> Refusal:
    """Says that the database or the file store is away, or full, and when to come again."""
    full = error is not None and is_full(error)
    code = ErrorCode.STORAGE_FULL if full else ErrorCode.SERVICE_UNAVAILABLE
    return Refusal(code, headers={"Retry-After": str(AWAY_RETRY_S)})


def register(app: FastAPI) -> None:
    """Lets the application answer every kind of error that is not a bug."""
    app.add_exception_handler(Refusal, _refused)
    app.add_exception_handler(RequestValidationError, _bad_parameters)
    app.add_exception_handler(HTTPException, _not_routed)
    for kind in (*DATABASE_AWAY, OSError):
        app.add_exception_handler(kind, _away)


async def _refused(request: Request, error: Exception) -> Response:
    if not isinstance(error, Refusal):
        raise error
    return answer(request, error)


async def _away(request: Request, error: Exception) -> Response:
    log.error("database_or_store_away", path=request.url.path, exc_info=error)
    return answer(request, unavailable(error))


async def _bad_parameters(request: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise error
    problems = tuple(
        Problem("/" + "/".join(map(str, one["loc"])), one["msg"]) for one in error.errors()
    )
    return answer(request, Refusal(ErrorCode.INVALID_INPUT, problems=problems))


async def _not_routed(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    code = CODE_OF_STATUS.get(error.status_code, ErrorCode.INTERNAL)
    headers = {}
    if code is ErrorCode.METHOD_NOT_ALLOWED:
        headers["Allow"] = ", ".join(_allowed(request.app.routes, request.scope))
    return answer(request, Refusal(code, headers=headers))


def _allowed(routes: list[BaseRoute], scope: Any) -> list[str]:  # noqa: ANN401 - an ASGI scope
    """Every method that some route takes at the address; the framework names one route's only."""
    return [
        method
        for method in METHODS
        if any(route.matches({**scope, "method": method})[0] is Match.FULL for route in routes)
    ]
