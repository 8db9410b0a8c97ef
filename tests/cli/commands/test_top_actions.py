"""`top` on a terminal with a real server: keys that pause, cancel and replay, and the pages of jobs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobfleet import Fleet, Job
from jobfleet.cli.commands.top import do
from jobfleet.cli.top_state import Act, Verb
from tests.cli.hand import ROOT, Hand
from tests.cli.terminal import Terminal
from tests.support.server import RedisServer
from tests.support.waiting import wait_until


@pytest.fixture
def environ(here: Path, redis_url: str) -> dict[str, str]:
    return {"JOBFLEET_URL": redis_url}


def audited(fleet: Fleet) -> list[tuple[str, str, str, str]]:
    """The audit, oldest first."""
    return [(one.by, one.source, one.action, one.target) for one in reversed(fleet.audit().entries)]


def test_a_queue_is_paused_and_resumed(environ: dict[str, str], fleet: Fleet, hand: Hand) -> None:
    fleet.enqueue(Job("x", "demo.add", queue="mail"))

    with Terminal("top", "--every", "60", "--by", "ann", columns=60, environ=environ) as terminal:
        terminal.shows("> mail")
        terminal.types("p")
        terminal.shows("Pause mail? y/N")
        terminal.types("n")
        terminal.shows("Nothing was changed.")
        assert not fleet.queues()[0].paused
        terminal.types("py")
        assert any(" paused" in line for line in terminal.shows("mail is paused."))
        terminal.types("py")
        terminal.shows("mail is resumed.")
        terminal.types("q")
        assert terminal.ends() == 0

    assert fleet.queues()[0].paused is None
    assert audited(fleet) == [("ann", "cli", "queue.pause", "mail"), ("ann", "cli", "queue.resume", "mail")]


def test_jobs_of_a_queue_are_cancelled(environ: dict[str, str], fleet: Fleet, hand: Hand) -> None:
    running, waiting = (fleet.enqueue(Job("x", "demo.add", queue="mail", id=f"job-{n}")) for n in "ab")
    grant = hand.claims(running)

    with Terminal("top", "--every", "0.2", "--by", "ann", environ=environ) as terminal:
        terminal.shows("> mail")
        terminal.types("\r")
        terminal.shows("> job-a  running")
        terminal.types("cy")
        terminal.shows("mail.0.job-a is asked to stop.")
        terminal.types("jcy")
        terminal.shows("mail.0.job-b is cancelled.")
        hand.completes(grant, 3)
        terminal.shows("  job-a  completed")
        terminal.types("\x1b")
        terminal.shows("QUEUE")
        terminal.types("q")
        assert terminal.ends() == 0

    assert fleet.poll(waiting).status == "cancelled"
    assert audited(fleet) == [("ann", "cli", "job.cancel", running), ("ann", "cli", "job.cancel", waiting)]


def test_a_dead_letter_is_opened_and_replayed(environ: dict[str, str], fleet: Fleet, hand: Hand) -> None:
    job_id = hand.buries("a")

    with Terminal("top", "--every", "60", "--by", "ann", environ=environ) as terminal:
        terminal.shows("no luck")
        terminal.types("G\r")
        lines = terminal.shows("log: no lines")
        assert "Traceback" in lines
        assert lines[3].split() == ["id", job_id]
        terminal.types("r")
        terminal.shows(f"Replay {job_id}? y/N")
        terminal.types("y")
        terminal.shows(f"{job_id} is back in its queue.")
        terminal.types("q")
        assert terminal.ends() == 0

    assert fleet.poll(job_id).status == "queued"
    assert audited(fleet) == [("ann", "cli", "job.replay", job_id)]


def test_an_action_that_is_refused_is_shown(environ: dict[str, str], fleet: Fleet, hand: Hand) -> None:
    job_id = hand.buries("a")

    with Terminal("top", "--every", "60", environ=environ) as terminal:
        terminal.shows("no luck")
        terminal.types("Gr")
        terminal.shows("y/N")
        fleet.replay(job_id)
        terminal.types("y")
        terminal.shows(f"{job_id} is open, or did not fail.")
        terminal.types("q")
        assert terminal.ends() == 0


def test_an_action_during_an_outage_is_shown_as_failed(here: Path, own_server: RedisServer) -> None:
    with Fleet(own_server.url) as fleet:
        Hand(fleet).knows("demo.add")
        fleet.enqueue(Job("x", "demo.add", queue="mail"))

    variables = {"JOBFLEET_URL": own_server.url, "JOBFLEET_PATIENCE": "0.1"}
    with Terminal("top", "--every", "0.1", environ=variables) as terminal:
        terminal.shows("> mail")
        own_server.kill()
        terminal.shows("; trying again.")
        terminal.types("py")
        text = "".join(terminal.shows("No Redis at"))
        assert text[text.index("No Redis at") :].endswith("Start it there, or correct the URL.")
        terminal.types("q")
        assert terminal.ends() == 0


@pytest.fixture
def worker(here: Path, redis_url: str, fleet: Fleet) -> Iterator[subprocess.Popen[bytes]]:
    """A real worker."""
    (here / "work.py").write_text("from jobfleet import job\n\n@job\ndef add(x): return x\n")
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "JOBFLEET_URL": redis_url}
    command = [sys.executable, "-m", "jobfleet", "worker", "work", "-p", "1"]
    process = subprocess.Popen(command, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: any(one.state == "running" for one in fleet.workers()), why="it serves")
        yield process
    finally:
        process.kill()
        process.wait()


def test_a_worker_is_made_quiet_resumed_and_stopped(
    environ: dict[str, str], fleet: Fleet, worker: subprocess.Popen[bytes]
) -> None:
    name = fleet.workers()[0].id

    with Terminal("top", "--every", "60", "--by", "ann", columns=60, environ=environ) as terminal:
        terminal.shows(name[:10])
        terminal.types("g\t")
        terminal.shows(f"> {name[:10]}")
        terminal.types("p")
        terminal.shows("Quiet ")
        terminal.types("n")
        terminal.shows("Nothing was changed.")
        terminal.types("py")
        assert any(f"> {name[:10]}" in line and " quiet " in line for line in terminal.shows("is quiet."))
        terminal.types("py")
        terminal.shows("is running.")
        terminal.types("sy")
        terminal.shows("is stopping.", "is gone.")
        terminal.types("q")
        assert terminal.ends() == 0

    assert worker.wait(60) == 0
    assert audited(fleet) == [("ann", "cli", f"worker.{verb}", name) for verb in ("quiet", "resume", "stop")]


def test_a_worker_that_does_not_answer_is_shown_as_such(
    fleet: Fleet, hand: Hand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobfleet.cli.commands.top.COMMAND_S", 0.1)

    told = do(fleet, Act(Verb.QUIET, "w1", is_for_worker=True), "ann")

    assert told == "w1 has not confirmed within 100 ms; it may still do so."
    assert do(fleet, Act(Verb.STOP, "w2", is_for_worker=True), "ann") == "w2 has gone."
