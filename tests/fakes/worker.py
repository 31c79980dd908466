"""`python -m tests.fakes.worker`: the real worker program, on the quick segmenter.

The engine and the disk are replaced when this module is imported, and pool processes import it as
their parent's main module; so it reaches them too. So does a clock that is wrong by
`CLOCK_VARIABLE` seconds.
"""

from __future__ import annotations

import os

from tests.fakes import disks
from tests.fakes.clocks import CLOCK_VARIABLE, shifted
from visionseg.contract.models import LITE
from workers.__main__ import main
from workers.segmenters import registry
from workers.segmenters.registry import Engine

_wrong_clock = shifted(float(os.environ.get(CLOCK_VARIABLE) or 0))
_wrong_clock.__enter__()  # kept, for a context that is let go of ends

assert isinstance(registry.ENGINES, dict)
registry.ENGINES[LITE] = Engine("tests.fakes.loading", chunk_frames=8, batch_frames=2)
disks.install()

if __name__ == "__main__":
    main()
