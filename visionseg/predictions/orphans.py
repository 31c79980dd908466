"""Files that no row names: what a worker wrote and could not commit."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import structlog

from visionseg.predictions.installation import Installation
from visionseg.records import files

log = structlog.get_logger(__name__)
YOUNGEST_S = 3600.0
"""A stored file is named right after it was written, so one of that age will never be."""
SCRATCH_S = 24 * 3600.0
"""No unit or upload works in its folder for a day without writing there."""
BATCH = 1000


def delete_orphans(installation: Installation, older_than_s: float = YOUNGEST_S) -> int:
    """Deletes the stored files that no row names and that are old enough; returns how many."""
    deleted = 0
    now = installation.store.now()
    keys = installation.store.keys_older_than(now - older_than_s)
    while batch := list(islice(keys, BATCH)):
        for key in _unnamed(installation, batch):
            installation.store.delete(key)
            log.warning("orphan_deleted", store_key=key)
            deleted += 1
    installation.store.clear_scratch(now - SCRATCH_S)
    return deleted


def _unnamed(installation: Installation, keys: list[str]) -> Iterator[str]:
    with installation.database.connect() as connection:
        named = files.named(connection, keys)
    yield from (key for key in keys if key not in named)
