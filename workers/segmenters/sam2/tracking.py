"""SAM 2.1's tracker driven frame by frame: each object from its memory, or from its marks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from workers.segmenters.sam2.memory import TrackerSession
from workers.segmenters.sam3.marking import in_model_pixels
from workers.segmenters.sam3.shown import Marks

Model = Any
"""transformers' `Sam2VideoModel`, which has no type."""
_CORNERS = (2, 3)
"""How the prompt encoder is told that two points are a box."""
_SUREST = 32.0
"""The largest logit of a mask that is corrected, as in Meta's code."""


@dataclass(frozen=True, slots=True)
class Tracked:
    """An object on a frame: its logits, height x width, and its score 0-1."""

    logits: Tensor
    score: float


def track(model: Model, session: TrackerSession, frame: int) -> dict[int, Tracked]:
    """Every object followed so far, by id, as its memory finds it on the frame."""
    outputs = {}
    for place in range(session.get_obj_num()):
        outputs[place] = _infer(model, session, frame, place)
        session.store_output(place, frame, output_value=outputs[place], is_conditioning_frame=False)
    _remember(model, session, frame, outputs, marked=False)
    return {session.obj_idx_to_id(place): _tracked(one) for place, one in outputs.items()}


def show(
    model: Model,
    session: TrackerSession,
    frame: int,
    marks: Mapping[int, Marks],
    size: tuple[int, int],
) -> dict[int, Tracked]:
    """The objects that marks tell on the frame, by id; from now on they are followed as such.

    A box, and clicks on what is not followed, tell an object anew; clicks on what is followed
    correct the mask that `track` found on this frame.
    """
    outputs = {}
    for object_id, given in marks.items():
        corrects = object_id in session.obj_ids and given.box is None
        place = session.obj_id_to_idx(object_id)
        tracked = session.output_dict_per_obj[place]["non_cond_frame_outputs"].pop(frame, None)
        before = tracked["pred_masks"].clamp(-_SUREST, _SUREST) if corrects else None
        outputs[place] = _infer(
            model, session, frame, place, points=_as_points(model, given, size), before=before
        )
        session.store_output(place, frame, output_value=outputs[place], is_conditioning_frame=True)
    _remember(model, session, frame, outputs, marked=True)
    return {session.obj_idx_to_id(place): _tracked(one) for place, one in outputs.items()}


def _infer(
    model: Model,
    session: TrackerSession,
    frame: int,
    place: int,
    points: Mapping[str, Tensor] | None = None,
    before: Tensor | None = None,
) -> dict[str, Tensor]:
    output: dict[str, Tensor] = model._run_single_frame_inference(
        inference_session=session,
        frame_idx=frame,
        obj_idx=place,
        batch_size=1,
        is_init_cond_frame=points is not None and before is None,
        point_inputs=points,
        mask_inputs=None,
        reverse=False,
        prev_sam_mask_logits=before,
    )
    return output


def _remember(
    model: Model,
    session: TrackerSession,
    frame: int,
    outputs: Mapping[int, Mapping[str, Tensor]],
    *,
    marked: bool,
) -> None:
    model._batch_encode_memories(
        inference_session=session,
        frame_idx=frame,
        objects_needing_memory_encoding=list(outputs),
        high_res_masks_for_memory=[one["high_res_masks"] for one in outputs.values()],
        object_score_logits_for_memory=[one["object_score_logits"] for one in outputs.values()],
        is_mask_from_pts_per_obj=[marked] * len(outputs),
    )


def _as_points(model: Model, given: Marks, size: tuple[int, int]) -> dict[str, Tensor]:
    corners: Sequence[tuple[float, float]] = ()
    if given.box is not None:
        box = given.box
        corners = ((box.x_min, box.y_min), (box.x_max, box.y_max))
    places = [*corners, *((one.x, one.y) for one in given.points)]
    labels = [*_CORNERS[: len(corners)], *(int(one.positive) for one in given.points)]
    device = model.device
    scale = in_model_pixels(float(model.image_size), size)
    return {
        "point_coords": (torch.tensor([[places]]) * scale).to(device),
        "point_labels": torch.tensor([[labels]], dtype=torch.int32, device=device),
    }


def _tracked(output: Mapping[str, Tensor]) -> Tracked:
    score = float(output["object_score_logits"].float().sigmoid())
    return Tracked(output["pred_masks"][0, 0], score)
