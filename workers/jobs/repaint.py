"""The unit `repaint`: a picture's finished masks, written in every form that can be asked."""

from __future__ import annotations

from visionseg.predictions.finish import Outcome, Success
from workers.jobs.image import asked_image, write_files
from workers.jobs.limits import media_limits
from workers.jobs.provenance import provenance
from workers.jobs.work import Work
from workers.masks import encode
from workers.media.png import read_mask
from workers.media.reading import open_image


def run(work: Work) -> Outcome:
    """Writes the files anew; the prediction has succeeded then."""
    asked, told = asked_image(work), work.claim.payload
    limits = media_limits(work.installation.settings.limits)
    image = open_image(work.source, limits, work.checkpoint)
    masks = [encode(read_mask(work.local(key))) for key in told["masks"]]
    work.checkpoint()
    files, output = write_files(work, asked, image, masks)
    height, width = image.shape[:2]
    return Outcome(
        frames_done=1,
        files=files,
        columns={"provenance": provenance(work, told.get("engines", []))},
        log_lines=[f"repaint: {width}x{height}, {len(masks)} masks"],
        success=Success(
            output_name=output.name,
            scores=told["scores"],
            boxes=told["boxes"],
            metrics=told["metrics"],
        ),
    )
