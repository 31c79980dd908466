"""Measured speeds, what waits by lane and key, and how many processes a worker has."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "speeds",
        sa.Column("engine", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("frame_s", sa.Float(), nullable=True),
        sa.Column("unit_s", sa.Float(), nullable=False),
        sa.Column(
            "measured_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("engine", "kind", name="pk_speeds"),
    )
    op.create_table(
        "backlog",
        sa.Column("lane", sa.Text(), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("jobs", sa.Integer(), server_default="0", nullable=False),
        sa.Column("ready", sa.Integer(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("lane", "key_id", name="pk_backlog"),
    )
    op.add_column(
        "workers", sa.Column("processes", sa.Integer(), server_default="1", nullable=False)
    )


def downgrade() -> None:
    op.drop_column("workers", "processes")
    op.drop_table("backlog")
    op.drop_table("speeds")
