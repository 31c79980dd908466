"""How files are called: in the store with their attempt, in public by one unguessable name."""

from __future__ import annotations

import re

from visionseg.contract.ids import FileId, PredictionId

PUBLIC_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}")
PUBLIC_PATH = "/api/vision-segment/outputs/"


def store_key(prediction_id: PredictionId, seq: int, attempt: int, name: str) -> str:
    """Two attempts never write the same file, so a late one harms nothing."""
    return f"{prediction_id[3:5]}/{prediction_id}/{seq:06d}-{attempt:03d}/{name}"


def input_key(prediction_id: PredictionId, name: str) -> str:
    """Where the API puts a data URI."""
    return f"{prediction_id[3:5]}/{prediction_id}/input/{name}"


def upload_key(file_id: FileId, name: str) -> str:
    """Where an upload lies."""
    return f"{file_id[5:7]}/{file_id}/upload/{name}"


def public_name(prediction_id: PredictionId, name: str) -> str:
    """The last part of a file's address; the prediction's id makes it unique and unguessable."""
    return f"{prediction_id}_{name}"
