"""Shards, and the COCO file and the zip files made from them."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import zipfile
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from workers.masks import Rle, decode, encode
from workers.media.archive import ZipWriter, join_zips, write_index, write_zip
from workers.media.coco import to_ytvis, write_coco
from workers.media.names import INDEX_NAME
from workers.media.overlay import Overlay
from workers.media.plan import FramePlan, Picture
from workers.media.shards import ShardFrame, ShardInstance, ShardWriter, read_shard, read_shards

Disc = Callable[[int, int, int], Rle]

HEIGHT, WIDTH = 60, 90
PLAN = FramePlan(
    pts=np.arange(6, dtype=np.int64) * 1024 + 512,
    source_index=np.arange(6, dtype=np.int64) * 2 + 1,
    origin=0,
    time_base=Fraction(1, 12800),
    rate=Fraction(25, 2),
    picture=Picture(
        width=WIDTH,
        height=HEIGHT,
        rotation=0,
        pixel_aspect=Fraction(1),
        matrix=1,
        primaries=2,
        transfer=2,
        tone_mapped=False,
    ),
    seekable=True,
    has_audio=False,
)


@pytest.fixture
def frames(disc: Disc) -> list[ShardFrame]:
    """Six frames: a person on all, a dog from the third on, nothing on the last."""

    def found(index: int) -> tuple[ShardInstance, ...]:
        person = ShardInstance(
            disc(HEIGHT, WIDTH, index), (1.5, 2.0, 30.25, 40.0), 0.9, "person", 1
        )
        dog = ShardInstance(disc(HEIGHT, WIDTH, index + 3), (5.0, 6.0, 7.0, 8.0), 1 / 3, "狗", 2)
        return () if index == 5 else (person, dog) if index > 1 else (person,)

    return [
        ShardFrame(index, int(PLAN.source_index[index]), int(PLAN.pts[index]), found(index))
        for index in range(6)
    ]


def write_shard(path: Path, frames: list[ShardFrame]) -> Path:
    with ShardWriter(path, HEIGHT, WIDTH) as writer:
        for frame in frames:
            writer.write(frame)
    return path


def test_a_shard_gives_back_what_was_written(frames: list[ShardFrame], tmp_path: Path) -> None:
    assert list(read_shard(write_shard(tmp_path / "a", frames))) == frames


def test_equal_results_give_equal_bytes(frames: list[ShardFrame], tmp_path: Path) -> None:
    first, second = write_shard(tmp_path / "a", frames), write_shard(tmp_path / "b", frames)
    assert first.read_bytes() == second.read_bytes()


def test_shards_are_read_one_after_the_other(frames: list[ShardFrame], tmp_path: Path) -> None:
    parts = [write_shard(tmp_path / "a", frames[:2]), write_shard(tmp_path / "b", frames[2:])]
    assert list(read_shards(parts)) == frames


def test_a_shard_given_up_leaves_nothing_behind(frames: list[ShardFrame], tmp_path: Path) -> None:
    def give_up() -> None:
        with ShardWriter(tmp_path / "a", HEIGHT, WIDTH) as writer:
            writer.write(frames[0])
            raise InterruptedError

    with pytest.raises(InterruptedError):
        give_up()
    assert not list(tmp_path.iterdir())


def test_a_mask_of_another_size_is_refused(tmp_path: Path) -> None:
    small = ShardInstance(encode(np.ones((2, 2), np.bool_)), (0.0, 0.0, 2.0, 2.0), 1.0, "dot", 1)
    with (
        pytest.raises(ValueError, match="another size"),
        ShardWriter(tmp_path / "a", HEIGHT, WIDTH) as writer,
    ):
        writer.write(ShardFrame(0, 0, 0, (small,)))


def test_what_is_no_shard_is_refused(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "a", "wb") as file:
        file.write(b'{"version": 2}\n')
    with pytest.raises(ValueError, match="not a shard"):
        next(read_shard(tmp_path / "a"))


def coco_of(frames: list[ShardFrame], path: Path) -> COCO:
    write_coco(path, PLAN, ["person", "cat"], frames, "street.mp4")
    with contextlib.redirect_stdout(io.StringIO()):
        return COCO(str(path))


# pycocotools' own arrays do not know numpy 2's keyword.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_pycocotools_reads_every_mask_exactly(frames: list[ShardFrame], tmp_path: Path) -> None:
    coco = coco_of(frames, tmp_path / "coco.json")
    found = [(frame, instance) for frame in frames for instance in frame.instances]
    assert len(coco.anns) == len(found)
    for annotation, (frame, instance) in zip(coco.anns.values(), found, strict=True):
        np.testing.assert_array_equal(coco.annToMask(annotation) == 1, decode(instance.mask))
        assert annotation["image_id"] == frame.index + 1
        assert annotation["track_id"] == instance.object_id
        assert annotation["score"] == instance.score
        assert coco.cats[annotation["category_id"]]["name"] == instance.label
        assert annotation["area"] == coco_mask.area(annotation["segmentation"])
        assert annotation["bbox"] == list(coco_mask.toBbox(annotation["segmentation"]))


def test_images_and_the_video_tell_frames_and_times(
    frames: list[ShardFrame], tmp_path: Path
) -> None:
    coco = coco_of(frames, tmp_path / "coco.json").dataset
    assert coco["images"][2] == {
        "id": 3,
        "video_id": 1,
        "frame_id": 2,
        "frame_index": 5,
        "timestamp": 0.2,
        "width": 90,
        "height": 60,
        "file_name": "frame_000005.png",
    }
    assert coco["categories"] == [
        {"id": 1, "name": "person", "supercategory": "object"},
        {"id": 2, "name": "cat", "supercategory": "object"},
        {"id": 3, "name": "狗", "supercategory": "object"},
    ]
    assert coco["videos"] == [
        {
            "id": 1,
            "width": 90,
            "height": 60,
            "length": 6,
            "fps": 12.5,
            "file_name": "street.mp4",
            "name": "street.mp4",
        }
    ]


def test_a_video_without_objects_is_a_whole_file(tmp_path: Path) -> None:
    coco = coco_of([], tmp_path / "coco.json")
    assert (len(coco.anns), len(coco.imgs)) == (0, 6)


def test_ytvis_has_one_annotation_a_track(frames: list[ShardFrame], tmp_path: Path) -> None:
    coco = coco_of(frames, tmp_path / "coco.json").dataset
    ytvis = to_ytvis(coco)
    person, dog = ytvis["annotations"]
    assert (person["track_id"], dog["track_id"]) == (1, 2)
    assert [segmentation is None for segmentation in dog["segmentations"]] == [
        True,
        True,
        False,
        False,
        False,
        True,
    ]
    assert person["segmentations"][4]["counts"] == frames[4].instances[0].mask.counts
    assert ytvis["videos"][0]["file_names"][1] == "frame_000003.png"


def zips_of(
    frames: list[ShardFrame], folder: Path, add: Callable[[ZipWriter, ShardFrame], None]
) -> Path:
    parts = []
    for number, chunk in enumerate((frames[:2], frames[2:4], frames[4:])):
        parts.append(folder / f"{number}.zip")
        with write_zip(parts[-1]) as writer:
            for frame in chunk:
                add(writer, frame)
    write_index(folder / "index.json", PLAN, frames)
    join_zips(parts, folder / "whole.zip", folder / "index.json")
    return folder / "whole.zip"


def test_a_zip_of_masks_holds_one_png_an_object(frames: list[ShardFrame], tmp_path: Path) -> None:
    path = zips_of(frames, tmp_path, lambda writer, frame: writer.add_masks(frame))
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert archive.namelist()[:4] == [
            "mask_000001_0001.png",
            "mask_000003_0001.png",
            "mask_000005_0001.png",
            "mask_000005_0002.png",
        ]
        assert archive.namelist()[-1] == INDEX_NAME
        image = Image.open(io.BytesIO(archive.read("mask_000005_0002.png")))
        np.testing.assert_array_equal(np.asarray(image) == 255, decode(frames[2].instances[1].mask))


def test_the_index_tells_source_frames_times_and_objects(
    frames: list[ShardFrame], tmp_path: Path
) -> None:
    path = zips_of(frames, tmp_path, lambda writer, frame: writer.add_masks(frame))
    with zipfile.ZipFile(path) as archive:
        told = json.loads(archive.read(INDEX_NAME))
        index = told["frames"]
        named = {thing["mask"] for line in index for thing in line["objects"]}
        assert named == set(archive.namelist()) - {INDEX_NAME}
    assert told["time_base"] == "1/12800"
    assert index[0] == {
        "index": 0,
        "source_frame": 1,
        "pts": 512,
        "time": 0.04,
        "objects": [
            {
                "id": 1,
                "label": "person",
                "score": 0.9,
                "box": [1.5, 2.0, 30.25, 40.0],
                "mask": "mask_000001_0001.png",
            }
        ],
    }
    assert index[5]["objects"] == []


def test_a_zip_of_frames_holds_painted_pictures(frames: list[ShardFrame], tmp_path: Path) -> None:
    picture = np.full((HEIGHT, WIDTH, 3), 100, np.uint8)
    overlay = Overlay("red", 1.0)
    path = zips_of(
        frames, tmp_path, lambda writer, frame: writer.add_frame(frame, picture, overlay)
    )
    with zipfile.ZipFile(path) as archive:
        assert len(archive.namelist()) == 7
        shown = np.asarray(Image.open(io.BytesIO(archive.read("frame_000003.png"))))
    inside = decode(frames[1].instances[0].mask)
    assert (shown[inside] == (255, 0, 0)).all()
    assert (shown[~inside] == 100).all()


def test_equal_results_give_equal_zips(frames: list[ShardFrame], tmp_path: Path) -> None:
    data = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        path = zips_of(frames, tmp_path / name, lambda writer, frame: writer.add_masks(frame))
        data.append(path.read_bytes())
    assert data[0] == data[1]


def test_a_zip_given_up_leaves_nothing_behind(tmp_path: Path) -> None:
    def give_up() -> None:
        with write_zip(tmp_path / "a.zip") as writer:
            writer.add("a", b"b")
            raise InterruptedError

    with pytest.raises(InterruptedError):
        give_up()
    assert not list(tmp_path.iterdir())
