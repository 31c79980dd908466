"""What lies in an installation's store, and what its rows name."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import text

from visionseg.predictions.installation import Installation


def stored(installation: Installation) -> set[Path]:
    """The files of the store, those on their way there too."""
    root = installation.settings.storage.files
    return {path.relative_to(root) for path in root.rglob("*") if path.is_file()}


def named(installation: Installation) -> set[Path]:
    """The files that rows name."""
    with installation.database.connect() as connection:
        rows = connection.execute(text("SELECT store_key FROM files WHERE deleted_at IS NULL"))
        return {Path(row.store_key) for row in rows}


def try_again_now(installation: Installation) -> None:
    """Ends every unit's wait before its next try."""
    with installation.database.begin() as connection:
        connection.execute(text("UPDATE units SET not_before = clock_timestamp()"))
        connection.execute(text("UPDATE turns SET ready_at = clock_timestamp()"))
