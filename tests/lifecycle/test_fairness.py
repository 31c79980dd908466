"""Who goes first: keys by what they had, jobs of a key by priority; caps that delay nobody else."""

from __future__ import annotations

from sqlalchemy import text

from tests.lifecycle.conftest import Client, MakeClient, picture, png_uri
from visionseg.contract.inputs import ImageSubmission
from visionseg.contract.models import LITE
from visionseg.predictions import finish
from visionseg.predictions.claim import claim
from visionseg.predictions.finish import Outcome, Success
from visionseg.predictions.installation import Installation
from visionseg.predictions.submit import submit
from visionseg.queue.lanes import GPU_LANES
from visionseg.records.units import Claim


def _claim(installation: Installation) -> Claim | None:
    return claim(installation.database, GPU_LANES, [LITE], "host/1/2", 30)


def _spend(installation: Installation, held: Claim, seconds: float, away_s: float = 0.0) -> None:
    """Ends a unit as if it had taken so long."""
    with installation.database.begin() as connection:
        long_ago = text(
            "UPDATE units SET started_at = started_at - make_interval(secs => :s) WHERE id = :id"
        )
        connection.execute(long_ago, {"s": seconds, "id": held.unit_id})
    outcome = Outcome(success=Success("x.png"), away_s=away_s)
    assert finish.complete(installation, held, outcome)


def test_a_key_that_had_less_goes_first_whoever_came_first(
    installation: Installation, make_client: MakeClient
) -> None:
    busy, quiet = make_client(), make_client()
    busy.image()
    first = _claim(installation)
    assert first is not None
    _spend(installation, first, 60)
    waiting = [busy.image() for _ in range(3)]
    late = quiet.image()
    order = []
    while (held := _claim(installation)) is not None:
        order.append(held.prediction_id)
        _spend(installation, held, 1)
    assert order == [late, *waiting]


def test_a_key_of_double_weight_gets_double(
    installation: Installation, make_client: MakeClient
) -> None:
    light, heavy = make_client(), make_client(weight=2.0)
    of_heavy = set()
    for _ in range(12):
        light.image()
        of_heavy.add(heavy.image())
    served = []
    for _ in range(12):
        held = _claim(installation)
        assert held is not None
        served.append(held.prediction_id in of_heavy)
        _spend(installation, held, 10)
    assert served.count(True) == 8


def test_what_was_used_long_ago_counts_no_more(
    installation: Installation, make_client: MakeClient
) -> None:
    once_busy, other = make_client(), make_client()
    once_busy.image()
    held = _claim(installation)
    assert held is not None
    _spend(installation, held, 600)
    other.image()
    held = _claim(installation)
    assert held is not None
    _spend(installation, held, 30)
    with installation.database.begin() as connection:
        connection.execute(text("UPDATE shares SET at = at - interval '2 h' WHERE seconds > 300"))
    first, _ = once_busy.image(), other.image()
    held = _claim(installation)
    assert held is not None
    assert held.prediction_id == first


def test_a_priority_counts_within_its_key_only(
    installation: Installation, make_client: MakeClient
) -> None:
    modest, loud = make_client(), make_client()
    first = modest.image()
    low = loud.image()
    given = {"image": png_uri(picture())}
    urgent = ImageSubmission.model_validate({"input": given, "priority": 100})
    high = submit(installation, loud._caller, urgent, given, "http://test")
    order = []
    while (held := _claim(installation)) is not None:
        order.append(held.prediction_id)
    assert order.index(first) == 0
    assert order.index(high) < order.index(low)


def test_a_unit_tried_again_waits_for_those_before_it_and_not_for_those_after(
    installation: Installation, client: Client
) -> None:
    first, second = client.image(), client.image()
    held = _claim(installation)
    assert held is not None
    assert finish.give_back(installation, held)
    late = client.image()
    order = []
    while (held := _claim(installation)) is not None:
        order.append(held.prediction_id)
    assert order == [second, first, late]


def test_time_that_went_to_other_units_is_not_charged(
    installation: Installation, client: Client
) -> None:
    client.image()
    held = _claim(installation)
    assert held is not None
    _spend(installation, held, 60, away_s=50)
    with installation.database.connect() as connection:
        charged_s = connection.execute(text("SELECT max(seconds) FROM shares")).scalar_one()
    assert 10 <= charged_s < 40


def test_a_key_with_many_jobs_and_a_cap_delays_nobody(
    installation: Installation, make_client: MakeClient
) -> None:
    many, other = make_client(max_running=2), make_client()
    for _ in range(30):
        many.image()
    late = other.image()
    held = [_claim(installation) for _ in range(4)]
    claimed = [one.prediction_id for one in held if one is not None]
    assert len(claimed) == 3
    assert late in claimed
    (one, *_) = [found for found in held if found is not None and found.prediction_id != late]
    _spend(installation, one, 1)
    assert _claim(installation) is not None
    assert _claim(installation) is None


def test_a_capped_key_goes_on_with_what_it_has_begun(
    installation: Installation, clip_uri: str, make_client: MakeClient
) -> None:
    capped = make_client(max_running=1)
    video = capped.video(video=clip_uri)
    held = claim(installation.database, ["media"], [LITE], "host/1/2", 30)  # type: ignore[list-item]  # a lane by its name
    assert held is not None
    capped.image()
    assert _claim(installation) is None
    assert held.prediction_id == video
    assert finish.give_back(installation, held)
    assert claim(installation.database, ["media"], [LITE], "host/1/2", 30) is not None  # type: ignore[list-item]  # likewise
