"""The API in this process, with a key that may segment."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from starlette.testclient import TestClient

from api.app import create_app
from tests.serving import bearer
from visionseg.predictions.installation import Installation


@pytest.fixture
def client(installation: Installation, make_key: Callable[..., str]) -> Iterator[TestClient]:
    """A client of a running application that sends a key with every request."""
    with TestClient(create_app(installation), headers=bearer(make_key())) as opened:
        yield opened
