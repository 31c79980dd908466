"""SAM3's weights: a folder on this machine, or what was fetched from a hub that asks for a licence.

Finding them never uses the network. Fetching does, and goes on where it was broken off.
"""

from __future__ import annotations

import hashlib
from importlib import import_module
from pathlib import Path
from typing import Any

from visionseg.artifacts.weights import Progress, WeightsError

FETCH_SAM3 = "visionseg weights fetch --sam3"
NEEDED = ("config.json",)
_WANTED = ("*.json", "*.safetensors", "*.txt")


def find_weights(source: str) -> Path:
    """The folder with the weights that SAM3_WEIGHTS names: a folder or a hub id such as a/b.

    Raises `WeightsError` telling what to do where they are not on this machine.
    """
    folder = Path(source).expanduser()
    if folder.is_dir():
        return _complete(folder)
    if not _is_hub_id(source):
        raise WeightsError(f"SAM3_WEIGHTS is {source}: there is no such folder, nor is it a hub id")
    hub = _hub(source)
    try:
        return _complete(Path(hub.snapshot_download(source, local_files_only=True)))
    except hub.errors.LocalEntryNotFoundError as error:
        raise WeightsError(
            f"{source} is not on this machine. {_how_to_get(source)}, then run `{FETCH_SAM3}`"
        ) from error


def fetch_weights(source: str, progress: Progress) -> Path:
    """Brings the weights of a hub id to this machine and returns their folder.

    HF_ENDPOINT names a mirror, HF_TOKEN whose licence counts, HF_HOME where they are kept. Raises
    `WeightsError` telling what to do where licence, token or network is missing.
    """
    if Path(source).expanduser().is_dir():
        return find_weights(source)
    if not _is_hub_id(source):
        raise WeightsError(f"SAM3_WEIGHTS is {source}: there is no such folder, nor is it a hub id")
    hub = _hub(source)
    progress(f"downloading {source}")
    try:
        return _complete(Path(hub.snapshot_download(source, allow_patterns=list(_WANTED))))
    except hub.errors.GatedRepoError as error:
        raise WeightsError(
            f"{source} is gated, and this account may not have it. {_how_to_get(source)}"
        ) from error
    except hub.errors.RepositoryNotFoundError as error:
        raise WeightsError(
            f"the hub has no {source}, or does not show it without a token. {_how_to_get(source)}"
        ) from error
    except (hub.errors.HfHubHTTPError, hub.errors.LocalEntryNotFoundError, OSError) as error:
        raise WeightsError(f"{source} could not be fetched: {error}") from error


def sums(folder: Path) -> dict[str, str]:
    """The SHA-256 of each file of the weights; seconds for a large model."""
    found = {}
    for path in sorted(path for kind in _WANTED for path in folder.glob(kind)):
        with path.open("rb") as file:
            found[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def _is_hub_id(source: str) -> bool:
    owner, _, name = source.partition("/")
    return bool(owner and name) and "/" not in name and not source.startswith((".", "~"))


def _how_to_get(source: str) -> str:
    return (
        f"Accept the licence at https://huggingface.co/{source} with your account and set HF_TOKEN "
        "to a token of it"
    )


def _complete(folder: Path) -> Path:
    missing = [name for name in NEEDED if not (folder / name).is_file()]
    if not any(folder.glob("*.safetensors")):
        missing.append("*.safetensors")
    if missing:
        raise WeightsError(f"{folder} lacks {', '.join(missing)}: it holds no SAM3 weights")
    return folder


def _hub(source: str) -> Any:  # noqa: ANN401 - a module
    try:
        return import_module("huggingface_hub")
    except ImportError as error:
        raise WeightsError(
            f"SAM3_WEIGHTS is {source}, a hub id; that needs the extra `sam3`: "
            "pip install 'visionseg[sam3]'"
        ) from error
