"""What capped keys work on is found without looking at what they wait for."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(
        "ix_predictions_running",
        "predictions",
        ["key_id"],
        postgresql_where=sa.text("status = 'processing'"),
    )
    op.create_index(
        "ix_turns_begun",
        "turns",
        [
            "lane",
            "key_id",
            sa.text("priority DESC"),
            sa.text("last_served_at NULLS FIRST"),
            "created_at",
        ],
        postgresql_where=sa.text("ready > 0 AND begun"),
    )


def downgrade() -> None:
    op.drop_index("ix_turns_begun", "turns")
    op.drop_index("ix_predictions_running", "predictions")
