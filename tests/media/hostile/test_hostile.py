"""Hostile files, each through the jail: refused with its code or read within the limits.

None of them reaches another file or the network, and the worker reads on.
"""

from __future__ import annotations

import ctypes
import os
import random
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.media.hostile.cases import READ, Around, Case
from tests.media.hostile.films import FILMS
from tests.media.hostile.scripts import SCRIPTS
from tests.media.hostile.seeds import FILMS as FILM_SEEDS
from tests.media.hostile.seeds import STILLS as STILL_KINDS
from tests.media.hostile.seeds import make_seeds
from tests.media.hostile.stills import STILLS
from visionseg.contract.errors import ErrorCode, Refusal
from workers.media.audio import NoSound
from workers.media.decode import Wanted
from workers.media.jail import parents
from workers.media.limits import Limits
from workers.media.pixels import Form
from workers.media.plan import select_frames
from workers.media.reading import cut_audio, open_image, read_frames, read_timeline, warm_up

LIMITS = Limits(stall_s=20)
FRAMES = 30
FILM_CODES = {ErrorCode.NOT_A_VIDEO, ErrorCode.INPUT_TOO_LARGE, ErrorCode.VIDEO_TOO_LONG}
STILL_CODES = {ErrorCode.NOT_AN_IMAGE, ErrorCode.INPUT_TOO_LARGE}
_IN_OPEN = 0x20


class Watch:
    """Tells whether a file was opened by anyone (inotify)."""

    def __init__(self, path: Path) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._events = self._libc.inotify_init1(os.O_NONBLOCK)
        assert self._libc.inotify_add_watch(self._events, bytes(path), _IN_OPEN) >= 0

    def opened(self) -> bool:
        """Whether it was, since the last question."""
        try:
            return bool(os.read(self._events, 4096))
        except BlockingIOError:
            return False

    def close(self) -> None:
        os.close(self._events)


@pytest.fixture(scope="module")
def around(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Around]:
    folder = tmp_path_factory.mktemp("hostile")
    seeds = make_seeds(tmp_path_factory.mktemp("seeds"))
    secret = folder / "secret.mp4"
    secret.write_bytes(seeds["film.mp4"])
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield Around(seeds, secret, server.getsockname()[1])
        with pytest.raises(BlockingIOError):
            server.accept()


@pytest.fixture
def secret(around: Around) -> Iterator[Watch]:
    watch = Watch(around.secret)
    yield watch
    assert not watch.opened()
    watch.close()


@pytest.fixture
def place(around: Around) -> Iterator[Path]:
    """Where a hostile file is laid: beside the secret one."""
    path = around.secret.with_name("input.mp4")
    yield path
    path.unlink()


def film_outcome(path: Path) -> str:
    """Reads a film as the jobs do: its timeline, its first frames, its sound."""
    try:
        plan = select_frames(read_timeline(path, LIMITS), max_frames=FRAMES)
        wanted, missing = Wanted(plan, range(len(plan)), Form.PLANES), list[int]()
        for frame in read_frames(path, wanted, LIMITS, missing):
            assert frame.pixels.shape == Form.PLANES.shape(plan.picture)
        sound = path.with_name("sound.mp4")
        try:
            cut_audio(path, sound, plan, LIMITS)
            sound.unlink()
        except NoSound:
            pass
    except Refusal as refusal:
        return refusal.code
    return READ


def still_outcome(path: Path) -> str:
    try:
        picture = open_image(path, LIMITS)
    except Refusal as refusal:
        return refusal.code
    assert 0 < picture.size <= 3 * LIMITS.image_pixels
    return READ


def check_worker(around: Around, place: Path) -> None:
    """The worker reads on, by the nursery that it had."""
    nursery = parents.parent().nursery_id()
    place.write_bytes(around.seeds["PNG"])
    assert still_outcome(place) == READ
    assert parents.parent().nursery_id() == nursery


CASES: dict[str, tuple[Case, Callable[[Path], str]]] = {
    **{f"script: {name}": (one, film_outcome) for name, one in SCRIPTS.items()},
    **{f"film: {name}": (one, film_outcome) for name, one in FILMS.items()},
    **{f"still: {name}": (one, still_outcome) for name, one in STILLS.items()},
}


@pytest.mark.parametrize("name", CASES)
def test_a_hostile_file_is_refused_or_read_within_the_limits(
    name: str, around: Around, place: Path, secret: Watch
) -> None:
    hostile, outcome = CASES[name]
    place.write_bytes(hostile.make(around))
    assert outcome(place) in hostile.outcomes
    check_worker(around, place)


SEEDS = [*FILM_SEEDS, *STILL_KINDS]
CUTS, FLIPS, MANY = 5, 10, 100


def check_damaged(data: bytes, place: Path, seed: str) -> None:
    place.write_bytes(data)
    if seed in STILL_KINDS:
        assert still_outcome(place) in {READ, *STILL_CODES}
    else:
        assert film_outcome(place) in {READ, *FILM_CODES}


def flipped(data: bytes, deal: random.Random) -> bytes:
    """The file with one to eight bytes changed, most often near its start, where its tables are."""
    damaged = bytearray(data)
    for _ in range(deal.randint(1, 8)):
        reach = deal.choice((64, 512, len(data)))
        damaged[deal.randrange(min(reach, len(data)))] = deal.randrange(256)
    return bytes(damaged)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_file_cut_off_anywhere_is_refused_or_read_to_the_cut(
    seed: str, around: Around, place: Path
) -> None:
    whole = around.seeds[seed]
    for cut in range(CUTS):
        check_damaged(whole[: len(whole) * (2 * cut + 1) // (2 * CUTS)], place, seed)
    check_worker(around, place)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_damaged_file_is_refused_or_read(seed: str, around: Around, place: Path) -> None:
    deal = random.Random(seed)
    for _ in range(FLIPS):
        check_damaged(flipped(around.seeds[seed], deal), place, seed)
    check_worker(around, place)


@pytest.mark.long
@pytest.mark.parametrize("seed", SEEDS)
def test_hundreds_of_damaged_files_are_refused_or_read(
    seed: str, around: Around, place: Path
) -> None:
    deal, whole = random.Random(f"long {seed}"), around.seeds[seed]
    for number in range(MANY):
        check_damaged(flipped(whole, deal), place, seed)
        check_damaged(whole[: len(whole) * number // MANY], place, seed)
    check_worker(around, place)


@pytest.mark.long
def test_the_time_of_each_refusal_is_told(
    around: Around, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In milliseconds, the quicker of two, with a warm nursery; the slowest first."""
    warm_up(LIMITS.jail)
    taken: list[tuple[float, str, str]] = []
    for name, (hostile, outcome) in CASES.items():
        place.write_bytes(hostile.make(around))
        times = [timed(outcome, place) for _ in range(2)]
        taken.append((min(times)[0], name, times[0][1]))
    refused = sorted(one for one in taken if one[2] != READ)
    with capsys.disabled():
        sys.stdout.write(f"\n{len(refused)} refused, {len(taken) - len(refused)} read\n")
        for time_s, name, code in reversed(refused):
            sys.stdout.write(f"{1000 * time_s:7.0f} ms  {code:16} {name}\n")


def timed(outcome: Callable[[Path], str], path: Path) -> tuple[float, str]:
    begun = time.monotonic()
    became = outcome(path)
    return time.monotonic() - begun, became
