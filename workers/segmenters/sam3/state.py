"""What a session knows between two frames, and how it travels to another worker.

One safetensors file: the tensors of the tracker's memory, and in its metadata the rest as JSON.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from workers.masks import Rle
from workers.segmenters.base import FrameResult, Instance
from workers.segmenters.sam3.memory import WORTH, FlatSession, outputs_of

FORMAT = 2
"""Changes whenever a state of before cannot be read any more."""


@dataclass(slots=True)
class Following:
    """Everything the next frame depends on.

    The tracker's session, how many frames it has taken, until which frame the detector looks at
    every one, and the results that are not final yet.
    """

    session: FlatSession
    index: int = 0
    looks_until: int = -1
    held: list[FrameResult] = field(default_factory=list)

    def copied(self) -> Following:
        """The same, which stays as it is now."""
        return replace(self, session=self.session.copied(), held=list(self.held))


def save_state(now: Following, version: str) -> bytes:
    """The state, tied to the engine's version."""
    session = now.session
    tensors: dict[str, Tensor] = {}
    for place, kind, frame, output in outputs_of(session):
        for name, tensor in output.items():
            # A clone: a view would bring the whole batch that it was cut out of.
            tensors[f"{place}/{kind}/{frame}/{name}"] = tensor.detach().clone().contiguous().cpu()
    facts = {
        "format": FORMAT,
        "version": version,
        "index": now.index,
        "looks_until": now.looks_until,
        "held": [_told(result) for result in now.held],
        "object_ids": session.obj_ids,
        "outputs": [
            [place, kind, list(frames)]
            for place, kinds in session.output_dict_per_obj.items()
            for kind, frames in kinds.items()
        ],
        "most_id": session.max_obj_id,
        "concepts": _pairs(session.obj_id_to_prompt_id),
        "scores": _pairs(session.obj_id_to_score),
        "occluded": [
            [object_id, int(frame)] for object_id, frame in session.obj_id_to_last_occluded.items()
        ],
        "first_frames": _pairs(session.obj_first_frame_idx),
        "unmatched": _pairs(session.unmatched_frame_inds),
        "overlaps": [
            [*pair, frames] for pair, frames in session.overlap_pair_to_frame_inds.items()
        ],
        "keep_alive": _pairs(session.trk_keep_alive),
    }
    return save(tensors, metadata={"facts": json.dumps(facts)})


def load_state(state: bytes, version: str, session: FlatSession, device: torch.device) -> Following:
    """The state saved by `save_state`, in a new session; `ValueError` where it is none of ours."""
    try:
        facts = json.loads(metadata_of(state)["facts"])
        tensors = load(state)
    except (SafetensorError, KeyError, ValueError) as error:
        raise ValueError("this is not a state of facebook/sam3") from error
    if (facts["format"], facts["version"]) != (FORMAT, version):
        raise ValueError(f"this is not a state of facebook/sam3 {version}")
    for object_id in facts["object_ids"]:  # their places are counted anew, in this order
        session.obj_id_to_idx(object_id)
    for place, kind, frames in facts["outputs"]:
        session.output_dict_per_obj[place][kind] = {frame: {} for frame in frames}
    for key, tensor in tensors.items():
        place, kind, frame, name = key.split("/")
        held = tensor if name == WORTH else tensor.to(device)
        session.output_dict_per_obj[int(place)][kind][int(frame)][name] = held
    session.max_obj_id = facts["most_id"]
    session.obj_id_to_prompt_id = dict(facts["concepts"])
    session.obj_id_to_score = dict(facts["scores"])
    session.obj_id_to_last_occluded = {
        object_id: torch.tensor([frame], device=device) for object_id, frame in facts["occluded"]
    }
    session.obj_first_frame_idx = dict(facts["first_frames"])
    session.unmatched_frame_inds = defaultdict(list, facts["unmatched"])
    session.overlap_pair_to_frame_inds = defaultdict(
        list, {(first, second): frames for first, second, frames in facts["overlaps"]}
    )
    session.trk_keep_alive = dict(facts["keep_alive"])
    return Following(
        session, facts["index"], facts["looks_until"], [_heard(one) for one in facts["held"]]
    )


def metadata_of(state: bytes) -> dict[str, str]:
    """safetensors reads metadata from files only; in bytes it stands in the JSON at the start."""
    length = int.from_bytes(state[:8], "little")
    header = json.loads(state[8 : 8 + length])
    found: dict[str, str] = header["__metadata__"]
    return found


def _pairs(values: dict[int, Any]) -> list[list[Any]]:
    return [[key, value] for key, value in values.items()]


def _told(result: FrameResult) -> list[Any]:
    told = [_told_instance(one) for one in result.instances]
    return [result.index, told, result.warnings]


def _told_instance(one: Instance) -> list[Any]:
    mask = one.mask
    shape = [mask.height, mask.width, mask.counts, mask.area, mask.bbox]
    return [shape, one.box, one.score, one.label, one.object_id]


def _heard(told: Sequence[Any]) -> FrameResult:
    index, instances, warnings = told
    return FrameResult(index, tuple(_heard_instance(one) for one in instances), tuple(warnings))


def _heard_instance(told: Sequence[Any]) -> Instance:
    (height, width, counts, area, bbox), box, score, label, object_id = told
    x, y, columns, rows = bbox
    mask = Rle(height, width, counts, area, (x, y, columns, rows))
    x_min, y_min, x_max, y_max = box
    return Instance(mask, (x_min, y_min, x_max, y_max), score, label, object_id)
