"""A page that is run again and again enqueues a job once; a button that is clicked again enqueues another one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from jobfleet import Fleet
from jobfleet.functions.registry import REGISTRY


@pytest.fixture
def fleet(redis_url: str) -> Any:
    """The default fleet, with the functions and hooks of the process."""
    from jobfleet.fleet import default

    with Fleet(redis_url, registry=REGISTRY) as fleet:
        before = default.set_default_fleet(fleet)
        yield fleet
        default.set_default_fleet(before)


pytestmark = pytest.mark.filterwarnings("ignore:No worker has published:UserWarning")


def literal_page() -> None:
    import streamlit as st

    from jobfleet import Job, enqueue
    from jobfleet.panels import render_job_progress

    chapters = st.slider("Chapters", 1, 9, 4)
    job_id = enqueue(Job(name="Report", function="reports.report", args=(chapters, {"of": {"a", "b", "c"}})))
    render_job_progress(job_id)
    st.button("Unrelated")
    st.caption(job_id)


def button_page() -> None:
    import streamlit as st

    from jobfleet import Job, enqueue, panels

    assert panels
    for label in ("First", "Second"):
        if st.button(label):
            st.caption(enqueue(Job(name="Report", function="reports.report", user=label)))


def loop_page() -> None:
    import streamlit as st

    from jobfleet import panels
    from jobfleet.demo import add

    assert panels
    for _ in range(3):
        st.caption(add.enqueue(1, 2).id)
    st.caption(add.options(id="mine").enqueue(1, 2).id)
    st.caption(add.options(unique="key").enqueue(1, 2).id)


def opened(page: Any) -> AppTest:
    return ran(AppTest.from_function(page, default_timeout=30))


def ran(bench: AppTest, act: Callable[[], object] = lambda: None) -> AppTest:
    """Let the page run, after a user has done something."""
    act()
    bench.run()
    assert not bench.exception, bench.exception
    return bench


def shown(bench: AppTest) -> list[str]:
    return [caption.value for caption in bench.caption if caption.value.startswith("default.")]


def count_of(fleet: Fleet) -> int:
    return int(fleet.statistics()["total"])


def test_an_unchanged_job_is_enqueued_once_per_session(fleet: Fleet) -> None:
    bench = opened(literal_page)
    first = shown(bench)

    assert shown(ran(bench)) == first
    assert shown(ran(bench, bench.button[0].click)) == first
    assert count_of(fleet) == 1

    assert shown(opened(literal_page)) != first, "another session"
    assert count_of(fleet) == 2


def test_a_changed_job_is_another_job_and_the_first_is_found_again(fleet: Fleet) -> None:
    bench = opened(literal_page)
    first = shown(bench)

    second = shown(ran(bench, lambda: bench.slider[0].set_value(7)))

    assert second != first
    assert shown(ran(bench, lambda: bench.slider[0].set_value(4))) == first
    assert count_of(fleet) == 2


def test_a_button_that_is_clicked_again_enqueues_again(fleet: Fleet) -> None:
    bench = opened(button_page)
    first = shown(ran(bench, bench.button[0].click))
    second = shown(ran(bench, bench.button[0].click))
    other = shown(ran(bench, bench.button[1].click))
    third = shown(ran(bench, bench.button[0].click))

    assert len({*first, *second, *other, *third}) == 4
    assert shown(ran(bench)) == []
    assert count_of(fleet) == 4


def test_equal_jobs_of_one_run_are_several_jobs_and_own_ids_stay(fleet: Fleet) -> None:
    bench = opened(loop_page)
    first = shown(bench)

    assert len(set(first)) == 5
    assert first[3] == "default.0.mine"
    assert shown(ran(bench)) == first
    assert count_of(fleet) == 5


def test_outside_of_a_page_nothing_changes(fleet: Fleet) -> None:
    from jobfleet import Job, panels

    assert panels
    assert fleet.enqueue(Job("Report", "reports.report")) != fleet.enqueue(Job("Report", "reports.report"))
