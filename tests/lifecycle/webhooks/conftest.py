"""An installation that may send webhooks to a receiver of the test's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.tls_sites import TlsSite, tls_site
from tests.lifecycle.receivers import Receiver, reaching
from visionseg.access.keys import Caller
from visionseg.config import Settings
from visionseg.predictions.installation import Installation


@pytest.fixture
def site() -> Iterator[TlsSite]:
    with tls_site() as opened:
        yield opened


@pytest.fixture
def settings(settings: Settings, site: TlsSite, tmp_path: Path) -> Settings:
    return reaching(settings, site, tmp_path)


@pytest.fixture
def receiver(installation: Installation, caller: Caller, site: TlsSite) -> Receiver:
    return Receiver(installation, caller, site)
