"""What a worker holds does not grow with the length of its videos."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from visionseg.contract.inputs import OutputFormat


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("output_format", OutputFormat)
def test_memory_after_fifty_thousand_frames_is_that_after_a_thousand(output_format: str) -> None:
    command = [sys.executable, "-m", "bench.media_memory", "--formats", output_format]
    done = subprocess.run(
        command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    assert "within" in done.stdout
