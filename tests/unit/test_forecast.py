"""How long predictions wait and work: arithmetic on speeds, workers and what waits."""

from __future__ import annotations

import pytest

from visionseg.contract.models import LITE
from visionseg.predictions.forecast import Crew, Forecast
from visionseg.queue.lanes import Lane, UnitKind
from visionseg.records.speeds import Speed
from visionseg.records.turns import Ahead, Place, Waiting

SPEEDS = {
    (LITE, "image"): Speed(2.0, 2.0),
    (LITE, "chunk"): Speed(10.0, 0.1),
    (LITE, "render"): Speed(4.0, 0.04),
    (LITE, "assemble"): Speed(3.0, 0.01),
    (LITE, "ingest"): Speed(1.0),
}
BOTH = Crew(["images", "videos"], [LITE], 1)
FRESH = Ahead(0, 1.0, 0.0)


def _place(lane: Lane = Lane.IMAGES) -> Place:
    return Place(lane, "mine", LITE, 0)


def _others(jobs: int, lane: Lane = Lane.IMAGES, weight: float = 1.0, used_s: float = 0) -> Waiting:
    return Waiting(lane, "other", jobs, jobs, weight, used_s)


def _forecast(*waiting: Waiting, crews: tuple[Crew, ...] = (BOTH,)) -> Forecast:
    return Forecast(SPEEDS, crews, waiting)


def _wait_s(forecast: Forecast, own: Ahead = FRESH, lane: Lane = Lane.IMAGES) -> float | None:
    place = _place(lane)
    return forecast.wait_s(place, forecast.goes_first(place, own))


@pytest.mark.parametrize(
    ("own", "others", "first"),
    [
        (FRESH, _others(9000), 0),  # a quiet key is next, however much another has waiting
        (Ahead(3, 1.0, 0.0), _others(9000), 6),  # they take turns
        (Ahead(3, 1.0, 0.0), _others(2), 5),  # as long as the other has any
        (Ahead(3, 1.0, 0.0), _others(9000, weight=2.0), 9),  # twice the weight, twice the turns
        (Ahead(3, 3.0, 0.0), _others(9000), 4),  # a third of mine, a third of the turns
        (Ahead(0, 1.0, 8.0), _others(9000), 4),  # what I had of late it makes up for first
        (Ahead(3, 1.0, 0.0), _others(9000, used_s=60.0), 3),  # and what it had, I do
        (Ahead(3, 1.0, 0.0), _others(9000, Lane.MEDIA), 3),  # another lane is another queue
    ],
)
def test_keys_go_first_as_fair_shares_let_them(own: Ahead, others: Waiting, first: int) -> None:
    assert _forecast(others).goes_first(_place(), own) == first


def test_own_jobs_are_not_counted_twice() -> None:
    own = Waiting("images", "mine", 40, 40, 1.0, 0.0)
    assert _forecast(own).goes_first(_place(), Ahead(3, 1.0, 0.0)) == 3


def test_the_wait_is_the_work_before_it_and_half_a_unit_over_the_processes() -> None:
    ahead = Ahead(3, 1.0, 0.0)
    assert _wait_s(_forecast(), ahead) == 7.0
    two = Crew(["images"], [LITE], 2)
    assert _wait_s(_forecast(crews=(BOTH, two, two)), ahead) == 1.4


def test_a_lane_that_all_its_workers_serve_after_another_waits_for_that_one() -> None:
    pictures = _others(10)
    assert _wait_s(_forecast(pictures), lane=Lane.VIDEOS) == 25.0
    apart = Crew(["videos"], [LITE], 1)
    assert _wait_s(_forecast(pictures, crews=(BOTH, apart)), lane=Lane.VIDEOS) == 2.5


def test_nobody_can_tell_without_workers_for_it_or_a_speed() -> None:
    assert _wait_s(_forecast(crews=())) is None
    assert _wait_s(_forecast(crews=(Crew(["media"], [LITE], 2),))) is None
    assert _wait_s(_forecast(crews=(Crew(["images"], ["another"], 1),))) is None
    assert _wait_s(Forecast({}, (BOTH,), ()), lane=Lane.VIDEOS) is None


def test_before_anything_was_measured_the_models_card_counts() -> None:
    fresh = Forecast({}, (BOTH,), ())
    assert fresh.frame_s(LITE, UnitKind.IMAGE) == 1.0
    assert fresh.frame_s("facebook/sam3", UnitKind.IMAGE) is None
    assert fresh.frame_s("unheard of", UnitKind.CHUNK) is None
    assert fresh.video_s(LITE, 50, rendered=True) == 5.0
    assert fresh.video_s("facebook/sam3", 50, rendered=True) is None


def test_rendering_goes_on_beside_following_and_the_slower_of_both_counts() -> None:
    assert _forecast().video_s(LITE, 100, rendered=True) == pytest.approx(11.0)
    slow = {**SPEEDS, (LITE, "render"): Speed(40.0, 0.4)}
    assert Forecast(slow, (), ()).video_s(LITE, 100, rendered=True) == pytest.approx(41.0)
    assert Forecast(slow, (), ()).video_s(LITE, 100, rendered=False) == pytest.approx(11.0)
