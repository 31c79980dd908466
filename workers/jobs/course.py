"""How far a chunk has come: what was found on its frames, and what the next ones need."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import structlog

from visionseg.predictions import checkpoint
from visionseg.records.files import NewFile, Role
from workers.jobs.work import Work
from workers.media.decode import VideoFrame
from workers.media.plan import Picture
from workers.media.shards import ShardFrame, ShardWriter, read_shard
from workers.media.sums import FileSum
from workers.segmenters.base import FrameResult, Session

log = structlog.get_logger(__name__)
GZIP = "application/gzip"
CHECKPOINTS_KEPT = 2
Place = tuple[int, int, int]
"""A frame that went in: its processed index, its number and pts in the source."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A place within a chunk, `index` the processed frame that comes next.

    `state` and `shard` are the store's keys of the session's state and of what was found so far;
    `waiting` are the frames that went in and wait for their results.
    """

    index: int
    state: str
    shard: str
    waiting: Sequence[Sequence[int]]
    missing: Sequence[int]
    warnings: Sequence[str]

    @property
    def keys(self) -> list[str]:
        """Its files in the store."""
        return [self.state, self.shard]


@dataclass(slots=True)
class Course:
    """A chunk between two batches of frames, `index` the processed frame that comes next.

    `kept` are the unit's checkpoints, the last one first. `is_whole` is false once frames went in
    whose results will not come.
    """

    index: int
    waiting: deque[Place]
    found: list[ShardFrame] = field(default_factory=list)
    missing: list[int] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    kept: list[Checkpoint] = field(default_factory=list)
    is_whole: bool = True
    _kept_at: float = field(default_factory=time.monotonic)

    def enter(self, frames: Sequence[VideoFrame]) -> None:
        """These frames went in; their results come now or later."""
        self.waiting.extend((frame.index, frame.source_index, frame.pts) for frame in frames)
        if frames:
            self.index = frames[-1].index + 1

    def leave(self, results: Sequence[FrameResult]) -> None:
        """These results came, of the frames that waited longest."""
        for result in results:
            self.found.append(ShardFrame(*self.waiting.popleft(), result.instances))
            self.warnings += result.warnings

    def write(self, path: Path, picture: Picture) -> FileSum:
        """Writes the shard of what was found so far; returns its sum."""
        with ShardWriter(path, picture.height, picture.width) as shard:
            for frame in self.found:
                shard.write(frame)
        return shard.sum

    def is_due(self, every_s: float) -> bool:
        """Whether the last checkpoint is `every_s` old, or the beginning where there is none."""
        return time.monotonic() - self._kept_at >= every_s

    def keep(self, work: Work, picture: Picture, session: Session) -> None:
        """Commits a checkpoint; the unit's older ones go, all but one.

        Raises `Stopped` where the unit is somebody else's by now, or not wanted any more.
        """
        if self.kept and self.kept[0].index == self.index:
            return
        shard = work.scratch / f"progress-{self.index}"
        check = self.write(shard, picture).check
        files = [
            work.put_bytes(f"state-{self.index}", session.state()),
            work.put(Role.WORK, shard.name, shard, GZIP, check),
        ]
        made = self._checkpoint(files)
        kept = [made, *self.kept][:CHECKPOINTS_KEPT]
        spent = [key for one in self.kept if one not in kept for key in one.keys]
        work.keep({"checkpoints": [asdict(one) for one in kept]}, files, spent)
        self.kept, self._kept_at = kept, time.monotonic()

    def _checkpoint(self, files: Sequence[NewFile]) -> Checkpoint:
        state, shard = (file.store_key for file in files)
        missing = [index for index in self.missing if index < self.index]
        return Checkpoint(
            self.index, state, shard, list(self.waiting), missing, list(self.warnings)
        )


def kept_checkpoints(work: Work) -> list[Checkpoint]:
    """Those of this unit, by whoever held it before, the last one first."""
    progress: Mapping[str, Any] = checkpoint.kept(work.installation, work.claim) or {}
    return [Checkpoint(**one) for one in progress.get("checkpoints", [])]


def resumed(work: Work, kept: Sequence[Checkpoint]) -> Course:
    """The course as it was at the first of the checkpoints.

    Raises `OSError` or `ValueError` where its shard cannot be read.
    """
    last = kept[0]
    return Course(
        last.index,
        deque((index, source_index, pts) for index, source_index, pts in last.waiting),
        list(read_shard(work.local(last.shard))),
        list(last.missing),
        list(last.warnings),
        list(kept),
    )
