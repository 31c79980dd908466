"""A model that takes long to load, and a process killed while it does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import Servers
from tests.crews import HASTY, Crew, until
from tests.fakes.loading import LOAD_VARIABLE, LOADING
from tests.lifecycle.faults.conftest import kill, planted

pytestmark = pytest.mark.xdist_group("faults")
CELERYS_PATIENCE_S = 4
MINUTE = pytest.param(60, marks=[pytest.mark.long, pytest.mark.timeout(600)])


def _loading(crew: Crew) -> list[int]:
    """The processes that began to load, in their order."""
    told = [json.loads(line) for line in crew.log().splitlines() if LOADING in line]
    return [one["pid"] for one in told]


@pytest.mark.parametrize("load_s", [CELERYS_PATIENCE_S + 2, MINUTE])
def test_a_process_killed_while_it_loads_is_replaced_and_costs_no_attempt(
    servers: Servers, tmp_path: Path, load_s: int
) -> None:
    with planted(servers, tmp_path, HASTY) as plant:
        worker = plant.crew.start(also={LOAD_VARIABLE: str(load_s)})
        made = plant.client.image()
        until(lambda: len(_loading(plant.crew)) == 1)
        kill(_loading(plant.crew)[0])
        until(lambda: len(_loading(plant.crew)) == 2)
        assert plant.leased(made) == []
        assert "worker lost" not in plant.succeeded(made).logs
        query = "SELECT attempt FROM units WHERE prediction_id = :id"
        assert [row.attempt for row in plant.rows(query, id=made)] == [1]
        assert len(_loading(plant.crew)) == 2
        assert worker.runs
