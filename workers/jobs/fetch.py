"""The unit `fetch`: brings a URL's picture or video here, through the guard."""

from __future__ import annotations

from pathlib import Path

from visionseg.access.addresses import AddressPolicy
from visionseg.access.fetch import Fetcher, FetchLimits, FetchStopped
from visionseg.access.pinning import trust
from visionseg.artifacts.sniff import HEAD_BYTES, sniff
from visionseg.config import Limits
from visionseg.predictions.finish import Outcome
from visionseg.records.files import Role
from workers.jobs.work import UNKNOWN_TYPE, Work
from workers.media.sums import BrokenOutput
from workers.segmenters.base import Stopped

MIB = 1024 * 1024


def run(work: Work) -> Outcome:
    """Stores the file as the prediction's input. What it is, the next unit finds out."""
    path = work.scratch / "input"
    fetcher = _fetcher(work.installation.settings.limits)
    url = work.prediction.source["url"]

    def moved(size_bytes: int) -> None:
        work.moved(size_bytes // MIB)
        work.insist_on_room()

    try:
        fetched = fetcher.fetch(url, path, work.should_stop, moved)
    except FetchStopped as error:
        raise Stopped from error
    with path.open("rb") as file:
        content_type = sniff(file.read(HEAD_BYTES)) or UNKNOWN_TYPE

    def check(stored: Path) -> None:
        if stored.stat().st_size != fetched.size_bytes:
            raise BrokenOutput("what was fetched is not what is stored")

    stored = work.put(Role.BASIS, "input", path, content_type, check)
    source = {**work.prediction.source, "store_key": stored.store_key, "content_type": content_type}
    line = f"fetch: {fetched.size_bytes} bytes of {content_type}"
    return Outcome(files=[stored], log_lines=[line], columns={"source": source})


def _fetcher(limits: Limits) -> Fetcher:
    return Fetcher(
        policy=AddressPolicy.of(limits.allowed_hosts),
        limits=FetchLimits(limits.download_bytes, limits.fetch_total_s, limits.fetch_stall_s),
        ssl_context=trust(limits.ca_file),
    )
