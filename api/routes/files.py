"""Uploads of large inputs."""

from __future__ import annotations

import re
from typing import Any

from fastapi import APIRouter, Request
from sqlalchemy import Row
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from api import answers
from api.audits import note
from api.guards import SegmentCaller
from api.service import service_of
from visionseg.artifacts.names import PUBLIC_PATH
from visionseg.contract.errors import ErrorCode, Refusal
from visionseg.contract.ids import FileId
from visionseg.contract.operating import Action
from visionseg.contract.reply import StoredFile
from visionseg.predictions.upload import Receiving, delete_upload, find_upload

router = APIRouter(tags=["files"])
RESOURCE = "/v1/files"
ONE = f"{RESOURCE}/{{file_id}}"
IDENTIFIER = re.compile(r"file_[0-9a-f]{26}")
PIECE_BYTES = 1024 * 1024
BODY = {
    "requestBody": {
        "required": True,
        "content": {"*/*": {"schema": {"type": "string", "format": "binary"}}},
    }
}
ANSWERS: dict[int | str, dict[str, Any]] = {
    201: {"model": StoredFile, "description": "The file; name it by `id` or `url` as an input"}
}


@router.post(RESOURCE, status_code=201, response_model=None, responses=ANSWERS, openapi_extra=BODY)
async def upload_file(request: Request, caller: SegmentCaller) -> Response:
    """Takes a picture or video as the plain body; its declared type counts for nothing."""
    installation = service_of(request).installation
    receiving = await run_in_threadpool(Receiving, installation, caller)
    try:
        length = request.headers.get("content-length", "0")
        await run_in_threadpool(receiving.expect, int(length))
        await _receive(request, receiving)
        file_id = await run_in_threadpool(receiving.keep)
    finally:
        await run_in_threadpool(receiving.close)
    row = await run_in_threadpool(find_upload, installation, caller, file_id)
    response = answers.as_json(_told(request, row), 201)
    response.headers["Location"] = f"{service_of(request).base_url(request)}{RESOURCE}/{file_id}"
    return response


async def _receive(request: Request, receiving: Receiving) -> None:
    """Writes in large pieces, so that few are handed to the thread pool."""
    piece = bytearray()
    async for data in request.stream():
        piece += data
        if len(piece) >= PIECE_BYTES:
            await run_in_threadpool(receiving.write, bytes(piece))
            piece.clear()
    await run_in_threadpool(receiving.write, bytes(piece))


@router.get(ONE, response_model=None, responses={200: ANSWERS[201]})
def read_file(request: Request, caller: SegmentCaller, file_id: str) -> Response:
    """What is known of an upload."""
    installation = service_of(request).installation
    return answers.as_json(_told(request, find_upload(installation, caller, _checked(file_id))))


@router.delete(ONE, status_code=204, response_model=None, responses={204: {"description": "Gone"}})
def delete_file(request: Request, caller: SegmentCaller, file_id: str) -> Response:
    """Deletes an upload."""
    installation, known = service_of(request).installation, _checked(file_id)
    find_upload(installation, caller, known)
    note(request, caller, Action.FILE_DELETED, known)
    delete_upload(installation, caller, known)
    return Response(status_code=204)


def _checked(file_id: str) -> FileId:
    if not IDENTIFIER.fullmatch(file_id):
        raise Refusal(ErrorCode.NOT_FOUND)
    return FileId(file_id)


def _told(request: Request, row: Row[Any]) -> StoredFile:
    base_url = service_of(request).base_url(request)
    return StoredFile(
        id=row.id,
        url=f"{base_url}{PUBLIC_PATH}{row.name}",
        content_type=row.content_type,
        size_bytes=row.size_bytes,
        sha256=row.sha256,
        created_at=row.created_at,
        expires_at=row.expires_at,
    )
