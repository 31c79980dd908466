"""The worker's side of the nursery: started when first needed, and again if it dies."""

from __future__ import annotations

import atexit
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from functools import cache

STATUS_WAIT_S = 20.0
GOODBYE_S = 5.0
NO_NURSERY = "the nursery of decoders does not start; its error output says why"


class ChildError(RuntimeError):
    """A fault of ours inside the child, or no child at all."""


class Parent:
    """Has children born, one for each file, by one nursery process.

    The nursery takes none of this process's environment, which holds secrets, nor of its open
    files. It ends with this process, however that ends, and its children with it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._nursery: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None

    def bear(self) -> tuple[socket.socket, socket.socket]:
        """A socket to a new child, and its leash: closing that kills it.

        Raises `ChildError` where no nursery stays alive.
        """
        answers, for_child = socket.socketpair()
        leash, for_nursery = socket.socketpair()
        with for_child, for_nursery, self._lock, ExitStack() as unused:
            unused.enter_context(answers)
            unused.enter_context(leash)
            descriptors = [for_child.fileno(), for_nursery.fileno()]
            try:
                self._ask(descriptors)
            except OSError:
                self._close()
                self._ask_again(descriptors)
            unused.pop_all()
        return answers, leash

    def start(self) -> None:
        """Starts the nursery, so that it is warm when the first file comes."""
        with self._lock:
            self._open_control()

    def nursery_id(self) -> int | None:
        """The nursery's process id, None where none was started."""
        return self._nursery.pid if self._nursery else None

    def failed(self) -> bool:
        """Whether the nursery ended by itself, which it does where it cannot start."""
        if self._nursery is None:
            return False
        with suppress(subprocess.TimeoutExpired):
            self._nursery.wait(GOODBYE_S)
        return (self._nursery.returncode or 0) > 0

    def close(self) -> None:
        """Ends the nursery and all its children."""
        with self._lock:
            self._close()

    def _ask(self, descriptors: Sequence[int]) -> None:
        socket.send_fds(self._open_control(), [b"child"], descriptors)

    def _ask_again(self, descriptors: Sequence[int]) -> None:
        try:
            self._ask(descriptors)
        except OSError as error:
            raise ChildError(NO_NURSERY) from error

    def _open_control(self) -> socket.socket:
        if self._control is None:
            self._control, theirs = socket.socketpair(type=socket.SOCK_SEQPACKET)
            with theirs:
                self._nursery = _start(theirs)
        return self._control

    def _close(self) -> None:
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._nursery is not None:
            try:
                self._nursery.wait(GOODBYE_S)
            except subprocess.TimeoutExpired:
                self._nursery.kill()
                self._nursery.wait()
            self._nursery = None


@cache
def parent() -> Parent:
    """This process's own."""
    only = Parent()
    atexit.register(only.close)
    return only


def _start(control: socket.socket) -> subprocess.Popen[bytes]:
    descriptor = control.fileno()
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "workers.media.jail.nursery", str(descriptor)],
        env={
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
            "LC_CTYPE": "C.UTF-8",
            "MALLOC_ARENA_MAX": "2",  # each arena takes 64 MiB of the address space
            "OPENBLAS_NUM_THREADS": "1",  # the nursery forks, so it may have one thread only
            "OMP_NUM_THREADS": "1",
        },
        pass_fds=(descriptor,),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
