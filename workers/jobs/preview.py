"""The unit `preview`: makes a finished piece of a video watchable before the video is done."""

from __future__ import annotations

from pathlib import Path

from visionseg.predictions.finish import Outcome
from visionseg.records import previews, units
from visionseg.records.files import NewFile, Role
from workers.jobs.chunk import unpacked
from workers.jobs.ingest import asked_video
from workers.jobs.work import Work
from workers.media.plan import load_plan
from workers.media.preview import Segment, preview_clock, write_segments

TYPE = "video/mp2t"


def run(work: Work) -> Outcome:
    """Writes the segments of a piece; nothing where nobody watches any more."""
    prediction_id, of_render = work.claim.prediction_id, work.claim.payload["render"]
    with work.installation.database.connect() as connection:
        if not previews.is_wanted(connection, prediction_id):
            return Outcome(result={"segments": None})
        render = units.result_of(connection, prediction_id, of_render)
    if render is None:
        raise RuntimeError("the piece to preview is not there")
    indexes = unpacked(render["indexes"])
    plan = load_plan(work.local(work.prediction.source["plan"]))
    clock = preview_clock(plan, asked_video(work).fps)
    ticks = [*clock[indexes].tolist(), int(clock[indexes[-1] + 1])]
    made = write_segments(work.local(render["piece"]), work.scratch, ticks, work.alive)
    told = [(f"{of_render:06d}-{segment.path.name}", segment.length_s) for segment in made]
    stored = [_stored(work, name, segment) for (name, _), segment in zip(told, made, strict=True)]
    return Outcome(result={"segments": told}, frames_done=len(indexes), files=stored)


def _stored(work: Work, name: str, segment: Segment) -> NewFile:
    return work.put(Role.PREVIEW, f"preview_{name}", segment.path, TYPE, _as_it_is)


def _as_it_is(_stored: Path) -> None:
    """No result depends on a preview."""
