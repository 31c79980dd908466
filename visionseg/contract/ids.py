"""Identifiers: a prefix that says what they name, and 104 random bits that nobody guesses."""

from __future__ import annotations

import secrets
from typing import NewType

PredictionId = NewType("PredictionId", str)
OrganisationId = NewType("OrganisationId", str)
KeyId = NewType("KeyId", str)
FileId = NewType("FileId", str)
WorkerId = NewType("WorkerId", str)


def _random() -> str:
    return secrets.token_hex(13)


def new_prediction_id() -> PredictionId:
    """A fresh `vs_…` id."""
    return PredictionId(f"vs_{_random()}")


def new_organisation_id() -> OrganisationId:
    """A fresh `org_…` id."""
    return OrganisationId(f"org_{_random()}")


def new_key_id() -> KeyId:
    """A fresh `key_…` id; it is not the secret."""
    return KeyId(f"key_{_random()}")


def new_file_id() -> FileId:
    """A fresh `file_…` id."""
    return FileId(f"file_{_random()}")


def new_message_id() -> str:
    """A fresh `msg_…` id, one a webhook message: the same at every attempt to deliver it."""
    return f"msg_{_random()}"


def new_worker_id() -> WorkerId:
    """A fresh `worker_…` id, one a worker process group."""
    return WorkerId(f"worker_{_random()}")
