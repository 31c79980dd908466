"""Downloads of inputs and results."""

from __future__ import annotations

from functools import partial
from typing import Any, BinaryIO

from fastapi import APIRouter, Request
from sqlalchemy import Row
from starlette.responses import Response

from api.answers import is_known
from api.audits import note
from api.downloads import Download
from api.envelope import when_sent
from api.guards import LookingCaller
from api.ranges import asked_range
from api.service import service_of
from visionseg.artifacts.names import PUBLIC_NAME, PUBLIC_PATH
from visionseg.contract.ids import FileId, OrganisationId
from visionseg.contract.operating import Action
from visionseg.predictions.installation import Installation
from visionseg.predictions.stored import present, sent
from visionseg.records import files
from visionseg.records.files import Role

router = APIRouter(tags=["files"])
ADDRESS = f"{PUBLIC_PATH}{{filename}}"
NO_SCRIPTS = "default-src 'none'; img-src 'self'; media-src 'self'; sandbox"
"""A file that a browser opens can neither run anything nor reach anything."""

ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/octet-stream": {}}, "description": "The file"},
    206: {"content": {"application/octet-stream": {}}, "description": "The range asked for"},
    304: {"description": "The client has it: `If-None-Match` names its ETag"},
}


@router.get(ADDRESS, response_model=None, responses=ANSWERS)
@router.head(ADDRESS, response_model=None, include_in_schema=False)
def download(request: Request, caller: LookingCaller, filename: str) -> Response:
    """A file of your organisation: whole, or the one range asked for, with a strong ETag.

    With zero retention it goes once it was sent whole.
    """
    installation = service_of(request).installation
    row = _find(installation, caller.organisation_id, filename)
    if request.method != "HEAD":
        note(request, caller, Action.OUTPUT_READ, row.name)
    return send(request, installation, row)


def send(request: Request, installation: Installation, row: Row[Any]) -> Response:
    """The file of a row: whole, or the range asked for."""
    headers = _headers(row)
    if is_known(request, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    headers |= {"Accept-Ranges": "bytes", "Content-Type": row.content_type}
    part = _part(request, row, headers["ETag"])
    first, last = part or (0, row.size_bytes - 1)
    size_bytes = last - first + 1
    headers["Content-Length"] = str(size_bytes)
    if part is not None:
        headers["Content-Range"] = f"bytes {first}-{last}/{row.size_bytes}"
    status = 200 if part is None else 206
    file = _open(installation, row, first)
    if request.method == "HEAD":
        file.close()
        return Response(status_code=status, headers=headers)
    if row.once:
        when_sent(request.scope, partial(sent, installation, FileId(row.id), first, last + 1))
    return Download(file, size_bytes, status, headers)


def _find(installation: Installation, organisation_id: OrganisationId, name: str) -> Row[Any]:
    row = None
    if PUBLIC_NAME.fullmatch(name):
        with installation.database.connect() as connection:
            row = files.find_public(connection, name, organisation_id)
    return present(row)


def _headers(row: Row[Any]) -> dict[str, str]:
    return {
        "Cache-Control": "private, no-cache",
        "Content-Disposition": f'inline; filename="{row.name}"',
        "Content-Security-Policy": NO_SCRIPTS,
        "ETag": f'"{row.sha256}"',
    }


def _part(request: Request, row: Row[Any], etag: str) -> tuple[int, int] | None:
    """The range to send; a client whose part is of another file (`If-Range`) gets all of it."""
    if request.headers.get("if-range", etag) != etag:
        return None
    return asked_range(request.headers.get("range"), row.size_bytes)


def _open(installation: Installation, row: Row[Any], first: int) -> BinaryIO:
    """The file, at its byte `first`. Raises `Refusal` (gone) if it was deleted a moment ago."""
    try:
        file = installation.store.path(row.store_key).open("rb")
    except FileNotFoundError:
        with installation.database.connect() as connection:
            owner = OrganisationId(row.organisation_id)
            present(files.find_by_id(connection, FileId(row.id), owner, tuple(Role)))
        raise  # the store has lost it, or is away
    file.seek(first)
    return file
