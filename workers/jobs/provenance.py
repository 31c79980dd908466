"""Where a result comes from: the input's bytes, and the engines, weights and packages at work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from visionseg.config import installed_version
from visionseg.records import files
from workers.jobs.work import Work
from workers.segmenters.base import Segmenter

MEDIA_PACKAGES = ("av", "numpy", "opencv-python-headless", "pillow", "pillow-heif")
Told = Mapping[str, Any]


def engine_at_work(segmenter: Segmenter) -> Told:
    """What finds the masks here, as `contract.reply.EngineUsed` has it."""
    origin = segmenter.origin
    return {
        "name": segmenter.name,
        "version": segmenter.version,
        "device": origin.device,
        "weights": dict(origin.weights),
        "software": _versions((*MEDIA_PACKAGES, *origin.packages)),
    }


def provenance(work: Work, engines: Sequence[Told], frame_map: str | None = None) -> Told:
    """The column `provenance` of a result to which these engines contributed."""
    store_key = work.prediction.source["store_key"]
    with work.installation.database.connect() as connection:
        source = files.standing_for(connection, store_key)
    told = {name: getattr(source, name) for name in ("sha256", "size_bytes", "content_type")}
    distinct = [one for place, one in enumerate(engines) if one not in engines[:place]]
    return {"input": told, "engines": distinct, "frame_map": frame_map}


@cache
def _versions(packages: tuple[str, ...]) -> dict[str, str]:
    """The versions of those that are installed, and of this service."""
    found = {"visionseg": installed_version()}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
