"""Row 14: the widgets, under their names, over a real worker; `tests/panels` has them in a browser."""

from __future__ import annotations

from pathlib import Path

from streamlit.testing.v1 import AppTest

from jobfleet import Fleet, Job, JobStatus, enqueue, poll, wait
from tests.support.fleet import LONG, Programs
from tests.support.waiting import wait_until


def page(job_id: str) -> None:
    from jobfleet.panels import (
        cancel_job_button,
        create_job_progress_widget,
        render_job_progress,
        render_job_status_dashboard,
    )

    render_job_progress(job_id, poll_interval=0.5)
    render_job_status_dashboard()
    create_job_progress_widget(job_id)
    cancel_job_button(job_id)


def test_the_widgets_show_a_job_that_runs_and_cancel_it(fleet: Fleet, programs: Programs, tmp_path: Path) -> None:
    programs.ready("seeds")
    job_id = enqueue(Job(name="Compute", function="seed.compute", args=(str(tmp_path / "never"),)))
    wait_until(lambda: poll(job_id).progress, timeout=LONG, why="it reports")

    bench = AppTest.from_function(page, kwargs={"job_id": job_id}, default_timeout=LONG).run()

    assert not bench.exception
    bars = [(bar.proto.value, bar.proto.text.rpartition("50% · ")[2]) for bar in bench.get("progress")]
    assert bars == [(50, "Computing")] * 3
    assert not bench.get("spinner")
    assert {metric.label: metric.value for metric in bench.metric}["Running"] == "1"

    bench.button[-1].click().run()

    assert not bench.exception
    assert wait(job_id, timeout=LONG).status is JobStatus.CANCELLED
    assert all(button.disabled for button in bench.run().button)
