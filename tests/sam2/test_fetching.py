"""A model's weights brought by its name from a hub, found again without it, and tried."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
NAME = "facebook/sam2.1-hiera-tiny"
COMMIT = "0" * 40

Run = Callable[..., "subprocess.CompletedProcess[str]"]


class Hub(ThreadingHTTPServer):
    """A hub with one repository, the files of a folder."""

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.files = {path.name: path.read_bytes() for path in folder.iterdir()}
        self.files["sam2.1_hiera_tiny.pt"] = b"what nobody loads"
        self.asked: list[str] = []


class _Answer(BaseHTTPRequestHandler):
    server: Hub

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        resolved = f"/{NAME}/resolve/{COMMIT}/"
        if self.path.startswith(f"/api/models/{NAME}/tree/"):
            self._send(json.dumps([_listed(*one) for one in self.server.files.items()]).encode())
        elif self.path.startswith(f"/api/models/{NAME}/"):
            names = [{"rfilename": name} for name in self.server.files]
            self._send(json.dumps({"id": NAME, "sha": COMMIT, "siblings": names}).encode())
        elif self.path.startswith(resolved):
            self._send(self.server.files[self.path.removeprefix(resolved)])
        else:
            self.send_error(404)

    do_HEAD = do_GET  # noqa: N815 - the name that http.server looks for

    def _send(self, data: bytes) -> None:
        self.send_response(200)
        self.send_header("ETag", f'"{hashlib.sha256(data).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


def _listed(name: str, data: bytes) -> dict[str, Any]:
    digest = hashlib.sha1(data, usedforsecurity=False).hexdigest()
    return {"type": "file", "path": name, "size": len(data), "oid": digest}


@pytest.fixture
def hub(tiny_sam2: Path) -> Iterator[Hub]:
    with Hub(tiny_sam2) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def run(hub: Hub, tmp_path: Path) -> Run:
    """Runs the command line in a process of its own, beside that hub."""

    def start(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        own = {
            "PYTHONPATH": str(ROOT),
            "HF_HOME": str(tmp_path / "hub"),
            "HF_ENDPOINT": f"http://127.0.0.1:{hub.server_address[1]}",
            "SAM3_DEVICE": "cpu",
        }
        code = "from visionseg.commands.main import main; main()"
        return subprocess.run(
            [sys.executable, "-c", code, *words],
            cwd=ROOT,
            env={**os.environ, **own, **environment},
            capture_output=True,
            text=True,
            check=False,
        )

    return start


def test_weights_are_fetched_by_the_models_name_and_found_without_the_hub(
    hub: Hub, run: Run
) -> None:
    missing = run("weights", "check", "--model", NAME)
    assert missing.returncode == 1
    assert f"Run `visionseg weights fetch --model {NAME}`" in missing.stderr
    assert "licence" not in missing.stderr
    assert hub.asked == []
    fetched = run("weights", "fetch", "--model", NAME)
    assert fetched.returncode == 0, fetched.stderr
    assert f"set {NAME} in MODEL_WEIGHTS" in fetched.stdout
    assert not any("hiera_tiny.pt" in path for path in hub.asked)
    hub.asked.clear()
    checked = run("weights", "check", "--model", NAME)
    assert checked.returncode == 0, checked.stderr
    assert f"{NAME} ({COMMIT} fp32" in checked.stdout
    assert "ran one picture" in checked.stdout
    assert hub.asked == []


def test_a_folder_behind_the_name_is_checked_and_an_unknown_name_is_told(
    hub: Hub, run: Run, tiny_sam2: Path
) -> None:
    checked = run("weights", "check", "--model", NAME, MODEL_WEIGHTS=f"{NAME}={tiny_sam2}")
    assert "ran one picture" in checked.stdout
    assert hub.asked == []
    unknown = run("weights", "fetch", "--model", "facebook/sam9")
    assert unknown.returncode == 2
    assert NAME in unknown.stderr
