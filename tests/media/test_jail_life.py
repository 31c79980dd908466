"""One child for each file, born by a nursery that lives and dies with its worker."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from structlog.testing import capture_logs

from tests.crews import ROOT, until
from visionseg.contract.errors import ErrorCode, Refusal
from workers.media import reading
from workers.media.checkpoints import no_checkpoint
from workers.media.decode import Wanted
from workers.media.jail import parents
from workers.media.jail.confine import Unconfined, Walls
from workers.media.jail.decoding import Decoding, Task
from workers.media.jail.parents import ChildError, Parent
from workers.media.jail.wire import Told
from workers.media.limits import JailMode, Limits
from workers.media.pixels import Form
from workers.media.plan import select_frames

Clip = Callable[[str], Path]
TELL_PROCESS = Task("tests.fakes.hostile:tell_process", ErrorCode.NOT_A_VIDEO)


class Surroundings(Told):
    descriptors: list[int]
    environment: list[str]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "input"
    Image.new("RGB", (8, 8), "red").save(path, "PNG")
    return path


@pytest.fixture
def parent(monkeypatch: pytest.MonkeyPatch) -> Iterator[Parent]:
    """A parent of its own for this test, its nursery not started yet."""
    own = Parent()
    monkeypatch.setattr(parents, "parent", lambda: own)
    yield own
    own.close()


def is_gone(pid: int) -> bool:
    """Whether a process has ended, though nobody may have asked for its status yet."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state in "ZX"


def nursery_of(parent: Parent) -> int:
    pid = parent.nursery_id()
    assert pid is not None
    return pid


def test_each_file_has_a_child_of_its_own_that_is_killed_after_it(file: Path) -> None:
    children = []
    for _ in range(3):
        with Decoding(TELL_PROCESS, file, Limits(), no_checkpoint) as decoding:
            children.append(next(decoding.blocks())[0])
            assert not is_gone(children[-1])
        until(lambda: is_gone(children[-1]))
    assert len(set(children)) == 3


def test_a_picture_is_read_between_two_frames_of_a_video(clip: Clip, file: Path) -> None:
    film = clip("cfr.mp4")
    plan = select_frames(reading.read_timeline(film, Limits()))
    frames = reading.read_frames(film, Wanted(plan, range(40), Form.RGB), Limits(), [])
    for frame in frames:
        if frame.index % 20 == 10:
            assert reading.open_image(file, Limits()).shape == (8, 8, 3)
    assert frame.index == 39


def test_a_child_holds_its_file_its_memory_and_nothing_else_of_the_worker(
    file: Path, parent: Parent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VISIONSEG_KEY_PEPPER", "secret")
    task = Task("tests.fakes.hostile:tell_surroundings", ErrorCode.NOT_A_VIDEO)
    inherited = os.dup(0)
    os.set_inheritable(inherited, True)
    try:
        with Decoding(task, file, Limits(), no_checkpoint) as decoding:
            told = decoding.result(Surroundings)
    finally:
        os.close(inherited)
    standard, answers, source, ring, mapped = 3, 1, 1, 1, 1
    assert len(told.descriptors) == standard + answers + source + ring + mapped
    assert not [name for name in told.environment if name.startswith("VISIONSEG")]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_no_child_outlives_a_worker_that_is_killed(number: signal.Signals, file: Path) -> None:
    program = [sys.executable, "-m", "tests.fakes.jailer", str(file)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(program, cwd=ROOT, env=environment, stdout=subprocess.PIPE) as worker:
        assert worker.stdout is not None
        nursery, child = json.loads(worker.stdout.readline())
        assert not is_gone(nursery)
        assert not is_gone(child)
        worker.send_signal(number)
    until(lambda: is_gone(nursery) and is_gone(child))


def test_a_closed_parent_leaves_no_child(file: Path, parent: Parent) -> None:
    with Decoding(TELL_PROCESS, file, Limits(), no_checkpoint) as decoding:
        child, _ = next(decoding.blocks())
        nursery = nursery_of(parent)
        parent.close()
        assert is_gone(child)
        assert is_gone(nursery)


def test_a_nursery_that_dies_takes_its_children_along_and_the_next_file_has_a_new_one(
    file: Path, parent: Parent
) -> None:
    with Decoding(TELL_PROCESS, file, Limits(), no_checkpoint) as decoding:
        blocks = decoding.blocks()
        child, _ = next(blocks)
        nursery = nursery_of(parent)
        os.kill(nursery, signal.SIGKILL)
        with pytest.raises(Refusal) as caught:
            next(blocks)
    assert caught.value.kind.retryable
    until(lambda: is_gone(child))
    assert (reading.open_image(file, Limits()) == (255, 0, 0)).all()
    assert nursery_of(parent) != nursery


def test_a_nursery_heeds_no_signal_to_its_group_and_has_one_thread(
    file: Path, parent: Parent
) -> None:
    reading.open_image(file, Limits())
    nursery = nursery_of(parent)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(nursery, number)
    reading.open_image(file, Limits())
    assert nursery_of(parent) == nursery
    assert len(list(Path(f"/proc/{nursery}/task").iterdir())) == 1


def test_a_child_is_there_at_once_when_the_nursery_is_warm(file: Path, parent: Parent) -> None:
    parent.start()
    nursery = nursery_of(parent)
    reading.open_image(file, Limits())
    assert nursery_of(parent) == nursery


def test_a_nursery_that_cannot_start_is_a_fault_of_ours(
    file: Path, parent: Parent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", shutil.which("false"))
    with pytest.raises(ChildError, match="does not start"):
        reading.open_image(file, Limits())


def test_where_walls_are_required_and_missing_no_file_is_read(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.media.jail.confine.offered_walls", lambda: Walls(0, seccomp=True))
    with pytest.raises(Unconfined, match="no Landlock"):
        reading.open_image(file, Limits(jail=JailMode.REQUIRE))


def test_where_walls_are_preferred_a_missing_one_is_told_once(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "offered_walls", lambda: Walls(0, seccomp=True))
    reading._tell_of_missing_walls.cache_clear()
    with capture_logs() as logs:
        for _ in range(2):
            reading.open_image(file, Limits())
    reading._tell_of_missing_walls.cache_clear()
    assert [(line["event"], line["missing"]) for line in logs] == [("jail_incomplete", "Landlock")]


def test_a_large_picture_comes_whole(tmp_path: Path) -> None:
    path = tmp_path / "input"
    noise = np.random.default_rng(7).integers(0, 255, (1200, 1600, 3), np.uint8)
    Image.fromarray(noise).save(path, "PNG", compress_level=1)
    np.testing.assert_array_equal(reading.open_image(path, Limits()), noise)


def test_a_picture_may_fill_the_memory_to_the_last_byte(file: Path) -> None:
    limits = replace(Limits(), image_pixels=64)
    assert reading.open_image(file, limits).shape == (8, 8, 3)
