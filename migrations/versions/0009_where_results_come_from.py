"""Records tell where results come from; what an organisation stores is counted by an index."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("predictions", sa.Column("provenance", postgresql.JSONB))
    op.create_index(
        "ix_files_kept",
        "files",
        ["organisation_id"],
        postgresql_include=["size_bytes"],
        postgresql_where=sa.text("deleted_at IS NULL"),
    )


def downgrade() -> None:
    op.drop_index("ix_files_kept", "files")
    op.drop_column("predictions", "provenance")
