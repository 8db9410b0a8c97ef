"""What a worker logs while it starts: that it waits, what it serves, and why it cannot start."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from jobfleet import Fleet, Job
from tests.cli.terminal import Terminal
from tests.support.fleet import APPS, LONG, Programs
from tests.support.server import RedisServer
from tests.support.waiting import wait_until

pytestmark = pytest.mark.fresh

SHOP = """
import logging
from jobfleet import job

log = logging.getLogger("shop")

@job(name="shop.pay", queue="mail", concurrency=500)
def pay(n: int) -> None:
    log.warning("card %d is slow", n)

@job(name="shop.refuse", max_retries=1, retry_delay=0.01)
async def refuse(n: int) -> None:
    raise ConnectionError(f"bank {n} is away")

@job(name="shop.nightly", cron="0 2 * * *", tz="Europe/Berlin")
def nightly() -> None: ...
"""

SPLIT = """
import signal
import time
from pathlib import Path

here = Path(__file__).parent
try:
    (here / "first").mkdir()
except FileExistsError:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # Python does the same when it ends
    (here / "second").mkdir()
    time.sleep(120)
else:
    ends_at = time.monotonic() + 60
    while not (here / "second").exists() and time.monotonic() < ends_at:
        time.sleep(0.02)
    raise ValueError("the first child cannot import this")
"""
"""A module that one child cannot import while another one still imports it."""


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "shop.py").write_text(SHOP)
    (folder / "bare.py").touch()
    return folder


def test_a_worker_says_once_what_it_serves_when_its_modules_are_loaded(programs: Programs, shop: Path) -> None:
    worker = programs.ready("shop", "bare", app_dir=shop, processes=2, slots=3, log_format="json")
    worker.await_line("module.empty")
    worker.await_children(2)

    lines = [json.loads(line) for line in worker.said.splitlines()]
    (started,) = [line for line in lines if line.get("event") == "worker.started"]
    assert {name: started[name] for name in ("children", "slots", "modules", "functions", "reaper")} == {
        "children": 2, "slots": 3, "modules": "shop,bare", "functions": 3, "reaper": "none",
    }  # fmt: skip
    assert set(started["queues"].split(",")) == {"mail", "default"}
    assert re.fullmatch(r"(Valkey|Redis)-\d+\.\d+\.\d+", started["server"])
    (empty,) = [line for line in lines if line.get("event") == "module.empty"]
    assert (empty["module"], empty["level"]) == ("bare", "WARNING")


def test_a_worker_reports_a_misspelt_queue(programs: Programs, shop: Path) -> None:
    worker = programs.ready("shop", app_dir=shop, queues="mial")

    worker.await_line("queue.unused queue=mial no function of this worker goes to it; did you mean 'mail'?")


def test_it_says_whether_a_reaper_was_seen(programs: Programs, shop: Path) -> None:
    hosting = programs.ready("shop", app_dir=shop, with_reaper=True)
    hosting.await_line("reaper=hosted")
    programs.reaper()

    def sees_it() -> bool:
        return "reaper=seen" in programs.ready("shop", app_dir=shop).said

    wait_until(sees_it, timeout=LONG, why="the reaper has announced itself")


def test_a_module_that_loads_slowly_is_named_while_it_loads(programs: Programs, tmp_path: Path) -> None:
    worker = programs.worker("slow_to_load", processes=2)

    worker.await_line("module.slow module=slow_to_load ")
    assert "worker.started" not in worker.said
    (tmp_path / "gate").touch()
    worker.await_line("worker.started")

    assert worker.said.count("module.slow") == 1


def test_a_worker_says_that_it_is_connecting_when_that_takes_long(
    own_programs: Programs, own_server: RedisServer, shop: Path
) -> None:
    own_server.pause()
    worker = own_programs.worker("shop", app_dir=shop)
    worker.await_line("redis.connecting url=")
    own_server.resume()

    worker.await_line("worker.started")
    assert worker.said.count("redis.connecting") == 1


def test_a_worker_of_no_module_does_not_say_that_it_has_started(programs: Programs) -> None:
    worker = programs.worker("nosuchmod")

    assert worker.exit_code() == 2
    said = f"Cannot import 'nosuchmod': No module named 'nosuchmod' (looked in {APPS}; --app-dir?).\n"
    assert worker.said == said


def test_a_child_that_is_ended_because_another_one_cannot_start_is_not_an_error(
    programs: Programs, tmp_path: Path
) -> None:
    (tmp_path / "split.py").write_text(SPLIT)

    worker = programs.worker("split", app_dir=tmp_path, processes=2)

    assert worker.exit_code() == 2
    assert worker.said.startswith("Cannot import 'split': ValueError")
    assert "child.died" not in worker.said


@pytest.mark.first(3)
@pytest.mark.parametrize("what", ["worker", "reaper"])
@pytest.mark.parametrize(
    ("code", "error", "line"),
    [
        ("def f(:\n", "SyntaxError: invalid syntax (broken.py, line 1)", "    def f(:"),
        ("open('/there/is/none')\n", "FileNotFoundError: [Errno 2] No such file or directory: '/there/is/none'",
         "    open('/there/is/none')"),
        ("import nosuchmod\n", "ModuleNotFoundError: No module named 'nosuchmod'", "    import nosuchmod"),
        ("raise PermissionError(13, 'Permission denied', 'x')\n",
         "PermissionError: [Errno 13] Permission denied: 'x'", "    raise PermissionError("),
        ("raise SystemExit(3)\n", "SystemExit: 3", "    raise SystemExit(3)"),
    ],
)  # fmt: skip
def test_every_failure_of_an_import_is_told_alike(
    programs: Programs, tmp_path: Path, what: str, code: str, error: str, line: str
) -> None:
    (tmp_path / "broken.py").write_text(code)
    program = programs.start(what, "broken", app_dir=tmp_path)

    assert program.exit_code() == 2, program.said
    first = program.said.splitlines()[0]
    assert first.startswith(f"Cannot import 'broken': {error}; "), "the module and the error come first"
    assert first.endswith(" below."), "and what to do"
    assert program.said.count("Cannot import") == 1
    assert error.replace(" (broken.py, line 1)", "") in program.said
    assert line in program.said
    assert "importlib" not in program.said
    assert "jobfleet/services" not in program.said


def test_on_a_terminal_the_line_about_an_import_that_fails_comes_first(redis_url: str, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("import nosuchmod\n")
    environ = {"NO_COLOR": "1", "JOBFLEET_URL": redis_url, "JOBFLEET_APP_DIR": str(tmp_path)}
    with Terminal("worker", "broken", "-p2", columns=300, environ=environ) as worker:
        assert worker.ends() == 2
        lines = worker.text.replace("\r", "").splitlines()

    assert lines[0].startswith(
        "Cannot import 'broken': ModuleNotFoundError: No module named 'nosuchmod'; install it for "
    )
    assert lines[0].endswith("or correct the import below.")
    assert lines[1].startswith("Traceback")


@pytest.mark.parametrize("columns", [80, 120])
def test_a_terminal_shows_what_is_served_and_how_jobs_run(
    redis_url: str, fleet: Fleet, shop: Path, columns: int
) -> None:
    environ = {"TZ": "Europe/Berlin", "NO_COLOR": "1", "JOBFLEET_URL": redis_url, "JOBFLEET_APP_DIR": str(shop)}
    arguments = ("worker", "shop", "bare", "-p1", "--with-reaper", "--log-jobs")
    with Terminal(*arguments, columns=columns, environ=environ) as worker:
        worker.until("module.empty")
        paid = fleet.enqueue(Job("pay", "shop.pay", (7,)))
        worker.until("completed in")
        refused = fleet.enqueue(Job("refuse", "shop.refuse", (7,)))
        worker.until("Traceback")
        worker.until("Reaper runs")  # earlier, Ctrl-C would reach it while it still loads
        worker.types("\x03")
        assert worker.ends() == 0
        text = worker.text.replace("\r", "")
    assert re.search(r"^\w+day \d\d \w+ \d{4}, UTC\+0[12]:00$", text, re.MULTILINE), text
    functions = (
        r"    functions  shop\.nightly  queue default, cron 0 2 \* \* \* \(Europe/Berlin\)\n"
        r"               shop\.pay      queue mail, 500 at once\n"
        r"               shop\.refuse   queue default\n"
    )
    block = (
        rf"^\d\d:\d\d:\d\d Worker \S+ is ready\.\n    modules    shop, bare\n{functions}    queues     .*\n"
        r"    slots      10 per process; processes: 1\n    Redis      \S+ \((Valkey|Redis) [\d.]+\)\n"
        r"    reaper     hosted by this worker$"
    )
    assert re.search(block, text, re.MULTILINE), text
    lines = [line[9:] for line in text.splitlines() if " #" in line]
    assert [re.sub(r"\d\.\d+ s", "… s", line) for line in lines] == [
        f"{paid[-8:]} shop.pay #1  started",
        f"WARNING {paid[-8:]} shop.pay #1  shop: card 7 is slow",
        f"{paid[-8:]} shop.pay #1  completed in … s",
        f"{refused[-8:]} shop.refuse #1  started",
        f"WARNING {refused[-8:]} shop.refuse #1  retried in … s: ConnectionError: bank 7 is away",
        f"{refused[-8:]} shop.refuse #2  started",
        f"ERROR {refused[-8:]} shop.refuse #2  failed: ConnectionError: bank 7 is away",
    ]
    assert text.count("Traceback") == 1
