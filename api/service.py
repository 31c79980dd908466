"""What every route is given: the installation and the hub of waiters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from starlette.requests import Request

from visionseg.delivery.hub import Hub
from visionseg.predictions.installation import Installation


@dataclass(frozen=True, slots=True)
class Service:
    """The parts that the composition root put together."""

    installation: Installation
    hub: Hub

    def base_url(self, request: Request) -> str:
        """The base of all absolute links in an answer, without a slash at its end."""
        public_url = self.installation.settings.http.public_url
        return (public_url or str(request.base_url)).rstrip("/")


def service_of(request: Request) -> Service:
    """The service that answers the request."""
    return cast("Service", request.app.state.service)
