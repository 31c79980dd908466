"""The README's snippets do what it says, run as they stand against a running service.

Only the base URL, the key and the host of the example files are put in; those files come from a
TLS server of the test's own, under its own certificate authority.
"""

from __future__ import annotations

import json
import os
import shutil
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import trustme
from PIL import Image

from tests.documents import README, ROOT, Block, blocks
from visionseg.artifacts.weights import FETCH_COMMAND, locate, lock, wrong_files
from visionseg.commands.background import Background, running
from visionseg.config import Models
from workers.media.clips import SCRIPTS, compose, write_clip

BASE_URL = "http://127.0.0.1:8000"
KEY = "gk_your_key"
EXAMPLES = "https://example.com"
SNIPPET_WITHIN_S = 120
PROGRAMS: Mapping[str, tuple[str, ...]] = {
    "bash": ("bash", "-euo", "pipefail"),
    "python": (sys.executable,),
    "javascript": ("node",),
}
SUFFIXES = {"bash": ".sh", "python": ".py", "javascript": ".mjs"}
NEEDED = {"bash": "curl", "python": sys.executable, "javascript": "node"}
pytestmark = pytest.mark.xdist_group("readme")  # one running service for all of them

DOCUMENTS = (README, ROOT / "docs" / "video.md")


def _snippets() -> list[Block]:
    return [
        block
        for path in DOCUMENTS
        for block in blocks(path)
        if block.language in PROGRAMS and KEY in block.code
    ]


class _Files(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
        """Keeps the test's output clean."""


@dataclass(frozen=True)
class Site:
    """Serves the example files: its `host:port`, and the file of the authority to trust."""

    place: str
    ca_file: Path


@contextmanager
def _serving(folder: Path, ca_file: Path) -> Iterator[Site]:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(ca_file))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Files, directory=str(folder)))
    # The handshake belongs to the connection's own thread, or one client would block all.
    server.socket = context.wrap_socket(
        server.socket, server_side=True, do_handshake_on_connect=False
    )
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield Site(f"localhost:{server.server_address[1]}", ca_file)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _write_examples(folder: Path) -> None:
    """A photograph as JPEG, and a second of film."""
    cache = Models().cache
    stills: dict[str, np.ndarray[tuple[int, ...], np.dtype[np.uint8]]] = {}
    for name in ("astronaut.png", "rocket.jpg"):
        with Image.open(locate(cache, name)) as picture:
            stills[name] = np.asarray(picture.convert("RGB"), np.uint8)
    Image.fromarray(stills["astronaut.png"]).save(folder / "photo.jpg", quality=90)
    film = compose(stills, SCRIPTS["astronaut"], 12, (180, 320))
    write_clip(folder / "clip.mp4", film)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    if missing := wrong_files(Models().cache, lock()):
        pytest.skip(f"{', '.join(missing)} not there: run `{FETCH_COMMAND}`")
    folder = tmp_path_factory.mktemp("site")
    _write_examples(folder)
    with _serving(folder, tmp_path_factory.mktemp("authority") / "ca.pem") as serving:
        yield serving


@pytest.fixture(scope="module")
def service(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Background]:
    settings = {
        "VISIONSEG_ALLOWED_HOSTS": json.dumps([site.place]),
        "VISIONSEG_CA_FILE": str(site.ca_file),
    }
    with running(tmp_path_factory.mktemp("home"), settings) as started:
        yield started


def _run(block: Block, service: Background, site: Site, folder: Path) -> str:
    """What a snippet prints; it must end well and write nothing to standard error."""
    code = block.code.replace(BASE_URL, service.address).replace(KEY, service.key)
    path = folder / f"snippet{SUFFIXES[block.language]}"
    path.write_text(code.replace(EXAMPLES, f"https://{site.place}"), encoding="utf-8")
    done = subprocess.run(
        [*PROGRAMS[block.language], str(path)],
        cwd=folder,
        env={name: os.environ[name] for name in ("PATH", "HOME")},
        capture_output=True,
        text=True,
        timeout=SNIPPET_WITHIN_S,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def _name(block: Block) -> str:
    route = "video" if "/video" in block.code else "image"
    return f"{block.language}-{route}"


@pytest.mark.parametrize("block", _snippets(), ids=_name)
def test_a_snippet_of_the_documents_runs_as_it_stands(
    block: Block, service: Background, site: Site, tmp_path: Path
) -> None:
    if shutil.which(NEEDED[block.language]) is None:
        pytest.skip(f"{NEEDED[block.language]} is not on this machine")
    printed = _run(block, service, site, tmp_path)
    if block.language == "bash":
        record = json.loads(printed)
        assert (record["status"], record["error"]) == ("succeeded", None)
        assert record["output"].startswith(("data:", service.address))
    else:
        ends = "canceled" if '["cancel"]' in block.code else "succeeded"
        assert printed.startswith(ends)


@pytest.mark.parametrize("language", PROGRAMS)
def test_the_readme_shows_a_picture_and_a_video_in_each_language(language: str) -> None:
    code = [block.code for block in blocks(README) if block.language == language]
    for route in ("/v1/vision-segment/predictions", "/v1/vision-segment/video"):
        shown = [one for one in code if route in one]
        assert any('"wujie"' in one and '"facebook/sam3"' in one for one in shown)


def test_the_video_snippets_use_the_hosted_pages_own_prompt() -> None:
    videos = [one for one in _snippets() if "clip.mp4" in one.code]
    assert all("the running dog" in one.code for one in videos)
