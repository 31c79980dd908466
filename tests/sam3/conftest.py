"""The tiny SAM3, saved once a test process and loaded as the true one is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.fakes.tiny_sam3 import save_tiny
from workers.segmenters.sam3 import operators
from workers.segmenters.sam3.differences import Differences
from workers.segmenters.sam3.network import Network
from workers.segmenters.sam3.precision import choose
from workers.segmenters.sam3.segmenter import Sam3Segmenter
from workers.segmenters.sam3.weights import read_network

MakeNetwork = Callable[..., Network]


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Two test processes on two cores would fight otherwise; and sums keep one order."""
    torch.set_num_threads(1)
    operators.install()


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("tiny_sam3"))


@pytest.fixture(scope="session")
def make_network(tiny_folder: Path) -> MakeNetwork:
    """Loads the tiny model anew, so that a test may set what it likes on it."""

    def make(differences: Differences | None = None, batch: int = 1) -> Network:
        return read_network(tiny_folder, choose("cpu", "fp32"), batch, differences)

    return make


@pytest.fixture(scope="session")
def segmenter(make_network: MakeNetwork) -> Sam3Segmenter:
    return Sam3Segmenter(make_network(), "tiny")
