"""Stored files as clients meet them: found, gone, or sent."""

from __future__ import annotations

from typing import Any

import structlog
from sqlalchemy import Row

from visionseg.contract.errors import ErrorCode, Refusal
from visionseg.contract.ids import FileId
from visionseg.predictions.installation import Installation
from visionseg.records import files
from visionseg.records.engine import DATABASE_AWAY

WHOLE = (0, 2**62)
"""All bytes of a file of any size."""

log = structlog.get_logger(__name__)


def present(row: Row[Any] | None) -> Row[Any]:
    """The row of a file that its owner may have. Raises `Refusal`: not_found, gone."""
    if row is None:
        raise Refusal(
            ErrorCode.NOT_FOUND,
            "There is no such file of yours here.",
            detail_zh="此处没有您的该文件。",
        )
    if row.gone:
        raise Refusal(ErrorCode.GONE)
    return row


def sent(installation: Installation, file_id: FileId, first: int, end: int) -> None:
    """Remembers that a client was sent the bytes `[first, end)` of a file of zero retention.

    It goes once all its bytes were sent, however many answers that took. While the database is
    away nothing is remembered, and the file stays for its hour.
    """
    try:
        with installation.database.begin() as connection:
            files.sent_part(connection, file_id, first, end)
    except DATABASE_AWAY as error:
        log.warning("download_not_remembered", file_id=file_id, error=str(error))
