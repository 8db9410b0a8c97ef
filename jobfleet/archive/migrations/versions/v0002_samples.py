"""Samples of hours."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "jobfleet_samples",
        sa.Column("namespace", sa.String(100), primary_key=True),
        sa.Column("series", sa.Text, primary_key=True),
        sa.Column("hour", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("point", sa.LargeBinary, nullable=False),
    )
    op.create_index("ix_jobfleet_samples_hour", "jobfleet_samples", ["namespace", "hour"])


def downgrade() -> None:
    """Drop the table."""
    op.drop_table("jobfleet_samples")
