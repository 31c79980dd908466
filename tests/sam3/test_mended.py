"""The defects of transformers' video model: shown with the mend off, gone with it on."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest
import torch

from tests.documents import ROOT, rows
from tests.fakes.tiny_sam3 import film
from tests.sam3.conftest import MakeNetwork
from tests.sam3.films import CALM, CONCEPTS, Seen, Watched, follow, never, settle
from workers.segmenters.base import SessionOptions, VideoPrompts
from workers.segmenters.sam3.differences import NONE, Differences
from workers.segmenters.sam3.memory import CONDITIONING_KEPT
from workers.segmenters.sam3.network import Network

DROPPED_ON = 3
FILM = film(12)


def _follow_with_a_drop(network: Network, monkeypatch: pytest.MonkeyPatch) -> Seen:
    """The frame on which the first object is dropped."""
    judge = network.model._process_hotstart

    def drop_first(**given: Any) -> tuple[set[int], dict[str, Any]]:
        removed, facts = judge(**given)
        if given["frame_idx"] == DROPPED_ON:
            removed = {given["inference_session"].obj_ids[0]}
            facts["removed_obj_ids"].update(removed)
        return removed, facts

    with monkeypatch.context() as patch:
        patch.setattr(network.model, "_process_hotstart", drop_first)
        seen, _, _ = follow(network, FILM[: DROPPED_ON + 1], CONCEPTS)
    return seen[DROPPED_ON]


def test_the_others_keep_their_own_masks_where_one_is_dropped(
    make_network: MakeNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    calm = {**CALM, "suppress_overlapping_based_on_recent_occlusion_threshold": 0.0}
    undisturbed = settle(make_network(NONE), calm)
    truth = follow(undisturbed, FILM[: DROPPED_ON + 1], CONCEPTS)[0][DROPPED_ON]
    mended = settle(make_network(replace(NONE, own_masks=True)), calm)
    seen = _follow_with_a_drop(mended, monkeypatch)
    assert set(seen.logits) == set(truth.logits) - {1}
    assert all(torch.equal(seen.logits[key], truth.logits[key]) for key in seen.logits)
    plain = _follow_with_a_drop(settle(make_network(NONE), calm), monkeypatch)
    assert torch.equal(plain.logits[2], truth.logits[1])


@pytest.mark.parametrize(("mended", "passes"), [(False, 2 + 3), (True, 2 + 1)])
def test_a_new_object_does_not_make_the_others_be_tracked_again(
    make_network: MakeNetwork, monkeypatch: pytest.MonkeyPatch, mended: bool, passes: int
) -> None:
    network = settle(make_network(replace(NONE, track_once=mended)), CALM, most=2)
    prompts = VideoPrompts(CONCEPTS, threshold=0.0)  # a new object needs 0.2
    session = Watched(network, "tiny", prompts, SessionOptions(1), None)
    session.step(FILM[:2], never)
    calls: list[int] = []
    track = network.model.tracker_model._run_single_frame_inference

    def counted(**given: Any) -> Any:
        calls.append(given["obj_idx"])
        return track(**given)

    monkeypatch.setattr(network.model.tracker_model, "_run_single_frame_inference", counted)
    monkeypatch.setattr(network.model, "max_num_objects", 3)
    monkeypatch.setattr(network.model, "assoc_iou_thresh", 2.0)  # so every detection is new
    session.step(FILM[2:3], never)
    assert len(session.watched[-1].logits) == 3
    assert len(calls) == passes


def test_conditioning_frames_of_an_object_do_not_pile_up(make_network: MakeNetwork) -> None:
    eager = {
        **CALM,
        "recondition_every_nth_frame": 2,
        "high_conf_thresh": -1e9,
        "high_iou_thresh": -1.0,
        "assoc_iou_thresh": 0.01,
    }
    kept = []
    for few in (False, True):
        network = settle(make_network(replace(NONE, few_pointers=few)), eager, most=2)
        _, _, session = follow(network, film(16), CONCEPTS)
        outputs = session._now.session.output_dict_per_obj.values()
        kept.append(max(len(one["cond_frame_outputs"]) for one in outputs))
    assert kept[0] > CONDITIONING_KEPT
    assert kept[1] == CONDITIONING_KEPT


def test_all_objects_go_through_the_tracker_in_one_batch(
    make_network: MakeNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    for together in (False, True):
        network = settle(make_network(replace(NONE, together=together)), CALM)
        batches: list[int] = []
        attention = network.model.tracker_model.memory_attention
        attend = attention.forward

        def counted(attend: Any = attend, batches: list[int] = batches, **given: Any) -> Any:
            batches.append(given["memory"].shape[1])
            return attend(**given)

        monkeypatch.setattr(attention, "forward", counted)
        follow(network, FILM[:2], CONCEPTS)
        calls.append(batches)
    assert calls == [[1, 1, 1, 1], [4]]


@pytest.mark.parametrize("path", ["docs/sam3.md", "docs/zh/sam3.md"])
def test_the_document_names_every_difference_in_its_order(path: str) -> None:
    first = {"docs/sam3.md": "field", "docs/zh/sam3.md": "字段"}[path]
    told = [row[0] for row in rows(ROOT / path, first)]
    assert told == [field.name for field in fields(Differences)]


def test_all_differences_are_on_in_the_product(make_network: MakeNetwork) -> None:
    assert make_network().differences == Differences()
