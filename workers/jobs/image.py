"""The unit `image`: a picture in, masks out, in every combination of what can be asked."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from visionseg.contract.inputs import ImageInput
from visionseg.predictions.finish import Outcome, Success
from visionseg.records.files import NewFile, Role
from workers.jobs.limits import media_limits
from workers.jobs.prompts import image_prompts
from workers.jobs.provenance import engine_at_work, provenance
from workers.jobs.work import Check, Work
from workers.masks import Rle, encode, union
from workers.media.archive import write_zip
from workers.media.overlay import Overlay
from workers.media.pixels import Rgb
from workers.media.png import encode_mask, encode_rgb, encode_rle
from workers.media.reading import open_image
from workers.media.sums import FileSum
from workers.media.verify import check_zip

PNG = "image/png"
ZIP = "application/zip"


def asked_image(work: Work) -> ImageInput:
    """The checked input of a picture's prediction."""
    asked = work.asked()
    if not isinstance(asked, ImageInput):
        raise TypeError(f"a {work.claim.kind} unit of a prediction that is no picture")
    return asked


def run(work: Work) -> Outcome:
    """Segments the picture and writes its files; the prediction has succeeded then."""
    asked = asked_image(work)
    segmenter = work.needed_segmenter()
    limits = media_limits(work.installation.settings.limits)
    image = open_image(work.source, limits, work.checkpoint)
    work.checkpoint()
    started = time.monotonic()
    prompts = replace(image_prompts(asked), known_as=_name_of(work))
    found = segmenter.segment([image], [prompts], work.should_stop)[0]
    seconds = time.monotonic() - started
    work.moved(1)
    files, output = write_files(work, asked, image, [instance.mask for instance in found])
    height, width = image.shape[:2]
    engine = f"{segmenter.name} {segmenter.version}"
    return Outcome(
        frames_done=1,
        files=files,
        log_lines=[f"image: {width}x{height}, {len(found)} found by {engine}"],
        warnings=segmenter.cautions(prompts.concepts),
        columns={
            "version": engine,
            "provenance": provenance(work, [engine_at_work(segmenter)]),
        },
        success=Success(
            output_name=output.name,
            scores=[round(instance.score, 4) for instance in found],
            boxes=[[round(side, 1) for side in instance.box] for instance in found],
            metrics={
                "engine": work.prediction.engine,
                "instances": len(found),
                "labels": [instance.label for instance in found],
                "segment_time": round(seconds, 3),
            },
        ),
    )


def write_files(
    work: Work, asked: ImageInput, image: Rgb, found: Sequence[Rle]
) -> tuple[list[NewFile], NewFile]:
    """All files of a picture's result, stored, and the one that is the output."""
    return _Files(work, asked, image, found).write()


def _name_of(work: Work) -> str:
    """Equal for equal files of one organisation: nobody learns what another one has sent."""
    with work.source.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return f"{work.prediction.organisation_id}/{digest}"


class _Files:
    """The files of one result; which of them is the output, the contract says."""

    def __init__(self, work: Work, asked: ImageInput, image: Rgb, found: Sequence[Rle]) -> None:
        self._work = work
        self._asked = asked
        self._image = image
        self._found = found
        self._checks: dict[Path, Check] = {}

    def write(self) -> tuple[list[NewFile], NewFile]:
        """All files, stored, and the one that is the output."""
        nothing = encode(np.zeros(self._image.shape[:2], np.bool_))
        for number, mask in enumerate(self._found or [nothing]):
            self._save(f"mask_{number:03d}.png", encode_rle(mask))
        if self._asked.save_overlay:
            self._save("overlay.png", self._painted())
        listed = list(self._checks)
        if not self._asked.return_zip:
            output = self._save("output.png", self._single())
        elif len(listed) > 1:
            output = self._zip(listed)
        else:
            output = listed[0]
        stored = [
            self._work.put(
                Role.ARTIFACT, path.name, path, ZIP if path.suffix == ".zip" else PNG, check
            )
            for path, check in self._checks.items()
        ]
        return _in_order(stored), stored[list(self._checks).index(output)]

    def _painted(self) -> bytes:
        overlay = Overlay(self._asked.mask_color, self._asked.mask_opacity)
        return encode_rgb(overlay.paint_rgb(self._image, self._found))

    def _single(self) -> bytes:
        if self._asked.mask_only:
            return encode_mask(union(self._found, *self._image.shape[:2]))
        return self._painted()

    def _save(self, name: str, data: bytes) -> Path:
        path = self._work.scratch / name
        path.write_bytes(data)
        self._checks[path] = FileSum.of(data).check
        return path

    def _zip(self, listed: Sequence[Path]) -> Path:
        path = self._work.scratch / "masks.zip"
        with write_zip(path) as archive:
            for part in listed:
                archive.add_file(part.name, part)
        height, width = self._image.shape[:2]
        names = [part.name for part in listed]
        self._checks[path] = lambda stored: check_zip(stored, names, (width, height))
        return path


def _in_order(files: Sequence[NewFile]) -> list[NewFile]:
    return [file.at(position) for position, file in enumerate(files)]
