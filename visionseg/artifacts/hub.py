"""The weights of large models: a folder on this machine, or what was fetched from a hub.

Finding them never uses the network. Fetching does, and goes on where it was broken off.
"""

from __future__ import annotations

import hashlib
from importlib import import_module
from pathlib import Path
from typing import Any

from visionseg.artifacts.weights import Progress, WeightsError
from visionseg.contract.models import MODELS, SAM3

FETCH_MODEL = "visionseg weights fetch --model"
NEEDED = ("config.json",)
_WANTED = ("*.json", "*.safetensors", "*.txt")


def find_weights(source: str, model: str = SAM3) -> Path:
    """The folder with the weights of a model: `source` is a folder or a hub id such as a/b.

    Raises `WeightsError` telling what to do where they are not on this machine.
    """
    folder = _as_folder(source, model)
    if folder is not None:
        return folder
    hub = _hub(source)
    try:
        found = hub.snapshot_download(source, allow_patterns=list(_WANTED), local_files_only=True)
        return _complete(Path(found), model)
    except hub.errors.LocalEntryNotFoundError as error:
        first = f"{_how_to_get(source)}, then run" if MODELS[model].gated else "Run"
        raise WeightsError(
            f"{source} is not on this machine. {first} `{FETCH_MODEL} {model}`"
        ) from error


def fetch_weights(source: str, progress: Progress, model: str = SAM3) -> Path:
    """Brings the weights of a hub id to this machine and returns their folder.

    HF_ENDPOINT names a mirror, HF_TOKEN whose licence counts, HF_HOME where they are kept. Raises
    `WeightsError` telling what to do where licence, token or network is missing.
    """
    folder = _as_folder(source, model)
    if folder is not None:
        return folder
    hub = _hub(source)
    progress(f"downloading {source}")
    try:
        return _complete(Path(hub.snapshot_download(source, allow_patterns=list(_WANTED))), model)
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


def _as_folder(source: str, model: str) -> Path | None:
    """The folder that `source` names; None for a hub id. Raises `WeightsError` for neither."""
    folder = Path(source).expanduser()
    if folder.is_dir():
        return _complete(folder, model)
    owner, _, name = source.partition("/")
    if not (owner and name) or "/" in name or source.startswith((".", "~")):
        raise WeightsError(
            f"the weights of {model} are to be in {source}: there is no such folder, nor is it a "
            "hub id"
        )
    return None


def _how_to_get(source: str) -> str:
    return (
        f"Accept the licence at https://huggingface.co/{source} with your account and set HF_TOKEN "
        "to a token of it"
    )


def _complete(folder: Path, model: str) -> Path:
    missing = [name for name in NEEDED if not (folder / name).is_file()]
    if not any(folder.glob("*.safetensors")):
        missing.append("*.safetensors")
    if missing:
        raise WeightsError(f"{folder} lacks {', '.join(missing)}: it holds no weights of {model}")
    return folder


def _hub(source: str) -> Any:  # noqa: ANN401 - a module
    try:
        return import_module("huggingface_hub")
    except ImportError as error:
        raise WeightsError(
            f"{source} is a hub id; that needs the extra `sam3`: pip install 'visionseg[sam3]'"
        ) from error
