"""Commands agree on what it means that nothing was found."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from jobfleet import Fleet, Job
from jobfleet.archive import init_job_tables
from tests.cli.hand import AsRole, Cli, Hand
from tests.support.each import each

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "errors.md"
LISTS = ["jobs", "jobs --tag none", "queues ls", "workers ls", "dead ls", "dead groups", "cron ls", "limits ls",
         "flow ls", "archive search", "archive search --user none", "logs default.0.a"]  # fmt: skip
NAMED = ["status default.0.zzz", "status zzzz", "wait default.0.zzz", "watch default.0.zzz", "explain default.0.zzz",
         "logs default.0.zzz", "cancel default.0.zzz", "reschedule default.0.zzz --delay 1m",
         "move default.0.zzz --to bulk", "dead show default.0.zzz", "dead edit default.0.zzz --args []",
         "dead replay default.0.zzz", "dead purge default.0.zzz --yes", "jobs --queue none", "dead ls --queue none",
         "dead replay --all --queue none", "queues resume none", "queues purge none",
         "queues rm none", "limits ls none", "events tail --queue none", "cron pause none", "cron rm none",
         "flow show none", "flow cancel none", "workers stop none --yes"]  # fmt: skip
CHANGES = ["cancel --tag none", "reschedule --tag none --delay 1m", "move --tag none --to bulk",
           "dead replay --all", "dead purge --all", "dead replay --all --queue default",
           "workers quiet --all"]  # fmt: skip
TIDIES = ["queues purge empty", "archive prune --older-than 90d"]


pytestmark = pytest.mark.filterwarnings("ignore:No worker has published")


@pytest.fixture(autouse=True)
def world(cli: Cli, fleet: Fleet, as_role: AsRole, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fleet with one waiting job and an empty queue, without workers, and with an empty archive."""
    url = f"sqlite:///{tmp_path}/archive.db"
    init_job_tables(url)
    monkeypatch.setenv("JOBFLEET_ARCHIVE_URL", url)
    fleet.enqueue(Job("x", "demo.add", id="a"))
    hand = Hand(fleet, as_role("worker"))
    hand.completes(hand.claims(fleet.enqueue(Job("x", "demo.add", id="b", queue="empty"))), 1)


@each(
    "command, code",
    [
        *((command, 0) for command in LISTS),
        *((command, 3) for command in NAMED),
        *((command, 3) for command in CHANGES),
        *((command, 0) for command in TIDIES),
    ],
)
def test_the_code_says_whether_what_was_asked_for_exists(cli: Cli, command: str, code: int) -> None:
    result = cli(*command.split())

    assert result.exit_code == code, result.stdout + result.stderr


def test_the_reference_has_the_rule() -> None:
    page = " ".join(PAGE.read_text().split())

    for phrase in ("lists and searches exit with 0", "exit with 3"):
        assert phrase in page.lower()
    assert re.search(r"\| 3 \| not found", PAGE.read_text())
