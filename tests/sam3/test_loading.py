"""Finding, fetching and loading SAM3's weights, and what is told where something is missing."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import ClassVar

import click
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers.models.sam3_video import modeling_sam3_video as sam3_video

from visionseg.artifacts.hub import fetch_weights, find_weights
from visionseg.artifacts.weights import WeightsError
from visionseg.config import Models, Settings
from visionseg.contract.models import LITE, SAM3
from visionseg.predictions.engines import served
from workers.__main__ import chosen
from workers.segmenters.registry import ENGINES
from workers.segmenters.sam3 import loading
from workers.segmenters.sam3.operators import PlainOperators
from workers.segmenters.sam3.precision import choose
from workers.tasks import MODELS_VARIABLE, load_segmenters

ROOT = Path(__file__).parents[2]


def test_the_engine_is_loaded_from_a_folder_and_tells_how_it_computes(tiny_folder: Path) -> None:
    engine = ENGINES["facebook/sam3"]
    assert engine.chunk_frames % engine.batch_frames == 0
    segmenter = engine.load(Models(sam3_weights=str(tiny_folder)))
    assert segmenter.name == "facebook/sam3"
    assert "fp32" in segmenter.version
    assert segmenter.origin.device == "cpu"
    assert segmenter.origin.packages == ("torch", "torchvision", "transformers")
    sums = segmenter.origin.weights
    assert {"config.json", "model.safetensors"} <= set(sums)
    for name, told in sums.items():
        assert told == hashlib.sha256((tiny_folder / name).read_bytes()).hexdigest()


def test_loading_gives_transformers_what_it_would_fetch_else(
    tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sam3_video, "cv_utils_kernel", None)
    ENGINES["facebook/sam3"].load(Models(sam3_weights=str(tiny_folder), sam3_warm_up=False))
    assert isinstance(sam3_video.cv_utils_kernel, PlainOperators)


def test_a_folder_without_weights_is_told_with_what_it_lacks(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"config\.json, \*\.safetensors"):
        find_weights(str(tmp_path))
    with pytest.raises(WeightsError, match="no such folder, nor is it a hub id"):
        find_weights(str(tmp_path / "nowhere"))


def test_a_folder_of_something_else_is_told(tiny_folder: Path, tmp_path: Path) -> None:
    for path in tiny_folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "model.safetensors").write_bytes(b"not weights")
    with pytest.raises(WeightsError, match="holds no SAM3"):
        ENGINES["facebook/sam3"].load(Models(sam3_weights=str(tmp_path)))


def _in_a_clean_process(code: str, **environment: str) -> str:
    """What a program with this environment prints; the hub's library reads it when imported."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


_TRY = """
from visionseg.artifacts.hub import fetch_weights, find_weights
from visionseg.artifacts.weights import WeightsError
try:
    {call}
except WeightsError as error:
    print(error)
"""


def test_a_worker_that_cannot_load_its_model_does_not_start() -> None:
    command = [sys.executable, "-m", "workers", "--lanes", "images"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "SAM3_WEIGHTS": "/nowhere/at/all"}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "no such folder" in done.stderr


def test_a_worker_loads_the_models_that_it_is_told_to(
    tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = served(Models(sam3_weights=str(tiny_folder)))
    assert chosen("", here) == here == (SAM3, LITE)
    assert chosen(f" {SAM3} ", here) == (SAM3,)
    with pytest.raises(click.BadParameter, match="sam9 is not served here; there are: facebook"):
        chosen(f"{SAM3},facebook/sam9", here)
    settings = Settings(models=Models(sam3_weights=str(tiny_folder), sam3_warm_up=False))
    for told, names in ((SAM3, {SAM3}), ("", set[str]())):
        monkeypatch.setenv(MODELS_VARIABLE, told)
        assert set(load_segmenters(settings)) == names


def test_packages_that_are_missing_are_told(
    tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "PACKAGES", ("torch", "a_package_of_nobody"))
    with pytest.raises(WeightsError, match=r"a_package_of_nobody.*extra `sam3`"):
        loading.check(Models(sam3_weights=str(tiny_folder)))


def test_a_hub_id_that_was_not_fetched_is_told_without_asking_the_network(
    hub: str, tmp_path: Path
) -> None:
    _Refusing.asked.clear()
    told = _in_a_clean_process(
        _TRY.format(call="find_weights('facebook/sam3')"),
        HF_HOME=str(tmp_path),
        HF_ENDPOINT=hub,
    )
    assert _Refusing.asked == []
    for part in ("not on this machine", "Accept the licence", "HF_TOKEN", "fetch --model facebook"):
        assert part in told


class _Refusing(BaseHTTPRequestHandler):
    """A hub that shows a gated repository, and another that it hides."""

    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        gated = "facebook" in self.path
        self.send_response(403 if gated else 401)
        self.send_header("X-Error-Code", "GatedRepo" if gated else "RepoNotFound")
        self.send_header("X-Error-Message", "no")
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_HEAD = do_GET  # noqa: N815 - the name that http.server looks for

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture(scope="module")
def hub() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), _Refusing)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize(
    ("source", "told"),
    [("facebook/sam3", "is gated"), ("nobody/nothing", "does not show it without a token")],
)
def test_a_missing_licence_or_token_is_told_with_what_to_do(
    hub: str, tmp_path: Path, source: str, told: str
) -> None:
    printed = _in_a_clean_process(
        _TRY.format(call=f"fetch_weights('{source}', print)"),
        HF_HOME=str(tmp_path),
        HF_ENDPOINT=hub,
    )
    assert _Refusing.asked
    assert told in printed
    assert "Accept the licence" in printed
    assert "HF_TOKEN" in printed


def test_a_folder_is_not_fetched(tiny_folder: Path) -> None:
    assert fetch_weights(str(tiny_folder), print) == tiny_folder


def test_the_numbers_follow_the_device_and_wrong_words_are_told() -> None:
    assert not choose("cpu", "auto").bfloat16
    assert choose("cpu", "bf16").bfloat16
    with pytest.raises(ValueError, match="SAM3_PRECISION"):
        choose("cpu", "fp8")
    with pytest.raises(WeightsError, match="no such folder"):
        ENGINES["facebook/sam3"].load(Models(sam3_weights="/nowhere/at/all"))


def test_a_driver_that_is_too_old_is_told_rather_than_gone_round(
    tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def warns() -> bool:
        told = "CUDA initialization: The NVIDIA driver on your system is too old (found 11000)."
        warnings.warn(told, UserWarning, stacklevel=2)
        return False

    monkeypatch.setattr(torch.cuda, "is_available", warns)
    for device in ("auto", "cuda"):
        with pytest.raises(
            WeightsError, match=r"too old.*Bring its driver up to date, or set SAM3_DEVICE"
        ):
            loading.load(Models(sam3_weights=str(tiny_folder), sam3_device=device))
    assert choose("cpu", "auto").device.type == "cpu"


def test_the_check_loads_the_model_and_runs_a_picture_without_asking_the_hub(
    hub: str, tiny_folder: Path
) -> None:
    _Refusing.asked.clear()
    command = [sys.executable, "-m", "workers.trial"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_ENDPOINT": hub}
    environment["SAM3_WEIGHTS"] = str(tiny_folder)
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert "ran one picture" in done.stdout
    assert _Refusing.asked == []
    environment["SAM3_WEIGHTS"] = "/nowhere/at/all"
    failed = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert failed.returncode == 1
    assert "cannot run here" in failed.stderr


def test_weights_that_are_not_there_fail_the_check_of_the_command_line(tmp_path: Path) -> None:
    code = (
        "from click.testing import CliRunner\n"
        "from visionseg.commands.main import main\n"
        "for words in (['weights', 'check'], ['weights', 'fetch', '--sam3'], ['up']):\n"
        "    done = CliRunner().invoke(main, words)\n"
        "    print(done.exit_code, done.output.splitlines()[-1])\n"
    )
    printed = _in_a_clean_process(code, SAM3_WEIGHTS=str(tmp_path), VISIONSEG_HOME=str(tmp_path))
    told = [line for line in printed.splitlines() if "it holds no weights of facebook/sam3" in line]
    assert len(told) == 3
    assert all(line.startswith("1 ") for line in told)


def test_weights_that_lack_some_are_told(tiny_folder: Path, tmp_path: Path) -> None:
    for path in tiny_folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    tensors = load_file(tmp_path / "model.safetensors")
    name = next(one for one in tensors if one.startswith("tracker_model.memory_attention"))
    del tensors[name]
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(WeightsError, match=r"lacks weights of SAM3: tracker_model\.memory"):
        ENGINES["facebook/sam3"].load(Models(sam3_weights=str(tmp_path)))
