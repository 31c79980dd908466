"""Ranges of a file (RFC 9110, section 14): one range is served, several are the whole file."""

from __future__ import annotations

import re

from visionseg.contract.errors import ErrorCode, Refusal

RANGE = re.compile(r"bytes=[ \t]*(\d{0,18})-(\d{0,18})[ \t]*", re.ASCII)


def asked_range(header: str | None, size_bytes: int) -> tuple[int, int] | None:
    """First and last byte to send, or None for the whole file.

    None also where the header is malformed or names several ranges, as a server may choose.
    Raises `Refusal` (range_not_satisfiable) for a range outside the file.
    """
    match = RANGE.fullmatch(header or "")
    if match is None or match[1] == match[2] == "":
        return None
    if match[1] and match[2] and int(match[2]) < int(match[1]):
        return None
    first, last = _bounds(match[1], match[2], size_bytes)
    if first >= size_bytes or last < first:
        raise Refusal(
            ErrorCode.RANGE_NOT_SATISFIABLE,
            headers={"Content-Range": f"bytes */{size_bytes}", "Accept-Ranges": "bytes"},
        )
    return first, last


def _bounds(first: str, last: str, size_bytes: int) -> tuple[int, int]:
    if not first:
        return max(0, size_bytes - int(last)), size_bytes - 1 if int(last) else -1
    return int(first), min(int(last), size_bytes - 1) if last else size_bytes - 1
