"""Workers whose clocks are two hours fast or slow: every time that counts is the database's."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.conftest import Servers
from tests.crews import HASTY, ROOT, until
from tests.fakes.clocks import CLOCK_VARIABLE
from tests.fakes.loading import Noun
from tests.lifecycle.faults.conftest import kill, planted
from visionseg.contract.errors import ErrorCode

pytestmark = pytest.mark.xdist_group("faults")
HOUR_S = 3600
CLOCKS = {"time.time", "time.time_ns", "datetime.now", "datetime.datetime.now", "date.today"}
ESTIMATES = {"api/answers.py"}
"""Where a wrong clock makes a wrong `Retry-After`, of 1 to 30 s in any case."""


def test_workers_with_wrong_clocks_keep_leases_deadlines_and_files(
    servers: Servers, tmp_path: Path, clip_uri: str
) -> None:
    with planted(servers, tmp_path, HASTY) as plant:
        fresh = plant.installation.store.put_bytes("ab/cd/ef/not-yet-named", b"written just now")
        for wrong_s in (2 * HOUR_S, -2 * HOUR_S):
            plant.crew.start(also={CLOCK_VARIABLE: str(wrong_s)})
        until(lambda: len(plant.rows("SELECT 1 FROM workers")) == 2)
        made = plant.client.video(video=clip_uri, prompt=Noun.SLOW, output_format="coco_rle")
        late = plant.client.video({"deadline_s": 1}, video=clip_uri, prompt=Noun.SLOW)
        kill(plant.holder(made))
        assert "worker lost" in plant.succeeded(made).logs
        overdue = plant.finished(late)
        assert overdue.error_code == ErrorCode.DEADLINE_EXCEEDED
        query = "SELECT min(expires_at - created_at) AS least FROM files WHERE role = 'artifact'"
        assert plant.rows(query)[0].least.days >= 6
        assert plant.rows("SELECT 1 FROM workers WHERE seen_at > clock_timestamp()") == []
        assert plant.installation.store.path(fresh.key).exists()
        assert all(worker.runs for worker in plant.crew.workers)


def _asks(path: Path) -> bool:
    calls = (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call))
    return any(ast.unparse(call.func) in CLOCKS for call in calls)


def test_nobody_asks_another_clock_than_the_databases() -> None:
    files = [
        path for name in ("visionseg", "api", "workers") for path in (ROOT / name).rglob("*.py")
    ]
    asking = {str(path.relative_to(ROOT)) for path in files if _asks(path)}
    assert asking == ESTIMATES
