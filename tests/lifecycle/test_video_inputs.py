"""Videos of rarer kinds through every unit: moving WebP, and what a record warns of."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path

import av
import pytest
from PIL import Image

from tests.lifecycle.conftest import Client, picture
from tests.media.ffmpeg import ffmpeg, shown_times
from visionseg.contract.status import Status
from workers.bench import Bench
from workers.media.cautions import SENTENCES, Caution

FRAMES = 6


def uri(data: bytes, content_type: str) -> str:
    return f"data:{content_type};base64,{base64.b64encode(data).decode()}"


def moving_webp() -> bytes:
    data = io.BytesIO()
    first, *rest = [Image.fromarray(picture(number)) for number in range(FRAMES)]
    lengths = [100, 100, 300, 100, 100, 100]
    first.save(data, "WEBP", save_all=True, append_images=rest, duration=lengths, lossless=True)
    return data.getvalue()


@pytest.mark.parametrize(
    ("output_format", "content_type"), [("mp4", "image/webp"), ("coco_rle", "video/webp")]
)
def test_a_moving_webp_is_a_video(
    client: Client, bench: Bench, output_format: str, content_type: str
) -> None:
    made = client.video(video=uri(moving_webp(), content_type), output_format=output_format)
    bench.take_a_turn()
    record = client.read(made)
    assert record.status is Status.SUCCEEDED, record.error
    index = json.loads(client.artifact(made, "index.json").read_text())["frames"]
    assert [frame["time"] for frame in index] == [0.0, 0.1, 0.2, 0.5, 0.6, 0.7]
    assert all(frame["objects"] for frame in index)
    if output_format == "mp4":
        times = [float(time) for time in shown_times(client.artifact(made, "video.mp4"))]
        assert times == [0.0, 0.1, 0.2, 0.5, 0.6, 0.7]


def test_a_record_warns_of_what_its_video_does_not_show(
    client: Client, bench: Bench, tmp_path: Path
) -> None:
    source = ["-f", "lavfi", "-i", "testsrc2=size=64x48:rate=25", "-frames:v", str(FRAMES)]
    coded = ["-c:v", "mpeg2video", "-flags", "+ildct+ilme"]
    assert ffmpeg([*source, *coded, tmp_path / "one.ts"])
    twice = (tmp_path / "one.ts").read_bytes() * 2
    made = client.video(video=uri(twice, "video/mp2t"))
    bench.take_a_turn()
    record = client.read(made)
    assert record.status is Status.SUCCEEDED, record.error
    told = {SENTENCES[caution] for caution in (Caution.INTERLACED, Caution.BROKEN_CLOCK)}
    assert told <= set(record.warnings)
    with av.open(str(client.artifact(made, "video.mp4"))) as container:
        assert sum(1 for _ in container.decode(video=0)) == 2 * FRAMES
