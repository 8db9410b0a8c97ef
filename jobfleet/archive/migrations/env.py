"""Runs the archive's migrations on the given connection, within its open transaction."""

from __future__ import annotations

from alembic import context

from jobfleet.archive.models import Base
from jobfleet.archive.schema import VERSIONS

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    version_table=VERSIONS,
)
context.run_migrations()
