"""The list of predictions: pages that hold still while rows are added, and filters."""

from __future__ import annotations

from typing import Any

from starlette.testclient import TestClient

from tests.serving import AT_ONCE, IMAGE_BODY, PIXEL, PREDICTIONS, VIDEO, VIDEO_BODY, finish_next
from visionseg.predictions.installation import Installation


def _submit(client: TestClient, count: int) -> list[str]:
    replies = [client.post(PREDICTIONS, json=IMAGE_BODY, headers=AT_ONCE) for _ in range(count)]
    return [reply.json()["id"] for reply in replies]


def _page(client: TestClient, address: str) -> dict[str, Any]:
    reply = client.get(address)
    assert reply.status_code == 200, reply.text
    page: dict[str, Any] = reply.json()
    assert list(page) == ["results", "next", "previous"]
    return page


def _ids(page: dict[str, Any]) -> list[str]:
    return [record["id"] for record in page["results"]]


def test_an_empty_list_leads_nowhere(client: TestClient) -> None:
    assert _page(client, PREDICTIONS) == {"results": [], "next": None, "previous": None}


def test_pages_in_both_directions_hold_still_while_rows_are_added(client: TestClient) -> None:
    old = _submit(client, 7)[::-1]
    first = _page(client, f"{PREDICTIONS}?limit=3")
    assert (_ids(first), first["previous"]) == (old[:3], None)
    new = _submit(client, 4)[::-1]
    second = _page(client, first["next"])
    third = _page(client, second["next"])
    assert (_ids(second), _ids(third), third["next"]) == (old[3:6], old[6:], None)
    assert _ids(_page(client, third["previous"])) == old[3:6]
    back = _page(client, second["previous"])
    assert _ids(back) == old[:3]
    newer = _page(client, back["previous"])
    assert _ids(newer) == new[1:]
    newest = _page(client, newer["previous"])
    assert (_ids(newest), newest["previous"]) == (new[:1], None)
    assert _ids(_page(client, newest["next"])) == new[1:]


def test_a_page_that_is_exactly_full_leads_nowhere(client: TestClient) -> None:
    _submit(client, 2)
    page = _page(client, f"{PREDICTIONS}?limit=2")
    assert (len(page["results"]), page["next"], page["previous"]) == (2, None, None)


def test_filters_choose_and_stay_in_the_links(
    client: TestClient, installation: Installation
) -> None:
    _submit(client, 2)
    done = str(finish_next(installation))
    video = client.post(VIDEO, json=VIDEO_BODY, headers=AT_ONCE).json()
    lite = {"model": "embedded/lite", "input": {"image": PIXEL}}
    other = client.post(PREDICTIONS, json=lite, headers=AT_ONCE).json()

    def found(query: str) -> set[str]:
        return set(_ids(_page(client, f"{PREDICTIONS}?{query}")))

    assert found("status=succeeded") == {done}
    assert found("kind=video") == {video["id"]}
    assert found("model=embedded/lite") == {other["id"]}
    assert found("kind=image&status=succeeded&model=embedded/lite") == set()
    assert found("created_after=2100-01-01T00:00:00Z") == set()
    assert len(found("created_before=2100-01-01T00:00:00Z")) == 4
    page = _page(client, f"{PREDICTIONS}?kind=image&limit=1&created_after=2000-01-01T00:00:00Z")
    assert page["next"].startswith(f"http://testserver{PREDICTIONS}?")
    rest = _page(client, page["next"])
    assert [record["kind"] for record in rest["results"]] == ["image"]
    assert video["id"] not in _ids(_page(client, rest["next"]))


def test_a_list_never_inlines_a_result(client: TestClient, installation: Installation) -> None:
    _submit(client, 1)
    finish_next(installation, b"a mask")
    (record,) = _page(client, PREDICTIONS)["results"]
    assert record["output"] == record["artifacts"][0]["url"]
