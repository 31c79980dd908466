"""A checkpoint within a unit of work: whoever takes the unit next goes on from there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from visionseg.contract.status import OPEN
from visionseg.predictions.installation import Installation
from visionseg.records import files, predictions, units
from visionseg.records.files import NewFile
from visionseg.records.units import Claim, Standing


def is_wanted(installation: Installation, claim: Claim) -> bool:
    """Whether the claim is still held and its prediction open, so that a checkpoint is of use."""
    with installation.database.connect() as connection:
        return units.standing(connection, claim) is Standing.WANTED


def keep(
    installation: Installation,
    claim: Claim,
    progress: Mapping[str, Any],
    new: Sequence[NewFile],
    spent: Sequence[str],
) -> bool:
    """Makes a checkpoint the unit's, names its files and lets the `spent` ones go.

    False, and nothing changed, where the claim is not held or its prediction is final.
    """
    with installation.database.begin() as connection:
        row = predictions.lock(connection, claim.prediction_id)
        if row is None or row.status not in OPEN:
            return False
        if not units.keep_progress(connection, claim, progress):
            return False
        files.add(connection, row.organisation_id, claim.prediction_id, new)
        files.expire_stored(connection, claim.prediction_id, spent)
    return True


def kept(installation: Installation, claim: Claim) -> Mapping[str, Any] | None:
    """What `keep` was last given for this unit, by whoever held it; None if it never was."""
    with installation.database.connect() as connection:
        return units.progress_of(connection, claim)
