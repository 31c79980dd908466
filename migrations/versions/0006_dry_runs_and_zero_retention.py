"""Dry runs, which no cap counts, and files that go with their first complete download."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import INT8MULTIRANGE, JSONB

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

OPEN = sa.text("status IN ('starting', 'processing')")


def _false(name: str) -> sa.Column[bool]:
    return sa.Column(name, sa.Boolean(), server_default="false", nullable=False)


def upgrade() -> None:
    op.add_column("predictions", _false("dry_run"))
    op.add_column("predictions", sa.Column("plan", JSONB(), nullable=True))
    op.drop_index("ix_predictions_open_by_key", "predictions")
    op.create_index(
        "ix_predictions_open_by_key", "predictions", ["key_id", "dry_run"], postgresql_where=OPEN
    )
    op.add_column("files", _false("once"))
    op.add_column("files", sa.Column("sent", INT8MULTIRANGE(), nullable=True))


def downgrade() -> None:
    op.drop_column("files", "sent")
    op.drop_column("files", "once")
    op.drop_index("ix_predictions_open_by_key", "predictions")
    op.create_index("ix_predictions_open_by_key", "predictions", ["key_id"], postgresql_where=OPEN)
    op.drop_column("predictions", "plan")
    op.drop_column("predictions", "dry_run")
