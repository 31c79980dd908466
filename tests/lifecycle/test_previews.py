"""The live preview: watched while the video is made, and without any say in how that ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import pytest
from sqlalchemy import text
from starlette.testclient import TestClient

from api.app import create_app
from tests.lifecycle.conftest import Client, MakeClient
from tests.serving import PREDICTIONS, VIDEO, bearer
from visionseg.contract.ids import PredictionId
from visionseg.contract.status import Status
from visionseg.predictions.cancel import cancel
from visionseg.predictions.delete import delete
from visionseg.predictions.finish import lose
from visionseg.predictions.installation import Installation
from visionseg.predictions.sweep import delete_expired_files
from visionseg.queue.lanes import CPU_LANES, Lane
from workers.bench import Bench
from workers.jobs import preview

pytestmark = pytest.mark.usefixtures("small_chunks")
MakeBench = Callable[..., Bench]


@pytest.fixture
def http(installation: Installation, make_key: Callable[..., str]) -> Iterator[TestClient]:
    with TestClient(create_app(installation), headers=bearer(make_key())) as opened:
        yield opened


@pytest.fixture
def renderer(make_bench: MakeBench) -> Bench:
    return make_bench(lanes=[Lane.MEDIA])


@pytest.fixture
def previewer(make_bench: MakeBench) -> Bench:
    return make_bench(lanes=[Lane.PREVIEW])


@pytest.fixture
def video(client: Client, make_bench: MakeBench, clip_uri: str) -> PredictionId:
    """A video whose four chunks are segmented, and none of them rendered."""
    made = client.video(video=clip_uri)
    _step(make_bench(lanes=[Lane.MEDIA]))
    make_bench(lanes=[Lane.VIDEOS]).take_a_turn()
    return made


def _step(bench: Bench) -> str:
    claimed = bench._claim(bench.lanes)
    assert claimed is not None
    bench._perform(claimed, lambda: None)
    return claimed.kind


def _lines(http: TestClient, made: PredictionId, resource: str = VIDEO) -> list[str]:
    reply = http.get(f"{resource}/{made}/preview.m3u8")
    assert reply.status_code == 200, reply.text
    assert reply.headers["content-type"] == "application/vnd.apple.mpegurl"
    return reply.text.splitlines()


def _segments(lines: list[str]) -> list[str]:
    return [line for line in lines if not line.startswith("#")]


def _play(http: TestClient, made: PredictionId, folder: Path) -> list[float]:
    """The times of all frames that a player shows, in seconds from the first."""
    lines = _lines(http, made)
    (folder / "preview").mkdir()
    (folder / "preview.m3u8").write_text("\n".join(lines) + "\n")
    for name in _segments(lines):
        reply = http.get(f"{VIDEO}/{made}/{name}")
        assert reply.headers["content-type"] == "video/mp2t"
        (folder / name).write_bytes(reply.content)
    with av.open(str(folder / "preview.m3u8")) as container:
        times = [frame.time for frame in container.decode(video=0)]
    return [round(time - (times[0] or 0), 3) for time in times if time is not None]


def test_a_video_in_the_making_is_watched_to_its_end(
    http: TestClient,
    client: Client,
    renderer: Bench,
    previewer: Bench,
    video: PredictionId,
    tmp_path: Path,
) -> None:
    head = _lines(http, video)
    assert head == [
        "#EXTM3U",
        "#EXT-X-VERSION:3",
        "#EXT-X-TARGETDURATION:10",
        "#EXT-X-MEDIA-SEQUENCE:0",
        "#EXT-X-PLAYLIST-TYPE:EVENT",
    ]
    seen = head
    for pieces in range(1, 5):
        assert _step(renderer) == "render"
        assert _lines(http, video) == seen
        assert _step(previewer) == "preview"
        grown = _lines(http, video, PREDICTIONS)
        assert grown[: len(seen)] == seen
        assert len(_segments(grown)) == pieces
        seen = grown
    assert "#EXTINF:0.800," in seen
    renderer.take_a_turn()
    assert client.read(video).status is Status.SUCCEEDED
    assert _lines(http, video) == [*seen, "#EXT-X-ENDLIST"]
    assert _play(http, video, tmp_path) == [round(number / 10, 3) for number in range(30)]


def test_fps_counts_in_the_preview_too(
    http: TestClient,
    client: Client,
    bench: Bench,
    renderer: Bench,
    previewer: Bench,
    clip_uri: str,
    tmp_path: Path,
) -> None:
    source = client.video(video=clip_uri, output_format="coco_rle")
    bench.take_a_turn()
    made = client.render(source, output_format="mp4", fps=2)
    for _ in range(4):
        _step(renderer)
    _lines(http, made)
    previewer.take_a_turn()
    renderer.take_a_turn()
    assert _play(http, made, tmp_path) == [number / 2 for number in range(30)]


def test_previews_are_made_only_while_somebody_watches(
    installation: Installation,
    http: TestClient,
    renderer: Bench,
    previewer: Bench,
    video: PredictionId,
) -> None:
    _step(renderer)
    assert previewer._claim(previewer.lanes) is None
    _lines(http, video)
    with installation.database.begin() as connection:
        past = "UPDATE predictions SET preview_asked_at = clock_timestamp() - interval '31 s'"
        connection.execute(text(past))
    _step(previewer)
    assert _previews(installation) == 0
    assert _segments(_lines(http, video)) == []
    _step(previewer)
    assert _previews(installation) == 1
    assert len(_segments(_lines(http, video))) == 1


def _previews(installation: Installation) -> int:
    query = text("SELECT count(*) FROM files WHERE role = 'preview' AND deleted_at IS NULL")
    with installation.database.connect() as connection:
        return int(connection.execute(query).scalar_one())


def test_a_preview_waits_for_all_other_work(
    http: TestClient, make_bench: MakeBench, renderer: Bench, video: PredictionId
) -> None:
    _step(renderer)
    _lines(http, video)
    everything = make_bench(lanes=CPU_LANES)
    assert [_step(everything) for _ in range(4)] == ["render", "render", "render", "assemble"]
    assert everything._claim(everything.lanes) is None


@pytest.mark.parametrize("fault", ["broken", "lost"])
def test_a_preview_that_is_lost_is_left_out_and_the_video_is_made(
    installation: Installation,
    http: TestClient,
    client: Client,
    renderer: Bench,
    previewer: Bench,
    video: PredictionId,
    monkeypatch: pytest.MonkeyPatch,
    fault: str,
) -> None:
    _step(renderer)
    _step(renderer)
    _lines(http, video)
    if fault == "lost":
        claimed = previewer._claim(previewer.lanes)
        assert claimed is not None
        assert lose(installation, claimed)
    else:
        with monkeypatch.context() as patch:
            patch.setattr(preview, "write_segments", _break)
            _step(previewer)
    _step(previewer)
    lines = _lines(http, video)
    assert lines[5] == "#EXT-X-DISCONTINUITY"
    assert len(_segments(lines)) == 1
    renderer.take_a_turn()
    record = client.read(video)
    assert record.status is Status.SUCCEEDED
    assert record.released_at is not None


def _break(*_: Any) -> None:
    raise RuntimeError("the encoder broke")


def test_a_cancel_ends_a_preview_and_what_was_shown_can_be_played_on(
    installation: Installation,
    http: TestClient,
    client: Client,
    renderer: Bench,
    previewer: Bench,
    video: PredictionId,
) -> None:
    _step(renderer)
    _step(renderer)
    _lines(http, video)
    _step(previewer)
    claimed = previewer._claim(previewer.lanes)
    assert claimed is not None
    cancel(installation, video)
    previewer._perform(claimed, lambda: None)
    assert client.read(video).released_at is not None
    lines = _lines(http, video)
    (shown,) = _segments(lines)
    assert lines[-1] == "#EXT-X-ENDLIST"
    assert http.get(f"{VIDEO}/{video}/{shown}").status_code == 200
    assert all("preview" not in artifact.name for artifact in client.read(video).artifacts)
    with installation.database.connect() as connection:
        query = "SELECT expires_at < clock_timestamp() + interval '61 min' FROM files WHERE role = "
        assert connection.execute(text(f"{query}'preview'")).scalar_one()


def test_with_zero_retention_a_preview_goes_with_the_end(
    installation: Installation,
    http: TestClient,
    make_client: MakeClient,
    make_bench: MakeBench,
    renderer: Bench,
    clip_uri: str,
) -> None:
    made = make_client(keep_s=0).video(video=clip_uri)
    _step(renderer)
    make_bench(lanes=[Lane.VIDEOS]).take_a_turn()
    _step(renderer)
    _lines(http, made)
    make_bench(lanes=[Lane.PREVIEW]).take_a_turn()
    (shown,) = _segments(_lines(http, made))
    renderer.take_a_turn()
    assert http.get(f"{VIDEO}/{made}/{shown}").json()["code"] == "gone"
    delete_expired_files(installation)
    assert _previews(installation) == 0


def test_a_preview_is_its_owners_alone(
    installation: Installation,
    http: TestClient,
    renderer: Bench,
    previewer: Bench,
    video: PredictionId,
    make_key: Callable[..., str],
) -> None:
    _step(renderer)
    _lines(http, video)
    _step(previewer)
    (shown,) = _segments(_lines(http, video))
    stranger = bearer(make_key(organisation="other"))
    for address in ("preview.m3u8", shown):
        route = f"{VIDEO}/{video}/{address}"
        assert http.get(route).status_code == 200
        assert http.get(route, headers=stranger).json()["code"] == "not_found"
        assert http.get(route, headers={"Authorization": ""}).json()["code"] == "missing_api_key"
        assert http.get(route.replace(video, "vs_" + 26 * "0")).json()["code"] == "not_found"
    assert http.get(f"{VIDEO}/{video}/preview/000000-999.ts").json()["code"] == "not_found"
    assert http.get(f"{VIDEO}/{video}/preview/..%2Fplan").json()["code"] == "not_found"
    delete(installation, video)
    assert http.get(f"{VIDEO}/{video}/preview.m3u8").json()["code"] == "gone"
    assert http.get(f"{VIDEO}/{video}/{shown}").json()["code"] == "gone"


def test_only_videos_written_as_mp4_have_a_preview(
    http: TestClient, client: Client, clip_uri: str
) -> None:
    others = [
        client.image(),
        client.video(video=clip_uri, output_format="masks"),
        client.video({"dry_run": True}, video=clip_uri),
    ]
    for made in others:
        assert client.read(made).urls.preview is None
        reply = http.get(f"{PREDICTIONS}/{made}/preview.m3u8")
        assert (reply.status_code, reply.json()["code"]) == (404, "not_found")
    made = client.video(video=clip_uri)
    url = http.get(f"{VIDEO}/{made}").json()["urls"]["preview"]
    assert url == f"http://testserver{PREDICTIONS}/{made}/preview.m3u8"
    assert http.get(url).status_code == 200
