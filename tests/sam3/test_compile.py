"""The vision encoder compiled: by `aot_eager`, which needs no compiler of the machine."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch._dynamo.utils import counters

from visionseg.artifacts.weights import WeightsError
from visionseg.config import Models
from visionseg.contract.models import SAM3
from workers.segmenters.sam3.loading import load

PICTURE = np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8)


def test_the_compiled_encoder_is_one_graph_and_sees_the_same(tiny_folder: Path) -> None:
    plain = load(Models(sam3_weights=str(tiny_folder)), SAM3)
    torch._dynamo.reset()
    counters.clear()
    compiled = load(Models(sam3_weights=str(tiny_folder), sam3_compile="aot_eager"), SAM3)
    assert compiled.version == f"{plain.version} aot_eager"
    assert counters["stats"]["unique_graphs"] == 1
    assert not counters["graph_break"]
    with plain.network.computing():
        (expected,), (found,) = (one.network.look_at([PICTURE]) for one in (plain, compiled))
    assert torch.allclose(found.last_hidden_state, expected.last_hidden_state, atol=1e-5)
    assert counters["stats"]["unique_graphs"] == 1


def test_a_backend_that_does_not_work_is_told_at_the_start(tiny_folder: Path) -> None:
    with pytest.raises(WeightsError, match=r"SAM3_COMPILE=nonsense .*nonsense"):
        load(Models(sam3_weights=str(tiny_folder), sam3_compile="nonsense"), SAM3)
