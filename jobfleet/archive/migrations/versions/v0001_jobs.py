"""Jobs, results, attempts, tags."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

JSON = sa.JSON().with_variant(JSONB(), "postgresql")
MOMENT = sa.DateTime(timezone=True)


def _where(condition: str) -> dict[str, Any]:
    return {"postgresql_where": sa.text(condition), "sqlite_where": sa.text(condition)}


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "jobfleet_jobs",
        sa.Column("namespace", sa.String(100), primary_key=True),
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("queue", sa.Text, nullable=False),
        sa.Column("function", sa.Text),
        sa.Column("name", sa.Text),
        sa.Column("priority", sa.Integer),
        sa.Column("user_name", sa.Text),
        sa.Column("session_id", sa.Text),
        sa.Column("correlation_id", sa.Text),
        sa.Column("group_name", sa.Text),
        sa.Column("unique_key", sa.Text),
        sa.Column("tags", JSON),
        sa.Column("metadata", JSON),
        sa.Column("enqueued_at", MOMENT),
        sa.Column("scheduled_at", MOMENT),
        sa.Column("started_at", MOMENT),
        sa.Column("completed_at", MOMENT),
        sa.Column("updated_at", MOMENT),
        sa.Column("attempt", sa.Integer),
        sa.Column("retry_count", sa.Integer),
        sa.Column("worker", sa.Text),
        sa.Column("fence", sa.BigInteger),
        sa.Column("error", sa.Text),
        sa.Column("cancel_requested_by", sa.Text),
        sa.Column("moved_to", sa.Text),
        sa.Column("moved_from", sa.Text),
        sa.Column("envelope", sa.LargeBinary),
    )
    op.create_index("ix_jobfleet_jobs_status", "jobfleet_jobs", ["namespace", "status", "enqueued_at"])
    op.create_index("ix_jobfleet_jobs_function", "jobfleet_jobs", ["namespace", "function", "enqueued_at"])
    op.create_index("ix_jobfleet_jobs_completed", "jobfleet_jobs", ["namespace", "completed_at"])
    op.create_index(
        "ix_jobfleet_jobs_user",
        "jobfleet_jobs",
        ["namespace", "user_name", "enqueued_at"],
        **_where("user_name IS NOT NULL"),
    )
    op.create_index(
        "ix_jobfleet_jobs_session", "jobfleet_jobs", ["namespace", "session_id"], **_where("session_id IS NOT NULL")
    )
    op.create_table(
        "jobfleet_results",
        sa.Column("namespace", sa.String(100), primary_key=True),
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("result", JSON),
        sa.Column("error", sa.Text),
        sa.Column("error_type", sa.String(20)),
        sa.Column("error_class", sa.Text),
        sa.Column("traceback", sa.Text),
        sa.Column("duration", sa.Float),
        sa.Column("record", sa.LargeBinary),
    )
    op.create_table(
        "jobfleet_attempts",
        sa.Column("namespace", sa.String(100), primary_key=True),
        sa.Column("job_id", sa.Text, primary_key=True),
        sa.Column("fence", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("attempt", sa.Integer),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("worker", sa.Text),
        sa.Column("started_at", MOMENT),
        sa.Column("ended_at", MOMENT),
        sa.Column("error", sa.Text),
    )
    op.create_table(
        "jobfleet_tags",
        sa.Column("namespace", sa.String(100), primary_key=True),
        sa.Column("tag", sa.Text, primary_key=True),
        sa.Column("job_id", sa.Text, primary_key=True),
    )
    op.create_index("ix_jobfleet_tags_job", "jobfleet_tags", ["namespace", "job_id"])


def downgrade() -> None:
    """Drop the tables."""
    for table in ("jobfleet_tags", "jobfleet_attempts", "jobfleet_results", "jobfleet_jobs"):
        op.drop_table(table)
