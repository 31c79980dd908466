"""The parts of an installation that every use case works with, put together in one place."""

from __future__ import annotations

from dataclasses import dataclass, field

from sqlalchemy import Engine

from visionseg.artifacts.store import LocalStore
from visionseg.config import Settings
from visionseg.delivery.notices import Notices
from visionseg.predictions.admission import Admission
from visionseg.predictions.forecast import Forecasts
from visionseg.predictions.quota import Quota
from visionseg.queue.app import make_app
from visionseg.queue.hints import Hints
from visionseg.records.engine import connect


@dataclass(frozen=True, slots=True)
class Installation:
    """Database, file store, hints to workers, notices to waiters, settings, and what is counted."""

    database: Engine
    store: LocalStore
    hints: Hints
    notices: Notices
    settings: Settings
    admission: Admission = field(default_factory=Admission)
    forecasts: Forecasts = field(default_factory=Forecasts)
    quota: Quota = field(default_factory=Quota)

    def close(self) -> None:
        """Lets go of every connection."""
        self.hints.close()
        self.notices.close()
        self.database.dispose()


def assemble(settings: Settings, application: str) -> Installation:
    """The installation that the settings describe; nothing is connected before it is used.

    Raises `ValueError`, saying which setting to give, where one is missing.
    """
    services = settings.services
    wanted = {
        "VISIONSEG_DATABASE_URL": services.database_url,
        "VISIONSEG_REDIS_URL": services.redis_url,
        "VISIONSEG_BROKER_URL": services.broker_url,
    }
    if missing := [name for name, value in wanted.items() if not value]:
        raise ValueError(f"set {', '.join(missing)}, or run `visionseg up`, which sets them")
    return Installation(
        database=connect(
            services.database_url, services.pool_size, application, services.database_answer_s
        ),
        store=LocalStore(settings.storage.files),
        hints=Hints(make_app(services.broker_url, publisher=True)),
        notices=Notices(services.redis_url),
        settings=settings,
    )
