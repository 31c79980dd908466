"""The unit `chunk`: follows objects over a fixed span of processed frames.

Its result is an RLE shard. A frame's result may come only after later frames went in, so a shard
holds what was confirmed by the end of the chunk, and the rest goes to the next one. Within a chunk
checkpoints are kept, so that a worker that dies costs seconds, not the chunk.
"""

from __future__ import annotations

import itertools
import json
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from visionseg.predictions.finish import Outcome
from visionseg.records import units
from visionseg.records.files import NewFile, Role
from workers.jobs.course import GZIP, Course, kept_checkpoints, resumed
from workers.jobs.ingest import asked_video
from workers.jobs.limits import media_limits
from workers.jobs.prompts import concepts_of, video_prompts
from workers.jobs.provenance import engine_at_work
from workers.jobs.work import Work
from workers.media.decode import VideoFrame, Wanted
from workers.media.pixels import Form
from workers.media.plan import FramePlan, load_plan
from workers.media.reading import read_frames
from workers.segmenters.base import Session, SessionOptions, Stopped
from workers.segmenters.registry import ENGINES

log = structlog.get_logger(__name__)


def run(work: Work) -> Outcome:
    """Writes the shard, and the checkpoint from which the next chunk goes on."""
    plan = load_plan(work.local(work.prediction.source["plan"]))
    span = range(work.claim.payload["first"], work.claim.payload["end"])
    before = _handed_over(work)
    course, session = _resumed(work, span) or _begun(work, span, before)
    chunk = _Chunk(work, plan, span, course, session)
    try:
        chunk.follow()
        return chunk.finish(before)
    except BaseException:
        session.close()
        raise


def _handed_over(work: Work) -> Mapping[str, Any]:
    """What the chunk before left; nothing where this one begins a session."""
    follows = work.claim.payload["follows"]
    if follows is None:
        return {}
    with work.installation.database.connect() as connection:
        result = units.result_of(connection, work.claim.prediction_id, follows)
    if result is None:
        raise RuntimeError(f"unit {follows} is not done")
    return result


def _resumed(work: Work, span: range) -> tuple[Course, Session] | None:
    """The chunk from its last checkpoint that can be read; none where there is none."""
    kept = kept_checkpoints(work)
    for place, one in enumerate(kept):
        try:
            return resumed(work, kept[place:]), _open(work, span, one.state)
        except (OSError, ValueError) as error:
            log.warning("checkpoint_unreadable", store_key=one.state, error=str(error))
    return None


def _begun(work: Work, span: range, before: Mapping[str, Any]) -> tuple[Course, Session]:
    """The chunk from its beginning."""
    warnings = work.needed_segmenter().cautions(concepts_of(asked_video(work)))
    waiting = deque(
        (index, source_index, pts) for index, source_index, pts in before.get("waiting", ())
    )
    warm = work.warm.take(work.claim.prediction_id, span.start) if before else None
    session = warm or _open(work, span, before.get("checkpoint"))
    return Course(span.start, waiting, warnings=warnings), session


def _open(work: Work, span: range, state: str | None) -> Session:
    """A session that begins with the video or, where frames stand apart, with the chunk."""
    asked = asked_video(work)
    total = work.prediction.frames_total or span.stop
    prompts = video_prompts(asked, range(total) if asked.prompt_propagation else span)
    options = SessionOptions(asked.re_detect_every, asked.prompt_propagation)
    loaded = None if state is None else work.local(state).read_bytes()
    return work.needed_segmenter().open_session(prompts, options, loaded)


@dataclass(slots=True)
class _Chunk:
    """A chunk being followed; the session stands where its course does."""

    work: Work
    plan: FramePlan
    span: range
    course: Course
    session: Session

    def follow(self) -> None:
        """Takes the rest of the frames in; a worker told to stop keeps a checkpoint first."""
        limits = media_limits(self.work.installation.settings.limits)
        wanted = Wanted(self.plan, range(self.course.index, self.span.stop), Form.RGB)
        self.work.moved(self.course.index - self.span.start)
        checkpoint = self.work.checkpoint
        frames = read_frames(self.work.source, wanted, limits, self.course.missing, checkpoint)
        try:
            for batch in _batches(frames, ENGINES[self.work.prediction.engine].batch_frames):
                self._take(batch)
        except Stopped:
            if self.course.is_whole and self.work.is_wanted():
                self._keep()
            raise
        if self.work.claim.payload["ends"]:
            self.course.leave(self.session.flush())

    def _take(self, batch: Sequence[VideoFrame]) -> None:
        work, course = self.work, self.course
        try:
            results = self.session.step([frame.pixels for frame in batch], work.should_stop)
        except Stopped as stopped:
            course.enter(batch[: stopped.taken or 0])
            course.is_whole = stopped.taken is not None
            raise
        course.enter(batch)
        course.leave(results)
        work.moved(course.index - self.span.start)
        work.checkpoint()
        if course.is_due(work.installation.settings.lease.checkpoint_s):
            self._keep()
        work.give_way()

    def _keep(self) -> None:
        self.course.keep(self.work, self.plan.picture, self.session)

    def finish(self, before: Mapping[str, Any]) -> Outcome:
        """The shard and all that the next chunk needs; `before` is what this one was handed."""
        course, segmenter = self.course, self.work.needed_segmenter()
        if course.missing:
            course.warnings.append("Some frames of the video cannot be decoded and were left out.")
        shard = self._put_shard()
        result = {
            "shard": shard.store_key,
            "indexes": _packed([frame.index for frame in course.found]),
            "waiting": list(course.waiting),
            "missing": len(course.missing),
            "engine": engine_at_work(segmenter),
        }
        files, handed_over, spent = self._hand_over(before)
        line = f"chunk: frames {self.span.start} to {self.span.stop - 1} of {len(self.plan)}"
        return Outcome(
            result=result | handed_over,
            frames_done=len(self.span),
            files=[shard, *files],
            log_lines=[line],
            warnings=list(dict.fromkeys(course.warnings)),
            columns={"version": f"{segmenter.name} {segmenter.version}"},
            spent=[*spent, *(key for one in course.kept for key in one.keys)],
        )

    def _put_shard(self) -> NewFile:
        """The shard in the store; one without frames is nothing for clients."""
        path = self.work.scratch / "shard"
        check = self.course.write(path, self.plan.picture).check
        written = [frame.index for frame in self.course.found]
        if not written:
            return self.work.put(Role.WORK, path.name, path, GZIP, check)
        name = part_name(self.plan, written, "rle.jsonl.gz")
        return self.work.put(Role.SHARD, name, path, GZIP, check).at(self.span.start)

    def _hand_over(
        self, before: Mapping[str, Any]
    ) -> tuple[list[NewFile], dict[str, str | None], list[str]]:
        """Keeps the session warm, and writes its state for whoever else takes the next chunk.

        Returns the state's file, what the next chunk is told, and the checkpoints that may go: the
        last two stay.
        """
        work, given = self.work, before.get("checkpoint")
        oldest = [key for key in (before.get("before"),) if key]
        if work.claim.payload["ends"]:
            self.session.close()
            return [], {}, oldest
        stored = work.put_bytes("checkpoint", self.session.state())
        prediction_id, session = work.claim.prediction_id, self.session
        work.on_commit.append(lambda: work.warm.keep(prediction_id, self.span.stop, session))
        return [stored], {"checkpoint": stored.store_key, "before": given}, oldest


def _batches(frames: Iterator[VideoFrame], size: int) -> Iterator[list[VideoFrame]]:
    while batch := list(itertools.islice(frames, size)):
        yield batch


def part_name(plan: FramePlan, indexes: Sequence[int], suffix: str) -> str:
    """What a chunk's file is called: the processed frames it covers and their times, in seconds.

    It is what a client sees of a video that ends before its end.
    """
    first, last = indexes[0], indexes[-1]
    times = f"{plan.time_s(first):.3f}s-{plan.time_s(last):.3f}s"
    return f"part_{first:06d}-{last:06d}_{times}.{suffix}"


def _packed(indexes: list[int]) -> str:
    """Processed indexes as JSON text of runs [first, end): short, whatever is missing."""
    runs: list[list[int]] = []
    for index in indexes:
        if runs and runs[-1][1] == index:
            runs[-1][1] = index + 1
        else:
            runs.append([index, index + 1])
    return json.dumps(runs)


def unpacked(runs: str) -> list[int]:
    """The processed indexes that `run` packed."""
    return [index for first, end in json.loads(runs) for index in range(first, end)]
