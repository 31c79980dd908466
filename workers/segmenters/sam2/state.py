"""What a session of SAM 2.1 knows between two frames, and how it travels to another worker."""

from __future__ import annotations

import json
from dataclasses import dataclass

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from workers.segmenters.sam2.memory import TrackerSession
from workers.segmenters.sam3.memory import outputs_of
from workers.segmenters.sam3.state import metadata_of

FORMAT = 1
"""Changes whenever a state of before cannot be read any more."""


@dataclass(slots=True)
class Following:
    """Everything the next frame depends on: the tracker's memory, and how many frames it took."""

    session: TrackerSession
    index: int = 0


def save_state(now: Following, version: str) -> bytes:
    """The state as one safetensors file, tied to the model's version."""
    session = now.session
    tensors = {
        # A clone: a view would bring the whole batch that it was cut out of.
        f"{place}/{kind}/{frame}/{name}": tensor.detach().clone().contiguous().cpu()
        for place, kind, frame, output in outputs_of(session)
        for name, tensor in output.items()
    }
    facts = {
        "format": FORMAT,
        "version": version,
        "index": now.index,
        "object_ids": session.obj_ids,
    }
    return save(tensors, metadata={"facts": json.dumps(facts)})


def load_state(state: bytes, version: str, device: torch.device) -> Following:
    """The state saved by `save_state`; `ValueError` where it is none of this version."""
    try:
        facts = json.loads(metadata_of(state)["facts"])
        tensors = load(state)
    except (SafetensorError, KeyError, ValueError) as error:
        raise ValueError(f"this is not a state of {version}") from error
    if (facts["format"], facts["version"]) != (FORMAT, version):
        raise ValueError(f"this is not a state of {version}")
    session = TrackerSession(device)
    for object_id in facts["object_ids"]:  # their places are counted anew, in this order
        session.obj_id_to_idx(object_id)
    keys = sorted((_parted(key), key) for key in tensors)  # frames in the order they came in
    for (place, kind, frame, name), key in keys:
        outputs = session.output_dict_per_obj[place][kind]
        outputs.setdefault(frame, {})[name] = tensors[key].to(device)
    return Following(session, facts["index"])


def _parted(key: str) -> tuple[int, str, int, str]:
    place, kind, frame, name = key.split("/")
    return int(place), kind, int(frame), name
