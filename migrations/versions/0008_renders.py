"""Predictions rendered from another one, stored files that several rows name, and previews."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # First, so that nobody waits for the predictions while the index is built.
    op.create_index("ix_files_store_key", "files", ["store_key"])
    op.add_column("predictions", sa.Column("rendered_from", sa.Text(), nullable=True))
    asked_at = sa.Column("preview_asked_at", sa.DateTime(timezone=True), nullable=True)
    op.add_column("predictions", asked_at)


def downgrade() -> None:
    op.drop_column("predictions", "preview_asked_at")
    op.drop_column("predictions", "rendered_from")
    op.drop_index("ix_files_store_key", "files")
