"""Cancel: final at once for the client; workers hear of it and let go within a frame batch."""

from __future__ import annotations

from visionseg.contract.ids import PredictionId
from visionseg.contract.status import Status
from visionseg.predictions.announce import announce
from visionseg.predictions.finish import close_job
from visionseg.predictions.installation import Installation
from visionseg.records import predictions


def cancel(installation: Installation, prediction_id: PredictionId) -> bool:
    """Moves the prediction to `canceled`; false if it was final already (calling twice is fine)."""
    with installation.database.begin() as connection:
        moved = predictions.move(connection, prediction_id, Status.CANCELED, stage="canceled")
        if moved is not None:
            close_job(connection, installation, moved)
    if moved is not None:
        announce(installation, moved)
    return moved is not None
