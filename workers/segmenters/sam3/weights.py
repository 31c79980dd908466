"""The network read from a folder that transformers can load."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError
from transformers import Sam3VideoProcessor
from transformers.utils import logging

from visionseg.artifacts.weights import WeightsError
from workers.segmenters.sam3.differences import Differences
from workers.segmenters.sam3.network import Network
from workers.segmenters.sam3.precision import Numerics, cast_heavy_weights
from workers.segmenters.sam3.tracking import TrackingModel


def read_network(
    folder: Path, numerics: Numerics, batch: int, differences: Differences | None = None
) -> Network:
    """The network of a folder's weights, on its device; one copy serves pictures and videos.

    Raises `WeightsError` where the folder holds something else, or not all of it.
    """
    logging.disable_progress_bar()
    try:
        processor = Sam3VideoProcessor.from_pretrained(folder, local_files_only=True)
        model, told = TrackingModel.from_pretrained(
            folder, local_files_only=True, dtype=torch.float32, output_loading_info=True
        )
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise WeightsError(f"{folder} holds no SAM3 that can be loaded: {error}") from error
    if told["missing_keys"]:
        some = ", ".join(sorted(told["missing_keys"])[:3])
        raise WeightsError(f"{folder} lacks weights of SAM3: {some}")
    model.differences = differences or Differences()
    model.eval().requires_grad_(requires_grad=False)
    if numerics.bfloat16:
        cast_heavy_weights(model)
    return Network(model.to(numerics.device), processor, numerics, batch)
