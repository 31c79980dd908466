"""A real SAM3 of 4 million random parameters, saved as the true one is and loaded like it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from transformers import (
    CLIPTokenizer,
    Sam2VideoVideoProcessor,
    Sam3Config,
    Sam3ImageProcessor,
    Sam3TrackerVideoConfig,
    Sam3VideoConfig,
    Sam3VideoModel,
    Sam3VideoProcessor,
)

GRID = 8  # patches a side
PATCH = 14
SIDE = GRID * PATCH
CHANNELS = 128  # the least: memories have 64, and a pointer is split into at least two of them
QUERIES = 10

_RESTLESS = ("memory_temporal_positional_encoding", "no_memory", "no_object_pointer", "occlusion")
_DRAWING = ("mask_embedder", "instance_projection", "output_hypernetworks", "upscale", "pixel_dec")


def save_tiny(folder: Path) -> Path:
    """Writes weights, configuration, tokenizer and processors into the folder."""
    words = tokenizer()
    return _save(folder, _config(len(words)), words, SIDE, GRID)


def save_full(folder: Path) -> Path:
    """`save_tiny` with a network of the true one's size: 860 million parameters, 3.4 GB."""
    return _save(folder, Sam3VideoConfig(), tokenizer(), 1008, 72)


def _save(
    folder: Path, config: Sam3VideoConfig, words: CLIPTokenizer, side: int, grid: int
) -> Path:
    torch.manual_seed(0)
    model = Sam3VideoModel(config).eval()
    enliven(model)
    model.save_pretrained(folder, save_original_format=False)
    pictures, videos = processors(side, grid)
    Sam3VideoProcessor(pictures, videos, words).save_pretrained(folder)
    return folder


def film(frames: int, height: int = 54, width: int = 96) -> list[npt.NDArray[np.uint8]]:
    """Three squares moving over noise."""
    noise = np.random.default_rng(0).integers(0, 80, (height, width, 3), dtype=np.uint8)
    colours = ((255, 60, 40), (40, 255, 60), (60, 40, 255))
    made = []
    for number in range(frames):
        frame = noise.copy()
        for place, colour in enumerate(colours):
            x = (6 + 24 * place + 2 * number) % (width - 16)
            y = (4 + 12 * place + number) % (height - 16)
            frame[y : y + 14, x : x + 14] = colour
        made.append(frame)
    return made


def enliven(model: Any) -> None:
    """Makes random weights give varied masks, so that comparisons compare something."""
    generator = torch.Generator().manual_seed(1)
    for name, parameter in model.named_parameters():
        if any(part in name for part in _RESTLESS):
            parameter.data.normal_(0, 0.5, generator=generator)
        elif parameter.dim() > 1 and any(part in name for part in _DRAWING):
            parameter.data.normal_(0, 0.3, generator=generator)


def vision() -> dict[str, Any]:
    """The configuration of the vision encoder."""
    return {
        "model_type": "sam3_vision_model",
        "backbone_config": {
            "model_type": "sam3_vit_model",
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "intermediate_size": 64,
            "image_size": SIDE,
            "pretrain_image_size": 56,
            "patch_size": PATCH,
            "window_size": 4,
            "global_attn_indexes": [1],
        },
        "fpn_hidden_size": CHANNELS,
        "backbone_feature_sizes": [[4 * GRID] * 2, [2 * GRID] * 2, [GRID] * 2],
        "scale_factors": [4.0, 2.0, 1.0, 0.5],
    }


def _config(words: int) -> Sam3VideoConfig:
    text = {
        "model_type": "clip_text_model",
        "vocab_size": words,
        "hidden_size": 32,
        "intermediate_size": 64,
        "projection_dim": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "max_position_embeddings": 32,
        "hidden_act": "gelu",
        "bos_token_id": 0,
        "eos_token_id": 1,
        "pad_token_id": 1,
    }
    detector = Sam3Config(vision_config=vision(), text_config=text, **detector_parts())
    return Sam3VideoConfig(
        detector_config=detector, tracker_config=_tracker(), low_res_mask_size=4 * GRID
    )


def detector_parts() -> dict[str, dict[str, Any]]:
    """The configurations of what stands between the encoders and the detections."""
    part = {"hidden_size": CHANNELS, "num_attention_heads": 2}
    layer = part | {"num_layers": 1, "intermediate_size": 64}
    return {
        "geometry_encoder_config": layer | {"roi_size": 7},
        "detr_encoder_config": layer,
        "detr_decoder_config": layer | {"num_queries": QUERIES},
        "mask_decoder_config": part | {"num_upsampling_stages": 2},
    }


def _tracker() -> Sam3TrackerVideoConfig:
    prompts = {
        "hidden_size": CHANNELS,
        "image_size": SIDE,
        "patch_size": PATCH,
        "mask_input_channels": 16,
    }
    decoder = {
        "hidden_size": CHANNELS,
        "mlp_dim": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "iou_head_hidden_dim": CHANNELS,
        "attention_downsample_rate": 2,
    }
    return Sam3TrackerVideoConfig(
        vision_config=vision(),
        prompt_encoder_config=prompts,
        mask_decoder_config=decoder,
        image_size=SIDE,
        memory_attention_hidden_size=CHANNELS,
        memory_attention_num_layers=1,
        memory_attention_feed_forward_hidden_size=64,
        memory_encoder_hidden_size=CHANNELS,
        memory_encoder_output_channels=64,
        mask_downsampler_embed_dim=CHANNELS,
        memory_fuser_embed_dim=CHANNELS,
        memory_fuser_intermediate_dim=64,
    )


def processors(
    side: int = SIDE, grid: int = GRID
) -> tuple[Sam3ImageProcessor, Sam2VideoVideoProcessor]:
    """Those of pictures and of videos."""
    size, mask_size = ({"height": length, "width": length} for length in (side, 4 * grid))
    middle = [0.5, 0.5, 0.5]
    pictures = Sam3ImageProcessor(
        size=size, mask_size=mask_size, image_mean=middle, image_std=middle
    )
    return pictures, Sam2VideoVideoProcessor(size=size, image_mean=middle, image_std=middle)


def tokenizer() -> CLIPTokenizer:
    """Byte pairs: each byte, each byte at a word's end, and a few pieces of words."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in shown]
    letters = [chr(byte) for byte in shown] + [chr(256 + place) for place in range(len(hidden))]
    merges = [("p", "e"), ("pe", "r"), ("s", "o"), ("so", "n</w>"), ("per", "son</w>")]
    pieces = ["<|startoftext|>", "<|endoftext|>", *letters]
    pieces += [f"{letter}</w>" for letter in letters] + ["".join(merge) for merge in merges]
    words = {piece: number for number, piece in enumerate(dict.fromkeys(pieces))}
    return CLIPTokenizer(vocab=words, merges=merges, model_max_length=32)
