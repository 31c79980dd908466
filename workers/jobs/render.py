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
from workers.jobs.work import Check, Work
from workers.media.archive import ZipWriter, write_zip
from workers.media.clock import source_clock
from workers.media.decode import VideoFrame, Wanted
from workers.media.encode import PieceWriter
from workers.media.names import frame_name, mask_name
from workers.media.overlay import Overlay
from workers.media.pixels import Form
from workers.media.plan import FramePlan, load_plan
from workers.media.reading import read_frames
from workers.media.shards import ShardFrame, read_shard
from workers.media.verify import Mp4, check_mp4, check_zip

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
    check, told = piece.write(path)
    suffix, content_type = PIECES[asked.output_format]
    name = part_name(plan, indexes, suffix)
    stored = work.put(Role.PART, name, path, content_type, check).at(indexes[0])
    result = {"piece": stored.store_key, "shard": chunk["shard"], "indexes": chunk["indexes"]}
    return Outcome(result={**result, **told}, frames_done=len(indexes), files=[stored])


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

    def write(self, path: Path) -> tuple[Check, dict[str, Any]]:
        """Writes the piece in the asked-for format.

        Returns how to check it, and what `assemble` must know of it.
        """
        if self._asked.output_format is OutputFormat.MP4:
            return self._write_mp4(path)
        with write_zip(path) as archive:
            if self._asked.output_format is OutputFormat.FRAMES:
                names = self._add_frames(archive)
            else:
                names = self._add_masks(archive)
        size = self._plan.picture.size
        return lambda stored: check_zip(stored, names, size, self._work.checkpoint), {}

    def _write_mp4(self, path: Path) -> tuple[Check, dict[str, Any]]:
        with PieceWriter(path, self._plan) as writer:
            for frame, found in self._pairs(Form.PLANES):
                self._overlay.paint_planes(frame.pixels, [one.mask for one in found.instances])
                writer.write(frame.pixels, frame.pts)
        clock = source_clock(self._plan, self._indexes)
        wanted = Mp4(self._plan.picture, clock, {"video": writer.sum})
        told = {"packets": [writer.sum.packets, writer.sum.crc]}
        return lambda stored: check_mp4(stored, wanted, self._work.checkpoint), told

    def _add_frames(self, archive: ZipWriter) -> list[str]:
        """Adds the painted frames; returns the names of all that must be there."""
        for frame, found in self._pairs(Form.RGB):
            archive.add_frame(found, frame.pixels, self._overlay)
        return [frame_name(int(number)) for number in self._plan.source_index[self._indexes]]

    def _add_masks(self, archive: ZipWriter) -> list[str]:
        """Adds the masks; returns the names of all that must be there."""
        names: list[str] = []
        for found in read_shard(self._shard):
            archive.add_masks(found)
            names += [mask_name(found.source_index, one.object_id) for one in found.instances]
            self._moved()
        return names

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
