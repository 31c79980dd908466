"""SAM3's video model, its defects mended: one frame at a time, on features looked up ahead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor
from transformers import Sam3VideoModel
from transformers.models.sam3_video import modeling_sam3_video as plain

from workers.segmenters.sam3 import together
from workers.segmenters.sam3.differences import Differences
from workers.segmenters.sam3.features import Detections, Features
from workers.segmenters.sam3.memory import SHOWN, FlatSession
from workers.segmenters.sam3.relief import MOST_OBJECTS

Found = Mapping[int, Detections]
"""The detections on a frame that are over the threshold, by the concept's number."""


@dataclass(slots=True)
class Frame:
    """One frame on its way through the model.

    `found` is none where the detector did not look. `shown` are the logits of objects that the
    client shows here for the first time, `dropped` counts new objects beyond the most.
    """

    index: int
    maps: list[Tensor]
    positions: list[Tensor]
    found: Found | None
    shown: Mapping[int, Tensor] = field(default_factory=dict)
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class Terms:
    """What holds for a whole video.

    Detections count over `threshold`; on frames divisible by `refresh_every` a sure one renews the
    memory of its object. At most `most` objects of a concept are followed.
    """

    threshold: float
    refresh_every: int
    most: int


@dataclass(frozen=True, slots=True)
class Followed:
    """The objects on a frame by id: logits, height x width, and scores 0-1; who was dropped.

    `hidden` are there but not to be told.
    """

    logits: dict[int, Tensor]
    scores: dict[int, float]
    removed: frozenset[int]
    hidden: frozenset[int]
    began: bool
    dropped: int


class TrackingModel(Sam3VideoModel):  # type: ignore[misc]  # transformers has no types
    """transformers' model, driven frame by frame by `follow`."""

    differences = Differences()
    _most = MOST_OBJECTS

    def tracker_view(self, seen: Features) -> tuple[list[Tensor], list[Tensor]]:
        """The tracker's maps and their position encodings: patches x pictures x channels."""
        maps, positions = self.get_vision_features_for_tracker(vision_embeds=seen)
        return list(maps), list(positions)

    def decoder_views(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """The tracker's maps of one picture as its mask decoder takes them without a memory.

        `maps` are patches x 1 x channels, the views 1 x channels x height x width.
        """
        tracker = self.tracker_model
        views = [
            level.permute(1, 2, 0).view(1, -1, *size)
            for level, size in zip(maps, tracker.backbone_feature_sizes, strict=True)
        ]
        if self.differences.no_memory:
            views[-1] = views[-1] + tracker.no_memory_embedding.view(1, -1, 1, 1)
        return views

    def likely(self, found: Detections, threshold: float) -> Detections:
        """The detections over the threshold, without those that overlap a better one."""
        scores = found.scores
        if self.det_nms_thresh > 0:
            kept = plain.nms_masks(scores, found.logits, threshold, self.det_nms_thresh)
            scores = torch.where(kept, scores, 0.0)
        over = scores > threshold
        return Detections(scores[over], found.logits[over], found.boxes[over])

    def follow(self, session: FlatSession, frame: Frame, terms: Terms) -> Followed:
        """Tracks every object on the frame, begins new ones and drops those that were none."""
        self.score_threshold_detection = terms.threshold
        self.new_det_thresh = max(terms.threshold, min(0.95, terms.threshold + 0.2))
        self.recondition_every_nth_frame = terms.refresh_every
        self._most = terms.most
        self._frame = frame
        before = set(session.obj_ids)
        out = self(inference_session=session, frame_idx=frame.index)
        logits = {object_id: mask[0] for object_id, mask in out.obj_id_to_mask.items()}
        told = out.obj_id_to_score
        if self.differences.frame_scores:
            told = {**told, **out.obj_id_to_tracker_score}
        return Followed(
            logits=logits,
            scores={object_id: float(told[object_id]) for object_id in logits},
            removed=frozenset(out.removed_obj_ids),
            hidden=frozenset(out.suppressed_obj_ids),
            began=bool(set(session.obj_ids) - before),
            dropped=frame.dropped,
        )

    def show(self, session: FlatSession, frame: int, masks: Mapping[int, Tensor]) -> None:
        """Makes the frame one that tells what the objects are: logits, height x width, by id."""
        for object_id in masks:
            session.obj_id_to_prompt_id[object_id] = SHOWN
            session.obj_id_to_score.setdefault(object_id, 1.0)
            session.obj_first_frame_idx.setdefault(object_id, frame)
            session.trk_keep_alive[object_id] = self.max_trk_keep_alive
        self._begin(session, frame, list(masks), [logits > 0 for logits in masks.values()])

    def _det_track_one_frame(
        self,
        inference_session: FlatSession,
        frame_idx: int,
        reverse: bool,  # noqa: FBT001 - transformers' arguments
        streaming: bool = False,  # noqa: FBT001, ARG002 - transformers' arguments
    ) -> tuple[dict[int, Tensor], dict[int, float], dict[str, Any], list[float]]:
        session, frame = inference_session, self._frame
        found = _as_plain(frame.found)
        detections, concepts = self._merge_detections_from_prompts(found, session)
        session.cache.cache_vision_features(
            frame_idx, {"vision_feats": frame.maps, "vision_pos_embeds": frame.positions}
        )
        where: dict[str, Any] = {
            "inference_session": session,
            "frame_idx": frame_idx,
            "reverse": reverse,
        }
        tracked = list(session.obj_ids)
        logits, score_logits = self.run_tracker_propagation(**where)
        plan, facts = self.run_tracker_update_planning_phase(
            **where,
            det_out=detections,
            tracker_low_res_masks_global=logits,
            tracker_obj_scores_global=score_logits,
            det_idx_to_prompt_id=concepts,
        )
        self.run_tracker_update_execution_phase(
            **where, det_out=detections, tracker_update_plan=plan
        )
        aligned = tracked if self.differences.own_masks else list(session.obj_ids)
        masks = self._masks(session, aligned, detections, logits, plan)
        scores = score_logits.sigmoid().tolist()
        told = facts["obj_id_to_tracker_score_frame_wise"][frame_idx]
        told.update(zip(aligned, scores, strict=False))
        return masks, facts["obj_id_to_score"], facts, scores

    def _masks(
        self,
        session: FlatSession,
        owners: Sequence[int],
        detections: Mapping[str, Tensor],
        logits: Tensor,
        plan: Mapping[str, Any],
    ) -> dict[int, Tensor]:
        """The masks of tracked and new objects; `logits` are those of the `owners`, in order."""
        now, session.obj_ids = session.obj_ids, list(owners)
        try:
            masks: dict[int, Tensor] = self.build_outputs(
                inference_session=session,
                det_out=detections,
                tracker_low_res_masks_global=logits,
                tracker_update_plan=plan,
                reconditioned_obj_ids=plan["reconditioned_obj_ids"],
            )
        finally:
            session.obj_ids = now
        if self.differences.own_masks:
            masks = {object_id: mask for object_id, mask in masks.items() if object_id in now}
        return masks

    def run_tracker_propagation(
        self,
        inference_session: FlatSession,
        frame_idx: int,
        reverse: bool,  # noqa: FBT001 - transformers' arguments
    ) -> tuple[Tensor, Tensor]:
        """Logits, n x height x width, and score logits, n, of the objects on the frame."""
        if not inference_session.obj_ids or not self.differences.together:
            found: tuple[Tensor, Tensor] = super().run_tracker_propagation(
                inference_session=inference_session, frame_idx=frame_idx, reverse=reverse
            )
            return found
        logits, scores = together.track(
            self.tracker_model,
            inference_session,
            frame_idx,
            chosen=self.differences.chooses_memory,
        )
        filled = plain.fill_holes_in_mask_scores(logits[:, None], max_area=self.fill_hole_area)
        return filled[:, 0], scores

    def run_memory_encoder(
        self,
        inference_session: FlatSession,
        frame_idx: int,
        high_res_masks: Tensor,
        object_score_logits: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Memory maps of all objects and their position encodings: patches x n x channels."""
        size = inference_session.at_once
        encode = partial(super().run_memory_encoder, inference_session, frame_idx)
        parts = [
            encode(high_res_masks[first : first + size], object_score_logits[first : first + size])
            for first in range(0, len(high_res_masks), size)
        ]
        maps, positions = zip(*parts, strict=True)
        return torch.cat(maps, dim=1), torch.cat(positions, dim=1)

    def _associate_det_trk(self, **given: Any) -> tuple[Any, ...]:  # noqa: ANN401 - as it comes
        """Which detections are objects followed already; shown ones count, and there is a most."""
        new, *rest = super()._associate_det_trk(**given)
        taken = [logits > 0 for logits in self._frame.shown.values()]
        concepts = given["trk_prompt_ids"].tolist()
        tracked = given["trk_masks"]
        taken += [tracked[row] > 0 for row, one in enumerate(concepts) if one == SHOWN]
        if taken and new:
            masks = given["det_masks"][new] > 0
            overlaps = plain.mask_iou(masks, torch.stack(taken).to(masks.device)).amax(1).tolist()
            pairs = zip(new, overlaps, strict=True)
            new = [place for place, overlap in pairs if overlap < self.assoc_iou_thresh]
        room = {
            concept: self._most - concepts.count(concept)
            for concept in set(given["det_prompt_ids"].tolist())
        }
        allowed = _within(room, new, given["det_scores"], given["det_prompt_ids"])
        self._frame.dropped += len(new) - len(allowed)
        return allowed, *rest

    def _process_hotstart(self, **given: Any) -> tuple[set[int], dict[str, Any]]:  # noqa: ANN401 - as it comes
        """Which new objects turn out to be none; where the detector did not look, nothing does."""
        facts: dict[str, Any] = given["extra_metadata"]
        if self._frame.found is None:
            return set(), facts
        concepts = given["inference_session"].obj_id_to_prompt_id
        given["unmatched_trk_obj_ids"] = [
            one for one in given["unmatched_trk_obj_ids"] if concepts[one] != SHOWN
        ]
        removed: set[int]
        removed, facts = super()._process_hotstart(**given)
        return removed, facts

    def _tracker_add_new_objects(
        self,
        inference_session: FlatSession,
        frame_idx: int,
        new_obj_ids: list[int],
        new_obj_masks: Tensor,
        reverse: bool = False,  # noqa: FBT001 - transformers' arguments
    ) -> None:
        if self.differences.track_once:
            masks = list(new_obj_masks >= 0.5)  # of logits: as transformers has it
            self._begin(inference_session, frame_idx, new_obj_ids, masks)
        else:
            super()._tracker_add_new_objects(
                inference_session, frame_idx, new_obj_ids, new_obj_masks, reverse
            )

    def _begin(
        self, session: FlatSession, frame: int, object_ids: Sequence[int], masks: Sequence[Tensor]
    ) -> None:
        """Makes masks, height x width, the objects' truth on the frame; others are not touched."""
        tracker = self.tracker_model
        places = [session.obj_id_to_idx(object_id) for object_id in object_ids]
        outputs = []
        for place, mask in zip(places, masks, strict=True):
            output = tracker._run_single_frame_inference(
                inference_session=session,
                obj_idx=place,
                frame_idx=frame,
                batch_size=1,
                is_init_cond_frame=True,
                point_inputs=None,
                mask_inputs=mask[None, None].to(session.dtype),
                reverse=False,
            )
            session.output_dict_per_obj[place]["non_cond_frame_outputs"].pop(frame, None)
            session.store_output(place, frame, output_value=output, is_conditioning_frame=True)
            outputs.append(output)
        for first in range(0, len(places), session.at_once):
            part = slice(first, first + session.at_once)
            tracker._batch_encode_memories(
                inference_session=session,
                frame_idx=frame,
                objects_needing_memory_encoding=places[part],
                high_res_masks_for_memory=[one["high_res_masks"] for one in outputs[part]],
                object_score_logits_for_memory=[
                    one["object_score_logits"] for one in outputs[part]
                ],
                is_mask_from_pts_per_obj=[True] * len(places[part]),
            )


def _as_plain(found: Found | None) -> dict[int, dict[str, Tensor]]:
    return {
        concept: {"bbox": one.boxes, "mask": one.logits, "scores": one.scores}
        for concept, one in (found or {}).items()
    }


def _within(
    room: dict[int, int], new: Sequence[int], scores: Tensor, concepts: Tensor
) -> list[int]:
    """The new detections, the best of each concept, for which it has room."""
    allowed: set[int] = set()
    score_of, concept_of = scores.tolist(), concepts.tolist()
    for place in sorted(new, key=lambda one: -score_of[one]):
        concept = concept_of[place]
        if room[concept] > 0:
            room[concept] -= 1
            allowed.add(place)
    return [place for place in new if place in allowed]
