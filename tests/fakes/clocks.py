"""A wall clock that is wrong.

It covers `time.time` and `time.time_ns`, which Celery, Kombu and the service ask; not the clocks
that are read in C: `datetime.now`, OpenSSL's, and the kernel's times of files. So a process with
it is one whose files lie on another machine, which has the right time.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

CLOCK_VARIABLE = "VISIONSEG_TEST_CLOCK_S"
"""How wrong the clock of a worker program is."""


@contextmanager
def shifted(by_s: float) -> Iterator[None]:
    """In this process the clock is so many seconds fast, or slow if negative."""
    seconds, nanoseconds = time.time, time.time_ns
    time.time = lambda: seconds() + by_s
    time.time_ns = lambda: nanoseconds() + int(by_s * 1e9)
    try:
        yield
    finally:
        time.time, time.time_ns = seconds, nanoseconds
