"""Process hooks: called once in each process that runs jobs, before it is ready and after its last job."""

from __future__ import annotations

import signal
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import pytest

from jobfleet import Fleet, Job
from tests.support.fleet import LONG, Programs
from tests.support.server import free_port
from tests.support.waiting import wait_until


def ready(port: int) -> int:
    try:
        with urlopen(f"http://127.0.0.1:{port}/readyz", timeout=10) as answer:
            return int(answer.status)
    except HTTPError as error:
        return error.code
    except URLError:
        return 0


def test_a_worker_is_ready_when_its_children_have_warmed_up(
    programs: Programs, fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DRAINING_HOOKS", "wait")
    port = free_port()
    worker = programs.worker("draining", metrics_port=port)
    wait_until(programs.told, timeout=LONG, why="the hook was called")
    wait_until(lambda: ready(port), timeout=LONG, why="the worker answers")

    assert ready(port) == 503
    job_id = fleet.enqueue(Job("nothing", "drain.nothing"))
    (programs.folder / "warm").touch()
    wait_until(lambda: ready(port) == 200, timeout=LONG, why="it is ready")
    child = fleet.wait(job_id, timeout=LONG).result

    worker.send(signal.SIGTERM)
    assert worker.exit_code() == 0
    assert programs.told() == [f"start {child}", "second start", "last stop", f"stop {child}"]
    worker.await_line("hook.raised hook=last ValueError: no matter")


def test_an_isolated_process_calls_them_too(programs: Programs, fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRAINING_HOOKS", "yes")
    worker = programs.ready("draining", spare_processes=1)

    process = fleet.wait(fleet.enqueue(Job("apart", "drain.apart")), timeout=LONG).result
    worker.send(signal.SIGTERM)

    assert worker.exit_code() == 0
    assert programs.told().count(f"start {process}") == 1
    assert programs.told().count(f"stop {process}") == 1


def test_a_child_whose_hook_raises_does_not_start(programs: Programs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRAINING_HOOKS", "fail")
    worker = programs.worker("draining")

    assert worker.exit_code() == 2
    assert "The on_start hook warm_up failed: ConnectionError: no model server.\nTraceback" in worker.said
    assert 'raise ConnectionError("no model server")' in worker.said
    assert "second start" not in programs.told()
