from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from workers.masks import decode
from workers.media.clips import SCRIPTS, compose, write_clip
from workers.segmenters.base import Rgb, SessionOptions, VideoPrompts
from workers.segmenters.lite.regions import mask_overlap
from workers.segmenters.lite.segmenter import LiteSegmenter

FRAMES = 12


@pytest.mark.parametrize("name", SCRIPTS)
def test_truth_is_exact_and_movers_do_not_share_pixels(name: str, stills: dict[str, Rgb]) -> None:
    first, *_, last = compose(stills, SCRIPTS[name], FRAMES)
    for picture, masks in (first, last):
        assert picture.shape == (360, 640, 3)
        assert all(mask.any() for mask in masks)
        assert np.sum(masks, axis=0).max() == 1
    backdrop_kept = ~np.any([*first[1], *last[1]], axis=0)
    away = np.abs(first[0].astype(int) - last[0]).max(-1) > 0
    assert np.count_nonzero(away & backdrop_kept) / away.size < 0.02  # only soft edges differ


def test_a_mover_beyond_the_frame_is_cut_off(stills: dict[str, Rgb]) -> None:
    ((_, (mask,)),) = compose(stills, SCRIPTS["astronaut"], 1, (360, 200))
    assert mask.shape == (360, 200)
    assert mask.any()


def test_a_written_clip_has_every_frame_and_tells_the_truth_of_each(
    stills: dict[str, Rgb], tmp_path: Path
) -> None:
    path = tmp_path / "clip.mp4"
    truth = write_clip(path, compose(stills, SCRIPTS["astronaut"], FRAMES), fps=20)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert stream.average_rate == 20
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
    assert len(frames) == len(truth) == FRAMES
    for frame, (picture, (mask,)), (rle,) in zip(
        frames, compose(stills, SCRIPTS["astronaut"], FRAMES), truth, strict=True
    ):
        assert np.array_equal(decode(rle), mask)
        assert np.abs(frame.astype(int) - picture).mean() < 4


def test_the_demo_clip_is_segmented_well_through_its_encoding(
    lite: LiteSegmenter, stills: dict[str, Rgb], tmp_path: Path
) -> None:
    path = tmp_path / "clip.mp4"
    truth = write_clip(path, compose(stills, SCRIPTS["astronaut"], FRAMES))
    session = lite.open_session(VideoPrompts(("person",)), SessionOptions())
    with av.open(str(path)) as container:
        frames = [
            np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
            for frame in container.decode(video=0)
        ]
    results = session.step(frames, lambda: False)
    assert {tuple(one.object_id for one in result.instances) for result in results} == {(1,)}
    found = [
        mask_overlap(decode(result.instances[0].mask), decode(rle))
        for result, (rle,) in zip(results, truth, strict=True)
    ]
    assert np.mean(found) > 0.8
