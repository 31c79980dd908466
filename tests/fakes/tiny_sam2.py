"""A real SAM 2.1 of random weights, saved as the true one is and loaded like it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import (
    Sam2ImageProcessor,
    Sam2VideoConfig,
    Sam2VideoModel,
    Sam2VideoProcessor,
    Sam2VideoVideoProcessor,
)

SIDE = 128  # seen by the network; its maps have 32, 16 and 8 places a side
CHANNELS = 128  # memories have 64, and a pointer is split into two of them

_RESTLESS = ("memory_temporal_positional_encoding", "no_memory", "no_object_pointer", "occlusion")
_DRAWING = ("output_hypernetworks", "upscale", "mask_embed", "not_a_point")


def save_tiny_sam2(folder: Path) -> Path:
    """Writes weights, configuration and processors into the folder."""
    torch.manual_seed(0)
    model = Sam2VideoModel(_config()).eval()
    generator = torch.Generator().manual_seed(1)
    for name, parameter in model.named_parameters():
        if any(part in name for part in _RESTLESS):
            parameter.data.normal_(0, 0.5, generator=generator)
        elif parameter.dim() > 1 and any(part in name for part in _DRAWING):
            parameter.data.normal_(0, 0.3, generator=generator)
    model.save_pretrained(folder)
    size, mask_size = ({"height": side, "width": side} for side in (SIDE, SIDE // 4))
    pictures = Sam2ImageProcessor(size=size, mask_size=mask_size)
    Sam2VideoProcessor(pictures, Sam2VideoVideoProcessor(size=size)).save_pretrained(folder)
    return folder


def _config() -> Sam2VideoConfig:
    vision: dict[str, Any] = {
        "model_type": "sam2_vision_model",
        "backbone_config": {
            "model_type": "sam2_hiera_det_model",
            "hidden_size": 16,
            "image_size": [SIDE, SIDE],
            "blocks_per_stage": [1, 1, 2, 1],
            "embed_dim_per_stage": [16, 32, 64, 128],
            "num_attention_heads_per_stage": [1, 2, 2, 2],
            "window_size_per_stage": [8, 4, 4, 4],
            "global_attention_blocks": [3],
            "window_positional_embedding_background_size": [4, 4],
        },
        "backbone_channel_list": [128, 64, 32, 16],
        "backbone_feature_sizes": [[SIDE // 4] * 2, [SIDE // 8] * 2, [SIDE // 16] * 2],
        "fpn_hidden_size": CHANNELS,
    }
    return Sam2VideoConfig(
        vision_config=vision,
        prompt_encoder_config={
            "hidden_size": CHANNELS,
            "image_size": SIDE,
            "patch_size": 16,
            "mask_input_channels": 16,
        },
        mask_decoder_config={
            "hidden_size": CHANNELS,
            "mlp_dim": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "iou_head_hidden_dim": CHANNELS,
        },
        image_size=SIDE,
        memory_attention_hidden_size=CHANNELS,
        memory_attention_num_layers=1,
        memory_attention_feed_forward_hidden_size=64,
        memory_attention_rope_feat_sizes=[SIDE // 16] * 2,
        memory_encoder_hidden_size=CHANNELS,
        memory_encoder_output_channels=64,
        mask_downsampler_embed_dim=CHANNELS,
        memory_fuser_embed_dim=CHANNELS,
        memory_fuser_intermediate_dim=64,
    )
