"""A program that has a jailed child, tells who is who, and waits: something to kill."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from visionseg.contract.errors import ErrorCode
from workers.media.checkpoints import no_checkpoint
from workers.media.jail import parents
from workers.media.jail.decoding import Decoding, Task
from workers.media.limits import Limits

if __name__ == "__main__":
    task = Task("tests.fakes.hostile:tell_process", ErrorCode.NOT_A_VIDEO)
    with Decoding(task, Path(sys.argv[1]), Limits(), no_checkpoint) as decoding:
        blocks = decoding.blocks()
        child, _ = next(blocks)
        sys.stdout.write(json.dumps([parents.parent().nursery_id(), child]) + "\n")
        sys.stdout.flush()
        next(blocks)
