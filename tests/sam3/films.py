"""Films followed by plain transformers and by this engine, down to each frame's raw logits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor
from transformers import Sam3VideoModel, Sam3VideoProcessor

from workers.segmenters.base import FrameResult, Rgb, SessionOptions, VideoPrompts
from workers.segmenters.sam3.following import FollowingSession
from workers.segmenters.sam3.network import Network
from workers.segmenters.sam3.tracking import Followed

THRESHOLD = 0.2
"""Under the scores of most random detections."""

CONCEPTS = ("person", "red ball")

CALM = {
    "hotstart_delay": 0,
    "hotstart_unmatch_thresh": 0,
    "hotstart_dup_thresh": 0,
    "det_nms_thresh": 0.0,
}
"""Settings of a model that drops no object, not even one that overlaps another."""


@dataclass(frozen=True)
class Seen:
    """A frame's objects: logits and the score of each by id, ids from 1."""

    logits: Mapping[int, Tensor]
    scores: Mapping[int, float]


class Watched(FollowingSession):
    """A session that keeps what the model told of each frame."""

    watched: list[Followed]

    def _result(self, followed: Followed, size: tuple[int, int]) -> FrameResult:
        self.__dict__.setdefault("watched", []).append(followed)
        return super()._result(followed, size)


def never() -> bool:
    return False


def settle(network: Network, settings: Mapping[str, Any], most: int = 4) -> Network:
    """The network with its model's settings changed, as both sides of a comparison need."""
    for name, value in {**settings, "max_num_objects": most}.items():
        setattr(network.model, name, value)
    if "recondition_every_nth_frame" in settings:
        network.model.config.recondition_every_nth_frame = settings["recondition_every_nth_frame"]
    return network


def follow(
    network: Network, frames: Sequence[Rgb], concepts: tuple[str, ...], every: int = 1
) -> tuple[list[Seen], list[FrameResult], Watched]:
    """The film followed here: raw frames, results, and the session at the end."""
    prompts = VideoPrompts(concepts, threshold=THRESHOLD)
    session = Watched(network, "tiny", prompts, SessionOptions(every), None)
    results = session.step(frames, never) + session.flush()
    return [Seen(one.logits, one.scores) for one in session.watched], results, session


def follow_plain(
    folder: Path,
    frames: Sequence[Rgb],
    concepts: tuple[str, ...],
    settings: Mapping[str, Any],
    most: int = 4,
) -> list[Seen]:
    """The film followed by transformers' own iterator."""
    model = Sam3VideoModel.from_pretrained(folder).eval()
    changed = {**settings, "max_num_objects": most}
    changed |= {"score_threshold_detection": THRESHOLD, "new_det_thresh": THRESHOLD + 0.2}
    for name, value in changed.items():
        setattr(model, name, value)
    processor = Sam3VideoProcessor.from_pretrained(folder)
    session = processor.init_video_session(video=list(frames))
    processor.add_text_prompt(session, list(concepts))
    return list(_plain(model, session))


def _plain(model: Any, session: Any) -> Iterator[Seen]:
    for out in model.propagate_in_video_iterator(session):
        logits = {object_id + 1: mask[0] for object_id, mask in out.obj_id_to_mask.items()}
        yield Seen(logits, {one + 1: score for one, score in out.obj_id_to_score.items()})


def differing(ours: Sequence[Seen], theirs: Sequence[Seen], tolerance: float = 0.0) -> list[int]:
    """The frames whose objects or logits differ by more than the tolerance."""
    assert len(ours) == len(theirs)
    return [
        number
        for number, (one, other) in enumerate(zip(ours, theirs, strict=True))
        if one.logits.keys() != other.logits.keys()
        or any(
            float((one.logits[key] - other.logits[key]).abs().max()) > tolerance
            for key in one.logits
        )
    ]


def biggest(frames: Sequence[Seen]) -> float:
    """The largest logit: what tolerances are small against."""
    return max(float(one.abs().max()) for frame in frames for one in frame.logits.values())
