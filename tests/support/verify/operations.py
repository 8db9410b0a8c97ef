"""Rows 4, 10 and 12 to 19: the manager, dead letters, recovery, pages, users, logs, cron, examples, figures."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import textwrap
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from jobfleet import (
    Fleet,
    Job,
    JobConfig,
    JobManager,
    JobNotFound,
    JobStatus,
    get_job_manager,
    poll,
    wait,
)
from jobfleet.functions.registry import Registry
from jobfleet.model import STORED
from tests.support.fleet import ROOT
from tests.support.verify.stage import PATIENCE, SETTINGS, Stage, check, expect

MIB = 1024 * 1024


def _held(gate: str) -> str:
    while not Path(gate).exists():
        pass
    return "held"


@check(4, "get_job_manager: start(workers=N), shutdown(timeout)")
def manager(stage: Stage) -> str:
    """A worker in this very process, with a plain function and a lambda; a job that runs may end."""
    registry = Registry()
    registry.register(lambda x: x + 1, name="inside.more")
    with Fleet(stage.url, namespace=f"{stage.namespace}-manager", registry=registry) as fleet:
        inside, gate = JobManager(fleet=fleet), stage.path()
        inside.start(workers=2)
        more = inside.enqueue(Job(name="More", function="inside.more", args=(1,)))
        held = inside.enqueue(Job(name="Held", function=_held, args=(str(gate),)))
        expect(inside.wait(more, timeout=PATIENCE).result == 2, "the lambda did not run")
        stage.until(lambda: inside.poll(held).status is JobStatus.RUNNING, "the function runs")
        gate.touch()
        inside.shutdown(timeout=PATIENCE)
        result = inside.poll(held).result
        expect(result == "held" and not inside.is_running, f"it ended with {result}")
    return "a function and a lambda of this process; drained"


@check(4, "statistics, by priority, queue, function and user")
def statistics(stage: Stage) -> str:
    """All keys, and sums that agree."""
    stage.run("seed.add", 1, 2, user="ann")
    told = get_job_manager().statistics()
    wanted = {status.value for status in STORED} | {
        "total", "queue_size", "by_priority", "dead_letters", "workers", "average_duration", "success_rate",
        "by_queue", "by_function", "by_user",
    }  # fmt: skip
    expect(wanted <= told.keys(), f"it lacks {sorted(wanted - told.keys())}")
    expect(told["workers"] >= 1 and told["by_user"]["ann"]["completed"] >= 1, str(told))
    expect(sum(row["total"] for row in told["by_queue"].values()) == told["total"], "queues do not add up")
    return f"{told['total']} jobs, {told['completed']} completed, {told['workers']} worker(s)"


@check(4, "get_pending_jobs")
def pending(stage: Stage) -> str:
    """What waits is listed."""
    job_id = stage.enqueue("seed.add", 1, 2, delay=3600, name="Much later")
    names = [job.name for job in get_job_manager().get_pending_jobs(limit=1000) if job.id == job_id]
    get_job_manager().cancel(job_id)
    expect(names == ["Much later"], f"listed were {names}")
    return "a scheduled job listed, then cancelled"


@check(4, "cleanup_old_results(days)")
def cleanup(stage: Stage) -> str:
    """What ended goes, once its id need not be remembered."""
    with Fleet(stage.url, namespace=stage.namespace, **SETTINGS) as fleet:
        one = fleet.wait(fleet.enqueue(Job("Sum", "seed.add", (1, 2))), timeout=PATIENCE)
        stage.until(lambda: JobManager(fleet=fleet).cleanup_old_results(days=0), "something is old enough")
        stage.until(lambda: JobManager(fleet=fleet).cleanup_old_results(days=0) or _is_gone(fleet, one.id), "it goes")
        stage.until(lambda: _is_gone(fleet, one.id), "it has gone")
    return "results gone, ids remembered as long as they must be"


def _is_gone(fleet: Fleet, job_id: str) -> bool:
    with suppress(JobNotFound):
        fleet.clean(0)
        fleet.poll(job_id)
        return False
    return True


@check(10, "dead letters: looked at, retried by hand")
def dead(stage: Stage) -> str:
    """From Python and on the command line."""
    one = stage.run("seed.raise", "ValueError")
    expect(one.id in {letter.id for letter in get_job_manager().dead_letters(limit=1000)}, "it is no dead letter")
    listed = json.loads(_jobfleet(stage, "-o", "json", "dead", "ls", "--limit", "1000"))
    expect(one.id in {row["id"] for row in listed}, "the command line does not list it")
    expect(get_job_manager().retry_dead_letter(one.id) is True, "it cannot be retried")
    stage.until(lambda: poll(one.id).status is JobStatus.FAILED, "it has failed again")
    return "listed by Python and `jobfleet dead ls`; run again"


def _jobfleet(stage: Stage, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "jobfleet", *arguments], cwd=ROOT, env=stage.environment(), capture_output=True,
        text=True, timeout=PATIENCE, check=True,
    )  # fmt: skip
    return done.stdout


@check(12, "recovery: a killed worker's job is run again")
def recovery(stage: Stage) -> str:
    """All of a worker is killed at once; another one takes over."""
    gate = stage.path()
    doomed = stage.start_worker(queues="doomed")
    job_id = stage.enqueue("seed.hold", str(gate), queue="doomed")
    stage.until(lambda: poll(job_id).status is JobStatus.RUNNING, "it runs")
    doomed.send_all(signal.SIGKILL)
    doomed.exit_code()
    gate.touch()
    heir = stage.start_worker(queues="doomed")
    one = wait(job_id, timeout=PATIENCE)
    heir.close()
    expect(one.status is JobStatus.COMPLETED and one.attempt == 2, str(one))
    return f"killed in run 1, completed in run {one.attempt}"


@check(14, "Streamlit: the four widgets and a user's jobs")
def widgets(stage: Stage) -> str:
    """Drawn by Streamlit's own test bench, over a job that runs; the button cancels it."""
    from streamlit.testing.v1 import AppTest

    job_id = stage.enqueue("seed.compute", str(stage.path()), user="eve")
    stage.until(lambda: poll(job_id).progress, "it reports")
    bench = AppTest.from_string(PAGE.format(job_id=job_id), default_timeout=PATIENCE).run()
    expect(not bench.exception, f"it raised {bench.exception}")
    bars = [bar.proto.value for bar in bench.get("progress")]
    bench.button[-1].click().run()
    one = wait(job_id, timeout=PATIENCE)
    expect(bars.count(50) >= 4 and one.status is JobStatus.CANCELLED, f"bars {bars}, {one.status.value}")
    return f"{len(bars)} bars at 50 %, no spinner; cancelled by its button"


PAGE = """
from jobfleet.panels import (
    cancel_job_button, create_job_progress_widget, render_job_progress, render_job_status_dashboard, render_user_jobs,
)

render_job_progress("{job_id}", poll_interval=0.5)
render_job_status_dashboard()
render_user_jobs("eve")
create_job_progress_widget("{job_id}")
cancel_job_button("{job_id}")
"""


@check(15, "user and session of a job; a user's own jobs")
def users(stage: Stage) -> str:
    """Known to the job, to whoever polls, and in the statistics."""
    one = stage.run("seed.told", user="zoe", session="s-1")
    told = get_job_manager().statistics()["by_user"]["zoe"]
    seen: Any = one.result
    expect((one.user, seen["session"], told["completed"]) == ("zoe", "s-1", 1), f"{one} {told}")
    return "zoe in result and statistics, session in the job"


@check(16, "structured logs with correlation ids")
def logs(stage: Stage) -> str:
    """A line of a job's, as JSON."""
    stage.run("seed.told", correlation_id="req-7", user="ann")
    stage.until(lambda: '"req-7"' in stage.worker.said, "it is written")
    lines = [json.loads(line) for line in stage.worker.said.splitlines()]
    line = next(row for row in lines if row.get("correlation_id") == "req-7" and row["message"] == "looking around")
    return ", ".join(f"{name} {line[name]}" for name in ("function", "user", "correlation_id"))


@check(16, "an object of settings")
def settings(stage: Stage) -> str:
    """A manager by settings alone."""
    made = JobManager(JobConfig(url=stage.url, namespace=stage.namespace, slots=3, result_ttl=60, grace=2))
    total = made.statistics()["total"]
    made.fleet.close()
    expect(total == get_job_manager().statistics()["total"], "it sees another fleet")
    return f"JobConfig(slots=3, …): {total} jobs seen"


def _example(example: Path) -> None:
    def see(stage: Stage) -> str:
        done = subprocess.run(
            [sys.executable, str(example)], cwd=stage.folder, capture_output=True, text=True, timeout=PATIENCE,
            check=False, env=stage.environment(JOBFLEET_NAMESPACE=f"{stage.namespace}-examples"),
        )  # fmt: skip
        stage.forget([f"{stage.namespace}-examples"])
        said = example.read_text().partition("Prints:\n\n")[2].partition('"""')[0]
        expect(done.stdout == textwrap.dedent(said).strip() + "\n", done.stdout + done.stderr)
        return done.stdout.splitlines()[-1]

    check(18, f"example {example.stem.replace('_', ' ')}")(see)


for _path in sorted((ROOT / "docs" / "examples").glob("*.py")):
    _example(_path)


@check(19, "about 1 MB for 1,000 waiting jobs")
def memory(stage: Stage) -> str:
    """What Redis says of each key."""
    jobs = [Job("Sum", "seed.add", (10, 20), delay=3600, queue="stored") for _ in range(1000)]
    refused = [one.error for one in stage.fleet.enqueue_many(jobs) if one.error]
    expect(not refused, f"refused: {refused[:1]}")
    names = [name for name in stage.keys(stage.namespace) if ":stored:" in name]
    used = sum(int(str(stage.raw.memory_usage(name, samples=0) or 0)) for name in names)
    stage.fleet.purge_queue("stored")
    expect(used < MIB, f"{used} bytes")
    return f"{used / 1000:.0f} bytes a job"


@check(19, "more workers run more at once")
def scaling(stage: Stage) -> str:
    """Two workers of one slot."""
    gate = stage.path()
    workers = [stage.start_worker(queues="wide", slots=1) for _ in range(2)]
    ids = [stage.enqueue("seed.hold", str(gate), queue="wide") for _ in range(2)]
    stage.until(lambda: all(poll(job_id).status is JobStatus.RUNNING for job_id in ids), "both run at once")
    gate.touch()
    for job_id in ids:
        wait(job_id, timeout=PATIENCE)
    for worker in workers:
        worker.close()
    return "2 workers of 1 slot: 2 jobs at once"


@check(4, "metrics for Prometheus")
def metrics(stage: Stage) -> str:
    """The worker's endpoint, scraped."""
    said = stage.until(lambda: _port(stage.worker.said), "its endpoint is told")
    with urlopen(f"http://127.0.0.1:{said}/metrics", timeout=10) as answer:
        names = {line.split("{")[0].split(" ")[0] for line in answer.read().decode().splitlines() if line[:1] != "#"}
    own = sorted(name for name in names if name.startswith("jobfleet_"))
    expect(own, f"only {sorted(names)[:5]}")
    return f"{len(own)} series names at /metrics, as {own[0]}"


def _port(said: str) -> int:
    rows = [json.loads(line) for line in said.splitlines()]
    return next((int(row["port"]) for row in rows if row.get("event") == "metrics.serving"), 0)
