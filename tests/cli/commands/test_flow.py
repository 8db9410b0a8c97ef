"""`jobfleet flow`."""

from __future__ import annotations

import json
import re

import redis

from jobfleet import Fleet, Flow, Job
from jobfleet.functions.port import FlowAddition
from jobfleet.operations.flows.extend import extend_flow
from jobfleet.operations.flows.unblock import unblock
from jobfleet.store.calls.flow import ParentEnd
from tests.cli.hand import AsRole, Cli, Hand


def enqueued(fleet: Fleet) -> str:
    flow = Flow("import")
    fetch = flow.add(Job("fetch", "demo.add", (1, 2), id="a"))
    parse = flow.add(Job("parse", "demo.add", (1, 2), id="b"), after=fetch)
    flow.add(Job("report", "demo.add", (1, 2), id="c"), after=[fetch, parse], otherwise="run")
    return fleet.flows.enqueue(flow).id


def test_show_draws_it(cli: Cli, fleet: Fleet, hand: Hand) -> None:
    flow_id = enqueued(fleet)

    assert cli("flow", "show", flow_id).stdout.splitlines() == [
        "import  queued",
        "   JOB     STATUS   AFTER                                     ID",
        "0  fetch   queued   -                                         default.0.a",
        "1  parse   blocked  fetch (0)                                 default.0.b",
        "2  report  blocked  fetch (0), else run; parse (1), else run  default.0.c",
    ]
    rows = json.loads(cli("flow", "show", flow_id, "-o", "json").stdout)["jobs"]
    assert [(row["id"], row["status"], row["after"]) for row in rows] == [
        ("default.0.a", "queued", []),
        ("default.0.b", "blocked", ["default.0.a"]),
        ("default.0.c", "blocked", ["default.0.a", "default.0.b"]),
    ]


def test_jobs_of_one_name_show_their_arguments_but_no_secrets(cli: Cli, fleet: Fleet, hand: Hand) -> None:
    flow = Flow("import")
    first = flow.add(Job("load", "demo.add", ("a" * 40, 2.5), {"api_token": "hunter2"}, id="a"))
    flow.add(Job("load", "demo.add", (1,), {"rows": [1], "deep": None}, id="b"), after=first)
    flow_id = fleet.flows.enqueue(flow).id

    lines = cli("flow", "show", flow_id).stdout.splitlines()[2:]
    assert [re.split(r"  +", line)[1::2] for line in lines] == [
        [f"load('{'a' * 22}…, 2.5, api_token=***)", "-"],
        ["load(1, rows=list, deep=None)", f"load('{'a' * 22}…, 2.5, api_token=***) (0)"],
    ]
    rows = json.loads(cli("flow", "show", flow_id, "-o", "json").stdout)["jobs"]
    assert [row["label"] for row in rows] == [f"'{'a' * 22}…, 2.5, api_token=***", "1, rows=list, deep=None"]


def test_show_as_mermaid(cli: Cli, fleet: Fleet, hand: Hand) -> None:
    assert cli("flow", "show", enqueued(fleet), "--mermaid").stdout.splitlines() == [
        "flowchart LR",
        '  n0["fetch<br/>queued"]',
        '  n1["parse<br/>blocked"]',
        "  n0 --> n1",
        '  n2["report<br/>blocked"]',
        "  n0 --> n2",
        "  n1 --> n2",
    ]


def test_what_a_job_has_added_is_drawn(cli: Cli, fleet: Fleet, as_role: AsRole, hand: Hand) -> None:
    flow_id = enqueued(fleet)
    more = Flow("more")
    more.chain(Job("split", "demo.add", (1, 2), id="d"), Job("join", "demo.add", (1, 2), id="e"))
    as_role("worker")._do(
        extend_flow(fleet.context, "default.0.a", flow_id, FlowAddition(more, "1", after_this=False, joins=(1,)))
    )

    lines = cli("flow", "show", flow_id).stdout.splitlines()[2:]
    assert [re.split(r"  +", line) for line in lines] == [
        ["0", "fetch", "queued", "-", "default.0.a"],
        ["1", "split", "queued", "added by fetch (0)", "default.0.d"],
        ["2", "join", "blocked", "split (1)", "default.0.e"],
        ["3", "parse", "blocked", "fetch (0); join (2)", "default.0.b"],
        ["4", "report", "blocked", "fetch (0), else run; parse (3), else run; join (2), else run", "default.0.c"],
    ]
    assert "  n0 -.-> n1" in cli("flow", "show", flow_id, "--mermaid").stdout.splitlines()
    rows = json.loads(cli("flow", "show", flow_id, "-o", "json").stdout)["jobs"]
    assert [row["added_by"] for row in rows] == [None, "default.0.a", "default.0.a", None, None]


def test_ls_and_cancel(cli: Cli, fleet: Fleet, hand: Hand) -> None:
    assert cli("flow", "ls").stderr == "No flows yet.\n"
    flow_id = enqueued(fleet)
    assert cli("flow", "ls", "-o", "ids").stdout == f"{flow_id}\n"

    refused = cli("flow", "cancel", flow_id, input="n\n")
    assert (refused.exit_code, refused.stderr.splitlines()[0][:31]) == (1, "Cancel 3 jobs of import? [y/N] ")
    assert cli("flow", "cancel", flow_id, "--yes").stdout == "Cancelled 3 jobs of import.\n"
    assert cli("flow", "retry", flow_id).stdout == "Run again: 0 jobs.\n"


def test_a_flow_with_a_failed_job_is_continued(cli: Cli, fleet: Fleet, as_role: AsRole, hand: Hand) -> None:
    flow = Flow("album", on_failure=Job("alarm", "demo.add", (0, 0)))
    thumbs = flow.map(lambda n: Job(f"thumb {n}", "demo.fail", id=f"t{n}"), range(11, 14))
    flow.add(Job("mail", "demo.add", (1, 2), id="mail"), after=thumbs)
    fleet.flows.enqueue(flow)
    for n in (11, 12):
        hand.completes(hand.claims(f"default.0.t{n}"), n)
    culprit = "default.0.t13"
    hand.fails(hand.claims(culprit), "not a picture")
    as_role("worker")._do(
        unblock(fleet.context.keys, [ParentEnd("default.0.mail", culprit, "failed", b"")], ttl_ms=60_000)
    )

    status = cli("status", "default.0.mail").stdout
    assert re.search(
        r"\n *error +cancelled because 'demo.add' failed: ValueError: not a picture \(default.0.t13\)\n", status
    )
    assert re.search(r"\n *parents +default.0.t13 \(failed\), default.0.t11 \(completed\), default.0.t12 ", status)
    assert "because 'demo.add' failed: ValueError: not a picture." in cli("explain", "default.0.mail").stdout
    shown = cli("flow", "show", flow.id).stdout.splitlines()
    assert shown[:2] == ["album  failed", f"at the first failure, default.0.{flow.id}.on_failure runs"]

    edited = cli("dead", "edit", culprit, "--args", "[1]")
    retry = f"'jobfleet flow retry {flow.id}'"
    assert edited.stderr == (
        f"{culprit}: Because of it, 1 job of the flow 'album' was cancelled; {retry} enqueues it again.\n"
    )
    hand.fails(hand.claims(culprit))
    assert cli("dead", "replay", culprit).stderr == edited.stderr
    assert cli("flow", "retry", flow.id).stdout == "Run again: 1 job.\n"
    assert "flow-stopped" not in cli("explain", culprit, "-o", "json").stdout


def test_a_flow_that_is_not_known(cli: Cli, fleet: Fleet, hand: Hand) -> None:
    result = cli("flow", "show", "nope")

    assert (result.exit_code, result.stderr) == (3, "No flow 'nope': never enqueued, or deleted since.\n")


def test_ls_leaves_out_a_flow_whose_record_has_expired_or_cannot_be_read(
    cli: Cli, fleet: Fleet, hand: Hand, raw: redis.Redis
) -> None:
    expired, spoiled = (fleet.flows.enqueue(_single()).id for _ in range(2))
    kept = enqueued(fleet)
    raw.delete(f"{{jobfleet}}:flow:{expired}")
    raw.set(f"{{jobfleet}}:flow:{spoiled}", "rubbish")

    assert [flow_id for flow_id, _ in fleet.flows()] == [kept, spoiled]
    assert cli("flow", "ls", "-o", "ids").stdout == f"{kept}\n"


def _single() -> Flow:
    flow = Flow("single")
    flow.add(Job("fetch", "demo.add", (1, 2)))
    return flow
