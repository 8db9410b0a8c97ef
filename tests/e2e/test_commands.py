"""Commands to workers from afar, given by the command line and confirmed by presence."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from jobfleet import AsyncFleet, Fleet, Job, JobStatus
from jobfleet.cli.main import main
from jobfleet.codec import encode
from jobfleet.config import processors
from jobfleet.errors import ConfigError
from jobfleet.events import Command
from jobfleet.operations.workers import WorkerInfo
from jobfleet.store.calls.presence import beat
from tests.support.each import each
from tests.support.fleet import LONG, Programs, settle_all
from tests.support.waiting import wait_until

Cli = Callable[..., Result]
CODE = "from jobfleet import job\n\n\n@job(name='app.seven')\ndef seven() -> int:\n    return 7\n"
PATIENTLY = ("--timeout", f"{LONG:g}s")
"""For commands that wait until processes have loaded their modules, which takes long on a busy machine."""


@pytest.fixture
def cli(redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    monkeypatch.setenv("JOBFLEET_URL", redis_url)
    monkeypatch.chdir(tmp_path)

    def run(*args: str, input: str | None = None) -> Result:
        result = CliRunner().invoke(main, ["workers", *args], input=input, prog_name="jobfleet")
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    return run


def only(fleet: Fleet) -> WorkerInfo:
    (worker,) = fleet.workers()
    return worker


def await_beat(fleet: Fleet, last: datetime | None) -> None:
    """Wait until the worker was heard of again."""
    wait_until(lambda: only(fleet).beat != last, timeout=LONG, why="heartbeats go on")


def test_quiet_and_resume(programs: Programs, fleet: Fleet, cli: Cli, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    programs.ready()
    running = fleet.enqueue(Job("gate", "hist.gate", (str(gate),)))
    programs.history.await_start(running)
    worker = only(fleet).id

    result = cli("quiet", worker, "--by", "ann@desk")

    assert (result.exit_code, result.stdout, result.stderr) == (0, f"{worker} is quiet.\n", "")
    assert (only(fleet).state, only(fleet).state_by) == ("quiet", "ann@desk")
    assert "quiet by ann@desk" in cli("ls").stdout
    gate.touch()
    assert fleet.wait(running, timeout=LONG).status is JobStatus.COMPLETED
    later = fleet.enqueue(Job("nap", "hist.nap", (0.0,)))

    result = cli("resume", worker, "-o", "json")

    confirmed = {"worker": worker, "state": "running", "children": 1, "is_confirmed": True, "refusal": ""}
    assert json.loads(result.stdout) == [confirmed]
    assert fleet.wait(later, timeout=LONG).status is JobStatus.COMPLETED


def test_a_worker_is_named_by_id_by_the_beginning_of_it_by_its_host_or_with_all_others(
    programs: Programs, fleet: Fleet, cli: Cli
) -> None:
    for _ in range(2):
        programs.ready()
    every = sorted(fleet.workers(), key=lambda one: one.id)

    assert cli("quiet", every[0].id[:-1]).stdout == f"{every[0].id} is quiet.\n"
    both = "".join(f"{one.id} is running.\n" for one in every)
    assert sorted(cli("resume", every[0].host).stdout.splitlines()) == both.splitlines()
    quieted = cli("quiet", "--all", "-o", "ids")
    assert sorted(quieted.stdout.split()) == [one.id for one in every]
    assert quieted.stderr == "These workers claim no jobs until 'jobfleet workers resume --all'.\n"
    assert {one.state for one in fleet.workers()} == {"quiet"}


def test_a_worker_that_is_not_there(programs: Programs, fleet: Fleet, cli: Cli) -> None:
    assert (cli("quiet", "--all").exit_code, cli("quiet", "--all").stderr) == (3, "There are no live workers.\n")
    programs.ready()

    result = cli("stop", "nobody", "--yes")

    assert (result.exit_code, result.stdout) == (3, "")
    assert result.stderr == "There is no live worker 'nobody'; see 'jobfleet workers ls'.\n"
    assert only(fleet).state == "running"
    for wrong in (["quiet"], ["quiet", "x", "--all"]):
        assert cli(*wrong).exit_code == 2


def test_stop_asks_drains_and_charges_nobody(programs: Programs, fleet: Fleet, cli: Cli, tmp_path: Path) -> None:
    worker = programs.ready(grace=600)
    job_id = fleet.enqueue(Job("gate", "hist.gate", (str(tmp_path / "never"),)))
    programs.history.await_start(job_id)
    name = only(fleet).id

    refused = cli("stop", "--all", input="n\n")
    assert refused.exit_code == 1
    assert refused.stderr.startswith(f"Stop {name}? [y/N] ")
    assert only(fleet).state == "running"
    result = cli("stop", "--all", "--grace", "500ms", "--yes")

    assert result.exit_code == 0
    assert result.stdout in {f"{name} is stopping.\n", f"{name} is gone.\n"}
    assert worker.exit_code() == 0
    found = fleet.poll(job_id)
    assert (found.status, found.retry_count) == (JobStatus.QUEUED, 0)
    assert fleet.workers() == []


def test_who_stops_does_not_turn_back(programs: Programs, fleet: Fleet, cli: Cli, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    worker = programs.ready(grace=600)
    job_id = fleet.enqueue(Job("gate", "hist.gate", (str(gate),)))
    programs.history.await_start(job_id)
    name = only(fleet).id
    assert cli("stop", name, "--yes").stdout == f"{name} is stopping.\n"

    for verb in (["quiet"], ["resume"], ["scale", "-p", "3"]):
        result = cli(*verb, name)
        assert (result.exit_code, result.stderr) == (1, f"{name} is stopping, which cannot be undone.\n")
    assert cli("stop", name, "--yes").stdout == f"{name} is stopping.\n"
    assert not worker.is_over
    gate.touch()

    assert worker.exit_code() == 0
    assert fleet.poll(job_id).status is JobStatus.COMPLETED


def test_who_stops_may_be_told_to_hurry(programs: Programs, fleet: Fleet, cli: Cli, tmp_path: Path) -> None:
    worker = programs.ready(grace=600)
    job_id = fleet.enqueue(Job("gate", "hist.gate", (str(tmp_path / "never"),)))
    programs.history.await_start(job_id)

    cli("stop", "--all", "--yes")
    cli("stop", "--all", "--yes", "--grace", "0")

    assert worker.exit_code() == 0
    assert (fleet.poll(job_id).status, fleet.poll(job_id).retry_count) == (JobStatus.QUEUED, 0)


def test_stop_from_afar_ends_a_worker_that_was_about_to_start_afresh(
    programs: Programs, fleet: Fleet, cli: Cli, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    worker = programs.ready(grace=600)
    job_id = fleet.enqueue(Job("gate", "hist.gate", (str(gate),)))
    programs.history.await_start(job_id)
    worker.send(signal.SIGHUP)
    worker.await_line("worker.stopping")

    cli("stop", "--all", "--yes")
    gate.touch()

    assert worker.exit_code() == 0
    assert "worker.restarting" not in worker.said


def test_dump_writes_to_the_log_of_the_worker(programs: Programs, fleet: Fleet, cli: Cli) -> None:
    worker = programs.ready()
    job_id = fleet.enqueue(Job("rest", "hist.rest", (600.0,)))
    programs.history.await_start(job_id)

    assert cli("dump", "--all").stdout == f"{only(fleet).id} writes to its log.\n"

    worker.await_line("in rest")
    assert worker.said.count("child.dump") == 1
    assert f"holds {job_id}:started" in worker.said


def test_scaling_under_load_loses_nothing_and_charges_nobody(programs: Programs, fleet: Fleet, cli: Cli) -> None:
    worker = programs.ready(slots=2)
    name = only(fleet).id
    ids = [receipt.id for receipt in fleet.enqueue_many(Job("nap", "hist.nap", (0.1,)) for _ in range(240))]

    assert cli("scale", name, "-p", "3", *PATIENTLY).stdout == f"{name} has 3 children.\n"
    wait_until(lambda: len(runners(programs)) >= 3, timeout=LONG, why="three children run jobs")
    assert (only(fleet).children, only(fleet).slots) == (3, 6)
    asked = cli("scale", name, "-p", "1", input="\n")
    assert (asked.exit_code, asked.stderr.partition("? ")[0]) == (1, f"Scale {name} down to 1 each")
    assert cli("scale", name, "-p", "1", "--yes", *PATIENTLY).stdout == f"{name} has 1 child.\n"
    wait_until(lambda: len(worker.children()) == 1, timeout=LONG, why="the others have gone")
    assert cli("scale", name, "-p", "2", *PATIENTLY).stdout == f"{name} has 2 children.\n"

    results = settle_all(fleet, ids)
    assert {result.status for result in results.values()} == {JobStatus.COMPLETED}
    assert {(result.attempt, result.retry_count) for result in results.values()} == {(1, 0)}
    assert set(programs.history.starts().values()) == {1}
    assert "child.died" not in worker.said


def test_a_surplus_child_ends_its_job_first(programs: Programs, fleet: Fleet, cli: Cli, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    worker = programs.ready(processes=2, slots=1, grace=0.1)
    ids = [fleet.enqueue(Job("gate", "hist.gate", (str(gate),))) for _ in range(2)]
    for job_id in ids:
        programs.history.await_start(job_id)

    cli("scale", "--all", "-p", "1", "--yes")
    assert (only(fleet).children, only(fleet).leaving, len(worker.children())) == (1, 1, 2)
    gate.touch()

    assert {one.status for one in settle_all(fleet, ids).values()} == {JobStatus.COMPLETED}
    wait_until(lambda: len(worker.children()) == 1, timeout=LONG, why="it has gone then")
    assert set(programs.history.starts().values()) == {1}


def test_scaling_up_with_broken_code_leaves_those_that_serve(
    programs: Programs, fleet: Fleet, cli: Cli, tmp_path: Path
) -> None:
    (tmp_path / "app.py").write_text(CODE)
    worker = programs.ready("app", app_dir=tmp_path)
    (child,) = worker.children()
    (tmp_path / "app.py").write_text(CODE + "\n1 / 0\n")

    result = cli("scale", "--all", "-p", "2", "--timeout", "1s")
    worker.await_line("child.refused")

    assert (result.exit_code, result.stdout) == (124, "")
    assert "ZeroDivisionError" in worker.said
    assert fleet.wait(fleet.enqueue(Job("seven", "app.seven")), timeout=LONG).result == 7
    assert worker.children() == [child]


def test_a_worker_that_is_frozen_confirms_nothing(programs: Programs, fleet: Fleet, cli: Cli) -> None:
    worker = programs.ready()
    name = only(fleet).id
    worker.freeze_all()

    result = cli("quiet", name, "--timeout", "300ms")

    assert (result.exit_code, result.stdout) == (124, "")
    assert result.stderr == f"{name} has not confirmed within 300 ms; it may still do so.\n"


def test_a_command_that_comes_twice_is_obeyed_once(programs: Programs, fleet: Fleet) -> None:
    worker = programs.ready()
    line = Command("dump", only(fleet).id, "abc", "ann").line()

    for _ in range(2):
        publish(fleet, line)
    publish(fleet, Command("quiet", only(fleet).id, "def", "ann").line())
    wait_until(lambda: only(fleet).obeyed == "def", timeout=LONG, why="all were heard")

    assert worker.said.count("verb=dump") == 1
    assert only(fleet).state == "quiet"


def publish(fleet: Fleet, line: str, channel: str = "") -> None:
    fleet.store.link.exchange([("PUBLISH", channel or fleet.context.keys.commands, line)])


def test_a_command_on_the_channel_for_cancellations_is_refused(programs: Programs, fleet: Fleet) -> None:
    """Whoever may cancel a job may publish there."""
    worker = programs.ready()
    name = only(fleet).id

    for verb, nonce in (("stop", "a1"), ("scale", "a2")):
        publish(fleet, Command(verb, name, nonce, "mallory", 3.0).line(), fleet.context.keys.control)
    publish(fleet, Command("quiet", name, "def", "ann").line())
    wait_until(lambda: only(fleet).obeyed == "def", timeout=LONG, why="the operator's command was heard")

    assert (only(fleet).state, worker.said.count("worker.refused verb=stop by=mallory")) == ("quiet", 1)
    assert "worker.commanded verb=stop" not in worker.said


async def test_the_asynchronous_client_commands_alike(programs: Programs, redis_url: str, fleet: Fleet) -> None:
    programs.ready()
    name = only(fleet).id

    async with AsyncFleet(redis_url) as other:
        (quiet,) = await other.command_workers([name], "quiet", by="ann")
        (scaled,) = await other.command_workers([name], "scale", processes=2)
        (unknown,) = await other.command_workers(["nobody"], "stop")

    assert (quiet.state, quiet.is_confirmed) == ("quiet", True)
    assert (scaled.children, scaled.is_confirmed) == (2, True)
    assert (unknown.state, unknown.is_confirmed) == ("unknown", False)


@each("verb, numbers", [("dance", {}), ("scale", {}), ("scale", {"processes": 0}), ("quiet", {"processes": 2}),
     ("dump", {"grace": 1.0}), ("stop", {"grace": -1.0})])  # fmt: skip
def test_a_command_that_makes_no_sense_is_refused(fleet: Fleet, verb: str, numbers: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        fleet.command_workers(["w"], verb, **numbers)  # type: ignore[arg-type]


def runners(programs: Programs) -> set[int]:
    return {entry.pid for entry in programs.history.entries()}


def test_children_start_a_few_at_a_time_while_heartbeats_and_commands_go_on(
    programs: Programs, fleet: Fleet, cli: Cli, tmp_path: Path
) -> None:
    at_once = max(4, processors())
    gate = tmp_path / "gate"
    gate.touch()
    worker = programs.ready("slow_to_load", beat=0.2, gone_after=5)
    gate.unlink()
    (first,) = tmp_path.glob("loading-*")
    first.unlink()
    wanted = at_once + 3

    cli("scale", "--all", "-p", str(wanted), "--yes", "--timeout", "0s")
    wait_until(lambda: len([*tmp_path.glob("loading-*")]) == at_once, timeout=LONG, why="the first of them load")
    for _ in range(3):
        await_beat(fleet, only(fleet).beat)
    worker.send(signal.SIGTSTP)
    wait_until(lambda: only(fleet).state == "quiet", timeout=LONG, why="it obeys signals")
    loading = len([*tmp_path.glob("loading-*")])
    gate.touch()

    wait_until(lambda: only(fleet).children == wanted, timeout=LONG, why="all are there in the end")
    assert loading == at_once
    assert len([*tmp_path.glob("loading-*")]) == wanted - 1


@pytest.mark.parametrize(("processes", "is_asked"), [(9, True), (8, False)])
def test_scale_asks_before_it_crowds_a_machine(fleet: Fleet, cli: Cli, processes: int, is_asked: bool) -> None:
    account = encode({"host": "far", "pid": 1, "children": 1, "state": "running", "cpus": 2})
    fleet.store.run(beat(fleet.context.keys, "far:1:a", account=account, gone_us=20_000_000))

    result = cli("scale", "far", "-p", str(processes), "--timeout", "0s", input="n\n")

    question = "Scale far:1:a up to 9 each, more than 4 per CPU (2)? [y/N] "
    assert (result.exit_code, question in result.stderr) == ((1, True) if is_asked else (124, False))


def test_a_message_starts_no_more_processes_than_the_worker_takes_from_afar(
    programs: Programs, fleet: Fleet, cli: Cli
) -> None:
    worker = programs.ready(scale_max=3)
    name = only(fleet).id

    refused = cli("scale", name, "-p", "500", "--yes")

    told = f"{name} takes at most 3 processes from afar, unless its scale_max says otherwise.\n"
    assert (refused.exit_code, refused.stdout, refused.stderr) == (1, "", told)
    worker.await_line("worker.refused verb=scale processes=500")
    assert len(worker.await_children(1)) == 1
    grown = cli("scale", name, "-p", "3", "--yes", *PATIENTLY)
    assert (grown.exit_code, grown.stdout, grown.stderr) == (0, f"{name} has 3 children.\n", "")
