"""Row 15: whose job it is, in which session, and a user's own jobs."""

from __future__ import annotations

from pathlib import Path

from streamlit.testing.v1 import AppTest

from jobfleet import Fleet, Job, enqueue, get_job_manager, poll, wait
from tests.support.fleet import LONG, Programs, settle_all


def page(user: str) -> None:
    from jobfleet.panels import render_user_jobs

    render_user_jobs(user)


def test_a_job_knows_whose_it_is_and_whoever_asks_is_told(fleet: Fleet, programs: Programs) -> None:
    job_id = enqueue(Job(name="Told", function="seed.told", user="ann", session="s-1"))
    assert poll(job_id).user == "ann"

    programs.ready("seeds")
    result = wait(job_id, timeout=LONG)

    assert [job.id for job in fleet.jobs(session="s-1").jobs] == [job_id]
    assert isinstance(result.result, dict)
    assert (result.user, result.result["user"], result.result["session"]) == ("ann", "ann", "s-1")


def test_a_users_own_jobs_are_listed_counted_and_shown(fleet: Fleet, programs: Programs, tmp_path: Path) -> None:
    programs.ready("seeds")
    done = [enqueue(Job(name=f"Sum of {user}", function="seed.add", args=(1, 2), user=user)) for user in ("ann", "bob")]
    settle_all(fleet, done)
    enqueue(Job(name="Later of ann", function="seed.add", args=(1, 2), user="ann", delay=60))

    told = get_job_manager().statistics()["by_user"]
    bench = AppTest.from_function(page, kwargs={"user": "ann"}, default_timeout=LONG).run()

    assert {job.name for job in fleet.jobs(user="ann").jobs} == {"Sum of ann", "Later of ann"}
    assert {user: row["completed"] for user, row in told.items()} == {"ann": 1, "bob": 1}
    assert [job.name for job in get_job_manager().get_pending_jobs() if job.user == "ann"] == ["Later of ann"]
    assert not bench.exception
    assert list(bench.dataframe[0].value["job"]) == ["Sum of ann"]
    assert "Later of ann" in bench.get("progress")[0].proto.text
