"""Flows, before anything is enqueued."""

from __future__ import annotations

from typing import Any

import pytest

from jobfleet import Flow, InvalidJob, Job
from jobfleet.model import flow as graph


def job(name: str = "a", **options: Any) -> Job:
    return Job(name, "test.add", (1, 2), **options)


def names(flow: Flow) -> list[str]:
    return [node.job.name for node in flow.order()]


def test_a_diamond_is_ordered() -> None:
    flow = Flow("diamond")
    top = flow.add(job("top"))
    sides = flow.group(job("left"), job("right"), after=top)
    flow.add(job("bottom"), after=sides)

    assert (names(flow)[0], names(flow)[-1]) == ("top", "bottom")


def test_a_chain_runs_in_line_and_a_map_side_by_side() -> None:
    flow = Flow("import")
    last = flow.chain(job("one"), job("two"), job("three"))
    mapped = flow.map(lambda number: job(f"part {number}"), range(3), after=last)
    flow.add(job("end"), after=mapped)

    assert names(flow)[:3] == ["one", "two", "three"]
    assert names(flow)[-1] == "end"
    assert [list(flow.links.get(node.number, ())) for node in mapped] == [[last.number]] * 3


def test_jobs_may_be_linked_later() -> None:
    flow = Flow("late")
    second, first = flow.add(job("second")), flow.add(job("first"))

    flow.link(first, second, otherwise="run")

    assert names(flow) == ["first", "second"]


def test_a_circle_is_refused_by_name() -> None:
    flow = Flow("round")
    nodes = [flow.add(job(name)) for name in "abc"]
    for parent, child in zip(nodes, [*nodes[1:], nodes[0]], strict=True):
        flow.link(parent, child)

    with pytest.raises(InvalidJob, match=r"^The flow 'round' has a cycle: [abc] → [abc] → [abc] → [abc]\.$"):
        flow.order()


def test_what_is_empty_or_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidJob, match="has no job"):
        Flow("empty").order()

    flow = Flow("large")
    parents = flow.group(*[job() for _ in range(4)])
    flow.add(job(), after=parents)
    monkeypatch.setattr(graph, "PARENTS_MOST", 3)
    with pytest.raises(InvalidJob, match="waits for 4 others; the maximum is 3"):
        flow.order()
    monkeypatch.setattr(graph, "JOBS_MOST", 3)
    with pytest.raises(InvalidJob, match="has 5 jobs; the maximum is 3"):
        flow.order()


def test_a_job_of_another_flow_is_refused() -> None:
    stranger = Flow("other").add(job("stranger"))
    flow = Flow("mine")

    with pytest.raises(InvalidJob, match="'stranger' is not in the flow 'mine'"):
        flow.add(job("own"), after=stranger)


@pytest.mark.parametrize("options", [{"depends_on": ["default.0.x"]}, {"cron_expression": "@daily"}])
def test_a_flow_says_itself_what_its_jobs_wait_for(options: dict[str, Any]) -> None:
    (field,) = options
    with pytest.raises(InvalidJob, match=f"leave {field} out") as caught:
        Flow("mine").add(job(**options))

    assert caught.value.field == field


def test_a_policy_that_is_none_is_refused() -> None:
    flow = Flow("mine")
    first = flow.add(job())

    with pytest.raises(InvalidJob, match="otherwise is 'never'; use cancel, run, wait"):
        flow.add(job(), after=first, otherwise="never")
    with pytest.raises(InvalidJob, match="chain needs at least one job"):
        flow.chain()
