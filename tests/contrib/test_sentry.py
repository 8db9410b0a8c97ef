"""Sentry with its own settings and transport: the hook of the page is the one event of each job that has failed."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from jobfleet import Fleet, Job
from jobfleet.functions.registry import Registry
from tests.support.pages import DOCS, blocks_of

ROOT = Path(__file__).parents[2]
HOOK = next(block.body for block in blocks_of(DOCS / "howto" / "sentry.md") if block.file == "errors.py")
"""The hook, as the page prints it."""
SHOP = """
import os, signal, time
import errors
import sentry_sdk
from jobfleet import hooks, job

sentry_sdk.init(dsn=os.environ["DSN"])
hooks.on_stop(sentry_sdk.flush)

@job(max_retries=1, retry_delay=0)
def charge():
    raise ConnectionError("no bank")

@job(max_retries=0, timeout=0.1)
def dawdle():
    while True:
        time.sleep(0.01)

@job(max_retries=0, run_in="process")
def vanish():
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def received() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """The DSN of a receiver, and the events that it has received."""
    events: list[dict[str, Any]] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            lines = (
                gzip.decompress(body).splitlines() if self.headers["Content-Encoding"] == "gzip" else body.splitlines()
            )
            events.extend(one for one in map(json.loads, lines) if "event_id" in one and "level" in one)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://key@127.0.0.1:{server.server_port}/1", events
    server.shutdown()
    server.server_close()


@pytest.mark.filterwarnings("ignore:No worker has published:UserWarning")
def test_each_failed_job_is_one_event_with_its_tags(
    redis_url: str, tmp_path: Path, received: tuple[str, list[dict[str, Any]]]
) -> None:
    dsn, events = received
    (tmp_path / "errors.py").write_text(HOOK)
    (tmp_path / "shop.py").write_text(SHOP)
    names = ["charge", "dawdle", "vanish"]
    with Fleet(redis_url, registry=Registry()) as fleet:
        ids = [fleet.enqueue(Job(name, f"shop.{name}", max_crashes=1)) for name in names]
    environment = {
        **os.environ, "PYTHONPATH": str(ROOT), "JOBFLEET_URL": redis_url, "JOBFLEET_PROCESSES": "1", "DSN": dsn,
    }  # fmt: skip
    command = [sys.executable, "-m", "jobfleet", "worker", "shop", "--burst"]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False
    )

    assert done.returncode == 0, done.stderr
    found = {one.get("tags", {}).get("job.function"): one["contexts"]["job"]["id"] for one in events}
    assert found == {f"shop.{name}": job_id for name, job_id in zip(names, ids, strict=True)}
    assert len(events) == len(names)
