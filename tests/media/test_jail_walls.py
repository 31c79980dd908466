"""What a jailed decoder cannot do: every deed is seen to succeed first where no wall stands."""

from __future__ import annotations

import ctypes
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.fakes.prisoners import DEEDS
from visionseg.config import Limits as ServiceLimits
from visionseg.config import Settings
from visionseg.contract.errors import ErrorCode, Refusal
from workers import __main__ as program
from workers.media.checkpoints import no_checkpoint
from workers.media.jail.confine import Unconfined, Walls, insist_on_walls, offered_walls
from workers.media.jail.decoding import Decoding, Task
from workers.media.jail.syscalls import MACHINES
from workers.media.jail.wire import Told
from workers.media.limits import Limits

ROOT = Path(__file__).parents[2]
DENIED, KILLED, DONE = "PermissionError", "killed", "done"
SCOPED_SIGNALS, CLOSED_PORTS = 6, 4  # since these versions of Landlock
FOR_ROOT = {"change_root"}
ONE_WALL_EACH = {
    "read_file": (DENIED, DENIED),
    "list_folder": (DENIED, DENIED),
    "look_up": (DONE, DENIED),
    "write_file": (DENIED, DENIED),
    "append_to_file": (DENIED, DENIED),
    "delete_file": (DENIED, DENIED),
    "make_folder": (DENIED, DENIED),
    "read_parents_environment": (DENIED, DENIED),
    "connect": (DENIED, KILLED),
    "connect_locally": (DONE, KILLED),
    "listen": (DENIED, KILLED),
    "run_program": (DENIED, KILLED),
    "fork": (DONE, DENIED),
    "change_root": (DENIED, DENIED),
    "trace_parent": (DENIED, KILLED),
    "signal_parent": (DENIED, DENIED),
    "signal_parents_thread": (DENIED, DENIED),
    "turn_data_into_code": (DONE, DENIED),
    "make_code": (DONE, DENIED),
    "make_memory_file": (DONE, DENIED),
    "loosen_limits": ("ValueError", "ValueError"),
    "outlive_parent": (DONE, DENIED),
}
"""What Landlock alone and the filter of calls alone make of each deed."""

needs_walls = pytest.mark.skipif(
    bool(offered_walls().missing) or offered_walls().landlock < SCOPED_SIGNALS,
    reason="this kernel lacks Landlock 6 or seccomp",
)


class Outcome(Told):
    outcome: str


@contextmanager
def _place(around: Path) -> Iterator[Path]:
    """A folder named after an open port, with a secret and a local socket in it."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_UNIX) as door:
        folder = around / str(server.getsockname()[1])
        folder.mkdir()
        (folder / "secret").write_text("secret")
        door.bind(str(folder / "door"))
        door.listen()
        yield folder


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Mapping[str, str]]:
    """What becomes of each deed without walls and behind each one alone."""
    with _place(tmp_path_factory.mktemp("alone")) as place:
        return {walls: _tried(walls, place) for walls in ("none", "landlock", "seccomp")}


def _tried(walls: str, place: Path) -> Mapping[str, str]:
    with suppress(FileNotFoundError):
        (place / "folder").rmdir()
    tried = subprocess.run(
        [sys.executable, "-m", "tests.fakes.prisoners", walls, str(place)],
        cwd=ROOT,
        env={"PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        check=True,
    )
    outcomes: Mapping[str, str] = json.loads(tried.stdout)
    return outcomes


def jailed(deed: str, place: Path) -> str:
    task = Task(
        "tests.fakes.prisoners:attempt",
        ErrorCode.NOT_A_VIDEO,
        arguments={"deed": deed, "place": str(place)},
    )
    with Decoding(task, place / "secret", Limits(), no_checkpoint) as decoding:
        try:
            return decoding.result(Outcome).outcome
        except Refusal:
            return KILLED


def test_every_deed_is_tried() -> None:
    assert set(ONE_WALL_EACH) == set(DEEDS)


@needs_walls
@pytest.mark.parametrize("deed", ONE_WALL_EACH)
def test_a_deed_succeeds_without_walls_and_fails_at_each_and_in_the_jail(
    deed: str, alone: Mapping[str, Mapping[str, str]], tmp_path: Path
) -> None:
    by_landlock, by_filter = ONE_WALL_EACH[deed]
    if deed not in FOR_ROOT or os.geteuid() == 0:
        assert alone["none"][deed] == DONE
    assert alone["landlock"][deed] == by_landlock
    assert alone["seccomp"][deed] == by_filter
    with _place(tmp_path) as place:
        assert jailed(deed, place) == by_filter


@pytest.mark.parametrize(
    ("walls", "named"),
    [
        (Walls(0, seccomp=True), "no Landlock$"),
        (Walls(7, seccomp=False), "no seccomp$"),
        (Walls(0, seccomp=False), "no Landlock and no seccomp$"),
    ],
)
def test_missing_walls_are_named(walls: Walls, named: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.media.jail.confine.offered_walls", lambda: walls)
    with pytest.raises(Unconfined, match=named):
        insist_on_walls()


def test_a_worker_does_not_start_without_the_walls_that_are_required(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = Settings(limits=ServiceLimits(jail="require"))
    monkeypatch.setattr(program, "read_settings", lambda: settings)
    monkeypatch.setattr("workers.media.jail.confine.offered_walls", lambda: Walls(0, seccomp=True))
    started = CliRunner().invoke(program.main, ["--lanes", "media"])
    assert started.exit_code == 1
    assert "VISIONSEG_JAIL is `require`, but this system has no Landlock" in started.output


@pytest.mark.parametrize("name", MACHINES)
def test_the_numbers_of_system_calls_are_those_of_libseccomp(name: str) -> None:
    try:
        library = ctypes.CDLL("libseccomp.so.2")
    except OSError:
        pytest.skip("libseccomp is not installed")
    machine = MACHINES[name]
    for call, number in machine.numbers.items():
        resolve = library.seccomp_syscall_resolve_name_arch
        assert resolve(ctypes.c_uint32(machine.audit_arch), call.encode()) == number, call
