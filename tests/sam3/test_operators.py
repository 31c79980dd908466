"""What stands in for the kernels that transformers would download."""

from __future__ import annotations

import socket
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import torchvision
from transformers.models.sam3_video import modeling_sam3_video as sam3_video

from tests.fakes.tiny_sam3 import film
from tests.sam3.conftest import MakeNetwork
from tests.sam3.films import CONCEPTS, follow
from workers.segmenters.sam3.operators import PlainOperators, check_torchvision


@pytest.mark.parametrize("share", [0.2, 0.4, 0.6, 0.9])
def test_small_components_have_the_areas_that_opencv_finds(share: float) -> None:
    generator = torch.Generator().manual_seed(7)
    masks = (torch.rand(4, 1, 48, 52, generator=generator) < share).to(torch.uint8)
    labels, areas = PlainOperators(largest_area=16).cc_2d(masks)
    for mask, found, label in zip(masks, areas, labels, strict=True):
        plane = mask[0].numpy()
        _, parts, stats, _ = cv2.connectedComponentsWithStats(plane, connectivity=8)
        truth = np.where(plane > 0, stats[parts, cv2.CC_STAT_AREA], 0)
        small = truth <= 16
        assert (found[0].numpy()[small] == truth[small]).all()
        assert (found[0].numpy()[~small] > 16).all()
        assert ((label[0].numpy() > 0) == (plane > 0)).all()


def test_of_overlapping_masks_the_best_is_kept() -> None:
    ious = torch.tensor(
        [[1.0, 0.9, 0.0, 0.2], [0.9, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.6], [0.2, 0.0, 0.6, 1.0]]
    )
    scores = torch.tensor([0.5, 0.8, 0.9, 0.7])
    kept = PlainOperators().generic_nms(ious, scores, 0.5)
    assert kept.tolist() == [2, 1]


def test_a_rival_that_was_dropped_drops_nobody() -> None:
    ious = torch.tensor([[1.0, 0.9, 0.0], [0.9, 1.0, 0.9], [0.0, 0.9, 1.0]])
    kept = PlainOperators().generic_nms(ious, torch.tensor([0.9, 0.8, 0.7]), 0.5)
    assert kept.tolist() == [0, 2]


def test_transformers_uses_them_and_asks_nobody_else() -> None:
    assert isinstance(sam3_video.cv_utils_kernel, PlainOperators)
    logits = torch.full((1, 1, 12, 12), 1.0)
    logits[0, 0, 5, 5] = -1.0
    filled = sam3_video.fill_holes_in_mask_scores(logits, max_area=16)
    assert bool((filled > 0).all())


def test_a_torchvision_that_does_not_fit_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    check_torchvision()
    monkeypatch.setattr(torchvision.extension, "_has_ops", lambda: False)
    with pytest.raises(RuntimeError, match="do not fit each other"):
        check_torchvision()


def test_a_video_with_every_operator_asks_nobody_on_the_network(
    make_network: MakeNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, used = list[object](), set[str]()

    def connect(_: object, address: object) -> None:
        asked.append(address)
        raise OSError("there is no network")

    for name in ("generic_nms", "cc_2d"):
        operator = getattr(PlainOperators, name)

        def counted(
            *given: Any, operator: Any = operator, name: str = name, **named: Any
        ) -> object:
            used.add(name)
            return operator(*given, **named)

        monkeypatch.setattr(PlainOperators, name, counted)
    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setattr(socket, "getaddrinfo", connect)
    network = make_network()
    assert network.model.det_nms_thresh > 0
    assert network.model.fill_hole_area > 0
    follow(network, film(4), CONCEPTS)
    assert used == {"generic_nms", "cc_2d"}
    assert asked == []
