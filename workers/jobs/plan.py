"""The unit `plan`: opens and checks a picture or video as the real work would, and tells its cost.

It is all that a dry run does with its input; no model is loaded for it and no file is left.
"""

from __future__ import annotations

from visionseg.contract.inputs import ImageInput, SegmentInput
from visionseg.predictions.dry_run import Cost, plan
from visionseg.predictions.finish import Outcome, Success
from workers.jobs.estimate import output_bytes
from workers.jobs.ingest import chunk_spans, read_plan
from workers.jobs.limits import media_limits
from workers.jobs.prompts import image_prompts
from workers.jobs.work import Work
from workers.media.reading import open_image
from workers.segmenters.combine import inside
from workers.segmenters.registry import ENGINES


def run(work: Work) -> Outcome:
    """The dry run has succeeded then; what it found stands in its plan."""
    cost = _cost(work, work.asked())
    planned = plan(work.installation, work.prediction, cost)
    return Outcome(
        log_lines=[f"plan: {cost.frames} frames in {cost.chunks} chunks"],
        columns={"plan": planned},
        success=Success(None),
    )


def _cost(work: Work, asked: SegmentInput) -> Cost:
    """What a real run would take. Raises the `Refusal` that it would raise."""
    if isinstance(asked, ImageInput):
        picture = open_image(work.source, media_limits(work.installation.settings.limits))
        inside(image_prompts(asked), *picture.shape[:2])
        return Cost(1, 1)
    _, frames = read_plan(work, asked)
    chunks = len(chunk_spans(len(frames), ENGINES[work.prediction.engine].chunk_frames))
    return Cost(len(frames), chunks, output_bytes(asked, frames))
