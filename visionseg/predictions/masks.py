"""The finished masks of a prediction, and the units of work that write them in another form."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from visionseg.contract.errors import ErrorCode, Refusal
from visionseg.contract.ids import PredictionId
from visionseg.contract.inputs import Kind, OutputFormat
from visionseg.contract.status import FINAL
from visionseg.queue.lanes import LANE_OF, UnitKind
from visionseg.records import files, units
from visionseg.records.files import Role
from visionseg.records.predictions import Record
from visionseg.records.units import NewUnit

KEPT_OF_CHUNK = ("shard", "indexes", "engine")
SHOWS_INPUT = (OutputFormat.MP4, OutputFormat.FRAMES)


@dataclass(frozen=True, slots=True)
class Masks:
    """The masks of so many `frames`, the stored `files` they are in, by the role they have there,
    and the `units` that write them.
    """

    frames: int
    files: Mapping[str, Role]
    units: Sequence[NewUnit]


def finished_masks(connection: Connection, row: Record, params: Mapping[str, Any]) -> Masks:
    """The masks of a final prediction, to be written with these parameters.

    Raises `Refusal`: gone where the prediction was deleted, not_renderable where it has none.
    """
    if row.deleted_at is not None:
        raise Refusal(ErrorCode.GONE)
    if row.status not in FINAL:
        raise _not_yet(row)
    found = _of_picture if row.kind == Kind.IMAGE else _of_video
    masks = found(connection, row, params)
    if masks is None:
        raise Refusal(ErrorCode.NOT_RENDERABLE)
    return masks


def _not_yet(row: Record) -> Refusal:
    return Refusal(
        ErrorCode.NOT_RENDERABLE,
        f"The prediction is {row.status}; render it when it is final.",
        detail_zh=f"该任务的状态为 {row.status}；请在任务结束后再渲染。",
    )


def _of_video(connection: Connection, row: Record, params: Mapping[str, Any]) -> Masks | None:
    """Those of the chunks that are done; of a render, those of its source."""
    if row.rendered_from is not None:
        chunks = _given(connection, row, UnitKind.ASSEMBLE)["chunks"]
    else:
        done = units.done_results(connection, PredictionId(row.id), UnitKind.CHUNK)
        chunks = [{name: chunk[name] for name in KEPT_OF_CHUNK if name in chunk} for chunk in done]
    runs = [run for chunk in chunks for run in json.loads(chunk["indexes"])]
    if not runs:
        return None
    needed = {**{chunk["shard"]: Role.SHARD for chunk in chunks}, row.source["plan"]: Role.BASIS}
    if params["output_format"] in SHOWS_INPUT:
        needed[row.source["store_key"]] = Role.BASIS
    pieces = [] if params["output_format"] == OutputFormat.COCO_RLE else chunks
    renders = [_unit(seq, UnitKind.RENDER, chunk) for seq, chunk in enumerate(pieces)]
    last = _unit(len(renders), UnitKind.ASSEMBLE, {"chunks": chunks}, range(len(renders)))
    return Masks(sum(end - first for first, end in runs), needed, [*renders, last])


def _of_picture(connection: Connection, row: Record, _params: Mapping[str, Any]) -> Masks | None:
    """The files of its masks, and what is known of the instances."""
    if row.output_name is None or "instances" not in row.metrics:
        return None
    if row.rendered_from is not None:
        told = _given(connection, row, UnitKind.REPAINT)
    else:
        artifacts = files.of_predictions(connection, [PredictionId(row.id)], Role.ARTIFACT)
        masks = [file.store_key for file in artifacts[: row.metrics["instances"]]]
        metrics = {name: row.metrics[name] for name in ("engine", "instances", "labels")}
        told = {"masks": masks, "scores": row.scores, "boxes": row.boxes, "metrics": metrics}
        told["engines"] = (row.provenance or {}).get("engines", [])
    needed = dict.fromkeys([*told["masks"], row.source["store_key"]], Role.BASIS)
    return Masks(1, needed, [_unit(0, UnitKind.REPAINT, told)])


def _given(connection: Connection, row: Record, kind: UnitKind) -> Mapping[str, Any]:
    return units.payload_of(connection, PredictionId(row.id), kind)


def _unit(
    seq: int, kind: UnitKind, payload: Mapping[str, Any], after: Sequence[int] = ()
) -> NewUnit:
    return NewUnit(seq, kind, LANE_OF[kind], payload, after)
