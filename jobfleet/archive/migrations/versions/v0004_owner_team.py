"""The team that is responsible for a job."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

INDEX = "ix_jobfleet_jobs_owner_team"


def upgrade() -> None:
    """Add the column and its index."""
    op.add_column("jobfleet_jobs", sa.Column("owner_team", sa.Text))
    has_value = sa.text("owner_team IS NOT NULL")
    op.create_index(
        INDEX, "jobfleet_jobs", ["namespace", "owner_team", "enqueued_at"],
        postgresql_where=has_value, sqlite_where=has_value,
    )  # fmt: skip


def downgrade() -> None:
    """Drop both."""
    op.drop_index(INDEX, "jobfleet_jobs")
    op.drop_column("jobfleet_jobs", "owner_team")
