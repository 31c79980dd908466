"""Routes of operators (scope `admin`): keys, workers, queues, the audit log."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from sqlalchemy import Row
from starlette.responses import Response

from api import answers
from api.audits import note
from api.guards import OperatorCaller
from api.service import service_of
from visionseg.access import keys as access
from visionseg.access.keys import Bounds
from visionseg.access.scopes import Scope
from visionseg.contract.errors import ErrorCode, Refusal
from visionseg.contract.ids import KeyId, WorkerId
from visionseg.contract.operating import (
    Action,
    Entry,
    EntryList,
    FreshKey,
    Key,
    KeyList,
    NewKey,
    Queue,
    QueueList,
    Rotation,
    Worker,
    WorkerList,
)
from visionseg.queue.lanes import Lane
from visionseg.records import audit, keys, turns, workers

router = APIRouter(tags=["operating"], prefix="/v1/admin")
Answers = dict[int | str, dict[str, Any]]
FRESH: Answers = {201: {"model": FreshKey, "description": "The key, its secret told this once"}}
Id = Annotated[str, Path(max_length=100, pattern=r"^\w+$", description="`id` in the list")]
Before = Annotated[int | None, Query(ge=1, le=2**63 - 1, description="Lines older than this one")]
Limit = Annotated[int, Query(ge=1, le=1000)]


@router.get("/keys", response_model=None, responses={200: {"model": KeyList, "description": "All"}})
def list_keys(request: Request, _caller: OperatorCaller) -> Response:
    """The keys of every organisation; no secrets."""
    with service_of(request).installation.database.connect() as connection:
        rows = keys.list_all(connection)
    return answers.as_json(KeyList(results=[Key(**_told(row)) for row in rows]))


@router.post("/keys", status_code=201, response_model=None, responses=FRESH)
def create_key(request: Request, caller: OperatorCaller, wanted: NewKey) -> Response:
    """Makes a key and tells its secret: this once, never again."""
    installation = service_of(request).installation
    organisation = wanted.organisation
    if organisation is None:
        with installation.database.connect() as connection:
            organisation = keys.name_of(connection, caller.organisation_id)
    note(request, caller, Action.KEY_CREATED, f"{wanted.name} of {organisation}")
    bounds = Bounds(
        **wanted.model_dump(include={"expires_in_s", "keep_s", "max_open", "max_running", "weight"})
    )
    made = access.create(
        installation.database,
        installation.settings.http.key_pepper.get_secret_value(),
        wanted.name,
        {Scope(scope) for scope in wanted.scopes},
        organisation,
        bounds,
    )
    return _fresh(request, made)


@router.get(
    "/keys/{key_id}",
    response_model=None,
    responses={200: {"model": Key, "description": "The key"}},
)
def read_key(request: Request, _caller: OperatorCaller, key_id: Id) -> Response:
    """What is known of a key."""
    return answers.as_json(Key(**_told(_found(request, KeyId(key_id)))))


@router.post("/keys/{key_id}/rotate", status_code=201, response_model=None, responses=FRESH)
def rotate_key(request: Request, caller: OperatorCaller, key_id: Id, wanted: Rotation) -> Response:
    """A new secret for the same key; the one so far counts for `overlap_s` more."""
    note(request, caller, Action.KEY_ROTATED, key_id)
    installation = service_of(request).installation
    pepper = installation.settings.http.key_pepper.get_secret_value()
    made = access.rotate(installation.database, pepper, KeyId(key_id), wanted.overlap_s)
    return _fresh(request, made)


@router.delete(
    "/keys/{key_id}",
    response_model=None,
    responses={200: {"model": Key, "description": "The key, revoked"}},
)
def revoke_key(request: Request, caller: OperatorCaller, key_id: Id) -> Response:
    """Ends a key at once, everywhere; its predictions go on, its results stay."""
    note(request, caller, Action.KEY_REVOKED, key_id)
    with service_of(request).installation.database.begin() as connection:
        keys.revoke(connection, KeyId(key_id))
    return answers.as_json(Key(**_told(_found(request, KeyId(key_id)))))


@router.get(
    "/workers",
    response_model=None,
    responses={200: {"model": WorkerList, "description": "The workers"}},
)
def list_workers(request: Request, _caller: OperatorCaller) -> Response:
    """The workers that were seen within the last half minute."""
    with service_of(request).installation.database.connect() as connection:
        rows = workers.alive(connection)
    return answers.as_json(WorkerList(results=[_worker(row) for row in rows]))


@router.post(
    "/workers/{worker_id}/drain",
    response_model=None,
    responses={200: {"model": Worker, "description": "The worker, told to stop"}},
)
def drain_worker(request: Request, caller: OperatorCaller, worker_id: Id) -> Response:
    """Has a worker give its work back and take no more; it hears it within five seconds."""
    note(request, caller, Action.WORKER_DRAINED, worker_id)
    with service_of(request).installation.database.begin() as connection:
        workers.drain(connection, WorkerId(worker_id))
        found = [row for row in workers.alive(connection) if row.id == worker_id]
    if not found:
        raise Refusal(ErrorCode.NOT_FOUND)
    return answers.as_json(_worker(found[0]))


@router.get(
    "/queues",
    response_model=None,
    responses={200: {"model": QueueList, "description": "The lanes"}},
)
def list_queues(request: Request, _caller: OperatorCaller) -> Response:
    """What waits in each lane, and how many workers serve it."""
    with service_of(request).installation.database.connect() as connection:
        serving = Counter(lane for row in workers.alive(connection) for lane in row.lanes)
        waiting = turns.waiting(connection)
    jobs, ready = Counter[str](), Counter[str]()
    for one in waiting:
        jobs[one.lane] += one.jobs
        ready[one.lane] += one.ready
    found = [
        Queue(lane=lane, workers=serving[lane], predictions=jobs[lane], units=ready[lane])
        for lane in Lane
    ]
    return answers.as_json(QueueList(results=found))


@router.get(
    "/audit",
    response_model=None,
    responses={200: {"model": EntryList, "description": "A page"}},
)
def read_audit(
    request: Request, _caller: OperatorCaller, before: Before = None, limit: Limit = 100
) -> Response:
    """The audit log, newest first."""
    service = service_of(request)
    with service.installation.database.connect() as connection:
        rows = audit.list_before(connection, before, limit)
    older = None
    if len(rows) == limit:
        here = f"{service.base_url(request)}{request.url.path}"
        older = f"{here}?before={rows[-1].id}&limit={limit}"
    found = [Entry.model_validate(row._mapping) for row in rows]  # noqa: SLF001 - documented name
    return answers.as_json(EntryList(results=found, next=older))


def _found(request: Request, key_id: KeyId) -> Row[Any]:
    with service_of(request).installation.database.connect() as connection:
        row = keys.find(connection, key_id)
    if row is None:
        raise Refusal(ErrorCode.NOT_FOUND)
    return row


def _told(row: Row[Any]) -> dict[str, Any]:
    return {name: getattr(row, name) for name in Key.model_fields}


def _fresh(request: Request, made: access.FreshKey) -> Response:
    told = FreshKey(**_told(_found(request, made.id)), secret=made.secret)
    return answers.as_json(told, 201)


def _worker(row: Row[Any]) -> Worker:
    return Worker(
        models=row.engines,
        **{name: getattr(row, name) for name in Worker.model_fields if name != "models"},
    )
