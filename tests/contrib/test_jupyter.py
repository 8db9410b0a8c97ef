"""A notebook: a handle is a bar that a real kernel updates until the job has ended."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager

from jobfleet import Fleet, Job, JobNotFound, JobResult, JobStatus, StoreUnavailable
from jobfleet.contrib import jupyter
from tests.cli.hand import Hand
from tests.support.pages import DOCS, blocks_of
from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[2]
MODULE, CELL = (block for block in blocks_of(DOCS / "howto" / "jupyter.md") if block.file)
"""The job of the page, and the cell that it prints."""
PREPARE = """
%load_ext jobfleet.contrib.jupyter
import warnings; warnings.simplefilter("error")
from jobfleet import AsyncFleet, Fleet, Job
%reload_ext jobfleet.contrib.jupyter
fleet = Fleet({url!r}, patience=0.2)
"""


class Notebook:
    """A kernel, and what its cells display."""

    def __init__(self, client: BlockingKernelClient) -> None:
        self._client = client
        self.shown: list[tuple[str, str, dict[str, str]]] = []
        self.parents: list[str] = []
        """The cells of what was shown."""
        self.last_parent = ""
        self.errors: list[str] = []

    def run(self, code: str) -> None:
        """Run a cell to its end."""
        cell = self.starts(code)
        while True:
            self._read_until(lambda kind, content: kind == "status" and content["execution_state"] == "idle")
            if self.last_parent == cell:
                break
        assert self.errors == []

    def starts(self, code: str) -> str:
        """Start a cell; return the id that messages about it have."""
        return str(self._client.execute(code))

    def shows(self, text: str) -> None:
        """Wait for a display, or an update, with a text."""
        if not any(text in data["text/plain"] for _, _, data in self.shown):
            self._read_until(lambda _, content: text in content.get("data", {}).get("text/plain", ""))

    def _read_until(self, is_last: Any) -> None:
        while True:
            message = self._client.get_iopub_msg(timeout=60)
            kind, content = message["msg_type"], message["content"]
            self.last_parent = message["parent_header"].get("msg_id", "")
            if kind in ("display_data", "update_display_data"):
                self.parents.append(self.last_parent)
                self.shown.append((kind, content["transient"].get("display_id", ""), content["data"]))
            elif kind in ("error", "stream"):
                self.errors.append(json.dumps(content))
            if is_last(kind, content):
                return


@pytest.fixture
def notebook(redis_url: str, tmp_path: Path) -> Iterator[Notebook]:
    manager = KernelManager()
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "IPYTHONDIR": str(tmp_path),
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    }
    environment["JOBFLEET_URL"] = redis_url
    (tmp_path / MODULE.file).write_text(MODULE.body)
    manager.start_kernel(env=environment, cwd=str(tmp_path))
    client = manager.blocking_client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=60)
        notebook = Notebook(client)
        notebook.run(PREPARE.format(url=redis_url))
        yield notebook
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def test_a_handle_is_a_bar_that_is_updated_in_its_place_until_the_end(
    notebook: Notebook, fleet: Fleet, hand: Hand
) -> None:
    notebook.run("handle = fleet.handle_of(Job('Sum', 'demo.add', id='a'))\nhandle")
    notebook.shows("demo.add queued 0%")
    grant = hand.claims("default.0.a")
    hand.reports(grant, 0.5, "<b>half</b>")
    notebook.shows("running 50% <b>half</b>")
    notebook.run("handle")
    hand.completes(grant, 3)
    notebook.shows("completed 100% in 1.24 s")

    (first_kind, display_id, first), *others = notebook.shown
    assert (first_kind, display_id) == ("display_data", "jobfleet-default.0.a")
    assert {one for _, one, _ in others} == {display_id}
    assert [kind for kind, _, _ in notebook.shown].count("display_data") == 2
    assert '<progress max="1" value="0.0000"' in first["text/html"]
    half = next(data["text/html"] for _, _, data in others if "half" in data["text/plain"])
    assert '<progress max="1" value="0.5000"' in half
    assert "&lt;b&gt;half&lt;/b&gt;" in half
    assert "<b>half" not in half

    notebook.shown.clear()
    notebook.run("awaited = await AsyncFleet(fleet.config.url).handle_of(Job('Sum', 'demo.add', id='b'))\nawaited")
    assert "demo.add queued 0%" in notebook.shown[0][2]["text/plain"]
    later = notebook.starts("fleet.wait('default.0.b', timeout=60)")
    hand.completes(hand.claims("default.0.b"), 3, function="demo.add")
    notebook.shows("demo.add completed 100%")
    assert notebook.parents[-1] == later, "frontends drop updates that do not belong to the cell that runs"
    assert {one for _, one, _ in notebook.shown} == {"jobfleet-default.0.b"}
    notebook.shown.clear()
    notebook.run("awaited")
    assert ["demo.add completed 100%" in data["text/plain"] for _, _, data in notebook.shown] == [True]

    notebook.shown.clear()
    notebook.run(CELL.body)
    job_id = notebook.shown[0][1].removeprefix("jobfleet-")
    hand.completes(hand.claims(job_id), 25, function="primes.count_primes")
    notebook.shows("primes.count_primes completed 100%")

    notebook.shown.clear()
    notebook.run("%unload_ext jobfleet.contrib.jupyter\nhandle")
    assert notebook.shown == []


def test_a_bar_outlives_an_outage_and_ends_when_its_job_is_forgotten(
    fleet: Fleet, hand: Hand, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[str] = []

    class Bar:
        def update(self, obj: dict[str, str], *, raw: bool) -> None:
            shown.append(obj["text/plain"])

    queued, running, gone = JobStatus.QUEUED, JobStatus.RUNNING, JobNotFound("default.0.a")
    answers: Iterator[JobStatus | Exception] = iter([queued, StoreUnavailable(), StoreUnavailable(), running, gone])

    class Handle:
        id = "default.0.a"

        def poll(self) -> JobResult[Any]:
            answer = next(answers)
            if isinstance(answer, Exception):
                raise answer
            return JobResult[Any](id=self.id, status=answer, function="demo.add", progress_message="x" * 500)

    monkeypatch.setattr(jupyter, "POLL_FIRST", 0.0)

    jupyter._follow(Handle.id, Handle().poll, Bar())

    assert [line.partition(": ")[2][:40] for line in shown] == [
        "demo.add queued 0% " + "x" * 21, "unknown 0% Redis does not reply; the bar", "demo.add running 0% " + "x" * 20,
        "unknown 0% The job is not known any more",
    ]  # fmt: skip
    assert all(len(line) < 400 for line in shown)
    assert next(answers, None) is None


def test_on_a_terminal_the_state_is_printed_once(fleet: Fleet, hand: Hand, capsys: pytest.CaptureFixture[str]) -> None:
    handle = fleet.handle_of(Job("Sum", "demo.add", id="a"))

    jupyter.show(handle)

    wait_until(lambda: not jupyter._followed, why="nothing is followed")
    assert "default.0.a" in capsys.readouterr().out
