"""`python -m tests.fakes.api`: the real API program, on a disk that can be full; it may die at its
first hint.
"""

from __future__ import annotations

import os
import signal

from api.app import main
from tests.fakes import disks
from visionseg.queue.hints import Hints
from visionseg.queue.lanes import Lane
from visionseg.telemetry.logs import set_up_logs

DIE_VARIABLE = "VISIONSEG_TEST_DIES_AT_HINT"


def _die(_hints: Hints, _lane: Lane, times: int = 1) -> None:
    if times:
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    disks.install()
    set_up_logs()
    if os.environ.get(DIE_VARIABLE):
        # The commit is made then, and the hint is not sent.
        Hints.wake = _die  # type: ignore[method-assign, assignment]  # it is a function
    main()
