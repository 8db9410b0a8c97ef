"""Django's connection writes rows, in its own transactions, without SQLAlchemy."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from jobfleet.outbox.rows import OutboxRows

pytest.importorskip("django")

PROGRAM = """
import sys
import django
from django.conf import settings

sys.modules["sqlalchemy"] = None  # an import of it fails
settings.configure(DATABASES={"default": %(database)r}, INSTALLED_APPS=[])
django.setup()

from django.db import connection, transaction
from jobfleet import Fleet, Job
from jobfleet.contrib import outbox

fleet = Fleet("redis://127.0.0.1:1")
job = lambda number: Job("send", "mail.send", (number,), queue="mail")
try:
    with transaction.atomic():
        outbox.enqueue(connection, job(0), fleet=fleet)
except ConnectionError as error:
    assert "run 'jobfleet outbox init" in str(error), error
    assert error.__cause__ is not None
else:
    raise AssertionError("There is no table yet.")
with connection.cursor() as cursor:
    for statement in outbox.ddl(connection.vendor):
        cursor.execute(statement)
with transaction.atomic():
    print(outbox.enqueue(connection, job(1), fleet=fleet))
try:
    with transaction.atomic():
        outbox.enqueue(connection, job(2), fleet=fleet)
        raise KeyError
except KeyError:
    pass
print(outbox.enqueue(connection, job(3), fleet=fleet))
"""


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_rows_follow_the_transactions_of_django(request: pytest.FixtureRequest, tmp_path: Path, kind: str) -> None:
    if kind == "sqlite":
        name = str(tmp_path / "django.db")
        url, database = f"sqlite:///{name}", {"ENGINE": "django.db.backends.sqlite3", "NAME": name}
    else:
        url = request.getfixturevalue("postgres").database()
        name, _, folder = url.partition("@/")[2].partition("?host=")
        database = {"ENGINE": "django.db.backends.postgresql", "NAME": name, "USER": "jobfleet", "HOST": folder}

    done = subprocess.run(
        [sys.executable, "-c", PROGRAM % {"database": database}], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    with closing(OutboxRows(url, "jobfleet")) as rows:
        assert [row.id for row in rows.listed()] == done.stdout.split()
        assert len(done.stdout.split()) == 2
