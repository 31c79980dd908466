"""Operators that transformers would fetch at run time, in plain torch, and a check of torchvision.

transformers takes non-maximum suppression and connected components from compiled kernels that it
downloads at their first use, and silently goes without them where it cannot.
"""

from __future__ import annotations

import importlib

import torch
from torch import Tensor
from torch.nn.functional import max_pool2d
from transformers.models.sam3_video import modeling_sam3_video as sam3_video

_LARGEST_HOLE = 16  # pixels of the low-resolution mask: `fill_hole_area` of SAM3's configuration


class PlainOperators:
    """The two operators that SAM3 uses, with the names and arguments it calls them by."""

    def __init__(self, largest_area: int = _LARGEST_HOLE) -> None:
        self._largest_area = largest_area

    def generic_nms(
        self,
        ious: Tensor,
        scores: Tensor,
        iou_threshold: float,
        use_iou_matrix: bool = True,  # noqa: FBT001, ARG002 - transformers' arguments
    ) -> Tensor:
        """The indexes kept, best score first: none overlaps a better one above the threshold.

        `ious` is n x n, `scores` n.
        """
        order = scores.argsort(descending=True, stable=True)
        rivals = (ious[order][:, order] > iou_threshold).tolist()
        kept: list[int] = []
        for place in range(len(rivals)):
            if not any(rivals[better][place] for better in kept):
                kept.append(place)
        return order[torch.tensor(kept, device=order.device, dtype=torch.long)]

    def cc_2d(
        self,
        mask: Tensor,
        get_counts: bool = True,  # noqa: FBT001, ARG002 - transformers' arguments
    ) -> tuple[Tensor, Tensor]:
        """Labels and areas, in pixels, of 8-connected components; n x 1 x height x width each.

        Areas up to the largest one asked for are exact; a larger component is told as larger, and
        its labels may be several. Outside of components both are 0.
        """
        count, _, height, width = mask.shape
        inside = mask > 0
        beyond = height * width + 1
        places = torch.arange(1, beyond, device=mask.device, dtype=torch.float32)
        labels = places.view(1, 1, height, width).expand(count, 1, height, width) * inside
        for _ in range(self._largest_area):
            labels = max_pool2d(labels, 3, 1, 1) * inside
        offsets = torch.arange(count, device=mask.device).view(count, 1, 1, 1) * beyond
        flat = (labels.long() + offsets).flatten()
        areas = torch.zeros(count * beyond, device=mask.device, dtype=torch.int32)
        areas.scatter_add_(0, flat, inside.flatten().int())
        areas[flat[_unsettled(labels, inside).flatten()]] = beyond
        found = areas[flat].view(count, 1, height, width)
        return labels.int(), torch.where(inside, found, 0).int()


def _unsettled(labels: Tensor, inside: Tensor) -> Tensor:
    """Pixels that touch another label of their own component: it is a larger one."""
    most = max_pool2d(labels, 3, 1, 1)
    lowest = -max_pool2d(-torch.where(inside, labels, torch.inf), 3, 1, 1)
    return inside & ((most != labels) | (lowest != labels))


def install() -> None:
    """Gives transformers the plain operators, so that it fetches nothing."""
    sam3_video.cv_utils_kernel = PlainOperators()


def check_torchvision() -> None:
    """Raises `RuntimeError` where torchvision's compiled operators do not fit this torch."""
    torchvision = importlib.import_module("torchvision")
    if not torchvision.extension._has_ops():  # noqa: SLF001 - there is no public way to ask
        raise RuntimeError(
            f"torchvision {torchvision.__version__} and torch {torch.__version__} do not fit each "
            "other: torchvision's compiled operators are missing. Install both from one source, "
            "as the extra `sam3` pins them."
        )
