"""What a decoder in hostile hands would try; each deed is real, and done where nothing stops it.

`python -m tests.fakes.prisoners WALLS PLACE` tries each behind those walls (`none`, `landlock`,
`seccomp`) and prints what became of it. The place is a folder whose name is a port on which
someone listens.
"""

from __future__ import annotations

import ctypes
import json
import mmap
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from workers.media.jail.confine import Allowance, Walls, confine, offered_walls
from workers.media.jail.desk import Desk
from workers.media.jail.syscalls import this_machine

PTRACE_ATTACH, PTRACE_DETACH = 16, 17
PLENTY = 1 << 40
EXIT_CODES = {"done": 0, "PermissionError": 13, "OSError": 1, "ValueError": 2}
NAMES = {code: name for name, code in EXIT_CODES.items()}


def _called(status: int) -> None:
    if status < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def read_file(place: Path) -> None:
    assert (place / "secret").read_text() == "secret"


def list_folder(place: Path) -> None:
    assert os.listdir(place)  # noqa: PTH208 - the system call is what counts


def look_up(place: Path) -> None:
    assert (place / "secret").stat().st_size == 6


def write_file(place: Path) -> None:
    (place / "new").write_text("here I was")


def append_to_file(place: Path) -> None:
    with (place / "secret").open("ab") as file:
        file.write(b"!")


def delete_file(place: Path) -> None:
    (place / "secret").unlink()


def make_folder(place: Path) -> None:
    (place / "folder").mkdir()


def read_parents_environment(_: Path) -> None:
    assert Path(f"/proc/{os.getppid()}/environ").read_bytes()


def connect(place: Path) -> None:
    with socket.socket() as client:
        client.connect(("127.0.0.1", int(place.name)))


def connect_locally(place: Path) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(place / "door"))


def listen(_: Path) -> None:
    socket.create_server(("127.0.0.1", 0)).close()


def run_program(_: Path) -> None:
    os.execv("/bin/sh", ["sh", "-c", "exit 0"])  # noqa: S606 - it is the deed


def fork(_: Path) -> None:
    if os.fork() == 0:
        os._exit(0)


def change_root(place: Path) -> None:
    os.chroot(place)


def trace_parent(_: Path) -> None:
    _called(_libc().ptrace(PTRACE_ATTACH, os.getppid(), None, None))
    os.waitpid(os.getppid(), 0x4000_0000)
    _called(_libc().ptrace(PTRACE_DETACH, os.getppid(), None, None))


def signal_parent(_: Path) -> None:
    os.kill(os.getppid(), 0)


def signal_parents_thread(_: Path) -> None:
    machine, parent = this_machine(), os.getppid()
    assert machine is not None
    _called(_libc().syscall(machine.numbers["tgkill"], parent, parent, 0))


def make_code(_: Path) -> None:
    mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)


def turn_data_into_code(_: Path) -> None:
    page = mmap.mmap(-1, mmap.PAGESIZE)
    address = ctypes.addressof(ctypes.c_char.from_buffer(page))
    reading_and_running = ctypes.c_int(mmap.PROT_READ | mmap.PROT_EXEC)
    _called(_libc().mprotect(ctypes.c_void_p(address), mmap.PAGESIZE, reading_and_running))


def make_memory_file(_: Path) -> None:
    os.close(os.memfd_create("more"))


def loosen_limits(_: Path) -> None:
    one_more_than_inside = 65
    resource.setrlimit(resource.RLIMIT_NOFILE, (one_more_than_inside, one_more_than_inside))


def outlive_parent(_: Path) -> None:
    _called(_libc().prctl(1, 0, 0, 0, 0))


DEEDS: Mapping[str, Callable[[Path], None]] = {
    deed.__name__: deed
    for deed in (
        *(read_file, list_folder, look_up, write_file, append_to_file, delete_file, make_folder),
        *(read_parents_environment, connect, connect_locally, listen, run_program, fork),
        *(trace_parent, signal_parent, signal_parents_thread, outlive_parent, change_root),
        *(make_code, turn_data_into_code, make_memory_file, loosen_limits),
    )
}


def attempt(desk: Desk) -> Mapping[str, str]:
    """The task of a jailed child that tries a deed."""
    return {"outcome": outcome(desk.arguments["deed"], Path(desk.arguments["place"]))}


def outcome(deed: str, place: Path) -> str:
    try:
        DEEDS[deed](place)
    except (OSError, ValueError) as error:
        return type(error).__name__
    return "done"


def outcomes(walls: str, place: Path) -> dict[str, str]:
    """What becomes of each deed, tried by a process of its own behind those walls."""
    return {deed: _alone(walls, deed, place) for deed in DEEDS}


def _alone(walls: str, deed: str, place: Path) -> str:
    (place / "secret").write_text("secret")
    pid = os.fork()
    if pid == 0:
        _raise(walls)
        os._exit(EXIT_CODES[outcome(deed, place)])
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    return "killed" if code == -signal.SIGSYS else NAMES.get(code, str(code))


def _raise(walls: str) -> None:
    offered = offered_walls()
    raised = {
        "none": None,
        "landlock": replace(offered, seccomp=False),
        "seccomp": Walls(0, seccomp=True),
    }[walls]
    if raised is not None:
        confine(Allowance(memory_bytes=PLENTY, cpu_s=600), raised)


if __name__ == "__main__":
    json.dump(outcomes(sys.argv[1], Path(sys.argv[2])), sys.stdout)
