"""`enqueue`: arguments, options, waiting."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis

from jobfleet import Fleet, JobStatus
from jobfleet.cli.commands import enqueue
from jobfleet.codec import encode, open_envelope
from jobfleet.store.calls.presence import beat
from tests.cli.hand import Cli, Hand
from tests.support.each import each

TRY = " Try 'jobfleet enqueue -h'."


def sent(fleet: Fleet, raw: redis.Redis, job_id: str) -> tuple[object, object]:
    envelope = raw.get(fleet.context.keys.lane_of(job_id).job(job_id))
    assert isinstance(envelope, bytes)
    opened = open_envelope(envelope)
    return list(opened.args), dict(opened.kwargs)


@pytest.mark.parametrize(
    ("args", "wanted"),
    [
        (["10", "20"], [10, 20]),
        (["-1", "2"], [-1, 2]),
        (["--", "-1", "2"], [-1, 2]),
        (["2", "-1.5e3", "-.5"], [2, -1500.0, "-.5"]),
        (["--", "--queue", "-x"], ["--queue", "-x"]),
        (["ann@example.org", '"20"', "null", "true", '{"a": [1]}', "[-1]"],
         ["ann@example.org", "20", None, True, {"a": [1]}, [-1]]),
        (["NaN"], ["NaN"]),
        (["[" * 5000], ["[" * 5000]),
        ([""], [""]),
    ],
)  # fmt: skip
def test_each_arg_is_json_else_a_text(
    cli: Cli, hand: Hand, fleet: Fleet, raw: redis.Redis, args: list[str], wanted: Any
) -> None:
    result = cli("enqueue", "demo.add", *args)
    assert (result.exit_code, result.stderr) == (0, "")
    assert sent(fleet, raw, result.stdout.strip()) == (wanted, {})


def test_options_reach_the_job(cli: Cli, hand: Hand, fleet: Fleet, raw: redis.Redis) -> None:
    result = cli(
        "enqueue", "demo.add", "1", "--kwargs", '{"y": -2}', "--queue", "mail", "--priority", "HIGH", "--delay", "5m",
        "--tag", "eu", "--tag", "b", "--metadata", '{"k": 1}', "--user", "ann", "--correlation-id", "c1", "--id", "own",
        "--name", "Add up", "--max-retries", "0", "--timeout", "2", "--expires-in", "1h", "--result-ttl", "1d",
        "--no-jitter", "--retry-delay", "1", "--retry-backoff", "1.5", "--max-crashes", "2", "--session", "s",
    )  # fmt: skip
    assert (result.exit_code, result.stdout, result.stderr) == (0, "mail.0.own\n", "")
    job = fleet.poll("mail.0.own")
    assert (job.status, job.name, job.user, job.tags, job.metadata) == (
        JobStatus.SCHEDULED, "Add up", "ann", ("eu", "b"), {"k": 1},
    )  # fmt: skip
    assert sent(fleet, raw, job.id) == ([1], {"y": -2})
    assert fleet.queues()[0].by_priority["high"] == 1


def test_a_negative_value_of_an_option_is_the_options(cli: Cli, hand: Hand) -> None:
    result = cli("enqueue", "demo.add", "--max-retries", "-1", "5")
    assert result.exit_code == 2
    assert result.stderr.startswith("Invalid value for '--max-retries': -1")


def test_a_time_without_offset_is_local(cli: Cli, hand: Hand, fleet: Fleet) -> None:
    at = (datetime.now().astimezone() + timedelta(hours=2)).replace(microsecond=0)
    job_id = cli("enqueue", "demo.add", "--at", at.replace(tzinfo=None).isoformat()).stdout.strip()
    assert fleet.poll(job_id).scheduled_at == at.astimezone(UTC)


def test_an_own_id_makes_one_job(cli: Cli, hand: Hand) -> None:
    cli("enqueue", "demo.add", "--id", "own")
    again = cli("enqueue", "demo.add", "--id", "own", "-o", "json")
    assert json.loads(again.stdout) == {"id": "default.0.own", "created": False, "status": "queued"}
    assert again.stderr == "default.0.own exists already.\n"


def test_a_unique_key_makes_one_job_and_tells_who_holds_it(cli: Cli, hand: Hand, fleet: Fleet) -> None:
    cli("enqueue", "demo.add", "7", "--id", "own", "--unique", "sum-{0}", "--delay", "1h")
    again = cli("enqueue", "demo.add", "7", "--unique", "sum-{0}", "-o", "json")
    other = cli("enqueue", "demo.add", "8", "--unique", "sum-{0}", "-o", "json")
    assert json.loads(again.stdout) == {"id": "default.0.own", "created": False, "status": "scheduled"}
    assert again.stderr == "default.0.own holds the unique key; it is scheduled.\n"
    assert json.loads(other.stdout)["created"] is True
    assert "sum-7" in cli("status", "default.0.own").stdout
    assert "unique sum-7" in cli("jobs").stdout
    assert json.loads(cli("status", "default.0.own", "-o", "json").stdout)[0]["unique"] == "sum-7"


def test_what_a_conflict_brings_is_chosen(cli: Cli, hand: Hand, fleet: Fleet) -> None:
    options = ["demo.add", "7", "--unique", "sum", "--delay", "10"]
    cli("enqueue", *options, "--id", "a")
    refused = cli("enqueue", *options, "--on-conflict", "raise")
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert refused.stderr == "Job 'default.0.a' holds the unique key.\n"
    replaced = cli("enqueue", *options, "--id", "b", "--on-conflict", "replace", "--unique-for", "2h")
    assert (replaced.exit_code, replaced.stdout, replaced.stderr) == (0, "default.0.b\n", "")
    assert fleet.poll("default.0.a").error == "replaced by default.0.b"
    debounced = cli("enqueue", *options[:-1], "9", "--on-conflict", "debounce", "--debounce-max", "1m")
    assert (debounced.exit_code, debounced.stdout) == (0, "default.0.b\n")


@pytest.mark.parametrize(
    ("call", "problem"),
    [
        (["demo.greet", "ann", "2", "3"], "demo.greet takes (name, times=…): too many positional arguments"),
        (["demo.greet", "5"], "name of demo.greet is a whole number; give a text."),
    ],
)
def test_a_call_that_a_published_function_does_not_accept_is_refused(
    cli: Cli, fleet: Fleet, hand: Hand, call: list[str], problem: str
) -> None:
    takes = [["name", "b", False, ["string"]], ["times", "b", True, ["integer"]]]
    published = {"demo.greet": encode({"options": {}, "takes": takes})}
    hand.run(beat(fleet.context.keys, "w2", account=encode({}), gone_us=10**9, functions=published))

    refused = cli("enqueue", *call)

    assert (refused.exit_code, refused.stdout) == (2, "")
    assert refused.stderr.startswith(problem)
    assert fleet.queues() == []
    assert cli("enqueue", "demo.greet", "ann", "2").exit_code == 0


@pytest.mark.parametrize("scope", ["queued", "open", "60", "1h"])
def test_a_key_is_held_for_a_word_or_a_time(cli: Cli, hand: Hand, scope: str) -> None:
    assert cli("enqueue", "demo.add", "7", "--unique", "sum", "--unique-for", scope).exit_code == 0


def test_a_name_nobody_knows_is_told(cli: Cli, hand: Hand) -> None:
    result = cli("enqueue", "demo.ad", "1")
    assert result.exit_code == 0
    assert "did you mean 'demo.add'?" in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("value", "form", "wanted"),
    [
        (30, "table", "30\n"),
        ("a text", "table", "a text\n"),
        (None, "table", "null\n"),
        ({"at": datetime(2026, 1, 2, tzinfo=UTC), "took": timedelta(seconds=1.5), "raw": b"\0"}, "table",
         '{"at": "2026-01-02T00:00:00+00:00", "took": 1.5, "raw": "AA=="}\n'),
        (30, "ids", "default.0.own\n"),
    ],
)  # fmt: skip
def test_wait_prints_the_result_alone(cli: Cli, hand: Hand, fleet: Fleet, value: Any, form: str, wanted: Any) -> None:
    cli("enqueue", "demo.add", "--id", "own")
    hand.completes(hand.claims("default.0.own"), value)
    result = cli("enqueue", "demo.add", "--id", "own", "--wait", "-o", form)
    assert (result.exit_code, result.stdout) == (0, wanted)


def test_wait_is_woken_by_the_end(cli: Cli, hand: Hand) -> None:
    def work() -> None:
        while not hand.fleet.jobs().jobs:
            threading.Event().wait(0.02)
        hand.completes(hand.claims("default.0.own"), 30)

    worker = threading.Thread(target=work)
    worker.start()
    result = cli("enqueue", "demo.add", "10", "20", "--id", "own", "--wait")
    worker.join()
    assert (result.exit_code, result.stdout, result.stderr) == (0, "30\n", "")


def test_wait_tells_a_failure_in_one_line(cli: Cli, hand: Hand) -> None:
    hand.buries("own", error="line 1\nline 2\x1b[31m")
    result = cli("enqueue", "demo.add", "--id", "own", "--wait")  # the hand writes each failure down as of demo.add
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.splitlines() == [
        "default.0.own exists already.",
        r"default.0.own failed: ValueError: line 1\nline 2\x1b[31m",
    ]


def test_wait_timeout_ends_with_124(cli: Cli, hand: Hand) -> None:
    result = cli("enqueue", "demo.add", "--id", "own", "--wait-timeout", "0.1")
    assert (result.exit_code, result.stdout) == (124, "")
    assert result.stderr == "default.0.own did not end within 0.1 s; it is still open.\n"


def test_wait_shows_the_id_of_a_job_that_does_not_end_soon(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(enqueue, "TELL_AFTER", 0.01)
    result = cli("enqueue", "demo.add", "--id", "own", "--wait-timeout", "0.5")
    assert (result.exit_code, result.stdout) == (124, "")
    assert "default.0.own is enqueued; this waits for its end." in result.stderr.splitlines()


@each("args, line", [
        ([], f"Missing argument 'NAME'.{TRY}"),
        (["a", "--quue", "x"], f"No such option '--quue'. Did you mean one of: '--queue', '--unique', '--user'?{TRY}"),
        (["a", "--kwargs", "[1]"],
         f"Invalid value for '--kwargs': '[1]' is not a JSON object; write it as '{{\"key\": 1}}'.{TRY}"),
        (["a", "--at", "noon"],
         f"Invalid value for '--at': 'noon' is not an ISO time; write it as 2026-11-25T14:00 or with +01:00.{TRY}"),
        (["a", "--delay", "soon"],
         f"Invalid value for '--delay': 'soon': use seconds, or a text such as '30s', '5m', '1h30m' or '30d'.{TRY}"),
        (["a", "--unique-for", "ever"],
         f"Invalid value for '--unique-for': 'ever': use 'queued', 'open', or a time such as '30s' or '24h'.{TRY}"),
        (["a", "--queue", "no way"], "queue is 'no way'; use 1 to 32 letters, digits, '_' or '-'."),
        (["no way"], "function is 'no way'; use 1 to 128 letters, digits, '_', '.', ':' or '-'."),
        (["a", "--name", "x\x1b"], r"name is 'x\x1b'; give a printable label of 1 to 200 characters."),
    ])  # fmt: skip
def test_a_wrong_call_is_told_in_one_line(cli: Cli, args: list[str], line: str) -> None:
    result = cli("enqueue", *args)
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", line + "\n")


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--unique", "{b}"], "unique names {b}, which is not an argument of this call; it has no named arguments."),
        (
            ["1", "--unique", "{b}"],
            "unique names {b}, which is not an argument of this call; it has only positions, from {0} on.",
        ),
        (["--unique-for", "60"], "unique_for is given, but no key; give unique too, or leave it out."),
    ],
)
def test_a_key_that_cannot_be_made_is_told(cli: Cli, hand: Hand, options: list[str], line: str) -> None:
    hand.knows("far.add")  # no test registers this name, so its signature is not known
    result = cli("enqueue", "far.add", *options)
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", line + "\n")


def test_a_value_that_cannot_travel_is_told(cli: Cli, hand: Hand) -> None:
    result = cli("enqueue", "demo.add", '"\\ud800"')
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("args", "what"),
    [
        (["demo.fail", "7"], "Its function is 'demo.add'."),
        (["demo.add", "8"], "Its arguments differ."),
        (["demo.add", "7", "--kwargs", '{"y": 1}'], "Its arguments differ."),
        (["demo.fail"], "Its function is 'demo.add', and its arguments differ."),
    ],
)
def test_an_own_id_with_another_call_says_that_the_existing_job_is_another_one(
    cli: Cli, hand: Hand, args: list[str], what: str
) -> None:
    cli("enqueue", "demo.add", "7", "--id", "own")

    again = cli("enqueue", *args, "--id", "own")

    assert (again.exit_code, again.stdout) == (0, "default.0.own\n")
    assert again.stderr == f"default.0.own exists already. {what} Nothing was enqueued.\n"


def test_an_own_id_with_the_same_call_is_not_called_another_one(cli: Cli, hand: Hand) -> None:
    args = ("enqueue", "demo.add", "1", "[1, 2]", "--kwargs", '{"y": {"a": null}}', "--id", "own")
    cli(*args)

    assert cli(*args).stderr == "default.0.own exists already.\n"


def test_an_ended_job_whose_arguments_are_gone_is_compared_by_its_function(cli: Cli, hand: Hand) -> None:
    cli("enqueue", "demo.add", "7", "--id", "own")
    hand.completes(hand.claims("default.0.own"), 1)

    assert cli("enqueue", "demo.add", "8", "--id", "own").stderr == "default.0.own exists already.\n"
    other = cli("enqueue", "demo.fail", "8", "--id", "own")
    assert other.stderr == "default.0.own exists already. Its function is 'demo.add'. Nothing was enqueued.\n"
