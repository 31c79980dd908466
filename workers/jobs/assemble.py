"""The unit `assemble`: joins what the chunks left into the one file that was asked for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from visionseg.contract.inputs import OutputFormat, VideoInput
from visionseg.predictions.finish import Outcome, Success
from visionseg.queue.lanes import UnitKind
from visionseg.records import units
from visionseg.records.files import Role
from workers.jobs.chunk import unpacked
from workers.jobs.ingest import asked_video
from workers.jobs.limits import media_limits
from workers.jobs.prompts import concepts_of
from workers.jobs.provenance import provenance
from workers.jobs.work import Check, Work
from workers.media.archive import Take, join_zips, let_pass, write_index
from workers.media.audio import NoSound
from workers.media.checkpoints import checked
from workers.media.clock import source_clock, steady_clock
from workers.media.coco import write_coco
from workers.media.names import INDEX_NAME
from workers.media.plan import FramePlan, load_plan
from workers.media.reading import cut_audio
from workers.media.shards import ShardFrame, read_shards
from workers.media.stitch import Piece, stitch
from workers.media.sums import BrokenOutput, FileSum, PacketSum
from workers.media.verify import Mp4, check_mp4, check_zip

OUTPUTS: Mapping[OutputFormat, tuple[str, str]] = {
    OutputFormat.MP4: ("video.mp4", "video/mp4"),
    OutputFormat.FRAMES: ("frames.zip", "application/zip"),
    OutputFormat.MASKS: ("masks.zip", "application/zip"),
    OutputFormat.COCO_RLE: ("video.coco.json", "application/json"),
}


def run(work: Work) -> Outcome:
    """Writes the output and the frame index; the prediction has succeeded then."""
    asked = asked_video(work)
    result = _Result(work, asked)
    name, content_type = OUTPUTS[asked.output_format]
    path, index = work.scratch / name, work.scratch / INDEX_NAME
    check, index_sum, warnings = result.write(path, index)
    work.checkpoint()
    output = work.put(Role.ARTIFACT, name, path, content_type, check)
    told = work.put(Role.ARTIFACT, INDEX_NAME, index, "application/json", index_sum.check)
    objects = len(result.tally.objects)
    return Outcome(
        frames_done=result.frames,
        files=[output.at(0), told.at(1)],
        warnings=warnings,
        columns={"provenance": provenance(work, result.engines, INDEX_NAME)},
        log_lines=[f"assemble: {name}, {output.size_bytes} bytes, {objects} objects"],
        success=Success(
            output_name=output.name,
            metrics={
                "engine": work.prediction.engine,
                "frames": result.frames,
                "objects": objects,
            },
        ),
    )


@dataclass(slots=True)
class _Tally:
    """What stands on all frames together; without propagation ids come again on each frame."""

    frames: int = 0
    masks: int = 0
    objects: set[int] = field(default_factory=set)

    def counting(self, frames: Iterable[ShardFrame]) -> Iterator[ShardFrame]:
        for frame in frames:
            self.frames += 1
            self.masks += len(frame.instances)
            self.objects.update(found.object_id for found in frame.instances)
            yield frame


class _Result:
    """All that the chunks and renders of a prediction left.

    Raises `BrokenOutput` where it is not every frame of the plan that can be decoded.
    """

    def __init__(self, work: Work, asked: VideoInput) -> None:
        self._work = work
        self._asked = asked
        self.plan: FramePlan = load_plan(work.local(work.prediction.source["plan"]))
        chunks = work.claim.payload.get("chunks") or self._results(UnitKind.CHUNK)
        self.engines = [chunk["engine"] for chunk in chunks if "engine" in chunk]
        self._shards = [work.local(chunk["shard"]) for chunk in chunks]
        self.tally = _Tally()
        indexes = [index for chunk in chunks for index in unpacked(chunk["indexes"])]
        missing = sum(chunk.get("missing", 0) for chunk in chunks)
        rising = all(before < after for before, after in pairwise(indexes))
        if not rising or len(indexes) + missing != work.prediction.frames_total:
            raise BrokenOutput(f"{len(indexes)} of {len(self.plan)} frames, {missing} missing")
        self.frames = len(indexes)

    def _results(self, kind: UnitKind) -> Sequence[Mapping[str, Any]]:
        with self._work.installation.database.connect() as connection:
            return units.done_results(connection, self._work.claim.prediction_id, kind)

    def write(self, path: Path, index: Path) -> tuple[Check, FileSum, list[str]]:
        """Writes the asked-for file and the index.

        Returns how to check the one, the sum of the other, and warnings.
        """
        if self._asked.output_format is OutputFormat.COCO_RLE:
            sums: list[FileSum] = []
            told = self._write_index(index, lambda frames: sums.append(self._coco(path, frames)))
            return sums[0].check, told, []
        told = self._write_index(index)
        renders = [render for render in self._results(UnitKind.RENDER) if render["piece"]]
        if self._asked.output_format is OutputFormat.MP4:
            check, warnings = self._write_mp4(renders, path)
            return check, told, warnings
        return self._join(renders, path, index), told, []

    def _write_index(self, index: Path, take: Take = let_pass) -> FileSum:
        """Each frame read is a sign of life."""
        frames = checked(read_shards(self._shards), self._work.alive)
        told = write_index(index, self.plan, self.tally.counting(frames), take)
        if self.tally.frames != self.frames:
            raise BrokenOutput(f"{self.tally.frames} frames in the shards, not {self.frames}")
        return told

    def _coco(self, path: Path, frames: Iterator[ShardFrame]) -> FileSum:
        return write_coco(path, self.plan, concepts_of(self._asked), frames)

    def _join(self, renders: Sequence[Mapping[str, Any]], path: Path, index: Path) -> Check:
        parts = [self._work.local(render["piece"]) for render in renders]
        painted = self._asked.output_format is OutputFormat.FRAMES
        self._work.insist_on_room(sum(part.stat().st_size for part in parts))
        wanted = self.tally.frames if painted else self.tally.masks
        names = join_zips(parts, path, index, self._work.alive)
        if len(names) != wanted + 1:
            raise BrokenOutput(f"{len(names) - 1} pictures in the pieces, not {wanted}")
        return lambda stored: check_zip(stored, names, self.plan.picture.size, self._work.alive)

    def _write_mp4(
        self, renders: Sequence[Mapping[str, Any]], path: Path
    ) -> tuple[Check, list[str]]:
        pieces = [self._piece(render) for render in renders]
        self._work.insist_on_room(sum(piece.path.stat().st_size for piece in pieces))
        indexes = [index for piece in pieces for index in piece.indexes]
        if self._asked.fps is not None:
            clock, audio, warnings = steady_clock(len(indexes), self._asked.fps), None, list[str]()
        else:
            clock = source_clock(self.plan, indexes)
            audio, warnings = self._audio(indexes)
        sums = stitch(pieces, clock, path, audio, self._work.alive)
        wanted = Mp4(self.plan.picture, clock, sums)
        return lambda stored: check_mp4(stored, wanted, self._work.alive), warnings

    def _piece(self, render: Mapping[str, Any]) -> Piece:
        told = render.get("packets")  # a release before told none
        path = self._work.local(render["piece"])
        return Piece(path, unpacked(render["indexes"]), PacketSum(*told) if told else None)

    def _audio(self, indexes: Sequence[int]) -> tuple[Path | None, list[str]]:
        """The sound from the first to the last of the frames that are shown."""
        if not self.plan.has_audio:
            return None, []
        shown = self.plan.part(range(indexes[0], indexes[-1] + 1))
        path = self._work.scratch / "audio.mp4"
        limits = media_limits(self._work.installation.settings.limits)
        try:
            cut_audio(self._work.source, path, shown, limits, self._work.alive)
        except NoSound as silence:
            return None, [str(silence)]
        return path, []
