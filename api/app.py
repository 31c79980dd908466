"""The composition root of the API: the application, and the server that runs it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from fastapi import FastAPI
from starlette.responses import JSONResponse, Response

from api import documents, problems
from api.envelope import Envelope
from api.routes import (
    console,
    deliveries,
    files,
    lists,
    models,
    operating,
    outputs,
    predictions,
    previews,
    probes,
    renders,
    submissions,
)
from api.service import Service
from visionseg.config import Settings, installed_version, read_settings
from visionseg.delivery.hub import Hub
from visionseg.predictions.installation import Installation, assemble
from visionseg.predictions.sweep import sweeper

ROUTERS = (
    submissions.router,
    lists.router,
    predictions.router,
    renders.router,
    previews.router,
    deliveries.router,
    models.router,
    outputs.router,
    files.router,
    operating.router,
    probes.router,
    console.router,
)
STOP_WITHIN_S = 20
KEEP_ALIVE_S = 75
"""Longer than the usual 60 s of proxies, so that none sends into a connection that just closed."""


def create_app(installation: Installation) -> FastAPI:
    """The application; while it runs it waits for predictions and sweeps."""
    app = FastAPI(
        version=installed_version(),
        lifespan=_lifespan,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,
    )
    redis_url = installation.settings.services.redis_url
    app.state.service = Service(installation, Hub(installation.database, redis_url))
    app.add_middleware(Envelope)
    problems.register(app)
    for router in ROUTERS:
        app.include_router(router)
    described = documents.document(app)

    @app.get("/openapi.json", include_in_schema=False)
    async def openapi() -> Response:
        return JSONResponse(described, headers={"Cache-Control": "no-cache"})

    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    service: Service = app.state.service
    sweeping = sweeper(service.installation)
    await service.hub.open()
    sweeping.start()
    try:
        yield
    finally:
        await service.hub.close()
        await asyncio.to_thread(sweeping.close)


class Server(uvicorn.Server):
    """Ends the holds before it waits for connections to close; each gets its current record."""

    def __init__(self, app: FastAPI, settings: Settings) -> None:
        self._service: Service = app.state.service
        super().__init__(
            uvicorn.Config(
                app,
                host=settings.http.host,
                port=settings.http.port,
                http="h11",
                ws="none",
                lifespan="on",
                proxy_headers=True,
                forwarded_allow_ips=settings.http.trusted_proxies,
                server_header=False,
                access_log=False,  # api.envelope writes a line with the request id
                log_config=None,
                timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=STOP_WITHIN_S,
            )
        )

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Ends the holds, then stops as usual."""
        self._service.hub.end_waits()
        await super().shutdown(sockets)


def serve(settings: Settings) -> None:
    """Runs the API until it is told to stop (SIGTERM, SIGINT)."""
    installation = assemble(settings, "visionseg api")
    try:
        Server(create_app(installation), settings).run()
    finally:
        installation.close()


def main() -> None:
    """Runs the API with the settings of the environment."""
    serve(read_settings())
