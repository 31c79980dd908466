"""The masks of a video as one COCO-VID file, written as they come.

COCO's own keys (https://cocodataset.org/#format-data) with the video keys that TAO and BDD100K
share, so that pycocotools reads it; `to_ytvis` turns it into YouTube-VIS form.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from workers.media.names import frame_name
from workers.media.plan import FramePlan
from workers.media.shards import Found, ShardFrame
from workers.media.sums import FileSum, SummedFile, summing

Json = dict[str, Any]

_VIDEO_ID = 1


def write_coco(
    path: Path,
    plan: FramePlan,
    concepts: Sequence[str],
    frames: Iterable[ShardFrame],
    file_name: str = "video",
) -> FileSum:
    """Writes images, annotations, categories and the video; memory does not grow with the length.

    Categories are the concepts in their order from 1, then other labels as they appear. An image is
    a processed frame: `frame_id` counts processed frames from 0, `frame_index` is the source's
    frame number, `timestamp` its time in seconds. `file_name` is the client's name for the video.
    Returns the sum of what was written.
    """
    with summing(path) as file:
        categories = {concept: number for number, concept in enumerate(concepts, 1)}
        file.say('{"annotations":[')
        _write_list(file, _annotations(frames, categories))
        file.say('],"images":[')
        _write_list(file, (_image(plan, index) for index in range(len(plan))))
        file.say("],")
        file.say(_dump(_rest(plan, categories, file_name))[1:])
    return file.sum


def to_ytvis(coco: Json) -> Json:
    """The same masks in YouTube-VIS form: one annotation a track, with one entry a frame."""
    images = sorted(coco["images"], key=lambda image: image["frame_id"])
    places = {image["id"]: place for place, image in enumerate(images)}
    tracks: dict[tuple[int, int], Json] = {}
    for annotation in coco["annotations"]:
        key = annotation["track_id"], annotation["category_id"]
        track = tracks.setdefault(key, _empty_track(len(tracks) + 1, annotation, len(images)))
        place = places[annotation["image_id"]]
        track["segmentations"][place] = annotation["segmentation"]
        track["bboxes"][place] = annotation["bbox"]
        track["areas"][place] = annotation["area"]
        track["score"] = max(track["score"], annotation["score"])
    names = [image["file_name"] for image in images]
    return {
        "info": coco["info"],
        "categories": coco["categories"],
        "videos": [{**video, "file_names": names} for video in coco["videos"]],
        "annotations": list(tracks.values()),
    }


def _write_list(file: SummedFile, items: Iterable[Json]) -> None:
    for number, item in enumerate(items):
        file.say(",\n" if number else "\n")
        file.say(_dump(item))


def _annotations(frames: Iterable[ShardFrame], categories: dict[str, int]) -> Iterable[Json]:
    number = 0
    for frame in frames:
        for found in frame.instances:
            number += 1
            category = categories.setdefault(found.label, len(categories) + 1)
            yield _annotation(number, frame.index + 1, category, found)


def _annotation(number: int, image: int, category: int, found: Found) -> Json:
    mask = found.mask
    return {
        "id": number,
        "image_id": image,
        "video_id": _VIDEO_ID,
        "category_id": category,
        "track_id": found.object_id,
        "score": found.score,
        "iscrowd": 0,
        "area": mask.area,
        "bbox": mask.bbox,
        "segmentation": {"size": [mask.height, mask.width], "counts": mask.counts},
    }


def _image(plan: FramePlan, index: int) -> Json:
    source_index = int(plan.source_index[index])
    return {
        "id": index + 1,
        "video_id": _VIDEO_ID,
        "frame_id": index,
        "frame_index": source_index,
        "timestamp": round(plan.time_s(index), 6),
        "width": plan.picture.width,
        "height": plan.picture.height,
        "file_name": frame_name(source_index),
    }


def _rest(plan: FramePlan, categories: dict[str, int], file_name: str) -> Json:
    video = {
        "id": _VIDEO_ID,
        "width": plan.picture.width,
        "height": plan.picture.height,
        "length": len(plan),
        "fps": float(plan.rate),
        "file_name": file_name,
        "name": file_name,
    }
    named = [
        {"id": number, "name": label, "supercategory": "object"}
        for label, number in categories.items()
    ]
    info = {"description": "Masks of a video, one image a processed frame", "version": "1.0"}
    return {"categories": named, "videos": [video], "licenses": [], "info": info}


def _empty_track(number: int, annotation: Json, length: int) -> Json:
    height, width = annotation["segmentation"]["size"]
    return {
        "id": number,
        "video_id": annotation["video_id"],
        "category_id": annotation["category_id"],
        "track_id": annotation["track_id"],
        "score": 0.0,
        "iscrowd": 0,
        "height": height,
        "width": width,
        "length": length,
        "segmentations": [None] * length,
        "bboxes": [None] * length,
        "areas": [None] * length,
    }


def _dump(value: Json) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
