"""The unit `ingest`: looks at a video, plans its frames, and cuts the work into units."""

from __future__ import annotations

from collections.abc import Sequence

from visionseg.contract.errors import ErrorCode, Refusal
from visionseg.contract.inputs import OutputFormat, VideoInput
from visionseg.predictions.finish import Outcome
from visionseg.queue.lanes import LANE_OF, UnitKind
from visionseg.records.files import Role
from visionseg.records.units import NewUnit
from workers.jobs.limits import media_limits
from workers.jobs.work import Work
from workers.media.cautions import SENTENCES
from workers.media.plan import FramePlan, Timeline, select_frames
from workers.media.reading import read_timeline
from workers.segmenters.registry import ENGINES

MOST_CHUNKS = 2000


def asked_video(work: Work) -> VideoInput:
    """The checked input of a video prediction."""
    asked = work.asked()
    if not isinstance(asked, VideoInput):
        raise TypeError(f"a {work.claim.kind} unit of a prediction that is no video")
    return asked


def run(work: Work) -> Outcome:
    """Stores the plan and adds chunk, render and assemble units."""
    asked = asked_video(work)
    timeline, plan = read_plan(work, asked)
    path = work.scratch / "plan"
    plan.save(path)
    stored = work.put(Role.WORK, "plan", path, "application/octet-stream")
    spans = chunk_spans(len(plan), ENGINES[work.prediction.engine].chunk_frames)
    units = cut(asked, spans, work.claim.seq + 1)
    picture = plan.picture
    line = (
        f"ingest: {timeline.container}/{timeline.codec} {picture.width}x{picture.height}, "
        f"{timeline.pts.size} frames at {float(timeline.rate):.3f} fps; "
        f"{len(plan)} to process in {len(spans)} chunks"
    )
    source = {**work.prediction.source, "plan": stored.store_key}
    return Outcome(
        files=[stored],
        new_units=units,
        log_lines=[line],
        warnings=[SENTENCES[caution] for caution in timeline.cautions],
        columns={"frames_total": len(plan), "source": source},
    )


def read_plan(work: Work, asked: VideoInput) -> tuple[Timeline, FramePlan]:
    """What the video shows, and which of its frames are processed.

    Raises `Refusal` as `read_timeline` and `select_frames` do, and for marks outside of it.
    """
    limits = media_limits(work.installation.settings.limits)
    timeline = read_timeline(work.source, limits, work.alive)
    plan = select_frames(
        timeline, asked.start_time, asked.end_time, asked.frame_stride, asked.max_frames
    )
    _check_marks(asked, plan)
    return timeline, plan


def _check_marks(asked: VideoInput, plan: FramePlan) -> None:
    width, height = plan.picture.width, plan.picture.height
    for mark in (*asked.point_prompts, *asked.box_prompts):
        if mark.frame_index >= len(plan):
            raise Refusal(
                ErrorCode.PROMPT_OUTSIDE,
                f"A mark is on processed frame {mark.frame_index}, but there are {len(plan)}, "
                "counted from 0.",
            )
    for point in asked.point_prompts:
        if not (0 <= point.x < width and 0 <= point.y < height):
            raise _outside(f"The point ({point.x:g}, {point.y:g})", width, height)
    for box in asked.box_prompts:
        if box.x_max <= 0 or box.y_max <= 0 or box.x_min >= width or box.y_min >= height:
            raise _outside(f"The box at ({box.x_min:g}, {box.y_min:g})", width, height)


def _outside(what: str, width: int, height: int) -> Refusal:
    sentence = f"{what} lies outside the picture of {width}x{height} pixels."
    return Refusal(ErrorCode.PROMPT_OUTSIDE, sentence)


def chunk_spans(frames: int, chunk_frames: int) -> list[range]:
    """Ranges of processed frames of one size, the last one shorter; at most 2,000 of them."""
    size = max(chunk_frames, -(-frames // MOST_CHUNKS))
    return [range(first, min(first + size, frames)) for first in range(0, frames, size)]


def cut(asked: VideoInput, spans: Sequence[range], seq: int) -> list[NewUnit]:
    """Chunks, each after the one before where objects are followed; their renders; assemble."""
    count = len(spans)
    chunks = [
        NewUnit(
            seq + number,
            UnitKind.CHUNK,
            LANE_OF[UnitKind.CHUNK],
            {
                "first": span.start,
                "end": span.stop,
                "follows": seq + number - 1 if number and asked.prompt_propagation else None,
                "ends": number == count - 1 or not asked.prompt_propagation,
            },
            [seq + number - 1] if number and asked.prompt_propagation else [],
        )
        for number, span in enumerate(spans)
    ]
    seqs = [chunk.seq for chunk in chunks]
    if asked.output_format is OutputFormat.COCO_RLE:
        return [*chunks, _assemble(seq + count, seqs)]
    renders = [
        NewUnit(
            seq + count + number,
            UnitKind.RENDER,
            LANE_OF[UnitKind.RENDER],
            {"chunk": chunk.seq},
            [chunk.seq],
        )
        for number, chunk in enumerate(chunks)
    ]
    return [*chunks, *renders, _assemble(seq + 2 * count, [render.seq for render in renders])]


def _assemble(seq: int, after: Sequence[int]) -> NewUnit:
    return NewUnit(seq, UnitKind.ASSEMBLE, LANE_OF[UnitKind.ASSEMBLE], after=after)
