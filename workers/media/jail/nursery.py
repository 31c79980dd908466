"""The process that bears decoding children: warm, of one thread, and never near a client's bytes.

`python -m workers.media.jail.nursery DESCRIPTOR`. Each message on that socket brings two others:
one for a new child to answer on, and its leash. A child dies when its leash is let go; when it
ends, its leash tells its wait status. All end when the first socket is closed.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import socket
import sys
import traceback
from contextlib import suppress
from typing import NoReturn

from workers.media.jail import child
from workers.media.jail.desk import ParentGone
from workers.media.jail.warm import warm_up

STATUS_BYTES = 4


class Nursery:
    """Forks a child for each pair of sockets that comes over `control`."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._woken, waker = socket.socketpair()
        self._sockets = [control, self._woken, waker]
        for side in (self._woken, waker):
            side.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
        self._leashes: dict[int, socket.socket] = {}

    def run(self) -> None:
        """Returns when `control` is closed."""
        while True:
            poll = select.poll()
            for watched in (self._control, self._woken, *self._leashes.values()):
                poll.register(watched, select.POLLIN)
            ready = {descriptor for descriptor, _ in poll.poll()}
            for pid, leash in self._leashes.items():
                if leash.fileno() in ready:
                    os.kill(pid, signal.SIGKILL)
            if self._woken.fileno() in ready:
                self._bury()
            if self._control.fileno() in ready and not self._bear():
                return self._end()

    def _bear(self) -> bool:
        message, descriptors, _, _ = socket.recv_fds(self._control, 16, 2)
        if not message:
            return False
        answers, leash = (socket.socket(fileno=descriptor) for descriptor in descriptors)
        starter = os.getpid()
        with answers:
            try:
                pid = os.fork()
            except OSError:  # no memory, no process: a leash let go without a status says so
                leash.close()
                return True
            if pid == 0:
                self._become_child(answers, leash, starter)
        self._leashes[pid] = leash
        return True

    def _become_child(self, answers: socket.socket, leash: socket.socket, starter: int) -> NoReturn:
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for other in (*self._sockets, *self._leashes.values(), leash):
                other.close()
            child.serve(answers, starter)
        except ParentGone:
            os._exit(0)
        except BaseException:  # noqa: BLE001 - nothing may return into the nursery's loop
            traceback.print_exc()
            os._exit(1)
        os._exit(0)

    def _end(self) -> None:
        for pid in self._leashes:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)

    def _bury(self) -> None:
        with suppress(BlockingIOError):
            self._woken.recv(4096)
        while self._leashes:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            with self._leashes.pop(pid) as leash, suppress(OSError):
                leash.send(status.to_bytes(STATUS_BYTES, "little"))


def main() -> None:
    """Runs a nursery until its starter is gone; only that ends it, no signal to the group does."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    control = socket.socket(fileno=int(sys.argv[1]))
    warm_up()
    gc.freeze()
    Nursery(control).run()


if __name__ == "__main__":
    main()
