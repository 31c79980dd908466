"""`python -m api`: the HTTP API in the foreground."""

from __future__ import annotations

from api.app import main
from visionseg.telemetry.logs import set_up_logs

if __name__ == "__main__":
    set_up_logs()
    main()
