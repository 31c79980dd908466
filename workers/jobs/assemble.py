"""The unit `assemble`: joins what the chunks left into the one file that was asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
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
from workers.jobs.work import Work
from workers.media.archive import join_zips, write_index
from workers.media.audio import NoSound
from workers.media.checkpoints import checked
from workers.media.coco import write_coco
from workers.media.plan import FramePlan, load_plan
from workers.media.reading import cut_audio
from workers.media.shards import ShardFrame, read_shards
from workers.media.stitch import Piece, check_mp4, source_clock, steady_clock, stitch

OUTPUTS: Mapping[OutputFormat, tuple[str, str]] = {
    OutputFormat.MP4: ("video.mp4", "video/mp4"),
    OutputFormat.FRAMES: ("frames.zip", "application/zip"),
    OutputFormat.MASKS: ("masks.zip", "application/zip"),
    OutputFormat.COCO_RLE: ("video.coco.json", "application/json"),
}
INDEX = ("index.json", "application/json")


def run(work: Work) -> Outcome:
    """Writes the output and the frame index; the prediction has succeeded then."""
    asked = asked_video(work)
    result = _Result(work, asked)
    name, content_type = OUTPUTS[asked.output_format]
    index = work.scratch / INDEX[0]
    write_index(index, result.plan, result.each_frame())
    work.checkpoint()
    path = work.scratch / name
    warnings = result.write(path, index)
    work.checkpoint()
    output = work.put(Role.ARTIFACT, name, path, content_type)
    told = work.put(Role.ARTIFACT, INDEX[0], index, INDEX[1])
    objects = result.objects()
    return Outcome(
        frames_done=result.frames,
        files=[output.at(0), told.at(1)],
        warnings=warnings,
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


class _Result:
    """All that the chunks and renders of a prediction left."""

    def __init__(self, work: Work, asked: VideoInput) -> None:
        self._work = work
        self._asked = asked
        self.plan: FramePlan = load_plan(work.local(work.prediction.source["plan"]))
        chunks = work.claim.payload.get("chunks") or self._results(UnitKind.CHUNK)
        self.shards = [work.local(chunk["shard"]) for chunk in chunks]
        self.frames = sum(len(unpacked(chunk["indexes"])) for chunk in chunks)

    def _results(self, kind: UnitKind) -> Sequence[Mapping[str, Any]]:
        with self._work.installation.database.connect() as connection:
            return units.done_results(connection, self._work.claim.prediction_id, kind)

    def each_frame(self) -> Iterator[ShardFrame]:
        """The results of all frames in order; each one read is a sign of life."""
        return checked(read_shards(self.shards), self._work.alive)

    def objects(self) -> int:
        """How many objects were followed; without propagation, the most on one frame."""
        ids = {found.object_id for frame in self.each_frame() for found in frame.instances}
        return len(ids)

    def write(self, path: Path, index: Path) -> list[str]:
        """Writes the asked-for file and returns warnings."""
        if self._asked.output_format is OutputFormat.COCO_RLE:
            write_coco(path, self.plan, concepts_of(self._asked), self.each_frame())
            return []
        renders = [render for render in self._results(UnitKind.RENDER) if render["piece"]]
        pieces = [self._work.local(render["piece"]) for render in renders]
        if self._asked.output_format is not OutputFormat.MP4:
            join_zips(pieces, path, index, self._work.alive)
            return []
        indexes = [unpacked(render["indexes"]) for render in renders]
        cut = [Piece(piece, shown) for piece, shown in zip(pieces, indexes, strict=True)]
        return self._write_mp4(cut, [index for shown in indexes for index in shown], path)

    def _write_mp4(self, pieces: Sequence[Piece], indexes: Sequence[int], path: Path) -> list[str]:
        if self._asked.fps is not None:
            clock = steady_clock(len(indexes), self._asked.fps)
            stitch(pieces, clock, path, checkpoint=self._work.alive)
            warnings = list[str]()
        else:
            audio, warnings = self._audio(indexes)
            stitch(pieces, source_clock(self.plan, indexes), path, audio, self._work.alive)
        check_mp4(path, len(indexes), self.plan, self._work.alive)
        return warnings

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
