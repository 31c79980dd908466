"""Delete: the record stays, its data go."""

from __future__ import annotations

from visionseg.contract.ids import PredictionId
from visionseg.predictions.announce import announce
from visionseg.predictions.cancel import cancel
from visionseg.predictions.installation import Installation
from visionseg.records import files, predictions
from visionseg.records.tables import NOW


def delete(installation: Installation, prediction_id: PredictionId) -> None:
    """Cancels the prediction if it is open, then takes its input, results and words away.

    Its files are gone for clients at once; the sweeper takes them off the disk, those that an
    open prediction still reads when it is done. Calling it twice is fine.
    """
    cancel(installation, prediction_id)
    with installation.database.begin() as connection:
        row = predictions.lock(connection, prediction_id)
        files.expire_all(connection, prediction_id)
        predictions.annotate(
            connection,
            prediction_id,
            input={},
            params={},
            source={},
            scores=None,
            boxes=None,
            logs="",
            warnings=[],
            metrics={},
            plan=None,
            provenance=None,
            output_name=None,
            deleted_at=NOW,
        )
    if row is not None:
        announce(installation, row)
