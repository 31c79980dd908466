"""How a worker's memory grows with the length of a video, by output format.

Run with `python -m bench.media_memory`. A worker process of its own does two videos, the first
frames of a film and then the whole film, by the real jobs on a model of no cost. It starts its own
PostgreSQL and Redis.
"""

from __future__ import annotations

import argparse
import gc
import logging
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import imageio_ffmpeg
import structlog

from bench import fixed_cost
from bench.processes import memory_mib
from bench.queueing import plant
from visionseg.access import keys
from visionseg.access.keys import Caller, authenticate
from visionseg.access.scopes import Scope
from visionseg.config import Settings, read_settings
from visionseg.contract.inputs import OutputFormat, VideoSubmission
from visionseg.contract.models import LITE
from visionseg.contract.status import FINAL, Status
from visionseg.predictions.installation import Installation, assemble
from visionseg.predictions.read import read
from visionseg.predictions.submit import submit
from visionseg.predictions.upload import Receiving
from visionseg.queue.lanes import CPU_LANES, GPU_LANES
from workers.bench import Bench
from workers.hosts import owner_name
from workers.media import reading
from workers.media.limits import JailMode

SIZE = (64, 48)
SHORT, LONG = 1_000, 50_000
GROWTH_MIB = 20e6 / 2**20
ENTRY_MIB = 1 / 1024
"""A zip's entry may cost a KiB of memory."""


class Worker:
    """All lanes in this process, and a client."""

    def __init__(self, settings: Settings) -> None:
        self.parts: Installation = assemble(settings, "visionseg bench")
        self._caller = self._new_caller()
        reading.warm_up(JailMode(settings.limits.jail))
        self._bench = Bench(
            installation=self.parts,
            lanes=[*GPU_LANES, *CPU_LANES],
            owner=owner_name(),
            segmenters={LITE: fixed_cost.load(settings.models, LITE)},
            draining=lambda: False,
        )

    def _new_caller(self) -> Caller:
        pepper = self.parts.settings.http.key_pepper.get_secret_value()
        made = keys.create(self.parts.database, pepper, "bench", (Scope.SEGMENT,), "default")
        return authenticate(self.parts.database, pepper, f"Bearer {made.secret}")

    def upload(self, film: Path) -> str:
        """The film as a stored file."""
        receiving = Receiving(self.parts, self._caller)
        receiving.write(film.read_bytes())
        kept = receiving.keep()
        receiving.close()
        return kept

    def work_off(self, film: str, output_format: str, frames: int) -> float:
        """Does a video; returns the memory of this process after it, in MiB."""
        given = {"video": film, "prompt": "person", "output_format": output_format}
        body = {"model": LITE, "input": {**given, "max_frames": frames}}
        submission = VideoSubmission.model_validate(body)
        made = submit(self.parts, self._caller, submission, given, "http://bench")
        while True:
            record = read(self.parts, self._caller.organisation_id, made, "http://bench")
            if record.status in FINAL:
                break
            self._bench.take_a_turn()
        if record.status is not Status.SUCCEEDED or record.metrics["frames"] != frames:
            raise SystemExit(f"{record.status}: {record.error}")
        gc.collect()
        return memory_mib(os.getpid())


def make_film(path: Path, frames: int) -> None:
    """A small moving pattern."""
    pattern = f"testsrc2=size={SIZE[0]}x{SIZE[1]}:rate=25"
    made = ["-f", "lavfi", "-i", pattern, "-frames:v", str(frames), "-c:v", "libx264"]
    program = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y"]
    subprocess.run([*program, *made, "-preset", "ultrafast", str(path)], check=True)


def work(film: Path, output_format: str, short: int, long: int) -> None:
    """One worker's two videos; prints what it holds after each, and what it ever held."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    fixed_cost.FRAME_S = 0.0
    worker = Worker(read_settings())
    stored = worker.upload(film)
    before = worker.work_off(stored, output_format, short)
    after = worker.work_off(stored, output_format, long)
    worker.parts.close()
    entries = {OutputFormat.FRAMES: long, OutputFormat.MASKS: long}
    allowed = GROWTH_MIB + entries.get(OutputFormat(output_format), 0) * ENTRY_MIB
    verdict = "within" if after - before < allowed else "BEYOND"
    print(
        f"{output_format:<9} {before:6.1f} MiB after {short} frames, {after:6.1f} after {long}: "
        f"{after - before:+.1f}, {verdict} {allowed:.1f}",
        flush=True,
    )
    if after - before >= allowed:
        raise SystemExit(1)


def environment(settings: Settings) -> dict[str, str]:
    """What a worker of this installation is told."""
    services = settings.services
    return {
        **os.environ,
        "VISIONSEG_DATABASE_URL": services.database_url,
        "VISIONSEG_REDIS_URL": services.redis_url,
        "VISIONSEG_BROKER_URL": services.broker_url,
        "VISIONSEG_HOME": str(settings.storage.home),
    }


def main() -> None:
    """Prints a line a format."""
    parser = argparse.ArgumentParser(description=__doc__)
    formats = list(OutputFormat)
    parser.add_argument("--formats", nargs="+", type=OutputFormat, default=formats, choices=formats)
    parser.add_argument("--short", type=int, default=SHORT)
    parser.add_argument("--long", type=int, default=LONG)
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.worker:
        work(asked.worker, asked.formats[0], asked.short, asked.long)
        return
    with tempfile.TemporaryDirectory() as name, plant(Path(name)) as installation:
        film = Path(name) / "film.mp4"
        make_film(film, asked.long)
        told = ["--short", str(asked.short), "--long", str(asked.long), "--worker", str(film)]
        for output_format in asked.formats:
            command = [sys.executable, "-m", "bench.media_memory", "--formats", output_format]
            subprocess.run([*command, *told], env=environment(installation.settings), check=True)


if __name__ == "__main__":
    main()
