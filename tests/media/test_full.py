"""A disk that fills up while a file is written: every writer says so, and leaves nothing."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from visionseg.artifacts.store import is_full
from workers.media.archive import write_zip
from workers.media.coco import write_coco
from workers.media.encode import PieceWriter
from workers.media.plan import FramePlan, Picture
from workers.media.shards import ShardFrame, ShardWriter

FRAMES = 20_000
PLAN = FramePlan(
    pts=np.arange(FRAMES, dtype=np.int64),
    source_index=np.arange(FRAMES, dtype=np.int64),
    origin=0,
    time_base=Fraction(1, 25),
    rate=Fraction(25),
    picture=Picture(64, 48, 0, Fraction(1), 1, 2, 2, tone_mapped=False),
    seekable=True,
    has_audio=False,
)


def _write_piece(path: Path) -> None:
    noise = np.random.default_rng(0)
    with PieceWriter(path, PLAN) as writer:
        for number in range(100):
            writer.write(noise.integers(0, 255, (72, 64)).astype(np.uint8), number)


def _write_zip(path: Path) -> None:
    with write_zip(path) as archive:
        archive.add("a", bytes(1_000_000))


def _write_shard(path: Path) -> None:
    with ShardWriter(path, 48, 64) as shard:
        for number in range(FRAMES):
            shard.write(ShardFrame(number, number, number, ()))


def _write_coco(path: Path) -> None:
    write_coco(path, PLAN, [], [])


@pytest.mark.parametrize("write", [_write_piece, _write_zip, _write_shard, _write_coco])
def test_a_disk_that_fills_up_is_told_as_such(
    write: Callable[[Path], None], tmp_path: Path
) -> None:
    (tmp_path / ".result.part").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left") as told:
        write(tmp_path / "result")
    assert is_full(told.value)
    assert not list(tmp_path.iterdir())
