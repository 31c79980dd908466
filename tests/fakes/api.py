"""`python -m tests.fakes.api`: the real API program, on a disk that can be full."""

from __future__ import annotations

from api.app import main
from tests.fakes import disks
from visionseg.telemetry.logs import set_up_logs

if __name__ == "__main__":
    disks.install()
    set_up_logs()
    main()
