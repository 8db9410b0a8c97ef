"""Panels, drawn by Streamlit's own test bench; a run of the page stands for a tick of its fragments."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from jobfleet import Fleet, Job, JobStatus, ProgressCallback
from jobfleet.fleet import default
from jobfleet.functions.registry import Registry
from jobfleet.panels.words import plain
from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[2]


def progress_page(job_id: str) -> None:
    from jobfleet.panels import render_job_progress

    render_job_progress(job_id, poll_interval=0.5)


def widget_page(job_id: str) -> None:
    from jobfleet.panels import create_job_progress_widget

    create_job_progress_widget(job_id, by="ann")


def button_page(job_id: str) -> None:
    import streamlit as st

    from jobfleet.panels import cancel_job_button

    if cancel_job_button(job_id, by="ann"):
        st.success("gone")


def dashboard_page() -> None:
    from jobfleet.panels import render_job_status_dashboard

    render_job_status_dashboard()


def user_page(user: str) -> None:
    from jobfleet.panels import render_user_jobs

    render_user_jobs(user)


def drawn(page: Any, **arguments: object) -> AppTest:
    bench = AppTest.from_function(page, kwargs=arguments, default_timeout=30).run()
    assert not bench.exception, bench.exception
    return bench


def bars(bench: AppTest) -> list[tuple[int, str]]:
    """Percent and text of each bar; a backslash of the text's Markdown is left out."""
    return [(bar.proto.value, bar.proto.text.replace("\\", "")) for bar in bench.get("progress")]


def captions(bench: AppTest) -> str:
    return "\n".join(caption.value for caption in bench.caption).replace("\\", "")


def nothing() -> None:
    pass


class Stepper:
    """A job that reports and goes on when it is told to."""

    def __init__(self) -> None:
        self.gates = [threading.Event(), threading.Event()]

    def __call__(self, progress_callback: ProgressCallback) -> str:
        progress_callback(0.25, "Reading", {"rows": 1})
        self.gates[0].wait(30)
        progress_callback(0.75, "Writing_it", {"rows": 3})
        while not self.gates[1].wait(0.02):
            progress_callback(0.75, "Writing_it", {"rows": 3})
        return "all of it"


@pytest.fixture
def stepper(fleet: Fleet, registry: Registry) -> Iterator[Stepper]:
    """A worker in a thread, and what it runs as ``test.steps``."""
    stepper, stop = Stepper(), threading.Event()

    def steps(progress_callback: ProgressCallback) -> str:
        return stepper(progress_callback)

    registry.register(steps, name="test.steps")
    thread = threading.Thread(target=fleet.run_worker, kwargs={"stop": stop, "slots": 2}, daemon=True)
    thread.start()
    yield stepper
    for gate in stepper.gates:
        gate.set()
    stop.set()
    thread.join(30)


def reaches(fleet: Fleet, job_id: str, progress: float) -> None:
    wait_until(lambda: fleet.poll(job_id).progress == progress, timeout=20, why=f"it is at {progress}")


def test_a_bar_moves_from_run_to_run_until_the_job_has_ended(fleet: Fleet, stepper: Stepper) -> None:
    job_id = fleet.enqueue(Job("A report", "test.steps", user="ann"))
    reaches(fleet, job_id, 0.25)
    bench = drawn(progress_page, job_id=job_id)
    assert bars(bench) == [(25, "25% · Reading")]
    assert bench.markdown[0].value.startswith("**A report** :blue-badge")

    stepper.gates[0].set()
    reaches(fleet, job_id, 0.75)
    assert bars(bench.run()) == [(75, "75% · Writing_it")]

    stepper.gates[1].set()
    fleet.wait(job_id, timeout=20)
    assert bars(bench.run())[0][0] == 100
    assert "completed" in bench.markdown[0].value
    assert "by ann" in captions(bench)


def test_a_job_that_failed_says_why(fleet: Fleet, registry: Registry) -> None:
    def fail() -> None:
        raise ValueError("no *bad* card")

    registry.register(fail, name="test.fail")
    job_id = fleet.enqueue(Job("Charge", "test.fail"))
    fleet.run_worker(burst=True)

    bench = drawn(progress_page, job_id=job_id)

    assert bars(bench) == [(0, "0%")]
    assert bench.error[0].value == r"ValueError\: no \*bad\* card"


@pytest.mark.parametrize("job_id", ["default.0.nobody", "nonsense", "ünknown.0.x"])
@pytest.mark.parametrize("page", [progress_page, widget_page, button_page])
def test_an_unknown_job_is_a_line_and_no_traceback(fleet: Fleet, page: Any, job_id: str) -> None:
    bench = drawn(page, job_id=job_id)

    assert not bench.get("progress")
    if page is not button_page:
        assert "No job" in bench.info[0].value or "id" in bench.info[0].value
    if page is not progress_page:
        assert bench.button[0].disabled


@pytest.mark.parametrize(
    ("page", "arguments"),
    [
        (progress_page, {"job_id": "default.0.a"}),
        (widget_page, {"job_id": "default.0.a"}),
        (dashboard_page, {}),
        (user_page, {"user": "ann"}),
    ],
)
def test_a_redis_that_is_away_is_a_line_and_no_traceback(tmp_path: Path, page: Any, arguments: dict[str, str]) -> None:
    with Fleet(f"unix://{tmp_path}/nobody.sock", patience=30) as away:
        before = default.set_default_fleet(away)
        try:
            bench = drawn(page, **arguments)
        finally:
            default.set_default_fleet(before)

    assert "No Redis at" in bench.warning[0].value.replace("\\", "")


def test_the_button_cancels_a_job_that_waits_and_then_rests(fleet: Fleet, registry: Registry) -> None:
    registry.register(nothing, name="test.nothing")
    job_id = fleet.enqueue(Job("Later", "test.nothing", delay=60))
    bench = drawn(button_page, job_id=job_id)
    assert (bench.button[0].label, bench.button[0].disabled) == ("Cancel", False)

    bench.button[0].click().run()

    result = fleet.poll(job_id)
    assert (result.status, result.error) == (JobStatus.CANCELLED, "cancelled by ann")
    assert [said.value for said in bench.success] == ["gone"]
    assert bench.button[0].disabled
    assert not bench.run().success, "it is told once"


def test_a_widget_cancels_what_runs(fleet: Fleet, stepper: Stepper) -> None:
    job_id = fleet.enqueue(Job("Report", "test.steps"))
    stepper.gates[0].set()
    reaches(fleet, job_id, 0.75)
    bench = drawn(widget_page, job_id=job_id)

    bench.button[0].click().run()

    assert fleet.wait(job_id, timeout=20).error == "cancelled by ann"
    assert "cancelled" in bench.run().markdown[0].value
    assert "cancelled by ann" in captions(bench)
    assert bench.button[0].disabled


def test_a_widget_shows_the_result(fleet: Fleet, registry: Registry) -> None:
    registry.register(lambda: "*42*", name="test.answer")
    job_id = fleet.enqueue(Job("Answer", "test.answer"))
    fleet.run_worker(burst=True)

    assert "Result: *42*" in captions(drawn(widget_page, job_id=job_id))


def test_what_others_wrote_is_shown_as_it_stands(fleet: Fleet, registry: Registry) -> None:
    registry.register(nothing, name="test.nothing")
    job_id = fleet.enqueue(Job("![x](http://evil) <b>:red[a]", "test.nothing", delay=60))

    said = drawn(progress_page, job_id=job_id).markdown[0].value

    assert said.startswith(r"**\!\[x\]\(http\://evil\) \<b\>\:red\[a\]** ")
    assert plain("a\n b" + "c" * 500) == "a b" + "c" * 196 + "…"


def test_the_dashboard_of_an_empty_fleet(fleet: Fleet) -> None:
    bench = drawn(dashboard_page)

    metrics = {metric.label: metric.value for metric in bench.metric}
    assert (metrics["Waiting"], metrics["Running"], metrics["Workers"], metrics["Success rate"]) == ("0", "0", "0", "–")
    assert not bench.warning


def test_the_dashboard_shows_the_whole_fleet(fleet: Fleet, stepper: Stepper, registry: Registry) -> None:
    def fail() -> None:
        raise ValueError("no")

    for name, function in {"test.nothing": nothing, "test.fail": fail}.items():
        registry.register(function, name=name)
    done = [fleet.enqueue(Job("Done", "test.nothing", user="ann")), fleet.enqueue(Job("Fail", "test.fail"))]
    for job_id in done:
        fleet.wait(job_id, timeout=20)
    running = fleet.enqueue(Job("Report", "test.steps"))
    reaches(fleet, running, 0.25)
    fleet.enqueue(Job("Later", "test.nothing", delay=60))

    bench = drawn(dashboard_page)

    metrics = {metric.label: metric.value for metric in bench.metric}
    assert metrics.pop("Average time")
    assert metrics == {
        "Waiting": "1", "Running": "1", "Completed": "1", "Failed": "1", "Workers": "1", "Dead letters": "1",
        "Success rate": "50%",
    }  # fmt: skip
    ((value, text),) = bars(bench)
    assert (value, text.partition(" ")[0], text.endswith("25% · Reading")) == (25, "**Report**", True)
    queues, ended = (table.value for table in bench.dataframe)
    assert queues.to_dict("records")[0] == {
        "queue": "default", "queued": 0, "scheduled": 1, "blocked": 0, "retrying": 0, "running": 1, "completed": 1,
        "failed": 1, "cancelled": 0,
    }  # fmt: skip
    assert set(ended["job"]) == {"Done", "Fail"}


def test_jobs_that_wait_for_nobody_are_pointed_out(fleet: Fleet, registry: Registry) -> None:
    registry.register(nothing, name="test.nothing")
    fleet.enqueue(Job("Done", "test.nothing"))

    assert drawn(dashboard_page).warning[0].value == "Jobs are waiting, but no worker is running."


def test_a_user_sees_their_own_jobs_and_no_others(fleet: Fleet, stepper: Stepper, registry: Registry) -> None:
    registry.register(nothing, name="test.nothing")
    for user in ("ann", "bob"):
        fleet.wait(fleet.enqueue(Job(f"Done of {user}", "test.nothing", user=user)), timeout=20)
        fleet.enqueue(Job(f"Later of {user}", "test.nothing", user=user, delay=60))
    reaches(fleet, fleet.enqueue(Job("Report of ann", "test.steps", user="ann")), 0.25)

    bench = drawn(user_page, user="ann")

    assert [text.partition("**")[2].partition("**")[0] for _, text in bars(bench)] == ["Report of ann", "Later of ann"]
    assert list(bench.dataframe[0].value["job"]) == ["Done of ann"]
    assert "No jobs of nobody" in drawn(user_page, user="nobody").info[0].value


def test_without_the_extra_it_says_what_to_install() -> None:
    code = "import sys; sys.modules['streamlit'] = None; import jobfleet.panels"

    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.stderr.endswith("jobfleet.panels needs Streamlit: pip install 'jobfleet[streamlit]'\n")
