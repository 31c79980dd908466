"""Fair shares: worker-seconds by key, and turns that know their key."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

READY = sa.text("ready > 0")
BY_PRIORITY: list[str | sa.TextClause] = [
    sa.text("priority DESC"),
    sa.text("last_served_at NULLS FIRST"),
    "created_at",
]


def upgrade() -> None:
    op.create_table(
        "shares",
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("weight", sa.Float(), server_default="1", nullable=False),
        sa.Column("max_running", sa.Integer(), nullable=True),
        sa.Column("seconds", sa.Float(), server_default="0", nullable=False),
        sa.Column(
            "at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(["key_id"], ["api_keys.id"], name="fk_shares_key_id"),
        sa.PrimaryKeyConstraint("key_id", name="pk_shares"),
    )
    op.execute("INSERT INTO shares (key_id) SELECT id FROM api_keys")
    op.add_column("turns", sa.Column("key_id", sa.Text(), nullable=True))
    op.execute("UPDATE turns SET key_id = p.key_id FROM predictions p WHERE p.id = prediction_id")
    op.add_column("turns", sa.Column("begun", sa.Boolean(), server_default="false", nullable=False))
    op.drop_index("ix_turns_ready", "turns")
    op.create_index(
        "ix_turns_ready", "turns", ["lane", "key_id", *BY_PRIORITY], postgresql_where=READY
    )


def downgrade() -> None:
    op.drop_index("ix_turns_ready", "turns")
    op.create_index("ix_turns_ready", "turns", ["lane", *BY_PRIORITY], postgresql_where=READY)
    op.drop_column("turns", "begun")
    op.drop_column("turns", "key_id")
    op.drop_table("shares")
