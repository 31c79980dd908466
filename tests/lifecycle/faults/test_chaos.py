"""Seeded chaos: whatever strikes, every job ends once, with the bytes of an undisturbed run."""

from __future__ import annotations

import os
import random
import secrets
from collections.abc import Iterator
from functools import partial

import click
import pytest

from tests.conftest import Servers
from tests.crews import HASTY
from tests.lifecycle.faults.conftest import Plant, planted
from tests.lifecycle.faults.storms import Storm, kinds_of_jobs, result_of

pytestmark = pytest.mark.xdist_group("faults")
PATIENT = HASTY.model_copy(update={"lease_s": 4.5, "max_losses": 1000, "max_attempts": 1000})
"""Under chaos no unit is poison: it is others that kill its workers."""

SEED_VARIABLE = "VISIONSEG_CHAOS_SEED"
JOBS_VARIABLE = "VISIONSEG_CHAOS_JOBS"


@pytest.fixture
def field(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plant]:
    """A plant of its own."""
    with planted(servers, tmp_path_factory.mktemp("chaos"), PATIENT) as made:
        yield made


def _survive(plant: Plant, clip_uri: str, seed: int, jobs: int) -> None:
    kinds = kinds_of_jobs(clip_uri)
    plant.worker()
    undisturbed = {name: result_of(plant, submit(plant)) for name, submit in kinds.items()}
    luck = random.Random(seed)
    names = luck.choices(list(kinds), [8, 2, 2, 2], k=jobs)
    storm = Storm(plant, luck)
    made = storm.rage([partial(kinds[name], plant) for name in names])
    click.echo(f"seed {seed}: {jobs} jobs through {dict(storm.struck)}")
    for name, one in zip(names, made, strict=True):
        assert result_of(plant, one) == undisturbed[name]
    query = "SELECT 1 FROM units WHERE state NOT IN ('done', 'dropped')"
    assert plant.rows(query) == []


def test_a_short_storm_changes_no_result(field: Plant, clip_uri: str) -> None:
    _survive(field, clip_uri, seed=11, jobs=24)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_a_long_storm_changes_no_result(
    field: Plant, clip_uri: str, capsys: pytest.CaptureFixture[str]
) -> None:
    seed = int(os.environ.get(SEED_VARIABLE) or secrets.randbelow(10**6))
    with capsys.disabled():
        click.echo(f"\n{SEED_VARIABLE}={seed}")
        _survive(field, clip_uri, seed, jobs=int(os.environ.get(JOBS_VARIABLE) or 400))
