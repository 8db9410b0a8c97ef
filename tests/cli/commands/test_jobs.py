"""`status`, `wait`, `watch`, `cancel` and `jobs`."""

from __future__ import annotations

import json
import re
import threading
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any

import pytest
import redis

from jobfleet import Fleet, Job, JobDetails, JobResult
from jobfleet.cli import following
from jobfleet.codec import encode
from jobfleet.store.calls.control import stop
from jobfleet.store.calls.presence import beat, know
from tests.cli.hand import Cli, Hand, local_day
from tests.support.server import RedisServer
from tests.support.waiting import wait_until


def aged(text: str) -> str:
    """Ages and moments replaced, since they pass."""
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d\d:\d\d", "<moment>", text)
    text = re.sub(r"^\d\d:\d\d:\d\d", "<clock>", text, flags=re.MULTILINE)
    return re.sub(r"\d+ s ago", "<age>", re.sub(r"  \d s\b", "  0 s", text))


@pytest.fixture
def one(fleet: Fleet, hand: Hand) -> str:
    fleet.enqueue(Job("Add up", "demo.add", (1, 2), id="a", user="ann", tags=("eu", "b"), metadata={"k": [1]}))
    return "default.0.a"


def test_one_job_is_shown_whole(cli: Cli, hand: Hand, one: str) -> None:
    grant = hand.claims(one)
    hand.reports(grant, 0.25, "row 1 of 4")
    lines = aged(cli("status", one).stdout).splitlines()
    assert [line for line in lines if not line.startswith("duration")] == [
        "id         default.0.a",
        "status     running",
        "function   demo.add",
        "name       Add up",
        "progress   25 % row 1 of 4",
        "runs       1",
        "enqueued   <moment>  (<age>)",
        "started    <moment>  (<age>)",
        "worker     w1.0",
        "user       ann",
        "tags       eu, b",
        'metadata   {"k": [1]}',
        "priority   normal",
        "arguments  1, 2",
        "retries    0 of 3 used",
    ]


def test_several_jobs_are_a_table(cli: Cli, fleet: Fleet, hand: Hand, one: str) -> None:
    dead = hand.fleet.enqueue(Job("x", "demo.fail", id="b"))
    hand.completes(hand.claims(one), "done")
    hand.fails(hand.claims(dead), "bad\nluck\x07")
    result = cli("status", one, dead)
    assert (result.exit_code, result.stderr) == (0, "")
    assert aged(result.stdout).splitlines() == [
        "ID           STATUS     FUNCTION   DONE  RUNS  ENQUEUED  AGE  NOTE",
        "default.0.a  completed  demo.add  100 %     1  -           -  → done",
        r"default.0.b  failed     demo.add      -     1  -           -  ValueError: bad\nluck\x07",
    ]


def test_a_job_that_no_worker_of_its_queue_knows_has_a_note(cli: Cli, fleet: Fleet, hand: Hand) -> None:
    keys = fleet.context.keys
    for worker, queue, function in (("w1", "default", "demo.add"), ("w2", "qa", "demo.other")):
        account = encode({"queues": [queue], "state": "running", "kinds": [worker]})
        hand.run(beat(keys, worker, account=account, gone_us=10**9, functions={function: encode({})}))
        hand.run(know(keys, worker, worker, gone_us=10**9, functions={"": queue, function: queue}))
    fleet.enqueue(Job("x", "demo.add", id="fine"))
    fleet.enqueue(Job("x", "demo.other", id="lost", queue="default"))

    notes = [line.partition("  0 s")[2].strip() for line in aged(cli("jobs").stdout).splitlines()[1:]]

    assert notes == ["no worker of default knows it; those of qa do", ""]


def test_json_has_every_attribute(cli: Cli, one: str) -> None:
    (job,) = json.loads(cli("status", one, "-o", "json").stdout)
    attributes = {field.name for kind in (JobResult, JobDetails) for field in fields(kind)}
    assert set(job) == attributes - {"job"} | {"life"}  # read from the lines of `history`
    assert (job["status"], job["user"], job["tags"], job["metadata"]) == ("queued", "ann", ["eu", "b"], {"k": [1]})
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+\+00:00", job["enqueued_at"])


def test_a_job_that_is_not_known_ends_with_3(cli: Cli, one: str) -> None:
    result = cli("status", "default.0.zzz", "nonsense", one, "-o", "ids")
    assert (result.exit_code, result.stdout) == (3, f"{one}\n")
    assert sorted(result.stderr.splitlines()) == [
        (
            "'nonsense' is not a job id; ids look like mail.0.0192f0c1…; "
            "commands also take its last 4 or more characters."
        ),
        "No job 'default.0.zzz': never enqueued, or its result was deleted.",
    ]


def test_wait_ends_with_what_the_jobs_ended_with(cli: Cli, hand: Hand, one: str) -> None:
    hand.completes(hand.claims(one), 3)
    assert cli("wait", one, "-o", "ids").exit_code == 0
    result = cli("wait", one, hand.buries("b"), "-o", "ids")
    assert (result.exit_code, result.stdout) == (1, "default.0.a\ndefault.0.b\n")


def test_wait_has_one_timeout_for_all(cli: Cli, fleet: Fleet, hand: Hand) -> None:
    dead = hand.buries("b")
    one = fleet.enqueue(Job("x", "demo.add", id="a"))
    result = cli("wait", dead, one, "--timeout", "100ms")
    assert (result.exit_code, result.stdout) == (124, "")
    assert result.stderr == "default.0.a did not end within 0.1 s; it is still open.\n"


def test_wait_warns_when_nobody_serves_the_queue(cli: Cli, fleet: Fleet, hand: Hand) -> None:
    job_id = fleet.enqueue(Job("x", "demo.add", queue="lonely", id="a"))
    result = cli("wait", job_id, "--timeout", "4.5")
    assert result.exit_code == 124
    assert result.stderr.splitlines()[0] == (
        "No live worker serves the queue 'lonely'; start one: 'jobfleet worker MODULE -Q lonely'."
    )


def test_watch_prints_a_line_for_each_change(cli: Cli, hand: Hand, one: str, raw: redis.Redis) -> None:
    grant = hand.claims(one)
    raw.config_resetstat()

    def looks() -> int:
        stats: dict[str, dict[str, Any]] = raw.info("commandstats")
        return sum(row["calls"] for name, row in stats.items() if name.startswith("cmdstat_eval"))

    def work() -> None:
        wait_until(lambda: looks() > 3, why="it has looked up the id, and has seen the job run more than once")
        hand.reports(grant, 0.5, "half\x1b[2J")
        seen = looks()
        wait_until(lambda: looks() > seen, why="it has seen the report")
        hand.completes(grant, 3)

    worker = threading.Thread(target=work)
    worker.start()
    result = cli("watch", one)
    worker.join()
    assert (result.exit_code, result.stderr) == (0, "")
    assert aged(result.stdout).splitlines() == [
        local_day(datetime.now(UTC)),
        "<clock>  default.0.a  running        -",
        r"<clock>  default.0.a  running     50 %  half\x1b[2J",
        "<clock>  default.0.a  completed  100 %  → 3",
    ]


def test_watch_as_json_is_a_line_each(cli: Cli, hand: Hand) -> None:
    result = cli("watch", hand.buries("a"), "-o", "json")
    assert result.exit_code == 1
    assert [json.loads(line)["status"] for line in result.stdout.splitlines()] == ["failed"]


def test_cancel(cli: Cli, fleet: Fleet, hand: Hand, one: str) -> None:
    assert cli("cancel", one, "--by", "ann").stdout == "default.0.a  cancelled\n"
    again = cli("cancel", one)
    assert (again.exit_code, again.stdout) == (1, "default.0.a  had ended already: cancelled; nothing was done\n")
    running = fleet.enqueue(Job("x", "demo.add", id="b"))
    hand.claims(running)
    asked = cli("cancel", running, "--by", "bob", "-o", "json")
    assert json.loads(asked.stdout) == [{"id": running, "cancelled": True, "status": "running"}]
    assert fleet.poll(running).cancel_requested_by == "bob"
    assert cli("cancel", "default.0.zzz").exit_code == 3


def test_jobs_come_in_pages(cli: Cli, fleet: Fleet, hand: Hand) -> None:
    for name in "abc":
        fleet.enqueue(Job("x", "demo.add", id=name))
    first = json.loads(cli("jobs", "--order", "urgency", "--limit", "2", "-o", "json").stdout)
    second = json.loads(cli("jobs", "--limit", "2", "--cursor", first["cursor"], "-o", "json").stdout)
    assert sorted(job["id"][-1] for page in (first, second) for job in page["jobs"]) == ["a", "b", "c"]
    assert second["cursor"] == ""
    told = cli("jobs", "--order", "urgency", "--limit", "2", "-o", "ids")
    assert told.stderr == f"2 jobs; there may be more: --cursor {first['cursor']}\n"


def test_jobs_of_a_tag_a_user_a_session_and_a_function(cli: Cli, fleet: Fleet, hand: Hand) -> None:
    ids = [fleet.enqueue(Job("x", "demo.add", id=name, tags=("eu", name), user="ann", session="s")) for name in "abc"]
    other = fleet.enqueue(Job("Bill 7", "demo.fail", id="d", user="ann"))

    def found(*options: str) -> list[str]:
        return str(cli("jobs", *options, "-o", "ids").stdout).split()

    assert found("--user", "ann") == [other, *ids[::-1]]
    assert found("--tag", "eu") == found("--session", "s") == ids[::-1]
    assert found("--tag", "eu", "--tag", "b") == [ids[1]]
    assert found("--user", "ann", "--function", "demo.fail") == found("--function", "demo.fail") == [other]
    assert found("--user", "ann", "--name", "Bill 7") == found("--name", "Bill 7") == [other]
    assert found("--name", "Bill") == []
    (first, *_) = cli("jobs", "--name", "Bill 7").stdout.splitlines()[1:]
    assert re.search(r"queued  demo.fail  Bill 7 +-     -  \d\d:\d\d:\d\d  \d+ s", first)
    page = cli("jobs", "--user", "ann", "--limit", "3", "-o", "json")
    rest = found("--user", "ann", "--cursor", json.loads(page.stdout)["cursor"])
    assert rest == [ids[0]]
    assert cli("jobs", "--user", "nobody").stderr == "No jobs.\n"


def test_cancelling_by_session_counts_and_asks(cli: Cli, fleet: Fleet, hand: Hand) -> None:
    job_id = fleet.enqueue(Job("x", "demo.add", session="s"))
    refused = cli("cancel", "--session", "s", input="n\n")
    assert "Cancel 1 job?" in refused.stdout + refused.stderr
    assert cli("cancel", "--session", "s", "--yes").stdout.strip() == "Cancelled, or asked to stop: 1 job."
    assert fleet.poll(job_id).status == "cancelled"


def test_jobs_of_a_status(cli: Cli, fleet: Fleet, hand: Hand, one: str) -> None:
    dead = hand.fleet.enqueue(Job("x", "demo.fail", id="b", queue="mail"))
    hand.fails(hand.claims(dead))
    assert cli("jobs", "--status", "failed", "-o", "ids").stdout == f"{dead}\n"
    assert cli("jobs", "--queue", "default", "-o", "ids").stdout == f"{one}\n"
    assert cli("jobs", "--status", "running").stderr == "No jobs.\n"
    unknown = cli("jobs", "--queue", "mial")
    assert (unknown.exit_code, unknown.stderr) == (
        3,
        "No queue 'mial'; did you mean 'mail'? There are: default, mail.\n",
    )
    wrong = cli("jobs", "--cursor", "x")
    assert (wrong.exit_code, wrong.stderr) == (2, "cursor is 'x'; give the cursor of the previous page.\n")


def test_cancelling_by_what_jobs_are_asks_first(cli: Cli, fleet: Fleet, hand: Hand) -> None:
    hand.knows("demo.add")
    for number in range(3):
        fleet.enqueue(Job("x", "demo.add", (1, 2), id=str(number), tags=("eu",) if number else ()))

    refused = cli("cancel", "--tag", "eu", input="n\n")
    assert (refused.exit_code, fleet.count_open(queue="default")) == (1, 3)
    assert "Cancel 2 jobs?" in refused.stdout + refused.stderr
    done = cli("cancel", "--tag", "eu", "--by", "ann", "--yes")
    assert (done.exit_code, done.stdout.strip()) == (0, "Cancelled, or asked to stop: 2 jobs.")
    assert fleet.poll("default.0.1").cancel_requested_by == "ann"
    assert cli("cancel", "--tag", "eu", "--yes").exit_code == 3
    assert json.loads(cli("cancel", "--queue", "default", "-y", "-o", "json").stdout) == {"cancelled": 1}


def test_cancelling_needs_ids_or_a_description_and_not_both(cli: Cli) -> None:
    assert cli("cancel").exit_code == 2
    assert cli("cancel", "default.0.a", "--tag", "eu").exit_code == 2


def test_a_job_that_is_to_stop_shows_who_asked_and_how_far_that_is(
    cli: Cli, fleet: Fleet, hand: Hand, one: str
) -> None:
    grant = hand.claims(one)
    fleet.cancel(one, by="ann")
    assert "asked to stop by ann: requested" in cli("jobs").stdout
    lane = fleet.context.keys.lane_of(one)
    fleet.store.run(stop(lane, [(one, grant.token, 1, "raised")]))

    shown = aged(cli("status", one).stdout)

    assert re.search(r"^stop requested by +ann$", shown, re.MULTILINE)
    assert re.search(r"^stop requested +<moment>  \(<age>\)$", shown, re.MULTILINE)
    assert re.search(r"^stopping +raised$", shown, re.MULTILINE)


def test_a_wait_that_an_outage_ends_says_that_the_job_continues(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOBFLEET_PATIENCE", "0.1")
    with RedisServer() as server:
        with Fleet(server.url) as fleet:
            Hand(fleet).knows("demo.add")
            fleet.enqueue(Job("x", "demo.add", id="a"))
        wait = following._ended

        def during_an_outage(*args: Any, **named: Any) -> Any:
            server.kill()
            return wait(*args, **named)

        monkeypatch.setattr(following, "_ended", during_an_outage)
        result = cli("wait", "default.0.a", "--timeout", "120", "--url", server.url)

    assert (result.exit_code, result.stdout) == (4, "")
    assert result.stderr.startswith(
        "default.0.a continues. The outage has ended only this wait, before its timeout; wait again: "
        "jobfleet wait default.0.a\n"
    )
