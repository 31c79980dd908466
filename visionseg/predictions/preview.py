"""The live preview of a video in the making: an HLS playlist of its finished pieces (RFC 8216).

Whoever asks for the playlist has the previews made of the pieces that have none yet.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, Row

from visionseg.artifacts.names import public_name
from visionseg.contract.errors import ErrorCode, Refusal
from visionseg.contract.ids import OrganisationId, PredictionId
from visionseg.contract.inputs import Kind, OutputFormat
from visionseg.contract.status import OPEN
from visionseg.predictions.installation import Installation
from visionseg.predictions.stored import present
from visionseg.queue.lanes import LANE_OF, UnitKind
from visionseg.records import files, predictions, previews, turns, units
from visionseg.records.predictions import Record
from visionseg.records.previews import Step
from visionseg.records.units import NewUnit

TARGET_S = 10
"""No segment is longer, and players ask again within that time: well within `WANTED_S`."""
HEAD = f"""#EXTM3U
#EXT-X-VERSION:3
#EXT-X-TARGETDURATION:{TARGET_S}
#EXT-X-MEDIA-SEQUENCE:0
#EXT-X-PLAYLIST-TYPE:EVENT
"""
END = "#EXT-X-ENDLIST\n"
LEFT_OUT = "#EXT-X-DISCONTINUITY\n"


def has_preview(row: Record) -> bool:
    """Whether a prediction is a video that is written as MP4."""
    is_mp4 = row.params.get("output_format") == OutputFormat.MP4
    return row.kind == Kind.VIDEO and is_mp4 and not row.dry_run


def playlist(
    installation: Installation, organisation_id: OrganisationId, prediction_id: PredictionId
) -> str:
    """The playlist of the segments that are there; it only grows, and ends with the prediction.

    Segments are named `preview/<name>` beside it. Raises `Refusal`: not_found, gone.
    """
    with installation.database.begin() as connection:
        row = predictions.find(connection, prediction_id, organisation_id)
        if row is None or not (has_preview(row) or row.deleted_at):
            raise Refusal(ErrorCode.NOT_FOUND, "There is no prediction of yours with a preview.")
        if row.deleted_at is not None:
            raise Refusal(ErrorCode.GONE)
        is_open = row.status in OPEN and _want(connection, prediction_id)
        steps = previews.steps(connection, prediction_id)
    if is_open:
        installation.hints.wake(LANE_OF[UnitKind.PREVIEW])
    return HEAD + "".join(_lines(steps, is_open=is_open)) + ("" if is_open else END)


def find_segment(
    installation: Installation,
    organisation_id: OrganisationId,
    prediction_id: PredictionId,
    name: str,
) -> Row[Any]:
    """The row of a segment's file. Raises `Refusal`: not_found, gone."""
    named = public_name(prediction_id, f"preview_{name}")
    with installation.database.connect() as connection:
        return present(files.find_preview(connection, named, organisation_id))


def _want(connection: Connection, prediction_id: PredictionId) -> bool:
    """Adds the missing previews of a prediction that is open, and tells whether it is."""
    row = predictions.lock(connection, prediction_id)
    if row is None or row.status not in OPEN:
        return False
    previews.ask(connection, prediction_id)
    missing = _missing(previews.steps(connection, prediction_id))
    first, kind = previews.next_seq(connection, prediction_id), UnitKind.PREVIEW
    new = [
        NewUnit(seq, kind, LANE_OF[kind], {"render": piece})
        for seq, piece in enumerate(missing, first)
    ]
    units.add(connection, prediction_id, new)
    turns.refresh(connection, prediction_id)
    return True


def _finished(steps: Sequence[Step]) -> Iterator[tuple[int, Step | None]]:
    """The pieces that are there up to the first that is not, each with its last preview unit."""
    latest = {step.piece: step for step in steps if step.kind == UnitKind.PREVIEW}
    for step in steps:
        if step.kind != UnitKind.RENDER:
            continue
        if step.state != "done":
            return
        if step.result["piece"]:
            yield step.seq, latest.get(step.seq)


def _missing(steps: Sequence[Step]) -> list[int]:
    """The pieces whose preview was never begun, or was not wanted when its turn came."""
    return [
        piece
        for piece, made in _finished(steps)
        if made is None or (made.state == "done" and made.result["segments"] is None)
    ]


def _lines(steps: Sequence[Step], *, is_open: bool) -> Iterator[str]:
    """The segments in order; while the prediction is open, up to the first that may still come."""
    gap = ""
    for _, made in _finished(steps):
        segments = made.result["segments"] if made is not None and made.state == "done" else None
        if segments is None:
            if is_open and (made is None or made.state != "dropped"):
                return
            gap = LEFT_OUT
        for name, length_s in segments or ():
            yield f"{gap}#EXTINF:{length_s:.3f},\npreview/{name}\n"
            gap = ""
