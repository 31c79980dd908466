"""`python -m workers.trial`: loads SAM3 as a worker would, and runs one picture."""

from __future__ import annotations

import sys
import time

import numpy as np

from visionseg.artifacts.weights import WeightsError
from visionseg.config import Models
from visionseg.contract.models import SAM3
from workers.segmenters.base import ImagePrompts
from workers.segmenters.registry import ENGINES


def main() -> int:
    """Says how long loading and one picture took, or why SAM3 cannot run; the exit status."""
    started = time.monotonic()
    try:
        segmenter = ENGINES[SAM3].load(Models())
    except (WeightsError, RuntimeError) as error:
        sys.stderr.write(f"{SAM3} cannot run here: {error}\n")
        return 1
    loaded = time.monotonic()
    picture = np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    segmenter.segment([picture], [ImagePrompts(("object",))], lambda: False)
    ran = time.monotonic()
    sys.stdout.write(
        f"{SAM3} ({segmenter.version}) was loaded in {loaded - started:.1f} s and ran one picture "
        f"in {ran - loaded:.2f} s\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
