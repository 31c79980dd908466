"""The image unit: every combination of what can be asked for."""

from __future__ import annotations

import base64
import io
import itertools
import zipfile
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from tests.fakes.segmenters import SeesNothing
from tests.lifecycle.conftest import HEIGHT, WIDTH, Client, picture
from visionseg.contract.reply import Prediction
from visionseg.contract.status import Status
from workers.bench import Bench

SQUARE = picture()[..., 0] > 128


def _output(record: Prediction) -> bytes:
    assert record.output is not None
    assert record.output.startswith("data:")
    return base64.b64decode(record.output.partition(",")[2])


def _array(data: bytes) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.asarray(Image.open(io.BytesIO(data)))


COMBINATIONS = list(itertools.product([False, True], repeat=5))


@pytest.mark.parametrize(("zipped", "only", "overlay", "scores", "boxes"), COMBINATIONS)
def test_the_output_is_what_the_contract_says(
    client: Client, bench: Bench, zipped: bool, only: bool, overlay: bool, scores: bool, boxes: bool
) -> None:
    made = client.image(
        prompt="person",
        return_zip=zipped,
        mask_only=only,
        save_overlay=overlay,
        include_scores=scores,
        include_boxes=boxes,
    )
    bench.take_a_turn()
    record = client.read(made)
    assert record.status is Status.SUCCEEDED
    shown = record.model_dump(exclude_unset=True)
    assert shown.get("scores") == ([0.9] if scores else None)
    assert shown.get("boxes") == ([[8.0, 16.0, 24.0, 32.0]] if boxes else None)
    names = [artifact.name for artifact in record.artifacts]
    data = _output(record)
    expected = ["mask_000.png", *(["overlay.png"] if overlay else [])]
    if zipped and overlay:
        assert names == [*expected, "masks.zip"]
        assert zipfile.ZipFile(io.BytesIO(data)).namelist() == expected
    elif zipped:
        assert names == expected
        assert np.array_equal(_array(data), SQUARE * np.uint8(255))
    elif only:
        assert names == [*expected, "output.png"]
        assert np.array_equal(_array(data), SQUARE * np.uint8(255))
    else:
        assert names == [*expected, "output.png"]
        painted = _array(data)
        assert painted[20, 10].tolist() == [110, 238, 110]
        assert painted[0, 0].tolist() == [30, 30, 30]


@pytest.mark.parametrize("zipped", [False, True])
def test_nothing_found_is_one_black_mask_and_success(
    client: Client, make_bench: Callable[..., Bench], zipped: bool
) -> None:
    made = client.image(prompt="person", return_zip=zipped, mask_only=True, include_scores=True)
    make_bench(SeesNothing()).take_a_turn()
    record = client.read(made)
    assert record.status is Status.SUCCEEDED
    assert record.scores == []
    assert _array(_output(record)).shape == (HEIGHT, WIDTH)
    assert _array(_output(record)).max() == 0
    assert record.artifacts[0].name == "mask_000.png"


def test_color_and_opacity_paint_as_asked(client: Client, bench: Bench) -> None:
    made = client.image(prompt="person", return_zip=False, mask_color="red", mask_opacity=1)
    bench.take_a_turn()
    assert _array(_output(client.read(made)))[20, 10].tolist() == [255, 0, 0]


def test_the_default_prompt_is_person_only_without_marks(client: Client, bench: Bench) -> None:
    bare = client.image()
    empty = client.image(prompt="  ")
    marked = client.image(point_prompts=[{"x": 10, "y": 20, "positive": True}])
    bench.take_a_turn()
    labels = [client.read(made).metrics["labels"] for made in (bare, empty, marked)]
    assert labels == [["person"], ["person"], [""]]
