"""What is remembered of a video between two frames: as much after 100,000 frames as after 100."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from transformers import Sam3VideoInferenceSession

POINTERS_KEPT = 16
"""Frames whose pointers the tracker reads, this one too: `max_object_pointers_in_encoder`."""
MAPS_KEPT = 6
"""Frames before this one whose memory maps the tracker reads: `num_maskmem` less one."""
CONDITIONING_KEPT = 4
"""Conditioning frames of an object that the tracker reads: `max_cond_frame_num`."""
SHOWN = -1
"""Stands where the number of a concept does, for objects that the client showed."""

_ENDLESS = 1_000_000_000
_PASSING = ("high_res_masks", "pred_masks")
_MAPS = ("maskmem_features", "maskmem_pos_enc")


class FlatSession(Sam3VideoInferenceSession):  # type: ignore[misc]  # transformers has no types
    """transformers' session of one video, which forgets what no later frame reads.

    Its number of frames is constant, since the tracker's temporal encoding depends on it, and a
    growing number gives other masks.
    """

    def __init__(self, device: torch.device) -> None:
        super().__init__(
            inference_device=device,
            inference_state_device=device,
            video_storage_device=device,
            dtype=torch.float32,
        )
        self.processed_frames: dict[int, Tensor] = {}
        self.obj_with_new_inputs: list[int] = []  # transformers sets it with its first object

    @property
    def num_frames(self) -> int:
        """More than any video has."""
        return _ENDLESS

    def forget(self, frame: int, evidence: int, *, few_pointers: bool) -> None:
        """Drops what frames after `frame` do not read.

        `evidence` frames of mismatch are enough to judge an object by; without `few_pointers`
        every conditioning frame stays, as transformers has it.
        """
        self.processed_frames.clear()
        self.cache.clear_all()
        for outputs in self.output_dict_per_obj.values():
            _forget_frames(outputs["non_cond_frame_outputs"], frame)
            if few_pointers:
                _keep_last(outputs["cond_frame_outputs"], CONDITIONING_KEPT)
        for _, _, _, output in outputs_of(self):
            for name in _PASSING:
                output.pop(name, None)
        for tracked in self.frames_tracked_per_obj.values():
            tracked.clear()
        for inputs in (self.mask_inputs_per_obj, self.point_inputs_per_obj):
            for given in inputs.values():
                given.clear()
        for passed in (
            self.obj_id_to_tracker_score_frame_wise,
            self.suppressed_obj_ids,
            self.removed_obj_ids,
        ):
            passed.clear()
        self._forget_objects(evidence)

    def _forget_objects(self, evidence: int) -> None:
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
        for frames in (
            *self.unmatched_frame_inds.values(),
            *self.overlap_pair_to_frame_inds.values(),
        ):
            del frames[evidence:]


def outputs_of(session: FlatSession) -> Iterator[tuple[int, str, int, dict[str, Tensor]]]:
    """The remembered outputs: the object's place, the kind of frame, the frame, the tensors."""
    for place, kinds in session.output_dict_per_obj.items():
        for kind, frames in kinds.items():
            for frame, output in frames.items():
                yield place, kind, frame, output


def _forget_frames(outputs: dict[int, dict[str, Tensor]], frame: int) -> None:
    for before in [one for one in outputs if one <= frame - (POINTERS_KEPT - 1)]:
        del outputs[before]
    for before, output in outputs.items():
        if before <= frame - MAPS_KEPT:
            for name in _MAPS:
                output.pop(name, None)


def _keep_last(outputs: dict[int, dict[str, Tensor]], most: int) -> None:
    for before in sorted(outputs)[:-most]:
        del outputs[before]
