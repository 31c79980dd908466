"""What is remembered of a video between two frames: as much after 100,000 frames as after 100."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from copy import copy
from typing import Any

import torch
from torch import Tensor
from transformers import Sam3VideoInferenceSession

from workers.segmenters.sam3.differences import Differences
from workers.segmenters.sam3.relief import MOST_AT_ONCE

POINTERS_KEPT = 16
"""Frames whose pointers the tracker reads, this one too: `max_object_pointers_in_encoder`."""
MAPS_KEPT = 6
"""Frames before this one whose memory maps the tracker reads: `num_maskmem` less one."""
CONDITIONING_KEPT = 4
"""Conditioning frames of an object that the tracker reads: `max_cond_frame_num`."""
WORTH = "worth"
"""Where an output holds how well the object was seen, until that is judged: 0-1, on the CPU."""
LEAST_WORTH = 0.01
"""A frame worth more is remembered: `mf_threshold` of Meta's sam3_tracker_base.py."""
SHOWN = -1
"""Stands where the number of a concept does, for objects that the client showed."""

Output = dict[str, Tensor]
"""What the tracker leaves of one object on one frame."""

_ENDLESS = 1_000_000_000
_PASSING = ("high_res_masks", "pred_masks")
_MAPS = ("maskmem_features", "maskmem_pos_enc")


class FlatSession(Sam3VideoInferenceSession):  # type: ignore[misc]  # transformers has no types
    """transformers' session of one video, which forgets what no later frame reads.

    Its number of frames is constant, since the tracker's temporal encoding depends on it, and a
    growing number gives other masks. `at_once` objects go through the tracker in one batch.
    """

    def __init__(self, device: torch.device) -> None:
        super().__init__(
            inference_device=device,
            inference_state_device=device,
            video_storage_device=device,
            dtype=torch.float32,
        )
        self.processed_frames: dict[int, Tensor] = {}
        self.at_once = MOST_AT_ONCE
        self.obj_with_new_inputs: list[int] = []  # transformers sets it with its first object

    @property
    def num_frames(self) -> int:
        """More than any video has."""
        return _ENDLESS

    def copied(self) -> FlatSession:
        """The session as it is now; the tensors are the same, which nobody writes into."""
        other = copy(self)
        for name, value in vars(self).items():
            setattr(other, name, _copied(value))
        return other

    def to_host(self) -> None:
        """Holds memory maps beside the device from now on."""
        self.inference_state_device = torch.device("cpu")
        self._place_maps()

    def drop(self, object_ids: Iterable[int]) -> None:
        """Follows these objects no further."""
        for object_id in object_ids:
            self.remove_object(object_id)
            self.obj_id_to_last_occluded.pop(object_id, None)
        self._forget_objects()

    def forget(self, frame: int, evidence: int, differences: Differences) -> None:
        """Drops what frames after `frame` do not read.

        `evidence` frames of mismatch are enough to judge an object by; without the difference
        `few_pointers` every conditioning frame stays, as transformers has it.
        """
        self._forget_passing()
        for outputs in self.output_dict_per_obj.values():
            if differences.chooses_memory:
                _forget_unchosen(outputs["non_cond_frame_outputs"], frame)
            else:
                _forget_frames(outputs["non_cond_frame_outputs"], frame)
            if differences.few_pointers:
                _keep_last(outputs["cond_frame_outputs"], CONDITIONING_KEPT)
        self._place_maps()
        self._forget_objects()
        for frames in (
            *self.unmatched_frame_inds.values(),
            *self.overlap_pair_to_frame_inds.values(),
        ):
            del frames[evidence:]

    def _forget_passing(self) -> None:
        """What no frame reads but the one it was made on."""
        self.processed_frames.clear()
        self.cache.clear_all()
        for _, _, _, output in outputs_of(self):
            for name in _PASSING:
                output.pop(name, None)
        for by_object in (
            self.frames_tracked_per_obj,
            self.mask_inputs_per_obj,
            self.point_inputs_per_obj,
        ):
            for passed in by_object.values():
                passed.clear()
        self.obj_id_to_tracker_score_frame_wise.clear()
        self.suppressed_obj_ids.clear()
        self.removed_obj_ids.clear()

    def _place_maps(self) -> None:
        if self.inference_state_device == self.inference_device:
            return
        for _, _, _, output in outputs_of(self):
            for name in _MAPS:
                if name in output:
                    output[name] = output[name].to(self.inference_state_device)

    def _forget_objects(self) -> None:
        live = set(self.obj_ids)
        for known in (
            self.obj_id_to_score,
            self.trk_keep_alive,
            self.obj_first_frame_idx,
            self.unmatched_frame_inds,
            self.obj_id_to_prompt_id,
        ):
            for object_id in set(known) - live:
                del known[object_id]
        for pair in [pair for pair in self.overlap_pair_to_frame_inds if pair[1] not in live]:
            del self.overlap_pair_to_frame_inds[pair]


def outputs_of(session: FlatSession) -> Iterator[tuple[int, str, int, Output]]:
    """The remembered outputs: the object's place, the kind of frame, the frame, the tensors."""
    for place, kinds in session.output_dict_per_obj.items():
        for kind, frames in kinds.items():
            for frame, output in frames.items():
                yield place, kind, frame, output


def _copied(value: Any) -> Any:  # noqa: ANN401 - whatever transformers keeps
    """Containers are copied, however deep; what they hold is not."""
    if isinstance(value, dict):
        other = copy(value)
        other.update((key, _copied(one)) for key, one in value.items())
        return other
    if isinstance(value, list):
        return [_copied(one) for one in value]
    return copy(value) if isinstance(value, set) else value


def _forget_frames(outputs: dict[int, Output], frame: int) -> None:
    for before in [one for one in outputs if one <= frame - (POINTERS_KEPT - 1)]:
        del outputs[before]
    for before, output in outputs.items():
        if before <= frame - MAPS_KEPT:
            for name in _MAPS:
                output.pop(name, None)


def _forget_unchosen(outputs: dict[int, Output], frame: int) -> None:
    """Keeps the last frames that were worth it, and `frame`, which the next one reads anyway."""
    for before in [one for one in outputs if one < frame]:
        if float(outputs[before].pop(WORTH, 1.0)) <= LEAST_WORTH:
            del outputs[before]
    good = [one for one, output in outputs.items() if float(output.get(WORTH, 1.0)) > LEAST_WORTH]
    for before in outputs.keys() - {frame, *sorted(good)[1 - POINTERS_KEPT :]}:
        del outputs[before]
    for before in sorted(outputs)[:-MAPS_KEPT]:
        for name in _MAPS:
            outputs[before].pop(name, None)


def _keep_last(outputs: dict[int, Output], most: int) -> None:
    for before in sorted(outputs)[:-most]:
        del outputs[before]
