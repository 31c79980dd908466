"""All objects of a video tracked one frame in one batch; transformers takes them one by one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers.models.sam3_tracker_video.modeling_sam3_tracker_video import (
    NO_OBJ_SCORE,
    get_1d_sine_pe,
)

from workers.segmenters.sam3.memory import (
    CONDITIONING_KEPT,
    MAPS_KEPT,
    POINTERS_KEPT,
    WORTH,
    FlatSession,
    Output,
)

Tracker = Any
"""transformers' `Sam3TrackerVideoModel`, which has no type."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What the tracker reads of one object: memory maps and pointers, and how old each is.

    A conditioning frame's map counts as 0 frames old, whatever its age.
    """

    place: int
    ages: tuple[int, ...]
    maps: tuple[Output, ...]
    pointer_ages: tuple[int, ...]
    pointers: tuple[Tensor, ...]

    @property
    def shape(self) -> tuple[tuple[int, ...], int]:
        """Objects of one shape go in one batch."""
        return self.ages, len(self.pointers)


@dataclass(frozen=True, slots=True)
class Tracked:
    """Objects on a frame: logits n x height x width, score logits n, pointers n x channels.

    `fits` n are the tracker's own estimates of how well its masks fit, 0-1.
    """

    logits: Tensor
    scores: Tensor
    pointers: Tensor
    fits: Tensor

    @property
    def worth(self) -> Tensor:
        """What the frame is worth to each object's memory, n: `cal_mem_score` of Meta's code.

        There it is the mean over objects that began on one frame; here each object has its own.
        """
        there = torch.where(self.scores > 0, self.scores.sigmoid() * 2 - 1, 0.0)
        return (there * self.fits).float()


def track(
    tracker: Tracker, session: FlatSession, frame: int, *, chosen: bool
) -> tuple[Tensor, Tensor]:
    """Every object on the frame, in the order of their places: logits and score logits.

    Leaves each object's pointer in the session, as transformers does, and where memory is `chosen`
    what the frame is worth.
    """
    groups: dict[tuple[tuple[int, ...], int], list[Reading]] = {}
    for place, outputs in session.output_dict_per_obj.items():
        reading = _reading(place, outputs, frame, chosen=chosen)
        groups.setdefault(reading.shape, []).append(reading)
    found: dict[int, tuple[Tensor, Tensor]] = {}
    for batch in _batches(groups.values(), session.at_once):
        seen = session.cache.get_vision_features(frame)
        tracked = _decode(tracker, seen, _attend(tracker, seen, batch))
        worth = tracked.worth.cpu() if chosen else None
        for row, reading in enumerate(batch):
            output = {
                "object_pointer": tracked.pointers[row].view(1, 1, -1),
                "object_score_logits": tracked.scores[row].view(1, 1, 1),
                "pred_masks": tracked.logits[row][None, None],
            }
            if worth is not None:
                output[WORTH] = worth[row]
            session.output_dict_per_obj[reading.place]["non_cond_frame_outputs"][frame] = output
            found[reading.place] = tracked.logits[row], tracked.scores[row]
    ordered = [found[place] for place in sorted(found)]
    return torch.stack([one[0] for one in ordered]), torch.stack([one[1] for one in ordered])


def _batches(groups: Iterable[list[Reading]], size: int) -> Iterator[list[Reading]]:
    for group in groups:
        for first in range(0, len(group), size):
            yield group[first : first + size]


def _reading(
    place: int, outputs: Mapping[str, Mapping[int, Output]], frame: int, *, chosen: bool
) -> Reading:
    shown, tracked = outputs["cond_frame_outputs"], outputs["non_cond_frame_outputs"]
    past = (_chosen if chosen else _recent)(tracked, frame)
    maps = [(0, output) for output in list(shown.values())[-CONDITIONING_KEPT:]]
    maps += [(age, past.maps[age]) for age in sorted(past.maps, reverse=True)]
    pointers = [(frame - before, output) for before, output in shown.items()]
    pointers += [(age, past.pointers[age]) for age in sorted(past.pointers)]
    return Reading(
        place,
        tuple(age for age, _ in maps),
        tuple(output for _, output in maps),
        tuple(age for age, _ in pointers),
        tuple(output["object_pointer"].reshape(1, -1) for _, output in pointers),
    )


@dataclass(frozen=True, slots=True)
class Past:
    """Tracked frames that are read, by age: those whose maps are, and those whose pointers are."""

    maps: Mapping[int, Output]
    pointers: Mapping[int, Output]


def _recent(tracked: Mapping[int, Output], frame: int) -> Past:
    """The frames right before this one, by their true age."""
    ages = {age: tracked[frame - age] for age in range(1, POINTERS_KEPT) if frame - age in tracked}
    return Past({age: output for age, output in ages.items() if age <= MAPS_KEPT}, ages)


def _chosen(tracked: Mapping[int, Output], frame: int) -> Past:
    """The frames that the session kept as worth it, and the last one; their age is their rank.

    As `frame_filter` of Meta's code counts, which leaves out the pointer of the oldest one. The
    last frame has its rank even where it is a conditioning frame, which is read as such.
    """
    frames = sorted({*tracked, frame - 1}, reverse=True)
    ranks = {rank: tracked[one] for rank, one in enumerate(frames, 1) if one in tracked}
    return Past(
        {rank: output for rank, output in ranks.items() if rank <= MAPS_KEPT},
        {rank: output for rank, output in ranks.items() if rank < len(frames)},
    )


def _attend(tracker: Tracker, seen: Mapping[str, list[Tensor]], batch: Sequence[Reading]) -> Tensor:
    """The frame's coarsest map as each object's memory shows it: n x channels x height x width."""
    count = len(batch)
    memory, positions = _memory_maps(tracker, batch)
    pointers, ages = _pointer_tokens(tracker, batch)
    view, place = seen["vision_feats"][-1], seen["vision_pos_embeds"][-1]
    attended: Tensor = tracker.memory_attention(
        current_vision_features=view.expand(-1, count, -1),
        current_vision_position_embeddings=place.expand(-1, count, -1),
        memory=torch.cat([*memory, pointers]),
        memory_posision_embeddings=torch.cat([*positions, ages]),
        num_object_pointer_tokens=pointers.shape[0],
    )
    height, width = tracker.backbone_feature_sizes[-1]
    flat = attended.reshape(count, height * width, -1)
    return flat.transpose(1, 2).reshape(count, -1, height, width)


def _memory_maps(tracker: Tracker, batch: Sequence[Reading]) -> tuple[list[Tensor], list[Tensor]]:
    maps, positions = [], []
    device = tracker.memory_temporal_positional_encoding.device  # maps may lie beside it
    for place, age in enumerate(batch[0].ages):
        outputs = [reading.maps[place] for reading in batch]
        maps.append(torch.cat([output["maskmem_features"] for output in outputs], dim=1).to(device))
        position = outputs[0]["maskmem_pos_enc"].to(device)
        position = position + tracker.memory_temporal_positional_encoding[age - 1]
        positions.append(position.expand(-1, len(batch), -1))
    return maps, positions


def _pointer_tokens(tracker: Tracker, batch: Sequence[Reading]) -> tuple[Tensor, Tensor]:
    """Pointers split into tokens of the memory's width, and their encoded ages."""
    count, channels, width = len(batch), tracker.hidden_dim, tracker.mem_dim
    steps = range(len(batch[0].pointers))
    pointers = torch.stack([torch.cat([one.pointers[step] for one in batch]) for step in steps])
    ages = torch.tensor(
        [[float(one.pointer_ages[step]) for one in batch] for step in steps], device=pointers.device
    )
    encoded = get_1d_sine_pe((ages / (POINTERS_KEPT - 1)).flatten(), dim=channels)
    project = tracker.temporal_positional_encoding_projection_layer
    encoded = project(encoded.to(pointers.dtype)).view(len(steps), count, width)
    splits = channels // width
    tokens = pointers.reshape(len(steps), count, splits, width).permute(0, 2, 1, 3)
    return tokens.flatten(0, 1), encoded.repeat_interleave(splits, dim=0)


def _decode(tracker: Tracker, seen: Mapping[str, list[Tensor]], views: Tensor) -> Tracked:
    count, device, dtype = views.shape[0], views.device, views.dtype
    sizes = tracker.backbone_feature_sizes
    fine = [
        level.permute(1, 2, 0).view(1, -1, *size).expand(count, -1, -1, -1)
        for level, size in zip(seen["vision_feats"][:-1], sizes[:-1], strict=True)
    ]
    sparse, dense = tracker.prompt_encoder(
        input_points=torch.zeros(count, 1, 1, 2, dtype=dtype, device=device),
        input_labels=-torch.ones(count, 1, 1, dtype=torch.int32, device=device),
        input_boxes=None,
        input_masks=None,
    )
    masks, fits, tokens, scores = tracker.mask_decoder(
        image_embeddings=views,
        image_positional_embeddings=tracker.get_image_wide_positional_embeddings().repeat(
            count, 1, 1, 1
        ),
        sparse_prompt_embeddings=sparse,
        dense_prompt_embeddings=dense,
        multimask_output=_has_readings(tracker),
        high_resolution_features=fine,
    )
    rows = torch.arange(count, device=device)
    best = fits[:, 0].argmax(-1)
    there = scores[:, 0] > 0
    logits = torch.where(there[..., None], masks[rows, 0, best], NO_OBJ_SCORE)
    chosen = best if tokens.shape[2] > 1 else torch.zeros_like(best)
    pointers = tracker.object_pointer_proj(tokens[rows, 0, chosen])
    visible = there.to(pointers.dtype)
    pointers = visible * pointers + (1 - visible) * tracker.no_object_pointer
    return Tracked(logits, scores[:, 0, 0], pointers, fits[:, 0].amax(-1))


def _has_readings(tracker: Tracker) -> bool:
    """Whether several masks are predicted of a tracked object, the likeliest being taken."""
    config = tracker.config
    return bool(
        config.multimask_output_in_sam
        and config.multimask_output_for_tracking
        and config.multimask_min_pt_num <= 0 <= config.multimask_max_pt_num
    )
