"""Idempotency keys, deleted predictions, limits and retention of a key."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

OPEN = sa.text("status IN ('starting', 'processing')")


def upgrade() -> None:
    op.add_column("api_keys", sa.Column("keep_s", sa.Float(), nullable=True))
    op.add_column("api_keys", sa.Column("max_open", sa.Integer(), nullable=True))
    op.add_column("predictions", sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True))
    op.create_index("ix_predictions_open_by_key", "predictions", ["key_id"], postgresql_where=OPEN)
    op.create_table(
        "idempotency_keys",
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("prediction_id", sa.Text(), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(["key_id"], ["api_keys.id"], name="fk_idempotency_keys_key_id"),
        sa.ForeignKeyConstraint(
            ["prediction_id"],
            ["predictions.id"],
            name="fk_idempotency_keys_prediction_id",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("key_id", "name", name="pk_idempotency_keys"),
    )
    op.create_index("ix_idempotency_keys_created_at", "idempotency_keys", ["created_at"])


def downgrade() -> None:
    op.drop_table("idempotency_keys")
    op.drop_index("ix_predictions_open_by_key", "predictions")
    op.drop_column("predictions", "deleted_at")
    op.drop_column("api_keys", "max_open")
    op.drop_column("api_keys", "keep_s")
