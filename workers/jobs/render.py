"""The unit `render`: turns one chunk's shard into a piece of the asked-for format, on the CPU."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from visionseg.contract.inputs import OutputFormat, VideoInput
from visionseg.predictions.finish import Outcome
from visionseg.records import units
from visionseg.records.files import Role
from workers.jobs.chunk import part_name, unpacked
from workers.jobs.ingest import asked_video
from workers.jobs.limits import media_limits
from workers.jobs.work import Work
from workers.media.archive import write_zip
from workers.media.decode import VideoFrame, Wanted
from workers.media.encode import PieceWriter
from workers.media.overlay import Overlay
from workers.media.pixels import Form
from workers.media.plan import FramePlan, load_plan
from workers.media.reading import read_frames
from workers.media.shards import ShardFrame, read_shard

PIECES = {
    OutputFormat.MP4: ("mp4", "video/mp4"),
    OutputFormat.FRAMES: ("frames.zip", "application/zip"),
    OutputFormat.MASKS: ("masks.zip", "application/zip"),
}
"""The ending and content type of a piece."""


def run(work: Work) -> Outcome:
    """Writes the piece; a chunk that confirmed no frame has none."""
    asked = asked_video(work)
    chunk = _chunk(work)
    indexes = unpacked(chunk["indexes"])
    if not indexes:
        return Outcome(result={"piece": None, "shard": chunk["shard"], "indexes": "[]"})
    plan = load_plan(work.local(work.prediction.source["plan"]))
    piece = _Piece(work, asked, plan, work.local(chunk["shard"]), indexes)
    path = work.scratch / "piece"
    piece.write(path)
    suffix, content_type = PIECES[asked.output_format]
    name = part_name(plan, indexes, suffix)
    stored = work.put(Role.PART, name, path, content_type).at(indexes[0])
    result = {"piece": stored.store_key, "shard": chunk["shard"], "indexes": chunk["indexes"]}
    return Outcome(result=result, frames_done=len(indexes), files=[stored])


def _chunk(work: Work) -> Mapping[str, Any]:
    """The result of the chunk that is rendered; a render of another prediction is given it."""
    payload = work.claim.payload
    if "shard" in payload:
        return payload
    with work.installation.database.connect() as connection:
        result = units.result_of(connection, work.claim.prediction_id, payload["chunk"])
    if result is None:
        raise RuntimeError("the chunk to render is not done")
    return result


class _Piece:
    """One chunk's frames beside what was found on them."""

    def __init__(
        self, work: Work, asked: VideoInput, plan: FramePlan, shard: Path, indexes: list[int]
    ) -> None:
        self._work = work
        self._asked = asked
        self._plan = plan
        self._shard = shard
        self._indexes = indexes
        self._overlay = Overlay(asked.mask_color, asked.mask_opacity, plan.picture.matrix)
        self._done = 0

    def write(self, path: Path) -> None:
        """Writes the piece in the asked-for format."""
        if self._asked.output_format is OutputFormat.MP4:
            self._write_mp4(path)
        elif self._asked.output_format is OutputFormat.FRAMES:
            self._write_frames(path)
        else:
            self._write_masks(path)

    def _write_mp4(self, path: Path) -> None:
        with PieceWriter(path, self._plan) as writer:
            for frame, found in self._pairs(Form.PLANES):
                self._overlay.paint_planes(frame.pixels, [one.mask for one in found.instances])
                writer.write(frame.pixels, frame.pts)

    def _write_frames(self, path: Path) -> None:
        with write_zip(path) as archive:
            for frame, found in self._pairs(Form.RGB):
                archive.add_frame(found, frame.pixels, self._overlay)

    def _write_masks(self, path: Path) -> None:
        with write_zip(path) as archive:
            for found in read_shard(self._shard):
                archive.add_masks(found)
                self._moved()

    def _pairs(self, form: Form) -> Iterator[tuple[VideoFrame, ShardFrame]]:
        """Frames with what was found on them; frames that were never segmented are left out."""
        limits = media_limits(self._work.installation.settings.limits)
        span = range(self._indexes[0], self._indexes[-1] + 1)
        wanted = Wanted(self._plan, span, form)
        frames = read_frames(self._work.source, wanted, limits, [], self._work.checkpoint)
        shard = read_shard(self._shard)
        found = next(shard, None)
        for frame in frames:
            if found is None:
                return
            if frame.index == found.index:
                yield frame, found
                self._moved()
                found = next(shard, None)

    def _moved(self) -> None:
        self._done += 1
        self._work.moved(self._done)
        self._work.checkpoint()
