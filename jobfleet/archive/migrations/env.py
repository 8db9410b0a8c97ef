"""How alembic runs the archive's migrations: on the connection that it is given, in the transaction that is open."""

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
