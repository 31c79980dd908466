"""What SAM 2.1 remembers of a video between two frames: as much after 100,000 as after 100."""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import Sam2VideoInferenceSession

from workers.segmenters.sam2.network import Seen
from workers.segmenters.sam3.memory import MAPS_KEPT, POINTERS_KEPT

_ENDLESS = 1_000_000_000
_PASSING = ("high_res_masks", "pred_masks")
_MAPS = ("maskmem_features", "maskmem_pos_enc")
Outputs = dict[int, dict[str, Tensor]]
"""What is remembered of frames, by their index."""


class TrackerSession(Sam2VideoInferenceSession):  # type: ignore[misc]  # transformers has no types
    """transformers' session of one video, which forgets what no later frame reads.

    Frames that the client marked stay, since the tracker reads all of them. The number of frames is
    constant: the encoding of time depends on it, and a growing number gives other masks.
    """

    def __init__(self, device: torch.device) -> None:
        super().__init__(
            inference_device=device,
            inference_state_device=device,
            video_storage_device=device,
            dtype=torch.float32,
        )

    @property
    def num_frames(self) -> int:
        """More than any video has."""
        return _ENDLESS

    def show(self, frame: int, seen: Seen) -> None:
        """Makes the maps of a frame known."""
        features = {"vision_feats": list(seen.maps), "vision_pos_embeds": list(seen.positions)}
        self.cache.cache_vision_features(frame, features)

    def forget(self, frame: int) -> None:
        """Drops what frames after `frame` do not read."""
        self.cache.clear_all()
        for kinds in self.output_dict_per_obj.values():
            _forget_tracked(kinds["non_cond_frame_outputs"], frame)
            for outputs in kinds.values():
                for output in outputs.values():
                    for name in _PASSING:
                        output.pop(name, None)


def _forget_tracked(outputs: Outputs, frame: int) -> None:
    for before in [one for one in outputs if one <= frame - (POINTERS_KEPT - 1)]:
        del outputs[before]
    for before, output in outputs.items():
        if before <= frame - MAPS_KEPT:
            for name in _MAPS:
                output.pop(name, None)
