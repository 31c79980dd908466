"""Who did what is written down, and a key may be rotated while its old secret still counts."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "audit",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column(
            "at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("key_id", sa.Text(), nullable=True),
        sa.Column("organisation_id", sa.Text(), nullable=True),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=True),
        sa.Column("request_id", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_audit"),
    )
    op.create_index("ix_audit_at", "audit", ["at"])
    op.add_column("api_keys", sa.Column("retired_digest", sa.Text(), nullable=True))
    op.add_column("api_keys", sa.Column("retires_at", sa.DateTime(timezone=True), nullable=True))
    op.create_index("ix_api_keys_retired_digest", "api_keys", ["retired_digest"])


def downgrade() -> None:
    op.drop_index("ix_api_keys_retired_digest", "api_keys")
    op.drop_column("api_keys", "retires_at")
    op.drop_column("api_keys", "retired_digest")
    op.drop_table("audit")
