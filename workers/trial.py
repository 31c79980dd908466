"""`python -m workers.trial [MODEL SOURCE]`: loads a model as a worker would, runs one picture."""

from __future__ import annotations

import sys
import time

import numpy as np

from visionseg.artifacts.weights import WeightsError
from visionseg.config import Models
from visionseg.contract.models import SAM3
from workers.segmenters.base import probe
from workers.segmenters.registry import ENGINES


def main(model: str = SAM3, source: str = "") -> int:
    """Says how long loading and one picture took, or why it cannot run; the exit status.

    Without a `source` the settings tell where the weights are.
    """
    started = time.monotonic()
    try:
        segmenter = ENGINES[model].load(_settings(model, source))
    except (WeightsError, RuntimeError) as error:
        sys.stderr.write(f"{model} cannot run here: {error}\n")
        return 1
    loaded = time.monotonic()
    picture = np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    segmenter.segment([picture], [probe(model)], lambda: False)
    ran = time.monotonic()
    sys.stdout.write(
        f"{model} ({segmenter.version}) was loaded in {loaded - started:.1f} s and ran one picture "
        f"in {ran - loaded:.2f} s\n"
    )
    return 0


def _settings(model: str, source: str) -> Models:
    if not source:
        return Models()
    if model == SAM3:
        return Models(sam3_weights=source)
    return Models(others=f"{model}={source}")


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
