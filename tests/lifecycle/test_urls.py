"""URL inputs: fetched through the guard, from a TLS server that the operator has allowed."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import pytest

from tests.fakes.tls_sites import TlsSite, send, tls_site
from tests.lifecycle.conftest import Client, picture, png_uri
from visionseg.config import Limits, Settings
from visionseg.contract.status import Status
from workers.bench import Bench
from workers.jobs import fetch


@pytest.fixture
def site() -> Iterator[TlsSite]:
    with tls_site() as opened:
        yield opened


@pytest.fixture
def settings(settings: Settings, site: TlsSite) -> Settings:
    allowed = Limits(allowed_hosts=frozenset({f"localhost:{site.port}"}))
    return settings.model_copy(update={"limits": allowed})


@pytest.fixture(autouse=True)
def trusted(site: TlsSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """The site's own authority, as VISIONSEG_CA_FILE would name it."""
    monkeypatch.setattr(fetch, "trust", lambda _path: site.trust)


def _url(site: TlsSite, path: str) -> str:
    return f"https://localhost:{site.port}{path}"


def _bytes(uri: str) -> bytes:
    return base64.b64decode(uri.partition(",")[2])


def test_a_picture_behind_a_url_is_fetched_and_segmented(
    client: Client, bench: Bench, site: TlsSite
) -> None:
    site.routes["/photo.png"] = lambda handler: send(handler, _bytes(png_uri(picture())))
    made = client.image(image=_url(site, "/photo.png"), prompt="person", include_boxes=True)
    bench.take_a_turn()
    record = client.read(made)
    assert record.status is Status.SUCCEEDED, record.error
    assert record.input["image"] == _url(site, "/photo.png")
    assert record.boxes == [[8.0, 16.0, 24.0, 32.0]]
    assert record.logs.startswith("fetch: ")


def test_a_video_behind_a_url_is_fetched_and_segmented(
    client: Client, bench: Bench, site: TlsSite, clip_uri: str
) -> None:
    site.routes["/clip.mp4"] = lambda handler: send(handler, _bytes(clip_uri))
    made = client.video(video=_url(site, "/clip.mp4"), max_frames=3)
    bench.take_a_turn()
    assert client.read(made).status is Status.SUCCEEDED


def test_a_page_instead_of_a_picture_is_refused_whatever_it_calls_itself(
    client: Client, bench: Bench, site: TlsSite
) -> None:
    site.routes["/photo.png"] = lambda handler: send(
        handler, b"<html>not here</html>", Content_Type="image/png"
    )
    made = client.image(image=_url(site, "/photo.png"))
    bench.take_a_turn()
    record = client.read(made)
    assert (record.status, record.error_code) == (Status.FAILED, "not_an_image")


def test_a_missing_file_is_told_with_its_status(
    client: Client, bench: Bench, site: TlsSite
) -> None:
    site.routes["/gone.png"] = lambda handler: send(handler, b"", status=404)
    made = client.image(image=_url(site, "/gone.png"))
    bench.take_a_turn()
    record = client.read(made)
    assert record.error_code == "input_unreachable"
    assert "404" in (record.error or "")
