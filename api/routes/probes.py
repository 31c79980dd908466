"""Whether the process lives, and whether it can do its work."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import structlog
from fastapi import APIRouter, Request
from sqlalchemy import Connection
from starlette.responses import JSONResponse, Response

from api import problems
from api.service import service_of
from visionseg.contract.errors import ErrorCode, Problem, Refusal
from visionseg.predictions.engines import served
from visionseg.predictions.installation import Installation
from visionseg.queue.lanes import OPTIONAL_LANES, Lane
from visionseg.records import workers
from visionseg.records.engine import DATABASE_AWAY
from visionseg.records.schema import current_revision, fits, newest_revision

log = structlog.get_logger(__name__)
router = APIRouter(tags=["probes"])
NO_STORE = {"Cache-Control": "no-store"}


@router.get("/healthz", response_model=None, responses={200: {"description": "It lives"}})
@router.head("/healthz", response_model=None, include_in_schema=False)
async def healthz() -> Response:
    """Whether the process answers at all; asks nothing else."""
    return JSONResponse({"status": "ok"}, headers=NO_STORE)


@router.get("/readyz", response_model=None, responses={200: {"description": "It can work"}})
@router.head("/readyz", response_model=None, include_in_schema=False)
def readyz(request: Request) -> Response:
    """503 without database, file store or the newest schema; `degraded` tells what else is away.

    A missing broker or worker refuses nothing: predictions are accepted and wait.
    """
    installation = service_of(request).installation
    alive: Counter[str] = Counter()
    checks: dict[str, Callable[[], str | None]] = {
        "database": lambda: _database_fault(installation, alive),
        "store": lambda: _store_fault(installation),
    }
    faults = {name: fault for name, check in checks.items() if (fault := check())}
    if faults:
        found = tuple(Problem(f"/{name}", fault) for name, fault in faults.items())
        headers = problems.unavailable().headers
        refusal = Refusal(ErrorCode.SERVICE_UNAVAILABLE, problems=found, headers=headers)
        return problems.answer(request, refusal)
    return JSONResponse(_state(installation, alive), headers=NO_STORE)


def _state(installation: Installation, alive: Counter[str]) -> dict[str, Any]:
    broker = installation.notices.reachable()
    by_lane = {lane.value: alive[lane] for lane in Lane}
    degraded = [] if broker else ["broker"]
    needed = [lane for lane in Lane if lane not in OPTIONAL_LANES]
    degraded += [f"workers:{lane}" for lane in needed if not by_lane[lane]]
    models = served(installation.settings.models)
    degraded += [f"model:{model}" for model in models if not alive[model]]
    return {"status": "degraded" if degraded else "ok", "degraded": degraded, "workers": by_lane}


def _database_fault(installation: Installation, alive: Counter[str]) -> str | None:
    try:
        with installation.database.connect() as connection:
            if fault := _schema_fault(connection):
                return fault
            for worker in workers.alive(connection):
                alive.update((*worker.lanes, *worker.engines))
    except DATABASE_AWAY as error:
        log.warning("not_ready", error=str(error))
        return "the database cannot be reached"
    return None


def _schema_fault(connection: Connection) -> str | None:
    found = current_revision(connection)
    if fits(found):
        return None
    return f"the schema is at revision {found}, not {newest_revision()}: run `visionseg migrate`"


def _store_fault(installation: Installation) -> str | None:
    try:
        installation.store.now()
    except OSError as error:
        log.warning("not_ready", error=str(error))
        return "the file store cannot be written"
    return None
