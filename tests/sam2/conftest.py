"""The tiny SAM 2.1, saved once a test process and loaded as the true one is."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.fakes.tiny_sam2 import save_tiny_sam2
from workers.segmenters.sam2.network import TrackerNetwork, read_tracker
from workers.segmenters.sam2.segmenter import Sam2Segmenter
from workers.segmenters.sam3.precision import choose

NAME = "facebook/sam2.1-hiera-tiny"


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Two test processes on two cores would fight otherwise; and sums keep one order."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny_sam2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_sam2(tmp_path_factory.mktemp("tiny_sam2"))


@pytest.fixture(scope="session")
def network(tiny_sam2: Path) -> TrackerNetwork:
    return read_tracker(tiny_sam2, choose("cpu", "fp32"), batch=4)


@pytest.fixture(scope="session")
def segmenter(network: TrackerNetwork) -> Sam2Segmenter:
    return Sam2Segmenter(NAME, network, "tiny")
