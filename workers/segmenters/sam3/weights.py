"""Networks read from folders that transformers can load."""

from __future__ import annotations

from pathlib import Path
from typing import Any

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
    model, processor = read_model(TrackingModel, Sam3VideoProcessor, folder, numerics, "SAM3")
    model.differences = differences or Differences()
    return Network(model, processor, numerics, batch)


def read_model(
    kind: Any,  # noqa: ANN401 - transformers has no types
    processor_kind: Any,  # noqa: ANN401 - likewise
    folder: Path,
    numerics: Numerics,
    title: str,
) -> tuple[Any, Any]:
    """A model of transformers and its processor, on the device, not to be trained.

    Raises `WeightsError` where the folder holds something else, or not all of what `title` names.
    """
    logging.disable_progress_bar()
    try:
        processor = processor_kind.from_pretrained(folder, local_files_only=True)
        model, told = kind.from_pretrained(
            folder, local_files_only=True, dtype=torch.float32, output_loading_info=True
        )
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise WeightsError(f"{folder} holds no {title} that can be loaded: {error}") from error
    if told["missing_keys"]:
        some = ", ".join(sorted(told["missing_keys"])[:3])
        raise WeightsError(f"{folder} lacks weights of {title}: {some}")
    model.eval().requires_grad_(requires_grad=False)
    if numerics.bfloat16:
        cast_heavy_weights(model)
    return model.to(numerics.device), processor
