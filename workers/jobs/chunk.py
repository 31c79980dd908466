"""The unit `chunk`: follows objects over a fixed span of processed frames.

Its result is an RLE shard. A frame's result may come only after later frames went in, so a shard
holds what was confirmed by the end of the chunk, and the rest goes to the next one.
"""

from __future__ import annotations

import itertools
import json
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from visionseg.contract.inputs import VideoInput
from visionseg.predictions.finish import Outcome
from visionseg.records import units
from visionseg.records.files import NewFile, Role
from workers.jobs.ingest import asked_video
from workers.jobs.limits import media_limits
from workers.jobs.prompts import concepts_of, video_prompts
from workers.jobs.provenance import engine_at_work
from workers.jobs.work import Work
from workers.media.decode import VideoFrame, Wanted
from workers.media.pixels import Form
from workers.media.plan import FramePlan, load_plan
from workers.media.reading import read_frames
from workers.media.shards import ShardFrame, ShardWriter
from workers.segmenters.base import FrameResult, Session, SessionOptions
from workers.segmenters.registry import ENGINES

Place = tuple[int, int, int]
"""A frame that went in: its processed index, its number and pts in the source."""


def run(work: Work) -> Outcome:
    """Writes the shard, and the checkpoint from which the next chunk goes on."""
    plan = load_plan(work.local(work.prediction.source["plan"]))
    span = range(work.claim.payload["first"], work.claim.payload["end"])
    before = _handed_over(work)
    asked = asked_video(work)
    session = _open(work, asked, span, before)
    try:
        return _follow(work, plan, span, session, _waiting(before))
    except BaseException:
        session.close()
        raise


def _handed_over(work: Work) -> Mapping[str, Any] | None:
    follows = work.claim.payload["follows"]
    if follows is None:
        return None
    with work.installation.database.connect() as connection:
        result = units.result_of(connection, work.claim.prediction_id, follows)
    if result is None:
        raise RuntimeError(f"unit {follows} is not done")
    return result


def _waiting(before: Mapping[str, Any] | None) -> deque[Place]:
    held = before["waiting"] if before else []
    return deque((index, source_index, pts) for index, source_index, pts in held)


def _open(work: Work, asked: VideoInput, span: range, before: Mapping[str, Any] | None) -> Session:
    if before is not None:
        warm = work.warm.take(work.claim.prediction_id, span.start)
        if warm is not None:
            return warm
    options = SessionOptions(asked.re_detect_every, asked.prompt_propagation)
    segmenter = work.needed_segmenter()
    if before is None:
        total = work.prediction.frames_total or span.stop
        frames = range(span.start, total if asked.prompt_propagation else span.stop)
        return segmenter.open_session(video_prompts(asked, frames), options)
    prompts = video_prompts(asked, range(work.prediction.frames_total or span.stop))
    state = work.local(before["checkpoint"]).read_bytes()
    return segmenter.open_session(prompts, options, state)


def _follow(
    work: Work, plan: FramePlan, span: range, session: Session, waiting: deque[Place]
) -> Outcome:
    missing: list[int] = []
    path = work.scratch / "shard"
    written: list[int] = []
    segmenter = work.needed_segmenter()
    warnings = segmenter.cautions(concepts_of(asked_video(work)))
    with ShardWriter(path, plan.picture.height, plan.picture.width) as shard:
        for found, place in _results(work, plan, span, session, waiting, missing):
            shard.write(ShardFrame(*place, found.instances))
            written.append(place[0])
            warnings += found.warnings
    if missing:
        warnings.append("Some frames of the video cannot be decoded and were left out.")
    name = part_name(plan, written or list(span), "rle.jsonl.gz")
    stored = work.put(Role.SHARD, name, path, "application/gzip", shard.sum.check).at(span.start)
    files, result_keys = _keep(work, session, span)
    result = {
        "shard": stored.store_key,
        "indexes": _packed(written),
        "waiting": list(waiting),
        "missing": len(missing),
        "engine": engine_at_work(segmenter),
        **result_keys,
    }
    return Outcome(
        result=result,
        frames_done=len(span),
        files=[stored, *files],
        log_lines=[f"chunk: frames {span.start} to {span.stop - 1} of {len(plan)}"],
        warnings=list(dict.fromkeys(warnings)),
        columns={"version": f"{segmenter.name} {segmenter.version}"},
    )


def _results(
    work: Work,
    plan: FramePlan,
    span: range,
    session: Session,
    waiting: deque[Place],
    missing: list[int],
) -> Iterator[tuple[FrameResult, Place]]:
    limits = media_limits(work.installation.settings.limits)
    wanted = Wanted(plan, span, Form.RGB)
    frames = read_frames(work.source, wanted, limits, missing, work.checkpoint)
    done = 0
    for batch in _batches(frames, ENGINES[work.prediction.engine].batch_frames):
        waiting.extend((frame.index, frame.source_index, frame.pts) for frame in batch)
        for result in session.step([frame.pixels for frame in batch], work.should_stop):
            yield result, waiting.popleft()
        done += len(batch)
        work.moved(done)
        work.checkpoint()
        work.give_way()
    if work.claim.payload["ends"]:
        for result in session.flush():
            yield result, waiting.popleft()


def _batches(frames: Iterator[VideoFrame], size: int) -> Iterator[list[VideoFrame]]:
    while batch := list(itertools.islice(frames, size)):
        yield batch


def _keep(work: Work, session: Session, span: range) -> tuple[list[NewFile], dict[str, str]]:
    """Keeps the session warm, and writes its state for whoever else may take the next chunk."""
    if work.claim.payload["ends"]:
        session.close()
        return [], {}
    stored = work.put_bytes("checkpoint", session.state())
    prediction_id = work.claim.prediction_id
    work.on_commit.append(lambda: work.warm.keep(prediction_id, span.stop, session))
    return [stored], {"checkpoint": stored.store_key}


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
