"""A real SAM3-LiteText of random weights, saved as the true one is and loaded like it."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import Sam3LiteTextConfig, Sam3LiteTextModel, Sam3Processor

from tests.fakes.tiny_sam3 import detector_parts, enliven, processors, tokenizer, vision


def save_tiny_lite_text(folder: Path) -> Path:
    """Writes weights, configuration, tokenizer and processor into the folder."""
    words = tokenizer()
    text = {
        "vocab_size": len(words),
        "hidden_size": 32,
        "intermediate_size": 64,
        "projection_dim": 32,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
    }
    config = Sam3LiteTextConfig(vision_config=vision(), text_config=text, **detector_parts())
    torch.manual_seed(0)
    model = Sam3LiteTextModel(config).eval()
    enliven(model)
    model.save_pretrained(folder)
    pictures, _ = processors()
    Sam3Processor(pictures, words).save_pretrained(folder)
    return folder
