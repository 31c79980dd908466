"""Where the picture or video of a submission comes from, as far as the JSON tells."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from visionseg.access.addresses import AddressPolicy, check_url
from visionseg.artifacts.names import PUBLIC_PATH, input_key, public_name
from visionseg.artifacts.sniff import IMAGE_TYPES, VIDEO_TYPES, sniff
from visionseg.config import Limits
from visionseg.contract.errors import ErrorCode, Problem, Refusal
from visionseg.contract.ids import FileId, OrganisationId, PredictionId
from visionseg.contract.inputs import Kind, media_field
from visionseg.predictions.installation import Installation
from visionseg.predictions.stored import present
from visionseg.records import files
from visionseg.records.files import NewFile, Role

SHORT_URI_CHARACTERS = 4096
PIECE_CHARACTERS = 4 * 256 * 1024
HEAD_BYTES = 4096
_TYPES = {Kind.IMAGE: IMAGE_TYPES, Kind.VIDEO: VIDEO_TYPES}
DATA_URI = re.compile(r"data:([\w.+-]+/[\w.+-]+)((?:;[\w.+-]+=[\w.+-]+)*);base64,", re.ASCII)


@dataclass(frozen=True, slots=True)
class Source:
    """`spec` is what the worker reads: a file of the store, or a URL to fetch first.

    `echo` replaces the media field in the record's input, by the public name of the stored file;
    None: it is echoed as sent. `stored` is to be named in the transaction of the submission.
    """

    spec: Mapping[str, Any]
    stored: NewFile | None = None
    echo: str | None = None


@dataclass(frozen=True, slots=True)
class Given:
    """What a client wrote as picture or video, and the base of this service's own links."""

    text: str
    base_url: str


def resolve(
    installation: Installation,
    organisation_id: OrganisationId,
    prediction_id: PredictionId,
    kind: Kind,
    given: Given,
) -> Source:
    """The source that a client named by a data URI, an https URL or a file of this service.

    Raises `Refusal`: invalid_input, not_found, gone, payload_too_large, unsupported_media_type.
    """
    if given.text.startswith("data:"):
        return _store_data_uri(installation, prediction_id, kind, given.text)
    if (own := _own_file(installation, organisation_id, given)) is not None:
        return own
    refuse_bad_url(given.text, installation.settings.limits, f"/input/{media_field(kind)}")
    return Source({"url": given.text})


def refuse_bad_url(url: str, limits: Limits, pointer: str) -> None:
    """Raises `Refusal` (invalid_input) at `pointer` for a URL that could never be reached."""
    try:
        check_url(url, AddressPolicy.of(limits.allowed_hosts))
    except Refusal as refusal:
        problem = Problem(pointer, refusal.detail)
        raise Refusal(refusal.code, problems=(problem,)) from refusal


def _own_file(
    installation: Installation, organisation_id: OrganisationId, given: Given
) -> Source | None:
    by_id = given.text.startswith("file_")
    if not by_id and not given.text.startswith(f"{given.base_url}{PUBLIC_PATH}"):
        return None
    with installation.database.connect() as connection:
        if by_id:
            row = files.find_by_id(connection, FileId(given.text), organisation_id)
        else:
            row = files.find_public(connection, given.text.rpartition("/")[2], organisation_id)
    own = present(row)
    return Source({"store_key": own.store_key, "content_type": own.content_type})


def _store_data_uri(
    installation: Installation, prediction_id: PredictionId, kind: Kind, uri: str
) -> Source:
    pointer = f"/input/{media_field(kind)}"
    head = DATA_URI.match(uri[:256])
    if head is None or not (head[1].startswith(f"{kind}/") or head[1] in _TYPES[kind]):
        raise Refusal(
            ErrorCode.INVALID_INPUT,
            problems=(Problem(pointer, f"a data URI must begin data:{kind}/…;base64,"),),
        )
    with installation.store.scratch() as folder:
        path = folder / "input"
        _decode(uri, head.end(), path, installation.settings.limits.data_uri_bytes, pointer)
        content_type = check_magic(path, kind)
        name = f"input.{content_type.partition('/')[2]}"
        stored = installation.store.put(input_key(prediction_id, name), path)
    file = NewFile(
        role=Role.INPUT,
        name=public_name(prediction_id, name),
        store_key=stored.key,
        content_type=content_type,
        size_bytes=stored.size_bytes,
        sha256=stored.sha256,
    )
    echo = file.name if len(uri) > SHORT_URI_CHARACTERS else None
    return Source({"store_key": stored.key, "content_type": content_type}, file, echo)


def _decode(uri: str, start: int, path: Path, limit_bytes: int, pointer: str) -> None:
    if (len(uri) - start) * 3 // 4 > limit_bytes + 3:
        raise Refusal(
            ErrorCode.PAYLOAD_TOO_LARGE,
            f"A data URI holds at most {limit_bytes} bytes; send a URL instead.",
        )
    try:
        with path.open("wb") as file:
            for place in range(start, len(uri), PIECE_CHARACTERS):
                piece = uri[place : place + PIECE_CHARACTERS]
                file.write(base64.b64decode(piece, validate=True))
    except (binascii.Error, ValueError) as error:
        problem = Problem(pointer, f"the base64 cannot be read: {error}")
        raise Refusal(ErrorCode.INVALID_INPUT, problems=(problem,)) from None


def check_magic(path: Path, kind: Kind) -> str:
    """The content type that a file's first bytes tell.

    Raises `Refusal` (unsupported_media_type) if they tell of no picture, or no video.
    """
    with path.open("rb") as file:
        content_type = sniff(file.read(HEAD_BYTES))
    if content_type is None or content_type not in _TYPES[kind]:
        found = content_type or "of no type that is known here"
        raise Refusal(
            ErrorCode.UNSUPPORTED_MEDIA_TYPE,
            f"The data is not {'an image' if kind is Kind.IMAGE else 'a video'}: it is {found}.",
        )
    return content_type
