"""The pulse of processes: frozen ones are told, living and dead ones are not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.crews import until
from workers.pulse import Pulses

PROGRAM = """
import sys, time
from pathlib import Path
from workers.pulse import show_pulse
show_pulse(Path(sys.argv[1]))
time.sleep(600)
"""


@pytest.fixture
def pulses() -> Iterator[Pulses]:
    made = Pulses()
    yield made
    made.close()


@contextmanager
def _process(pulses: Pulses) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen((sys.executable, "-c", PROGRAM, str(pulses.folder)))
    try:
        until((pulses.folder / str(process.pid)).exists)
        yield process
    finally:
        process.kill()
        process.wait()


def test_only_a_process_in_which_nothing_runs_is_silent_and_is_told_once(pulses: Pulses) -> None:
    with _process(pulses) as frozen, _process(pulses):
        os.kill(frozen.pid, signal.SIGSTOP)
        told: list[int] = []

        def look() -> bool:
            told.extend(pulses.silent(3))
            return bool(told)

        until(look)
        for _ in range(20):
            look()
        assert told == [frozen.pid]


def test_a_process_that_ended_is_forgotten_whoever_has_its_id_now(pulses: Pulses) -> None:
    with _process(pulses) as process:
        assert pulses.silent(0) == []
        process.kill()
        process.wait()
        for _ in range(5):
            assert pulses.silent(0) == []
        assert not (pulses.folder / str(process.pid)).exists()


def test_a_process_shows_no_pulse_after_its_parent_and_takes_the_folder_away() -> None:
    script = "import subprocess, sys; subprocess.Popen(sys.argv[1:]); input()"
    pulses = Pulses()
    command = (sys.executable, "-c", script, sys.executable, "-c", PROGRAM, str(pulses.folder))
    with subprocess.Popen(command, stdin=subprocess.PIPE) as parent:
        until(lambda: any(pulses.folder.glob("[0-9]*[0-9]")))
        child = int(next(pulses.folder.glob("[0-9]*[0-9]")).name)
        parent.kill()
    until(lambda: not pulses.folder.exists())
    os.kill(child, signal.SIGKILL)
